//! The rows of jobs.

use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::runs::key;
use super::{StoreError, Transaction, number, small, unsigned, word};
use crate::run::{Attempt, Conclusion, DeployOutcome, Fence, JobKey, RunId, Status, Timestamp};

pub(super) const COLUMNS: &str = "run, attempt, job, repository, id, name, needs, labels, is_ready, status, conclusion, reason, \
     deploy, outputs, is_timed_out, is_kept, position, fence, machine, lease_until, began_at, disconnected_at, \
     losses, cancel_level, concurrency_group, created_at, started_at, milliseconds, environment, environment_url";

/// A job as it is stored.
#[derive(Debug, Clone)]
pub struct JobRow {
    /// Its run.
    pub run: RunId,
    /// The try of the run that it belongs to.
    pub attempt: Attempt,
    /// Its place among the jobs of that.
    pub job: JobKey,
    /// `owner/name`.
    pub repository: String,
    /// Its key under `jobs`.
    pub id: String,
    /// Its name on the checks page.
    pub name: String,
    /// The keys of the jobs that it needs.
    pub needs: Vec<String>,
    /// The labels of `runs-on`.
    pub labels: Vec<String>,
    /// Whether it may start: it waits neither for `max-parallel` nor for its group.
    pub is_ready: bool,
    /// Where it stands.
    pub status: Status,
    /// How it ended.
    pub conclusion: Option<Conclusion>,
    /// Why, in words; of a job that is not over, why its own process is gone.
    pub reason: Option<String>,
    /// What became of a deployment that it had open.
    pub deploy: Option<DeployOutcome>,
    /// Its outputs as JSON.
    pub outputs: Option<String>,
    /// Whether its time limit ended it.
    pub is_timed_out: bool,
    /// Whether the result comes from an earlier attempt.
    pub is_kept: bool,
    /// The place of its end among the changes of the attempt.
    pub position: Option<u64>,
    /// Counts its owners.
    pub fence: Fence,
    /// The machine that has it.
    pub machine: Option<String>,
    /// Until when that machine has it, if it does not say otherwise.
    pub lease_until: Option<Timestamp>,
    /// Since when its process may have begun; none where nothing of it can have run.
    pub began_at: Option<Timestamp>,
    /// Since when nothing is heard of that machine, by the database's clock.
    pub disconnected_at: Option<Timestamp>,
    /// How often it was lost with its machine.
    pub losses: u32,
    /// 0: goes on; 1: is to be cancelled; 2: is to end at once.
    pub cancel_level: u32,
    /// Its concurrency group.
    pub concurrency_group: Option<String>,
    /// The environment that it deploys to.
    pub environment: Option<String>,
    /// Where that can be looked at.
    pub environment_url: Option<String>,
    /// When it was planned.
    pub created_at: Timestamp,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// How long it took.
    pub milliseconds: Option<u64>,
}

/// A job that a machine took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedJob {
    /// Its run.
    pub run: RunId,
    /// The try.
    pub attempt: Attempt,
    /// The job.
    pub job: JobKey,
    /// The number of this owner.
    pub fence: Fence,
}

impl JobRow {
    /// Returns the job with the owner that it has now.
    pub fn claimed(&self) -> ClaimedJob {
        ClaimedJob {
            run: self.run.clone(),
            attempt: self.attempt,
            job: self.job,
            fence: self.fence,
        }
    }

    /// Tells whether its own process is gone, and it is not over yet: its hosts are asked what became
    /// of its deploy. Why is in its reason.
    pub fn is_lost(&self) -> bool {
        self.status == Status::InProgress && self.reason.is_some()
    }

