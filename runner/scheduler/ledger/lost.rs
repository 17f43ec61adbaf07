//! Jobs whose machines nothing is heard of: what can have run is never run again blindly.
//!
//! Source of the words: GitHub, "The self-hosted runner lost communication with the server".

use std::time::Duration;

use super::{
    JobOutcome, Ledger, LedgerError, back_to_queue, changes, read_document, reading, transaction,
};
use crate::plan::Decision;
use crate::run::{Conclusion, JobKey, RunId};
use crate::store::{JobRow, RunRow, Transaction};
use crate::workflow::has_deploy_steps;

/// How often a job is run again that was lost with its machine, where that is asked for: one that
/// takes its machine down with it must not go round all of them.
const RERUNS: u32 = 1;

/// What became of a job whose machine was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It had not begun, or may be run again: it waits for another machine.
    Queued,
    /// It ended.
    Ended,
}

/// A job that was taken from its machine.
#[derive(Debug, Clone)]
pub struct LostJob {
    /// Its run.
    pub run: RunId,
    /// The job.
    pub job: JobKey,
    /// Its machine.
    pub machine: String,
    /// What became of it.
    pub taken: Taken,
}

impl Ledger {
    /// Takes the jobs from machines that did not renew their leases, and used up their grace.
    ///
    /// A machine that speaks up within `grace` after its lease lapsed keeps its job. Else, where
    /// nothing of the job can have run, it waits for another machine. What may have run is run again
    /// only where the repository asks for that and the job deploys nothing; otherwise it ends as a
    /// failure, and its run goes on from there.
    pub async fn take_from_lost(&self, grace: Duration) -> Result<Vec<LostJob>, LedgerError> {
        if !reading!(self, tx, tx.has_lapsed().await?)? {
            return Ok(Vec::new());
        }
        transaction!(self, tx, tx.disconnect_lapsed(grace).await?)?;
        let lost = reading!(self, tx, tx.lost_jobs().await?)?;
        let mut taken = Vec::new();
        for job in lost {
            taken.extend(self.take_from(&job).await?);
        }
        if !taken.is_empty() {
            self.changed.notify_waiters();
        }
        Ok(taken)
    }

    async fn take_from(&self, seen: &JobRow) -> Result<Option<LostJob>, LedgerError> {
        let claimed = seen.claimed();
        transaction!(self, tx, {
            let mut run = self.locked(&mut tx, &seen.run).await?;
            // It may have spoken up, or another machine was quicker.
            let lost = tx.lost_jobs().await?;
            let still = lost.into_iter().find(|job| job.claimed() == claimed);
            match still {
                None => None,
                Some(job) => {
                    let machine = job.machine.clone().unwrap_or_default();
                    let taken = self.judge(&mut tx, &mut run, job).await?;
                    Some(LostJob {
                        run: claimed.run.clone(),
                        job: claimed.job,
                        machine,
                        taken,
                    })
                }
            }
        })
    }

    async fn judge(
        &self,
        tx: &mut Transaction,
        run: &mut RunRow,
        mut job: JobRow,
    ) -> Result<Taken, LedgerError> {
        let has_begun = job.began_at.is_some();
        let is_wanted = job.cancel_level == 0;
        if !has_begun && is_wanted {
            back_to_queue(&mut job);
            tx.update_job(&job).await?;
            return Ok(Taken::Queued);
        }
        let deploys = has_begun && self.deploys(tx, run, &job).await?;
        let is_asked_for = read_document(run)?.reruns_lost && job.losses < RERUNS;
        if is_asked_for && is_wanted && !deploys {
            back_to_queue(&mut job);
            job.losses += 1;
            tx.update_job(&job).await?;
            return Ok(Taken::Queued);
        }
        let conclusion = if is_wanted || deploys {
            Conclusion::Failure
        } else {
            Conclusion::Cancelled
        };
        let mut outcome = JobOutcome::without_run(conclusion, why_lost(&job, deploys));
        let until = job.disconnected_at.map_or(0, |time| time.0);
        let took = job.started_at.map_or(0, |start| until - start.0);
        outcome.milliseconds = u64::try_from(took).unwrap_or(0);
        job.losses += 1;
        tx.update_job(&job).await?;
        self.record_end(tx, run, job.job, &outcome, false).await?;
        Ok(Taken::Ended)
    }

    /// Tells whether a job may have changed what runs on servers.
    async fn deploys(
        &self,
        tx: &mut Transaction,
        run: &RunRow,
        job: &JobRow,
    ) -> Result<bool, LedgerError> {
        if job.environment.is_some() {
            return Ok(true);
        }
        let jobs = tx.jobs_of(&run.id, run.attempt).await?;
        let (_, decisions) = read_document(run)?
            .replay(run.attempt, &changes(run, &jobs))
            .map_err(|why| LedgerError::Unplannable {
                run: run.id.clone(),
                why,
            })?;
        Ok(decisions.iter().any(|decision| match decision {
            Decision::Start(plan) if plan.key == job.job => plan.job().is_none_or(has_deploy_steps),
            _ => false,
        }))
    }
}

/// Says what happened, and what is to be done.
fn why_lost(job: &JobRow, deploys: bool) -> String {
    let machine = job.machine.as_deref().unwrap_or_default();
    let mut why = format!(
        "the machine `{machine}` lost communication with the database: verify that it runs and can reach it; "
    );
    why.push_str(if deploys {
        "a deploy is never run again by itself: `runner history` tells what became of it, and the next deploy ends what it left open"
    } else if job.losses > 0 {
        "it was run again once before and is not any more"
    } else {
        "what the job did until then is on that machine, and it is not run again by itself"
    });
    why
}
