//! What the reading of a deploy configuration asks of this machine: environment, files, commands.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::{Map, Value};

use super::vault;
use crate::kamal::World;
use crate::process::{Captured, ProcessSpec, StartError, capture};

/// The variable by which templates, secrets files and their commands know the destination.
const DESTINATION: &str = "KAMAL_DESTINATION";

/// Renders what is on its standard input as Kamal does; `Kamal::Utils` is what templates use of it.
const RENDER: &str = r#"
require "erb"
module Kamal
  module Utils
    def self.docker_arch
      arch = `docker info --format '{{.Architecture}}' 2>/dev/null`.strip
      arch = RbConfig::CONFIG["host_cpu"] if arch.empty?
      { "x86_64" => "amd64", "aarch64" => "arm64" }.fetch(arch, arch)
    end
  end
end
template = ERB.new($stdin.read, trim_mode: "-")
template.filename = ARGV[0]
$stdout.write template.result
"#;

/// Runs what a variable holds: an argument list is public, and a command can hold secrets.
const SCRIPT: &str = "command=$RUNNER_COMMAND; unset RUNNER_COMMAND; eval \"$command\"";

/// This machine, seen from a project's folder; its methods block.
#[derive(Clone)]
pub struct ProjectWorld {
    folder: PathBuf,
    destination: Option<String>,
    env: Arc<BTreeMap<String, String>>,
    is_attended: bool,
}

impl fmt::Debug for ProjectWorld {
    /// Shows the names of variables alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProjectWorld")
            .field("folder", &self.folder)
            .field("destination", &self.destination)
            .field("env", &self.env.keys())
            .finish_non_exhaustive()
    }
}

impl ProjectWorld {
    /// Returns the machine as the project in `folder` sees it, with `env` as its environment.
    ///
    /// Commands may ask the person who waits for them, and complain, on our own terminal.
    pub fn new(
        folder: &Path,
        destination: Option<&str>,
        env: Arc<BTreeMap<String, String>>,
    ) -> Self {
        Self {
            folder: folder.to_owned(),
            destination: destination.map(str::to_owned),
            env,
            is_attended: true,
        }
    }

    /// Returns the same where nobody watches: commands cannot ask, and what they complain of is
    /// dropped, since nobody could mask it.
    #[must_use]
    pub fn unattended(self) -> Self {
        Self {
            is_attended: false,
            ..self
        }
    }

    fn start(
        &self,
        program: &str,
        arguments: &[&str],
        (input, keeps_error): (Option<&str>, bool),
        command: Option<&str>,
    ) -> Result<Captured, StartError> {
        let mut env: Vec<(OsString, OsString)> = self
            .env
            .iter()
            .filter(|(name, _)| *name != DESTINATION)
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        let own = [
            (DESTINATION, self.destination.as_deref()),
            ("RUNNER_COMMAND", command),
        ];
        for (name, value) in own {
            env.extend(value.map(|value| (name.into(), value.into())));
        }
        let spec = ProcessSpec {
            program: program.into(),
            arguments: arguments.iter().map(Into::into).collect(),
            env,
            directory: self.folder.clone(),
        };
        capture(&spec, input, keeps_error)
    }
}

/// Returns what a command wrote, or how it ended; the command itself may hold secrets.
fn text(done: Captured) -> Result<String, String> {
    match done.code {
        Some(0) => String::from_utf8(done.output).map_err(|_| "its output is no UTF-8".to_owned()),
        Some(code) => Err(format!("exit status {code}")),
        None => Err("ended by a signal".to_owned()),
    }
}

impl ProjectWorld {
    fn shell(&self, command: &str) -> Result<Captured, String> {
        let input = if self.is_attended { None } else { Some("") };
        let streams = (input, !self.is_attended);
        self.start("/bin/sh", &["-c", SCRIPT], streams, Some(command))
            .map_err(|_| "no shell could be started".to_owned())
    }
}

