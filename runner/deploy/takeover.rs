//! What a dead holder left open is ended before anything else is done.

use tokio_util::sync::CancellationToken;

use super::{
    error::OpenError,
    fleet::Fleet,
    lease::Lease,
    opening::{LeftOpen, Opener, ending_words},
    transaction::{Ending, Transaction},
};
use crate::release::{HostName, Journal, Op, Stage, Verb};

impl Opener {
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
        if self.begin.left_open == LeftOpen::Resume {
            journal.failure = None;
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
        let forward =
            transaction.journal.is_committed() || self.begin.left_open == LeftOpen::Resume;
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
                let (observed, _) = self.look.fleet.probe(&self.spec, &hosts).await;
                self.look.observed = observed;
                Ok(lease)
            }
            (ending, lease) => {
                if let Some(lease) = lease {
                    self.unlock(lease).await;
                }
                Err(OpenError::LeftOpen {
                    id,
                    who,
                    reason: ending_words(&ending),
                })
            }
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
