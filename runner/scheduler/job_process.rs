//! The process of one job: reads its order, runs the engine, and leaves events and end in its spool.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::asking::{Afterwards, asking_plan, concluded, has_outputs};
use super::findings::{Collector, Findings};
use super::lease::end_without_lease;
use super::ledger::JobOutcome;
use super::order::{Asks, FORMAT, WrittenOrder};
use super::secrets::job_secrets;
use super::spool::{Spool, SpoolWriter};
use crate::engine::{ActionRegistry, EngineOptions, JobOrder, JobReport, Labels, run_job};
use crate::expression::{Object, Value};
use crate::git::Mirror;
use crate::mask::{Masked, Masker};
use crate::plan::JobPlan;
use crate::report::Recorder;
use crate::run::{Conclusion, Fates, JobEnd};
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
    /// Those that ask hosts what became of a deploy whose job was lost, and where they say it.
    pub askers: (ActionRegistry, Fates),
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
    let own = match &order.asks {
        None => spool.clone(),
        Some(asks) => Spool::at(asks.life.clone()),
    };
    let life = own.begin_life().map_err(JobProcessError::Spool)?;
    let Some(_life) = life else {
        return Err(JobProcessError::Late);
    };
    let writer = match &order.asks {
        None => SpoolWriter::open(&spool, &order.claimed()),
        Some(_) => SpoolWriter::resume(&spool, &order.claimed()),
    };
    let writer = writer.map_err(JobProcessError::Spool)?;
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
        .map(|patience| end_without_lease(own.clone(), Duration::from_millis(patience), tokens))
        .transpose()
        .map_err(JobProcessError::Spool)?;
    // A server that stood still before it started this process may have lost the job meanwhile.
    let is_late = lapse.is_some() && !own.is_held();
    let mut outcome = match plan_of(&order) {
        _ if is_late => JobOutcome::without_run(Conclusion::Failure, LAPSED),
        Ok(plan) => match &order.asks {
            None => run_plan(&order, plan, around, masker, writer.clone()).await,
            Some(asks) => ask_hosts((&order, asks), &plan, around, masker, writer.clone()).await,
        },
        Err(reason) => JobOutcome::without_run(Conclusion::Failure, reason),
    };
    if lapse.is_some_and(|lapse| lapse.load(Ordering::SeqCst)) {
        if order.asks.is_some() {
            // The hosts may not have been heard to the end: whoever has the job asks again.
            return Ok(());
        }
        outcome.conclusion = Conclusion::Failure;
        outcome.reason = Some(LAPSED.to_owned());
    }
    writer.end(&outcome).map_err(JobProcessError::Spool)
}

fn plan_of(order: &WrittenOrder) -> Result<Box<JobPlan>, String> {
    order
        .document
        .plan_of(order.attempt, &order.changes, order.job)
}

async fn run_plan(
    order: &WrittenOrder,
    plan: Box<JobPlan>,
    around: JobSurroundings,
    masker: Masker,
    writer: SpoolWriter,
) -> JobOutcome {
    let source = match checked_out(order, &plan) {
        Ok(source) => source,
        Err(reason) => {
            return JobOutcome::without_run(Conclusion::Failure, masker.mask(&reason).as_str());
        }
    };
    // The others work on this host, with files that the job brings.
    let actions = if order.labels.is_contained() {
        around
            .actions
            .only(&["runner/checkout", "actions/checkout"])
    } else {
        around.actions
    };
    let collector = Collector::default();
    let job = Ordered {
        order,
        actions,
        base_env: around.base_env,
        tokens: (around.cancel, around.force),
        labels: order.labels.clone(),
        masker,
        recorder: Recorder::new(vec![Box::new(writer), Box::new(collector.clone())]),
    };
    let outcome = outcome(run_job(job.on(plan, source.path())).await);
    JobOutcome {
        findings: collector.findings(),
        ..outcome
    }
}

/// Asks the hosts of a job whose process was lost what became of its deploy.
async fn ask_hosts(
    (order, asks): (&WrittenOrder, &Asks),
    plan: &JobPlan,
    around: JobSurroundings,
    masker: Masker,
    writer: SpoolWriter,
) -> JobOutcome {
    let has_outputs = has_outputs(plan);
    let unknown = |reason: &str| {
        let reason = masker.mask(reason);
        concluded(&asks.why, &[], has_outputs, Some(reason.as_str()))
    };
    let Some((asking, steps)) = asking_plan(plan) else {
        return unknown("no step of it opens a deploy");
    };
    let source = match checked_out(order, &asking) {
        Ok(source) => source,
        Err(reason) => return unknown(&reason),
    };
    let mut afterwards = Afterwards::new(writer, steps);
    let words = format!(
        "{}; its servers are asked what became of its deploy\n",
        asks.why
    );
    afterwards.say(plan.key, masker.mask(&words));
    let (actions, fates) = around.askers;
    let job = Ordered {
        order,
        actions,
        base_env: around.base_env,
        // That the run is cancelled does not change what is true on the hosts.
        tokens: (CancellationToken::new(), around.force),
        labels: Labels::default(),
        masker: masker.clone(),
        recorder: Recorder::new(vec![Box::new(afterwards)]),
    };
    let report = run_job(job.on(asking, source.path())).await;
    let failure = report.end.reason.as_ref().map(Masked::as_str);
    concluded(&asks.why, &fates.take(), has_outputs, failure)
}

/// What it takes to run a plan for an order.
struct Ordered<'a> {
    order: &'a WrittenOrder,
    actions: ActionRegistry,
    base_env: BTreeMap<String, String>,
    /// Those that cancel and that end it.
    tokens: (CancellationToken, CancellationToken),
    labels: Labels,
    masker: Masker,
    recorder: Recorder,
}

impl Ordered<'_> {
    /// Returns the order for the engine; the commit is checked out at `source`.
    fn on(self, plan: Box<JobPlan>, source: &Path) -> JobOrder {
        let order = self.order;
        let facts = order.document.facts(order.attempt);
        let all: Object = order
            .secrets
            .iter()
            .map(|(name, value)| (name.as_str(), Value::from(value.as_str())))
            .collect();
        let token = all.get("GITHUB_TOKEN").cloned().unwrap_or_default();
        let github = facts.github.as_object().cloned().unwrap_or_default();
        let mut secrets = job_secrets(&all, &plan.secrets, &facts);
        for (name, value) in &order.environment_secrets {
            secrets.insert(name.as_str(), value.as_str());
        }
        let (cancel, force) = self.tokens;
        JobOrder {
            secrets,
            github: github.with("token", token.to_display_string()).into(),
            vars: facts.vars.clone(),
            masker: self.masker,
            recorder: self.recorder,
            cancel,
            force,
            options: Arc::new(EngineOptions {
                actions: self.actions,
                actions_dir: None,
                source: source.to_owned(),
                secrets_folder: order.folder.clone(),
                work: order.work.clone(),
                base_env: self.base_env,
                extra_env: BTreeMap::new(),
                is_debug: false,
                origin: order.origin.clone(),
                marks: order.marks.clone(),
                labels: self.labels,
            }),
            plan,
        }
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
        is_timed_out,
    } = report.end;
    JobOutcome {
        conclusion,
        reason: reason.map(|reason| reason.as_str().to_owned()),
        outputs: serde_json::Value::from(&Value::from(report.outputs)),
        is_timed_out,
        deploy,
        milliseconds,
        findings: Findings::default(),
    }
}
