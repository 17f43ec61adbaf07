//! What happened in the repositories: where their refs stood last, and what became of each event.

use std::collections::BTreeMap;

use sqlx::Row as _;

use super::{StoreError, Transaction};
use crate::run::Timestamp;

/// An event and what became of it.
#[derive(Debug, Clone)]
pub struct EventRow {
    /// `owner/name`.
    pub repository: String,
    /// What makes it one, whatever way it came.
    pub event_key: String,
    /// Its name.
    pub event: String,
    /// The ref that it is about.
    pub git_ref: String,
    /// The commit that it is about.
    pub sha: String,
    /// What became of it, in words, a line for each workflow.
    pub outcome: String,
    /// When it was taken in.
    pub at: Timestamp,
}

impl Transaction {
    /// Returns where the refs of a repository stood when they were last looked at.
    pub async fn refs(&mut self, repository: &str) -> Result<BTreeMap<String, String>, StoreError> {
        let rows = sqlx::query("SELECT name, sha FROM refs WHERE repository = $1")
            .bind(repository)
            .fetch_all(self.connection())
            .await
            .map_err(|source| StoreError::new("the refs of a repository", source))?;
        Ok(rows
            .iter()
            .map(|row| (row.get("name"), row.get("sha")))
            .collect())
    }

    /// Writes where a ref stands; `None` where it was removed.
    pub async fn set_ref(
        &mut self,
        repository: &str,
        name: &str,
        sha: Option<&str>,
    ) -> Result<(), StoreError> {
        let query = match sha {
            Some(sha) => sqlx::query(
                "INSERT INTO refs (repository, name, sha) VALUES ($1, $2, $3) \
                 ON CONFLICT (repository, name) DO UPDATE SET sha = excluded.sha",
            )
            .bind(repository.to_owned())
            .bind(name.to_owned())
            .bind(sha.to_owned()),
            None => sqlx::query("DELETE FROM refs WHERE repository = $1 AND name = $2")
                .bind(repository.to_owned())
                .bind(name.to_owned()),
        };
        query
            .execute(self.writer())
            .await
            .map_err(|source| StoreError::new("a ref of a repository", source))?;
        Ok(())
    }

    /// Adds an event; `false` where it was taken in before.
    pub async fn insert_event(&mut self, event: &EventRow) -> Result<bool, StoreError> {
        let id = self.next("event").await?;
        let done = sqlx::query(
            "INSERT INTO events (id, repository, event_key, event, git_ref, sha, outcome, at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
        )
        .bind(id)
        .bind(&event.repository)
        .bind(&event.event_key)
        .bind(&event.event)
        .bind(&event.git_ref)
        .bind(&event.sha)
        .bind(&event.outcome)
        .bind(event.at.0)
        .execute(self.writer())
        .await
        .map_err(|source| StoreError::new("an event", source))?;
        Ok(done.rows_affected() == 1)
    }

    /// Writes what became of an event.
    pub async fn set_outcome(
        &mut self,
        repository: &str,
        event_key: &str,
        outcome: &str,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE events SET outcome = $1 WHERE repository = $2 AND event_key = $3")
            .bind(outcome)
            .bind(repository)
            .bind(event_key)
            .execute(self.writer())
            .await
            .map_err(|source| StoreError::new("what became of an event", source))?;
        Ok(())
    }

    /// Returns the newest events, the newest first.
    pub async fn events(&mut self, limit: u32) -> Result<Vec<EventRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT repository, event_key, event, git_ref, sha, outcome, at FROM events ORDER BY id DESC LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(self.connection())
        .await
        .map_err(|source| StoreError::new("events", source))?;
        Ok(rows
            .iter()
            .map(|row| EventRow {
                repository: row.get("repository"),
                event_key: row.get("event_key"),
                event: row.get("event"),
                git_ref: row.get("git_ref"),
                sha: row.get("sha"),
                outcome: row.get("outcome"),
                at: Timestamp(row.get("at")),
            })
            .collect())
    }
}
