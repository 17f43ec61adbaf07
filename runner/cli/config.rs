//! `runner config`: the deploy configuration as it is read.

use serde_json::Value;

use super::arguments::{ConfigArguments, Format};
use super::error::{CliError, ExitCode};
use super::project;
use super::{write_line, write_note};
use crate::kamal::{JsonContext, SecretValues, to_json};

/// Prints the configuration, with every default and everything merged.
pub(super) fn config(arguments: &ConfigArguments) -> Result<ExitCode, CliError> {
    let project = match project::read(&arguments.project, arguments.format)? {
        Ok(project) => project,
        Err(code) => return Ok(code),
    };
    let version = project::version(&project, arguments.version.as_deref())?;
    let nothing = SecretValues::default();
    // What needs a secret is null without it; the rest can still be shown.
    let secrets = project.secrets().unwrap_or_else(|error| {
        write_note(&format!("warning: {error}"));
        &nothing
    });
    let value = to_json(
        &project.config,
        &JsonContext {
            version: &version,
            folder: &project.folder().display().to_string(),
            secrets,
            reveals_secrets: arguments.reveal_secrets,
        },
    );
    match arguments.format {
        Format::Json => write_line(&value.to_string()),
        Format::Text => {
            let mut text = String::new();
            write_yaml(&value, 0, &mut text);
            write_line(text.trim_end());
        }
    }
    Ok(ExitCode::Success)
}

/// Writes a value as YAML in block style; texts that could be taken for something else are quoted.
fn write_yaml(value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    let mut entry = |head: String, value: &Value| {
        text.push_str(&indent);
        text.push_str(&head);
        let is_empty = match value {
            Value::Object(map) => map.is_empty(),
            Value::Array(list) => list.is_empty(),
            _ => true,
        };
        if is_empty {
            text.push(' ');
            text.push_str(&plain(value));
            text.push('\n');
        } else {
            text.push('\n');
            write_yaml(value, depth + 1, text);
        }
    };
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let key = plain(&Value::from(key.as_str()));
                entry(format!("{key}:"), value);
            }
        }
        Value::Array(list) => {
            for value in list {
                entry("-".to_owned(), value);
            }
        }
        other => {
            text.push_str(&plain(other));
            text.push('\n');
        }
    }
}

/// Writes a scalar, or an empty collection, on one line.
fn plain(value: &Value) -> String {
    let is_word = |text: &str| {
        text.chars()
            .next()
            .is_some_and(|first| first.is_ascii_alphabetic() || first == '/')
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_-./@".contains(c))
            && !matches!(
                text.to_ascii_lowercase().as_str(),
                "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
            )
    };
    match value {
        Value::String(text) if is_word(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_where_yaml_would_read_something_else() {
        let value = serde_json::json!({
            "service": "shop", "version": "123", "answer": "no", "port": 22, "none": null,
            "hosts": ["a.example.com", "10.0.0.1"], "empty": {}, "roles": [{"name": "web"}],
        });
        let mut text = String::new();
        write_yaml(&value, 0, &mut text);
        for line in [
            "service: shop\n",
            "version: \"123\"\n",
            "answer: \"no\"\n",
            "port: 22\n",
            "none: null\n",
            "hosts:\n  - a.example.com\n  - \"10.0.0.1\"\n",
            "empty: {}\n",
            "roles:\n  -\n    name: web\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
