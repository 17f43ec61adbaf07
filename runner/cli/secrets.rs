//! `runner secrets`: what the secrets files give.

use serde_json::{Map, Value};

use super::arguments::{Format, SecretsArguments, SecretsPrintArguments, SecretsVerb};
use super::error::{CliError, ErrorKind, ExitCode};
use super::project::Project;
use super::write_line;

/// Carries out what is asked of secrets.
pub(super) fn secrets(arguments: &SecretsArguments) -> Result<ExitCode, CliError> {
    match &arguments.verb {
        SecretsVerb::Print(arguments) => print(arguments),
        SecretsVerb::Extract { name, secrets, .. } => {
            let value = extract(name, secrets)
                .map_err(|reason| CliError::new(ErrorKind::Invalid, reason))?;
            write_line(&value);
            Ok(ExitCode::Success)
        }
    }
}

fn print(arguments: &SecretsPrintArguments) -> Result<ExitCode, CliError> {
    let project = match Project::read_for_secrets(&arguments.project, arguments.format)? {
        Ok(project) => project,
        Err(code) => return Ok(code),
    };
    let secrets = project.secrets.load(&project.machine).map_err(|error| {
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

/// Answers `kamal secrets …` and `runner secrets …` inside a secrets file.
pub(super) fn inline(arguments: &[String]) -> Result<String, String> {
    let words = arguments
        .iter()
        .map(String::as_str)
        .filter(|word| *word != "--inline");
    match words.collect::<Vec<_>>().as_slice() {
        ["extract", name, secrets] => extract(name, secrets),
        ["fetch", ..] => Err(
            "`secrets fetch` is not supported; call the password manager's own program in `$(…)`"
                .to_owned(),
        ),
        _ => Err("this is no call of `secrets extract NAME JSON`".to_owned()),
    }
}

/// Finds a secret in a JSON object, by its name or by the last part of it.
///
/// Source: Kamal's `secrets extract`.
fn extract(name: &str, secrets: &str) -> Result<String, String> {
    // The text holds secrets, so an error must not show it.
    let object: Map<String, Value> =
        serde_json::from_str(secrets).map_err(|_| "the secrets are no JSON object".to_owned())?;
    let suffix = format!("/{name}");
    let by_suffix = || object.iter().find(|(key, _)| key.ends_with(&suffix));
    let value = object.get(name).or_else(|| Some(by_suffix()?.1));
    match value {
        Some(Value::String(value)) => Ok(value.clone()),
        Some(value) if !value.is_null() => Ok(value.to_string()),
        _ => Err(format!("Could not find secret {name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(words: &[&str]) -> Result<String, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        inline(&words)
    }

    #[test]
    fn a_secret_is_found_by_its_name_or_the_last_part_of_it() {
        let secrets = r#"{"vault/item/PASSWORD": "one", "TOKEN": "two", "a/TOKEN": "three"}"#;
        assert_eq!(
            call(&["extract", "PASSWORD", secrets]),
            Ok("one".to_owned())
        );
        assert_eq!(
            call(&["extract", "--inline", "TOKEN", secrets]),
            Ok("two".to_owned())
        );
        let missing = call(&["extract", "OTHER", secrets]);
        assert_eq!(missing, Err("Could not find secret OTHER".to_owned()));
    }

    #[test]
    fn errors_never_show_what_was_given() {
        let told = call(&["extract", "A", "hunter2"]).unwrap_err();
        assert!(!told.contains("hunter2"), "{told}");
        assert!(
            call(&["fetch", "--adapter", "x", "A"])
                .unwrap_err()
                .contains("fetch")
        );
    }
}
