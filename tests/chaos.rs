//! A server and its jobs die before and after everything that they write for good: nothing is lost,
//! nothing runs twice, and what is recorded becomes true by itself.
//!
//! `./dev chaos` dies at every point (`RUNNER_CHAOS=all`) and at moments that a seed chooses, `./dev
//! test` at a few.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::time::{Duration, Instant};

use crate::support::github::{GitHub, TOKEN};
use crate::support::server::Server;

/// How many points a run of the tests dies at.
const FEW: usize = 6;

/// How many moments are chosen by the seed where all points are tried.
pub(crate) const MOMENTS: u64 = 200;

/// Two jobs, one after the other, each of which notes that it ran; the second is a deployment.
fn workflow(server: &Server) -> String {
    let note = format!("{}/ran", server.path().display());
    format!(
        "name: CI\non: push\njobs:\n  one:\n    runs-on: ubuntu-latest\n    outputs: {{ said: '${{{{ steps.say.outputs.said }}}}' }}\n    steps:\n      - id: say\n        run: echo one >> {note}; echo \"said=hello\" >> \"$GITHUB_OUTPUT\"\n  two:\n    needs: one\n    runs-on: ubuntu-latest\n    environment: production\n    steps:\n      - run: echo two ${{{{ needs.one.outputs.said }}}} >> {note}\n"
    )
}

/// What came of one death.
struct Report {
    /// Whether the process died at all.
    has_died: bool,
    /// From the start of the next server until what is recorded was true.
    recovery: Duration,
}

struct Scene {
    server: Server,
    github: GitHub,
}

impl Scene {
    /// Returns a server that has looked at its repository once, and was stopped.
    fn new() -> Self {
        let github = GitHub::start();
        let mut server = Server::new(&[]).configure(&github.configuration());
        let text = workflow(&server);
        server.write("tree/pipelines/ci.yml", &text);
        server.push("the workflow");
        server.start_with(&[("GITHUB_TEST_TOKEN", TOKEN)]);
        server.stop();
        Self { server, github }
    }

    fn ran(&self) -> Vec<String> {
        let text = fs::read_to_string(self.server.path().join("ran")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Lets the server die as `crash` says while it runs what is pushed, starts the next one, and
    /// holds what it finds against what must be true.
    fn die(mut self, crash: &str) -> Report {
        self.server
            .start_with(&[("GITHUB_TEST_TOKEN", TOKEN), ("RUNNER_CRASH", crash)]);
        let sha = self.server.push("go");
        let has_died = self
            .server
            .died_or(|server| is_over(server, &self.github, &sha));
        self.next(&sha, has_died, "success")
    }

    /// The same with a kill from outside, after some time.
    fn die_after(mut self, time: Duration) -> Report {
        self.server.start_with(&[("GITHUB_TEST_TOKEN", TOKEN)]);
        let sha = self.server.push("go");
        let end = Instant::now() + time;
        self.server
            .wait_for("the moment", || (Instant::now() >= end).then_some(()));
        self.server.kill();
        self.next(&sha, true, "success")
    }

    fn next(mut self, sha: &str, has_died: bool, expected: &str) -> Report {
        let began = Instant::now();
        if has_died {
            self.server.start_with(&[("GITHUB_TEST_TOKEN", TOKEN)]);
        }
        self.server.wait_for("the truth", || {
            is_over(&self.server, &self.github, sha).then_some(())
        });
        let recovery = began.elapsed();
        let state = self.server.state("1").unwrap();
        assert_eq!(
            state["conclusion"],
            expected,
            "{state}\n{}",
            self.server.log()
        );
        if expected == "success" {
            assert_eq!(self.ran(), ["one", "two hello"], "{}", self.server.log());
            assert_eq!(self.github.deployments().len(), 1);
        }
        let list = self.server.ask(&["runs", "list"]);
        assert_eq!(list.lines().count(), 1, "{list}");
        self.server.stop();
        Report { has_died, recovery }
    }
}

/// Tells whether a run ended and GitHub was told how: by a status, and where the run deployed by the
/// state of its deployment.
fn is_over(server: &Server, github: &GitHub, sha: &str) -> bool {
    let Some(state) = server.state("1") else {
        return false;
    };
    let last = github.statuses(sha).pop();
    let is_told = last.is_some_and(|status| status.1 != "pending");
    let deployed = github.deployment_states().pop();
    let is_deployed = match deployed {
        Some(deployed) => !deployed.contains("in_progress"),
        None => state["conclusion"] != "success",
    };
    state["status"] == "completed" && is_told && is_deployed
}

pub(crate) fn seed() -> u64 {
    env::var("RUNNER_CHAOS_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1)
}

pub(crate) fn is_whole() -> bool {
    env::var("RUNNER_CHAOS").is_ok_and(|word| word == "all")
}

/// The next number of a simple generator: enough to choose moments, and the same for a seed.
pub(crate) fn next(state: &mut u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

/// Counts the points that a server passes while nothing goes wrong.
fn points() -> u64 {
    let mut scene = Scene::new();
    scene
        .server
        .start_with(&[("GITHUB_TEST_TOKEN", TOKEN), ("RUNNER_CRASH", "server:0")]);
    let sha = scene.server.push("go");
    scene.server.wait_for("the end", || {
        is_over(&scene.server, &scene.github, &sha).then_some(())
    });
    let log = scene.server.stop();
    let numbers = log.lines().filter_map(|line| {
        let (_, rest) = line.split_once("point ")?;
        rest.split_once(':')?.0.parse().ok()
    });
    numbers.max().unwrap()
}

#[test]
fn a_server_that_dies_at_any_write_loses_nothing_and_runs_nothing_twice() {
    let all = points();
    // Posts that are replaced before they are sent make it a few more or less.
    assert!(all > 10, "{all}");
    let mut state = seed();
    let chosen: BTreeSet<u64> = if is_whole() {
        (1..=all).collect()
    } else {
        (0..FEW).map(|_| next(&mut state) % all + 1).collect()
    };
    let mut deaths = 0;
    let mut longest = Duration::ZERO;
    for point in &chosen {
        let report = Scene::new().die(&format!("server:{point}"));
        deaths += usize::from(report.has_died);
        longest = longest.max(report.recovery);
    }
    if is_whole() {
        for _ in 0..MOMENTS {
            let report = Scene::new().die_after(Duration::from_millis(next(&mut state) % 1_000));
            deaths += 1;
            longest = longest.max(report.recovery);
        }
    }
    println!(
        "chaos: {all} points, {} tried, {deaths} deaths, 0 lost, 0 double, true again after at most {} ms",
        chosen.len(),
        longest.as_millis()
    );
    assert!(deaths > 0);
}

#[test]
fn a_job_that_dies_is_a_failure_or_ended_and_never_runs_twice() {
    // The points of a job's process: before and after its life begins, before and after its end is
    // written. What is written counts; what is not is a failure, and begins again only where it
    // never began.
    for (crash, expected) in [
        ("job:1", "failure"),
        ("job:2", "failure"),
        ("job:3", "failure"),
        ("job:4", "success"),
    ] {
        let mut scene = Scene::new();
        scene
            .server
            .start_with(&[("GITHUB_TEST_TOKEN", TOKEN), ("RUNNER_CRASH", crash)]);
        let sha = scene.server.push("go");
        let ran = scene.server.path().join("ran");
        let report = scene.next(&sha, false, expected);
        assert!(!report.has_died);
        let text = fs::read_to_string(ran).unwrap_or_default();
        let ones = text.lines().filter(|line| *line == "one").count();
        assert!(ones <= 1, "{crash}: {text}");
    }
}
