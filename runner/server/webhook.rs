//! `POST /webhooks/github`: stored as it came, answered at once, read afterwards.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::Site;
use crate::diagnostic::chain;
use crate::github::is_signed;
use crate::store::DeliveryRow;

/// The part of a payload that says whose it is.
#[derive(Deserialize)]
struct Whose {
    repository: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    full_name: String,
}

/// Takes a delivery.
///
/// 202 once it is stored; 401 where it is not signed by a secret of its repository, and the same for
/// a repository that nobody watches; 400 where a header lacks; 503 where it cannot be stored, so that
/// GitHub shows it as failed.
pub(super) async fn receive(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(event), Some(delivery)) = (header("x-github-event"), header("x-github-delivery"))
    else {
        return (
            StatusCode::BAD_REQUEST,
            "X-GitHub-Event and X-GitHub-Delivery are wanted\n".to_owned(),
        );
    };
    let whose: Option<Whose> = serde_json::from_slice(&body).ok();
    let repository = whose
        .and_then(|whose| whose.repository)
        .map(|repository| repository.full_name)
        .unwrap_or_default();
    let secrets = site
        .secrets
        .get(&repository.to_lowercase())
        .map_or(&[][..], Vec::as_slice);
    let signature = header("x-hub-signature-256").unwrap_or_default();
    if !is_signed(secrets, &body, signature) {
        tracing::warn!(
            delivery,
            "a webhook is not signed by a secret of its repository"
        );
        return (
            StatusCode::UNAUTHORIZED,
            "the signature is not that of a secret of this repository\n".to_owned(),
        );
    }
    let row = DeliveryRow {
        id: delivery.to_owned(),
        repository,
        event: event.to_owned(),
        payload: String::from_utf8_lossy(&body).into_owned(),
        state: "new".to_owned(),
        note: String::new(),
        received_at: site.ledger.now(),
    };
    match site.ledger.deliver(&row).await {
        Ok(true) => (StatusCode::ACCEPTED, "taken\n".to_owned()),
        Ok(false) => (StatusCode::ACCEPTED, "known\n".to_owned()),
        Err(error) => {
            tracing::error!(delivery, error = %chain(&error), "a delivery could not be stored");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "it could not be stored; deliver it again\n".to_owned(),
            )
        }
    }
}
