//! `[keep]` and `min-free` of `runner.toml`: how long what is kept, and what must stay free.

use std::time::Duration;

use serde::Deserialize;

use crate::scheduler::Keep;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What must be free on the disk for a job to begin, where the file does not say it.
pub(super) const MIN_FREE: u64 = 1_000_000_000;

/// The table as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct WrittenKeep {
    logs: Option<String>,
    logs_size: Option<String>,
    runs: Option<String>,
}

impl WrittenKeep {
    /// Returns how long what is kept; errors in words.
    pub(super) fn read(&self) -> Result<Keep, String> {
        let time = |key: &str, text: Option<&String>, unsaid: Duration| match text {
            None => Ok(unsaid),
            Some(text) => humantime::parse_duration(text)
                .map_err(|error| format!("`keep.{key}`: {error}; write `90d`")),
        };
        Ok(Keep {
            // Source: GitHub, "Configuring the retention period": 90 days for logs.
            logs: time("logs", self.logs.as_ref(), 90 * DAY)?,
            logs_size: match &self.logs_size {
                None => 10_000_000_000,
                Some(text) => size("keep.logs-size", text)?,
            },
            runs: time("runs", self.runs.as_ref(), 365 * DAY)?,
        })
    }
}

/// Reads a number of bytes: `500MB`, `1.5 GB`, `64KiB`. Errors in words.
pub(super) fn size(key: &str, text: &str) -> Result<u64, String> {
    let wrong = || format!("`{key}`: `{text}` is no size; write `500MB` or `20GB`");
    let text = text.trim();
    let end = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(text.len());
    let (amount, unit) = text.split_at(end);
    let unit: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(wrong()),
    };
    let (whole, part) = amount.split_once('.').unwrap_or((amount, ""));
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let tenths = 10_u64.checked_pow(u32::try_from(part.len()).map_err(|_| wrong())?);
    let fraction: u64 = match part {
        "" if amount.ends_with('.') => return Err(wrong()),
        "" => 0,
        part => part.parse().map_err(|_| wrong())?,
    };
    let fraction = fraction
        .checked_mul(unit)
        .zip(tenths)
        .and_then(|(all, tenths)| all.checked_div(tenths));
    whole
        .checked_mul(unit)
        .zip(fraction)
        .and_then(|(whole, fraction)| whole.checked_add(fraction))
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1500", Some(1_500)),
            ("500MB", Some(500_000_000)),
            ("1.5 GB", Some(1_500_000_000)),
            ("64KiB", Some(65_536)),
            ("2tb", Some(2_000_000_000_000)),
            ("", None),
            ("GB", None),
            ("5 G", None),
            ("-1MB", None),
            ("1.GB", None),
            ("99999999999TB", None),
        ] {
            assert_eq!(size("min-free", text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_time_that_cannot_be_read_is_named() {
        let keep: WrittenKeep = toml::from_str("logs = \"soon\"").unwrap();
        assert!(keep.read().unwrap_err().contains("`keep.logs`"));
    }
}
