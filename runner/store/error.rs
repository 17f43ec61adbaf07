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
    /// It did not answer in time.
    #[error("the database did not answer within {} s", .after.as_secs())]
    Silent {
        /// How long it was waited for.
        after: std::time::Duration,
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

    /// Tells whether another transaction got in the way, so that this one succeeds when it is tried
    /// again.
    pub fn is_conflict(&self) -> bool {
        // Serialization, deadlock, lock not available; SQLite's busy and locked.
        self.has_code(&["40001", "40P01", "55P03", "5", "6", "517"])
    }

    /// Tells whether the connection broke, so that it can succeed over another one: the server went
    /// away or is starting.
    pub fn is_broken(&self) -> bool {
        let io = matches!(self.database_error(), Some(sqlx::Error::Io(_)));
        io || self.has_code(&["57P01", "57P02", "57P03"])
    }

    fn database_error(&self) -> Option<&sqlx::Error> {
        match self {
            Self::Open { source, .. } | Self::Statement { source, .. } => Some(source),
            Self::Silent { .. } | Self::Unreadable { .. } => None,
        }
    }

    fn has_code(&self, codes: &[&str]) -> bool {
        match self.database_error() {
            Some(sqlx::Error::Database(error)) => error
                .code()
                .is_some_and(|code| codes.contains(&code.as_ref())),
            _ => false,
        }
    }
}
