//! What an action that is part of this program can see and do.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::docker::Engine;
use crate::expression::Value;
use crate::mask::{Masked, Masker};
use crate::run::{Annotation, AnnotationLevel, DeployOutcome, DeployProgress};

/// A future that an [`Action`] returns.
pub type ActionFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An action that is part of this program.
///
/// `run` is called once for a step; if it was called, `post` is called once after the job's last
/// step, in the reverse order of the steps, also when the job failed or was cancelled. What `run`
/// wants to hand to `post` it puts in [`ActionContext::state`] (text) or in [`ActionContext::slots`].
/// On cancel the token of the context is cancelled: `run` stops as soon as it can and returns;
/// `post` gets a token of its own that is cancelled by the runner alone.
pub trait Action: Send + Sync + fmt::Debug {
    /// The `action.yml` that documents it.
    fn manifest(&self) -> &'static str;

    /// Does the work of the step.
    fn run<'a>(
        &'a self,
        context: &'a mut ActionContext<'_>,
    ) -> ActionFuture<'a, Result<ActionResult, Fault>>;

    /// Tells whether it writes into the workspace, which then goes to where the job's commands run.
    fn fills_workspace(&self) -> bool {
        false
    }

    /// Tells whether `post` has anything to do; without it the step shows no second line.
    fn has_post(&self) -> bool {
        false
    }

    /// Does the work after the job's last step.
    fn post<'a>(
        &'a self,
        context: &'a mut ActionContext<'_>,
    ) -> ActionFuture<'a, Result<ActionResult, Fault>> {
        let _ = &context;
        Box::pin(async { Ok(ActionResult::success()) })
    }
}

/// How an action ended: a failing one is a result, not an error.
#[derive(Debug, Clone, Default)]
pub struct ActionResult {
    /// Why it failed, if it did, with what to do about it.
    pub failure: Option<String>,
    /// Its outputs.
    pub outputs: Vec<(String, String)>,
    /// What became of a deployment that did not go through.
    pub deploy: Option<DeployOutcome>,
}

impl ActionResult {
    /// Returns a success without outputs.
    pub fn success() -> Self {
        Self::default()
    }

    /// Returns a failure with its reason.
    pub fn failure(reason: impl Into<String>) -> Self {
        Self {
            failure: Some(reason.into()),
            ..Self::default()
        }
    }

    /// Returns the same with an output.
    #[must_use]
    pub fn with_output(mut self, name: &str, value: impl Into<String>) -> Self {
        self.outputs.push((name.to_owned(), value.into()));
        self
    }
}

/// Our fault or the machine's: the job could not be run as it should.
#[derive(Debug, Error)]
#[error("{what}")]
pub struct Fault {
    /// What could not be done, in words.
    pub what: String,
    /// Why.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Fault {
    /// Returns a fault with its cause.
    pub fn new(
        what: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            what: what.into(),
            source: Some(source.into()),
        }
    }

    /// Returns the fault and all its causes as one line.
    pub fn chain(&self) -> String {
        let mut text = self.what.clone();
        let mut cause = self
            .source
            .as_ref()
            .map(|source| source.as_ref() as &dyn std::error::Error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}

/// Things that the actions of one job hand to one another, one of each type.
#[derive(Default)]
pub struct Slots(HashMap<TypeId, Box<dyn Any + Send + Sync>>);

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots")
            .field("count", &self.0.len())
            .finish()
    }
}

impl Slots {
    /// Returns the thing of type `T`.
    pub fn get<T: Send + Sync + 'static>(&mut self) -> Option<&mut T> {
        self.0.get_mut(&TypeId::of::<T>())?.downcast_mut()
    }

    /// Puts a thing in and returns the one that was there.
    pub fn put<T: Send + Sync + 'static>(&mut self, thing: T) -> Option<T> {
        let before = self.0.insert(TypeId::of::<T>(), Box::new(thing))?;
        before.downcast().ok().map(|before| *before)
    }

    /// Takes the thing of type `T` out.
    pub fn take<T: Send + Sync + 'static>(&mut self) -> Option<T> {
        self.0
            .remove(&TypeId::of::<T>())?
            .downcast()
            .ok()
            .map(|thing| *thing)
    }
}

