//! Starts what is due by `schedule`: once for each time, whoever looks and whatever the clock does.
//!
//! # How it works
//! The store knows until which minute the schedules of a repository were looked at. A look takes the
//! newest time since then at which a workflow of the default branch was due, and submits it under a
//! key of workflow, schedule and minute: several machines, a crash in between and a clock that is
//! turned back come to the same key, which starts one run.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::poll::{self, PollError};
use crate::diagnostic::chain;
use crate::event::TriggerEvent;
use crate::expression::Object;
use crate::plan::{Minute, Timetable};
use crate::scheduler::{Incoming, Ledger, Repository, Submitted, parse_workflow, submit};
use crate::store::EventRow;

/// The longest time between two looks at the clock: one that jumps is noticed within it.
const TICK: Duration = Duration::from_secs(15);

/// How long after its time a run is as good as in time, in minutes.
const GRACE: i64 = 2;

/// How far back missed times are looked for, in minutes: a week.
const LOOK_BACK: i64 = 7 * 24 * 60;

/// A clock that was turned back further, in minutes, was wrong before: schedules follow it at once.
const TURNED_BACK: i64 = 60;

/// Looks at the schedules of a repository every minute.
#[derive(Debug, Clone)]
pub struct Schedules {
    /// Where runs go, and whose clock counts.
    pub ledger: Ledger,
    /// Whose schedules.
    pub repository: Repository,
    /// How long after its time something that was missed still runs.
    pub catch_up: Duration,
}

/// An entry of `schedule` of a workflow.
#[derive(Debug, Clone)]
struct Entry {
    path: String,
    cron: String,
    timezone: Option<String>,
    timetable: Timetable,
}

/// The schedules of commits that were read: one, unless a push comes while it is looked.
pub type ReadSchedules = HashMap<String, ScheduleEntries>;

/// The schedules of a commit.
#[derive(Debug, Clone)]
pub struct ScheduleEntries(Vec<Entry>);

