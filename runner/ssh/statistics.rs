//! Counts of what a connection did.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a connection did so far, for benchmarks and reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Times the handshake and the login had to wait for the host.
    pub handshake_waits: u64,
    /// Channels opened: one wait for the host each.
    pub channels: u64,
    /// Commands started: one wait for the host each, after that for the channel.
    pub commands: u64,
    /// Times a stream was answered after something had been sent on it, as one HTTP request is.
    pub exchanges: u64,
    /// How often the host was waited for in a row: whatever was asked at once counts once.
    pub waits: u64,
    /// Bytes sent on all channels.
    pub sent: u64,
    /// Bytes received on all channels.
    pub received: u64,
}

impl Statistics {
    /// Round trips to the host: every wait for an answer, as if they came one after another.
    pub fn round_trips(&self) -> u64 {
        self.handshake_waits + self.channels + self.commands + self.exchanges
    }
}

/// The same while it is counted, shared between the pump and the handles.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) handshake_waits: AtomicU64,
    pub(super) channels: AtomicU64,
    pub(super) commands: AtomicU64,
    pub(super) exchanges: AtomicU64,
    waits: AtomicU64,
    /// Whether something was asked since the host answered last.
    is_asked: AtomicBool,
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
}

impl Counters {
    /// Something was asked of the host.
    pub(super) fn asked(&self) {
        self.is_asked.store(true, Ordering::Relaxed);
    }

    /// The host answered something.
    pub(super) fn answered(&self) {
        if self.is_asked.swap(false, Ordering::Relaxed) {
            count(&self.waits, 1);
        }
    }

    pub(super) fn snapshot(&self) -> Statistics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Statistics {
            handshake_waits: read(&self.handshake_waits),
            channels: read(&self.channels),
            commands: read(&self.commands),
            exchanges: read(&self.exchanges),
            waits: read(&self.waits),
            sent: read(&self.sent),
            received: read(&self.received),
        }
    }
}

pub(super) fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}
