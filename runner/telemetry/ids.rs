//! The names of traces and spans, made of what they are about: whoever tells of a part of a run
//! names the same trace, without asking anybody.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// Names a trace: the same for all spans of an attempt of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// Names a span in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

impl TraceId {
    /// Returns the trace of what these words name together.
    pub fn of(words: &[&str]) -> Self {
        Self(first(&digest(b"runner trace", words)))
    }
}

impl SpanId {
    /// Returns the span of what these words name together in a trace.
    pub fn of(trace: TraceId, words: &[&str]) -> Self {
        Self(first(&digest(&trace.0, words)))
    }
}

fn digest(begin: &[u8], words: &[&str]) -> [u8; 32] {
    let mut digest = Sha256::new_with_prefix(begin);
    for word in words {
        // Its length keeps `a`, `bc` apart from `ab`, `c`.
        digest.update(word.len().to_be_bytes());
        digest.update(word.as_bytes());
    }
    digest.finalize().into()
}

fn first<const N: usize>(digest: &[u8; 32]) -> [u8; N] {
    let mut id = [0; N];
    for (byte, from) in id.iter_mut().zip(digest) {
        *byte = *from;
    }
    // Nothing but zeros is no id.
    if id.iter().all(|byte| *byte == 0) {
        id.fill(1);
    }
    id
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_for_the_same_and_others_for_others() {
        let trace = TraceId::of(&["acme/demo", "1", "1"]);
        assert_eq!(trace, TraceId::of(&["acme/demo", "1", "1"]));
        assert_eq!(trace.to_string().len(), 32);
        for other in [["acme/demo", "1", "2"], ["acme/demo", "11", ""]] {
            assert_ne!(trace, TraceId::of(&other));
        }
        let span = SpanId::of(trace, &["job", "1"]);
        assert_eq!(span.to_string().len(), 16);
        assert_ne!(span, SpanId::of(trace, &["job", "2"]));
        assert_ne!(span, SpanId::of(TraceId::of(&[]), &["job", "1"]));
    }
}
