//! What a dead holder left open is ended before anything else is done.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{
    error::OpenError,
    fleet::Fleet,
    lease::Lease,
    machine,
    opening::{Begin, LeftOpen, Look, Opener, ending_words, look},
    probe::Sight,
    progress::Progress,
    settings::Settings,
    transaction::{Ending, Transaction},
};
use crate::release::{
    Failure, HostName, Journal, Kind, LockVerdict, Op, ReleaseVersion, Spec, Stage, Verb, leftovers,
};

/// A transaction that somebody had left open, and how it was ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// What it was.
    pub kind: Kind,
    /// Its release.
    pub version: ReleaseVersion,
    /// Whether its release runs; else everything is as it was found.
    pub is_finished: bool,
}

impl Ended {
    /// Whether what somebody asks for by a rollback, to `wanted` or to no release by name, is done.
    pub fn is_rollback_to(&self, wanted: Option<&ReleaseVersion>) -> bool {
        let named = wanted.is_none_or(|wanted| *wanted == self.version);
        self.kind == Kind::Rollback && self.is_finished && named
    }
}

/// Ends a transaction that somebody left open, and does nothing else.
///
/// Without one, what a dead holder forgot is taken away: its lock, the record of what is over.
///
/// # Errors
/// There is none, somebody holds the lock, or it could not be ended.
pub async fn end_left_open(
    spec: Spec,
    begin: Begin,
    settings: Arc<Settings>,
    progress: Arc<dyn Progress>,
    cancel: &CancellationToken,
) -> Result<Ended, OpenError> {
    let look = look(&spec, &settings).await;
    Box::pin(end_seen(spec, begin, settings, progress, look, cancel)).await
}

pub(super) async fn end_seen(
    spec: Spec,
    begin: Begin,
    settings: Arc<Settings>,
    progress: Arc<dyn Progress>,
    look: Look,
    cancel: &CancellationToken,
) -> Result<Ended, OpenError> {
    let left = look.observed.open_transaction(&spec.primary).cloned();
    let mut opener = Opener::new(spec, begin, settings, progress, look)?;
    let Some(left) = left else {
        opener.forget(cancel).await?;
        return Err(OpenError::NothingOpen);
    };
    opener.judge_locks()?;
    opener.refuse_to_carry_on(&left)?;
    let lease = opener.take_lock(cancel).await?;
    // What its holder had under way when it died may have arrived since the first look.
    let lease = opener.look_again(lease).await?;
    let left = opener.look.observed.open_transaction(&opener.spec.primary);
    let Some(left) = left.cloned() else {
        opener.unlock(lease).await;
        return Err(OpenError::NothingOpen);
    };
    let is_finished = opener.goes_forward(&left);
    let lease = opener.end_left_open(lease, cancel).await?;
    opener.unlock(lease).await;
    Ok(Ended {
        kind: left.kind,
        version: left.spec.version,
        is_finished,
    })
}

/// Looks at the hosts after whatever was left open there is ended, so that what is seen is what
/// counts; `spec` is of any release.
///
/// # Errors
/// Somebody holds the lock, or what was left open could not be ended.
pub async fn settle(
    spec: &Spec,
    begin: Begin,
    settings: Arc<Settings>,
    progress: Arc<dyn Progress>,
    cancel: &CancellationToken,
) -> Result<(Look, Option<Ended>), OpenError> {
    let seen = look(spec, &settings).await;
    if seen.observed.open_transaction(&spec.primary).is_none() {
        return Ok((seen, None));
    }
    let (any, with) = (spec.clone(), settings.clone());
    let ended = Box::pin(end_seen(any, begin, with, progress, seen, cancel)).await?;
    Ok((look(spec, &settings).await, Some(ended)))
}

impl Opener {
    /// Whether a transaction that was left open is led to its end and not back.
    fn goes_forward(&self, left: &Journal) -> bool {
        left.is_committed() || self.begin.left_open == LeftOpen::Resume
    }

    /// Refuses to lead a transaction forward whose undo has begun.
    fn refuse_to_carry_on(&self, left: &Journal) -> Result<(), OpenError> {
        match &left.failure {
            Some(failure) if self.goes_forward(left) && !left.is_committed() => {
                Err(OpenError::LeftOpen {
                    id: left.id.clone(),
                    who: left.holder.who.clone(),
                    reason: format!(
                        "it is being undone, so it cannot be carried on ({})",
                        failure.reason
                    ),
                })
            }
            _ => Ok(()),
        }
    }

