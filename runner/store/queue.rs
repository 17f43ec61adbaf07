//! Jobs that wait for a machine, and the leases of those that have one.
//!
//! # How it works
//! Who takes a job takes a share of its repository: the repository of which the fewest jobs run has
//! the next turn. On PostgreSQL the row of the job's run is locked first, as by everybody who changes
//! a run, and runs that somebody else has locked are passed over. A lease is a time of the database's
//! clock. One that lapsed makes its job *disconnected*, for a last short while in which its machine
//! can still speak up; then the job can be taken from it.

use std::time::Duration;

use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::jobs::COLUMNS;
use super::runs::key;
use super::{ClaimedJob, JobRow, StoreError, Transaction, milliseconds, number, small, unsigned};
use crate::run::{Attempt, Fence, JobKey, RunId, Timestamp};

/// How often another job is looked for when somebody was quicker.
const TRIES: u32 = 5;

fn read_claimed(row: &AnyRow) -> ClaimedJob {
    ClaimedJob {
        run: RunId(row.get::<i64, _>("run").to_string()),
        attempt: Attempt(small(row.get("attempt"))),
        job: JobKey(small(row.get("job"))),
        fence: Fence(unsigned(row.get("fence"))),
    }
}

impl Transaction {
    /// Takes a queued job for `machine`, with a new fence; none where none waits.
    ///
    /// It is the one that waits longest of the repository of which the fewest run, among those whose
    /// labels the machine `serves`.
    pub async fn claim_job(
        &mut self,
        machine: &str,
        serves: &(dyn Fn(&[String]) -> bool + Sync),
        (now, lease): (Timestamp, Duration),
    ) -> Result<Option<ClaimedJob>, StoreError> {
        for _ in 0..TRIES {
            let mut kinds = Vec::new();
            for repository in self.waiting_repositories().await? {
                for labels in self.waiting_labels(&repository).await? {
                    let list: Vec<String> = serde_json::from_str(&labels).unwrap_or_default();
                    if serves(&list) {
                        kinds.push((repository.clone(), labels));
                    }
                }
            }
            let Some(found) = self.waiting_job(&kinds).await? else {
                return Ok(None);
            };
            let taken = self.take(&found, machine, (now, lease)).await?;
            if taken.is_some() {
                return Ok(taken);
            }
            // Somebody took it between the look and the lock.
        }
        Ok(None)
    }

    /// Returns the repositories of which jobs wait, the one of which the fewest run first.
    pub(super) async fn waiting_repositories(&mut self) -> Result<Vec<String>, StoreError> {
        // From one repository to the next by the index, however many jobs of each wait.
        // (The first of an order and not the least: the way by the index needs no statistics then.)
        let rows = sqlx::query(
            "WITH RECURSIVE waiting (repository) AS (\
             SELECT (SELECT repository FROM jobs WHERE status = 'queued' AND is_ready = 1 \
             ORDER BY repository LIMIT 1) \
             UNION ALL \
             SELECT (SELECT jobs.repository FROM jobs WHERE status = 'queued' AND is_ready = 1 \
             AND jobs.repository > waiting.repository ORDER BY jobs.repository LIMIT 1) \
             FROM waiting WHERE waiting.repository IS NOT NULL) \
             SELECT repository, \
             (SELECT COUNT(*) FROM jobs WHERE status = 'in_progress' AND jobs.repository = waiting.repository) AS running, \
             (SELECT created_at FROM jobs WHERE status = 'queued' AND is_ready = 1 \
             AND jobs.repository = waiting.repository ORDER BY created_at LIMIT 1) AS since \
             FROM waiting WHERE repository IS NOT NULL ORDER BY running, since, repository",
        )
        .fetch_all(self.connection())
        .await
        .map_err(|source| StoreError::new("the repositories whose jobs wait", source))?;
        Ok(rows.iter().map(|row| row.get("repository")).collect())
    }

    /// Returns the first job that waits, and locks its run.
    async fn waiting_job(
        &mut self,
        kinds: &[(String, String)],
    ) -> Result<Option<(i64, i64, i64)>, StoreError> {
        let locks: &[&str] = if self.is_sqlite {
            &[""]
        } else {
            // Those that nobody is at come first; where there are none, one is waited for.
            &[" FOR UPDATE OF runs SKIP LOCKED", " FOR UPDATE OF runs"]
        };
        for lock in locks {
            for (repository, labels) in kinds {
                let sql = format!(
                    "SELECT jobs.run, jobs.attempt, jobs.job FROM jobs JOIN runs ON runs.id = jobs.run \
                     WHERE jobs.status = 'queued' AND jobs.is_ready = 1 AND jobs.repository = $1 \
                     AND jobs.labels = $2 ORDER BY jobs.created_at, jobs.run, jobs.job LIMIT 1{lock}"
                );
                let row = sqlx::query(AssertSqlSafe(sql))
                    .bind(repository)
                    .bind(labels)
                    .fetch_optional(self.connection())
                    .await
                    .map_err(|source| StoreError::new("a queued job", source))?;
                if let Some(row) = row {
                    return Ok(Some((row.get(0), row.get(1), row.get(2))));
                }
            }
        }
        Ok(None)
    }

