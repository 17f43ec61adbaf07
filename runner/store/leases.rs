//! What one machine at a time does for all: a name, who has it, and until when.

use std::time::Duration;

use sqlx::AssertSqlSafe;

use super::{StoreError, Transaction, milliseconds};

impl Transaction {
    /// Takes or prolongs the lease of a name for `machine`; `false` where another machine has it.
    pub async fn hold(
        &mut self,
        name: &str,
        machine: &str,
        lease: Duration,
    ) -> Result<bool, StoreError> {
        let clock = self.clock();
        let sql = format!(
            "INSERT INTO leases (name, machine, until) VALUES ($1, $2, {clock} + $3) \
             ON CONFLICT (name) DO UPDATE SET machine = excluded.machine, until = excluded.until \
             WHERE leases.machine = excluded.machine OR leases.until <= {clock}"
        );
        let done = sqlx::query(AssertSqlSafe(sql))
            .bind(name)
            .bind(machine)
            .bind(milliseconds(lease))
            .execute(self.connection())
            .await
            .map_err(|source| StoreError::new("a lease", source))?;
        self.has_written |= done.rows_affected() == 1;
        Ok(done.rows_affected() == 1)
    }

    /// Keeps everybody else from a name until the transaction ends, who asks for it by this.
    ///
    /// SQLite has one writer anyway.
    pub async fn alone_with(&mut self, name: &str) -> Result<(), StoreError> {
        if self.is_sqlite {
            return Ok(());
        }
        sqlx::query("SELECT 1 FROM pg_advisory_xact_lock(hashtextextended($1, 0))")
            .bind(name)
            .execute(self.connection())
            .await
            .map_err(|source| StoreError::new("a lock", source))?;
        Ok(())
    }
}
