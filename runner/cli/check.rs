//! `runner check`: what is wrong in files, without running them.

use std::path::{Path, PathBuf};

use super::arguments::{CheckArguments, Format};
use super::diagnostics;
use super::error::{CliError, ErrorKind, ExitCode};
use super::{linked, write_line};
use crate::diagnostic::{Diagnostic, has_errors};
use crate::engine::{Labels, unsupported};
use crate::git::working_tree;
use crate::scheduler::{RepositoryWorkflows, WORKFLOW_FOLDERS};
use crate::workflow::{deploy_steps, parse, parse_action};

/// Checks files and folders.
pub(super) fn check(arguments: &CheckArguments) -> Result<ExitCode, CliError> {
    let files = files(&arguments.paths)?;
    let mut is_valid = true;
    for file in &files {
        let source = std::fs::read(file).map_err(|source| {
            CliError::new(
                ErrorKind::Usage,
                format!("`{}` could not be read", file.display()),
            )
            .because(source)
        })?;
        let source = String::from_utf8_lossy(&source);
        let problems = check_source(file, &source, arguments.actions_dir.as_deref());
        is_valid &= !has_errors(&problems);
        let path = file.display().to_string();
        match arguments.format {
            Format::Json => write_line(&diagnostics::to_json(&path, &problems).to_string()),
            Format::Text => print(&path, &source, &problems),
        }
    }
    Ok(if is_valid {
        ExitCode::Success
    } else {
        ExitCode::Invalid
    })
}

/// Returns everything that is to be said of a file; `run` refuses what this finds in error.
pub(super) fn check_source(
    file: &Path,
    source: &str,
    actions_dir: Option<&Path>,
) -> Vec<Diagnostic> {
    let name = file
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    if matches!(name, "action.yml" | "action.yaml") {
        return parse_action(source).1;
    }
    let (workflow, mut problems) = parse(source);
    problems.extend(workflow.iter().flat_map(deploy_steps));
    if let Some(workflow) = &workflow {
        problems.extend(unsupported(workflow, Some(&Labels::default())));
        problems.extend(linked::problems(workflow, &loader(file, actions_dir)));
    }
    problems
}

/// Returns what finds the workflows and actions of a file's repository.
fn loader(file: &Path, actions_dir: Option<&Path>) -> RepositoryWorkflows {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let root = working_tree(folder).map_or_else(|| folder.to_owned(), |tree| tree.root);
    RepositoryWorkflows {
        root,
        actions_dir: actions_dir.map(Path::to_owned),
    }
}

/// Prints diagnostics for a person, and a line that says how it stands.
pub(super) fn print(path: &str, source: &str, problems: &[Diagnostic]) {
    for problem in problems {
        write_line(&diagnostics::render(path, source, problem));
        write_line("");
    }
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    let others = problems.len() - errors;
    let count =
        |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    match (errors, others) {
        (0, 0) => write_line(&format!("{path}: valid")),
        (0, _) => write_line(&format!("{path}: valid, with {}", count(others, "warning"))),
        (_, 0) => write_line(&format!("{path}: {}", count(errors, "error"))),
        (..) => write_line(&format!(
            "{path}: {}, {}",
            count(errors, "error"),
            count(others, "warning")
        )),
    }
}

/// Returns the files that are meant: those named, and those in the folders named.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let mut files = Vec::new();
    if paths.is_empty() {
        for folder in WORKFLOW_FOLDERS {
            files.extend(workflow_files(Path::new(folder)));
        }
        if files.is_empty() {
            return Err(
                CliError::new(ErrorKind::Usage, "there is no workflow file here").with_hint(
                    "name a file, or start in a folder with pipelines/ or .github/workflows/",
                ),
            );
        }
        return Ok(files);
    }
    for path in paths {
        if path.is_dir() {
            files.extend(workflow_files(path));
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

/// Returns the workflow files of a folder, by name.
pub(super) fn workflow_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_yaml = |path: &PathBuf| {
        path.is_file()
            && path
                .extension()
                .is_some_and(|ending| ending == "yml" || ending == "yaml")
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_yaml).collect();
    files.sort();
    files
}
