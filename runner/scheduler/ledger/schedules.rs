//! Until when the schedules of a repository were looked at.

use super::{Ledger, LedgerError, reading, transaction};
use crate::run::Timestamp;

impl Ledger {
    /// Returns until when the schedules of a repository were looked at; none before the first look.
    pub async fn schedules_seen(&self, repository: &str) -> Result<Option<Timestamp>, LedgerError> {
        reading!(self, tx, tx.schedules_seen(repository).await?)
    }

    /// Records until when the schedules of a repository were looked at.
    pub async fn set_schedules_seen(
        &self,
        repository: &str,
        until: Timestamp,
    ) -> Result<(), LedgerError> {
        transaction!(self, tx, tx.set_schedules_seen(repository, until).await?)
    }
}
