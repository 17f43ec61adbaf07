//! `options:` of a role, an accessory or the proxy: further words for `docker run`.

use indexmap::IndexMap;

use super::diagnostics::{in_context, join};
use super::escape;
use super::fields::Fields;
use super::setting::{Scalar, Value};

/// Further options for `docker run`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DockerOptions {
    /// Option names without dashes, each with its values; `true` is an option without value.
    pub values: IndexMap<String, Vec<Scalar>>,
    /// The restart policy, if it is set.
    pub restart: Option<String>,
}

impl DockerOptions {
    /// The restart policy that Kamal gives to containers that do not set one.
    pub const DEFAULT_RESTART: &'static str = "unless-stopped";

    /// Returns the restart policy that counts.
    pub fn restart_policy(&self) -> &str {
        self.restart.as_deref().unwrap_or(Self::DEFAULT_RESTART)
    }

    /// Returns the values of one option, as texts.
    pub fn get(&self, name: &str) -> Vec<String> {
        self.values
            .get(name)
            .map(|values| values.iter().map(ToString::to_string).collect())
            .unwrap_or_default()
    }

    /// Returns the options as Kamal writes them, without the restart policy: `--memory "512m"`.
    pub fn to_args(&self) -> Vec<String> {
        let mut words = Vec::new();
        for (name, values) in &self.values {
            for value in values {
                words.push(format!("--{name}"));
                if *value != Scalar::Boolean(true) {
                    words.push(escape::shell_value(&value.to_string()));
                }
            }
        }
        words
    }

    /// Reads `options` below `fields`; `checks_restart` where a restart policy has a meaning.
    pub(super) fn read(fields: &Fields<'_>, checks_restart: bool) -> Self {
        let Some(setting) = fields.setting.get("options") else {
            return Self::default();
        };
        let context = fields.path("options");
        if !setting.is_hash() {
            fields.wrong_type(setting, &context, "a hash");
        }
        let mut options = Self::default();
        for pair in setting.pairs() {
            if checks_restart && pair.key == "restart" {
                options.restart =
                    read_restart(fields, &context, &pair.value.value, &pair.value.place);
                continue;
            }
            let values = match &pair.value.value {
                Value::Null => continue,
                Value::Scalar(scalar) => vec![scalar.clone()],
                Value::List(items) => items
                    .iter()
                    .filter_map(|item| {
                        let scalar = item.as_scalar().cloned();
                        if scalar.is_none() {
                            fields.wrong_type(
                                item,
                                &join(&context, &pair.key),
                                "an array of strings",
                            );
                        }
                        scalar
                    })
                    .collect(),
                Value::Hash(_) => {
                    let context = join(&context, &pair.key);
                    fields.wrong_type(&pair.value, &context, "a string or an array");
                    continue;
                }
            };
            options.values.insert(pair.key.clone(), values);
        }
        options
    }
}

fn read_restart(
    fields: &Fields<'_>,
    context: &str,
    value: &Value,
    place: &super::setting::Place,
) -> Option<String> {
    let context = join(context, "restart");
    let Value::Scalar(Scalar::Text(policy)) = value else {
        let message = "should be a string. Use \"no\" to disable restarts";
        fields
            .found
            .error("wrong-type", place, in_context(&context, message));
        return None;
    };
    let is_known = match policy.strip_prefix("on-failure") {
        Some("") => true,
        Some(rest) => rest.strip_prefix(':').is_some_and(|times| {
            !times.is_empty() && times.bytes().all(|byte| byte.is_ascii_digit())
        }),
        None => matches!(policy.as_str(), "no" | "always" | "unless-stopped"),
    };
    if !is_known {
        let message = "should be no, always, unless-stopped, on-failure, or on-failure:N";
        fields
            .found
            .error("invalid-value", place, in_context(&context, message));
        return None;
    }
    Some(policy.clone())
}
