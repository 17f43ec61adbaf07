//! What surrounds every event: whose it is, its place in the order, and when.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::event::RunEvent;

/// The format of stored events.
const FORMAT: u32 = 1;

/// Names a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub String);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which try of a run: 1 at first, one more with every re-run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempt(pub u32);

/// Counts the owners that a job has had; a writer with an older fence is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub u64);

/// Names a job in a run, after matrix expansion: its place in the order of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobKey(pub u32);

/// A point in time: milliseconds since 1970 in UTC by the clock of the machine that wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// An event with all that is needed to store it once and in order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Envelope {
    /// The version of this form.
    pub format: u32,
    /// The run.
    pub run: RunId,
    /// The try.
    pub attempt: Attempt,
    /// The job; none for events of the whole run.
    pub job: Option<JobKey>,
    /// The owner's number.
    pub fence: Fence,
    /// The place in the order of this job's events, from 0.
    pub seq: u64,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub event: RunEvent,
}

impl Envelope {
    /// Returns an envelope in the current format.
    pub fn new(run: RunId, attempt: Attempt, fence: Fence, at: Timestamp, event: RunEvent) -> Self {
        Self {
            format: FORMAT,
            run,
            attempt,
            job: event.job(),
            fence,
            seq: 0,
            at,
            event,
        }
    }
}
