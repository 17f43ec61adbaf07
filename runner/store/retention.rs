//! What may be forgotten, and that it is.

use sqlx::{AssertSqlSafe, Row as _};

use super::runs::key;
use super::{StoreError, Transaction};
use crate::run::{RunId, Timestamp};

/// A run that nothing keeps: it ended, and it is neither the newest of its workflow or branch nor
/// what was deployed last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldRun {
    /// The run.
    pub id: RunId,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// Of a run `r`: whether one of the same workflow is newer, one of the same branch, too, unless that
/// branch is gone, and whether a later run deployed with success to each of its environments.
const NOTHING_KEEPS_IT: &str = "r.status = 'completed' AND r.finished_at IS NOT NULL \
     AND EXISTS (SELECT 1 FROM runs n WHERE n.repository = r.repository AND n.workflow = r.workflow AND n.id > r.id) \
     AND (NOT EXISTS (SELECT 1 FROM refs b WHERE b.repository = r.repository AND b.name = r.git_ref \
       AND b.name LIKE 'refs/heads/%') \
     OR EXISTS (SELECT 1 FROM runs n WHERE n.repository = r.repository AND n.workflow = r.workflow \
       AND n.git_ref = r.git_ref AND n.id > r.id)) \
     AND NOT EXISTS (SELECT 1 FROM jobs d WHERE d.run = r.id AND d.environment IS NOT NULL \
       AND d.conclusion = 'success' AND NOT EXISTS (SELECT 1 FROM jobs l WHERE l.repository = d.repository \
       AND l.environment = d.environment AND l.conclusion = 'success' AND l.run > d.run))";

impl Transaction {
    /// Returns the runs that nothing keeps, the oldest first.
    pub async fn old_runs(&mut self) -> Result<Vec<OldRun>, StoreError> {
        let sql = format!(
            "SELECT r.id, r.finished_at FROM runs r WHERE {NOTHING_KEEPS_IT} ORDER BY r.finished_at, r.id"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .fetch_all(self.connection())
            .await
            .map_err(|source| StoreError::new("old runs", source))?;
        Ok(rows
            .iter()
            .map(|row| OldRun {
                id: RunId(row.get::<i64, _>("id").to_string()),
                finished_at: Timestamp(row.get("finished_at")),
            })
            .collect())
    }

    /// Forgets a run with its jobs; `false` where something keeps it by now.
    pub async fn forget_run(&mut self, id: &RunId) -> Result<bool, StoreError> {
        let failed = |source| StoreError::new("an old run", source);
        if self.lock_run(id).await?.is_none() {
            return Ok(false);
        }
        let sql = format!("SELECT r.id FROM runs r WHERE r.id = $1 AND {NOTHING_KEEPS_IT}");
        let found = sqlx::query(AssertSqlSafe(sql))
            .bind(key(id))
            .fetch_optional(self.connection())
            .await
            .map_err(failed)?;
        if found.is_none() {
            return Ok(false);
        }
        for sql in [
            "DELETE FROM jobs WHERE run = $1",
            "DELETE FROM runs WHERE id = $1",
        ] {
            sqlx::query(sql)
                .bind(key(id))
                .execute(self.writer())
                .await
                .map_err(failed)?;
        }
        Ok(true)
    }

    /// Returns whether a run is known.
    pub async fn has_run(&mut self, id: &RunId) -> Result<bool, StoreError> {
        let found = sqlx::query("SELECT id FROM runs WHERE id = $1")
            .bind(key(id))
            .fetch_optional(self.connection())
            .await
            .map_err(|source| StoreError::new("a run", source))?;
        Ok(found.is_some())
    }

    /// Forgets events and deliveries that came before `until`, and posts that arrived before it but
    /// for deployments that may still be superseded; returns how many.
    pub async fn forget_events(&mut self, until: Timestamp) -> Result<u64, StoreError> {
        let mut count = 0;
        for sql in [
            "DELETE FROM events WHERE at < $1",
            "DELETE FROM notices WHERE created_at < $1 AND state <> 'waiting'",
            "DELETE FROM deliveries WHERE received_at < $1 AND state <> 'new'",
            "DELETE FROM posts WHERE changed_at < $1 AND sent_version >= version \
             AND NOT (kind = 'deployment' AND body LIKE '%\"state\":\"success\"%')",
        ] {
            let done = sqlx::query(sql)
                .bind(until.0)
                .execute(self.connection())
                .await
                .map_err(|source| StoreError::new("old events", source))?;
            count += done.rows_affected();
        }
        self.has_written |= count > 0;
        Ok(count)
    }
}
