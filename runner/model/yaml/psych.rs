//! What a plain scalar means to Ruby's Psych, which reads Kamal's files (YAML 1.1).
//!
//! Source: Ruby's `Psych::ScalarScanner`.

use super::core12;
use super::node::Kind;

/// Returns the meaning of a plain scalar.
pub(super) fn resolve(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        ".nan" | ".NaN" | ".NAN" => return Kind::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Kind::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Kind::Float(f64::NEG_INFINITY),
        _ => {}
    }
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" => Kind::Boolean(true),
        "no" | "false" | "off" => Kind::Boolean(false),
        _ => number(text).unwrap_or(Kind::String),
    }
}

/// Reads a number: `1_000`, `0x1F`, `0b11`, `017` (octal), `1.5`, `1e3`, `190:20:30` (base 60).
fn number(text: &str) -> Option<Kind> {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    let plain: String = unsigned
        .chars()
        .filter(|digit| !matches!(digit, '_' | ','))
        .collect();
    let whole = || {
        for (prefix, radix) in [("0x", 16), ("0b", 2), ("0", 8)] {
            if let Some(digits) = plain
                .strip_prefix(prefix)
                .filter(|digits| !digits.is_empty())
            {
                return core12::radix_number(digits, radix);
            }
        }
        let digits = plain.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| core12::decimal(&plain))?
    };
    let value = whole()
        .or_else(|| sexagesimal(&plain))
        .or_else(|| float(&plain))?;
    Some(match value {
        Kind::Integer(value) => Kind::Integer(sign * value),
        Kind::Float(value) if sign < 0 => Kind::Float(-value),
        other => other,
    })
}

fn float(text: &str) -> Option<Kind> {
    let allowed =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-');
    // Psych takes no number without a point for a float: `1e3` is text.
    let has_digits = text.bytes().any(|byte| byte.is_ascii_digit());
    let fits = text.contains('.') && has_digits && text.bytes().all(allowed);
    fits.then(|| text.parse::<f64>().ok().map(Kind::Float))?
}

/// Reads `190:20:30`, hours or degrees of YAML 1.1: every part after the first is below 60.
fn sexagesimal(text: &str) -> Option<Kind> {
    let parts: Vec<&str> = text.split(':').collect();
    let (first, rest) = parts.split_first()?;
    if rest.is_empty() || first.starts_with('0') {
        return None;
    }
    let mut sum: i64 = first.parse().ok()?;
    for part in rest {
        let value: i64 = part.parse().ok().filter(|value| (0..60).contains(value))?;
        if part.len() > 2 {
            return None;
        }
        sum = sum.checked_mul(60)?.checked_add(value)?;
    }
    Some(Kind::Integer(sum))
}
