//! What goes wrong with a database.

use thiserror::Error;

/// The database could not be used: the machine's or the network's fault.
#[derive(Debug, Error)]
pub enum StoreError {
    /// It cannot be opened, or its schema not brought up to date.
    #[error("the database `{name}` could not be opened")]
    Open {
        /// Its file or address, without a password.
        name: String,
        /// Why.
        #[source]
        source: Box<sqlx::Error>,
    },
    /// A statement failed.
    #[error("the database could not be asked for {what}")]
    Statement {
        /// What it was about.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<sqlx::Error>,
    },
    /// Something in it cannot be read by this version.
    #[error("the database holds {what} that this version cannot read")]
    Unreadable {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl StoreError {
    pub(super) fn open(name: &str, source: sqlx::Error) -> Self {
        Self::Open {
            name: name.to_owned(),
            source: Box::new(source),
        }
    }

    pub(super) fn new(what: &'static str, source: sqlx::Error) -> Self {
        Self::Statement {
            what,
            source: Box::new(source),
        }
    }

    /// Tells whether the same transaction can succeed when it is tried again.
    pub fn is_passing(&self) -> bool {
        let (Self::Open { source, .. } | Self::Statement { source, .. }) = self else {
            return false;
        };
        match source.as_ref() {
            sqlx::Error::Database(error) => matches!(
                error.code().as_deref(),
                // Serialization, deadlock, lock not available; SQLite's busy and locked.
                Some("40001" | "40P01" | "55P03" | "5" | "6" | "517")
            ),
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
            _ => false,
        }
    }
}
