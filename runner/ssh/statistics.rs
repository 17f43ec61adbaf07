//! Counts of what a connection did.

use std::sync::atomic::{AtomicU64, Ordering};

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
    /// The longest chain of questions to the host, each asked after the answer to the one before:
    /// whatever was asked at once counts once.
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

/// A question that was not answered yet: its place in the longest chain.
#[derive(Debug, Default)]
pub(super) struct Question(Option<u64>);

/// The same while it is counted, shared between the pump and the handles.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) handshake_waits: AtomicU64,
    pub(super) channels: AtomicU64,
    pub(super) commands: AtomicU64,
    pub(super) exchanges: AtomicU64,
    waits: AtomicU64,
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
}

impl Counters {
    /// Something was asked of the host on a stream that has not been answered yet.
    pub(super) fn asked(&self, question: &mut Question) {
        let place = self.waits.load(Ordering::Relaxed) + 1;
        question.0.get_or_insert(place);
    }

    /// The host answered on that stream.
    pub(super) fn answered(&self, question: &mut Question) {
        if let Some(place) = question.0.take() {
            self.waits.fetch_max(place, Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_at_once_are_one_wait_however_their_answers_interleave() {
        let counters = Counters::default();
        let (mut one, mut other) = (Question::default(), Question::default());
        counters.asked(&mut one);
        counters.asked(&mut other);
        counters.answered(&mut one);
        counters.asked(&mut one);
        counters.answered(&mut other);
        assert_eq!(counters.snapshot().waits, 1);
        counters.answered(&mut one);
        counters.answered(&mut one);
        assert_eq!(counters.snapshot().waits, 2);
    }
}
