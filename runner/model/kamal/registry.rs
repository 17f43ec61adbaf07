//! `registry:`, of the application and of single accessories.

use super::diagnostics::{Findings, in_context};
use super::fields::Fields;
use super::secrets::{MissingSecret, SecretValues};
use super::setting::{Scalar, Setting, Value};

const KEYS: [&str; 3] = ["server", "username", "password"];

/// A container registry and how to log in to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registry {
    /// The server, Docker Hub without one.
    pub server: Option<String>,
    /// The user; a local registry needs none.
    pub username: Option<Credential>,
    /// The password or token; a local registry needs none.
    pub password: Option<Credential>,
}

/// A user name or password: written in the configuration, or the name of a secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// The value itself.
    Literal(String),
    /// The name of the secret that has the value.
    Secret(String),
}

impl std::fmt::Debug for Credential {
    /// Shows a secret's name and never a value.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Literal(_) => f.write_str("Literal([REDACTED])"),
            Self::Secret(name) => f.debug_tuple("Secret").field(name).finish(),
        }
    }
}

impl Credential {
    /// Returns the value, from the secrets if it is the name of one.
    pub fn resolve<'a>(&'a self, secrets: &'a SecretValues) -> Result<&'a str, MissingSecret> {
        match self {
            Self::Literal(value) => Ok(value),
            Self::Secret(name) => secrets.get(name),
        }
    }
}

impl Registry {
    /// Tells whether it is a registry that the tool itself starts on this machine.
    pub fn is_local(&self) -> bool {
        self.server.as_deref().is_some_and(is_local)
    }

    /// Reads a registry at `context`.
    pub(super) fn read(setting: &Setting, context: &str, found: &Findings) -> Self {
        let Some(fields) = Fields::open(setting, context, &KEYS, found) else {
            return Self::default();
        };
        let server = fields.string("server").filter(|server| !server.is_empty());
        let needs_login = !server.as_deref().is_some_and(is_local);
        Self {
            username: credential(&fields, "username", needs_login),
            password: credential(&fields, "password", needs_login),
            server,
        }
    }
}

fn is_local(server: &str) -> bool {
    server.starts_with("localhost:")
}

fn credential(fields: &Fields<'_>, key: &str, is_required: bool) -> Option<Credential> {
    let setting = fields
        .setting
        .get(key)
        .filter(|setting| !setting.is_blank());
    let Some(setting) = setting else {
        if is_required {
            let at = fields.setting.get(key).unwrap_or(fields.setting);
            let message = in_context(&fields.path(key), "is required");
            fields.found.error("missing-key", &at.place, message);
        }
        return None;
    };
    let credential = match &setting.value {
        Value::Scalar(Scalar::Text(text)) => Some(Credential::Literal(text.clone())),
        Value::List(items) => match items.as_slice() {
            [only] => only
                .as_text()
                .map(|name| Credential::Secret(name.to_owned())),
            _ => None,
        },
        _ => None,
    };
    if credential.is_none() && is_required {
        let message = "should be a string or an array with one string (for secret lookup)";
        let message = in_context(&fields.path(key), message);
        fields.found.error("wrong-type", &setting.place, message);
    }
    credential
}