impl Schedules {
    /// Looks until it is stopped; what fails is said, and tried again.
    pub async fn run(self, stop: CancellationToken) {
        let mut read = ReadSchedules::new();
        let mut is_told = false;
        loop {
            match self.look(&mut read).await {
                Ok(_) => is_told = false,
                Err(error) => {
                    if !std::mem::replace(&mut is_told, true) {
                        let why = chain(&error);
                        tracing::error!(repository = self.repository.name, "schedules wait: {why}");
                    }
                }
            }
            let left = 60_000 - self.ledger.now().0.rem_euclid(60_000);
            let left = Duration::from_millis(u64::try_from(left).unwrap_or(0));
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(left.min(TICK)) => {}
            }
        }
    }

    /// Looks once: what was due since the last look starts, the newest time of each entry only.
    ///
    /// The first look only remembers the minute. What was due longer ago than `catch_up` does not
    /// run; that, and what runs late, is told among the events.
    pub async fn look(&self, read: &mut ReadSchedules) -> Result<Vec<Submitted>, PollError> {
        let name = &self.repository.name;
        let now = Minute::of(self.ledger.now());
        let Some(seen) = self.ledger.schedules_seen(name).await?.map(Minute::of) else {
            self.ledger.set_schedules_seen(name, now.start()).await?;
            return Ok(Vec::new());
        };
        if now.0 < seen.0 - TURNED_BACK {
            tracing::warn!(
                repository = name,
                "the clock was turned back from {seen} to {now}: schedules go on from here"
            );
            self.ledger.set_schedules_seen(name, now.start()).await?;
            return Ok(Vec::new());
        }
        if now <= seen {
            return Ok(Vec::new());
        }
        let from = Minute(seen.0.max(now.0 - LOOK_BACK));
        let mut submitted = Vec::new();
        let is_due = |entry: &Entry| entry.timetable.newest(from, now).is_some();
        let known = self.entries(read).await?;
        if known.is_some_and(|(_, entries)| entries.0.iter().any(is_due)) {
            // The newest workflow counts, also one that was pushed since the last look.
            match poll::look(&self.ledger, &self.repository).await {
                Ok(seen) => submitted = seen,
                Err(error) => {
                    let why = chain(&error);
                    tracing::warn!(
                        repository = name,
                        "schedules of the known commit run: {why}"
                    );
                }
            }
            if let Some((sha, entries)) = self.entries(read).await? {
                for entry in entries.0.iter().filter(|entry| is_due(entry)) {
                    submitted.extend(self.start(entry, &sha, (from, now)).await?);
                }
            }
        }
        self.ledger.set_schedules_seen(name, now.start()).await?;
        Ok(submitted)
    }

    /// Returns the newest commit of the default branch that is known, and its schedules.
    async fn entries(
        &self,
        read: &mut ReadSchedules,
    ) -> Result<Option<(String, ScheduleEntries)>, PollError> {
        let refs = self.ledger.refs(&self.repository.name).await?;
        let Some(sha) = refs.get(&self.default_ref()) else {
            return Ok(None);
        };
        if let Some(entries) = read.get(sha) {
            return Ok(Some((sha.clone(), entries.clone())));
        }
        let texts = {
            let (repository, sha) = (self.repository.clone(), sha.clone());
            tokio::task::spawn_blocking(move || {
                // Another machine may have told of it.
                if !repository.mirror.has(&sha) {
                    repository.mirror.fetch(&repository.credentials)?;
                }
                repository.workflow_texts(&sha)
            })
        };
        let texts = texts.await.map_err(PollError::Lost)??;
        let mut entries = Vec::new();
        for (path, text) in texts {
            // A file that is not valid is told of at the push that brought it.
            let Ok((file, _)) = parse_workflow(text, &path) else {
                continue;
            };
            for schedule in file.workflow.on.schedule {
                let timezone = schedule.timezone.map(|zone| zone.value);
                match Timetable::read(&schedule.cron.value, timezone.as_deref()) {
                    Ok(timetable) => entries.push(Entry {
                        path: path.clone(),
                        cron: schedule.cron.value,
                        timezone,
                        timetable,
                    }),
                    Err(why) => {
                        tracing::error!(
                            repository = self.repository.name,
                            "a schedule of {path} does not run: {why}"
                        );
                    }
                }
            }
        }
        read.clear();
        let entries = ScheduleEntries(entries);
        read.insert(sha.clone(), entries.clone());
        Ok(Some((sha.clone(), entries)))
    }

    fn default_ref(&self) -> String {
        format!("refs/heads/{}", self.repository.default_branch)
    }

    /// Starts an entry for its newest time, unless that is too long ago.
    async fn start(
        &self,
        entry: &Entry,
        sha: &str,
        (from, now): (Minute, Minute),
    ) -> Result<Option<Submitted>, PollError> {
        let Some((due, earlier)) = entry.timetable.newest(from, now) else {
            return Ok(None);
        };
        let late = now.0 - due.0;
        let catch_up = i64::try_from(self.catch_up.as_secs() / 60).unwrap_or(i64::MAX);
        let runs = late <= catch_up.max(GRACE);
        if late > GRACE || earlier > 0 {
            self.tell_late(entry, sha, (due, earlier, runs)).await?;
        }
        if !runs {
            return Ok(None);
        }
        let submitted =
            submit(&self.ledger, &self.repository, &self.event(entry, sha, due)).await?;
        for verdict in &submitted.verdicts {
            tracing::info!(repository = self.repository.name, "{verdict}");
        }
        Ok(Some(submitted))
    }

    /// Tells among the events of a time at which nobody looked.
    async fn tell_late(
        &self,
        entry: &Entry,
        sha: &str,
        (due, earlier, runs): (Minute, usize, bool),
    ) -> Result<(), PollError> {
        let before = match earlier {
            0 => String::new(),
            1 => ", and once before,".to_owned(),
            times => format!(", and {times} times before,"),
        };
        let follows = if runs {
            "it runs now, once".to_owned()
        } else {
            format!(
                "it does not run, since that is longer ago than `catch-up` ({})",
                humantime::format_duration(self.catch_up)
            )
        };
        let words = format!(
            "`{}` of {} was due at {due}{before} when no server looked: {follows}",
            entry.cron, entry.path
        );
        tracing::warn!(repository = self.repository.name, "{words}");
        let row = EventRow {
            repository: self.repository.name.clone(),
            event_key: format!("missed {}", entry.key(due)),
            event: "schedule".to_owned(),
            git_ref: self.default_ref(),
            sha: sha.to_owned(),
            outcome: self.repository.masker().mask(&words).as_str().to_owned(),
            at: self.ledger.now(),
        };
        self.ledger.take_in(&row, None, &[], &[]).await?;
        Ok(())
    }

    fn event(&self, entry: &Entry, sha: &str, due: Minute) -> Incoming {
        let name = &self.repository.name;
        let (owner, short) = name.split_once('/').unwrap_or(("local", name));
        let author = self
            .repository
            .mirror
            .commit(sha)
            .unwrap_or_default()
            .author;
        let payload = json!({
            "schedule": entry.cron, "workflow": entry.path,
            "repository": {
                "name": short, "full_name": name, "owner": {"login": owner},
                "default_branch": self.repository.default_branch,
            },
            "sender": {"login": author},
        });
        Incoming {
            event: TriggerEvent::new("schedule", payload),
            key: entry.key(due),
            git_ref: self.default_ref(),
            sha: sha.to_owned(),
            moved: None,
            seen_from: None,
            workflow: Some(entry.path.clone()),
            inputs: Object::new(),
            is_fork: false,
            awaits_approval: false,
        }
    }
}

impl Entry {
    /// What makes a time of it one event.
    fn key(&self, due: Minute) -> String {
        let zone = self.timezone.as_deref().unwrap_or("UTC");
        format!("schedule {} {} {zone} {due}", self.path, self.cron)
    }
}

#[cfg(test)]
mod tests;
