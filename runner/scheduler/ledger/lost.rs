//! Jobs whose machines nothing is heard of: what can have run is never run again blindly.
//!
//! Source of the words: GitHub, "The self-hosted runner lost communication with the server".

use std::time::Duration;

use super::super::asking::can_ask;
use super::{
    JobOutcome, Ledger, LedgerError, back_to_queue, changes, read_document, reading, transaction,
};

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
    /// The machine that noticed has it, to ask its hosts what became of its deploy.
    Asked,
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
    /// only where the repository asks for that and the job deploys nothing. A job with steps that
    /// deploy becomes that of the machine `asker`, for the time of a lease: it is to ask the hosts
    /// what became of the deploy. All others end as failures, and their runs go on from there.
    pub async fn take_from_lost(
        &self,
        grace: Duration,
        asker: (&str, Duration),
    ) -> Result<Vec<LostJob>, LedgerError> {
        if !reading!(self, tx, tx.has_lapsed().await?)? {
            return Ok(Vec::new());
        }
        transaction!(self, tx, tx.disconnect_lapsed(grace).await?)?;
        let lost = reading!(self, tx, tx.lost_jobs().await?)?;
        let mut taken = Vec::new();
        for job in lost {
            taken.extend(Box::pin(self.take_from(&job, asker)).await?);
        }
        if !taken.is_empty() {
            self.changed.notify_waiters();
        }
        Ok(taken)
    }

    async fn take_from(
        &self,
        seen: &JobRow,
        asker: (&str, Duration),
    ) -> Result<Option<LostJob>, LedgerError> {
        let claimed = seen.claimed();
        let lost = transaction!(self, tx, {
            let mut run = self.locked(&mut tx, &seen.run).await?;
            // It may have spoken up, or another machine was quicker.
            let lost = tx.lost_jobs().await?;
            let still = lost.into_iter().find(|job| job.claimed() == claimed);
            match still {
                None => None,
                Some(job) => {
                    let machine = job.machine.clone().unwrap_or_default();
                    let taken = self.judge(&mut tx, &mut run, job, asker).await?;
                    Some(LostJob {
                        run: claimed.run.clone(),
                        job: claimed.job,
                        machine,
                        taken,
                    })
                }
            }
        })?;
        if lost.as_ref().is_some_and(|lost| lost.taken == Taken::Ended) {
            self.hints.job_ended(&claimed);
        }
        Ok(lost)
    }

    async fn judge(
        &self,
        tx: &mut Transaction,
        run: &mut RunRow,
        mut job: JobRow,
        (asker, lease): (&str, Duration),
    ) -> Result<Taken, LedgerError> {
        let has_begun = job.began_at.is_some();
        let is_wanted = job.cancel_level == 0;
        if !has_begun && is_wanted {
            back_to_queue(&mut job);
            tx.update_job(&job).await?;
            return Ok(Taken::Queued);
        }
        let (deploys, asks) = if has_begun {
            self.deploys(tx, run, &job).await?
        } else {
            (false, false)
        };
        if asks {
            let why = job.reason.take().unwrap_or_else(|| silent(&job));
            job.reason = Some(why);
            job.machine = Some(asker.to_owned());
            job.disconnected_at = None;
            job.losses += 1;
            job.cancel_level = 0;
            // Whoever has the number of this owner is nobody from here on.
            job.fence.0 += 1;
            tx.update_job(&job).await?;
            tx.renew_lease(&job.claimed(), lease, false).await?;
            return Ok(Taken::Asked);
        }
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

    /// Tells whether a job may have changed what runs on servers, and whether these can be asked.
    async fn deploys(
        &self,
        tx: &mut Transaction,
        run: &RunRow,
        job: &JobRow,
    ) -> Result<(bool, bool), LedgerError> {
        let jobs = tx.jobs_of(&run.id, run.attempt).await?;
        let document = read_document(run)?;
        let plan = document
            .plan_of(run.attempt, &changes(run, &jobs), job.job)
            .map_err(|why| LedgerError::Unplannable {
                run: run.id.clone(),
                why,
            })?;
        let deploys = job.environment.is_some() || plan.job().is_none_or(has_deploy_steps);
        Ok((deploys, can_ask(&plan) && !document.is_fork))
    }
}

/// Says what happened.
fn silent(job: &JobRow) -> String {
    let machine = job.machine.as_deref().unwrap_or_default();
    format!(
        "the machine `{machine}` lost communication with the database: verify that it runs and can reach it"
    )
}

/// Says what happened, and what is to be done.
fn why_lost(job: &JobRow, deploys: bool) -> String {
    let mut why = format!("{}; ", silent(job));
    why.push_str(if deploys {
        "a deploy is never run again by itself: `runner history` tells what became of it, and the next deploy ends what it left open"
    } else if job.losses > 0 {
        "it was run again once before and is not any more"
    } else {
        "what the job did until then is on that machine, and it is not run again by itself"
    });
    why
}
