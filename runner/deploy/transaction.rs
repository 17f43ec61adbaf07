//! One open transaction: forward phase by phase, and one of two ends.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    carry::{Carried, Carrier, Course, Failed},
    error::PhaseError,
    fleet::Fleet,
    lease::Lease,
    machine,
    probe::Sight,
    progress::{Event, Progress},
    settings::Settings,
};
use crate::release::{
    Blocked, Difference, Failure, HostName, Journal, Kind, Observed, Op, Outcome, Phase, Stage,
    Verb, backward, close, forward, verify_undone,
};

/// How long an undo may take.
const UNDO: Duration = Duration::from_secs(5 * 60);
/// How long to wait before an end that did not succeed is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often an end is tried.
const TRIES: usize = 3;

/// An open transaction: it holds the lock until one of its ends.
///
/// Dropping it leaves journal and lock as after a crash; the next command ends it.
pub struct Transaction {
    pub(super) journal: Journal,
    pub(super) fleet: Fleet,
    pub(super) lease: Option<Lease>,
    pub(super) settings: Arc<Settings>,
    pub(super) progress: Arc<dyn Progress>,
    /// What was seen last, while nothing was changed since.
    pub(super) seen: Option<Observed>,
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction")
            .field("journal", &self.journal)
            .finish_non_exhaustive()
    }
}

/// How a transaction ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The release runs everywhere, what was before it is stopped.
    Succeeded,
    /// Everything is as it was found.
    Undone,
    /// Something could not be put back; journal and lock are left.
    Incomplete {
        /// What is not as it was found.
        differences: Vec<Difference>,
        /// What failed on the way.
        failures: Vec<String>,
    },
    /// The release is committed and runs, and something of what follows could not be done; journal
    /// and lock are left, the next command finishes it.
    Unfinished {
        /// What failed.
        failures: Vec<String>,
    },
    /// Another transaction has taken over; nothing more was changed.
    Taken {
        /// Who has.
        by: String,
    },
    /// Somebody wanted no undo; journal and lock are left.
    Interrupted,
}

impl Transaction {
    /// The record of the transaction as it was written last.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The hosts of the transaction.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// What would be done until `phase`, from what is seen now.
    ///
    /// # Errors
    /// As [`Self::advance_to`].
    pub async fn plan_to(&mut self, phase: Phase) -> Result<Vec<Stage>, PhaseError> {
        let observed = self.observe(true, Sight::Records).await?;
        let stages = forward(&self.journal, &observed, phase)?;
        self.seen = Some(observed);
        Ok(stages)
    }

    /// Runs every phase up to and with `phase` that was not reached yet.
    ///
    /// `cancel` stops between operations and ends waits.
    ///
    /// # Errors
    /// The phase could not be reached; every later call refuses, and [`Self::undo`] is what is
    /// left.
    pub async fn advance_to(
        &mut self,
        phase: Phase,
        cancel: &CancellationToken,
    ) -> Result<(), PhaseError> {
        if self.journal.phase >= phase {
            return Ok(());
        }
        let observed = self.observe(true, Sight::Records).await?;
        let stages = forward(&self.journal, &observed, phase)?;
        self.go(&stages, cancel).await
    }

    async fn go(&mut self, stages: &[Stage], cancel: &CancellationToken) -> Result<(), PhaseError> {
        let carried = self.carry(stages, cancel, Course::Forward).await;
        self.journal = carried.journal;
        if let Some(Failed { op, phase, error }) = carried.failures.into_iter().next() {
            if error.is_taken() {
                return Err(PhaseError::Taken(Box::new(error)));
            }
            let reason = format!("`{}`: {}: {}", op.host, op.verb, error.chain());
            let reason = self.settings.masker.mask(&reason).as_str().to_owned();
            let at = machine::now();
            self.journal.failure = Some(Failure { phase, reason, at });
            let what = op.verb.to_string();
            return Err(PhaseError::Operation {
                host: op.host,
                what,
                source: Box::new(error),
            });
        }
        if carried.stopped {
            let phase = carried.stopped_at.unwrap_or(self.journal.phase);
            self.journal.failure = Some(Failure {
                phase,
                reason: "it was cancelled".to_owned(),
                at: machine::now(),
            });
            return Err(PhaseError::Cancelled);
        }
        Ok(())
    }

