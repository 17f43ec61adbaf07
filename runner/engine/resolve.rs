//! Finds the action that `uses` names and reads its manifest.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;

use super::action::Action;
use super::context::{ActionIdentity, Frame};
use super::job::JobRun;
use crate::workflow::{ActionManifest, ActionReference, ActionRuns, Step, StepBody, parse_action};

/// How deep composite actions may nest.
///
/// Source: `Constants.CompositeActionsMaxDepth` of GitHub's runner.
pub(super) const MAX_DEPTH: usize = 10;

/// An action, ready to be run.
#[derive(Debug, Clone)]
pub(super) struct FoundAction {
    pub(super) manifest: Arc<ActionManifest>,
    pub(super) kind: FoundKind,
    pub(super) identity: ActionIdentity,
}

/// Where an action's code is.
#[derive(Debug, Clone)]
pub(super) enum FoundKind {
    /// It is part of this program.
    Native {
        /// `owner/name`.
        name: String,
        /// The code.
        action: Arc<dyn Action>,
    },
    /// It lies in a folder of this host.
    Folder(PathBuf),
}

impl JobRun {
    /// Finds an action; the error says in words why there is none.
    pub(super) fn find_action(
        &self,
        uses: &ActionReference,
        frame: &Frame,
    ) -> Result<FoundAction, String> {
        if frame.depth >= MAX_DEPTH {
            return Err(format!(
                "composite actions are nested more than {MAX_DEPTH} deep"
            ));
        }
        match uses {
            ActionReference::Local(path) => {
                let folder = self.folders.workspace.join(path);
                if !folder.is_dir() {
                    return Err(format!(
                        "the action `{path}` is not in the workspace: has `actions/checkout` run before it?"
                    ));
                }
                let whole = self.folders.workspace.canonicalize();
                let is_inside = || {
                    let folder = folder.canonicalize().ok()?;
                    folder.starts_with(whole.ok()?).then_some(())
                };
                if self.sandbox.is_container() && is_inside().is_none() {
                    // A link leads to files of this host, which the job's container does not see.
                    return Err(format!("the action `{path}` is not within the workspace"));
                }
                self.read_folder(&folder, uses, ActionIdentity::default())
            }
            ActionReference::Repository {
                owner,
                repository,
                path,
                reference,
            } => self.find_repository((owner, repository, path, reference), uses),
            ActionReference::SelfRepository(path) => self.read_folder(
                &self.options.source.join(path),
                uses,
                ActionIdentity::default(),
            ),
            ActionReference::Docker(image) => Err(format!(
                "`docker://{image}` is an image and has no manifest"
            )),
        }
    }

    fn find_repository(
        &self,
        (owner, repository, path, reference): (&str, &str, &str, &str),
        uses: &ActionReference,
    ) -> Result<FoundAction, String> {
        let full = if path.is_empty() {
            format!("{owner}/{repository}")
        } else {
            format!("{owner}/{repository}/{path}")
        };
        let in_folder = self
            .options
            .actions_dir
            .as_ref()
            .map(|folder| folder.join(owner).join(repository).join(path));
        let identity = ActionIdentity {
            path: String::new(),
            repository: format!("{owner}/{repository}"),
            reference: reference.to_owned(),
        };
        // A copy that the user put there stands above what this program brings.
        if let Some(folder) = in_folder.filter(|folder| folder.is_dir()) {
            return self.read_folder(&folder, uses, identity);
        }
        if let Some(action) = self.options.actions.get(&full) {
            let manifest = read_manifest(action.manifest(), &full)?;
            return Ok(FoundAction {
                manifest,
                kind: FoundKind::Native { name: full, action },
                identity,
            });
        }
        if owner.eq_ignore_ascii_case("runner") {
            let known: Vec<&str> = self
                .options
                .actions
                .names()
                .filter(|name| name.starts_with("runner/"))
                .collect();
            let near = crate::diagnostic::nearest(&full, known.iter().copied());
            let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            return Err(format!("there is no built-in action `{full}`{hint}"));
        }
        Err(format!(
            "the action `{uses}` is not here: nothing is fetched, so put it at {owner}/{repository} in the folder of --actions-dir"
        ))
    }

    fn read_folder(
        &self,
        folder: &Path,
        uses: &ActionReference,
        identity: ActionIdentity,
    ) -> Result<FoundAction, String> {
        let folder = folder
            .canonicalize()
            .map_err(|error| format!("`{uses}`: {error}"))?;
        let file = ["action.yml", "action.yaml"]
            .map(|name| folder.join(name))
            .into_iter()
            .find(|file| file.is_file());
        let manifest = match file {
            Some(file) => {
                let source = std::fs::read_to_string(&file)
                    .map_err(|error| format!("`{}`: {error}", file.display()))?;
                read_manifest(&source, &uses.to_string())?
            }
            None => bare_dockerfile(&folder)
                .ok_or_else(|| format!("`{uses}` has no action.yml, action.yaml or Dockerfile"))?,
        };
        let identity = ActionIdentity {
            path: self.sandbox.path_inside(&folder),
            ..identity
        };
        Ok(FoundAction {
            manifest,
            kind: FoundKind::Folder(folder),
            identity,
        })
    }

    /// Looks for every action that does not come with the workspace, before the first step: a run
    /// that cannot go through does not begin.
    pub(super) fn check_actions(&self, steps: &[Step]) -> Result<(), String> {
        let frame = Frame::job();
        for step in steps {
            if let StepBody::Uses { uses, .. } = &step.body
                && matches!(uses.value, ActionReference::Repository { .. })
            {
                self.find_action(&uses.value, &frame)?;
            }
        }
        Ok(())
    }
}

/// A folder with nothing but a Dockerfile is an action, too.
fn bare_dockerfile(folder: &Path) -> Option<Arc<ActionManifest>> {
    let names = ["Dockerfile", "dockerfile"];
    let name = names.into_iter().find(|name| folder.join(name).is_file())?;
    Some(Arc::new(ActionManifest {
        name: None,
        description: None,
        inputs: IndexMap::new(),
        outputs: IndexMap::new(),
        runs: ActionRuns::Docker {
            image: name.to_owned(),
            entrypoint: None,
            arguments: Vec::new(),
            env: IndexMap::new(),
            pre: None,
            post: None,
        },
    }))
}

fn read_manifest(source: &str, name: &str) -> Result<Arc<ActionManifest>, String> {
    let (manifest, problems) = parse_action(source);
    let words: Vec<String> = problems
        .iter()
        .filter(|problem| problem.is_error())
        .map(ToString::to_string)
        .collect();
    manifest
        .map(Arc::new)
        .ok_or_else(|| format!("the manifest of `{name}` is invalid: {}", words.join("; ")))
}
