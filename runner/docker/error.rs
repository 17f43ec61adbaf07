//! What can go wrong with a daemon, in words for its user.

use std::{io, time::Duration};

use bollard::errors::Error as BollardError;
use thiserror::Error;

/// Which daemon was asked for what, and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which daemon, as `this machine` or `deploy@example.net`.
    pub engine: String,
    /// What was wanted, as ``start container `web` ``.
    pub action: String,
    /// The daemon's words.
    pub message: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            engine,
            action,
            message,
        } = self;
        write!(f, "Docker on {engine} could not {action}: {message}")
    }
}

/// A daemon could not be reached or did not do what it was asked for.
#[derive(Debug, Error)]
pub enum DockerError {
    /// The machine: the daemon is not running, or this user may not use it.
    #[error("the Docker daemon on {engine} is not reachable: {reason}")]
    Unreachable {
        /// Which daemon.
        engine: String,
        /// What was seen, and what to do.
        reason: String,
        /// What the connection met.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The machine or the network: the connection broke while the daemon worked.
    #[error("the connection to Docker on {engine} broke while it was to {action}")]
    Interrupted {
        /// Which daemon.
        engine: String,
        /// What was wanted.
        action: String,
        /// What the connection met.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The caller or the user: there is no such container, image or network.
    #[error("{0}")]
    NotFound(Failure),
    /// The caller: the name is taken, or the state does not allow it.
    #[error("{0}")]
    Conflict(Failure),
    /// The settings: the registry wants other credentials.
    #[error("{0}; check the registry's user name and password")]
    Unauthorized(Failure),
    /// The daemon's reasons, with its HTTP status.
    #[error("{failure}")]
    Refused {
        /// What was refused, and why.
        failure: Failure,
        /// HTTP status.
        status: u16,
    },
    /// The daemon or the registry gave up in the middle of a longer work.
    #[error("{0}")]
    Failed(Failure),
    /// The user's Dockerfile: a step failed.
    #[error("the image was not built on {engine}: step `{step}` failed: {message}")]
    BuildStep {
        /// Which daemon.
        engine: String,
        /// The instruction.
        step: String,
        /// The daemon's words.
        message: String,
    },
    /// The user's files: the build context cannot be read.
    #[error("the build context `{path}` could not be read")]
    Context {
        /// The folder or file.
        path: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The machine: files of this host could not be copied into a container or out of it.
    #[error("`{path}` could not be copied {way} a container on {engine}")]
    Copy {
        /// The file or folder of this host.
        path: String,
        /// `to` or `from`.
        way: &'static str,
        /// Which daemon.
        engine: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The daemon took too long.
    #[error("Docker on {engine} did not {action} within {}", humantime::format_duration(*limit))]
    Timeout {
        /// Which daemon.
        engine: String,
        /// What was wanted.
        action: String,
        /// The limit.
        limit: Duration,
    },
    /// The daemon: an answer that its API does not describe.
    #[error("{0}")]
    Answer(Failure),
}

impl DockerError {
    /// Whether the object is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound(_))
    }

    /// Whether a name is taken or the state does not allow it.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict(_))
    }
}

/// Sorts an answer by its HTTP status, and by its words where the status says little.
pub(super) fn by_status(failure: Failure, status: u16) -> DockerError {
    let lower = failure.message.to_lowercase();
    match status {
        _ if is_about_credentials(&lower) => DockerError::Unauthorized(failure),
        401 => DockerError::Unauthorized(failure),
        404 => DockerError::NotFound(failure),
        409 => DockerError::Conflict(failure),
        500 if is_about_absence(&lower) => DockerError::NotFound(failure),
        _ => DockerError::Refused { failure, status },
    }
}

/// Sorts an error that came in the middle of a stream, where there is no status.
pub(super) fn by_words(failure: Failure) -> DockerError {
    let lower = failure.message.to_lowercase();
    if is_about_credentials(&lower) {
        DockerError::Unauthorized(failure)
    } else if is_about_absence(&lower) {
        DockerError::NotFound(failure)
    } else {
        DockerError::Failed(failure)
    }
}

fn is_about_credentials(lower: &str) -> bool {
    [
        "unauthorized",
        "no basic auth credentials",
        "denied: requested access",
        "authentication required",
    ]
    .iter()
    .any(|words| lower.contains(words))
}

fn is_about_absence(lower: &str) -> bool {
    [
        "manifest unknown",
        "no such image",
        "no such container",
        "manifest for",
        "does not exist locally",
    ]
    .iter()
    .any(|words| lower.contains(words))
}

/// Translates the client's error.
pub(super) fn translate(engine: &str, action: &str, error: BollardError) -> DockerError {
    let engine = engine.to_owned();
    let action = action.to_owned();
    let failure = |message: String| Failure {
        engine: engine.clone(),
        action: action.clone(),
        message: message.trim().to_owned(),
    };
    match error {
        BollardError::DockerResponseServerError {
            status_code,
            message,
        } => by_status(failure(message), status_code),
        BollardError::DockerStreamError { error } => by_words(failure(error)),
        BollardError::HyperLegacyError { err } => broken(engine, action, err),
        BollardError::HyperResponseError { err } => DockerError::Interrupted {
            engine,
            action,
            source: err.into(),
        },
        BollardError::IOError { err } => DockerError::Interrupted {
            engine,
            action,
            source: err.into(),
        },
        other => DockerError::Answer(failure(format!("its answer is not understood: {other}"))),
    }
}

/// Tells a daemon that is not there from one that went away.
pub(super) fn broken(
    engine: String,
    action: String,
    error: hyper_util::client::legacy::Error,
) -> DockerError {
    if error.is_connect() {
        let reason = reason_of(&error);
        DockerError::Unreachable {
            engine,
            reason,
            source: Some(error.into()),
        }
    } else {
        DockerError::Interrupted {
            engine,
            action,
            source: error.into(),
        }
    }
}

/// The innermost cause decides what the user can do.
fn reason_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = Some(error);
    while let Some(current) = cause {
        if let Some(io) = current.downcast_ref::<io::Error>() {
            match io.kind() {
                io::ErrorKind::NotFound => return "its socket is not there; is it running?".into(),
                io::ErrorKind::ConnectionRefused => {
                    return "nothing listens; is it running?".into();
                }
                io::ErrorKind::PermissionDenied => {
                    return "this user may not use it; add the user to the group `docker`".into();
                }
                _ => {}
            }
        }
        cause = current.source();
    }
    "the connection failed".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(message: &str) -> Failure {
        Failure {
            engine: "e".into(),
            action: "a".into(),
            message: message.into(),
        }
    }

    #[test]
    fn answers_are_sorted_by_status_and_words() {
        let kind = |error: &DockerError| match error {
            DockerError::NotFound(_) => "not found",
            DockerError::Conflict(_) => "conflict",
            DockerError::Unauthorized(_) => "unauthorized",
            DockerError::Refused { .. } => "refused",
            DockerError::Failed(_) => "failed",
            _ => "other",
        };
        for (status, message, expected) in [
            (404, "No such container: x", "not found"),
            (
                404,
                "pull access denied for x, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
                "unauthorized",
            ),
            (
                409,
                "Conflict. The container name \"/x\" is already in use",
                "conflict",
            ),
            (
                500,
                "Get https://r/v2/: unauthorized: authentication required",
                "unauthorized",
            ),
            (
                500,
                "Get https://r/v2/: no basic auth credentials",
                "unauthorized",
            ),
            (500, "manifest unknown: manifest unknown", "not found"),
            (500, "driver failed: port is already allocated", "refused"),
            (400, "bad parameter", "refused"),
        ] {
            assert_eq!(
                kind(&by_status(failure(message), status)),
                expected,
                "{status} {message}"
            );
        }
        for (message, expected) in [
            ("unauthorized: authentication required", "unauthorized"),
            ("manifest for x:1 not found", "not found"),
            (
                "An image does not exist locally with the tag: x",
                "not found",
            ),
            ("no space left on device", "failed"),
        ] {
            assert_eq!(kind(&by_words(failure(message))), expected, "{message}");
        }
    }
}
