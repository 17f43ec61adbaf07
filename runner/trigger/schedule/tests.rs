//! Schedules of a real repository in a real store, by a clock that the test turns.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::engine::Labels;
use crate::run::Timestamp;
use crate::store::{RunFilter, Store};

/// 2026-01-05 04:00 UTC, a Monday.
const FOUR: i64 = 1_767_585_600_000;
const MINUTE: i64 = 60_000;

struct Bench {
    folder: tempfile::TempDir,
    clock: Arc<AtomicI64>,
    machines: Vec<Schedules>,
    read: ReadSchedules,
}

fn git(folder: &Path, arguments: &[&str]) {
    let status = Command::new("git")
        .args(["-c", "user.name=Tess", "-c", "user.email=t@example.com"])
        .args(arguments)
        .current_dir(folder)
        .status()
        .unwrap();
    assert!(status.success(), "git {arguments:?}");
}

fn workflow(schedule: &str) -> String {
    format!(
        "on: {{ schedule: [{schedule}] }}\njobs:\n  a: {{ runs-on: ubuntu-latest, steps: [{{ run: echo }}] }}\n"
    )
}

impl Bench {
    /// A repository with one workflow, looked at once at four o'clock, by so many machines.
    async fn new(schedule: &str, machines: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        std::fs::create_dir_all(tree.join("pipelines")).unwrap();
        git(&tree, &["init", "-q", "-b", "main"]);
        let clock = Arc::new(AtomicI64::new(FOUR));
        let store = Store::open_file(&folder.path().join("runner.db"))
            .await
            .unwrap();
        let mut bench = Self {
            folder,
            clock: Arc::clone(&clock),
            machines: Vec::new(),
            read: ReadSchedules::new(),
        };
        bench.push(&workflow(schedule));
        for number in 0..machines {
            let clock = Arc::clone(&clock);
            let now = Arc::new(move || Timestamp(clock.load(Ordering::SeqCst)));
            let mirrors = bench.folder.path().join(number.to_string());
            let url = bench.folder.path().join("tree").display().to_string();
            let mut repository = Repository::new("acme/demo", &url, &mirrors);
            repository.vars.insert("A".to_owned(), "b".to_owned());
            bench.machines.push(Schedules {
                ledger: Ledger::new(store.clone(), now, Labels::default()),
                repository,
                catch_up: Duration::from_secs(60 * 60),
            });
        }
        for machine in &bench.machines {
            poll::look(&machine.ledger, &machine.repository)
                .await
                .unwrap();
        }
        bench.look().await;
        bench
    }

    fn push(&self, text: &str) {
        let tree = self.folder.path().join("tree");
        std::fs::write(tree.join("pipelines/nightly.yml"), text).unwrap();
        git(&tree, &["add", "-A"]);
        git(&tree, &["commit", "-q", "--allow-empty", "-m", "a change"]);
    }

    /// Turns the clock to so many minutes after four.
    fn turn(&self, minutes: i64) {
        self.clock.store(FOUR + minutes * MINUTE, Ordering::SeqCst);
    }

    /// Every machine looks once.
    async fn look(&mut self) {
        for machine in &self.machines {
            machine.look(&mut self.read).await.unwrap();
        }
    }

    async fn at(&mut self, minutes: i64) {
        self.turn(minutes);
        self.look().await;
    }

    /// The events that started runs, the oldest first.
    async fn started(&self) -> Vec<String> {
        let runs = self.machines[0]
            .ledger
            .runs(&RunFilter::default())
            .await
            .unwrap();
        runs.into_iter().rev().map(|run| run.event_key).collect()
    }

    async fn outcomes(&self) -> String {
        let events = self.machines[0].ledger.events(50).await.unwrap();
        let words: Vec<String> = events.into_iter().map(|event| event.outcome).collect();
        words.join("\n")
    }
}

#[tokio::test]
async fn what_is_due_runs_once_however_many_machines_look() {
    let mut bench = Bench::new("{ cron: '30 5 * * 1-5', timezone: Europe/Berlin }", 3).await;
    bench.at(29).await;
    assert!(bench.started().await.is_empty());
    bench.at(30).await;
    bench.look().await;
    bench.at(31).await;
    assert_eq!(
        bench.started().await,
        ["schedule pipelines/nightly.yml 30 5 * * 1-5 Europe/Berlin 2026-01-05 04:30 UTC"]
    );
    let run = &bench.machines[0]
        .ledger
        .runs(&RunFilter::default())
        .await
        .unwrap()[0];
    assert_eq!(
        (run.event.as_str(), run.git_ref.as_str(), run.actor.as_str()),
        ("schedule", "refs/heads/main", "Tess")
    );
    let document: serde_json::Value = serde_json::from_str(&run.document).unwrap();
    assert_eq!(document["github"]["event"]["schedule"], "30 5 * * 1-5");
    assert_eq!(document["github"]["ref"], "refs/heads/main");
}

#[tokio::test]
async fn the_newest_workflow_of_the_default_branch_counts() {
    let mut bench = Bench::new("{ cron: '10 4 * * *' }", 1).await;
    // Nobody looked since this push; the old file is due, the new one is not.
    bench.push(&workflow("{ cron: '20 4 * * *' }"));
    bench.at(10).await;
    assert!(bench.started().await.is_empty());
    bench.at(20).await;
    assert_eq!(bench.started().await.len(), 1);
}

#[tokio::test]
async fn of_missed_times_the_newest_runs_and_it_is_said() {
    let mut bench = Bench::new("{ cron: '*/10 * * * *' }", 2).await;
    bench.at(35).await;
    assert_eq!(
        bench.started().await,
        ["schedule pipelines/nightly.yml */10 * * * * UTC 2026-01-05 04:30 UTC"]
    );
    let words = bench.outcomes().await;
    assert!(
        words.contains("was due at 2026-01-05 04:30 UTC, and 2 times before, when no server looked: it runs now, once"),
        "{words}"
    );
}

#[tokio::test]
async fn what_was_missed_too_long_ago_does_not_run_and_it_is_said() {
    let mut bench = Bench::new("{ cron: '10 4 * * *' }", 1).await;
    bench.at(10 + 61).await;
    assert!(bench.started().await.is_empty());
    let words = bench.outcomes().await;
    assert!(
        words.contains("it does not run, since that is longer ago than `catch-up` (1h)"),
        "{words}"
    );
    // The next day it does.
    bench.at(10 + 24 * 60).await;
    assert_eq!(bench.started().await.len(), 1);
}

#[tokio::test]
async fn a_clock_that_jumps_neither_doubles_nor_storms() {
    let mut bench = Bench::new("{ cron: '*/5 * * * *' }", 2).await;
    bench.at(5).await;
    assert_eq!(bench.started().await.len(), 1);
    // Back by a little: the same minutes come again.
    bench.at(2).await;
    bench.at(5).await;
    assert_eq!(bench.started().await.len(), 1);
    // Ahead by ten years: one run, not a million.
    bench.at(10 * 365 * 24 * 60).await;
    assert_eq!(bench.started().await.len(), 2);
    // Back again: schedules go on from there, and what ran stays run.
    bench.at(4).await;
    bench.at(5).await;
    assert_eq!(bench.started().await.len(), 2);
    bench.at(10).await;
    assert_eq!(bench.started().await.len(), 3);
}
