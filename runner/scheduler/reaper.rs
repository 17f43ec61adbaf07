//! Takes jobs from machines that nothing is heard of.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::ledger::{Ledger, Taken};
use crate::diagnostic::chain;
use crate::run::Terms;

/// How often it is looked for them.
const TICK: Duration = Duration::from_secs(1);

/// Looks after the leases of all machines that share a store; each of them does.
#[derive(Debug, Clone)]
pub struct Reaper {
    /// Where all runs stand.
    pub ledger: Ledger,
    /// For how long jobs are had.
    pub terms: Terms,
}

impl Reaper {
    /// Looks until it is stopped; at once the end where nobody else can have a job.
    pub async fn run(self, stop: CancellationToken) {
        if !self.ledger.is_shared() {
            stop.cancelled().await;
            return;
        }
        loop {
            match self.ledger.take_from_lost(self.terms.grace).await {
                Ok(lost) => {
                    for job in lost {
                        let what = match job.taken {
                            Taken::Queued => "it waits for another one",
                            Taken::Ended => "it ended",
                        };
                        tracing::warn!(
                            run = job.run.0,
                            job = job.job.0,
                            "its machine {} was lost: {what}",
                            job.machine
                        );
                    }
                }
                Err(error) => {
                    tracing::error!(error = %chain(&error), "it is not known which machines were lost");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }
}
