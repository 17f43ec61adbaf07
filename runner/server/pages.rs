//! The pages: a list of runs, and a run with what its jobs print.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tera::{Context, Tera};

use super::Site;
use crate::diagnostic::chain;
use crate::report::format_duration;
use crate::run::{RunEvent, RunId, Status, Stream};
use crate::scheduler::{LedgerError, Spool, SpoolLine};
use crate::store::{ClaimedJob, JobRow, RunFilter, RunRow};

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
    log: String,
}

/// Lets a request through that may see pages.
///
/// With a token: who gives it as the password. Without one only this machine, and not what somebody
/// else sent on through a proxy here.
pub(super) async fn guard(
    State(site): State<Arc<Site>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let is_let_in = match &site.token {
        Some(token) => password(request.headers()).is_some_and(|given| is_same(&given, token)),
        None => {
            let is_sent_on = ["forwarded", "x-forwarded-for"]
                .iter()
                .any(|name| request.headers().contains_key(*name));
            peer.ip().is_loopback() && !is_sent_on
        }
    };
    if is_let_in {
        return next.run(request).await;
    }
    if site.token.is_none() {
        let words = "these pages are for this machine alone until `server.token` is set\n";
        return (StatusCode::FORBIDDEN, words).into_response();
    }
    let mut answer = (StatusCode::UNAUTHORIZED, "a token is wanted\n").into_response();
    answer.headers_mut().insert(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static("Basic realm=\"runner\", charset=\"UTF-8\""),
    );
    answer
}

/// Returns the password of a basic or bearer authorization.
fn password(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    if let Some(token) = value.strip_prefix("Bearer ") {
        return Some(token.to_owned());
    }
    let decoded = STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':')
        .map(|(_, password)| password.to_owned())
}

/// Compares in a time that does not tell where the two differ.
fn is_same(given: &str, wanted: &str) -> bool {
    use sha2::{Digest as _, Sha256};
    let both = [given, wanted].map(|text| Sha256::digest(text.as_bytes()));
    both[0] == both[1]
}

/// `GET /health`: whether the store answers.
pub(super) async fn health(State(site): State<Arc<Site>>) -> (StatusCode, String) {
    let filter = RunFilter {
        limit: Some(1),
        ..RunFilter::default()
    };
    match site.ledger.runs(&filter).await {
        Ok(_) => (StatusCode::OK, "ok\n".to_owned()),
        Err(error) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{}\n", chain(&error)),
        ),
    }
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
    ShownJob {
        name: job.name.clone(),
        state: state.to_owned(),
        took: job.milliseconds.map_or(String::new(), |milliseconds| {
            format_duration(Duration::from_millis(milliseconds))
        }),
        reason: job.reason.clone(),
        is_open: matches!(state, "failure" | "in_progress"),
        log: log(site, job),
    }
}

/// Returns the last lines that a job printed.
fn log(site: &Site, job: &JobRow) -> String {
    let claimed = ClaimedJob {
        run: job.run.clone(),
        attempt: job.attempt,
        job: job.job,
        fence: job.fence,
    };
    let spool = Spool::new(&site.spools, &claimed);
    let Ok((lines, _)) = spool.read_from(0) else {
        return String::new();
    };
    let mut text: Vec<String> = Vec::new();
    for line in lines {
        let SpoolLine::Event(envelope) = line else {
            continue;
        };
        match envelope.event {
            RunEvent::StepStarted { name, .. } => text.push(format!("▸ {name}")),
            RunEvent::Output {
                stream,
                text: printed,
                ..
            } if stream != Stream::Debug => {
                text.extend(printed.as_str().lines().map(|line| format!("  {line}")));
            }
            RunEvent::Annotation { annotation, .. } => {
                text.push(format!(
                    "  {}: {}",
                    annotation.level.as_str(),
                    annotation.message
                ));
            }
            RunEvent::Deployment { progress, .. } => {
                let host = progress
                    .host
                    .map_or(String::new(), |host| format!("{host}: "));
                text.push(format!("  {} {host}{}", progress.phase, progress.text));
            }
            _ => {}
        }
    }
    let surplus = text.len().saturating_sub(LINES);
    if surplus > 0 {
        text.drain(..surplus);
        text.insert(0, format!("({surplus} earlier lines are not shown)"));
    }
    text.join("\n")
}