    pub(super) fn read(row: &AnyRow) -> Self {
        let list = |column: &str| -> Vec<String> {
            serde_json::from_str(&row.get::<String, _>(column)).unwrap_or_default()
        };
        let time = |column: &str| row.get::<Option<i64>, _>(column).map(Timestamp);
        Self {
            run: RunId(row.get::<i64, _>("run").to_string()),
            attempt: Attempt(small(row.get("attempt"))),
            job: JobKey(small(row.get("job"))),
            repository: row.get("repository"),
            id: row.get("id"),
            name: row.get("name"),
            needs: list("needs"),
            labels: list("labels"),
            is_ready: row.get::<i64, _>("is_ready") != 0,
            status: word(row, "status", Status::from_word).unwrap_or(Status::Completed),
            conclusion: word(row, "conclusion", Conclusion::from_word),
            reason: row.get("reason"),
            deploy: word(row, "deploy", DeployOutcome::from_word),
            outputs: row.get("outputs"),
            is_timed_out: row.get::<i64, _>("is_timed_out") != 0,
            is_kept: row.get::<i64, _>("is_kept") != 0,
            position: row.get::<Option<i64>, _>("position").map(unsigned),
            fence: Fence(unsigned(row.get("fence"))),
            machine: row.get("machine"),
            lease_until: time("lease_until"),
            began_at: time("began_at"),
            disconnected_at: time("disconnected_at"),
            losses: small(row.get("losses")),
            cancel_level: small(row.get("cancel_level")),
            concurrency_group: row.get("concurrency_group"),
            environment: row.get("environment"),
            environment_url: row.get("environment_url"),
            created_at: Timestamp(row.get("created_at")),
            started_at: time("started_at"),
            milliseconds: row.get::<Option<i64>, _>("milliseconds").map(unsigned),
        }
    }
}