    async fn take(
        &mut self,
        (run, attempt, job): &(i64, i64, i64),
        machine: &str,
        (now, lease): (Timestamp, Duration),
    ) -> Result<Option<ClaimedJob>, StoreError> {
        let sql = format!(
            "UPDATE jobs SET status = 'in_progress', fence = fence + 1, machine = $1, lease_until = {} + $2, \
             started_at = $3, began_at = NULL, disconnected_at = NULL, reason = NULL \
             WHERE run = $4 AND attempt = $5 AND job = $6 AND status = 'queued' AND is_ready = 1 \
             RETURNING run, attempt, job, fence",
            self.clock()
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(machine)
            .bind(milliseconds(lease))
            .bind(now.0)
            .bind(run)
            .bind(attempt)
            .bind(job)
            .fetch_optional(self.connection())
            .await
            .map_err(|source| StoreError::new("a queued job", source))?;
        self.has_written |= row.is_some();
        Ok(row.as_ref().map(read_claimed))
    }

    /// Prolongs the lease of a job from now on; returns its cancel level, or nothing where the fence
    /// is not its owner's any more.
    ///
    /// `begins` says that its process may run from here on.
    pub async fn renew_lease(
        &mut self,
        claimed: &ClaimedJob,
        lease: Duration,
        begins: bool,
    ) -> Result<Option<u32>, StoreError> {
        let clock = self.clock();
        let began = if begins {
            format!(", began_at = COALESCE(began_at, {clock})")
        } else {
            String::new()
        };
        let sql = format!(
            "UPDATE jobs SET lease_until = {clock} + $1, disconnected_at = NULL{began} \
             WHERE run = $2 AND attempt = $3 AND job = $4 AND fence = $5 AND status = 'in_progress' \
             RETURNING cancel_level"
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(milliseconds(lease))
            .bind(key(&claimed.run))
            .bind(i64::from(claimed.attempt.0))
            .bind(i64::from(claimed.job.0))
            .bind(number(claimed.fence.0))
            .fetch_optional(self.writer())
            .await
            .map_err(|source| StoreError::new("the lease of a job", source))?;
        Ok(row.map(|row| small(row.get(0))))
    }

    /// Notes of the jobs whose leases lapsed that nothing is heard of their machines, which have
    /// `grace` left to speak up.
    pub async fn disconnect_lapsed(&mut self, grace: Duration) -> Result<u64, StoreError> {
        let clock = self.clock();
        let sql = format!(
            "UPDATE jobs SET disconnected_at = {clock}, lease_until = {clock} + $1 \
             WHERE status = 'in_progress' AND disconnected_at IS NULL AND lease_until <= {clock}"
        );
        let done = sqlx::query(AssertSqlSafe(sql))
            .bind(milliseconds(grace))
            .execute(self.connection())
            .await
            .map_err(|source| StoreError::new("the leases that lapsed", source))?;
        self.has_written |= done.rows_affected() > 0;
        Ok(done.rows_affected())
    }

    /// Tells whether a lease lapsed, or a machine that nothing is heard of used up its grace.
    pub async fn has_lapsed(&mut self) -> Result<bool, StoreError> {
        let sql = format!(
            "SELECT COUNT(*) FROM jobs WHERE status = 'in_progress' AND lease_until <= {}",
            self.clock()
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .fetch_one(self.connection())
            .await
            .map_err(|source| StoreError::new("the leases that lapsed", source))?;
        Ok(row.get::<i64, _>(0) > 0)
    }

    /// Returns the jobs that can be taken from their machines.
    pub async fn lost_jobs(&mut self) -> Result<Vec<JobRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM jobs WHERE status = 'in_progress' AND disconnected_at IS NOT NULL \
             AND lease_until <= {} ORDER BY run, job",
            self.clock()
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .fetch_all(self.connection())
            .await
            .map_err(|source| StoreError::new("the jobs that were lost", source))?;
        Ok(rows.iter().map(JobRow::read).collect())
    }
}
