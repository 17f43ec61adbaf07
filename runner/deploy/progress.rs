//! What happens while a release is carried out, for whoever shows it.

use std::time::Duration;

use crate::release::{HostName, Op, Phase, TransactionId};

/// Something that a person or a record may want to know; its texts are masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A transaction has begun.
    Opened {
        /// Which.
        id: TransactionId,
    },
    /// The operations of a phase begin on a host.
    Began {
        /// The host.
        host: HostName,
        /// The phase.
        phase: Phase,
        /// Whether it leads back.
        undoing: bool,
    },
    /// An operation ended well.
    Did {
        /// The operation.
        op: Box<Op>,
        /// How long it took, or the command that it rode in.
        took: Duration,
    },
    /// The operations of a phase ended well on a host.
    Reached {
        /// The host.
        host: HostName,
        /// The phase.
        phase: Phase,
        /// Whether it leads back.
        undoing: bool,
        /// How long they took.
        took: Duration,
        /// How often the host was waited for in a row meanwhile: its round trips.
        waits: u64,
    },
    /// An operation failed.
    Failed {
        /// The operation.
        op: Box<Op>,
        /// Why.
        reason: String,
        /// Whether that is only reported.
        best_effort: bool,
    },
    /// Something that should be said, as that an earlier transaction was left open.
    Notice(
        /// The text.
        String,
    ),
}

/// Whoever is told; must return at once.
pub trait Progress: Send + Sync {
    /// Takes an event.
    fn tell(&self, event: Event);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn tell(&self, _: Event) {}
}
