//! A request of OTLP as JSON.
//!
//! Source: OpenTelemetry, "OTLP Specification", JSON Protobuf Encoding: ids in hexadecimal, 64-bit
//! numbers as texts, enumerations as numbers.

use serde_json::{Value, json};

use super::span::{Attribute, Outcome, Span, SpanKind, Spans};
use crate::run::Timestamp;

/// Who says it.
const SCOPE: &str = "runner";

/// The status code of a span that failed.
const ERROR: u32 = 2;

/// Returns the body of a request that tells of spans; `about` is what is known of the one who tells,
/// beside what each run brings.
pub(super) fn request(about: &[(String, String)], told: &[Spans]) -> Value {
    let of = |spans: &Spans| {
        let own = about.iter().map(|(name, value)| text(name, value));
        let attributes: Vec<Value> = own.chain(spans.resource.0.iter().map(attribute)).collect();
        json!({
            "resource": { "attributes": attributes },
            "scopeSpans": [{
                "scope": { "name": SCOPE, "version": env!("CARGO_PKG_VERSION") },
                "spans": spans.spans.iter().map(span).collect::<Vec<_>>(),
            }],
        })
    };
    json!({ "resourceSpans": told.iter().map(of).collect::<Vec<_>>() })
}

fn span(span: &Span) -> Value {
    let mut told = json!({
        "traceId": span.trace.to_string(), "spanId": span.id.to_string(),
        "name": span.name, "kind": match span.kind { SpanKind::Internal => 1, SpanKind::Server => 2 },
        "startTimeUnixNano": nanoseconds(span.start), "endTimeUnixNano": nanoseconds(span.end),
        "attributes": span.attributes.iter().map(attribute).collect::<Vec<_>>(),
    });
    if let Value::Object(told) = &mut told {
        if let Some(parent) = span.parent {
            told.insert("parentSpanId".to_owned(), parent.to_string().into());
        }
        if let Outcome::Error(why) = &span.outcome {
            let status = json!({ "code": ERROR, "message": why });
            told.insert("status".to_owned(), status);
        }
    }
    told
}

fn attribute(attribute: &Attribute) -> Value {
    match attribute {
        Attribute::Text(name, value) => text(name, value.as_str()),
        Attribute::Number(name, value) => {
            json!({ "key": name, "value": { "intValue": value.to_string() } })
        }
        Attribute::Flag(name, value) => json!({ "key": name, "value": { "boolValue": value } }),
    }
}

fn text(name: &str, value: &str) -> Value {
    json!({ "key": name, "value": { "stringValue": value } })
}

fn nanoseconds(at: Timestamp) -> String {
    (i128::from(at.0) * 1_000_000).max(0).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::{Resource, SpanId, TraceId};
    use super::*;
    use crate::mask::Masked;

    #[test]
    fn a_request_is_as_the_specification_writes_it() {
        let trace = TraceId::of(&["a"]);
        let (id, parent) = (SpanId::of(trace, &["b"]), SpanId::of(trace, &["c"]));
        let spans = Spans {
            resource: Resource(vec![Attribute::word("cicd.pipeline.name", "CI")]),
            spans: vec![Span {
                trace,
                id,
                parent: Some(parent),
                name: Masked::from_static("test"),
                kind: SpanKind::Internal,
                start: Timestamp(1_764_000_000_123),
                end: Timestamp(1_764_000_001_123),
                attributes: vec![Attribute::Number("n", 7), Attribute::Flag("f", true)],
                outcome: Outcome::Error(Masked::from_static("it broke")),
            }],
        };
        let about = [("service.name".to_owned(), "runner".to_owned())];
        let body = request(&about, &[spans]);
        let of = &body["resourceSpans"][0];
        let resource = json!([
            {"key": "service.name", "value": {"stringValue": "runner"}},
            {"key": "cicd.pipeline.name", "value": {"stringValue": "CI"}}]);
        assert_eq!(of["resource"]["attributes"], resource);
        let expected = json!({
            "traceId": trace.to_string(), "spanId": id.to_string(), "name": "test", "kind": 1,
            "startTimeUnixNano": "1764000000123000000", "endTimeUnixNano": "1764000001123000000",
            "attributes": [{"key": "n", "value": {"intValue": "7"}}, {"key": "f", "value": {"boolValue": true}}],
            "parentSpanId": parent.to_string(), "status": {"code": 2, "message": "it broke"}});
        assert_eq!(of["scopeSpans"][0]["spans"][0], expected);
    }
}
