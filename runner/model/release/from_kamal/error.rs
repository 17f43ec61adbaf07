//! What in a configuration cannot be turned into containers, all of it at once.

use thiserror::Error;

use crate::release::{CommandError, InvalidImageRef, OptionError};

/// A setting that cannot be carried out: the user's file is at fault, or we cannot do it yet.
#[derive(Debug, Error)]
#[error("{at}: {reason}")]
pub struct SpecError {
    /// The path of keys, as `servers/web/options/memory`.
    pub at: String,
    /// Why not.
    pub reason: Reason,
}

/// Why a setting cannot be carried out.
#[derive(Debug, Error)]
pub enum Reason {
    /// The user's file: an option of `docker run`.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The user's file: a command line.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The user's file: an image.
    #[error(transparent)]
    Image(#[from] InvalidImageRef),
    /// The user's file: no server to deploy to.
    #[error("has no server")]
    NoHost,
    /// The user's file: it fits nowhere, and why.
    #[error("{0}")]
    Invalid(String),
    /// Ours: Kamal has it, we do not yet.
    #[error("is not supported: {0}")]
    Unsupported(&'static str),
}

/// Collects everything that is wrong.
#[derive(Debug, Default)]
pub(super) struct Problems {
    list: Vec<SpecError>,
}

impl Problems {
    pub(super) fn add(&mut self, at: impl Into<String>, reason: impl Into<Reason>) {
        let (at, reason) = (at.into(), reason.into());
        self.list.push(SpecError { at, reason });
    }

    pub(super) fn invalid(&mut self, at: impl Into<String>, message: impl Into<String>) {
        self.add(at, Reason::Invalid(message.into()));
    }

    /// Returns the value, or the default after noting what is wrong.
    pub(super) fn take<T: Default>(&mut self, at: &str, result: Result<T, impl Into<Reason>>) -> T {
        match result {
            Ok(value) => value,
            Err(reason) => {
                self.add(at, reason);
                T::default()
            }
        }
    }

    /// Returns `value` if nothing was wrong.
    pub(super) fn finish<T>(self, value: T) -> Result<T, Vec<SpecError>> {
        let mut list = self.list;
        if list.is_empty() {
            return Ok(value);
        }
        // What holds for a role holds on each of its servers; once is enough.
        let mut seen = Vec::new();
        list.retain(|error| {
            let text = error.to_string();
            let is_first = !seen.contains(&text);
            seen.push(text);
            is_first
        });
        Err(list)
    }
}