/// Says what an action has to say.
pub trait Voice: Send + Sync + fmt::Debug {
    /// Prints a line of the step's log.
    fn say(&self, line: Masked);
    /// Prints a notice, a warning or an error.
    fn annotate(&self, annotation: Annotation);
    /// Tells how a deployment goes on.
    fn deployment(&self, progress: DeployProgress);
}

/// What an action can see and do.
#[derive(Debug)]
pub struct ActionContext<'a> {
    /// Which job of which server this is, unlike any other; none where no server runs it.
    pub origin: Option<&'a str>,
    /// Its inputs, with defaults, by lowercase name.
    pub inputs: BTreeMap<String, String>,
    /// The variables of the step.
    pub env: BTreeMap<String, String>,
    /// The secrets that the job may see.
    pub secrets: &'a Value,
    /// The context `github`.
    pub github: Value,
    /// Which action it is: the part of `uses` before `@`.
    pub name: String,
    /// The job's workspace.
    pub workspace: &'a Path,
    /// The folder where the run was started: its repository is what `checkout` checks out.
    pub source: &'a Path,
    /// The folder with the secrets files of the project, which are in no commit.
    pub secrets_folder: &'a Path,
    /// A folder for files that end with the job.
    pub temp: &'a Path,
    /// The Docker Engine where the job runs, if that is another machine's.
    pub engine: Option<Engine>,
    /// Text that `run` leaves for `post`.
    pub state: &'a mut BTreeMap<String, String>,
    /// Things that the actions of the job hand to one another.
    pub slots: &'a mut Slots,
    /// How the job stands: `post` looks at it.
    pub job_status: crate::run::Conclusion,
    /// Where it speaks.
    pub voice: Arc<dyn Voice>,
    /// Takes new secrets.
    pub masker: Masker,
    /// Cancelled when the step is to end.
    pub token: CancellationToken,
}

impl ActionContext<'_> {
    /// Returns an input that is not empty.
    pub fn input(&self, name: &str) -> Option<&str> {
        self.inputs
            .get(name)
            .map(|value| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// Returns an input as GitHub's toolkit reads a boolean; an error says what it should be.
    pub fn boolean(&self, name: &str) -> Result<bool, String> {
        match self.input(name) {
            None | Some("false" | "False" | "FALSE") => Ok(false),
            Some("true" | "True" | "TRUE") => Ok(true),
            Some(other) => Err(format!(
                "input `{name}` must be `true` or `false`, not `{other}`"
            )),
        }
    }

    /// Prints a line of the step's log, without the secrets in it.
    pub fn say(&self, line: &str) {
        self.voice.say(self.masker.mask(line));
    }

    /// Prints a warning, without the secrets in it.
    pub fn warn(&self, message: &str) {
        self.voice.annotate(Annotation::new(
            AnnotationLevel::Warning,
            self.masker.mask(message),
        ));
    }

    /// Returns the path that an input names, in the workspace.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.input(name).map(|path| self.workspace.join(path))
    }
}

/// The actions that are part of this program, by the part of `uses` before `@`.
#[derive(Debug, Clone, Default)]
pub struct ActionRegistry {
    actions: BTreeMap<String, Arc<dyn Action>>,
}

impl ActionRegistry {
    /// Adds an action under `owner/name`, which is looked up without case.
    #[must_use]
    pub fn with(mut self, name: &str, action: Arc<dyn Action>) -> Self {
        self.actions.insert(name.to_lowercase(), action);
        self
    }

    /// Returns those of these names alone.
    #[must_use]
    pub fn only(mut self, names: &[&str]) -> Self {
        self.actions
            .retain(|name, _| names.contains(&name.as_str()));
        self
    }

    /// Returns the action that `owner/name` names.
    pub fn get(&self, name: &str) -> Option<Arc<dyn Action>> {
        self.actions.get(&name.to_lowercase()).map(Arc::clone)
    }

    /// Returns the names of all actions.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.actions.keys().map(String::as_str)
    }
}
