//! Secrets and tokens: what is stored of them, which is never themselves.

use super::{Ledger, LedgerError, reading, transaction};
use crate::store::{SecretRow, SecretScope, TokenRow};

impl Ledger {
    /// Stores a sealed secret, over the one of its name and scope if there is one.
    pub async fn set_secret(&self, secret: &SecretRow) -> Result<(), LedgerError> {
        transaction!(self, tx, tx.set_secret(secret).await?)
    }

    /// Removes a secret; `false` where there is none of exactly this name and scope.
    pub async fn remove_secret(
        &self,
        name: &str,
        scope: &SecretScope,
    ) -> Result<bool, LedgerError> {
        transaction!(self, tx, tx.remove_secret(name, scope).await?)
    }

    /// Returns all secrets, sealed, by name.
    pub async fn secrets(&self) -> Result<Vec<SecretRow>, LedgerError> {
        reading!(self, tx, tx.secrets().await?)
    }

    /// Returns the secrets whose scope takes in a job, sealed.
    pub async fn secrets_for(&self, job: &SecretScope) -> Result<Vec<SecretRow>, LedgerError> {
        reading!(self, tx, tx.secrets_for(job).await?)
    }

    /// Stores a token.
    pub async fn add_token(&self, token: &TokenRow) -> Result<(), LedgerError> {
        transaction!(self, tx, tx.insert_token(token).await?)
    }

    /// Returns all tokens, the oldest first.
    pub async fn tokens(&self) -> Result<Vec<TokenRow>, LedgerError> {
        reading!(self, tx, tx.tokens().await?)
    }

    /// Returns the token of an id, whether it counts or not.
    pub async fn token(&self, id: &str) -> Result<Option<TokenRow>, LedgerError> {
        reading!(self, tx, tx.token(id).await?)
    }

    /// Revokes a token for good; `false` where there is none that counts.
    pub async fn revoke_token(&self, id: &str) -> Result<bool, LedgerError> {
        let now = self.now();
        transaction!(self, tx, tx.revoke_token(id, now).await?)
    }
}
