//! When a schedule is due, in its time zone.

use chrono::{DateTime, Datelike as _, MappedLocalTime, NaiveDateTime, TimeDelta, TimeZone as _};
use chrono::{Timelike as _, Utc};
use chrono_tz::Tz;

use crate::run::Timestamp;
use crate::workflow::{Cron, WallTime};

/// Milliseconds of a minute.
const MINUTE: i64 = 60_000;

/// A minute, counted from the beginning of 1970 in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minute(pub i64);

impl Minute {
    /// Returns the minute that a time lies in.
    pub fn of(time: Timestamp) -> Self {
        Self(time.0.div_euclid(MINUTE))
    }

    /// Returns when it begins.
    pub fn start(self) -> Timestamp {
        Timestamp(self.0.saturating_mul(MINUTE))
    }

    fn utc(self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(self.0.checked_mul(60)?, 0)
    }
}

impl std::fmt::Display for Minute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.utc() {
            Some(time) => write!(f, "{}", time.format("%Y-%m-%d %H:%M UTC")),
            None => write!(f, "minute {}", self.0),
        }
    }
}

/// An entry of `schedule`: a cron expression in a time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timetable {
    cron: Cron,
    zone: Tz,
}

impl Timetable {
    /// Reads an entry; without a time zone it means UTC. Errors in words.
    pub fn read(cron: &str, timezone: Option<&str>) -> Result<Self, String> {
        let zone = match timezone {
            None => Tz::UTC,
            Some(name) => name
                .parse()
                .map_err(|_| format!("no time zone is called `{name}`"))?,
        };
        let cron =
            Cron::parse(cron).map_err(|why| format!("`{cron}` is no cron expression: {why}"))?;
        Ok(Self { cron, zone })
    }

    /// Tells whether it is due in a minute.
    ///
    /// A time that the clock skips in spring is due once, in the first minute after the gap; one that
    /// is there twice in autumn is due the first time only. Where the hour is left open (`*`, `*/2`)
    /// the times pass by the clock instead: none is caught up and the hour that is there twice counts
    /// twice.
    ///
    /// Source: GitHub, "Events that trigger workflows", `schedule`: "in skipped hours advance to the
    /// next valid time". It says nothing of hours that are there twice.
    pub fn is_due(&self, minute: Minute) -> bool {
        let Some(now) = minute.utc().map(|now| now.with_timezone(&self.zone)) else {
            return false;
        };
        let wall = now.naive_local();
        if self.cron.is_by_the_clock() {
            return self.cron.is_due(wall_time(wall));
        }
        if self.cron.is_due(wall_time(wall)) {
            return match self.zone.from_local_datetime(&wall) {
                MappedLocalTime::Ambiguous(first, _) => first == now,
                _ => true,
            };
        }
        let before = Minute(minute.0 - 1).utc();
        let Some(before) = before.map(|time| time.with_timezone(&self.zone).naive_local()) else {
            return false;
        };
        let one = TimeDelta::minutes(1);
        let mut skipped = before + one;
        while skipped < wall {
            if self.cron.is_due(wall_time(skipped)) {
                return true;
            }
            skipped += one;
        }
        false
    }

    /// Returns the newest minute after `after` and up to `until` in which it is due, and how many
    /// there are before that one.
    pub fn newest(&self, after: Minute, until: Minute) -> Option<(Minute, usize)> {
        let mut due = (after.0.saturating_add(1)..=until.0)
            .rev()
            .map(Minute)
            .filter(|minute| self.is_due(*minute));
        let newest = due.next()?;
        Some((newest, due.count()))
    }
}

