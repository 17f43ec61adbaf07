//! `runner secrets`: what the secrets files give.

use serde_json::{Map, Value};

use super::arguments::{Format, SecretsArguments, SecretsPrintArguments, SecretsVerb};
use super::error::{CliError, ErrorKind, ExitCode};
use super::project;
use super::write_line;
use crate::deploy::extract_secret;

/// Carries out what is asked of secrets.
pub(super) fn secrets(arguments: &SecretsArguments) -> Result<ExitCode, CliError> {
    match &arguments.verb {
        SecretsVerb::Print(arguments) => print(arguments),
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
