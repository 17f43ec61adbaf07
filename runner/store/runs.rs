//! The rows of runs.

use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::{StoreError, Transaction, number, small, unsigned, word};
use crate::run::{Attempt, Conclusion, DeployOutcome, RunId, Status, Timestamp};

const COLUMNS: &str = "id, repository, number, workflow, name, event, event_key, git_ref, sha, actor, title, \
     document, attempt, status, conclusion, deploy, is_timed_out, positions, cancelled_at, \
     concurrency_group, created_at, started_at, finished_at, awaits_approval, approved_by";

/// A run as it is stored.
#[derive(Debug, Clone)]
pub struct RunRow {
    /// Its number among all runs of this store.
    pub id: RunId,
    /// `owner/name`.
    pub repository: String,
    /// Its number among the runs of its workflow.
    pub number: u64,
    /// The workflow file's path in the repository.
    pub workflow: String,
    /// The workflow's name.
    pub name: String,
    /// The event's name.
    pub event: String,
    /// What makes the event one: no two runs of a workflow have the same.
    pub event_key: String,
    /// The ref that it is about.
    pub git_ref: String,
    /// The commit that it is about.
    pub sha: String,
    /// Who caused it.
    pub actor: String,
    /// The first line of the commit's message, or what the event says of itself.
    pub title: String,
    /// What it takes to plan it again: JSON that only `scheduler` reads.
    pub document: String,
    /// The newest attempt.
    pub attempt: Attempt,
    /// Where that stands.
    pub status: Status,
    /// How it ended.
    pub conclusion: Option<Conclusion>,
    /// What became of a deployment that did not go through.
    pub deploy: Option<DeployOutcome>,
    /// Whether a time limit ended it and nothing failed.
    pub is_timed_out: bool,
    /// How many changes the attempt has seen.
    pub positions: u64,
    /// After how many of them it was cancelled.
    pub cancelled_at: Option<u64>,
    /// Its concurrency group.
    pub concurrency_group: Option<String>,
    /// When it was taken in.
    pub created_at: Timestamp,
    /// When its first job began.
    pub started_at: Option<Timestamp>,
    /// When its last job ended.
    pub finished_at: Option<Timestamp>,
    /// Whether someone must let it run first.
    pub awaits_approval: bool,
    /// Who did.
    pub approved_by: Option<String>,
}

/// Which runs are asked for; what is `None` does not matter.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Of this repository.
    pub repository: Option<String>,
    /// Of this workflow: its path, its file's name, or its name.
    pub workflow: Option<String>,
    /// Of this ref, whole.
    pub git_ref: Option<String>,
    /// Of this event.
    pub event: Option<String>,
    /// That stand here.
    pub status: Option<Status>,
    /// That ended so.
    pub conclusion: Option<Conclusion>,
    /// Older than this one.
    pub before: Option<RunId>,
    /// At most so many, the newest first.
    pub limit: Option<u32>,
}

impl RunRow {
    fn read(row: &AnyRow) -> Self {
        let time = |column: &str| row.get::<Option<i64>, _>(column).map(Timestamp);
        Self {
            id: RunId(row.get::<i64, _>("id").to_string()),
            repository: row.get("repository"),
            number: unsigned(row.get("number")),
            workflow: row.get("workflow"),
            name: row.get("name"),
            event: row.get("event"),
            event_key: row.get("event_key"),
            git_ref: row.get("git_ref"),
            sha: row.get("sha"),
            actor: row.get("actor"),
            title: row.get("title"),
            document: row.get("document"),
            attempt: Attempt(small(row.get("attempt"))),
            status: word(row, "status", Status::from_word).unwrap_or(Status::Completed),
            conclusion: word(row, "conclusion", Conclusion::from_word),
            deploy: word(row, "deploy", DeployOutcome::from_word),
            is_timed_out: row.get::<i64, _>("is_timed_out") != 0,
            positions: unsigned(row.get("positions")),
            cancelled_at: row.get::<Option<i64>, _>("cancelled_at").map(unsigned),
            concurrency_group: row.get("concurrency_group"),
            created_at: Timestamp(row.get("created_at")),
            started_at: time("started_at"),
            finished_at: time("finished_at"),
            awaits_approval: row.get::<i64, _>("awaits_approval") != 0,
            approved_by: row.get("approved_by"),
        }
    }
}

/// Returns a run's number as the database holds it; one that is none finds nothing.
pub(super) fn key(id: &RunId) -> i64 {
    id.0.parse().unwrap_or(-1)
}

impl Transaction {
    /// Returns the number that a new run gets, and its number among those of its workflow.
    pub async fn next_run(
        &mut self,
        repository: &str,
        workflow: &str,
    ) -> Result<(RunId, u64), StoreError> {
        let id = self.next("run").await?;
        let row = sqlx::query(
            "SELECT COALESCE(MAX(number), 0) FROM runs WHERE repository = $1 AND workflow = $2",
        )
        .bind(repository)
        .bind(workflow)
        .fetch_one(self.connection())
        .await
        .map_err(|source| StoreError::new("the number of a run", source))?;
        Ok((RunId(id.to_string()), unsigned(row.get::<i64, _>(0)) + 1))
    }

