//! Where workflow files come from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use crate::diagnostic::{Diagnostic, has_errors};
use crate::plan::{Found, WorkflowFile, WorkflowLoader};
use crate::workflow;

/// A workflow file could not be used.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The user's command line or the machine: the file cannot be read.
    #[error("`{path}` could not be read")]
    File {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The user's file: it is not valid.
    #[error("`{path}` is not a valid workflow")]
    Invalid {
        /// The file.
        path: String,
        /// Its text.
        text: String,
        /// Everything that is wrong with it.
        diagnostics: Vec<Diagnostic>,
    },
}

/// Reads a workflow file; also returns what is to be warned of.
///
/// `name` is the path in the repository that the workflow gets.
pub fn read_workflow(
    path: &Path,
    name: &str,
) -> Result<(WorkflowFile, Vec<Diagnostic>), ReadError> {
    let source = std::fs::read_to_string(path).map_err(|source| ReadError::File {
        path: path.display().to_string(),
        source,
    })?;
    parse_workflow(source, name)
}

/// Reads the text of a workflow file; also returns what is to be warned of.
///
/// `name` is the path in the repository that the workflow gets.
pub fn parse_workflow(
    source: String,
    name: &str,
) -> Result<(WorkflowFile, Vec<Diagnostic>), ReadError> {
    let (read, mut diagnostics) = workflow::parse(&source);
    diagnostics.extend(read.iter().flat_map(workflow::deploy_steps));
    match read.filter(|_| !has_errors(&diagnostics)) {
        Some(workflow) => Ok((
            WorkflowFile {
                path: name.to_owned(),
                source,
                workflow,
            },
            diagnostics,
        )),
        None => Err(ReadError::Invalid {
            path: name.to_owned(),
            text: source,
            diagnostics,
        }),
    }
}

/// Finds called workflows in a folder that holds a repository, and in the folder of
/// `--actions-dir`.
#[derive(Debug, Clone)]
pub struct RepositoryWorkflows {
    /// The repository's folder.
    pub root: PathBuf,
    /// Where `owner/repo/path@ref` is looked for.
    pub actions_dir: Option<PathBuf>,
}

impl RepositoryWorkflows {
    /// Looks for a called workflow.
    pub fn find(&self, uses: &str) -> Found {
        let path = match uses.strip_prefix("./") {
            Some(local) => self.root.join(local),
            None => {
                let (place, _reference) = uses.rsplit_once('@').unwrap_or((uses, ""));
                match &self.actions_dir {
                    Some(folder) => folder.join(place),
                    None => {
                        return Found::Elsewhere(format!(
                            "the workflow `{uses}` is not here: nothing is fetched, so put it at {place} in the folder of --actions-dir"
                        ));
                    }
                }
            }
        };
        match read_workflow(&path, uses.trim_start_matches("./")) {
            Ok((file, _)) => Found::Workflow(Arc::new(file)),
            Err(error @ ReadError::File { .. }) => Found::Missing(error.of_called(uses)),
            Err(error @ ReadError::Invalid { .. }) => Found::Invalid(error.of_called(uses)),
        }
    }
}

impl ReadError {
    /// Says in words why a called workflow cannot be used.
    pub(super) fn of_called(&self, uses: &str) -> String {
        match self {
            Self::File { source, .. } => {
                format!("the workflow `{uses}` could not be read: {source}")
            }
            Self::Invalid { diagnostics, .. } => {
                let words: Vec<String> = diagnostics
                    .iter()
                    .filter(|problem| problem.is_error())
                    .map(ToString::to_string)
                    .collect();
                format!("the workflow `{uses}` is not valid: {}", words.join("; "))
            }
        }
    }
}

impl WorkflowLoader for RepositoryWorkflows {
    fn load(&self, uses: &str) -> Result<Arc<WorkflowFile>, String> {
        match self.find(uses) {
            Found::Workflow(file) => Ok(file),
            Found::Elsewhere(reason) | Found::Missing(reason) | Found::Invalid(reason) => {
                Err(reason)
            }
        }
    }
}
