//! Three machines on one PostgreSQL server, of which one dies before and after everything that it
//! writes for good, or at any moment: nothing is lost, nothing runs twice, and what is recorded
//! becomes true by itself.
//!
//! `./dev chaos` lets it die at every point (`RUNNER_CHAOS=all`) and at moments that a seed chooses,
//! `./dev test` at a few.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::chaos::{MOMENTS, is_whole, next, seed};
use crate::support::github::{GitHub, TOKEN};
use crate::support::machines::Machines;
use crate::support::postgres::Postgres;

/// How many points and how many moments a run of the tests looks at.
const FEW: u64 = 2;

/// The lease of these machines: what a machine had that never comes back is waited for each time.
const LEASE: (&str, &str) = ("RUNNER_LEASE", "6s");

/// How many machines there are; the first one is the one that dies.
const COUNT: usize = 3;

/// What came of one death.
#[derive(Debug, Default)]
struct Report {
    deaths: u32,
    runs: u32,
    /// How many runs failed since their machine was lost.
    lost_with_machine: u32,
    /// From the death until what is recorded was true.
    recovery: Duration,
}

impl Report {
    fn add(&mut self, other: &Self) {
        self.deaths += other.deaths;
        self.runs += other.runs;
        self.lost_with_machine += other.lost_with_machine;
        self.recovery = self.recovery.max(other.recovery);
    }
}

struct Scene {
    machines: Machines,
    github: GitHub,
}

