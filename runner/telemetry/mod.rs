//! Tells a collector of OpenTelemetry what ran and how long it took: spans, by OTLP over HTTP.
//!
//! # How it works
//! Whoever knows what happened makes [`Spans`] of it and hands them to an [`Exporter`], which never
//! waits and never fails: it keeps a bounded number of spans, one task sends them, and what finds no
//! place or is refused is counted. Every text in a span is [`Masked`](crate::mask::Masked).

mod collector;
mod exporter;
mod ids;
mod otlp;
mod span;

pub use collector::{Collector, CollectorError, CollectorWishes};
pub use exporter::{Counts, Exporter, Sending};
pub use ids::{SpanId, TraceId};
pub use span::{Attribute, Outcome, Resource, Span, SpanKind, Spans};
