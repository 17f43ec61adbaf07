//! A project with a deploy configuration: read once, for every verb that needs it.

use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::arguments::{Format, ProjectArguments};
use super::error::{CliError, ErrorKind, ExitCode};
use super::{diagnostics, settings, write_line, write_note};
use crate::deploy::ProjectWorld;
use crate::git;
use crate::kamal::{self, Config, FileDiagnostic, GitFacts, Reading, Secrets, VersionSources};

/// A project whose deploy configuration is valid.
#[derive(Debug)]
pub(super) struct Project {
    /// The folder, absolute.
    pub(super) folder: PathBuf,
    /// The configuration.
    pub(super) config: Config,
    /// The secrets, not read yet.
    pub(super) secrets: Secrets,
    /// The machine, as the project sees it.
    pub(super) machine: ProjectWorld,
}

impl Project {
    /// Reads the configuration in the folder where the process was started.
    ///
    /// Notices go to standard error. A configuration that is invalid is told as `format` says, and
    /// the exit code is returned.
    pub(super) fn read(
        arguments: &ProjectArguments,
        format: Format,
    ) -> Result<Result<Self, ExitCode>, CliError> {
        let destination = arguments.destination.as_deref();
        let folder = current_folder()?;
        let machine = machine(&folder, destination);
        let reading = kamal::read(&arguments.config_file, destination, &machine);
        Ok(Self::from_reading(
            &reading,
            folder,
            machine,
            destination,
            format,
        ))
    }

    /// Reads the configuration for its secrets alone, so that a destination needs no file of its
    /// own in `config`.
    pub(super) fn read_for_secrets(
        arguments: &ProjectArguments,
        format: Format,
    ) -> Result<Result<Self, ExitCode>, CliError> {
        let destination = arguments.destination.as_deref();
        let folder = current_folder()?;
        let machine = machine(&folder, destination);
        let mut reading = kamal::read(&arguments.config_file, destination, &machine);
        if let [only] = reading.diagnostics.as_slice()
            && only.diagnostic.code == "missing-file"
            && only.file != arguments.config_file
        {
            reading = kamal::read(&arguments.config_file, None, &machine);
        }
        Ok(Self::from_reading(
            &reading,
            folder,
            machine,
            destination,
            format,
        ))
    }

    fn from_reading(
        reading: &Reading,
        folder: PathBuf,
        machine: ProjectWorld,
        destination: Option<&str>,
        format: Format,
    ) -> Result<Self, ExitCode> {
        let Some(config) = reading.config.clone() else {
            refuse(reading, format);
            return Err(ExitCode::Invalid);
        };
        for found in &reading.diagnostics {
            write_note(&rendered(reading, found));
        }
        Ok(Self {
            folder,
            secrets: Secrets::new(&config.secrets_path, destination),
            config,
            machine,
        })
    }

    /// Decides the version of a release: what was asked for, `VERSION`, or the commit.
    pub(super) fn version(&self, asked: Option<&str>) -> Result<String, CliError> {
        let tree = git::working_tree(&self.folder);
        let git = tree.and_then(|tree| {
            Some(GitFacts {
                revision: tree.commit?,
                is_dirty: git::uncommitted(&tree.root).is_ok_and(|paths| !paths.is_empty()),
            })
        });
        let random = format!("{:016x}", RandomState::new().hash_one("version"));
        let folder = self.folder.display().to_string();
        let environment = settings::variable("VERSION");
        let sources = VersionSources {
            asked,
            environment: environment.as_deref(),
            git: git.as_ref(),
            folder: &folder,
            random: &random,
        };
        self.config.version(&sources).map_err(|missing| {
            CliError::new(ErrorKind::Invalid, missing.to_string())
                .with_hint("name the version with `--version`")
        })
    }
}

/// Returns this machine as the project in `folder` sees it.
fn machine(folder: &Path, destination: Option<&str>) -> ProjectWorld {
    ProjectWorld::new(folder, destination, Arc::new(settings::whole_env()))
}

fn current_folder() -> Result<PathBuf, CliError> {
    std::env::current_dir().map_err(|source| {
        CliError::new(ErrorKind::Environment, "the current folder is gone").because(source)
    })
}

/// Says why a configuration cannot be used.
fn refuse(reading: &Reading, format: Format) {
    match format {
        Format::Json => write_line(&to_json(&reading.diagnostics).to_string()),
        Format::Text => {
            for found in &reading.diagnostics {
                write_note(&rendered(reading, found));
            }
        }
    }
}

/// Returns what was found as one object for programs.
fn to_json(found: &[FileDiagnostic]) -> Value {
    let list: Vec<Value> = found
        .iter()
        .map(|found| {
            let problem = &found.diagnostic;
            json!({
                "file": found.file, "severity": problem.severity, "code": problem.code, "message": problem.message,
                "line": problem.span.start.line, "column": problem.span.start.column, "hint": problem.hint,
            })
        })
        .collect();
    json!({ "diagnostics": list })
}

/// Returns what was found with its line, as a person reads it.
fn rendered(reading: &Reading, found: &FileDiagnostic) -> String {
    let source = reading.sources.iter().find(|(file, _)| *file == found.file);
    match source {
        Some((file, text)) => diagnostics::render(file, text, &found.diagnostic),
        None => found.to_string(),
    }
}
