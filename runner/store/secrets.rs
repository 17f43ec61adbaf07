//! The rows of secrets, each sealed with a key that is not in the store.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{StoreError, Transaction};
use crate::run::Timestamp;

/// For whom a secret is; what is `None` does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretScope {
    /// Jobs that deploy to this environment.
    pub environment: Option<String>,
    /// Runs of this repository.
    pub repository: Option<String>,
    /// Runs of this event.
    pub event: Option<String>,
}

impl std::fmt::Display for SecretScope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [
            ("repository", &self.repository),
            ("environment", &self.environment),
            ("event", &self.event),
        ];
        let mut words = parts
            .iter()
            .filter_map(|(what, name)| Some(format!("{what} {}", name.as_ref()?)));
        match words.next() {
            None => write!(f, "all repositories"),
            Some(first) => {
                write!(f, "{first}")?;
                words.try_for_each(|word| write!(f, ", {word}"))
            }
        }
    }
}

/// A secret as it is stored.
#[derive(Debug, Clone)]
pub struct SecretRow {
    /// Its name, in capitals.
    pub name: String,
    /// For whom it is.
    pub scope: SecretScope,
    /// Its value, as [`super::SealingKey::seal`] returned it.
    pub sealed: String,
    /// When it was set.
    pub changed_at: Timestamp,
}

impl SecretRow {
    fn read(row: &AnyRow) -> Self {
        let part =
            |column: &str| Some(row.get::<String, _>(column)).filter(|text| !text.is_empty());
        Self {
            name: row.get("name"),
            scope: SecretScope {
                environment: part("environment"),
                repository: part("repository"),
                event: part("event"),
            },
            sealed: row.get("sealed"),
            changed_at: Timestamp(row.get("changed_at")),
        }
    }
}

impl Transaction {
    /// Writes a secret, over the one of its name and scope if there is one.
    pub async fn set_secret(&mut self, secret: &SecretRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO secrets (name, repository, environment, event, sealed, changed_at) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (name, repository, environment, event) \
             DO UPDATE SET sealed = excluded.sealed, changed_at = excluded.changed_at",
        )
        .bind(&secret.name)
        .bind(secret.scope.repository.as_deref().unwrap_or(""))
        .bind(secret.scope.environment.as_deref().unwrap_or(""))
        .bind(secret.scope.event.as_deref().unwrap_or(""))
        .bind(&secret.sealed)
        .bind(secret.changed_at.0)
        .execute(self.writer())
        .await
        .map_err(|source| StoreError::new("a secret", source))?;
        Ok(())
    }

    /// Removes the secret of a name and exactly this scope; `false` where there is none.
    pub async fn remove_secret(
        &mut self,
        name: &str,
        scope: &SecretScope,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "DELETE FROM secrets WHERE name = $1 AND repository = $2 AND environment = $3 AND event = $4",
        )
        .bind(name)
        .bind(scope.repository.as_deref().unwrap_or(""))
        .bind(scope.environment.as_deref().unwrap_or(""))
        .bind(scope.event.as_deref().unwrap_or(""))
        .execute(self.writer())
        .await
        .map_err(|source| StoreError::new("a secret", source))?;
        Ok(done.rows_affected() == 1)
    }

    /// Returns all secrets, by name.
    pub async fn secrets(&mut self) -> Result<Vec<SecretRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT name, repository, environment, event, sealed, changed_at FROM secrets \
             ORDER BY name, repository, environment, event",
        )
        .fetch_all(self.connection())
        .await
        .map_err(|source| StoreError::new("secrets", source))?;
        Ok(rows.iter().map(SecretRow::read).collect())
    }

    /// Returns the secrets whose scope takes in `job`: whatever a scope names is what the job has.
    pub async fn secrets_for(&mut self, job: &SecretScope) -> Result<Vec<SecretRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT name, repository, environment, event, sealed, changed_at FROM secrets \
             WHERE repository IN ('', $1) AND environment IN ('', $2) AND event IN ('', $3)",
        )
        .bind(job.repository.as_deref().unwrap_or(""))
        .bind(job.environment.as_deref().unwrap_or(""))
        .bind(job.event.as_deref().unwrap_or(""))
        .fetch_all(self.connection())
        .await
        .map_err(|source| StoreError::new("the secrets of a job", source))?;
        Ok(rows.iter().map(SecretRow::read).collect())
    }
}