    async fn carry(
        &mut self,
        stages: &[Stage],
        stop: &CancellationToken,
        course: Course,
    ) -> Carried {
        self.seen = None;
        let carrier = Carrier {
            fleet: &self.fleet,
            settings: &self.settings,
            lease: self.lease.as_ref(),
            dead: None,
            progress: self.progress.as_ref(),
            stop,
            course,
        };
        carrier.carry(&self.journal, stages).await
    }

    /// Looks at all hosts; `all` makes one that is away an error.
    async fn observe(&mut self, all: bool, sight: Sight) -> Result<Observed, PhaseError> {
        if let Some(seen) = self.seen.take() {
            return Ok(seen);
        }
        let hosts = self.journal.hosts();
        let (observed, away) = self.fleet.probe(&self.journal.spec, &hosts, sight).await;
        if let (true, Some((host, error))) = (all, away.into_iter().next()) {
            let what = "look at the host".to_owned();
            return Err(PhaseError::Operation {
                host,
                what,
                source: Box::new(error),
            });
        }
        Ok(observed)
    }

    /// Commits, stops what was before, exchanges names and files, and gives the lock back.
    ///
    /// Phases that are still missing are run first. Before the commit a failure, or `cancel`,
    /// undoes everything; after it `cancel` is ignored.
    pub async fn finish(
        mut self,
        cancel: &CancellationToken,
        force: &CancellationToken,
    ) -> (Ending, Option<PhaseError>) {
        let ending = self.run_finish(cancel, force).await;
        let ending = match ending {
            Err(error @ PhaseError::Taken(_)) => (taken(&error), Some(error)),
            Err(error) => (self.run_undo(force).await, Some(error)),
            Ok(ending) => (ending, None),
        };
        self.disconnect().await;
        ending
    }

    /// Puts everything back as it was found, and gives the lock back.
    ///
    /// Has 5 minutes; `force` ends it earlier. Runs apart from any cancellation of the work.
    pub async fn undo(mut self, reason: &str, force: &CancellationToken) -> Ending {
        if self.journal.failure.is_none() {
            let reason = self.settings.masker.mask(reason).as_str().to_owned();
            self.journal.failure = Some(Failure {
                phase: self.journal.phase,
                reason,
                at: machine::now(),
            });
        }
        let ending = self.run_undo(force).await;
        self.disconnect().await;
        ending
    }

    async fn disconnect(self) {
        let hosts: Vec<_> = self.fleet.hosts().map(|host| host.ssh.clone()).collect();
        futures_util::future::join_all(hosts.into_iter().map(crate::ssh::Connection::close)).await;
    }

    /// Forward to the end; an error means that nothing was committed.
    pub(super) async fn run_finish(
        &mut self,
        cancel: &CancellationToken,
        force: &CancellationToken,
    ) -> Result<Ending, PhaseError> {
        if !self.journal.is_committed() {
            let before = if self.journal.spec.routes.is_empty() {
                Phase::Healthy
            } else {
                Phase::Baked
            };
            self.advance_to(before, cancel).await?;
            let mut observed = self.observe(true, Sight::Records).await?;
            let stages = forward(&self.journal, &observed, Phase::Committed)?;
            self.go(&stages, cancel).await?;
            // What the commit wrote need not be looked for.
            if let Some(state) = observed.hosts.get_mut(&self.journal.spec.primary) {
                state.journal = Some(self.journal.clone());
            }
            self.seen = Some(observed);
        }
        let mut failures = Vec::new();
        for attempt in 0..TRIES {
            if attempt > 0 {
                sleep(AGAIN).await;
            }
            failures.clear();
            let observed = match self.observe(true, Sight::Records).await {
                Ok(observed) => observed,
                Err(error) => {
                    failures.push(self.words(&error));
                    continue;
                }
            };
            let stages = match forward(&self.journal, &observed, Phase::Finished) {
                Ok(stages) => stages,
                Err(error) => {
                    failures.push(error.to_string());
                    continue;
                }
            };
            let carried = self.carry(&stages, force, Course::Forward).await;
            self.journal = carried.journal;
            if let Some(failed) = carried
                .failures
                .iter()
                .find(|failed| failed.error.is_taken())
            {
                return Ok(Ending::Taken {
                    by: failed.error.to_string(),
                });
            }
            if carried.stopped {
                return Ok(Ending::Interrupted);
            }
            failures.extend(
                carried
                    .failures
                    .iter()
                    .map(|failed| self.failed_words(failed)),
            );
            if failures.is_empty() {
                failures.extend(self.end(&observed, Outcome::Succeeded, force).await);
                if failures.is_empty() {
                    return Ok(Ending::Succeeded);
                }
            }
        }
        Ok(Ending::Unfinished { failures })
    }

