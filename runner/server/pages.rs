//! The pages: a list of runs, and a run with what its jobs print.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use serde::Serialize;
use tera::{Context, Tera};

use super::{Site, log};
use crate::diagnostic::chain;
use crate::report::format_duration;
use crate::run::{RunId, Status};
use crate::scheduler::LedgerError;
use crate::store::{JobRow, RunFilter, RunRow};

/// How many runs the list shows.
const RUNS: u32 = 100;

/// How many of a job's last lines its page shows.
const LINES: usize = 2_000;

/// The pages as they are written.
#[derive(Debug)]
pub struct Templates(Tera);

impl Templates {
    /// Reads the templates that are part of this program.
    ///
    /// Errors in words where one is wrong, which is ours.
    pub fn read() -> Result<Self, String> {
        let mut tera = Tera::default();
        tera.add_raw_templates(vec![
            ("base.html", include_str!("templates/base.html")),
            ("runs.html", include_str!("templates/runs.html")),
            ("run.html", include_str!("templates/run.html")),
        ])
        .map_err(|error| chain(&error))?;
        Ok(Self(tera))
    }
}

#[derive(Debug, Serialize)]
struct ShownRun {
    id: String,
    state: String,
    name: String,
    number: u64,
    repository: String,
    workflow: String,
    title: String,
    commit: String,
    ref_name: String,
    event: String,
    actor: String,
    attempt: u32,
    took: String,
    waits_for: Option<String>,
    awaits_approval: bool,
}

#[derive(Debug, Serialize)]
struct ShownJob {
    name: String,
    state: String,
    took: String,
    reason: Option<String>,
    is_open: bool,
    key: u32,
    log: String,
    /// Whether more of it comes.
    is_live: bool,
    /// Where in it that is.
    place: String,
}

/// How the server stands.
#[derive(Debug)]
pub(super) struct Health {
    /// 503 where the store does not answer: nothing can be taken in then.
    pub(super) code: StatusCode,
    /// What keeps it from doing all of its work; nothing where all is well.
    pub(super) lack: Option<String>,
}

impl Health {
    /// Returns the one word for it.
    pub(super) fn word(&self) -> &'static str {
        match self.lack {
            None => "ok",
            Some(_) => "degraded",
        }
    }
}

/// Asks whether the store answers, and whether there is room for more jobs.
///
/// Where there is no room runs are taken in, and what runs goes on.
pub(super) async fn stands(site: &Site) -> Health {
    let filter = RunFilter {
        limit: Some(1),
        ..RunFilter::default()
    };
    match site.ledger.runs(&filter).await {
        Ok(_) => Health {
            code: StatusCode::OK,
            lack: site.room.lack(),
        },
        Err(error) => Health {
            code: StatusCode::SERVICE_UNAVAILABLE,
            lack: Some(format!("the store does not answer: {}", chain(&error))),
        },
    }
}

/// `GET /health`: `ok`, or `degraded` and why; 503 where the store does not answer.
pub(super) async fn health(State(site): State<Arc<Site>>) -> (StatusCode, String) {
    let health = stands(&site).await;
    let why = health
        .lack
        .as_ref()
        .map_or_else(String::new, |why| format!(": {why}"));
    (health.code, format!("{}{why}\n", health.word()))
}

/// `GET /assets/NAME`: what the pages load.
pub(super) async fn asset(Path(name): Path<String>) -> Response {
    let (kind, text) = match name.as_str() {
        "runner.css" => ("text/css", include_str!("assets/runner.css")),
        "live.js" => ("text/javascript", include_str!("assets/live.js")),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    (
        [(header::CONTENT_TYPE, HeaderValue::from_static(kind))],
        text,
    )
        .into_response()
}

/// `GET /`: the newest runs.
pub(super) async fn runs(State(site): State<Arc<Site>>) -> Response {
    let filter = RunFilter {
        limit: Some(RUNS),
        ..RunFilter::default()
    };
    let runs = match site.ledger.runs(&filter).await {
        Ok(runs) => runs,
        Err(error) => return failed(&error),
    };
    let is_live = runs.iter().any(|run| run.status != Status::Completed);
    let shown: Vec<ShownRun> = runs.iter().map(|run| shown(&site, run)).collect();
    let mut context = Context::new();
    context.insert("runs", &shown);
    context.insert("is_live", &is_live);
    page(&site, "runs.html", &context)
}

/// `GET /runs/RUN`: a run.
pub(super) async fn run(State(site): State<Arc<Site>>, Path(run): Path<String>) -> Response {
    let (run, jobs) = match site.ledger.run(&RunId(run), None).await {
        Ok(found) => found,
        Err(error) => return failed(&error),
    };
    let jobs: Vec<ShownJob> = jobs.iter().map(|job| shown_job(&site, job)).collect();
    let mut context = Context::new();
    context.insert("is_live", &(run.status != Status::Completed));
    context.insert("run", &shown(&site, &run));
    context.insert("jobs", &jobs);
    page(&site, "run.html", &context)
}

fn page(site: &Site, name: &str, context: &Context) -> Response {
    match site.templates.0.render(name, context) {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            tracing::error!(error = %chain(&error), "a page could not be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn failed(error: &LedgerError) -> Response {
    let status = match error {
        LedgerError::NoRun(_) => StatusCode::NOT_FOUND,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, format!("{}\n", chain(error))).into_response()
}

fn shown(site: &Site, run: &RunRow) -> ShownRun {
    let state = run
        .conclusion
        .map_or(run.status.as_str(), |conclusion| conclusion.as_str());
    let took = run.started_at.map_or(String::new(), |started| {
        let end = run.finished_at.unwrap_or_else(|| site.ledger.now());
        let milliseconds = u64::try_from(end.0 - started.0).unwrap_or(0);
        format_duration(Duration::from_millis(milliseconds))
    });
    let ref_name = ["refs/heads/", "refs/tags/", "refs/"]
        .iter()
        .find_map(|kind| run.git_ref.strip_prefix(kind))
        .unwrap_or(&run.git_ref);
    ShownRun {
        id: run.id.0.clone(),
        state: state.to_owned(),
        name: run.name.clone(),
        number: run.number,
        repository: run.repository.clone(),
        workflow: run.workflow.clone(),
        title: run.title.clone(),
        commit: run.sha.chars().take(7).collect(),
        ref_name: ref_name.to_owned(),
        event: run.event.clone(),
        actor: run.actor.clone(),
        attempt: run.attempt.0,
        took,
        waits_for: run
            .concurrency_group
            .clone()
            .filter(|_| run.status == Status::Pending),
        awaits_approval: run.status == Status::Pending && run.awaits_approval,
    }
}

fn shown_job(site: &Site, job: &JobRow) -> ShownJob {
    let state = job
        .conclusion
        .map_or(job.status.as_str(), |conclusion| conclusion.as_str());
    let (lines, place) = log::tail(site, job, LINES);
    ShownJob {
        name: job.name.clone(),
        state: state.to_owned(),
        took: job.milliseconds.map_or(String::new(), |milliseconds| {
            format_duration(Duration::from_millis(milliseconds))
        }),
        reason: job.reason.clone(),
        is_open: matches!(state, "failure" | "in_progress"),
        key: job.job.0,
        log: lines.join("\n"),
        is_live: job.conclusion.is_none(),
        place: place.to_string(),
    }
}
