//! A run once more: all of it, what failed, or one job, each with what needs it.

use std::collections::BTreeSet;

use super::super::findings::Findings;
use super::groups::join_group;
use super::{JobOutcome, Ledger, LedgerError, read_document, transaction};
use crate::run::{Attempt, Conclusion, RunId, Status};
use crate::store::{JobRow, RunRow, Transaction};

/// What is run once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rerun {
    /// Everything.
    All,
    /// What did not succeed, and what needs it.
    Failed,
    /// The job of this key or name, and what needs it.
    Job(String),
}

impl Ledger {
    /// Starts another attempt of a run that ended; the results of the other jobs are kept.
    ///
    /// Errors where the run did not end, or has no such job.
    pub async fn rerun(&self, id: &RunId, which: &Rerun) -> Result<Attempt, LedgerError> {
        let attempt = transaction!(self, tx, {
            let mut run = self.locked(&mut tx, id).await?;
            let wrong = |why: &str| LedgerError::WrongState {
                run: id.clone(),
                why: why.to_owned(),
            };
            if run.status != Status::Completed {
                return Err(wrong("has not ended; cancel it first"));
            }
            if run.awaits_approval {
                return Err(wrong("was never approved, and ended without that"));
            }
            let jobs = tx.jobs_of(id, run.attempt).await?;
            let again = names_to_run(&jobs, which).ok_or_else(|| {
                let names: Vec<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
                wrong(&format!(
                    "has no such job; its jobs are: {}",
                    names.join(", ")
                ))
            })?;
            let is_partial = *which != Rerun::All;
            run.attempt = Attempt(run.attempt.0 + 1);
            run.positions = 0;
            run.cancelled_at = None;
            run.conclusion = None;
            run.deploy = None;
            run.is_timed_out = false;
            run.finished_at = None;
            let mut document = read_document(&run)?;
            document.again = is_partial.then_some(again);
            run.document = serde_json::to_string(&document).unwrap_or_default();
            tx.set_document(&run).await?;
            let concurrency = join_group(&mut run, &document)?;
            run.status = Status::Pending;
            tx.update_run(&run).await?;
            let attempt = run.attempt;
            self.enter_run(&mut tx, run, concurrency).await?;
            attempt
        })?;
        self.changed.notify_waiters();
        Ok(attempt)
    }

    /// Returns the result that a job keeps from the attempt before, if it keeps one.
    pub(super) async fn kept_result(
        &self,
        tx: &mut Transaction,
        run: &RunRow,
        job: &JobRow,
    ) -> Result<Option<JobOutcome>, LedgerError> {
        if run.attempt.0 < 2 {
            return Ok(None);
        }
        let Some(again) = read_document(run)?.again else {
            return Ok(None);
        };
        if again.contains(&job.name) {
            return Ok(None);
        }
        let before = Attempt(run.attempt.0 - 1);
        let jobs = tx.jobs_of(&run.id, before).await?;
        let kept = jobs.into_iter().find(|before| before.name == job.name);
        Ok(kept.and_then(|kept| {
            Some(JobOutcome {
                conclusion: kept.conclusion?,
                reason: kept.reason,
                outputs: serde_json::from_str(kept.outputs.as_deref().unwrap_or("null"))
                    .unwrap_or_default(),
                is_timed_out: kept.is_timed_out,
                deploy: kept.deploy,
                milliseconds: kept.milliseconds.unwrap_or(0),
                findings: Findings::default(),
            })
        }))
    }
}

/// Returns the names of the jobs that run once more; none where the one that is asked for is not
/// there.
fn names_to_run(jobs: &[JobRow], which: &Rerun) -> Option<BTreeSet<String>> {
    let is_first = |job: &&JobRow| match which {
        Rerun::All => true,
        Rerun::Failed => matches!(
            job.conclusion,
            Some(Conclusion::Failure | Conclusion::Cancelled)
        ),
        Rerun::Job(wanted) => job.id == *wanted || job.name == *wanted,
    };
    let mut again: Vec<&JobRow> = jobs.iter().filter(is_first).collect();
    if again.is_empty() && matches!(which, Rerun::Job(_)) {
        return None;
    }
    let mut at = 0;
    while let Some(needed) = again.get(at).copied() {
        at += 1;
        let needs_it = jobs
            .iter()
            .filter(|job| callers(job) == callers(needed) && job.needs.contains(&needed.id));
        for job in needs_it {
            if !again.iter().any(|known| known.job == job.job) {
                again.push(job);
            }
        }
    }
    Some(again.iter().map(|job| job.name.clone()).collect())
}

/// Returns the names of the jobs that called the workflow that a job stands in.
fn callers(job: &JobRow) -> &str {
    job.name
        .rsplit_once(" / ")
        .map_or("", |(callers, _)| callers)
}
