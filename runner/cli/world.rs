//! What the reading of a deploy configuration asks of this machine: environment, files, commands.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{secrets, settings};
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

/// This machine, seen from a project's folder.
#[derive(Debug)]
pub(super) struct Machine {
    folder: PathBuf,
    destination: Option<String>,
}

impl Machine {
    /// Returns the machine as the project in `folder` sees it.
    pub(super) fn new(folder: &Path, destination: Option<&str>) -> Self {
        Self {
            folder: folder.to_owned(),
            destination: destination.map(str::to_owned),
        }
    }

    fn start(
        &self,
        program: &str,
        arguments: &[&str],
        input: Option<&str>,
        keeps_error: bool,
    ) -> Result<Captured, StartError> {
        let mut env: Vec<(OsString, OsString)> = std::env::vars_os()
            .filter(|(name, _)| name != DESTINATION)
            .collect();
        if let Some(destination) = &self.destination {
            env.push((DESTINATION.into(), destination.into()));
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

impl World for Machine {
    fn env(&self, name: &str) -> Option<String> {
        settings::variable(name)
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
        let done = self.start("/bin/sh", &["-c", command], None, false);
        done.map_err(|_| "no shell could be started".to_owned())
            .and_then(text)
    }

    fn run_template_command(&self, command: &str) -> Result<String, String> {
        let done = self.start("/bin/sh", &["-c", command], None, false);
        let done = done.map_err(|_| "no shell could be started".to_owned())?;
        String::from_utf8(done.output).map_err(|_| "its output is no UTF-8".to_owned())
    }

    fn run_secrets_command(&self, arguments: &[String]) -> Result<String, String> {
        secrets::inline(arguments)
    }

    fn render_with_ruby(&self, file: &str, template: &str) -> Option<Result<String, String>> {
        let done = self
            .start("ruby", &["-e", RENDER, file], Some(template), true)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(destination: Option<&str>) -> Machine {
        Machine::new(Path::new("/"), destination)
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
}
