//! What was seen: counts, reasons, and in which order releases answered.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::connection::Wrong;

/// The least share of requests that must have been sent in time.
const ENOUGH: f64 = 0.95;

/// What became of the requests to one target.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sent: u64,
    pub(crate) kinds: BTreeMap<&'static str, u64>,
    pub(crate) reasons: BTreeMap<String, u64>,
    pub(crate) reconnects: u64,
    times: Vec<Duration>,
    /// The releases as they followed each other, each with when it answered first.
    releases: Vec<(String, Instant)>,
}

impl Tally {
    pub(crate) fn answered(&mut self, kind: &'static str, sent: Instant, release: Option<&str>) {
        self.sent += 1;
        *self.kinds.entry(kind).or_default() += 1;
        if kind != "slow" {
            self.times.push(sent.elapsed());
        }
        let Some(release) = release else {
            return;
        };
        // What was asked before the last change may still come from the release before it.
        let is_change = self
            .releases
            .last()
            .is_none_or(|(last, since)| last != release && sent > *since);
        if is_change {
            self.releases.push((release.to_owned(), Instant::now()));
        }
    }

    pub(crate) fn failed(&mut self, kind: &'static str, wrong: &Wrong) {
        self.sent += 1;
        *self.kinds.entry(kind).or_default() += 1;
        *self.reasons.entry(format!("{kind}: {wrong}")).or_default() += 1;
    }

    pub(crate) fn report(&self, url: &str) -> TargetReport {
        let mut times = self.times.clone();
        times.sort_unstable();
        let at = |percent: usize| {
            let place = (times.len() * percent / 100).min(times.len().saturating_sub(1));
            times
                .get(place)
                .map_or(0.0, |time| time.as_secs_f64() * 1000.0)
        };
        TargetReport {
            url: url.to_owned(),
            sent: self.sent,
            failed: self.reasons.values().sum(),
            kinds: self.kinds.clone(),
            reasons: self.reasons.clone(),
            releases: self.releases.iter().map(|(name, _)| name.clone()).collect(),
            reconnects: self.reconnects,
            median_ms: at(50),
            p99_ms: at(99),
        }
    }
}

/// What became of the requests to one target.
#[derive(Debug, Clone)]
pub struct TargetReport {
    /// What was asked.
    pub url: String,
    /// How many requests.
    pub sent: u64,
    /// How many of them failed.
    pub failed: u64,
    /// How many of each kind: `plain`, `new` (a connection of its own), `slow`, `post`, `http2`, `stream`,
    /// `socket`.
    pub kinds: BTreeMap<&'static str, u64>,
    /// How often a failure was seen.
    pub reasons: BTreeMap<String, u64>,
    /// The releases as they followed each other: an entry for each change, also for one back.
    pub releases: Vec<String>,
    /// How often the WebSocket was closed in order and opened again.
    pub reconnects: u64,
    /// Half of the answers took no longer; slow requests are left out.
    pub median_ms: f64,
    /// 99 of 100 answers took no longer; slow requests are left out.
    pub p99_ms: f64,
}

/// What became of all requests.
#[derive(Debug, Clone)]
pub struct Report {
    /// The rate that was wanted, for all targets together.
    pub rate: f64,
    /// How long requests were sent.
    pub seconds: f64,
    /// How many requests were due.
    pub due: u64,
    /// How many of them were sent too late to count as sent at the rate.
    pub late: u64,
    /// Each target.
    pub targets: Vec<TargetReport>,
}

impl Report {
    /// Tells whether enough was sent in time for the run to say anything.
    #[expect(
        clippy::cast_precision_loss,
        reason = "counts of requests are far below 2^52"
    )]
    pub fn is_valid(&self) -> bool {
        let wanted = self.rate * self.seconds;
        let in_time = self.due.saturating_sub(self.late) as f64;
        // The last one may not have been due yet.
        self.due > 0 && in_time + 1.0 >= wanted * ENOUGH
    }

    /// How many requests were answered wrongly or not at all.
    pub fn failed(&self) -> u64 {
        self.targets.iter().map(|target| target.failed).sum()
    }

    /// How many requests were sent.
    pub fn sent(&self) -> u64 {
        self.targets.iter().map(|target| target.sent).sum()
    }

    /// Tells whether the release changed exactly so often at every target: it never went back and
    /// forth in between.
    pub fn changed(&self, times: usize) -> bool {
        self.targets
            .iter()
            .all(|target| target.releases.len() == times + 1)
    }

    /// The time within which 99 of 100 answers came, at the target where that is longest.
    pub fn p99_ms(&self) -> f64 {
        let times = self.targets.iter().map(|target| target.p99_ms);
        times.fold(0.0, f64::max)
    }

    /// The same for programs.
    pub fn to_json(&self) -> Value {
        let targets = self.targets.iter().map(|one| {
            json!({
                "url": one.url, "sent": one.sent, "failed": one.failed, "kinds": one.kinds, "reasons": one.reasons,
                "releases": one.releases, "reconnects": one.reconnects,
                "median_ms": one.median_ms, "p99_ms": one.p99_ms,
            })
        });
        json!({
            "format": 1, "rate": self.rate, "seconds": self.seconds, "due": self.due, "late": self.late,
            "sent": self.sent(), "failed": self.failed(), "valid": self.is_valid(),
            "targets": targets.collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for one in &self.targets {
            let kinds = one
                .kinds
                .iter()
                .map(|(kind, count)| format!("{count} {kind}"));
            let kinds: Vec<_> = kinds.collect();
            writeln!(
                f,
                "{}: {} requests ({}), {} failed, answered by {}, median {:.1} ms, 99 % in {:.0} ms",
                one.url,
                one.sent,
                kinds.join(", "),
                one.failed,
                one.releases.join(" > "),
                one.median_ms,
                one.p99_ms,
            )?;
            for (reason, count) in &one.reasons {
                writeln!(f, "  {count} x {reason}")?;
            }
        }
        if !self.is_valid() {
            writeln!(
                f,
                "void: of {} requests {} were sent too late for {}/s",
                self.due, self.late, self.rate
            )?;
        }
        write!(
            f,
            "{} requests at {}/s in {:.1} s, {} failed",
            self.sent(),
            self.rate,
            self.seconds,
            self.failed()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_answer_of_the_old_release_is_no_way_back() {
        let mut tally = Tally::default();
        let before = Instant::now();
        tally.answered("plain", before, Some("v1"));
        tally.answered("plain", Instant::now(), Some("v2"));
        tally.answered("slow", before, Some("v1"));
        tally.answered("plain", Instant::now(), Some("v2"));
        assert_eq!(tally.report("").releases, ["v1", "v2"]);
        tally.answered("plain", Instant::now(), Some("v1"));
        assert_eq!(tally.report("").releases, ["v1", "v2", "v1"]);
    }

    #[test]
    fn a_run_below_its_rate_is_void() {
        let run = |due, late| Report {
            rate: 100.0,
            seconds: 10.0,
            due,
            late,
            targets: Vec::new(),
        };
        assert!(run(1000, 0).is_valid() && run(1000, 50).is_valid());
        assert!(!run(1000, 52).is_valid() && !run(900, 0).is_valid() && !run(0, 0).is_valid());
    }
}