    /// Adds a run; `false` where its workflow has one of the same event already.
    pub async fn insert_run(&mut self, run: &RunRow) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO runs (id, repository, number, workflow, name, event, event_key, git_ref, sha, actor, title, \
             document, attempt, status, is_timed_out, positions, concurrency_group, created_at, awaits_approval) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 0, $15, $16, $17, $18) \
             ON CONFLICT DO NOTHING",
        )
        .bind(key(&run.id))
        .bind(&run.repository)
        .bind(number(run.number))
        .bind(&run.workflow)
        .bind(&run.name)
        .bind(&run.event)
        .bind(&run.event_key)
        .bind(&run.git_ref)
        .bind(&run.sha)
        .bind(&run.actor)
        .bind(&run.title)
        .bind(&run.document)
        .bind(i64::from(run.attempt.0))
        .bind(run.status.as_str())
        .bind(number(run.positions))
        .bind(&run.concurrency_group)
        .bind(run.created_at.0)
        .bind(i64::from(run.awaits_approval))
        .execute(self.writer())
        .await
        .map_err(|source| StoreError::new("a new run", source))?;
        Ok(done.rows_affected() == 1)
    }

    /// Returns a run and keeps it from everybody else until the transaction ends.
    pub async fn lock_run(&mut self, id: &RunId) -> Result<Option<RunRow>, StoreError> {
        let end = self.for_update();
        self.one_run(id, end).await
    }

    /// Returns a run.
    pub async fn run(&mut self, id: &RunId) -> Result<Option<RunRow>, StoreError> {
        self.one_run(id, "").await
    }

    async fn one_run(&mut self, id: &RunId, end: &str) -> Result<Option<RunRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM runs WHERE id = $1{end}");
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(key(id))
            .fetch_optional(self.connection())
            .await
            .map_err(|source| StoreError::new("a run", source))?;
        Ok(row.as_ref().map(RunRow::read))
    }

    /// Writes where a run stands: everything that can change in it.
    pub async fn update_run(&mut self, run: &RunRow) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE runs SET attempt = $1, status = $2, conclusion = $3, deploy = $4, is_timed_out = $5, \
             positions = $6, cancelled_at = $7, started_at = $8, finished_at = $9, concurrency_group = $10, \
             awaits_approval = $11, approved_by = $12 WHERE id = $13",
        )
        .bind(i64::from(run.attempt.0))
        .bind(run.status.as_str())
        .bind(run.conclusion.map(Conclusion::as_str))
        .bind(run.deploy.map(DeployOutcome::as_str))
        .bind(i64::from(run.is_timed_out))
        .bind(number(run.positions))
        .bind(run.cancelled_at.map(number))
        .bind(run.started_at.map(|time| time.0))
        .bind(run.finished_at.map(|time| time.0))
        .bind(&run.concurrency_group)
        .bind(i64::from(run.awaits_approval))
        .bind(&run.approved_by)
        .bind(key(&run.id))
        .execute(self.writer())
        .await
        .map_err(|source| StoreError::new("the state of a run", source))?;
        Ok(())
    }

    /// Writes what a run is planned from.
    pub async fn set_document(&mut self, run: &RunRow) -> Result<(), StoreError> {
        sqlx::query("UPDATE runs SET document = $1 WHERE id = $2")
            .bind(&run.document)
            .bind(key(&run.id))
            .execute(self.writer())
            .await
            .map_err(|source| StoreError::new("the plan of a run", source))?;
        Ok(())
    }

    /// Returns the runs of a filter, the newest first.
    pub async fn runs(&mut self, filter: &RunFilter) -> Result<Vec<RunRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM runs WHERE ($1 = '' OR repository = $1) AND ($2 = '' OR status = $2) \
             AND ($3 = '' OR $3 IN (workflow, name) OR workflow IN ('pipelines/' || $3, '.github/workflows/' || $3)) \
             AND ($4 = '' OR git_ref = $4) AND ($5 = '' OR event = $5) AND ($6 = '' OR conclusion = $6) \
             AND id < $7 ORDER BY id DESC LIMIT $8"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(filter.repository.as_deref().unwrap_or(""))
            .bind(filter.status.map_or("", Status::as_str))
            .bind(filter.workflow.as_deref().unwrap_or(""))
            .bind(filter.git_ref.as_deref().unwrap_or(""))
            .bind(filter.event.as_deref().unwrap_or(""))
            .bind(filter.conclusion.map_or("", Conclusion::as_str))
            .bind(filter.before.as_ref().map_or(i64::MAX, key))
            .bind(filter.limit.map_or(i64::MAX, i64::from))
            .fetch_all(self.connection())
            .await
            .map_err(|source| StoreError::new("runs", source))?;
        Ok(rows.iter().map(RunRow::read).collect())
    }

    /// Returns the runs of a concurrency group that did not end, the oldest first.
    pub async fn runs_of_group(
        &mut self,
        repository: &str,
        group: &str,
    ) -> Result<Vec<RunRow>, StoreError> {
        let end = self.for_update();
        let sql = format!(
            "SELECT {COLUMNS} FROM runs WHERE repository = $1 AND concurrency_group = $2 AND status <> 'completed' \
             ORDER BY id{end}"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(repository)
            .bind(group)
            .fetch_all(self.connection())
            .await
            .map_err(|source| StoreError::new("the runs of a concurrency group", source))?;
        Ok(rows.iter().map(RunRow::read).collect())
    }
    /// Returns the runs of a workflow and a ref that someone must let run first.
    pub async fn awaiting_runs(
        &mut self,
        repository: &str,
        workflow: &str,
        git_ref: &str,
    ) -> Result<Vec<RunRow>, StoreError> {
        let end = self.for_update();
        let sql = format!(
            "SELECT {COLUMNS} FROM runs WHERE status = 'pending' AND awaits_approval = 1 AND repository = $1 \
             AND workflow = $2 AND git_ref = $3 ORDER BY id{end}"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(repository)
            .bind(workflow)
            .bind(git_ref)
            .fetch_all(self.connection())
            .await
            .map_err(|source| StoreError::new("the runs that wait for approval", source))?;
        Ok(rows.iter().map(RunRow::read).collect())
    }
}
