//! The machines that share the store, the labels that they serve, and the jobs that wait for one.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Row as _};

use super::{StoreError, Transaction, milliseconds};

/// How long a machine is remembered that nothing is heard of.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

impl Transaction {
    /// Says that a machine lives for a time from now on, and which labels it serves.
    pub async fn machine_lives(
        &mut self,
        machine: &str,
        labels: &[String],
        lease: Duration,
    ) -> Result<(), StoreError> {
        let clock = self.clock();
        let sql = format!(
            "INSERT INTO machines (name, labels, seen_until) VALUES ($1, $2, {clock} + $3) \
             ON CONFLICT (name) DO UPDATE SET labels = excluded.labels, seen_until = excluded.seen_until"
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(machine)
            .bind(serde_json::Value::from(labels.to_vec()).to_string())
            .bind(milliseconds(lease))
            .execute(self.writer())
            .await
            .map_err(|source| StoreError::new("a machine", source))?;
        let sql = format!("DELETE FROM machines WHERE seen_until < {clock} - $1");
        sqlx::query(AssertSqlSafe(sql))
            .bind(milliseconds(REMEMBERED))
            .execute(self.writer())
            .await
            .map_err(|source| StoreError::new("the machines that are gone", source))?;
        Ok(())
    }

    /// Returns the labels that each machine serves that lives.
    pub async fn living_machines(&mut self) -> Result<Vec<Vec<String>>, StoreError> {
        let sql = format!(
            "SELECT labels FROM machines WHERE seen_until > {} ORDER BY name",
            self.clock()
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .fetch_all(self.connection())
            .await
            .map_err(|source| StoreError::new("the machines that live", source))?;
        let labels = rows.iter().map(|row| {
            let text: String = row.get(0);
            serde_json::from_str(&text).unwrap_or_default()
        });
        Ok(labels.collect())
    }

    /// Returns the labels that jobs of a repository wait with, as they are stored, those first of
    /// which one waits longest.
    pub(super) async fn waiting_labels(
        &mut self,
        repository: &str,
    ) -> Result<Vec<String>, StoreError> {
        // From one list to the next by the index, however many jobs wait with each.
        let rows = sqlx::query(
            "WITH RECURSIVE kinds (labels) AS (\
             SELECT (SELECT labels FROM jobs WHERE status = 'queued' AND is_ready = 1 AND repository = $1 \
             ORDER BY labels LIMIT 1) \
             UNION ALL \
             SELECT (SELECT jobs.labels FROM jobs WHERE status = 'queued' AND is_ready = 1 \
             AND jobs.repository = $1 AND jobs.labels > kinds.labels ORDER BY jobs.labels LIMIT 1) \
             FROM kinds WHERE kinds.labels IS NOT NULL) \
             SELECT labels, (SELECT created_at FROM jobs WHERE status = 'queued' AND is_ready = 1 \
             AND jobs.repository = $1 AND jobs.labels = kinds.labels ORDER BY created_at LIMIT 1) AS since \
             FROM kinds WHERE labels IS NOT NULL ORDER BY since, labels",
        )
        .bind(repository)
        .fetch_all(self.connection())
        .await
        .map_err(|source| StoreError::new("the labels that jobs wait with", source))?;
        Ok(rows.iter().map(|row| row.get("labels")).collect())
    }

    /// Says of all jobs that wait what `why` says of their labels, or nothing; returns whether that
    /// is news.
    ///
    /// A job that somebody is at is passed over.
    pub async fn explain_waiting(
        &mut self,
        why: &(dyn Fn(&[String]) -> Option<String> + Sync),
    ) -> Result<bool, StoreError> {
        let skip = if self.is_sqlite {
            ""
        } else {
            " FOR UPDATE SKIP LOCKED"
        };
        let sql = format!(
            "UPDATE jobs SET reason = $1 WHERE (run, attempt, job) IN (SELECT run, attempt, job FROM jobs \
             WHERE status = 'queued' AND is_ready = 1 AND repository = $2 AND labels = $3 \
             AND COALESCE(reason, '') <> COALESCE($1, ''){skip})"
        );
        let mut is_news = false;
        for repository in self.waiting_repositories().await? {
            for text in self.waiting_labels(&repository).await? {
                let labels: Vec<String> = serde_json::from_str(&text).unwrap_or_default();
                let done = sqlx::query(AssertSqlSafe(sql.clone()))
                    .bind(why(&labels))
                    .bind(&repository)
                    .bind(&text)
                    .execute(self.connection())
                    .await
                    .map_err(|source| StoreError::new("why jobs wait", source))?;
                is_news |= done.rows_affected() > 0;
            }
        }
        self.has_written |= is_news;
        Ok(is_news)
    }
}
