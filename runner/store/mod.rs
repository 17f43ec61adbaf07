//! What must not be forgotten: runs, jobs, refs and events, in SQLite or PostgreSQL.
//!
//! # How it works
//! Both databases are spoken to by the same statements, in the subset that they share. A
//! [`Transaction`] is the only thing that writes; SQLite gives it the one write lock from its start,
//! so that a transaction that read never finds that somebody else wrote in between.

mod crash;
mod deliveries;
mod error;
mod events;
mod jobs;
mod migrations;
mod posts;
mod runs;

use std::path::Path;
use std::time::Duration;

use sqlx::any::{AnyPoolOptions, AnyRow};
use sqlx::{Any, AnyConnection, AnyPool, Executor as _, Row as _};

pub use crash::{Role, arm, crash_point};
pub use deliveries::DeliveryRow;
pub use error::StoreError;
pub use events::EventRow;
pub use jobs::{ClaimedJob, JobRow};
pub use migrations::{LATEST, migrate_to};
pub use posts::PostRow;
pub use runs::{RunFilter, RunRow};

/// How long a writer waits for another one.
const BUSY: Duration = Duration::from_secs(20);

/// A database that is open; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: AnyPool,
    is_sqlite: bool,
}

impl Store {
    /// Opens the SQLite file at `path`, which is made where there is none, and brings its schema up
    /// to date.
    pub async fn open_file(path: &Path) -> Result<Self, StoreError> {
        let url = format!("sqlite://{}?mode=rwc", path.display());
        Self::open(&url, &path.display().to_string()).await
    }

    /// Opens the database that a URL names (`sqlite://`, `postgres://`) and brings its schema up to
    /// date.
    ///
    /// `shown` stands for the URL in errors, since that can hold a password.
    pub async fn open(url: &str, shown: &str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let is_sqlite = url.starts_with("sqlite:");
        let options = AnyPoolOptions::new()
            // SQLite has one writer; more connections would only wait for each other.
            .max_connections(if is_sqlite { 1 } else { 8 })
            .acquire_timeout(BUSY)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if is_sqlite {
                        for pragma in [
                            "PRAGMA journal_mode = WAL",
                            // A state that was told to somebody must survive a power cut.
                            "PRAGMA synchronous = FULL",
                            "PRAGMA busy_timeout = 20000",
                            "PRAGMA foreign_keys = ON",
                        ] {
                            connection.execute(pragma).await?;
                        }
                    }
                    Ok(())
                })
            });
        let pool = options
            .connect(url)
            .await
            .map_err(|source| StoreError::open(shown, source))?;
        let store = Self { pool, is_sqlite };
        migrate_to(&store, LATEST)
            .await
            .map_err(|source| StoreError::open(shown, source))?;
        Ok(store)
    }

    /// Begins a transaction; it is rolled back where it is not committed.
    pub async fn begin(&self) -> Result<Transaction, StoreError> {
        let begun = if self.is_sqlite {
            self.pool.begin_with("BEGIN IMMEDIATE").await
        } else {
            self.pool.begin().await
        };
        Ok(Transaction {
            inner: begun.map_err(|source| StoreError::new("a transaction", source))?,
            is_sqlite: self.is_sqlite,
            has_written: false,
        })
    }

    /// Closes all connections; what SQLite wrote is then in the one file.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// A transaction; dropped without [`Transaction::commit`] it leaves nothing behind.
#[derive(Debug)]
pub struct Transaction {
    inner: sqlx::Transaction<'static, Any>,
    is_sqlite: bool,
    has_written: bool,
}

impl Transaction {
    /// Makes everything that was written in it last.
    pub async fn commit(self) -> Result<(), StoreError> {
        let has_written = self.has_written;
        if has_written {
            crash_point("before a commit");
        }
        self.inner
            .commit()
            .await
            .map_err(|source| StoreError::new("the end of a transaction", source))?;
        if has_written {
            crash_point("after a commit");
        }
        Ok(())
    }

    /// Returns the next number of a counter, from 1.
    async fn next(&mut self, counter: &'static str) -> Result<i64, StoreError> {
        let query =
            sqlx::query("UPDATE counters SET value = value + 1 WHERE name = $1 RETURNING value");
        let row = query
            .bind(counter)
            .fetch_one(self.writer())
            .await
            .map_err(|source| StoreError::new(counter, source))?;
        Ok(row.get(0))
    }

    fn connection(&mut self) -> &mut AnyConnection {
        &mut self.inner
    }

    /// The connection for a statement that changes something.
    fn writer(&mut self) -> &mut AnyConnection {
        self.has_written = true;
        &mut self.inner
    }

    /// What a `SELECT` ends in whose rows nobody else may take or change meanwhile.
    fn for_update(&self) -> &'static str {
        if self.is_sqlite { "" } else { " FOR UPDATE" }
    }
}

/// Returns a column as text in one of our own vocabularies.
fn word<T>(row: &AnyRow, column: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
    let text: Option<String> = row.get(column);
    text.as_deref().and_then(read)
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn small(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(0)
}
