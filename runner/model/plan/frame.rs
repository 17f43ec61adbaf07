//! The parts of a run's progress: files that take part, their jobs, and the instances of those.

use std::sync::Arc;

use indexmap::IndexMap;

use super::expand::Expansion;
use super::job::{JobPlan, SecretAccess, WorkflowFile};
use super::progress::JobResult;
use super::scope::Chain;
use crate::expression::Value;

/// A workflow that takes part: the run's own, or one that a job calls.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) file: Arc<WorkflowFile>,
    /// The job that calls it.
    pub(super) caller: Option<usize>,
    pub(super) callers: Vec<String>,
    pub(super) inputs: Value,
    pub(super) secrets: SecretAccess,
    pub(super) jobs: IndexMap<String, JobState>,
    pub(super) is_closed: bool,
}

/// A job of a file, with all its instances.
#[derive(Debug, Default)]
pub(super) struct JobState {
    pub(super) is_expanded: bool,
    pub(super) instances: Vec<usize>,
    pub(super) result: Option<JobResult>,
    pub(super) chain: Chain,
}

/// A job after matrix expansion.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) frame: usize,
    pub(super) id: String,
    pub(super) phase: Phase,
    pub(super) plan: Option<Box<JobPlan>>,
    pub(super) expansion: Expansion,
}

#[derive(Debug, Clone)]
pub(super) enum Phase {
    Queued,
    Running,
    Done(JobResult),
}

impl Frame {
    pub(super) fn new(
        file: Arc<WorkflowFile>,
        caller: Option<usize>,
        callers: Vec<String>,
        inputs: Value,
        secrets: SecretAccess,
    ) -> Self {
        let jobs = file
            .workflow
            .jobs
            .keys()
            .map(|id| (id.clone(), JobState::default()))
            .collect();
        Self {
            file,
            caller,
            callers,
            inputs,
            secrets,
            jobs,
            is_closed: false,
        }
    }

    /// Tells whether everything that a job needs is done.
    pub(super) fn is_ready(&self, id: &str) -> bool {
        self.file.workflow.jobs.get(id).is_some_and(|job| {
            let is_done = |need: &str| {
                self.jobs
                    .get(need)
                    .is_none_or(|state| state.result.is_some())
            };
            job.needs.iter().all(|need| is_done(&need.value))
        })
    }

    pub(super) fn full_name(&self, name: &str) -> String {
        let mut names = self.callers.clone();
        names.push(name.to_owned());
        names.join(" / ")
    }
}
