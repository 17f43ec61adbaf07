//! `runner secrets`: what the secrets files give.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::arguments::{Format, SecretsArguments, SecretsPrintArguments, SecretsVerb};
use super::error::{CliError, ErrorKind, ExitCode};
use super::project;
use super::{settings, write_line};
use crate::deploy::{ProjectWorld, extract_secret};
use crate::kamal::World as _;

/// Carries out what is asked of secrets.
pub(super) fn secrets(arguments: &SecretsArguments) -> Result<ExitCode, CliError> {
    match &arguments.verb {
        SecretsVerb::Print(arguments) => print(arguments),
        SecretsVerb::Fetch {
            adapter,
            account,
            from,
            names,
            ..
        } => {
            let mut words = vec!["fetch".to_owned(), format!("--adapter={adapter}")];
            words.extend(account.iter().map(|account| format!("--account={account}")));
            words.extend(from.iter().map(|from| format!("--from={from}")));
            words.extend(names.iter().cloned());
            let folder = std::env::current_dir().map_err(|source| {
                CliError::new(ErrorKind::Environment, "the current folder is gone").because(source)
            })?;
            let world = ProjectWorld::new(&folder, None, Arc::new(settings::whole_env()));
            let found = world.run_secrets_command(&words).map_err(|reason| {
                CliError::new(ErrorKind::Environment, "the secrets could not be fetched")
                    .because(reason)
            })?;
            write_line(&found);
            Ok(ExitCode::Success)
        }
        SecretsVerb::Extract { name, secrets, .. } => {
            let value = extract_secret(name, secrets)
                .map_err(|reason| CliError::new(ErrorKind::Invalid, reason))?;
            write_line(&value);
            Ok(ExitCode::Success)
        }
    }
}

fn print(arguments: &SecretsPrintArguments) -> Result<ExitCode, CliError> {
    let project = match project::read_for_secrets(&arguments.project, arguments.format)? {
        Ok(project) => project,
        Err(code) => return Ok(code),
    };
    let secrets = project.secrets().map_err(|error| {
        CliError::new(ErrorKind::Invalid, "the secrets could not be read").because(error)
    })?;
    match arguments.format {
        Format::Json => {
            let pairs = secrets
                .iter()
                .map(|(name, value)| (name.to_owned(), Value::from(value)));
            write_line(&Value::Object(pairs.collect::<Map<_, _>>()).to_string());
        }
        Format::Text => {
            for (name, value) in secrets.iter() {
                write_line(&format!("{name}={value}"));
            }
        }
    }
    Ok(ExitCode::Success)
}
