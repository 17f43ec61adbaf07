//! Values from and to JSON.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};

use super::{number::format_number, object::Object, value::Value};

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_bool<E>(self, boolean: bool) -> Result<Value, E> {
        Ok(Value::Boolean(boolean))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut items = Vec::with_capacity(sequence.size_hint().unwrap_or(0).min(1024));
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Value::array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Object::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            object.insert(name, value);
        }
        Ok(object.into())
    }
}

impl From<&serde_json::Value> for Value {
    fn from(json: &serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(boolean) => Self::Boolean(*boolean),
            serde_json::Value::Number(number) => Self::Number(number.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::String(text) => Self::from(text.as_str()),
            serde_json::Value::Array(items) => Self::array(items.iter().map(Self::from).collect()),
            serde_json::Value::Object(map) => map
                .iter()
                .map(|(name, value)| (name.as_str(), Self::from(value)))
                .collect::<Object>()
                .into(),
        }
    }
}

impl From<serde_json::Value> for Value {
    fn from(json: serde_json::Value) -> Self {
        Self::from(&json)
    }
}

impl From<&Value> for serde_json::Value {
    /// Numbers that JSON cannot hold become the texts `NaN`, `Infinity`, `-Infinity`; a number
    /// without a fraction is written without one.
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Boolean(boolean) => Self::Bool(*boolean),
            Value::Number(number) => number_to_json(*number),
            Value::String(text) => Self::String(text.as_ref().to_owned()),
            Value::Array(items) => Self::Array(items.iter().map(Self::from).collect()),
            Value::Object(object) => Self::Object(
                object
                    .iter()
                    .map(|(name, value)| (name.to_owned(), Self::from(value)))
                    .collect(),
            ),
        }
    }
}

fn number_to_json(number: f64) -> serde_json::Value {
    // Up to 2^53 a double holds every integer.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the range is checked above"
        )]
        return serde_json::Value::from(number as i64);
    }
    serde_json::Number::from_f64(number).map_or_else(
        || serde_json::Value::String(format_number(number)),
        serde_json::Value::Number,
    )
}

/// Writes a value as `toJSON` does: two spaces, keys in order.
///
/// Each piece of text is reported to `count` before it is added, so that the caller can stop at a
/// limit.
pub(super) fn write<E>(
    value: &Value,
    count: &mut impl FnMut(&str) -> Result<(), E>,
) -> Result<String, E> {
    let mut text = String::new();
    write_value(value, 0, &mut text, count)?;
    Ok(text)
}

fn write_value<E>(
    value: &Value,
    level: usize,
    text: &mut String,
    count: &mut impl FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    let mut add = |text: &mut String, piece: &str| {
        count(piece)?;
        text.push_str(piece);
        Ok(())
    };
    match value {
        Value::Null => add(text, "null"),
        Value::Boolean(_) | Value::Number(_) => add(text, &value.to_text()),
        Value::String(string) => add(text, &quote(string)),
        Value::Array(items) if items.is_empty() => add(text, "[]"),
        Value::Object(object) if object.is_empty() => add(text, "{}"),
        Value::Array(items) => {
            add(text, "[")?;
            for (index, item) in items.iter().enumerate() {
                let mark = if index == 0 { "" } else { "," };
                text.push_str(mark);
                text.push('\n');
                indent(text, level + 1);
                write_value(item, level + 1, text, count)?;
            }
            end(text, level, ']', count)
        }
        Value::Object(object) => {
            add(text, "{")?;
            for (index, (name, value)) in object.iter().enumerate() {
                let mark = if index == 0 { "" } else { "," };
                text.push_str(mark);
                text.push('\n');
                indent(text, level + 1);
                let name = quote(name);
                count(&name)?;
                text.push_str(&name);
                text.push_str(": ");
                write_value(value, level + 1, text, count)?;
            }
            end(text, level, '}', count)
        }
    }
}

fn end<E>(
    text: &mut String,
    level: usize,
    bracket: char,
    count: &mut impl FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    let start = text.len();
    text.push('\n');
    indent(text, level);
    text.push(bracket);
    count(text.get(start..).unwrap_or_default())
}

fn indent(text: &mut String, level: usize) {
    for _ in 0..level {
        text.push_str("  ");
    }
}

/// Writes a JSON string; beyond what JSON asks for, the three other ends of line are escaped.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\0'..='\u{1f}' | '\u{85}' | '\u{2028}' | '\u{2029}' => {
                quoted.push_str("\\u");
                for shift in [12, 8, 4, 0] {
                    let digit = (c as u32 >> shift) & 0xf;
                    quoted.push(char::from_digit(digit, 16).unwrap_or('0'));
                }
            }
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
