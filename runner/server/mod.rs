//! What the server answers by HTTP: webhooks, pages, health. Reads the store and calls `scheduler`.

mod pages;
mod webhook;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::scheduler::Ledger;

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
    /// The secrets that sign webhooks, by repository in lowercase.
    pub secrets: HashMap<String, Vec<String>>,
    /// What pages are asked with; without one only this machine sees them.
    pub token: Option<String>,
    /// The pages.
    pub templates: Templates,
}

/// Answers until it is stopped.
///
/// Errors only where it cannot listen any more.
pub async fn answer(
    site: Arc<Site>,
    listener: TcpListener,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let pages = Router::new()
        .route("/", get(pages::runs))
        .route("/runs/{run}", get(pages::run))
        .layer(axum::middleware::from_fn_with_state(
            Arc::clone(&site),
            pages::guard,
        ));
    let router = Router::new()
        .route(
            "/webhooks/github",
            post(webhook::receive).layer(DefaultBodyLimit::max(MAX_PAYLOAD)),
        )
        .route("/health", get(pages::health))
        .merge(pages)
        .with_state(site)
        .into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, router)
        .with_graceful_shutdown(async move { stop.cancelled().await })
        .await
}
