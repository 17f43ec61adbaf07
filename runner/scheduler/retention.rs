//! Removes old logs and forgets old runs, so that a disk does not fill up over months.
//!
//! # How it works
//! Never removed are runs that did not end, the newest run of each workflow and of each branch that
//! is there, and the last successful deploy of each environment: neither they nor their logs. Of the
//! others the logs go by age, then the oldest until all logs fit the size, and runs go by age with
//! their jobs. A log whose run is not known any more goes, too: each machine removes those that lie
//! on its own disk, whoever forgot the run.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use super::ledger::{Ledger, LedgerError};
use crate::diagnostic::chain;
use crate::run::{RunId, Timestamp};

/// How often it is done by itself.
const EVERY: Duration = Duration::from_secs(60 * 60);

/// GitHub delivers again what is not older than this, and a key must be known for as long.
///
/// Source: GitHub, "Redelivering webhooks": 3 days; a month is on the safe side.
const MIN_EVENTS: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A log whose run is not known is left alone for so long: its run may just be taken in.
const UNKNOWN: Duration = Duration::from_secs(60 * 60);

/// How long what is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Logs, after the end of their run.
    pub logs: Duration,
    /// How large all logs of this machine together may be, in bytes.
    pub logs_size: u64,
    /// Runs, after their end; and events.
    pub runs: Duration,
}

/// What is, or would be, removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The runs whose logs go, with the size of these in bytes.
    pub logs: Vec<(RunId, u64)>,
    /// The runs that are forgotten.
    pub runs: Vec<RunId>,
    /// How many events, deliveries and posts are forgotten.
    pub events: u64,
}

/// Removes what is older than it may be.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Where runs are.
    pub ledger: Ledger,
    /// Where the logs of this machine are.
    pub spools: PathBuf,
    /// How long what is kept.
    pub keep: Keep,
}

impl Retention {
    /// Removes every hour until it is stopped; what fails is said, and tried again.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            match self.prune(false).await {
                Ok(pruned) if pruned != Pruned::default() => {
                    tracing::info!(
                        "removed {} old logs, {} old runs and {} old events",
                        pruned.logs.len(),
                        pruned.runs.len(),
                        pruned.events
                    );
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(error = %chain(&error), "nothing old could be removed");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// Removes what is older than it may be; only says so where `is_dry`.
    pub async fn prune(&self, is_dry: bool) -> Result<Pruned, LedgerError> {
        let now = self.ledger.now();
        let old = self.ledger.old_runs().await?;
        let ended: BTreeMap<RunId, Timestamp> = old
            .into_iter()
            .map(|run| (run.id, run.finished_at))
            .collect();
        let mut pruned = Pruned {
            logs: self.old_logs(&ended, now).await?,
            runs: ended
                .iter()
                .filter(|(_, end)| **end < before(now, self.keep.runs))
                .map(|(id, _)| id.clone())
                .collect(),
            events: 0,
        };
        if is_dry {
            return Ok(pruned);
        }
        for (run, _) in &pruned.logs {
            let folder = self.spools.join(&run.0);
            if let Err(error) = remove(folder).await {
                tracing::warn!(%run, %error, "the log of a run could not be removed");
            }
        }
        self.ledger.forget_runs(&pruned.runs).await?;
        let events = before(now, self.keep.runs.max(MIN_EVENTS));
        pruned.events = self.ledger.forget_events(events).await?;
        Ok(pruned)
    }

    /// Returns the logs that go, the oldest first.
    async fn old_logs(
        &self,
        ended: &BTreeMap<RunId, Timestamp>,
        now: Timestamp,
    ) -> Result<Vec<(RunId, u64)>, LedgerError> {
        let spools = self.spools.clone();
        let found = tokio::task::spawn_blocking(move || logs(&spools)).await;
        let found = found.unwrap_or_default();
        let mut size: u64 = found.iter().map(|log| log.size).sum();
        let mut candidates = Vec::new();
        for log in found {
            match ended.get(&log.run) {
                Some(end) => candidates.push((*end, log)),
                None if log.is_older_than(UNKNOWN) && !self.ledger.has_run(&log.run).await? => {
                    candidates.push((Timestamp(i64::MIN), log));
                }
                None => {}
            }
        }
        candidates.sort_by_key(|(end, log)| (*end, log.number()));
        let mut removed = Vec::new();
        for (end, log) in candidates {
            let is_old = end < before(now, self.keep.logs.min(self.keep.runs));
            if is_old || size > self.keep.logs_size {
                size = size.saturating_sub(log.size);
                removed.push((log.run, log.size));
            }
        }
        Ok(removed)
    }
}

fn before(now: Timestamp, by: Duration) -> Timestamp {
    let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
    Timestamp(now.0.saturating_sub(by))
}

/// The log of a run on this machine.
#[derive(Debug)]
struct Log {
    run: RunId,
    size: u64,
    changed: Option<SystemTime>,
}

impl Log {
    fn number(&self) -> u64 {
        self.run.0.parse().unwrap_or(0)
    }

    fn is_older_than(&self, age: Duration) -> bool {
        let passed = self.changed.and_then(|changed| changed.elapsed().ok());
        passed.is_some_and(|passed| passed > age)
    }
}

/// Finds all logs below a folder; what is no log of a run is none of ours.
fn logs(spools: &Path) -> Vec<Log> {
    let entries = fs::read_dir(spools).into_iter().flatten().flatten();
    let runs = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let is_run = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        (is_run && is_folder).then(|| (RunId(name), entry.path()))
    });
    runs.map(|(run, folder)| {
        let (mut size, mut changed) = (0, None);
        let mut folders = vec![folder];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let Ok(about) = entry.metadata() else {
                    continue;
                };
                if about.is_dir() {
                    folders.push(entry.path());
                } else {
                    size += about.len();
                }
                changed = changed.max(about.modified().ok());
            }
        }
        Log { run, size, changed }
    })
    .collect()
}

async fn remove(folder: PathBuf) -> io::Result<()> {
    let removed = tokio::task::spawn_blocking(move || fs::remove_dir_all(folder)).await;
    removed.unwrap_or_else(|error| Err(io::Error::other(error)))
}
