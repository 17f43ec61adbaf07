//! What is stored of a run, so that it can be planned again at any time and anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::source::parse_workflow;
use crate::expression::{Object, Value};
use crate::plan::{Decision, JobPlan, JobResult, Progress, RunFacts, WorkflowFile, WorkflowLoader};
use crate::run::{Attempt, Conclusion, JobKey};

/// The form of stored documents.
const FORMAT: u32 = 1;

/// Everything that the plan of a run is made of, free of secrets.
///
/// A plan is never stored: it is made again from this and from how the finished jobs ended
/// (`docs/decisions/0008-runs-are-replayed.md`).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunDocument {
    /// The version of this form.
    pub format: u32,
    /// The workflow file's path in the repository.
    pub path: String,
    /// The texts of the repository's workflow files at the run's commit, by path.
    pub files: BTreeMap<String, String>,
    /// The context `github`, without a token.
    pub github: Json,
    /// The context `vars`.
    pub vars: Json,
    /// The inputs of a dispatch.
    pub inputs: Json,
    /// The only job that is wanted, with what it needs.
    pub only: Option<String>,
    /// Whether it comes from a fork: it gets no secrets.
    pub is_fork: bool,
    /// The names of the jobs that a later attempt runs once more; `None` is all of them.
    pub again: Option<BTreeSet<String>>,
    /// How GitHub is told of it; `None` where it is not.
    pub report: Option<Report>,
    /// Whether a job that was lost with its machine, and deploys nothing, is run again.
    #[serde(default)]
    pub reruns_lost: bool,
    /// Whether it is about the default branch, which people want to be whole.
    #[serde(default)]
    pub is_default_branch: bool,
}

/// How GitHub is told of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The commit beside which the run is shown: of a pull request the newest of its own.
    pub sha: String,
    /// Where this server's pages are seen from outside.
    pub public_url: Option<String>,
    /// Whether it is told in the name of an App, by check runs.
    #[serde(default)]
    pub is_app: bool,
}

/// Something that happened in a run and decides what comes next.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Change {
    /// A job ended.
    Finished {
        /// The job.
        job: JobKey,
        /// How.
        conclusion: Conclusion,
        /// Its outputs.
        outputs: Json,
    },
    /// The run was cancelled.
    Cancelled,
}

impl RunDocument {
    /// Returns a document in the current form.
    pub fn new(path: &str, files: BTreeMap<String, String>) -> Self {
        Self {
            format: FORMAT,
            path: path.to_owned(),
            files,
            github: Json::Null,
            vars: Json::Null,
            inputs: Json::Null,
            only: None,
            is_fork: false,
            again: None,
            report: None,
            reruns_lost: false,
            is_default_branch: false,
        }
    }

    /// Returns the commit that people see: of a pull request the newest of its own.
    pub fn head_sha(&self) -> Option<&str> {
        let text = |path: &str| self.github.pointer(path).and_then(Json::as_str);
        text("/event/pull_request/head/sha").or_else(|| text("/sha"))
    }

    /// Returns what is the same for all jobs of an attempt.
    pub fn facts(&self, attempt: Attempt) -> RunFacts {
        let github = Value::from(&self.github);
        let github = github.as_object().cloned().unwrap_or_default();
        RunFacts {
            github: github.with("run_attempt", attempt.0.to_string()).into(),
            vars: Value::from(&self.vars),
        }
    }

    /// Returns where the jobs of an attempt stand after `changes`, and all that was decided on the
    /// way. Errors in words where the workflow file
    /// cannot be read, which was read once before.
    pub fn replay(
        &self,
        attempt: Attempt,
        changes: &[Change],
    ) -> Result<(Progress, Vec<Decision>), String> {
        let mut progress = self.begin(attempt)?;
        let mut decisions = progress.advance();
        for change in changes {
            decisions.extend(change.apply(&mut progress));
        }
        Ok((progress, decisions))
    }

    /// Returns the plan of a job that was started after `changes`, as [`RunDocument::replay`].
    pub fn plan_of(
        &self,
        attempt: Attempt,
        changes: &[Change],
        job: JobKey,
    ) -> Result<Box<JobPlan>, String> {
        let (_, decisions) = self.replay(attempt, changes)?;
        let mine = decisions.into_iter().find_map(|decision| match decision {
            Decision::Start(plan) if plan.key == job => Some(plan),
            _ => None,
        });
        mine.ok_or_else(|| "the plan of the run does not start this job".to_owned())
    }

    /// Returns a plan in which nothing is decided.
    pub fn begin(&self, attempt: Attempt) -> Result<Progress, String> {
        let loader = DocumentWorkflows {
            files: self.files.clone(),
        };
        let file = loader.load(&format!("./{}", self.path))?;
        let mut progress = Progress::new(
            file,
            self.facts(attempt),
            Value::from(&self.inputs),
            Box::new(loader),
        );
        if let Some(job) = &self.only {
            progress.keep_only(job);
        }
        Ok(progress)
    }
}

impl Change {
    /// Tells a plan of the change.
    pub fn apply(&self, progress: &mut Progress) -> Vec<Decision> {
        match self {
            Self::Finished {
                job,
                conclusion,
                outputs,
            } => {
                let outputs = Value::from(outputs);
                let result = JobResult {
                    conclusion: *conclusion,
                    outputs: outputs.as_object().cloned().unwrap_or_else(Object::new),
                };
                progress.finish(*job, result)
            }
            Self::Cancelled => progress.cancel(),
        }
    }
}

/// Finds called workflows among the texts of a document.
#[derive(Debug)]
struct DocumentWorkflows {
    files: BTreeMap<String, String>,
}

impl WorkflowLoader for DocumentWorkflows {
    fn load(&self, uses: &str) -> Result<Arc<WorkflowFile>, String> {
        let Some(path) = uses.strip_prefix("./") else {
            return Err(format!(
                "the workflow `{uses}` lies in another repository, and nothing is fetched from there"
            ));
        };
        let text = self.files.get(path).ok_or_else(|| {
            let folder = PathBuf::from(path);
            let folder = folder.parent().unwrap_or(&folder).display().to_string();
            format!("the workflow `{uses}` is not in `{folder}` of the run's commit")
        })?;
        parse_workflow(text.clone(), path)
            .map(|(file, _)| Arc::new(file))
            .map_err(|error| error.of_called(uses))
    }
}
