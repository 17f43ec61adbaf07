//! `GET /metrics`: figures in the text that Prometheus reads.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use prometheus_client::encoding::prometheus_text::{CONTENT_TYPE, encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Site;
use super::problem::Problem;
use crate::run::Timestamp;
use crate::store::Count;
use crate::telemetry;

type Counts = Family<Vec<(&'static str, String)>, Gauge>;

/// Answers with where everything stands now, as the store has it, and with how long the jobs took
/// that this process saw end.
pub(super) async fn metrics(State(site): State<Arc<Site>>) -> Result<Response, Problem> {
    let figures = site.ledger.figures().await?;
    let now = site.ledger.now();
    let mut registry = Registry::with_prefix("runner");
    registry.register(
        "runs",
        "Runs that are stored, by where they stand or how they ended",
        counts("state", &figures.runs),
    );
    registry.register(
        "jobs",
        "Jobs that did not end, by where they stand",
        counts("state", &figures.jobs),
    );
    registry.register(
        "queue_length",
        "Jobs that wait for a free slot",
        number(figures.queued),
    );
    registry.register(
        "queue_age_seconds",
        "How long the first of them has waited",
        age(now, figures.queued_since),
    );
    registry.register(
        "leases",
        "Jobs that run, by the machine that has them",
        counts("machine", &figures.leases),
    );
    registry.register(
        "leases_lapsed",
        "Jobs whose machine did not say in time that it still has them",
        number(figures.lapsed),
    );
    registry.register(
        "deliveries",
        "Webhooks that are stored, by what became of them",
        counts("state", &figures.deliveries),
    );
    registry.register(
        "outbox_length",
        "Posts to GitHub that wait, by repository",
        counts("repository", &figures.posts),
    );
    registry.register(
        "outbox_age_seconds",
        "How long the first of them has waited",
        age(now, figures.posts_since),
    );
    registry.register(
        "job_seconds",
        "How long jobs took that ended since this process began",
        site.ledger.measures().job_seconds.clone(),
    );
    if let Some(spans) = &site.spans {
        registry.register(
            "trace_spans",
            "Spans of runs since this process began, by whether the collector has them",
            told(spans.counts()),
        );
    }
    let mut text = String::new();
    if encode(&mut text, &registry).is_err() {
        return Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the figures could not be written",
        ));
    }
    let kind = HeaderValue::from_static(CONTENT_TYPE);
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

fn told(spans: telemetry::Counts) -> Family<Vec<(&'static str, String)>, Counter> {
    let told = Family::<Vec<(&'static str, String)>, Counter>::default();
    for (word, count) in [("sent", spans.sent), ("dropped", spans.dropped)] {
        told.get_or_create(&vec![("outcome", word.to_owned())])
            .inc_by(count);
    }
    told
}

fn counts(label: &'static str, counted: &[Count]) -> Counts {
    let counts = Counts::default();
    for (word, count) in counted {
        counts
            .get_or_create(&vec![(label, word.clone())])
            .set(i64::try_from(*count).unwrap_or(i64::MAX));
    }
    counts
}

fn number(count: u64) -> Gauge {
    let gauge = Gauge::default();
    gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
    gauge
}

/// How long ago something was, in whole seconds; none where nothing is there to be old.
fn age(now: Timestamp, since: Option<Timestamp>) -> Gauge {
    let milliseconds = since.map_or(0, |since| now.0.saturating_sub(since.0).max(0));
    let gauge: Gauge = Gauge::default();
    gauge.set(milliseconds / 1_000);
    gauge
}