fn wall_time(time: NaiveDateTime) -> WallTime {
    WallTime {
        minute: time.minute(),
        hour: time.hour(),
        day: time.day(),
        month: time.month(),
        weekday: time.weekday().num_days_from_sunday(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(text: &str) -> Minute {
        let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap();
        Minute(time.and_utc().timestamp() / 60)
    }

    /// All minutes of a span, in UTC, in which an entry is due.
    fn due(cron: &str, zone: &str, from: &str, to: &str) -> Vec<String> {
        let table = Timetable::read(cron, Some(zone)).unwrap();
        (minute(from).0..=minute(to).0)
            .map(Minute)
            .filter(|minute| table.is_due(*minute))
            .map(|minute| minute.to_string().trim_end_matches(" UTC").to_owned())
            .collect()
    }

    #[test]
    fn a_time_zone_shifts_with_the_seasons() {
        let of = |from, to| due("30 5 * * 1-5", "America/New_York", from, to);
        // A Friday to a Monday in winter, and a day in summer.
        assert_eq!(
            of("2026-01-09 00:00", "2026-01-12 23:59"),
            ["2026-01-09 10:30", "2026-01-12 10:30"]
        );
        assert_eq!(
            of("2026-07-01 00:00", "2026-07-01 23:59"),
            ["2026-07-01 09:30"]
        );
    }

    #[test]
    fn a_time_that_the_clock_skips_is_due_once_after_the_gap() {
        // In Berlin 02:00 is 03:00 on 29 March 2026, at 01:00 UTC, so that day has 23 hours.
        let of = |cron| {
            due(
                cron,
                "Europe/Berlin",
                "2026-03-28 23:00",
                "2026-03-29 21:59",
            )
        };
        assert_eq!(of("30 2 * * *"), ["2026-03-29 01:00"]);
        assert_eq!(of("0,15,30 2 * * *"), ["2026-03-29 01:00"]);
        assert_eq!(of("0 3 * * *"), ["2026-03-29 01:00"]);
        assert_eq!(of("30 1,2,3 * * *").len(), 3);
        // By the clock: 01:30, 03:30, and nothing for 02:30.
        let hourly = of("30 * * * *");
        assert_eq!(hourly.len(), 23);
        assert!(!hourly.contains(&"2026-03-29 01:00".to_owned()));
    }

    #[test]
    fn a_time_that_is_there_twice_is_due_the_first_time() {
        // In Berlin 03:00 is 02:00 on 25 October 2026, at 01:00 UTC.
        let of = |cron| {
            due(
                cron,
                "Europe/Berlin",
                "2026-10-24 22:00",
                "2026-10-25 22:59",
            )
        };
        assert_eq!(of("30 2 * * *"), ["2026-10-25 00:30"]);
        assert_eq!(of("0 3 * * *"), ["2026-10-25 02:00"]);
        assert_eq!(of("30 * * * *").len(), 25);
    }

    #[test]
    fn a_whole_day_that_a_zone_skips_is_one_time() {
        // Samoa had no 30 December 2011: after the 29th, at 10:00 UTC of the 30th, came the 31st.
        let of = |cron| due(cron, "Pacific/Apia", "2011-12-30 00:00", "2011-12-30 12:00");
        assert_eq!(of("0 12 30 12 *"), ["2011-12-30 10:00"]);
    }

    #[test]
    fn only_the_newest_of_missed_times_is_told_and_the_others_are_counted() {
        let table = Timetable::read("*/10 * * * *", None).unwrap();
        let newest = |from, to| table.newest(minute(from), minute(to));
        assert_eq!(
            newest("2026-01-01 00:00", "2026-01-01 00:35"),
            Some((minute("2026-01-01 00:30"), 2))
        );
        assert_eq!(
            newest("2026-01-01 00:30", "2026-01-01 00:39"),
            None,
            "the minute it is counted from does not count again"
        );
        assert_eq!(newest("2026-01-01 02:00", "2026-01-01 01:00"), None);
        let never = Timetable::read("0 0 31 2 *", None).unwrap();
        assert_eq!(
            never.newest(minute("2026-01-01 00:00"), minute("2027-01-01 00:00")),
            None
        );
    }

    #[test]
    fn what_cannot_be_read_is_said_in_words() {
        assert!(
            Timetable::read("0 0 * * *", Some("Europe/Nowhere"))
                .unwrap_err()
                .contains("no time zone is called `Europe/Nowhere`")
        );
        assert!(
            Timetable::read("0 0 * *", None)
                .unwrap_err()
                .contains("4 fields")
        );
    }
}
