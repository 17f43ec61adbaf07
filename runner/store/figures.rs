//! How much there is of what: figures of the whole store, for those that watch it.

use sqlx::Row as _;

use super::{StoreError, Transaction, number, unsigned};
use crate::run::Timestamp;

/// A word, and how many rows have it.
pub type Count = (String, u64);

/// Figures of the store at one moment.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Runs by where they stand, or by how they ended.
    pub runs: Vec<Count>,
    /// Jobs that did not end, by where they stand.
    pub jobs: Vec<Count>,
    /// Jobs that only wait for a free slot.
    pub queued: u64,
    /// Since when the first of them was planned.
    pub queued_since: Option<Timestamp>,
    /// Jobs by the machine that has them.
    pub leases: Vec<Count>,
    /// Jobs whose machine did not say in time that it still has them.
    pub lapsed: u64,
    /// Deliveries by what became of them.
    pub deliveries: Vec<Count>,
    /// Posts that wait to be sent, by repository.
    pub posts: Vec<Count>,
    /// Since when the first of them waits.
    pub posts_since: Option<Timestamp>,
}

impl Transaction {
    /// Returns figures of the whole store.
    pub async fn figures(&mut self, now: Timestamp) -> Result<Figures, StoreError> {
        let (queued, queued_since) = self
            .first(
                "SELECT COUNT(*), MIN(created_at) FROM jobs WHERE status = 'queued' AND is_ready = $1",
                1,
            )
            .await?;
        let (lapsed, _) = self
            .first(
                "SELECT COUNT(*), MIN(lease_until) FROM jobs WHERE status = 'in_progress' AND lease_until < $1",
                now.0,
            )
            .await?;
        let (_, posts_since) = self
            .first(
                "SELECT COUNT(*), MIN(changed_at) FROM posts WHERE sent_version < version AND version > $1",
                number(0),
            )
            .await?;
        Ok(Figures {
            runs: self
                .counts("SELECT COALESCE(conclusion, status), COUNT(*) FROM runs GROUP BY 1 ORDER BY 1")
                .await?,
            jobs: self
                .counts("SELECT status, COUNT(*) FROM jobs WHERE status <> 'completed' GROUP BY 1 ORDER BY 1")
                .await?,
            queued,
            queued_since,
            leases: self
                .counts("SELECT COALESCE(machine, ''), COUNT(*) FROM jobs WHERE status = 'in_progress' GROUP BY 1 ORDER BY 1")
                .await?,
            lapsed,
            deliveries: self
                .counts("SELECT state, COUNT(*) FROM deliveries GROUP BY 1 ORDER BY 1")
                .await?,
            posts: self
                .counts("SELECT repository, COUNT(*) FROM posts WHERE sent_version < version GROUP BY 1 ORDER BY 1")
                .await?,
            posts_since,
        })
    }

    /// Counts rows by a word.
    async fn counts(&mut self, sql: &'static str) -> Result<Vec<Count>, StoreError> {
        let rows = sqlx::query(sql)
            .fetch_all(self.connection())
            .await
            .map_err(|source| StoreError::new("figures", source))?;
        let count = |row: &sqlx::any::AnyRow| (row.get(0), unsigned(row.get(1)));
        Ok(rows.iter().map(count).collect())
    }

    /// Counts rows, and tells the least of their times.
    async fn first(
        &mut self,
        sql: &'static str,
        bound: i64,
    ) -> Result<(u64, Option<Timestamp>), StoreError> {
        let row = sqlx::query(sql)
            .bind(bound)
            .fetch_one(self.connection())
            .await
            .map_err(|source| StoreError::new("figures", source))?;
        let least: Option<i64> = row.get(1);
        Ok((unsigned(row.get(0)), least.map(Timestamp)))
    }
}