    /// Takes away the lock of a dead holder who left nothing else open, and what is over.
    async fn forget(&mut self, cancel: &CancellationToken) -> Result<(), OpenError> {
        let states = || self.look.observed.hosts.values();
        let over = states().any(|state| state.journal.is_some());
        let locked = states().any(|state| {
            let lock = state.lock.as_ref();
            lock.is_some_and(|lock| {
                lock.judge(self.machine(), machine::is_alive) != LockVerdict::Held
            })
        });
        if !over && !locked {
            return Ok(());
        }
        self.judge_locks()?;
        let lease = self.take_lock(cancel).await?;
        self.remove_leftovers(&lease, cancel).await;
        self.unlock(lease).await;
        if locked {
            self.say("the lock of a deploy that is no more is given back");
        }
        Ok(())
    }

    /// Takes away what transactions left behind that are over; says whether anything was.
    pub(super) async fn remove_leftovers(&self, lease: &Lease, cancel: &CancellationToken) -> bool {
        let left = leftovers(&self.look.observed, self.fence);
        if left.is_empty() {
            return false;
        }
        let journal = self.bare_journal(self.opening());
        let carried = self.carry(&journal, &left, Some(lease), cancel).await;
        if carried.failures.is_empty() {
            self.say("removed what undone transactions had left behind");
        }
        true
    }

    /// Finishes or undoes a transaction that a dead holder left.
    pub(super) async fn end_left_open(
        &mut self,
        lease: Lease,
        cancel: &CancellationToken,
    ) -> Result<Lease, OpenError> {
        let left = self
            .look
            .observed
            .open_transaction(&self.spec.primary)
            .cloned();
        let Some(mut journal) = left.filter(|journal| journal.id != self.id) else {
            return Ok(lease);
        };
        let (id, who) = (journal.id.clone(), journal.holder.who.clone());
        journal.fence = self.fence;
        let phase = journal.phase;
        let forward = self.goes_forward(&journal);
        if !forward && journal.failure.is_none() {
            journal.failure = Some(Failure {
                phase,
                reason: format!("its holder was gone at phase {phase}"),
                at: machine::now(),
            });
        }
        self.raise_fence(&journal, cancel).await;
        let fleet = std::mem::replace(
            &mut self.look.fleet,
            Fleet::new(self.settings.reach.clone()),
        );
        let mut transaction = Transaction {
            journal,
            fleet,
            lease: Some(lease),
            settings: self.settings.clone(),
            progress: self.progress.clone(),
            seen: None,
        };
        transaction.abandon(self.begin.abandon.iter().cloned());
        let title = transaction.title();
        let word = if forward { "finished" } else { "undone" };
        transaction.say(format!("transaction {id} ({title}, by {who}) was left open at phase {phase}; it is being {word}"));
        let force = CancellationToken::new();
        let ending = if forward {
            match transaction.run_finish(cancel, &force).await {
                Ok(ending) => ending,
                Err(error) => Ending::Incomplete {
                    differences: Vec::new(),
                    failures: vec![super::error::chain(&error)],
                },
            }
        } else {
            transaction.run_undo(&force).await
        };
        let hosts: Vec<HostName> = self.look.observed.hosts.keys().cloned().collect();
        let Transaction { fleet, lease, .. } = transaction;
        self.look.fleet = fleet;
        match (ending, lease) {
            (Ending::Succeeded | Ending::Undone, Some(lease)) => {
                self.say(&format!("transaction {id} is {word}"));
                let (observed, _) = self
                    .look
                    .fleet
                    .probe(&self.spec, &hosts, Sight::Whole)
                    .await;
                self.look.observed = observed;
                Ok(lease)
            }
            // The lock stays with what is open; without its renewals the next command takes it.
            (ending, _) => Err(OpenError::LeftOpen {
                id,
                who,
                reason: ending_words(&ending),
            }),
        }
    }

    /// Raises the fence on every host of the transaction that is ended, also on those that the
    /// new release does not use.
    async fn raise_fence(&mut self, left: &Journal, cancel: &CancellationToken) {
        let hosts = left.hosts();
        // One that is away is told of by the end itself.
        let _away = self.look.fleet.connect(&hosts).await;
        let connected = hosts
            .iter()
            .filter(|host| self.look.fleet.host(host).is_some());
        let raise = |host| Op::best_effort(host, Verb::WriteFence { fence: self.fence });
        let stage = Stage {
            phase: left.phase,
            ops: connected.map(raise).collect(),
        };
        self.carry(left, &[stage], None, cancel).await;
    }
}
