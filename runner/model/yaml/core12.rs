//! YAML 1.2's core schema: what a plain scalar means in a workflow.
//!
//! Source: YAML 1.2.2, section 10.3.2, which GitHub's reader follows.

use super::node::Kind;

/// Returns the meaning of a plain scalar.
pub(super) fn resolve(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Kind::Null,
        "true" | "True" | "TRUE" => Kind::Boolean(true),
        "false" | "False" | "FALSE" => Kind::Boolean(false),
        ".nan" | ".NaN" | ".NAN" => Kind::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Kind::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Kind::Float(f64::NEG_INFINITY),
        _ => number(text).unwrap_or(Kind::String),
    }
}

/// Returns the meaning of a scalar with a tag; an unknown tag makes text.
pub(super) fn tagged(suffix: &str, text: &str) -> Kind {
    match suffix {
        "null" => Kind::Null,
        "bool" | "int" | "float" => resolve(text),
        _ => Kind::String,
    }
}

fn number(text: &str) -> Option<Kind> {
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            return radix_number(digits, radix);
        }
    }
    is_decimal(text).then(|| decimal(text.strip_prefix('+').unwrap_or(text)))?
}

/// Reads the digits of a number in another base; one that is too large becomes a float.
pub(super) fn radix_number(digits: &str, radix: u32) -> Option<Kind> {
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let wide = || {
        let add = |sum: f64, digit: char| {
            sum * f64::from(radix) + f64::from(digit.to_digit(radix).unwrap_or(0))
        };
        Kind::Float(digits.chars().fold(0.0, add))
    };
    Some(i64::from_str_radix(digits, radix).map_or_else(|_| wide(), Kind::Integer))
}

/// Reads a decimal number: whole ones that fit as integers.
pub(super) fn decimal(text: &str) -> Option<Kind> {
    let whole = !text.contains(['.', 'e', 'E']);
    if let (true, Ok(value)) = (whole, text.parse::<i64>()) {
        return Some(Kind::Integer(value));
    }
    text.parse::<f64>().ok().map(Kind::Float)
}

/// Tells whether a text is `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`.
fn is_decimal(text: &str) -> bool {
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let has_digits = !whole.is_empty() || fraction.is_some_and(|fraction| !fraction.is_empty());
    let exponent_is_right = exponent.is_none_or(|exponent| {
        let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !unsigned.is_empty() && digits(unsigned)
    });
    has_digits && digits(whole) && fraction.is_none_or(digits) && exponent_is_right
}
