//! Until when the schedules of a repository were looked at.

use sqlx::Row as _;

use super::{StoreError, Transaction};
use crate::run::Timestamp;

impl Transaction {
    /// Returns until when the schedules of a repository were looked at; none before the first look.
    pub async fn schedules_seen(
        &mut self,
        repository: &str,
    ) -> Result<Option<Timestamp>, StoreError> {
        let row = sqlx::query("SELECT seen_until FROM schedules WHERE repository = $1")
            .bind(repository)
            .fetch_optional(self.connection())
            .await
            .map_err(|source| StoreError::new("the schedules of a repository", source))?;
        Ok(row.map(|row| Timestamp(row.get("seen_until"))))
    }

    /// Writes until when the schedules of a repository were looked at.
    pub async fn set_schedules_seen(
        &mut self,
        repository: &str,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO schedules (repository, seen_until) VALUES ($1, $2) \
             ON CONFLICT (repository) DO UPDATE SET seen_until = excluded.seen_until",
        )
        .bind(repository)
        .bind(until.0)
        .execute(self.writer())
        .await
        .map_err(|source| StoreError::new("the schedules of a repository", source))?;
        Ok(())
    }
}
