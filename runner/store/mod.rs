//! What must not be forgotten: runs, jobs, refs and events, in SQLite or PostgreSQL.
//!
//! # How it works
//! Both databases are spoken to by the same statements, in the subset that they share. A
//! [`Transaction`] is the only thing that writes; SQLite gives it the one write lock from its start,
//! so that a transaction that read never finds that somebody else wrote in between. One that only
//! reads takes no lock of anybody and sees one moment. Leases go by the clock of the database, which
//! is the only one that all machines share.

mod crash;
mod deliveries;
mod error;
mod events;
mod figures;
mod jobs;
mod leases;
mod machines;
mod migrations;
mod notices;
mod posts;
mod queue;
mod retention;
mod runs;
mod schedules;
mod seal;
mod secrets;
mod tokens;

use std::path::Path;
use std::time::Duration;

use sqlx::any::{AnyPoolOptions, AnyRow};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, Executor as _, Row as _};

pub use crash::{Role, arm, crash_point};
pub use deliveries::DeliveryRow;
pub use error::StoreError;
pub use events::EventRow;
pub use figures::{Count, Figures};
pub use jobs::{ClaimedJob, JobRow};
pub use migrations::{LATEST, migrate_to, version_of};
pub use notices::NoticeRow;
pub use posts::PostRow;
pub use retention::OldRun;
pub use runs::{RunFilter, RunRow};
pub use seal::{SealError, SealingKey};
pub use secrets::{SecretRow, SecretScope};
pub use tokens::TokenRow;

/// How long a writer of SQLite waits for another one.
const BUSY: Duration = Duration::from_secs(20);

/// How long a connection to a database on the network may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many connections one machine has to a database on the network.
const CONNECTIONS: u32 = 8;

/// How many read beside each other in SQLite.
const READERS: u32 = 2;

/// How long a reader of SQLite is kept that nobody needs.
const READER_IDLE: Duration = Duration::from_secs(30);

/// A database that is open; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    pool: AnyPool,
    /// The connections that only read: others than those that write in SQLite alone, where there is
    /// one writer.
    readers: AnyPool,
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
        let store = Self::connect(url)
            .await
            .map_err(|source| StoreError::open(shown, source))?;
        migrate_to(&store, LATEST)
            .await
            .map_err(|source| StoreError::open(shown, source))?;
        Ok(store)
    }

    async fn connect(url: &str) -> Result<Self, sqlx::Error> {
        sqlx::any::install_default_drivers();
        if url.starts_with("sqlite:") {
            // SQLite has one writer; more connections would only wait for each other.
            let pool = sqlite(false).max_connections(1).connect(url).await?;
            let readers = sqlite(true)
                .max_connections(READERS)
                .idle_timeout(READER_IDLE)
                .connect_lazy(url)?;
            return Ok(Self {
                pool,
                readers,
                is_sqlite: true,
            });
        }
        let pool = AnyPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(PATIENCE)
            .connect(url)
            .await?;
        Ok(Self {
            readers: pool.clone(),
            pool,
            is_sqlite: false,
        })
    }

    /// Tells whether several machines can share it, so that what one of them has is had for a time
    /// only.
    pub fn is_shared(&self) -> bool {
        !self.is_sqlite
    }

    /// Begins a transaction; it is rolled back where it is not committed.
    pub async fn begin(&self) -> Result<Transaction, StoreError> {
        let begin = if self.is_sqlite {
            "BEGIN IMMEDIATE"
        } else {
            "BEGIN"
        };
        self.begin_on(&self.pool, begin).await
    }

    /// Begins a transaction that cannot write, waits for nobody and sees one moment.
    pub async fn read(&self) -> Result<Transaction, StoreError> {
        let begin = if self.is_sqlite {
            "BEGIN"
        } else {
            "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
        };
        self.begin_on(&self.readers, begin).await
    }

    async fn begin_on(
        &self,
        pool: &AnyPool,
        begin: &'static str,
    ) -> Result<Transaction, StoreError> {
        let failed = |source| StoreError::new("a transaction", source);
        let mut tx = Transaction {
            connection: pool.acquire().await.map_err(failed)?,
            is_sqlite: self.is_sqlite,
            has_written: false,
            is_over: false,
        };
        tx.connection.execute(begin).await.map_err(failed)?;
        Ok(tx)
    }

    /// Closes all connections; what SQLite wrote is then in the one file.
    pub async fn close(&self) {
        let both = async {
            self.readers.close().await;
            self.pool.close().await;
        };
        // A database that does not answer is not waited for.
        if tokio::time::timeout(PATIENCE, both).await.is_err() {
            tracing::warn!("the database does not answer, and is left as it is");
        }
    }
}

/// Returns how connections to SQLite are opened.
fn sqlite(is_reader: bool) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .acquire_timeout(BUSY)
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                for pragma in [
                    "PRAGMA journal_mode = WAL",
                    // A state that was told to somebody must survive a power cut.
                    "PRAGMA synchronous = FULL",
                    "PRAGMA busy_timeout = 20000",
                    "PRAGMA foreign_keys = ON",
                ] {
                    connection.execute(pragma).await?;
                }
                if is_reader {
                    connection.execute("PRAGMA query_only = ON").await?;
                }
                Ok(())
            })
        })
}

/// A transaction; dropped without [`Transaction::commit`] it leaves nothing behind.
#[derive(Debug)]
pub struct Transaction {
    connection: PoolConnection<Any>,
    is_sqlite: bool,
    has_written: bool,
    is_over: bool,
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // Whether it was given up in the middle of a question or after an answer, a connection that
        // is closed is rolled back; one that hangs would never be free again otherwise.
        if !self.is_over {
            self.connection.close_on_drop();
        }
    }
}

impl Transaction {
    /// Makes everything that was written in it last.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        let has_written = self.has_written;
        if has_written {
            crash_point("before a commit");
        }
        self.connection
            .execute("COMMIT")
            .await
            .map_err(|source| StoreError::new("the end of a transaction", source))?;
        self.is_over = true;
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
        &mut self.connection
    }

    /// The connection for a statement that changes something.
    fn writer(&mut self) -> &mut AnyConnection {
        self.has_written = true;
        &mut self.connection
    }

    /// What a `SELECT` ends in whose rows nobody else may take or change meanwhile.
    fn for_update(&self) -> &'static str {
        if self.is_sqlite { "" } else { " FOR UPDATE" }
    }

    /// The time by the database's clock, in milliseconds since 1970, as an expression.
    fn clock(&self) -> &'static str {
        if self.is_sqlite {
            "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
        } else {
            "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
        }
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

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 2)
}
