//! What a change of a run brings about: the plan is told, and what it decides is written.

use std::collections::VecDeque;
use std::sync::PoisonError;

use super::super::document::Change;
use super::serving::why_waiting;
use super::{JobOutcome, Ledger, LedgerError, Planned, changes, read_document};
use crate::plan::{Decision, JobPlan};
use crate::run::{Conclusion, JobKey, Status, Tally};
use crate::store::{JobRow, RunRow, Transaction};

/// The most letters of all labels of a job: an index has them.
const LONGEST: usize = 1000;

impl Ledger {
    /// Takes the plan of an attempt, where the store says that it stands.
    async fn plan(&self, tx: &mut Transaction, run: &RunRow) -> Result<Planned, LedgerError> {
        let known = {
            let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
            plans.remove(&(run.id.clone(), run.attempt))
        };
        if let Some(plan) = known.filter(|plan| plan.positions == run.positions) {
            return Ok(plan);
        }
        let jobs = tx.jobs_of(&run.id, run.attempt).await?;
        let (progress, _) = read_document(run)?
            .replay(run.attempt, &changes(run, &jobs))
            .map_err(|why| LedgerError::Unplannable {
                run: run.id.clone(),
                why,
            })?;
        Ok(Planned {
            progress,
            positions: run.positions,
        })
    }

    /// Begins an attempt: its first jobs are planned.
    pub(super) async fn begin_run(
        &self,
        tx: &mut Transaction,
        run: &mut RunRow,
    ) -> Result<(), LedgerError> {
        run.status = Status::Queued;
        let mut progress =
            read_document(run)?
                .begin(run.attempt)
                .map_err(|why| LedgerError::Unplannable {
                    run: run.id.clone(),
                    why,
                })?;
        let decisions = progress.advance();
        let plan = Planned {
            progress,
            positions: run.positions,
        };
        self.carry_out(tx, run, plan, decisions).await
    }

    /// Records the end of a job and what follows from it.
    pub(super) async fn record_end(
        &self,
        tx: &mut Transaction,
        run: &mut RunRow,
        job: JobKey,
        outcome: &JobOutcome,
        is_kept: bool,
    ) -> Result<(), LedgerError> {
        let mut plan = self.plan(tx, run).await?;
        let change = self.write_end(tx, run, job, outcome, is_kept).await?;
        plan.positions = run.positions;
        let decisions = change.apply(&mut plan.progress);
        self.carry_out(tx, run, plan, decisions).await
    }

    /// Records that a run is to be cancelled, and what follows from it; once more ends it at once.
    pub(super) async fn cancel_run(
        &self,
        tx: &mut Transaction,
        run: &mut RunRow,
    ) -> Result<(), LedgerError> {
        if run.status == Status::Pending {
            // Nothing of it was planned; what waits for its group is not held up by it.
            run.status = Status::Completed;
            run.conclusion = Some(Conclusion::Cancelled);
            run.finished_at = Some(self.now());
            tx.update_run(run).await?;
            return self.tell(tx, run).await;
        }
        if run.cancelled_at.is_some() {
            for mut job in tx.jobs_of(&run.id, run.attempt).await? {
                if job.status == Status::InProgress {
                    job.cancel_level = 2;
                    tx.update_job(&job).await?;
                }
            }
            return Ok(());
        }
        let mut plan = self.plan(tx, run).await?;
        run.positions += 1;
        run.cancelled_at = Some(run.positions);
        plan.positions = run.positions;
        let decisions = Change::Cancelled.apply(&mut plan.progress);
        self.carry_out(tx, run, plan, decisions).await
    }

    /// Writes the end of a job at the next place of its attempt.
    async fn write_end(
        &self,
        tx: &mut Transaction,
        run: &mut RunRow,
        key: JobKey,
        outcome: &JobOutcome,
        is_kept: bool,
    ) -> Result<Change, LedgerError> {
        run.positions += 1;
        if let Some(mut job) = tx.job(&run.id, run.attempt, key).await? {
            job.position = Some(run.positions);
            job.outputs = Some(outcome.outputs.to_string());
            job.is_kept = is_kept;
            job.is_timed_out = outcome.is_timed_out;
            job.deploy = outcome.deploy;
            job.milliseconds = Some(outcome.milliseconds);
            end_job(&mut job, outcome.conclusion, outcome.reason.clone());
            tx.update_job(&job).await?;
            if !outcome.findings.is_empty() {
                let findings = serde_json::to_string(&outcome.findings).unwrap_or_default();
                tx.set_findings(&job, &findings).await?;
            }
            if let Some(group) = &job.concurrency_group {
                self.leave_group(tx, &run.repository, group).await?;
            }
        }
        Ok(Change::Finished {
            job: key,
            conclusion: outcome.conclusion,
            outputs: outcome.outputs.clone(),
        })
    }

