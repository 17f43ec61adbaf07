//! Runs one job and its steps.
//!
//! # How it works
//! [`run_job`] gets a [`JobOrder`], makes the job's folders, opens its sandbox, runs its steps in
//! order and then what the steps want done after the last one, and closes the sandbox. A failing
//! step is a conclusion, never an error; a [`Fault`] is ours or the machine's and fails the job with
//! its reason. Everything it says goes through the [`Recorder`](crate::report::Recorder), free of
//! secrets.
//!
//! Two tokens: the job's own (someone, a time limit or a failed sibling ends the job; steps whose
//! condition says so still run) and the runner's (ends everything at once).

mod action;
mod build_machine;
mod composite;
mod container_action;
mod containers;
mod context;
mod environment;
mod files;
mod job;
mod label;
mod matching;
mod node;
mod output;
mod post;
mod resolve;
mod script;
mod step;
mod support;
mod syncing;
mod uses;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::expression::{Object, Value};
use crate::mask::Masker;
use crate::plan::JobPlan;
use crate::report::Recorder;
use crate::run::JobEnd;

pub use action::{
    Action, ActionContext, ActionFuture, ActionRegistry, ActionResult, Fault, Slots, Voice,
};
pub use build_machine::{BuildMachine, BuildMachineError};
pub use files::hash_files;
pub use job::run_job;
pub use label::{Labels, Place, is_served};
pub use support::{absent_actions, unsupported};

/// What is the same for all jobs that this process runs.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// The actions that are part of this program.
    pub actions: ActionRegistry,
    /// Which labels of `runs-on` are served, and where their jobs run.
    pub labels: Labels,
    /// Where `owner/repo@ref` is looked for: `DIR/owner/repo`.
    pub actions_dir: Option<PathBuf>,
    /// The folder where the run was started; its repository is what `checkout` checks out.
    pub source: PathBuf,
    /// The folder with the secrets files of the project, where that is not the source.
    pub secrets_folder: Option<PathBuf>,
    /// Where the folders of jobs are made and removed.
    pub work: PathBuf,
    /// What every step gets from the machine: `PATH`, `HOME` and their like.
    pub base_env: BTreeMap<String, String>,
    /// Variables that stand above those of the workflow file: `--env`.
    pub extra_env: BTreeMap<String, String>,
    /// Whether debug lines are asked for.
    pub is_debug: bool,
    /// Which job of which server this is, unlike any other: deploys carry it, so that they are known
    /// when the job is lost. None where nobody would look for them.
    pub origin: Option<String>,
    /// Labels of whatever is made on Docker for the job, by which it is found when the job is lost.
    pub marks: BTreeMap<String, String>,
}

/// A job with all that it takes to run it: the plan, the secrets and who asks.
#[derive(Debug)]
pub struct JobOrder {
    /// The plan.
    pub plan: Box<JobPlan>,
    /// The context `github` of the run.
    pub github: Value,
    /// The context `vars`.
    pub vars: Value,
    /// The secrets that the job may see.
    pub secrets: Object,
    /// Knows the secrets.
    pub masker: Masker,
    /// Takes the events.
    pub recorder: Recorder,
    /// Ends the job; steps whose condition says so still run.
    pub cancel: CancellationToken,
    /// Ends everything at once.
    pub force: CancellationToken,
    /// Who runs it.
    pub options: Arc<EngineOptions>,
}

/// How a job ended, for those that need it.
#[derive(Debug)]
pub struct JobReport {
    /// How it ended.
    pub end: JobEnd,
    /// Its outputs.
    pub outputs: Object,
}
