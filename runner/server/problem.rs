//! What the API answers where it does not do what it was asked: a problem as RFC 9457 has it.

use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::diagnostic::chain;
use crate::scheduler::{DispatchError, LedgerError};

/// Why a request was not done.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
}

impl Problem {
    /// Returns a problem with what is wrong, and what to do, in words.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
        }
    }

    /// Returns the problem of a request that cannot be understood.
    pub(super) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Returns the problem of something that is not there.
    pub(super) fn absent(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Problem");
        let body = json!({
            "type": "about:blank", "title": title, "status": self.status.as_u16(), "detail": self.detail,
        });
        let mut answer = (self.status, body.to_string()).into_response();
        answer.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        answer
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        let status = match error {
            LedgerError::NoRun(_) => StatusCode::NOT_FOUND,
            LedgerError::WrongState { .. } | LedgerError::Fenced { .. } => StatusCode::CONFLICT,
            LedgerError::Unplannable { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            LedgerError::Store(_) => {
                // What a database says of itself is for who runs it.
                tracing::error!(error = %chain(&error), "the store could not be asked");
                return Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the store could not be asked; try again later",
                );
            }
        };
        Self::new(status, error.to_string())
    }
}

impl From<DispatchError> for Problem {
    fn from(error: DispatchError) -> Self {
        let status = match error {
            DispatchError::NoRef { .. } | DispatchError::NoWorkflow { .. } => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            _ => {
                tracing::error!(error = %chain(&error), "a run could not be started");
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        Self::new(status, error.to_string())
    }
}

impl From<QueryRejection> for Problem {
    fn from(error: QueryRejection) -> Self {
        Self::bad(chain(&error))
    }
}

impl From<BytesRejection> for Problem {
    fn from(error: BytesRejection) -> Self {
        Self::new(error.status(), chain(&error))
    }
}