    /// Writes what a plan decided, and what that brings about at once, until nothing is left.
    async fn carry_out(
        &self,
        tx: &mut Transaction,
        run: &mut RunRow,
        mut plan: Planned,
        decisions: Vec<Decision>,
    ) -> Result<(), LedgerError> {
        let mut waiting = VecDeque::from(decisions);
        while let Some(decision) = waiting.pop_front() {
            let ended = match decision {
                Decision::Planned {
                    key,
                    id,
                    name,
                    needs,
                } => {
                    let job = self.new_job(run, key, (id, name, needs));
                    tx.insert_job(&job).await?;
                    None
                }
                Decision::Start(job) => self.start(tx, run, &job).await?,
                Decision::End {
                    key,
                    conclusion,
                    reason,
                } => {
                    // The plan ended it by itself, and would again: that is no change to be kept.
                    if let Some(mut job) = tx.job(&run.id, run.attempt, key).await? {
                        end_job(&mut job, conclusion, Some(reason));
                        tx.update_job(&job).await?;
                    }
                    None
                }
                Decision::Cancel(key) => self.cancel_job(tx, run, key).await?,
            };
            if let Some((key, outcome, is_kept)) = ended {
                let change = self.write_end(tx, run, key, &outcome, is_kept).await?;
                plan.positions = run.positions;
                waiting.extend(change.apply(&mut plan.progress));
            }
        }
        if plan.progress.is_finished() {
            return self.end_run(tx, run, plan.progress.conclusion()).await;
        }
        tx.update_run(run).await?;
        self.tell(tx, run).await?;
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        plans.insert((run.id.clone(), run.attempt), plan);
        Ok(())
    }

    fn new_job(
        &self,
        run: &RunRow,
        job: JobKey,
        (id, name, needs): (String, String, Vec<String>),
    ) -> JobRow {
        JobRow {
            run: run.id.clone(),
            attempt: run.attempt,
            job,
            repository: run.repository.clone(),
            id,
            name,
            needs,
            labels: Vec::new(),
            is_ready: false,
            status: Status::Queued,
            conclusion: None,
            reason: None,
            deploy: None,
            outputs: None,
            is_timed_out: false,
            is_kept: false,
            position: None,
            fence: crate::run::Fence(0),
            machine: None,
            lease_until: None,
            began_at: None,
            disconnected_at: None,
            losses: 0,
            cancel_level: 0,
            concurrency_group: None,
            environment: None,
            environment_url: None,
            created_at: self.now(),
            started_at: None,
            milliseconds: None,
        }
    }

    /// Lets a job be taken; returns its end where it has one already.
    async fn start(
        &self,
        tx: &mut Transaction,
        run: &RunRow,
        plan: &JobPlan,
    ) -> Result<Option<(JobKey, JobOutcome, bool)>, LedgerError> {
        let Some(mut job) = tx.job(&run.id, run.attempt, plan.key).await? else {
            return Ok(None);
        };
        if let Some(outcome) = self.kept_result(tx, run, &job).await? {
            return Ok(Some((plan.key, outcome, true)));
        }
        job.labels.clone_from(&plan.runs_on);
        if let Some(environment) = &plan.environment {
            job.environment = Some(environment.name.clone());
            job.environment_url.clone_from(&environment.url);
        }
        if job.labels.iter().map(String::len).sum::<usize>() > LONGEST {
            let reason = format!("its `runs-on` is longer than {LONGEST} letters");
            let outcome = JobOutcome::without_run(Conclusion::Failure, reason);
            return Ok(Some((plan.key, outcome, false)));
        }
        let lacking = self.labels.unserved(&job.labels);
        if !lacking.is_empty() && self.is_shared() {
            // Another machine may serve it, also one that is started later.
            job.reason = why_waiting(&tx.living_machines().await?, &job.labels);
        } else if !lacking.is_empty() {
            let reason = format!(
                "nobody serves the label `{}` of its `runs-on`",
                lacking.join("`, `")
            );
            let outcome = JobOutcome::without_run(Conclusion::Failure, reason);
            return Ok(Some((plan.key, outcome, false)));
        }
        self.enter_job(tx, run, job, plan.concurrency.as_ref())
            .await?;
        Ok(None)
    }

    /// Asks for the end of a job; returns that where nobody has the job.
    pub(super) async fn cancel_job(
        &self,
        tx: &mut Transaction,
        run: &RunRow,
        key: JobKey,
    ) -> Result<Option<(JobKey, JobOutcome, bool)>, LedgerError> {
        let Some(mut job) = tx.job(&run.id, run.attempt, key).await? else {
            return Ok(None);
        };
        match job.status {
            Status::InProgress => {
                job.cancel_level = job.cancel_level.max(1);
                tx.update_job(&job).await?;
                Ok(None)
            }
            Status::Pending | Status::Queued => {
                let outcome = JobOutcome::without_run(
                    Conclusion::Cancelled,
                    "it was cancelled before it began",
                );
                Ok(Some((key, outcome, false)))
            }
            Status::Completed => Ok(None),
        }
    }

    async fn end_run(
        &self,
        tx: &mut Transaction,
        run: &mut RunRow,
        conclusion: Conclusion,
    ) -> Result<(), LedgerError> {
        let mut tally = Tally::default();
        let jobs = tx.jobs_of(&run.id, run.attempt).await?;
        for job in &jobs {
            if let Some(conclusion) = job.conclusion {
                tally.add(conclusion, job.is_timed_out, job.deploy);
            }
        }
        let outcome = tally.outcome(conclusion, run.cancelled_at.is_some());
        run.status = Status::Completed;
        run.conclusion = Some(outcome.conclusion);
        run.is_timed_out = outcome.is_timed_out;
        run.deploy = outcome.deploy;
        run.finished_at = Some(self.now());
        tx.update_run(run).await?;
        self.tell(tx, run).await?;
        self.announce_run(tx, run, "completed").await?;
        self.notify(tx, run, &jobs).await?;
        self.hints.run_ends(run, &jobs);
        if let Some(group) = &run.concurrency_group {
            self.leave_group(tx, &run.repository, group).await?;
        }
        Ok(())
    }
}

fn end_job(job: &mut JobRow, conclusion: Conclusion, reason: Option<String>) {
    job.status = Status::Completed;
    job.conclusion = Some(conclusion);
    job.reason = reason;
    job.lease_until = None;
    job.disconnected_at = None;
}
