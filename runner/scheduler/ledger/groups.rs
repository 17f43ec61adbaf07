//! Concurrency groups: of a group one runs, and one waits unless all may.
//!
//! Source: GitHub, "Control the concurrency of workflows and jobs". Runs and jobs of a repository
//! share the names of groups.

use super::super::document::RunDocument;
use super::{Ledger, LedgerError};
use crate::plan::Concurrency;
use crate::run::Status;
use crate::store::{JobRow, RunRow, Transaction};

/// Puts the attempt of a run that begins into the group that its workflow names, and returns that.
pub(super) fn join_group(
    run: &mut RunRow,
    document: &RunDocument,
) -> Result<Option<Concurrency>, LedgerError> {
    let concurrency = document
        .begin(run.attempt)
        .and_then(|progress| progress.concurrency())
        .map_err(|why| LedgerError::Unplannable {
            run: run.id.clone(),
            why,
        })?;
    run.concurrency_group = concurrency.as_ref().map(|group| group.group.clone());
    Ok(concurrency)
}

impl Ledger {
    /// Lets a new attempt of a run begin, or wait for its group.
    pub(super) async fn enter_run(
        &self,
        tx: &mut Transaction,
        mut run: RunRow,
        concurrency: Option<Concurrency>,
    ) -> Result<(), LedgerError> {
        let Some(group) = concurrency else {
            return Box::pin(self.begin_run(tx, &mut run)).await;
        };
        alone_with_group(tx, &run.repository, &group.group).await?;
        self.make_room(
            tx,
            &run.repository,
            &group,
            |other| other.id == run.id,
            |_| false,
        )
        .await?;
        // What made room may have let this one begin already.
        let run_now = self.locked(tx, &run.id).await?;
        if run_now.status != Status::Pending {
            return Ok(());
        }
        if self
            .is_held(tx, &run.repository, &group.group, Some(&run), None)
            .await?
        {
            run.status = Status::Pending;
            tx.update_run(&run).await?;
            return self.tell(tx, &run).await;
        }
        Box::pin(self.begin_run(tx, &mut run)).await
    }

    /// Lets a job be taken, or wait for its group.
    pub(super) async fn enter_job(
        &self,
        tx: &mut Transaction,
        run: &RunRow,
        mut job: JobRow,
        concurrency: Option<&Concurrency>,
    ) -> Result<(), LedgerError> {
        job.is_ready = true;
        // A job in the group of its own run has its turn with the run.
        let group = concurrency
            .filter(|group| run.concurrency_group.as_deref() != Some(group.group.as_str()));
        if let Some(group) = group {
            job.concurrency_group = Some(group.group.clone());
            tx.update_job(&job).await?;
            alone_with_group(tx, &run.repository, &group.group).await?;
            let is_same = |other: &JobRow| other.run == job.run && other.job == job.job;
            self.make_room(
                tx,
                &run.repository,
                group,
                |other| other.id == run.id,
                is_same,
            )
            .await?;
            if self
                .is_held(tx, &run.repository, &group.group, None, Some(&job))
                .await?
            {
                job.status = Status::Pending;
            }
        }
        tx.update_job(&job).await?;
        Ok(())
    }

    /// Cancels what a newcomer takes the place of: who waits, and who runs where the group says so.
    async fn make_room(
        &self,
        tx: &mut Transaction,
        repository: &str,
        group: &Concurrency,
        is_own_run: impl Fn(&RunRow) -> bool,
        is_own_job: impl Fn(&JobRow) -> bool,
    ) -> Result<(), LedgerError> {
        for mut other in tx.runs_of_group(repository, &group.group).await? {
            let is_cancelled = match other.status {
                Status::Pending => !group.keeps_all,
                Status::Queued | Status::InProgress => {
                    group.cancels_in_progress && other.cancelled_at.is_none()
                }
                Status::Completed => false,
            };
            if is_cancelled && !is_own_run(&other) {
                Box::pin(self.cancel_run(tx, &mut other)).await?;
            }
        }
        for other in tx.jobs_of_group(repository, &group.group).await? {
            let is_cancelled = match other.status {
                Status::Pending => !group.keeps_all,
                Status::Queued | Status::InProgress => group.cancels_in_progress,
                Status::Completed => false,
            };
            if !is_cancelled || is_own_job(&other) {
                continue;
            }
            let mut run = self.locked(tx, &other.run).await?;
            if run.attempt != other.attempt {
                continue;
            }
            if let Some((key, outcome, is_kept)) = self.cancel_job(tx, &run, other.job).await? {
                Box::pin(self.record_end(tx, &mut run, key, &outcome, is_kept)).await?;
            }
        }
        Ok(())
    }

    /// Tells whether somebody else of a group runs.
    async fn is_held(
        &self,
        tx: &mut Transaction,
        repository: &str,
        group: &str,
        own_run: Option<&RunRow>,
        own_job: Option<&JobRow>,
    ) -> Result<bool, LedgerError> {
        let runs = tx.runs_of_group(repository, group).await?;
        let jobs = tx.jobs_of_group(repository, group).await?;
        let run_holds = runs.iter().any(|other| {
            other.status != Status::Pending && own_run.is_none_or(|own| own.id != other.id)
        });
        let job_holds = jobs.iter().any(|other| {
            other.status != Status::Pending
                && own_job.is_none_or(|own| own.run != other.run || own.job != other.job)
        });
        Ok(run_holds || job_holds)
    }

    /// Lets the next of a group begin, after one of it ended.
    pub(super) async fn leave_group(
        &self,
        tx: &mut Transaction,
        repository: &str,
        group: &str,
    ) -> Result<(), LedgerError> {
        alone_with_group(tx, repository, group).await?;
        if self.is_held(tx, repository, group, None, None).await? {
            return Ok(());
        }
        let runs = tx.runs_of_group(repository, group).await?;
        let jobs = tx.jobs_of_group(repository, group).await?;
        let (run, job) = (runs.into_iter().next(), jobs.into_iter().next());
        match (run, job) {
            (Some(mut run), job)
                if job
                    .as_ref()
                    .is_none_or(|job| run.created_at <= job.created_at) =>
            {
                Box::pin(self.begin_run(tx, &mut run)).await
            }
            (_, Some(mut job)) => {
                job.status = Status::Queued;
                tx.update_job(&job).await?;
                Ok(())
            }
            (_, None) => Ok(()),
        }
    }
}

/// Keeps other machines from a group: two newcomers that do not see each other would both begin.
async fn alone_with_group(
    tx: &mut Transaction,
    repository: &str,
    group: &str,
) -> Result<(), LedgerError> {
    tx.alone_with(&format!("group {repository} {group}"))
        .await?;
    Ok(())
}
