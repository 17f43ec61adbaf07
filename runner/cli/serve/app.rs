//! `[github-app]` of `runner.toml`: the App in whose name GitHub is spoken to.

use std::path::Path;

use serde::Deserialize;

use super::super::error::{CliError, ErrorKind};
use super::config::{Value, Values};
use crate::github::{self, App};

/// The table as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct WrittenApp {
    id: u64,
    private_key: Value,
    #[serde(default)]
    webhook_secrets: Vec<Value>,
    api: Option<String>,
}

/// The App, as it is used.
#[derive(Clone)]
pub(in super::super) struct AppConfig {
    /// Its number.
    pub(in super::super) id: u64,
    /// Its API.
    pub(in super::super) api: String,
    /// Its private key.
    key: String,
    /// The secrets that sign its webhooks.
    pub(in super::super) webhook_secrets: Vec<String>,
}

impl std::fmt::Debug for AppConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppConfig")
            .field("id", &self.id)
            .field("api", &self.api)
            .finish_non_exhaustive()
    }
}

impl WrittenApp {
    /// Reads what the table names.
    pub(super) fn read(&self, folder: &Path, values: Values) -> Result<AppConfig, CliError> {
        let secret = |value: &Value, name: &str| match values {
            Values::Read => value.read(&format!("github-app.{name}"), folder),
            Values::Left => Ok(String::new()),
        };
        let webhook_secrets = self.webhook_secrets.iter();
        Ok(AppConfig {
            id: self.id,
            api: self.api.clone().unwrap_or_else(|| github::API.to_owned()),
            key: secret(&self.private_key, "private-key")?,
            webhook_secrets: webhook_secrets
                .map(|value| secret(value, "webhook-secrets"))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl AppConfig {
    /// Returns the App; errors where its key cannot be read.
    pub(in super::super) fn app(&self) -> Result<App, CliError> {
        App::new(&self.api, self.id, &self.key).map_err(|source| {
            CliError::new(ErrorKind::Invalid, "`github-app` cannot be used")
                .because(source)
                .with_hint("`private-key` is the file in PEM that GitHub gave out for the App")
        })
    }
}
