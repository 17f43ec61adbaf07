//! Runners that are killed before or after any operation: the next command, from this machine or another one, ends
//! what was left open, and nothing of it is ever seen by those who ask the application.
//!
//! Each scenario is carried out once to count its points, then killed at some of them; `./dev faults` takes all of
//! them (`RUNNER_FAULTS=all`), `./dev test` a few that `RUNNER_FAULTS_SEED` chooses.

use std::{env, process::Command};

use crate::support::{
    found::{ended, running},
    project::{MIGRATES, X_RUNNER, address, deploy_yml},
    scene::{ONE, Scene, TWO},
    stub::{Ended, StubProject},
};

/// How many points of each scenario are part of the ordinary tests.
const FEW: usize = 2;

/// One kind of a transaction that is killed.
struct Scenario {
    name: &'static str,
    /// Servers of the release that runs before.
    before: &'static [u8],
    /// Servers of the release that is deployed.
    after: &'static [u8],
    /// Configurations of the two.
    configurations: [String; 2],
    what: What,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Deploy,
    Rollback,
    Workflow,
    /// A deploy of a release that never passes its gate.
    Broken,
}

/// How what was killed is ended.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// By `deploy --undo`, which does nothing else.
    Undo,
    /// By the same command once more.
    Again,
}

fn with_worker(web: &[u8], worker: u8, more: &str) -> String {
    let role = format!(
        "  worker:\n    hosts: [{}]\n    cmd: stub worker\nproxy:\n",
        address(worker)
    );
    deploy_yml(web, more).replacen("proxy:\n", &role, 1)
}

fn scenario(name: &'static str, what: What, configuration: String) -> Scenario {
    Scenario {
        name,
        before: &[ONE],
        after: &[ONE],
        configurations: [configuration.clone(), configuration],
        what,
    }
}

#[test]
fn a_deploy_that_is_killed_is_ended_by_the_next_command() {
    stand(&scenario(
        "deploy",
        What::Deploy,
        with_worker(&[ONE], ONE, MIGRATES),
    ));
}

#[test]
fn a_rollback_that_is_killed_is_ended_by_the_next_command() {
    stand(&scenario(
        "rollback",
        What::Rollback,
        deploy_yml(&[ONE], X_RUNNER),
    ));
}

#[test]
fn a_workflow_that_is_killed_is_ended_by_the_next_command() {
    stand(&scenario(
        "workflow",
        What::Workflow,
        deploy_yml(&[ONE], MIGRATES),
    ));
}

#[test]
fn a_deploy_that_is_killed_while_it_fails_is_undone_by_the_next_command() {
    stand(&scenario(
        "failing",
        What::Broken,
        deploy_yml(&[ONE], X_RUNNER),
    ));
}

#[test]
fn a_deploy_to_a_fleet_that_is_killed_is_ended_everywhere_by_the_next_command() {
    let configuration = with_worker(&[ONE, TWO], TWO, X_RUNNER);
    stand(&Scenario {
        before: &[ONE, TWO],
        after: &[ONE, TWO],
        ..scenario("fleet", What::Deploy, configuration)
    });
}

#[test]
fn a_deploy_by_which_a_server_and_a_role_leave_is_ended_by_the_next_command() {
    let configurations = [
        with_worker(&[ONE, TWO], ONE, X_RUNNER),
        deploy_yml(&[ONE], X_RUNNER),
    ];
    stand(&Scenario {
        before: &[ONE, TWO],
        configurations,
        ..scenario("leaving", What::Deploy, String::new())
    });
}

/// Kills a scenario at points of it, and holds what the next command makes of each.
fn stand(scenario: &Scenario) {
    let all = env::var("RUNNER_FAULTS").is_ok_and(|word| word == "all");
    let only = env::var("RUNNER_FAULTS_ONLY").ok();
    if only.is_some_and(|only| !only.is_empty() && only != scenario.name) {
        return;
    }
    let seed: u64 = env::var("RUNNER_FAULTS_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    let mut trial = Trial::begin(scenario);
    let points = trial.count();
    // Another choice for each scenario.
    let mut chance = Chance(scenario.name.bytes().fold(seed, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(byte))
    }));
    let chosen: Vec<usize> = if all {
        (1..=points).collect()
    } else {
        (0..FEW).map(|_| 1 + chance.below(points)).collect()
    };
    println!("{}: {points} points, seed {seed}", scenario.name);
    for point in chosen {
        let elsewhere = chance.below(2) == 1;
        let next = match chance.below(3) {
            0 => Next::Again,
            _ => Next::Undo,
        };
        trial.kill_at(point, next, elsewhere);
    }
    trial.scene.quiet();
}

/// A scenario on its servers.
struct Trial<'a> {
    scenario: &'a Scenario,
    scene: Scene,
    /// The release that runs, and the one that comes.
    runs: &'static str,
    next: &'static str,
}

impl<'a> Trial<'a> {
    fn begin(scenario: &'a Scenario) -> Self {
        let mut scene = Scene::clean(scenario.before, X_RUNNER);
        scene.version("broken", &["BREAK_UP=1"]);
        scene.project.write(&scenario.configurations[0]);
        scene.run(&["setup", "--version", "v1"]).expect(0);
        let (mut runs, mut next) = ("v1", "v2");
        if scenario.what == What::Rollback {
            scene.deploy("v2").expect(0);
            (runs, next) = (next, runs);
        }
        for server in scenario
            .before
            .iter()
            .filter(|s| !scenario.after.contains(s))
        {
            scene = scene.without_load_on(*server);
        }
        scene.look();
        let mut trial = Self {
            scenario,
            scene,
            runs,
            next,
        };
        trial.choose();
        trial
    }

