//! What a collector is told: spans, and what they are of. No secret can stand in them.

use super::ids::{SpanId, TraceId};
use crate::mask::Masked;
use crate::run::Timestamp;

/// The side that a span is told from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// A part of something.
    Internal,
    /// Something that was asked for from outside.
    Server,
}

/// How what a span tells of ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is said of it.
    Unset,
    /// It failed, for this reason.
    Error(Masked),
}

/// A fact of a span or of what it is of; its name is one of the program's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// A text.
    Text(&'static str, Masked),
    /// A number.
    Number(&'static str, i64),
    /// Yes or no.
    Flag(&'static str, bool),
}

impl Attribute {
    /// Returns a fact whose value is a word of the program.
    pub fn word(name: &'static str, word: &'static str) -> Self {
        Self::Text(name, Masked::from_static(word))
    }

    /// Returns its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Text(name, _) | Self::Number(name, _) | Self::Flag(name, _) => name,
        }
    }
}

/// Something that took its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Its trace.
    pub trace: TraceId,
    /// Its name in there.
    pub id: SpanId,
    /// What it is a part of.
    pub parent: Option<SpanId>,
    /// What it is called.
    pub name: Masked,
    /// The side that it is told from.
    pub kind: SpanKind,
    /// When it began.
    pub start: Timestamp,
    /// When it ended; not before that.
    pub end: Timestamp,
    /// What is known of it.
    pub attributes: Vec<Attribute>,
    /// How it ended.
    pub outcome: Outcome,
}

/// What is the same for all spans of a run on a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resource(pub Vec<Attribute>);

/// Spans of one run, told at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spans {
    /// What they are of.
    pub resource: Resource,
    /// The spans.
    pub spans: Vec<Span>,
}
