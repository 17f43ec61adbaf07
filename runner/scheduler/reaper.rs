//! Takes jobs from machines that nothing is heard of, and tells the others of this one.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ledger::{Ledger, LedgerError, LostJob, Taken};
use crate::diagnostic::chain;
use crate::run::Terms;

/// How often it is looked for them.
const TICK: Duration = Duration::from_secs(1);

/// Looks after the leases of all machines that share a store, and after jobs that none of them
/// serves; each of them does.
#[derive(Debug, Clone)]
pub struct Reaper {
    /// Where all runs stand.
    pub ledger: Ledger,
    /// This machine's name in the store: it asks what became of the deploys of lost ones.
    pub machine: String,
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
        let mut said: Option<Instant> = None;
        loop {
            if said.is_none_or(|at| at.elapsed() >= self.terms.renewal) {
                match self.ledger.serve(&self.machine, self.terms.lease).await {
                    Ok(()) => said = Some(Instant::now()),
                    Err(error) => {
                        tracing::warn!(error = %chain(&error), "other machines were not told that this one lives");
                    }
                }
            }
            if let Err(error) = self.ledger.explain_waiting().await {
                tracing::warn!(error = %chain(&error), "it is not known which jobs no machine serves");
            }
            match self.take().await {
                Ok(lost) => {
                    for job in lost {
                        let what = match job.taken {
                            Taken::Queued => "it waits for another one",
                            Taken::Ended => "it ended",
                            Taken::Asked => "its servers are asked what became of its deploy",
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
    async fn take(&self) -> Result<Vec<LostJob>, LedgerError> {
        let asker = (self.machine.as_str(), self.terms.lease);
        self.ledger.take_from_lost(self.terms.grace, asker).await
    }
}