/// Returns the variables of a machine that dies as `crash` says.
fn env(crash: &str) -> [(&'static str, &str); 3] {
    [LEASE, ("GITHUB_TEST_TOKEN", TOKEN), ("RUNNER_CRASH", crash)]
}

impl Scene {
    /// Returns machines that do not run yet, on a database of their own.
    fn new(postgres: &Arc<Postgres>) -> Self {
        let github = GitHub::start();
        let machines = Machines::new(Arc::clone(postgres), COUNT, &github.configuration());
        let note = machines.path().join("ran").display().to_string();
        for name in ["one", "two"] {
            machines.write(
                &format!("{name}.yml"),
                &format!(
                    "name: {name}\non: workflow_dispatch\njobs:\n  build:\n    runs-on: ubuntu-latest\n    steps: [{{ run: 'echo {name} build >> {note}' }}]\n  deploy:\n    needs: build\n    runs-on: ubuntu-latest\n    environment: production\n    concurrency: production\n    steps: [{{ run: 'echo {name} deploy >> {note}' }}]\n"
                ),
            );
        }
        machines.push("the workflows");
        Self { machines, github }
    }

    fn start(&mut self, number: usize, crash: &str) {
        self.machines.start(number, &env(crash));
    }

    /// Starts both workflows by hand, as fast as that goes.
    fn dispatch(&self) -> [String; 2] {
        ["one.yml", "two.yml"].map(|name| {
            self.machines.wait_for("a run to be taken in", || {
                // The refs are locked for a moment by a machine that fetches as well.
                let output = self
                    .machines
                    .command(0, &["dispatch", name])
                    .env("GITHUB_TEST_TOKEN", TOKEN)
                    .args(["--database", &self.machines.url()])
                    .output()
                    .unwrap();
                let run = String::from_utf8_lossy(&output.stdout).trim().to_owned();
                (!run.is_empty()).then_some(run)
            })
        })
    }

    /// Tells whether both runs ended and GitHub was told how.
    fn is_over(&self, runs: &[String]) -> bool {
        let is_completed = |run: &String| {
            let state = self.machines.state(run);
            state.is_some_and(|state| state["status"] == "completed")
        };
        if !runs.iter().all(is_completed) {
            return false;
        }
        let waiting = "SELECT COUNT(*) FROM posts WHERE sent_version < version";
        self.machines.ask_database(waiting).as_deref() == Some("0")
    }

    /// Counts the points that a machine passes while nothing goes wrong.
    fn points(mut self) -> u64 {
        self.start(0, "server:0");
        let runs = self.dispatch();
        self.machines
            .wait_for("the end", || self.is_over(&runs).then_some(()));
        let log = self.machines.log(0);
        let numbers = log.lines().filter_map(|line| {
            let (_, rest) = line.split_once("point ")?;
            rest.split_once(':')?.0.parse().ok()
        });
        numbers.max().unwrap()
    }

    /// Lets the first machine die at a point; it comes back at once, late, or never.
    fn die(mut self, point: u64, choice: u64) -> Report {
        let crash = format!("server:{point}");
        self.machines.spawn(0, &env(&crash));
        // It may die while it starts.
        self.machines.wait_until("a start, or a death", |machines| {
            machines.is_ready(0) || machines.has_died(0)
        });
        let runs = self.dispatch();
        let mut has_died = false;
        self.machines.wait_until("a death, or the end", |machines| {
            has_died = machines.has_died(0);
            has_died || Self::has_ended(machines, &runs)
        });
        if has_died && choice.is_multiple_of(2) {
            // Its jobs die with it, as by a power cut.
            self.machines.lose(0);
        }
        let began = Instant::now();
        for number in 1..COUNT {
            self.start(number, "");
        }
        if has_died && choice.is_multiple_of(3) {
            self.start(0, "");
        }
        let mut report = self.truth(&runs, began);
        report.deaths = u32::from(has_died);
        report
    }

    /// Kills one of three machines that all work, after some time.
    fn die_after(mut self, time: Duration, choice: u64) -> Report {
        for number in 0..COUNT {
            self.start(number, "");
        }
        let runs = self.dispatch();
        let end = Instant::now() + time;
        self.machines
            .wait_for("the moment", || (Instant::now() >= end).then_some(()));
        let victim = usize::try_from(choice).unwrap() % COUNT;
        if choice.is_multiple_of(2) {
            self.machines.lose(victim);
        } else {
            self.machines.kill(victim);
        }
        let began = Instant::now();
        if choice % 5 < 2 {
            self.start(victim, "");
        }
        let mut report = self.truth(&runs, began);
        report.deaths = 1;
        report
    }

    fn has_ended(machines: &Machines, runs: &[String]) -> bool {
        runs.iter().all(|run| {
            let state = machines.state(run);
            state.is_some_and(|state| state["status"] == "completed")
        })
    }

    /// Waits for the truth, and holds what is found against what must be.
    fn truth(self, runs: &[String; 2], began: Instant) -> Report {
        self.machines
            .wait_for("the truth", || self.is_over(runs).then_some(()));
        let mut report = Report {
            runs: 2,
            recovery: began.elapsed(),
            ..Report::default()
        };
        let mut ran = BTreeMap::new();
        for line in self.machines.lines("ran") {
            *ran.entry(line).or_insert(0) += 1;
        }
        assert!(ran.values().all(|count| *count == 1), "double: {ran:?}");
        for (run, name) in runs.iter().zip(["one", "two"]) {
            let state = self.machines.state(run).unwrap();
            if state["conclusion"] == "success" {
                for job in ["build", "deploy"] {
                    assert!(
                        ran.contains_key(&format!("{name} {job}")),
                        "lost: {ran:?} {state}"
                    );
                }
                continue;
            }
            report.lost_with_machine += 1;
            let jobs = state["jobs"].as_array().unwrap();
            let reasons = jobs.iter().filter(|job| job["conclusion"] == "failure");
            let reasons: Vec<&Value> = reasons.map(|job| &job["reason"]).collect();
            let is_explained = reasons.iter().any(|reason| {
                let reason = reason.as_str().unwrap_or_default();
                reason.contains("lost communication") || reason.contains("was killed or died")
            });
            assert!(is_explained, "{state}");
        }
        let list = self.machines.ask(&["runs", "list"]);
        assert_eq!(list.lines().count(), 2, "{list}");
        // No job is left that nobody knows of.
        for number in 0..COUNT {
            self.machines.wait_for("the last process to end", || {
                self.machines.jobs(number).is_empty().then_some(())
            });
        }
        // Of each commit and context GitHub heard last how it is.
        let open = self.github.deployment_states();
        assert!(
            open.last()
                .is_none_or(|state| !state.contains("in_progress")),
            "{open:?}"
        );
        report
    }
}

#[test]
fn a_machine_that_dies_at_any_write_or_moment_loses_nothing_and_runs_nothing_twice() {
    let postgres = Arc::new(Postgres::start());
    let all = Scene::new(&postgres).points();
    assert!(all > 20, "{all}");
    let mut state = seed();
    let points: Vec<u64> = if is_whole() {
        (1..=all).collect()
    } else {
        (0..FEW).map(|_| next(&mut state) % all + 1).collect()
    };
    let moments = if is_whole() { MOMENTS } else { FEW };
    let mut report = Report::default();
    for point in &points {
        let choice = next(&mut state);
        println!("point {point}, choice {choice}");
        report.add(&Scene::new(&postgres).die(*point, choice));
    }
    for _ in 0..moments {
        let (time, choice) = (next(&mut state) % 1_500, next(&mut state));
        println!("{time} ms, choice {choice}");
        let scene = Scene::new(&postgres);
        report.add(&scene.die_after(Duration::from_millis(time), choice));
    }
    println!(
        "chaos on three machines: {all} points, {} tried, {moments} moments, {} runs, {} deaths, 0 lost, 0 double, \
         {} failed with their machine, true again after at most {} ms (lease {})",
        points.len(),
        report.runs,
        report.deaths,
        report.lost_with_machine,
        report.recovery.as_millis(),
        LEASE.1,
    );
    assert!(report.deaths > 0);
}
