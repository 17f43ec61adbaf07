//! Jobs whose processes are gone without having said how they ended.
//!
//! What they left running is ended. Where one may have had a deploy open, a process of its own asks
//! the hosts what became of it, and only then the job ends.

use std::io;

use super::asking::{NOT_KNOWN, can_ask, concluded, has_outputs};
use super::ledger::{JobOutcome, LedgerError, TakenJob};
use super::order::Asks;
use super::spool::{Life, Spool, SpoolLine};
use super::worker::{PAUSE, Worker};
use crate::diagnostic::chain;
use crate::plan::JobPlan;
use crate::run::{Conclusion, DeployOutcome, RunEvent};
use crate::store::ClaimedJob;

/// Why a job ended whose process says nothing any more.
pub(super) const KILLED: &str =
    "its process was killed or died, and what it left running was ended";

/// How often hosts are asked by a process that dies over it.
const ASKERS: u32 = 3;

/// How much of a log is looked through at once.
const CHUNK: u64 = 1024 * 1024;

impl Worker {
    /// Ends a job that was lost, `why` says how: what became of its deploy is found out first.
    pub(super) async fn settle(&self, claimed: &ClaimedJob, spool: &Spool, why: &str) {
        let Some(taken) = self.taken(claimed).await else {
            return;
        };
        let planned = taken
            .document
            .plan_of(claimed.attempt, &taken.changes, claimed.job);
        let outcome = match planned {
            Err(reason) => JobOutcome::without_run(Conclusion::Failure, format!("{why}; {reason}")),
            Ok(plan) if !taken.document.is_fork && can_ask(&plan) => {
                match self.ask(&taken, &plan, spool, why).await {
                    Some(outcome) => outcome,
                    None => return,
                }
            }
            Ok(_) => unasked(spool, why).await,
        };
        self.record(claimed, &outcome).await;
    }

    /// Returns what is known of a job that this machine has, however long the store is away; none
    /// where it does not have it any more.
    async fn taken(&self, claimed: &ClaimedJob) -> Option<TakenJob> {
        loop {
            match self.ledger.taken(claimed).await {
                Ok(taken) => return Some(taken),
                Err(LedgerError::Store(error)) => {
                    tracing::error!(error = %chain(&error), "what a lost job was is not known yet");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "a lost job is not this machine's");
                    return None;
                }
            }
        }
    }

    /// Has the hosts asked, also where an earlier server began to; none where another machine has
    /// the job meanwhile.
    async fn ask(
        &self,
        taken: &TakenJob,
        plan: &JobPlan,
        spool: &Spool,
        why: &str,
    ) -> Option<JobOutcome> {
        let claimed = &taken.claimed;
        let mut failure = format!("{ASKERS} processes died that asked its servers");
        for number in 1..=ASKERS {
            if let Ok(Some(outcome)) = spool.end() {
                return Some(outcome);
            }
            let own = spool.asking(number);
            let child = if own.folder().exists() {
                if !matches!(own.end_or_life(), Ok(Life::Alive(_))) {
                    continue;
                }
                None
            } else {
                self.holding(claimed, self.bring(taken)).await;
                let asks = Asks {
                    life: own.folder().to_owned(),
                    why: why.to_owned(),
                };
                match self.spawn(taken, spool, Some(asks)).await {
                    Ok(Some(child)) => Some(child),
                    Ok(None) => return None,
                    Err(reason) => {
                        failure = reason;
                        break;
                    }
                }
            };
            let is_own = self.attend(claimed, &own, child, false).await;
            if !is_own {
                return None;
            }
        }
        match spool.end() {
            Ok(Some(outcome)) => Some(outcome),
            _ => Some(concluded(why, &[], has_outputs(plan), Some(&failure))),
        }
    }
}

/// Returns the end of a job of whose servers nothing is known.
async fn unasked(spool: &Spool, why: &str) -> JobOutcome {
    let looked = spool.clone();
    let told = tokio::task::spawn_blocking(move || tells_of_deploy(&looked)).await;
    let has_deployed = matches!(told, Ok(Ok(true)));
    let reason = if has_deployed {
        format!("{why}; {NOT_KNOWN}")
    } else {
        why.to_owned()
    };
    JobOutcome {
        deploy: has_deployed.then_some(DeployOutcome::Unknown),
        ..JobOutcome::without_run(Conclusion::Failure, reason)
    }
}

/// Tells whether a job said that it deploys: a step of an action that we do not see into may have.
fn tells_of_deploy(spool: &Spool) -> io::Result<bool> {
    let mut at = 0;
    loop {
        let (lines, next) = spool.read_some(at, CHUNK)?;
        let told = lines.iter().any(|line| {
            matches!(line, SpoolLine::Event(envelope)
                if matches!(envelope.event, RunEvent::Deployment { .. }))
        });
        if told || next == at {
            return Ok(told);
        }
        at = next;
    }
}
