//! For how long a machine has a job that other machines could take (`docs/decisions/0010-leases.md`).

use std::time::Duration;

/// For how long jobs are had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How long a machine has a job without saying so again.
    pub lease: Duration,
    /// How often it says so.
    pub renewal: Duration,
    /// How long after its lease it can still speak up, before the job is taken from it.
    pub grace: Duration,
    /// How long after its lease the process of a job has to end by itself, before it is killed;
    /// shorter than the grace.
    pub patience: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self::of(Duration::from_secs(30))
    }
}

impl Terms {
    /// Returns the terms of a lease: renewed three times in it, and a job is taken after a sixth more.
    pub fn of(lease: Duration) -> Self {
        Self {
            lease,
            renewal: lease / 3,
            grace: lease / 6,
            patience: lease / 10,
        }
    }
}

#[cfg(test)]
mod tests;
