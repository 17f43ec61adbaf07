//! What the server answers by HTTP: webhooks, pages, health. Reads the store and calls `scheduler`.

mod api;
mod badge;
mod guard;
mod log;
mod metrics;
mod pages;
mod problem;
mod webhook;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::{get, post};
use tokio::net::TcpListener;

use crate::scheduler::{AccessScope, Ledger, Repository, Room};
use crate::telemetry::Exporter;

pub use log::Live;
pub use pages::Templates;

/// The largest webhook.
///
/// Source: GitHub, "Webhook events and payloads": payloads are capped at 25 MB.
const MAX_PAYLOAD: usize = 25 * 1024 * 1024;

/// What the answers are made of.
#[derive(Debug)]
pub struct Site {
    /// Where all runs stand.
    pub ledger: Ledger,
    /// Where the spools of jobs are.
    pub spools: PathBuf,
    /// Whether there is room for more jobs.
    pub room: Room,
    /// The secrets that sign webhooks, by repository in lowercase.
    pub secrets: HashMap<String, Vec<String>>,
    /// The repositories that are watched, by name.
    pub repositories: Arc<HashMap<String, Repository>>,
    /// A token that allows everything, from the configuration.
    pub token: Option<String>,
    /// Whether everybody may see how workflows ended, as a picture.
    pub has_public_badges: bool,
    /// Who counts the spans that a collector is told, where one is.
    pub spans: Option<Exporter>,
    /// What the readers of live logs share.
    pub live: Live,
    /// The pages.
    pub templates: Templates,
}

/// What a page may load: its own style, script and figures, and nothing of others.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Answers until the site's readers are told to stop.
///
/// Errors only where it cannot listen any more.
pub async fn answer(site: Arc<Site>, listener: TcpListener) -> std::io::Result<()> {
    let stop = site.live.stop().clone();
    let who = (Arc::clone(&site), AccessScope::Read);
    let pages = Router::new()
        .route("/", get(pages::runs))
        .route("/runs/{run}", get(pages::run))
        .route("/metrics", get(metrics::metrics))
        .layer(axum::middleware::from_fn_with_state(
            who.clone(),
            guard::guard,
        ));
    let badge = get(badge::badge);
    let badge = if site.has_public_badges {
        badge
    } else {
        badge.layer(axum::middleware::from_fn_with_state(who, guard::guard))
    };
    let router = Router::new()
        .route(
            "/webhooks/github",
            post(webhook::receive).layer(DefaultBodyLimit::max(MAX_PAYLOAD)),
        )
        .route("/health", get(pages::health))
        .route("/badges/{owner}/{name}/{workflow}/badge.svg", badge)
        .route("/assets/{name}", get(pages::asset))
        .merge(api::router(&site))
        .merge(pages)
        .layer(axum::middleware::from_fn(harden))
        .with_state(site)
        .into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, router)
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await
}

/// Says to browsers what they may do with an answer.
async fn harden(request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    let headers = answer.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    // What is shown changes, and who may see it, too.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-cache"));
    answer
}
