//! Tests of commands and command files against the conformance tables.

use serde_json::Value as Json;

use super::command::{Command, CommandError, CommandOptions, CommandReader, Reading};
use super::command_file::{self, CommandFile};

#[expect(clippy::disallowed_methods, reason = "a test may read its cases")]
fn cases(file: &str) -> Vec<Json> {
    let root = std::env::var("RUNNER_CONFORMANCE").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/conformance").to_owned()
    });
    let Ok(text) = std::fs::read_to_string(format!("{root}/tables/{file}")) else {
        println!("skipped: no `tables/{file}` in `{root}`");
        return Vec::new();
    };
    let table: Json = serde_json::from_str(&text).unwrap();
    table["cases"].as_array().unwrap().clone()
}

#[test]
fn commands_are_read_as_the_table_says() {
    for case in cases("workflow-commands.json") {
        let name = case["command"].as_str().unwrap();
        let line = case["line"].as_str().unwrap();
        let known = |given: &str| given.eq_ignore_ascii_case(name);
        let command = Command::parse(line, known).unwrap();
        let properties = case["properties"].as_object().unwrap();
        assert_eq!(command.name, name, "{case}");
        assert_eq!(command.data, case["data"].as_str().unwrap(), "{case}");
        assert_eq!(command.properties.len(), properties.len(), "{case}");
        for (key, value) in properties {
            assert_eq!(command.property(key), value.as_str(), "{case}");
        }
    }
}

#[test]
fn stop_tokens_are_taken_as_the_table_says() {
    for case in cases("stop-commands.json") {
        let token = case["token"].as_str().unwrap();
        let mut reader = CommandReader::new(CommandOptions::default());
        let reading = reader.read(&format!("::stop-commands::{token}"));
        if case["accepted"].as_bool().unwrap() {
            let secret = (case["thenTokenIsMasked"] == true).then(|| token.to_owned());
            assert_eq!(reading, Ok(Reading::Stopped { secret }), "{case}");
        } else {
            assert_eq!(reading, Err(CommandError::StopToken), "{case}");
        }
    }
}

#[test]
fn command_files_are_read_as_the_table_says() {
    for case in cases("file-commands.json") {
        let file = match case["command"].as_str().unwrap() {
            "GITHUB_ENV" => CommandFile::Env,
            "GITHUB_OUTPUT" => CommandFile::Output,
            "GITHUB_STATE" => CommandFile::State,
            other => panic!("{other}"),
        };
        // A file that is gone reads as one that says nothing.
        let mut bytes = Vec::new();
        if case["bom"] == true {
            bytes.extend_from_slice(b"\xef\xbb\xbf");
        }
        bytes.extend_from_slice(case["file"].as_str().unwrap_or_default().as_bytes());
        let found = command_file::read(file, &bytes);
        if let Some(words) = case["errorContains"].as_str() {
            let error = found.error.unwrap().to_string().to_lowercase();
            assert!(error.contains(&words.to_lowercase()), "{case} {error}");
            continue;
        }
        assert_eq!(found.error, None, "{case}");
        let values: Json = found
            .values
            .iter()
            .map(|(name, value)| (name.clone(), Json::from(value.as_str())))
            .collect();
        assert_eq!(values, case["expected"], "{case}");
        if let Some(issues) = case["issues"].as_u64() {
            assert_eq!(
                u64::try_from(found.refused.len()).unwrap(),
                issues,
                "{case}"
            );
        }
    }
}
