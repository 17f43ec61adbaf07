//! The methods of values that templates call.

use serde_json::Value;

/// Writes a value as Ruby's `to_s`; `None` for lists and hashes.
pub(super) fn to_s(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// Returns `value[index]`, of lists and hashes; `None` where that means something else.
pub(super) fn index(value: &Value, index: &Value) -> Option<Value> {
    let found = match (value, index) {
        (Value::Object(map), Value::String(key)) => map.get(key),
        (Value::Array(items), Value::Number(at)) => {
            let at = at.as_i64()?;
            let from_end = usize::try_from(at.unsigned_abs()).ok()?;
            let at = if at < 0 {
                items.len().checked_sub(from_end)
            } else {
                Some(from_end)
            };
            at.and_then(|at| items.get(at))
        }
        _ => return None,
    };
    Some(found.cloned().unwrap_or(Value::Null))
}

/// Calls a method; `None` if the value has no such method here.
pub(super) fn call(value: &Value, method: &str, arguments: &[Value]) -> Option<Value> {
    match (method, arguments) {
        ("to_s", []) => return to_s(value).map(Value::from),
        ("nil?", []) => return Some(value.is_null().into()),
        ("blank?", []) => return Some(is_blank(value).into()),
        ("present?", []) => return Some((!is_blank(value)).into()),
        ("presence", []) => {
            return Some(if is_blank(value) {
                Value::Null
            } else {
                value.clone()
            });
        }
        ("to_json", []) => return Some(value.to_string().into()),
        _ => {}
    }
    match value {
        Value::String(text) => of_text(text, method, arguments),
        Value::Array(items) => of_list(items, method, arguments),
        Value::Object(map) => match (method, arguments) {
            ("key?" | "has_key?", [Value::String(key)]) => Some(map.contains_key(key).into()),
            ("fetch", [Value::String(key)]) => map.get(key).cloned(),
            ("fetch", [Value::String(key), default]) => {
                Some(map.get(key).unwrap_or(default).clone())
            }
            ("dig", keys) => keys.iter().try_fold(value.clone(), |value, key| {
                if value.is_null() {
                    Some(value)
                } else {
                    index(&value, key)
                }
            }),
            ("empty?", []) => Some(map.is_empty().into()),
            ("size" | "length", []) => Some(map.len().into()),
            _ => None,
        },
        Value::Number(_) if method == "to_i" && arguments.is_empty() => Some(value.clone()),
        Value::Null if method == "to_i" && arguments.is_empty() => Some(0.into()),
        Value::Number(_) | Value::Null | Value::Bool(_) => None,
    }
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

fn of_text(text: &str, method: &str, arguments: &[Value]) -> Option<Value> {
    let texts: Option<Vec<&str>> = arguments.iter().map(Value::as_str).collect();
    Some(match (method, texts?.as_slice()) {
        ("strip", []) => text.trim().into(),
        ("chomp", []) => {
            let line = text.strip_suffix('\n').unwrap_or(text);
            line.strip_suffix('\r').unwrap_or(line).into()
        }
        ("upcase", []) => text.to_uppercase().into(),
        ("downcase", []) => text.to_lowercase().into(),
        ("reverse", []) => text.chars().rev().collect::<String>().into(),
        ("to_i", []) => leading_integer(text).into(),
        ("inspect", []) => Value::from(text).to_string().into(),
        ("empty?", []) => text.is_empty().into(),
        ("length" | "size", []) => text.chars().count().into(),
        ("split", [] | [" "]) => text.split_whitespace().collect(),
        ("split", [separator]) => {
            let parts: Vec<&str> = text.split(separator).collect();
            let kept = parts.iter().rposition(|part| !part.is_empty());
            let kept = kept.map_or(0, |last| last + 1);
            parts.into_iter().take(kept).collect()
        }
        ("lines", []) => text.split_inclusive('\n').collect(),
        ("sub", [from, to]) => text.replacen(from, to, 1).into(),
        ("gsub", [from, to]) => text.replace(from, to).into(),
        ("start_with?", prefixes) => prefixes
            .iter()
            .any(|prefix| text.starts_with(prefix))
            .into(),
        ("end_with?", endings) => endings.iter().any(|one| text.ends_with(one)).into(),
        ("include?", [part]) => text.contains(part).into(),
        _ => return None,
    })
}

/// Reads the number at the start of a text, as Ruby's `to_i`: 0 if there is none.
fn leading_integer(text: &str) -> i64 {
    let text = text.trim_start();
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let digits = unsigned
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(unsigned.len());
    let value: i64 = unsigned.get(..digits).unwrap_or("").parse().unwrap_or(0);
    if text.starts_with('-') { -value } else { value }
}

fn of_list(items: &[Value], method: &str, arguments: &[Value]) -> Option<Value> {
    Some(match (method, arguments) {
        ("first", []) => items.first().cloned().unwrap_or(Value::Null),
        ("last", []) => items.last().cloned().unwrap_or(Value::Null),
        ("length" | "size", []) => items.len().into(),
        ("empty?", []) => items.is_empty().into(),
        ("include?", [item]) => items.contains(item).into(),
        ("reverse", []) => items.iter().rev().cloned().collect(),
        ("compact", []) => items
            .iter()
            .filter(|item| !item.is_null())
            .cloned()
            .collect(),
        ("uniq", []) => {
            let mut seen: Vec<Value> = Vec::new();
            for item in items {
                if !seen.contains(item) {
                    seen.push(item.clone());
                }
            }
            seen.into()
        }
        ("sort", []) => {
            let mut texts: Vec<&str> = items.iter().map(Value::as_str).collect::<Option<_>>()?;
            texts.sort_unstable();
            texts.into_iter().collect()
        }
        ("join", []) => joined(items, "")?,
        ("join", [Value::String(separator)]) => joined(items, separator)?,
        _ => return None,
    })
}

fn joined(items: &[Value], separator: &str) -> Option<Value> {
    let texts: Option<Vec<String>> = items.iter().map(to_s).collect();
    Some(texts?.join(separator).into())
}
