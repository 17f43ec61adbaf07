//! One job, ready to be run: everything but the secrets.

use std::sync::Arc;

use super::concurrency::Concurrency;
use super::environment::Environment;
use crate::expression::Value;
use crate::run::JobKey;
use crate::workflow::{Job, Token, Workflow};

/// A workflow file that is part of a run.
#[derive(Debug)]
pub struct WorkflowFile {
    /// Its path in the repository.
    pub path: String,
    /// Its text, so that a plan can be handed to another process and read again there.
    pub source: String,
    /// The same, read.
    pub workflow: Workflow,
}

/// One job of a run, after matrix expansion; free of secrets.
#[derive(Debug, Clone)]
pub struct JobPlan {
    /// The job.
    pub key: JobKey,
    /// The file that it stands in.
    pub file: Arc<WorkflowFile>,
    /// Its key under `jobs` of that file.
    pub id: String,
    /// Its name on the checks page, with the names of its callers.
    pub name: String,
    /// The names of the callers, outermost first.
    pub callers: Vec<String>,
    /// The labels of `runs-on`; a group as `group:NAME`.
    pub runs_on: Vec<String>,
    /// Its matrix cell.
    pub matrix: Value,
    /// Its place in the matrix: the context `strategy`.
    pub strategy: Value,
    /// What it needs: the context `needs`.
    pub needs: Value,
    /// The context `inputs`.
    pub inputs: Value,
    /// The group of which only one may run, if it belongs to one.
    pub concurrency: Option<Concurrency>,
    /// The environment that it deploys to, if it does.
    pub environment: Option<Environment>,
    /// Which secrets it may see.
    pub secrets: SecretAccess,
}

impl JobPlan {
    /// Returns the job as it stands in the file.
    pub fn job(&self) -> Option<&Job> {
        self.file.workflow.jobs.get(&self.id)
    }
}

/// Which secrets a job may see.
#[derive(Debug, Clone)]
pub enum SecretAccess {
    /// All of the run.
    All,
    /// Those that its caller names, each with an expression over the caller's secrets.
    Named {
        /// The names and what each is made of.
        names: Vec<(String, Token)>,
        /// What the expressions can see beside the secrets.
        contexts: Box<CallerContexts>,
        /// What the caller itself may see.
        caller: Arc<Self>,
    },
}

/// The contexts of a job that calls another workflow, for its `secrets`.
#[derive(Debug, Clone)]
pub struct CallerContexts {
    /// `inputs`.
    pub inputs: Value,
    /// `needs`.
    pub needs: Value,
    /// `matrix`.
    pub matrix: Value,
    /// `strategy`.
    pub strategy: Value,
}
