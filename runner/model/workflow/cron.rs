//! Cron expressions as GitHub reads them: five fields, names, ranges, lists and steps.

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

/// A cron expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    /// A bit for each value of each field.
    fields: [u64; 5],
    /// Whether the hour, the day of the month and the day of the week are left open: they begin
    /// with `*`.
    is_open: [bool; 3],
}

/// A time as a clock on the wall and a calendar show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WallTime {
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 23.
    pub hour: u32,
    /// The day of the month, from 1.
    pub day: u32,
    /// From 1.
    pub month: u32,
    /// The day of the week; 0 is Sunday.
    pub weekday: u32,
}

impl Cron {
    /// Reads an expression; errors in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split_whitespace().collect();
        if parts.len() != FIELDS.len() {
            return Err(format!("it has {} fields, not 5", parts.len()));
        }
        let mut fields = [0; 5];
        for ((bits, field), part) in fields.iter_mut().zip(&FIELDS).zip(&parts) {
            for item in part.split(',') {
                let values = values(field, item).ok_or_else(|| wrong(field, item))?;
                *bits |= values.iter().fold(0, |bits, value| bits | 1_u64 << value);
            }
        }
        let is_open = [1, 2, 4].map(|at| parts.get(at).is_some_and(|part| part.starts_with('*')));
        Ok(Self { fields, is_open })
    }

    /// Tells whether it means this minute.
    ///
    /// Source: POSIX, `crontab`: of day of the month and day of the week one is enough where both
    /// are given.
    pub fn is_due(&self, time: WallTime) -> bool {
        let [minutes, hours, days, months, weekdays] = self.fields;
        let has = |bits: u64, value: u32| bits >> value & 1 == 1;
        let [_, any_day, any_weekday] = self.is_open;
        let (by_day, by_weekday) = (has(days, time.day), has(weekdays, time.weekday));
        let is_day = if any_day || any_weekday {
            by_day && by_weekday
        } else {
            by_day || by_weekday
        };
        has(minutes, time.minute) && has(hours, time.hour) && has(months, time.month) && is_day
    }

    /// Tells whether the hour is left open, as in `*/15 * * * *`: such times pass by the clock, and
    /// an hour that is there twice counts twice.
    pub fn is_by_the_clock(&self) -> bool {
        let [hour, _, _] = self.is_open;
        hour
    }

    /// Tells whether two minutes of an hour lie less than five apart, also over the full hour.
    pub fn is_too_often(&self) -> bool {
        let [minutes, ..] = self.fields;
        let all: Vec<u32> = (0..60)
            .filter(|minute| minutes >> minute & 1 == 1)
            .collect();
        let around = match (all.first(), all.last()) {
            (Some(first), Some(last)) if first != last => first + 60 - last,
            _ => 60,
        };
        let mut pairs = all.windows(2);
        around < 5 || pairs.any(|pair| matches!(pair, [a, b] if b - a < 5))
    }
}

fn wrong(field: &Field, item: &str) -> String {
    if item.is_empty() {
        return format!("an empty value in the {}", field.name);
    }
    format!(
        "`{item}` is no {} ({} to {})",
        field.name, field.least, field.most
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(month: u32, day: u32, weekday: u32, hour: u32, minute: u32) -> WallTime {
        WallTime {
            minute,
            hour,
            day,
            month,
            weekday,
        }
    }

    #[test]
    fn an_expression_means_the_minutes_that_its_fields_name() {
        for (cron, time, expected) in [
            ("* * * * *", at(1, 1, 0, 0, 0), true),
            ("30 5 * * MON-fri", at(3, 4, 3, 5, 30), true),
            ("30 5 * * MON-FRI", at(3, 8, 0, 5, 30), false),
            ("30 5 * * MON-FRI", at(3, 4, 3, 5, 31), false),
            ("*/15 * * * *", at(6, 1, 2, 7, 45), true),
            ("*/15 * * * *", at(6, 1, 2, 7, 50), false),
            ("7/20 * * * *", at(6, 1, 2, 7, 47), true),
            ("7/20 * * * *", at(6, 1, 2, 7, 40), false),
            ("0 0 1 JAN *", at(1, 1, 4, 0, 0), true),
            ("0 0 1 JAN *", at(2, 1, 4, 0, 0), false),
            ("0 1-3,20 * * *", at(2, 1, 4, 20, 0), true),
            ("0 10-20/5 * * *", at(2, 1, 4, 15, 0), true),
            ("0 10-20/5 * * *", at(2, 1, 4, 16, 0), false),
            // Both days given: one is enough. One of them open: both must be so.
            ("0 0 13 * 5", at(2, 13, 2, 0, 0), true),
            ("0 0 13 * 5", at(2, 14, 5, 0, 0), true),
            ("0 0 13 * 5", at(2, 14, 4, 0, 0), false),
            ("0 0 */2 * 5", at(2, 14, 5, 0, 0), false),
            ("0 0 */2 * 5", at(2, 13, 5, 0, 0), true),
        ] {
            assert_eq!(Cron::parse(cron).unwrap().is_due(time), expected, "{cron}");
        }
    }

    #[test]
    fn what_is_no_expression_is_said_in_words() {
        for (cron, words) in [
            ("0 0 * *", "4 fields"),
            ("@daily", "1 fields"),
            ("60 * * * *", "`60` is no minute"),
            ("0 0 * * 7", "day of the week (0 to 6)"),
            ("0 0 1,, * *", "an empty value in the day of the month"),
            ("*/0 * * * *", "`*/0` is no minute"),
            ("5-1 * * * *", "`5-1`"),
        ] {
            let error = Cron::parse(cron).unwrap_err();
            assert!(error.contains(words), "{cron}: {error}");
        }
    }
}
