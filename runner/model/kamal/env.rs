//! Environment variables: clear ones, secret ones by name, and those of host tags.

use indexmap::IndexMap;

use super::diagnostics::{Findings, in_context, join};
use super::escape;
use super::fields::Fields;
use super::secrets::{MissingSecret, SecretValues};
use super::setting::{Scalar, Setting};

/// The keys that make an `env` more than a flat hash of clear values.
const SPECIAL: [&str; 3] = ["clear", "secret", "tags"];

/// The environment of a container, without any secret's value.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Env {
    /// Values that stand in the configuration, with their YAML types.
    pub clear: IndexMap<String, Scalar>,
    /// Values that come from the secrets files.
    pub secrets: Vec<SecretVariable>,
}

/// A variable whose value is a secret: `NAME`, or `NAME:ALIAS` for the secret `ALIAS`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SecretVariable {
    /// The variable's name in the container.
    pub variable: String,
    /// The secret's name in the secrets files.
    pub secret: String,
}

impl SecretVariable {
    fn parse(text: &str) -> Self {
        let mut parts = text.split(':');
        let variable = parts.next().unwrap_or_default().to_owned();
        let secret = parts.next().map_or_else(|| variable.clone(), str::to_owned);
        Self { variable, secret }
    }

    /// Returns it as it is written in the configuration.
    pub fn to_key(&self) -> String {
        if self.variable == self.secret {
            self.variable.clone()
        } else {
            format!("{}:{}", self.variable, self.secret)
        }
    }
}

impl Env {
    /// Returns this environment with `other` on top: clear values are replaced, secrets added.
    #[must_use]
    pub fn merged(&self, other: &Self) -> Self {
        let mut merged = self.clone();
        for (key, value) in &other.clear {
            merged.clear.insert(key.clone(), value.clone());
        }
        for secret in &other.secrets {
            if !merged.secrets.contains(secret) {
                merged.secrets.push(secret.clone());
            }
        }
        merged
    }

    /// Returns the secret variables with their values; of two with one name the later counts.
    pub fn secret_values<'a>(
        &'a self,
        secrets: &'a SecretValues,
    ) -> Result<IndexMap<&'a str, &'a str>, MissingSecret> {
        let mut values = IndexMap::new();
        for secret in &self.secrets {
            values.insert(secret.variable.as_str(), secrets.get(&secret.secret)?);
        }
        Ok(values)
    }

    /// Returns the text of the Docker env file that holds the secret variables on the host.
    pub fn file_text(&self, secrets: &SecretValues) -> Result<String, MissingSecret> {
        Ok(escape::env_file(self.secret_values(secrets)?))
    }

    /// Returns `--env NAME="value"` for each clear value, as Kamal writes them.
    pub fn clear_arguments(&self) -> Vec<String> {
        let pairs = self
            .clear
            .iter()
            .map(|(key, value)| (key.as_str(), Some(value)));
        escape::arguments("--env", pairs)
    }

    /// Reads an `env` that may not have tags.
    pub(super) fn read(setting: Option<&Setting>, context: &str, found: &Findings) -> Self {
        let Some(setting) = setting else {
            return Self::default();
        };
        if let Some(tags) = setting.pair("tags") {
            let message = in_context(context, "tags are only allowed in the root env");
            found.error("misplaced-key", &tags.key_place, message);
        }
        Self::read_values(setting, context, found)
    }

    /// Reads the root `env`, with the environments of its tags.
    pub(super) fn read_root(
        setting: Option<&Setting>,
        found: &Findings,
    ) -> (Self, IndexMap<String, Self>) {
        let Some(setting) = setting else {
            return (Self::default(), IndexMap::new());
        };
        let env = Self::read_values(setting, "env", found);
        let mut tags = IndexMap::new();
        if let Some(setting) = setting.get("tags") {
            let fields = Fields {
                context: "env/tags".to_owned(),
                setting,
                found,
            };
            if !setting.is_hash() {
                fields.wrong_type(setting, &fields.context, "a hash");
            }
            for pair in setting.pairs() {
                let context = fields.path(&pair.key);
                // Kamal gives the path of the tag itself for tags inside a tag.
                if let Some(inner) = pair.value.pair("tags") {
                    let message = in_context(&context, "tags are only allowed in the root env");
                    found.error("misplaced-key", &inner.key_place, message);
                    continue;
                }
                let env = Self::read_values(&pair.value, &context, found);
                tags.insert(pair.key.clone(), env);
            }
        }
        (env, tags)
    }

    fn read_values(setting: &Setting, context: &str, found: &Findings) -> Self {
        let fields = Fields {
            context: context.to_owned(),
            setting,
            found,
        };
        let is_flat = !setting
            .pairs()
            .iter()
            .any(|pair| SPECIAL.contains(&pair.key.as_str()));
        if is_flat {
            let clear = fields.scalars_of(setting, context).unwrap_or_default();
            return Self {
                clear,
                secrets: Vec::new(),
            };
        }
        let unknown: Vec<_> = setting
            .pairs()
            .iter()
            .filter(|pair| !SPECIAL.contains(&pair.key.as_str()))
            .map(|pair| (pair.key.as_str(), &pair.key_place))
            .collect();
        if let Some((_, first)) = unknown.first() {
            let names: Vec<&str> = unknown.iter().map(|(key, _)| *key).collect();
            let word = if names.len() == 1 { "key" } else { "keys" };
            let message = in_context(context, &format!("unknown {word}: {}", names.join(", ")));
            let hint = format!(
                "beside `clear`, `secret` or `tags`, clear values stand below `{}`",
                join(context, "clear")
            );
            found.error_with_hint("unknown-key", first, message, hint);
        }
        let secrets = fields.strings("secret").unwrap_or_default();
        Self {
            clear: fields.scalars("clear").unwrap_or_default(),
            secrets: secrets
                .iter()
                .map(|text| SecretVariable::parse(text))
                .collect(),
        }
    }
}
