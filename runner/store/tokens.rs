//! The rows of tokens: what a request may do that shows one. The token itself is not there.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{StoreError, Transaction};
use crate::run::Timestamp;

/// A token as it is stored.
#[derive(Debug, Clone)]
pub struct TokenRow {
    /// The part of the token that is no secret.
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// The SHA-256 of the part that is one, in hexadecimal.
    pub hash: String,
    /// What it allows: `read`, `run` or `admin`.
    pub scope: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it counts; for ever where there is none.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

const COLUMNS: &str = "id, name, hash, scope, created_at, expires_at, revoked_at";

impl TokenRow {
    fn read(row: &AnyRow) -> Self {
        let time = |column: &str| row.get::<Option<i64>, _>(column).map(Timestamp);
        Self {
            id: row.get("id"),
            name: row.get("name"),
            hash: row.get("hash"),
            scope: row.get("scope"),
            created_at: Timestamp(row.get("created_at")),
            expires_at: time("expires_at"),
            revoked_at: time("revoked_at"),
        }
    }
}

impl Transaction {
    /// Adds a token.
    pub async fn insert_token(&mut self, token: &TokenRow) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO tokens (id, name, hash, scope, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(&token.id)
        .bind(&token.name)
        .bind(&token.hash)
        .bind(&token.scope)
        .bind(token.created_at.0)
        .bind(token.expires_at.map(|time| time.0))
        .execute(self.writer())
        .await
        .map_err(|source| StoreError::new("a token", source))?;
        Ok(())
    }

    /// Returns all tokens, the oldest first.
    pub async fn tokens(&mut self) -> Result<Vec<TokenRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM tokens ORDER BY created_at, id");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .fetch_all(self.connection())
            .await
            .map_err(|source| StoreError::new("tokens", source))?;
        Ok(rows.iter().map(TokenRow::read).collect())
    }

    /// Returns a token.
    pub async fn token(&mut self, id: &str) -> Result<Option<TokenRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM tokens WHERE id = $1");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(id)
            .fetch_optional(self.connection())
            .await
            .map_err(|source| StoreError::new("a token", source))?;
        Ok(row.as_ref().map(TokenRow::read))
    }

    /// Revokes a token for good; `false` where there is none that counts.
    pub async fn revoke_token(&mut self, id: &str, now: Timestamp) -> Result<bool, StoreError> {
        let done =
            sqlx::query("UPDATE tokens SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL")
                .bind(now.0)
                .bind(id)
                .execute(self.writer())
                .await
                .map_err(|source| StoreError::new("a token", source))?;
        Ok(done.rows_affected() == 1)
    }
}