impl Transaction {
    /// Adds a job.
    pub async fn insert_job(&mut self, job: &JobRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO jobs (run, attempt, job, repository, id, name, needs, labels, is_ready, status, \
             is_timed_out, is_kept, fence, cancel_level, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, 0, 0, 0, $11)",
        )
        .bind(key(&job.run))
        .bind(i64::from(job.attempt.0))
        .bind(i64::from(job.job.0))
        .bind(&job.repository)
        .bind(&job.id)
        .bind(&job.name)
        .bind(texts(&job.needs))
        .bind(texts(&job.labels))
        .bind(i64::from(job.is_ready))
        .bind(job.status.as_str())
        .bind(job.created_at.0)
        .execute(self.writer())
        .await
        .map_err(|source| StoreError::new("a new job", source))?;
        Ok(())
    }

    /// Returns the jobs of an attempt in the order of creation.
    pub async fn jobs_of(
        &mut self,
        run: &RunId,
        attempt: Attempt,
    ) -> Result<Vec<JobRow>, StoreError> {
        let sql =
            format!("SELECT {COLUMNS} FROM jobs WHERE run = $1 AND attempt = $2 ORDER BY job");
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(key(run))
            .bind(i64::from(attempt.0))
            .fetch_all(self.connection())
            .await
            .map_err(|source| StoreError::new("the jobs of a run", source))?;
        Ok(rows.iter().map(JobRow::read).collect())
    }

    /// Returns a job.
    pub async fn job(
        &mut self,
        run: &RunId,
        attempt: Attempt,
        job: JobKey,
    ) -> Result<Option<JobRow>, StoreError> {
        let sql =
            format!("SELECT {COLUMNS} FROM jobs WHERE run = $1 AND attempt = $2 AND job = $3");
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(key(run))
            .bind(i64::from(attempt.0))
            .bind(i64::from(job.0))
            .fetch_optional(self.connection())
            .await
            .map_err(|source| StoreError::new("a job", source))?;
        Ok(row.as_ref().map(JobRow::read))
    }

    /// Writes where a job stands: everything that can change in it.
    pub async fn update_job(&mut self, job: &JobRow) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE jobs SET labels = $1, is_ready = $2, status = $3, conclusion = $4, reason = $5, deploy = $6, \
             outputs = $7, is_timed_out = $8, is_kept = $9, position = $10, fence = $11, machine = $12, \
             lease_until = $13, cancel_level = $14, concurrency_group = $15, started_at = $16, milliseconds = $17, \
             environment = $18, environment_url = $19, began_at = $20, disconnected_at = $21, losses = $22 \
             WHERE run = $23 AND attempt = $24 AND job = $25",
        )
        .bind(texts(&job.labels))
        .bind(i64::from(job.is_ready))
        .bind(job.status.as_str())
        .bind(job.conclusion.map(Conclusion::as_str))
        .bind(&job.reason)
        .bind(job.deploy.map(DeployOutcome::as_str))
        .bind(&job.outputs)
        .bind(i64::from(job.is_timed_out))
        .bind(i64::from(job.is_kept))
        .bind(job.position.map(number))
        .bind(number(job.fence.0))
        .bind(&job.machine)
        .bind(job.lease_until.map(|time| time.0))
        .bind(i64::from(job.cancel_level))
        .bind(&job.concurrency_group)
        .bind(job.started_at.map(|time| time.0))
        .bind(job.milliseconds.map(number))
        .bind(&job.environment)
        .bind(&job.environment_url)
        .bind(job.began_at.map(|time| time.0))
        .bind(job.disconnected_at.map(|time| time.0))
        .bind(i64::from(job.losses))
        .bind(key(&job.run))
        .bind(i64::from(job.attempt.0))
        .bind(i64::from(job.job.0))
        .execute(self.writer())
        .await
        .map_err(|source| StoreError::new("the state of a job", source))?;
        Ok(())
    }

    /// Writes what a job found, as JSON that only `scheduler` reads.
    pub async fn set_findings(&mut self, job: &JobRow, findings: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE jobs SET findings = $1 WHERE run = $2 AND attempt = $3 AND job = $4")
            .bind(findings)
            .bind(key(&job.run))
            .bind(i64::from(job.attempt.0))
            .bind(i64::from(job.job.0))
            .execute(self.writer())
            .await
            .map_err(|source| StoreError::new("what a job found", source))?;
        Ok(())
    }

    /// Returns what a job found, if it found anything.
    pub async fn findings(
        &mut self,
        run: &RunId,
        attempt: Attempt,
        job: JobKey,
    ) -> Result<Option<String>, StoreError> {
        let row =
            sqlx::query("SELECT findings FROM jobs WHERE run = $1 AND attempt = $2 AND job = $3")
                .bind(key(run))
                .bind(i64::from(attempt.0))
                .bind(i64::from(job.0))
                .fetch_optional(self.connection())
                .await
                .map_err(|source| StoreError::new("what a job found", source))?;
        Ok(row.and_then(|row| row.get("findings")))
    }

    /// Returns the jobs that run on a machine, or on any.
    pub async fn running_jobs(&mut self, machine: Option<&str>) -> Result<Vec<JobRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM jobs WHERE status = 'in_progress' AND ($1 = '' OR machine = $1) ORDER BY run, job"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(machine.unwrap_or(""))
            .fetch_all(self.connection())
            .await
            .map_err(|source| StoreError::new("the jobs that run", source))?;
        Ok(rows.iter().map(JobRow::read).collect())
    }

    /// Returns the jobs of a concurrency group that did not end, the oldest first.
    pub async fn jobs_of_group(
        &mut self,
        repository: &str,
        group: &str,
    ) -> Result<Vec<JobRow>, StoreError> {
        let end = self.for_update();
        let sql = format!(
            "SELECT {COLUMNS} FROM jobs WHERE repository = $1 AND concurrency_group = $2 AND status <> 'completed' \
             ORDER BY run, job{end}"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(repository)
            .bind(group)
            .fetch_all(self.connection())
            .await
            .map_err(|source| StoreError::new("the jobs of a concurrency group", source))?;
        Ok(rows.iter().map(JobRow::read).collect())
    }
}

fn texts(list: &[String]) -> String {
    serde_json::Value::from(list.to_vec()).to_string()
}
