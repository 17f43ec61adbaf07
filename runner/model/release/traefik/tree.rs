//! Values to YAML text and back; all that Traefik's files need of YAML.

use std::fmt::Write as _;

use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// Writes a value in block style; texts are always quoted.
pub(super) fn write(value: &Value) -> String {
    let mut out = String::new();
    write_block(value, 0, &mut out);
    out
}

fn write_block(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                write_entry(&format!("{}:", key_text(key)), value, depth, out);
            }
        }
        Value::Array(list) => {
            for value in list {
                write_entry("-", value, depth, out);
            }
        }
        scalar => {
            out.push_str(&scalar_text(scalar));
            out.push('\n');
        }
    }
}

fn write_entry(lead: &str, value: &Value, depth: usize, out: &mut String) {
    let nested = match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => false,
    };
    let indent = "  ".repeat(depth);
    if nested {
        // A `String` takes everything.
        let _written = writeln!(out, "{indent}{lead}");
        write_block(value, depth + 1, out);
    } else {
        let _written = writeln!(out, "{indent}{lead} {}", scalar_text(value));
    }
}

fn key_text(key: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let starts = key.starts_with(|c: char| c.is_ascii_alphabetic());
    if starts && key.chars().all(plain) {
        key.to_owned()
    } else {
        scalar_text(&key.into())
    }
}

/// JSON's notation is YAML's, too. Traefik runs its files through a template engine first, so two
/// braces never stand side by side in the text.
fn scalar_text(value: &Value) -> String {
    match value {
        Value::String(_) => value
            .to_string()
            .replace("{{", "{\\x7b")
            .replace("}}", "}\\x7d"),
        other => other.to_string(),
    }
}

/// Reads one YAML document; anchors, tags and a second document are refused.
pub(super) fn read(text: &str) -> Result<Value, String> {
    let mut events = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, _) = event.map_err(|error| error.to_string())?;
        match event {
            Event::Scalar(text, style, 0, None) => {
                let plain = style == ScalarStyle::Plain;
                events.push(Part::Value(if plain {
                    plain_value(&text)
                } else {
                    text.into()
                }));
            }
            Event::SequenceStart(_, 0, None) => events.push(Part::List),
            Event::MappingStart(_, 0, None) => events.push(Part::Map),
            Event::SequenceEnd | Event::MappingEnd => events.push(Part::End),
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(..) if events.is_empty() => {}
            _ => return Err("anchors, tags and further documents are not read".to_owned()),
        }
    }
    let mut parts = events.into_iter();
    match parts.next() {
        Some(part) => build(part, &mut parts, 64),
        None => Ok(Value::Null),
    }
}

enum Part {
    Value(Value),
    List,
    Map,
    End,
}

fn plain_value(text: &str) -> Value {
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => true.into(),
        "false" => false.into(),
        other => other
            .parse::<i64>()
            .map_or_else(|_| other.into(), Value::from),
    }
}

fn build(part: Part, rest: &mut impl Iterator<Item = Part>, depth: usize) -> Result<Value, String> {
    let short = || "the document ends too early".to_owned();
    if depth == 0 {
        return Err("the document is nested too deeply".to_owned());
    }
    match part {
        Part::Value(value) => Ok(value),
        Part::End => Err(short()),
        Part::List => {
            let mut list = Vec::new();
            loop {
                match rest.next().ok_or_else(short)? {
                    Part::End => return Ok(Value::Array(list)),
                    item => list.push(build(item, rest, depth - 1)?),
                }
            }
        }
        Part::Map => {
            let mut map = Map::new();
            loop {
                let key = match rest.next().ok_or_else(short)? {
                    Part::End => return Ok(Value::Object(map)),
                    Part::Value(Value::String(key)) => key,
                    Part::Value(key) => key.to_string(),
                    Part::List | Part::Map => return Err("a key is not a text".to_owned()),
                };
                let item = rest.next().ok_or_else(short)?;
                map.insert(key, build(item, rest, depth - 1)?);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_survive_the_text() {
        let value = json!({
            "http": { "routers": { "a.b": { "rule": "Host(`x`) && \"q\" \\ ü\n", "tls": {} } } },
            "list": [1, true, null, "1", "yes", "", [["x"]], { "k": [] }],
            "- odd: key": { "0": -3 },
        });
        assert_eq!(read(&write(&value)), Ok(value));
    }

    #[test]
    fn no_text_reaches_the_template_engine() {
        let value = json!({ "rule": "a {{ env \"HOME\" }} {{{" });
        let text = write(&value);
        assert!(!text.contains("{{") && !text.contains("}}"), "{text}");
        assert_eq!(read(&text), Ok(value));
    }

    #[test]
    fn people_may_write_flow_style_and_comments() {
        let text = "# by hand\nhttp: {services: {a: {weight: 9}}} # end\n";
        assert_eq!(
            read(text),
            Ok(json!({ "http": { "services": { "a": { "weight": 9 } } } }))
        );
        assert_eq!(read(""), Ok(Value::Null));
    }

    #[test]
    fn what_is_not_plain_data_is_refused() {
        for text in ["a: &x 1\nb: *x\n", "--- 1\n--- 2\n", "a: [\n", "[a]: 1\n"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
