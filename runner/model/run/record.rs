//! Where a run, job or step stands and how it ended, in GitHub's words.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a run, a job or a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It waits for its concurrency group, or for someone's approval.
    Pending,
    /// It waits for its turn.
    Queued,
    /// It runs.
    InProgress,
    /// It ended; see its [`Conclusion`].
    Completed,
}

impl Status {
    /// Returns GitHub's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
        }
    }

    /// Returns the status that a word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        [
            Self::Pending,
            Self::Queued,
            Self::InProgress,
            Self::Completed,
        ]
        .into_iter()
        .find(|status| status.as_str() == word)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a run, a job or a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conclusion {
    /// All went well.
    Success,
    /// Something failed.
    Failure,
    /// Someone, or a time limit of the job, ended it.
    Cancelled,
    /// Its condition was false.
    Skipped,
}

impl Conclusion {
    /// Returns GitHub's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }

    /// Returns the conclusion that a word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Success, Self::Failure, Self::Cancelled, Self::Skipped]
            .into_iter()
            .find(|conclusion| conclusion.as_str() == word)
    }
}

impl fmt::Display for Conclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
