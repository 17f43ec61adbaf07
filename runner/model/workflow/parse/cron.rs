//! The cron expressions of `schedule`.

use crate::diagnostic::Diagnostic;
use crate::workflow::model::Located;

use super::reader::Reader;

/// A field of a cron expression: its name, least and greatest value, and names for values.
struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    field("minute", 0, 59, &[]),
    field("hour", 0, 23, &[]),
    field("day of the month", 1, 31, &[]),
    field(
        "month",
        1,
        12,
        &[
            "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
        ],
    ),
    field(
        "day of the week",
        0,
        6,
        &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    ),
];

const fn field(name: &'static str, least: u32, most: u32, names: &'static [&'static str]) -> Field {
    Field {
        name,
        least,
        most,
        names,
    }
}

/// Reports a cron expression that GitHub refuses.
pub(super) fn check(reader: &mut Reader<'_>, cron: &Located<String>) {
    match problem(&cron.value) {
        Some(problem) => {
            let message = format!("`{}` is no cron expression: {problem}", cron.value);
            reader.report(
                Diagnostic::error("cron-syntax", &cron.span, message)
                    .with_hint("minute, hour, day of the month, month, day of the week"),
            );
        }
        None if is_too_often(&cron.value) => {
            reader.report(Diagnostic::warning(
                "cron-too-often",
                &cron.span,
                "GitHub starts scheduled workflows at most every 5 minutes",
            ));
        }
        None => {}
    }
}

/// Reports a text that cannot be the name of a time zone.
pub(super) fn check_timezone(reader: &mut Reader<'_>, zone: &Located<String>) {
    let is_name = zone.value.split('/').all(|part| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+'))
    });
    if !is_name {
        let message = format!("`{}` is no name of a time zone", zone.value);
        reader.report(
            Diagnostic::error("timezone", &zone.span, message)
                .with_hint("a name of the IANA database, as `Europe/Berlin`"),
        );
    }
}

/// Says what is wrong with a cron expression.
fn problem(cron: &str) -> Option<String> {
    let parts: Vec<&str> = cron.split_whitespace().collect();
    if parts.len() != FIELDS.len() {
        return Some(format!("it has {} fields, not 5", parts.len()));
    }
    FIELDS.iter().zip(parts).find_map(|(field, part)| {
        let wrong = part.split(',').find(|item| values(field, item).is_none())?;
        Some(if wrong.is_empty() {
            format!("an empty value in the {}", field.name)
        } else {
            format!(
                "`{wrong}` is no {} ({} to {})",
                field.name, field.least, field.most
            )
        })
    })
}

/// Returns the values that one item of a field means: `*`, `5`, `1-3`, `*/2`, `MON-FRI`.
fn values(field: &Field, item: &str) -> Option<Vec<u32>> {
    let (range, step) = match item.split_once('/') {
        Some((range, step)) => (range, Some(number(step)?)),
        None => (item, None),
    };
    if step == Some(0) {
        return None;
    }
    let (from, to) = match range.split_once('-') {
        _ if range == "*" => (field.least, field.most),
        Some((from, to)) => (value(field, from)?, value(field, to)?),
        None => {
            let from = value(field, range)?;
            (from, if step.is_some() { field.most } else { from })
        }
    };
    let step = usize::try_from(step.unwrap_or(1)).ok()?;
    (from <= to).then(|| (from..=to).step_by(step).collect())
}

fn value(field: &Field, text: &str) -> Option<u32> {
    let named = (0..)
        .zip(field.names)
        .find(|(_, name)| name.eq_ignore_ascii_case(text))
        .map(|(index, _)| index + field.least);
    let value = named.or_else(|| number(text))?;
    (field.least..=field.most).contains(&value).then_some(value)
}

fn number(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// Tells whether two minutes of an hour lie less than five apart, also over the full hour.
fn is_too_often(cron: &str) -> bool {
    let Some(minutes) = cron.split_whitespace().next() else {
        return false;
    };
    let [field, ..] = &FIELDS;
    let mut all: Vec<u32> = minutes
        .split(',')
        .filter_map(|item| values(field, item))
        .flatten()
        .collect();
    all.sort_unstable();
    all.dedup();
    let around = match (all.first(), all.last()) {
        (Some(first), Some(last)) if first != last => first + 60 - last,
        _ => 60,
    };
    let mut pairs = all.windows(2);
    around < 5 || pairs.any(|pair| matches!(pair, [a, b] if b - a < 5))
}
