//! The inbox: what GitHub delivered, as it came, and what became of it.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{StoreError, Transaction};
use crate::run::Timestamp;

/// A delivery of a webhook.
#[derive(Debug, Clone)]
pub struct DeliveryRow {
    /// GitHub's name for it; the same when it is delivered again.
    pub id: String,
    /// `owner/name`.
    pub repository: String,
    /// The event's name.
    pub event: String,
    /// The payload, as it came.
    pub payload: String,
    /// `new`, `done` or `failed`.
    pub state: String,
    /// What became of it, in words.
    pub note: String,
    /// When it came.
    pub received_at: Timestamp,
}

impl DeliveryRow {
    fn read(row: &AnyRow) -> Self {
        Self {
            id: row.get("id"),
            repository: row.get("repository"),
            event: row.get("event"),
            payload: row.get("payload"),
            state: row.get("state"),
            note: row.get("note"),
            received_at: Timestamp(row.get("received_at")),
        }
    }
}

impl Transaction {
    /// Adds a delivery, or wakes one that failed; `false` where it is there and needs nothing.
    pub async fn insert_delivery(&mut self, delivery: &DeliveryRow) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "INSERT INTO deliveries (id, repository, event, payload, state, note, received_at) \
             VALUES ($1, $2, $3, $4, 'new', '', $5) \
             ON CONFLICT (id) DO UPDATE SET state = 'new' WHERE deliveries.state = 'failed'",
        )
        .bind(&delivery.id)
        .bind(&delivery.repository)
        .bind(&delivery.event)
        .bind(&delivery.payload)
        .bind(delivery.received_at.0)
        .execute(self.writer())
        .await
        .map_err(|source| StoreError::new("a delivery", source))?;
        Ok(done.rows_affected() == 1)
    }

    /// Returns the deliveries that nobody looked at yet, the oldest first.
    pub async fn new_deliveries(&mut self, limit: u32) -> Result<Vec<DeliveryRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, repository, event, payload, state, note, received_at FROM deliveries \
             WHERE state = 'new' ORDER BY received_at, id LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(self.connection())
        .await
        .map_err(|source| StoreError::new("deliveries", source))?;
        Ok(rows.iter().map(DeliveryRow::read).collect())
    }

    /// Writes what became of a delivery.
    pub async fn set_delivery(
        &mut self,
        id: &str,
        state: &str,
        note: &str,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE deliveries SET state = $1, note = $2 WHERE id = $3")
            .bind(state)
            .bind(note)
            .bind(id)
            .execute(self.writer())
            .await
            .map_err(|source| StoreError::new("what became of a delivery", source))?;
        Ok(())
    }
    /// Tells whether a delivery is there, whatever became of it.
    pub async fn has_delivery(&mut self, id: &str) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT 1 FROM deliveries WHERE id = $1")
            .bind(id)
            .fetch_optional(self.connection())
            .await
            .map_err(|source| StoreError::new("a delivery", source))?;
        Ok(row.is_some())
    }

    /// Returns until when it is known what a source delivered.
    pub async fn delivery_mark(&mut self, source: &str) -> Result<Option<Timestamp>, StoreError> {
        let row = sqlx::query("SELECT seen_until FROM delivery_marks WHERE source = $1")
            .bind(source)
            .fetch_optional(self.connection())
            .await
            .map_err(|error| StoreError::new("the mark of deliveries", error))?;
        Ok(row.map(|row| Timestamp(row.get("seen_until"))))
    }

    /// Writes until when it is known what a source delivered.
    pub async fn set_delivery_mark(
        &mut self,
        source: &str,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO delivery_marks (source, seen_until) VALUES ($1, $2) \
             ON CONFLICT (source) DO UPDATE SET seen_until = excluded.seen_until",
        )
        .bind(source)
        .bind(until.0)
        .execute(self.writer())
        .await
        .map_err(|error| StoreError::new("the mark of deliveries", error))?;
        Ok(())
    }
}
