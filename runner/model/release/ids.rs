//! Names and numbers of a deploy, each a type of its own.

use std::{
    borrow::Borrow,
    fmt::{self, Display},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Declares a text newtype that is transparent to serde.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as it is.
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// Gives the text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

text_id! {
    /// A server as the configuration names it.
    HostName
}
text_id! {
    /// A role of the configuration, or the name of an accessory that is really a worker.
    RoleName
}
text_id! {
    /// `service` of the configuration.
    ServiceName
}
text_id! {
    /// A release: the version that Kamal puts into names and labels.
    ReleaseVersion
}
text_id! {
    /// A container's name.
    ContainerName
}
text_id! {
    /// A container's id as the daemon gives it (64 hexadecimal digits).
    ContainerId
}
text_id! {
    /// The name under which a secret is looked up; never its value.
    SecretName
}
text_id! {
    /// A content digest, `sha256:` and 64 hexadecimal digits.
    Digest
}

impl ContainerId {
    /// The first 12 digits: the name by which the container is found on its own networks.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }

    /// Says whether `text`, an id or its first 12 digits, means this container.
    pub fn is(&self, text: &str) -> bool {
        text == self.0 || text == self.short()
    }
}

impl Digest {
    /// The first 12 digits after the algorithm, for people.
    pub fn short(&self) -> &str {
        let digits = self.0.split_once(':').map_or(self.0.as_str(), |(_, d)| d);
        digits.get(..12).unwrap_or(digits)
    }
}

/// The id of a transaction: lower-case letters, digits and hyphens, since it is part of file,
/// container and service names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TransactionId(String);

/// A text that cannot be a transaction's id.
#[derive(Debug, Error)]
#[error("`{0}` is not a transaction id")]
pub struct InvalidTransactionId(String);

impl TransactionId {
    /// Reads an id: 1 to 40 lower-case letters, digits and hyphens, the first no hyphen.
    pub fn parse(text: &str) -> Result<Self, InvalidTransactionId> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || text.len() > 40 || text.starts_with('-') || !text.chars().all(plain) {
            return Err(InvalidTransactionId(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    /// Gives the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for TransactionId {
    type Error = InvalidTransactionId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<TransactionId> for String {
    fn from(id: TransactionId) -> Self {
        id.0
    }
}

impl Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number that grows with every transaction; a host obeys only the highest it has seen.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Fence(pub u64);

impl Fence {
    /// The fence of the transaction after this one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Reads the text of a fence file.
    pub fn parse(text: &str) -> Option<Self> {
        text.trim().parse().ok().map(Self)
    }
}

impl Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