impl World for ProjectWorld {
    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    fn read_file(&self, path: &str) -> Result<Option<String>, String> {
        match std::fs::read(self.folder.join(path)) {
            Ok(bytes) => String::from_utf8(bytes)
                .map(Some)
                .map_err(|_| "it is no UTF-8".to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn run_command(&self, command: &str) -> Result<String, String> {
        self.shell(command).and_then(text)
    }

    fn run_template_command(&self, command: &str) -> Result<String, String> {
        let done = self.shell(command)?;
        String::from_utf8(done.output).map_err(|_| "its output is no UTF-8".to_owned())
    }

    fn run_secrets_command(&self, arguments: &[String]) -> Result<String, String> {
        let run = |program: &str, arguments: &[&str]| {
            let streams = (None, !self.is_attended);
            let done = self.start(program, arguments, streams, None);
            text(done.map_err(|_| format!("`{program}` is not installed here"))?)
        };
        inline(arguments, &run)
    }

    fn render_with_ruby(&self, file: &str, template: &str) -> Option<Result<String, String>> {
        let done = self
            .start("ruby", &["-e", RENDER, file], (Some(template), true), None)
            .ok()?;
        let words = String::from_utf8_lossy(&done.error).trim().to_owned();
        Some(text(done).map_err(|end| if words.is_empty() { end } else { words }))
    }

    fn docker_architecture(&self) -> String {
        let told = self.run_command("docker info --format '{{.Architecture}}' 2>/dev/null");
        let told = told.unwrap_or_default().trim().to_owned();
        match told.as_str() {
            "" if std::env::consts::ARCH == "x86_64" => "amd64".to_owned(),
            "" if std::env::consts::ARCH == "aarch64" => "arm64".to_owned(),
            "" => std::env::consts::ARCH.to_owned(),
            "x86_64" => "amd64".to_owned(),
            "aarch64" => "arm64".to_owned(),
            _ => told,
        }
    }
}

/// Answers `kamal secrets …` and `runner secrets …` inside a secrets file.
fn inline(arguments: &[String], run: vault::Run<'_>) -> Result<String, String> {
    let words = arguments
        .iter()
        .map(String::as_str)
        .filter(|word| *word != "--inline");
    match words.collect::<Vec<_>>().as_slice() {
        ["extract", name, secrets] => extract_secret(name, secrets),
        ["fetch", words @ ..] => vault::fetch(words, run),
        _ => Err("this is no call of `secrets fetch` or of `secrets extract NAME JSON`".to_owned()),
    }
}

/// Finds a secret in a JSON object, by its name or by the last part of it.
///
/// Source: Kamal's `secrets extract`.
pub fn extract_secret(name: &str, secrets: &str) -> Result<String, String> {
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

    fn machine(destination: Option<&str>) -> ProjectWorld {
        let env = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
        ProjectWorld::new(Path::new("/"), destination, Arc::new(env.into()))
    }

    #[test]
    fn the_words_of_a_command_are_in_no_argument_list() {
        let command = "tr '\\0' ' ' < /proc/$$/cmdline; echo \"<$RUNNER_COMMAND>\" # hunter2";
        let told = machine(None).unattended().run_command(command).unwrap();
        assert!(told.contains("<>") && !told.contains("hunter2"), "{told}");
    }

    #[test]
    fn commands_see_the_destination_and_answer_with_their_output() {
        let command = "echo \"<$KAMAL_DESTINATION>\"";
        assert_eq!(
            machine(Some("staging")).run_command(command),
            Ok("<staging>\n".to_owned())
        );
        assert_eq!(machine(None).run_command(command), Ok("<>\n".to_owned()));
    }

    #[test]
    fn a_command_that_fails_is_told_without_its_words() {
        let failed = machine(None).run_command("exit 7 # hunter2");
        assert_eq!(failed, Err("exit status 7".to_owned()));
    }

    #[test]
    fn a_command_of_a_template_counts_by_what_it_wrote() {
        let written = machine(None).run_template_command("echo half; exit 7");
        assert_eq!(written, Ok("half\n".to_owned()));
    }

    #[test]
    fn a_file_that_is_not_there_is_no_error() {
        assert_eq!(machine(None).read_file("no/such/file"), Ok(None));
        assert!(machine(None).read_file("etc").is_err());
    }

    fn call(words: &[&str]) -> Result<String, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        inline(&words, &|_, _| Err("nothing is installed".to_owned()))
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
        let told = call(&["fetch", "--adapter", "doppler", "A"]).unwrap_err();
        assert!(told.contains("nothing is installed"), "{told}");
    }
}