    /// Writes the configuration of what comes.
    fn choose(&mut self) {
        let [_, after] = &self.scenario.configurations;
        self.scene.project.write(after);
        if self.scenario.what == What::Workflow {
            self.scene.project.commit();
        }
    }

    /// The command, with a variable that says when it dies.
    fn command(&self, fault: Option<&str>) -> Command {
        let project = &self.scene.project;
        let mut command = match self.scenario.what {
            What::Deploy => project.command(&["deploy", "--version", self.next]),
            What::Broken => project.command(&["deploy", "--version", "broken"]),
            What::Rollback => project.command(&["rollback"]),
            What::Workflow => project.workflow(&format!(
                "- uses: runner/ssh-deploy@v1\n  with: {{ version: {} }}\n- uses: runner/migrate@v1\n\
                 - uses: runner/health-check@v1\n- uses: runner/promote@v1\n",
                self.next
            )),
        };
        command.envs(fault.map(|fault| ("RUNNER_FAULT", fault)));
        command
    }

    /// Carries the scenario out once, and returns how many points it has.
    fn count(&mut self) -> usize {
        let mut command = self.command(Some("count"));
        let done = StubProject::ended(&mut command);
        let is_point = |line: &&str| {
            line.contains("point ") && (line.contains(": before `") || line.contains(": after `"))
        };
        let points = done.text.lines().filter(is_point).count();
        assert!(points > 20, "{}", done.text);
        self.end_well(&done);
        points
    }

    /// What a scenario comes to that nobody disturbs.
    #[track_caller]
    fn end_well(&mut self, done: &Ended) {
        if self.scenario.what == What::Broken {
            assert_eq!(done.code, 20, "{}", done.text);
            self.scene.unchanged(done);
        } else {
            assert_eq!(done.code, 0, "{}", done.text);
            self.completed(done);
        }
    }

    /// The release runs; what ran before is what comes next.
    #[track_caller]
    fn completed(&mut self, done: &Ended) {
        self.scene.completed(self.next, done);
        for server in self.scenario.before {
            if !self.scenario.after.contains(server) {
                for role in ["web", "worker"] {
                    assert_eq!(
                        running(self.scene.sandbox, *server, role),
                        "",
                        "{}",
                        done.text
                    );
                }
                ended(self.scene.sandbox, *server, &done.text);
            }
        }
        (self.runs, self.next) = (self.next, self.runs);
        let [before, after] = &self.scenario.configurations;
        if before != after {
            self.scene.project.write(before);
            self.scene.deploy(self.runs).expect(0);
            self.scene.look();
        }
        self.choose();
    }

    fn kill_at(&mut self, point: usize, next: Next, elsewhere: bool) {
        let name = self.scenario.name;
        let lines = self.history().len();
        let mut command = self.command(Some(&format!("kill:{point}")));
        let killed = StubProject::ended(&mut command);
        let moment = killed.text.lines().find(|line| line.contains("killed at"));
        println!("{name} {point}, {next:?}, elsewhere {elsewhere}: {moment:?}");
        if killed.code != -1 {
            // A deploy of a release that was there before can have some points less.
            return self.end_well(&killed);
        }
        let (is_committed, is_over) = self.record(lines);
        let mut command = match next {
            Next::Undo => self.scene.project.command(&["deploy", "--undo"]),
            Next::Again => self.command(None),
        };
        if elsewhere {
            self.age_leases();
            command = StubProject::elsewhere(&command);
        }
        let mut done = StubProject::ended(&mut command);
        done.text = format!(
            "{name} {point}, {next:?}, elsewhere {elsewhere}\n{}\n--- then\n{}",
            killed.text, done.text
        );
        match next {
            Next::Undo if is_committed => {
                assert_eq!(done.code, 0, "{}", done.text);
                self.completed(&done);
            }
            Next::Undo => {
                assert_eq!(done.code, 0, "{}", done.text);
                self.scene.unchanged(&done);
            }
            // What was committed runs already: the same release again, or the rollback that is done.
            Next::Again if self.scenario.what == What::Rollback && is_over => {
                assert_eq!(done.code, 0, "{}", done.text);
                (self.runs, self.next) = (self.next, self.runs);
                self.completed(&done);
            }
            Next::Again => self.end_well(&done),
        }
    }

    fn history(&self) -> Vec<serde_json::Value> {
        let text = self
            .scene
            .sandbox
            .on(ONE, "cat .kamal/runner/stub/history.jsonl");
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines.collect()
    }

    /// What the primary host says of a transaction since its history had `before` lines: whether its
    /// release counts, and whether it is over.
    fn record(&self, before: usize) -> (bool, bool) {
        let journal = self
            .scene
            .sandbox
            .on(ONE, "cat .kamal/runner/stub/journal.json");
        if let Ok(journal) = serde_json::from_str::<serde_json::Value>(&journal) {
            let phase = journal["phase"].as_str();
            return (matches!(phase, Some("committed" | "finished")), false);
        }
        let lines = self.history();
        let last = lines.last().filter(|_| lines.len() > before);
        let is_committed = last.is_some_and(|line| line["outcome"] == "succeeded");
        (is_committed, is_committed)
    }

    /// Makes the leases as old as they are after half a minute.
    fn age_leases(&self) {
        for server in self.scenario.before {
            let age = "for f in /home/deploy/.kamal/lock-*/lease.json; do [ -f $f ] && touch -d '-60 seconds' $f; done";
            self.scene.sandbox.as_root(*server, age);
        }
    }
}

/// Numbers that a seed determines.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        // Source: splitmix64 by Sebastiano Vigna, public domain.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % u64::try_from(end).unwrap()).unwrap()
    }
}
