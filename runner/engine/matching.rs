//! The problem matchers of a job, and how the output of a step meets them.

use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::executor::Sandbox;
use crate::mask::Masker;
use crate::run::Annotation;
use crate::run::matcher::{Matcher, Problem, without_colours};

/// The matchers that the steps of a job have added; they count for all steps that follow.
pub(super) type Matchers = Arc<Mutex<Vec<Matcher>>>;

/// The matchers, as the output of one step meets them.
#[derive(Debug)]
pub(super) struct Matching {
    matchers: Matchers,
    sandbox: Arc<dyn Sandbox>,
    workspace: PathBuf,
}

impl Matching {
    /// Returns the matchers of a job, for a step that runs in its sandbox.
    pub(super) fn new(matchers: &Matchers, sandbox: Arc<dyn Sandbox>, workspace: &Path) -> Self {
        let matching = Self {
            matchers: Arc::clone(matchers),
            sandbox,
            workspace: workspace.to_owned(),
        };
        for matcher in matching.lock().iter_mut() {
            matcher.reset();
        }
        matching
    }

    /// Tells whether lines have to be looked at.
    pub(super) fn is_active(&self) -> bool {
        !self.lock().is_empty()
    }

    /// Adds the matchers of a file, in place of those of the same owners.
    pub(super) fn add(&self, path: &str) -> Result<(), String> {
        let added = self.read(path)?;
        let mut matchers = self.lock();
        matchers.retain(|known| added.iter().all(|added| added.owner != known.owner));
        // What was added last is asked first.
        matchers.splice(0..0, added);
        Ok(())
    }

    /// Removes the matchers of an owner, or those of a file.
    pub(super) fn remove(&self, owner: Option<&str>, path: &str) {
        let owners: Vec<String> = match owner.filter(|owner| !owner.is_empty()) {
            Some(owner) => vec![owner.to_owned()],
            None => {
                let matchers = self.read(path).unwrap_or_default();
                matchers.into_iter().map(|matcher| matcher.owner).collect()
            }
        };
        self.lock().retain(|known| !owners.contains(&known.owner));
    }

    /// Takes a line; a matcher that finds its problem ends what the others were about to find.
    pub(super) fn take(&self, line: &str) -> Option<Problem> {
        let mut matchers = self.lock();
        if matchers.is_empty() {
            return None;
        }
        let plain = without_colours(line.trim_end_matches(['\n', '\r']));
        let (at, problem) = matchers
            .iter_mut()
            .enumerate()
            .find_map(|(at, matcher)| Some((at, matcher.take(&plain)?)))?;
        for (other, matcher) in matchers.iter_mut().enumerate() {
            if other != at {
                matcher.reset();
            }
        }
        Some(problem)
    }

    /// Returns a problem as an annotation, its file as the repository names it.
    pub(super) fn annotation(&self, problem: &Problem, masker: &Masker) -> Annotation {
        let file = problem
            .file
            .as_deref()
            .map(|file| self.in_repository(file, problem));
        let message = match &problem.code {
            Some(code) => format!("{} ({code})", problem.message),
            None => problem.message.clone(),
        };
        Annotation {
            file: file.map(|file| masker.mask(&file)),
            line: problem.line,
            column: problem.column,
            ..Annotation::new(problem.level, masker.mask(&message))
        }
    }

    fn in_repository(&self, file: &str, problem: &Problem) -> String {
        let from = problem.from_path.as_deref().map(Path::new);
        let folder = from.and_then(Path::parent).unwrap_or(Path::new(""));
        let path = folder.join(file);
        let outside = self.sandbox.path_outside(&path.to_string_lossy());
        let path = outside.strip_prefix(&self.workspace).unwrap_or(&path);
        let parts = path
            .components()
            .filter(|part| !matches!(part, Component::CurDir));
        parts.collect::<PathBuf>().display().to_string()
    }

    fn read(&self, path: &str) -> Result<Vec<Matcher>, String> {
        let inside = if Path::new(path).is_absolute() {
            self.sandbox.path_outside(path)
        } else {
            self.workspace.join(path)
        };
        let text = std::fs::read_to_string(inside).map_err(|error| error.to_string())?;
        Matcher::read(&text)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Matcher>> {
        self.matchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
