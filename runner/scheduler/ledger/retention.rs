//! What may be forgotten, and that it is.

use super::{Ledger, LedgerError, reading, transaction};
use crate::run::{RunId, Timestamp};
use crate::store::OldRun;

/// How many runs are forgotten in one transaction: others wait for it.
const MANY: usize = 20;

impl Ledger {
    /// Returns the runs that nothing keeps, the oldest first.
    pub async fn old_runs(&self) -> Result<Vec<OldRun>, LedgerError> {
        reading!(self, tx, tx.old_runs().await?)
    }

    /// Forgets runs with their jobs, unless something keeps them by now; returns how many.
    pub async fn forget_runs(&self, runs: &[RunId]) -> Result<usize, LedgerError> {
        let mut count = 0;
        for some in runs.chunks(MANY) {
            count += transaction!(self, tx, {
                let mut forgotten = 0;
                for run in some {
                    forgotten += usize::from(tx.forget_run(run).await?);
                }
                forgotten
            })?;
        }
        Ok(count)
    }

    /// Tells whether a run is known.
    pub async fn has_run(&self, run: &RunId) -> Result<bool, LedgerError> {
        reading!(self, tx, tx.has_run(run).await?)
    }

    /// Forgets events, deliveries and arrived posts from before `until`; returns how many.
    pub async fn forget_events(&self, until: Timestamp) -> Result<u64, LedgerError> {
        transaction!(self, tx, tx.forget_events(until).await?)
    }
}
