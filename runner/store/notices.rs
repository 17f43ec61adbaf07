//! What people are told of, and which branches are broken.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::runs::key;
use super::{RunRow, StoreError, Transaction, unsigned};
use crate::run::Timestamp;

/// Something that is told by a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeRow {
    /// What it is about, and the channel: no two rows have the same.
    pub subject: String,
    /// The channel's name.
    pub channel: String,
    /// `owner/name`.
    pub repository: String,
    /// What is told, as JSON.
    pub body: String,
    /// `waiting`, `sent` or `failed`.
    pub state: String,
    /// How often it was tried.
    pub tries: u64,
    /// Why the last try failed.
    pub error: Option<String>,
    /// When it was written.
    pub created_at: Timestamp,
    /// Not to be tried before.
    pub next_at: Timestamp,
}

impl NoticeRow {
    fn read(row: &AnyRow) -> Self {
        Self {
            subject: row.get("subject"),
            channel: row.get("channel"),
            repository: row.get("repository"),
            body: row.get("body"),
            state: row.get("state"),
            tries: unsigned(row.get("tries")),
            error: row.get("error"),
            created_at: Timestamp(row.get("created_at")),
            next_at: Timestamp(row.get("next_at")),
        }
    }
}

fn failed(source: sqlx::Error) -> StoreError {
    StoreError::new("a notice", source)
}

impl Transaction {
    /// Adds something to be told; what was added before stays as it is.
    pub async fn insert_notice(&mut self, notice: &NoticeRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO notices (subject, channel, repository, body, state, tries, created_at, next_at) \
             VALUES ($1, $2, $3, $4, 'waiting', 0, $5, $5) ON CONFLICT DO NOTHING",
        )
        .bind(&notice.subject)
        .bind(&notice.channel)
        .bind(&notice.repository)
        .bind(&notice.body)
        .bind(notice.created_at.0)
        .execute(self.writer())
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Returns what waits to be told by a channel and is due, the oldest first; of a repository nothing
    /// goes before what waits longer.
    pub async fn due_notices(
        &mut self,
        channel: &str,
        now: Timestamp,
    ) -> Result<Vec<NoticeRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT subject, channel, repository, body, state, tries, error, created_at, next_at FROM notices n \
             WHERE channel = $1 AND state = 'waiting' AND next_at <= $2 AND NOT EXISTS (SELECT 1 FROM notices e \
             WHERE e.channel = n.channel AND e.repository = n.repository AND e.state = 'waiting' \
             AND e.next_at > $2 AND e.created_at < n.created_at) ORDER BY created_at, subject LIMIT 50",
        )
        .bind(channel)
        .bind(now.0)
        .fetch_all(self.connection())
        .await
        .map_err(failed)?;
        Ok(rows.iter().map(NoticeRow::read).collect())
    }

    /// Returns what was told last or waits, the newest first.
    pub async fn notices(&mut self, limit: u32) -> Result<Vec<NoticeRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT subject, channel, repository, body, state, tries, error, created_at, next_at FROM notices \
             ORDER BY created_at DESC, subject LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(self.connection())
        .await
        .map_err(failed)?;
        Ok(rows.iter().map(NoticeRow::read).collect())
    }

    /// Writes how a try went: where it stands from now on, why, and when it is tried again.
    pub async fn notice_tried(
        &mut self,
        notice: &NoticeRow,
        state: &str,
        error: Option<&str>,
        next_at: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE notices SET state = $1, error = $2, next_at = $3, tries = tries + 1 WHERE subject = $4",
        )
        .bind(state)
        .bind(error)
        .bind(next_at.0)
        .bind(&notice.subject)
        .execute(self.writer())
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Writes that a run failed on its branch; `false` where the branch was broken before, or a later
    /// run of the workflow ended there.
    pub async fn break_branch(&mut self, run: &RunRow) -> Result<bool, StoreError> {
        let statement = "INSERT INTO broken (repository, workflow, git_ref, run) SELECT $1, $2, $3, $4 \
             WHERE NOT EXISTS (SELECT 1 FROM runs WHERE repository = $1 AND workflow = $2 AND git_ref = $3 \
             AND id > $4 AND conclusion IN ('success', 'failure')) ON CONFLICT DO NOTHING";
        self.change_branch(statement, run).await
    }

    /// Writes that a run succeeded on its branch; `false` where that was not broken, or by a later run.
    pub async fn mend_branch(&mut self, run: &RunRow) -> Result<bool, StoreError> {
        let statement = "DELETE FROM broken WHERE repository = $1 AND workflow = $2 AND git_ref = $3 AND run <= $4";
        self.change_branch(statement, run).await
    }

    /// Carries out a statement about the branch of a run; `false` where it changed nothing.
    async fn change_branch(
        &mut self,
        statement: &'static str,
        run: &RunRow,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(statement)
            .bind(&run.repository)
            .bind(&run.workflow)
            .bind(&run.git_ref)
            .bind(key(&run.id))
            .execute(self.writer())
            .await
            .map_err(|source| StoreError::new("a broken branch", source))?;
        Ok(done.rows_affected() == 1)
    }
}
