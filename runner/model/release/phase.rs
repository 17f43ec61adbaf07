//! The phases of a transaction, in their order.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};

/// How far a transaction has come; a later phase is greater.
///
/// Before [`Phase::Committed`] the transaction only adds, after it it only removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Lock, fence and journal are written, the ways back are ready.
    Opened,
    /// Networks, proxy and accessories are there, the image is on every host.
    Pulled,
    /// The database is dumped, where that was asked for.
    BackedUp,
    /// The migration may have started; recorded before it does.
    Migrating,
    /// The migration ended well.
    Migrated,
    /// The new containers exist and the web ones run, unrouted.
    Booted,
    /// The new containers passed the gate, workers run.
    Healthy,
    /// Some routes may lead to the new containers; recorded before the first does.
    Switching,
    /// All routes lead to the new containers, proved by a request.
    Switched,
    /// The new containers were watched under load.
    Baked,
    /// From here the transaction only goes forward.
    Committed,
    /// The old containers are stopped; names, tags and files are exchanged.
    Finished,
}

impl Phase {
    /// All phases in their order.
    pub const ALL: [Self; 12] = [
        Self::Opened,
        Self::Pulled,
        Self::BackedUp,
        Self::Migrating,
        Self::Migrated,
        Self::Booted,
        Self::Healthy,
        Self::Switching,
        Self::Switched,
        Self::Baked,
        Self::Committed,
        Self::Finished,
    ];

    /// The word of the phase, as in records and texts.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Pulled => "pulled",
            Self::BackedUp => "backed-up",
            Self::Migrating => "migrating",
            Self::Migrated => "migrated",
            Self::Booted => "booted",
            Self::Healthy => "healthy",
            Self::Switching => "switching",
            Self::Switched => "switched",
            Self::Baked => "baked",
            Self::Committed => "committed",
            Self::Finished => "finished",
        }
    }
}

impl Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order_and_the_words_are_those_of_the_record() {
        assert!(Phase::ALL.windows(2).all(|pair| pair[0] < pair[1]));
        for phase in Phase::ALL {
            let json = serde_json::to_string(&phase).unwrap();
            assert_eq!(json, format!("\"{phase}\""));
        }
    }
}
