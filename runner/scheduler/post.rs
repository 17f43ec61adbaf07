//! What GitHub is to show of a run and of a deployment, as it stands in the outbox.

use serde::{Deserialize, Serialize};

use super::check::Check;
use crate::run::{Conclusion, DeployOutcome, RunId, Status};
use crate::store::{JobRow, RunRow};

/// The longest description that GitHub takes.
///
/// Source: GitHub, "Create a commit status" and "Create a deployment status": 140 characters.
const MAX_DESCRIPTION: usize = 140;

/// What is to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Post {
    /// The state of a run beside its commit.
    Status {
        /// The run.
        run: RunId,
        /// The commit.
        sha: String,
        /// What distinguishes it from other statuses of the commit.
        context: String,
        /// `pending`, `success`, `failure` or `error`.
        state: String,
        /// What happened, in a few words.
        description: String,
        /// Where more is to be seen.
        target_url: Option<String>,
    },
    /// A check run: of a run, or of a job of it.
    Check {
        /// The run.
        run: RunId,
        /// What is shown.
        check: Check,
    },
    /// The state of a deployment.
    Deployment {
        /// The run.
        run: RunId,
        /// The commit.
        sha: String,
        /// The environment.
        environment: String,
        /// `queued`, `in_progress`, `success`, `failure`, `error` or `inactive`.
        state: String,
        /// What happened, in a few words.
        description: String,
        /// Where the log is.
        log_url: Option<String>,
        /// Where the environment is.
        environment_url: Option<String>,
    },
}

impl Post {
    /// Returns the kind under which it is stored.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::Check { .. } => "check",
            Self::Deployment { .. } => "deployment",
        }
    }
}

/// What is told of.
pub(super) struct About<'a> {
    /// The run.
    pub(super) run: &'a RunRow,
    /// Its jobs.
    pub(super) jobs: &'a [JobRow],
    /// The commit beside which it is shown.
    pub(super) sha: &'a str,
    /// Where more is to be seen.
    pub(super) url: Option<String>,
}

/// Returns what distinguishes a run from others of its commit.
pub(super) fn context_of(run: &RunRow) -> String {
    context(&run.name, &run.event)
}

/// Returns what distinguishes the runs of a workflow on an event from others of their commit.
pub fn context(workflow: &str, event: &str) -> String {
    format!("{workflow} ({event})")
}

/// Returns what GitHub is to show of a run.
pub(super) fn of_run(about: &About<'_>) -> Post {
    let run = about.run;
    let (state, description) = match (run.status, run.conclusion) {
        (Status::Completed, Some(conclusion)) => (state_of(conclusion), ended(run, about.jobs)),
        (Status::Pending, _) if run.awaits_approval => ("pending", "Waits for approval".to_owned()),
        (Status::Pending, _) => ("pending", "Waits for its concurrency group".to_owned()),
        (Status::InProgress, _) => ("pending", "In progress".to_owned()),
        _ => ("pending", "Queued".to_owned()),
    };
    Post::Status {
        run: run.id.clone(),
        sha: about.sha.to_owned(),
        context: context_of(run),
        state: state.to_owned(),
        description: shortened(&description),
        target_url: about.url.clone(),
    }
}

/// Returns the state of a commit status that stands for how something ended.
pub fn state_of(conclusion: Conclusion) -> &'static str {
    match conclusion {
        Conclusion::Success | Conclusion::Skipped => "success",
        Conclusion::Failure => "failure",
        Conclusion::Cancelled => "error",
    }
}

/// Returns how a run ended, in a few words.
pub(super) fn ended(run: &RunRow, jobs: &[JobRow]) -> String {
    let named = |conclusion: Conclusion| {
        let names: Vec<&str> = jobs
            .iter()
            .filter(|job| job.conclusion == Some(conclusion))
            .map(|job| job.name.as_str())
            .collect();
        names.join(", ")
    };
    let deploy = run
        .deploy
        .map_or_else(String::new, |deploy| format!("; {}", deploy.words()));
    let what = match run.conclusion {
        Some(Conclusion::Failure) => format!("Failed: {}", named(Conclusion::Failure)),
        Some(Conclusion::Cancelled) if run.is_timed_out => "Timed out".to_owned(),
        Some(Conclusion::Cancelled) => "Cancelled".to_owned(),
        _ => "Successful".to_owned(),
    };
    format!("{what}{deploy}")
}

/// Returns what GitHub is to show of the deployment of a job.
pub(super) fn of_job(about: &About<'_>, job: &JobRow, environment: &str) -> Post {
    let (state, description) = match job.conclusion {
        None => ("in_progress", "In progress".to_owned()),
        Some(Conclusion::Success) => ("success", "Deployed".to_owned()),
        Some(Conclusion::Failure) => match job.deploy {
            Some(DeployOutcome::Stands) => {
                ("success", "Deployed; the job was lost after it".to_owned())
            }
            Some(DeployOutcome::Unknown) => ("error", "What became of it is not known".to_owned()),
            Some(DeployOutcome::Undone) => ("failure", "Undone; the old release serves".to_owned()),
            Some(DeployOutcome::UndoIncomplete) => ("failure", "The undo is incomplete".to_owned()),
            None => ("failure", "Failed".to_owned()),
        },
        Some(Conclusion::Cancelled | Conclusion::Skipped) => ("error", "Cancelled".to_owned()),
    };
    Post::Deployment {
        run: about.run.id.clone(),
        sha: about.sha.to_owned(),
        environment: environment.to_owned(),
        state: state.to_owned(),
        description: shortened(&description),
        log_url: about.url.clone(),
        environment_url: job.environment_url.clone(),
    }
}

/// Returns the words for a workflow that a filter shut out.
pub(super) fn skipped(reason: &str) -> String {
    shortened(&format!("Skipped: {reason}"))
}

/// Returns as much of a text as GitHub takes.
pub fn shortened(text: &str) -> String {
    if text.chars().count() <= MAX_DESCRIPTION {
        return text.to_owned();
    }
    let kept: String = text.chars().take(MAX_DESCRIPTION - 3).collect();
    format!("{kept}...")
}