    /// Back to the baseline, verified.
    pub(super) async fn run_undo(&mut self, force: &CancellationToken) -> Ending {
        let end = Instant::now() + UNDO;
        let (mut failures, mut differences) = (Vec::new(), Vec::new());
        let mut tries = 0;
        while tries < TRIES && Instant::now() < end {
            if tries > 0 {
                sleep(AGAIN).await;
            }
            tries += 1;
            if force.is_cancelled() {
                return Ending::Interrupted;
            }
            failures.clear();
            if let Some(lease) = &self.lease
                && let Err(error) = lease.renew().await
            {
                if error.is_taken() {
                    return Ending::Taken {
                        by: error.to_string(),
                    };
                }
                failures.push(error.chain());
            }
            self.seen = None;
            let Ok(observed) = self.observe(false, Sight::Whole).await else {
                continue;
            };
            let stages = match backward(&self.journal, &observed) {
                Ok(stages) => stages,
                Err(Blocked::Committed) => {
                    return Ending::Unfinished {
                        failures: vec!["it is committed".to_owned()],
                    };
                }
                Err(error) => {
                    failures.push(error.to_string());
                    continue;
                }
            };
            let deadline =
                tokio::time::timeout_at(end, self.carry(&stages, force, Course::Back)).await;
            let Ok(carried) = deadline else { break };
            if let Some(failed) = carried
                .failures
                .iter()
                .find(|failed| failed.error.is_taken())
            {
                return Ending::Taken {
                    by: failed.error.to_string(),
                };
            }
            if carried.stopped {
                return Ending::Interrupted;
            }
            failures.extend(
                carried
                    .failures
                    .iter()
                    .map(|failed| self.failed_words(failed)),
            );
            let Ok(observed) = self.observe(false, Sight::Whole).await else {
                continue;
            };
            differences = verify_undone(&self.journal, &observed);
            if !differences.is_empty() {
                continue;
            }
            failures = self.end(&observed, Outcome::Undone, force).await;
            if failures.is_empty() {
                return Ending::Undone;
            }
        }
        if force.is_cancelled() {
            return Ending::Interrupted;
        }
        Ending::Incomplete {
            differences,
            failures,
        }
    }

    /// History, audit, journal, and last the lock; returns what failed.
    async fn end(
        &mut self,
        observed: &Observed,
        outcome: Outcome,
        force: &CancellationToken,
    ) -> Vec<String> {
        let reason = self
            .journal
            .failure
            .as_ref()
            .map(|failure| failure.reason.clone());
        let reason = reason.filter(|_| outcome == Outcome::Undone);
        let line = self.journal.history_line(outcome, reason, machine::now());
        let stages = close(&self.journal, observed, &line);
        let unlocks = stages
            .iter()
            .flat_map(|stage| &stage.ops)
            .any(|op| matches!(op.verb, Verb::Unlock { .. }));
        if let (true, Some(lease)) = (unlocks, &mut self.lease) {
            lease.stop();
        }
        let carried = self.carry(&stages, force, Course::Closing).await;
        carried
            .failures
            .iter()
            .map(|failed| self.failed_words(failed))
            .collect()
    }

    fn failed_words(&self, failed: &Failed) -> String {
        let Op { host, verb, .. } = &failed.op;
        let text = format!("`{host}`: {verb}: {}", failed.error.chain());
        self.settings.masker.mask(&text).as_str().to_owned()
    }

    fn words(&self, error: &PhaseError) -> String {
        self.settings
            .masker
            .mask(&super::error::chain(error))
            .as_str()
            .to_owned()
    }

    pub(super) fn say(&self, text: String) {
        self.progress.tell(Event::Notice(text));
    }

    /// Strikes hosts that are gone.
    pub(super) fn abandon(&mut self, hosts: impl IntoIterator<Item = HostName>) {
        for host in hosts {
            self.journal.abandon(host);
        }
    }

    /// What the transaction is, for messages.
    pub(super) fn title(&self) -> String {
        let version = &self.journal.spec.version;
        match self.journal.kind {
            Kind::Deploy => format!("deploy of `{version}`"),
            Kind::Rollback => format!("rollback to `{version}`"),
        }
    }
}

fn taken(error: &PhaseError) -> Ending {
    Ending::Taken {
        by: super::error::chain(error),
    }
}
