//! A project with a deploy configuration: read once, for every verb that needs it.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use serde_json::{Value, json};

use super::arguments::{Format, ProjectArguments};
use super::error::{CliError, ErrorKind, ExitCode};
use super::{diagnostics, settings, write_line, write_note};
use crate::deploy::{Attendance, Project, ProjectPlace};
use crate::git;
use crate::kamal::{self, FileDiagnostic, GitFacts, Reading, VersionSources};

/// Reads the configuration in the folder where the process was started.
///
/// Notices go to standard error. A configuration that is invalid is told as `format` says, and
/// the exit code is returned.
pub(super) fn read(
    arguments: &ProjectArguments,
    format: Format,
) -> Result<Result<Project, ExitCode>, CliError> {
    let place = place(arguments)?;
    let reading = reading(&place, place.destination.as_deref());
    Ok(of_reading(&reading, place, format))
}

/// Reads the configuration for its secrets alone, so that a destination needs no file of its
/// own in `config`.
pub(super) fn read_for_secrets(
    arguments: &ProjectArguments,
    format: Format,
) -> Result<Result<Project, ExitCode>, CliError> {
    let place = place(arguments)?;
    let mut found = reading(&place, place.destination.as_deref());
    if let [only] = found.diagnostics.as_slice()
        && only.diagnostic.code == "missing-file"
        && only.file != arguments.config_file
    {
        found = reading(&place, None);
    }
    Ok(of_reading(&found, place, format))
}

/// Decides the version of a release: what was asked for, `VERSION`, or the commit.
pub(super) fn version(project: &Project, asked: Option<&str>) -> Result<String, CliError> {
    let tree = git::working_tree(project.folder());
    let git = tree.and_then(|tree| {
        Some(GitFacts {
            revision: tree.commit?,
            is_dirty: git::uncommitted(&tree.root).is_ok_and(|paths| !paths.is_empty()),
        })
    });
    let random = format!("{:016x}", RandomState::new().hash_one("version"));
    let folder = project.folder().display().to_string();
    let environment = settings::variable("VERSION");
    let sources = VersionSources {
        asked,
        environment: environment.as_deref(),
        git: git.as_ref(),
        folder: &folder,
        random: &random,
    };
    project.config.version(&sources).map_err(|missing| {
        CliError::new(ErrorKind::Invalid, missing.to_string())
            .with_hint("name the version with `--version`")
    })
}

/// Returns the project of the current folder, with this process's environment.
fn place(arguments: &ProjectArguments) -> Result<ProjectPlace, CliError> {
    let folder = std::env::current_dir().map_err(|source| {
        CliError::new(ErrorKind::Environment, "the current folder is gone").because(source)
    })?;
    Ok(ProjectPlace {
        secrets_folder: folder.clone(),
        folder,
        config_file: arguments.config_file.clone(),
        destination: arguments.destination.clone(),
        env: Arc::new(settings::whole_env()),
    })
}

fn reading(place: &ProjectPlace, destination: Option<&str>) -> Reading {
    let world = place.world(&place.folder, Attendance::Attended);
    kamal::read(&place.config_file, destination, &world)
}

fn of_reading(reading: &Reading, place: ProjectPlace, format: Format) -> Result<Project, ExitCode> {
    let Some(config) = reading.config.clone() else {
        refuse(reading, format);
        return Err(ExitCode::Invalid);
    };
    for found in &reading.diagnostics {
        write_note(&rendered(reading, found));
    }
    Ok(Project::of_config(config, place, Attendance::Attended))
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
