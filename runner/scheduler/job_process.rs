//! The process of one job: reads its order, runs the engine, and leaves events and end in its spool.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::findings::{Collector, Findings};
use super::lease::end_without_lease;
use super::ledger::JobOutcome;
use super::order::{FORMAT, WrittenOrder};
use super::secrets::job_secrets;
use super::spool::{Spool, SpoolWriter, write_end};
use crate::engine::{ActionRegistry, EngineOptions, JobOrder, JobReport, run_job};
use crate::expression::{Object, Value};
use crate::git::Mirror;
use crate::mask::Masker;
use crate::plan::{Decision, JobPlan};
use crate::report::Recorder;
use crate::run::{Conclusion, JobEnd};
use crate::workflow::{JobBody, StepBody};

/// Why a job ended whose machine did not have it any more.
const LAPSED: &str = "its machine lost communication with the database for too long, and another one could have taken it: it was ended";

/// The process of a job cannot do its work.
#[derive(Debug, Error)]
pub enum JobProcessError {
    /// What came on standard input is no order of this version.
    #[error("the order of the job cannot be read")]
    Order(#[source] serde_json::Error),
    /// It is of another version.
    #[error("the order has format {0}, and this version knows {FORMAT}")]
    Format(u32),
    /// The spool cannot be used.
    #[error("the spool of the job cannot be used")]
    Spool(#[source] io::Error),
    /// Somebody decided that this owner of the job may not begin.
    #[error("the job has another owner by now")]
    Late,
}

/// What the process brings along: what the environment says, and the built-in actions.
#[derive(Debug)]
pub struct JobSurroundings {
    /// The built-in actions.
    pub actions: ActionRegistry,
    /// What steps get from the machine.
    pub base_env: BTreeMap<String, String>,
    /// Cancels the job.
    pub cancel: CancellationToken,
    /// Ends it at once.
    pub force: CancellationToken,
}

/// Runs the job of an order to its end, which is in its spool when this returns.
///
/// Errors only before the job begins.
pub async fn run_ordered(order: &[u8], around: JobSurroundings) -> Result<(), JobProcessError> {
    let order: WrittenOrder = serde_json::from_slice(order).map_err(JobProcessError::Order)?;
    if order.format != FORMAT {
        return Err(JobProcessError::Format(order.format));
    }
    let spool = Spool::at(order.spool.clone());
    // Held until this process ends: it says that the job lives.
    let life = spool.begin_life().map_err(JobProcessError::Spool)?;
    let Some(_life) = life else {
        return Err(JobProcessError::Late);
    };
    let writer = SpoolWriter::open(&spool, &order.claimed()).map_err(JobProcessError::Spool)?;
    let masker = Masker::new();
    for secret in order
        .secrets
        .values()
        .chain(order.environment_secrets.values())
    {
        masker.add(secret);
    }
    let tokens = (around.cancel.clone(), around.force.clone());
    let lapse = order
        .lease_patience
        .map(|patience| end_without_lease(spool.clone(), Duration::from_millis(patience), tokens))
        .transpose()
        .map_err(JobProcessError::Spool)?;
    // A server that stood still before it started this process may have lost the job meanwhile.
    let is_late = lapse.is_some() && !spool.is_held();
    let mut outcome = match plan_of(&order) {
        _ if is_late => JobOutcome::without_run(Conclusion::Failure, LAPSED),
        Ok(plan) => run_plan(&order, plan, around, masker, writer).await,
        Err(reason) => JobOutcome::without_run(Conclusion::Failure, reason),
    };
    if lapse.is_some_and(|lapse| lapse.load(Ordering::SeqCst)) {
        outcome.conclusion = Conclusion::Failure;
        outcome.reason = Some(LAPSED.to_owned());
    }
    write_end(&spool, &outcome).map_err(JobProcessError::Spool)
}

/// Plans the run again as far as it went, and returns the job's plan.
fn plan_of(order: &WrittenOrder) -> Result<Box<JobPlan>, String> {
    let (_, decisions) = order.document.replay(order.attempt, &order.changes)?;
    let mine = decisions.into_iter().find_map(|decision| match decision {
        Decision::Start(plan) if plan.key == order.job => Some(plan),
        _ => None,
    });
    mine.ok_or_else(|| "the plan of the run does not start this job".to_owned())
}

async fn run_plan(
    order: &WrittenOrder,
    plan: Box<JobPlan>,
    around: JobSurroundings,
    masker: Masker,
    writer: SpoolWriter,
) -> JobOutcome {
    let failed = |reason: String| {
        JobOutcome::without_run(Conclusion::Failure, masker.mask(&reason).as_str())
    };
    let source = match checked_out(order, &plan) {
        Ok(source) => source,
        Err(reason) => return failed(reason),
    };
    let facts = order.document.facts(order.attempt);
    let all: Object = order
        .secrets
        .iter()
        .map(|(name, value)| (name.as_str(), Value::from(value.as_str())))
        .collect();
    let token = all.get("GITHUB_TOKEN").cloned().unwrap_or_default();
    let github = facts.github.as_object().cloned().unwrap_or_default();
    // The others work on this host, with files that the job brings.
    let actions = if order.labels.is_contained() {
        around
            .actions
            .only(&["runner/checkout", "actions/checkout"])
    } else {
        around.actions
    };
    let collector = Collector::default();
    let mut secrets = job_secrets(&all, &plan.secrets, &facts);
    for (name, value) in &order.environment_secrets {
        secrets.insert(name.as_str(), value.as_str());
    }
    let job = JobOrder {
        secrets,
        github: github.with("token", token.to_display_string()).into(),
        vars: facts.vars.clone(),
        masker: masker.clone(),
        recorder: Recorder::new(vec![Box::new(writer), Box::new(collector.clone())]),
        cancel: around.cancel,
        force: around.force,
        options: Arc::new(EngineOptions {
            actions,
            actions_dir: None,
            source: source.path().to_owned(),
            secrets_folder: order.folder.clone(),
            work: order.work.clone(),
            base_env: around.base_env,
            extra_env: BTreeMap::new(),
            is_debug: false,
            marks: order.marks.clone(),
            labels: order.labels.clone(),
        }),
        plan,
    };
    let outcome = outcome(run_job(job).await);
    JobOutcome {
        findings: collector.findings(),
        ..outcome
    }
}

/// Checks the run's commit out where `checkout` copies from; an empty folder where no step asks.
fn checked_out(order: &WrittenOrder, plan: &JobPlan) -> Result<tempfile::TempDir, String> {
    let words = |error: io::Error| {
        format!(
            "no folder could be made in `{}`: {error}",
            order.work.display()
        )
    };
    std::fs::create_dir_all(&order.work).map_err(words)?;
    let folder = tempfile::Builder::new()
        .prefix("source-")
        .tempdir_in(&order.work)
        .map_err(words)?;
    let text = |key: &str| {
        order
            .document
            .github
            .get(key)
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default()
    };
    if uses_actions(plan) {
        let (mirror, url) = &order.mirror;
        check_out(mirror, url, (text("sha"), text("ref")), folder.path())?;
    }
    Ok(folder)
}

fn check_out(
    mirror: &Path,
    url: &str,
    (sha, git_ref): (&str, &str),
    folder: &Path,
) -> Result<(), String> {
    let mirror = Mirror::new(mirror.to_owned(), url.to_owned());
    mirror.check_out(sha, git_ref, folder).map_err(|error| {
        let cause = std::error::Error::source(&error).map_or(String::new(), ToString::to_string);
        format!("commit {sha} could not be checked out: {error}: {cause}")
    })
}

fn uses_actions(plan: &JobPlan) -> bool {
    match plan.job().map(|job| &job.body) {
        Some(JobBody::Steps(body)) => body
            .steps
            .iter()
            .any(|step| !matches!(step.body, StepBody::Run { .. })),
        _ => false,
    }
}

fn outcome(report: JobReport) -> JobOutcome {
    let JobEnd {
        conclusion,
        reason,
        milliseconds,
        deploy,
    } = report.end;
    JobOutcome {
        conclusion,
        reason: reason.map(|reason| reason.as_str().to_owned()),
        outputs: serde_json::Value::from(&Value::from(report.outputs)),
        is_timed_out: report.is_timed_out,
        deploy,
        milliseconds,
        findings: Findings::default(),
    }
}
