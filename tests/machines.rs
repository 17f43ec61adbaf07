//! Several machines on one PostgreSQL server: whatever is killed or cut, nothing is lost and nothing
//! runs twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use crate::support::http::request;
use crate::support::machines::{Machines, Relay};
use crate::support::postgres::{PASSWORD, Postgres};
use crate::support::server::WAIT_FOR_GO;

/// A lease that is short enough for a test to wait for its end, and long enough for a machine that
/// has much else to do.
const SHORT: (&str, &str) = ("RUNNER_LEASE", "12s");

/// A workflow of one job that notes that it began and waits until it may end.
fn held(machines: &Machines, name: &str) -> String {
    let wait = WAIT_FOR_GO.replace("$HOLD", &machines.path().display().to_string());
    format!(
        "name: {name}\non: [push, workflow_dispatch]\njobs:\n  wait:\n    runs-on: ubuntu-latest\n    steps:\n      - run: |\n          echo {name} >> {}/began\n          {wait}\n",
        machines.path().display()
    )
}

fn jobs_of(state: &Value) -> Vec<Value> {
    state["jobs"].as_array().cloned().unwrap_or_default()
}

/// Waits until a run's first job began somewhere, and returns the machine's name.
fn machine_of(machines: &Machines, run: &str) -> String {
    machines.wait_for("a job to begin", || {
        let state = machines.state(run)?;
        let job = jobs_of(&state).into_iter().next()?;
        let began = machines.lines("began");
        (job["status"] == "in_progress" && !began.is_empty())
            .then(|| job["machine"].as_str().unwrap_or_default().to_owned())
    })
}

#[test]
fn runs_spread_over_machines_and_what_a_lost_one_had_is_ended_in_time() {
    let mut machines = Machines::new(Arc::new(Postgres::start()), 3, "");
    let note = machines.path().join("ran").display().to_string();
    machines.write("held.yml", &held(&machines, "held"));
    for name in ["a", "b"] {
        machines.write(
            &format!("{name}.yml"),
            &format!(
                "name: {name}\non: push\njobs:\n  cell:\n    runs-on: ubuntu-latest\n    strategy: {{ matrix: {{ n: [1, 2, 3, 4, 5] }} }}\n    steps:\n      - run: |\n          echo {name}${{{{ matrix.n }}}} >> {note}\n          tr '\\0' '\\n' < /proc/$PPID/environ; tr '\\0' ' ' < /proc/$PPID/cmdline\n  last:\n    needs: cell\n    runs-on: ubuntu-latest\n    steps: [{{ run: 'echo {name}-last >> {note}' }}]\n"
            ),
        );
    }
    for number in 0..3 {
        machines.start(number, &[]);
    }
    machines.wait_for("the first look", || {
        let refs = machines.postgres.ask("test0", "SELECT COUNT(*) FROM refs");
        (refs.as_deref() == Some("1")).then_some(())
    });
    machines.push("go");
    let runs: BTreeMap<String, String> = machines.wait_for("all runs", || {
        let list = machines.ask(&["runs", "list", "--format", "json"]);
        let list: Value = serde_json::from_str(&list).unwrap();
        let runs = list["runs"].as_array().unwrap();
        let named = runs.iter().map(|run| {
            let id = run["id"].as_str().unwrap().to_owned();
            (run["name"].as_str().unwrap().to_owned(), id)
        });
        (runs.len() == 3).then(|| named.collect())
    });
    let lost = machine_of(&machines, &runs["held"]);
    let number = (0..3)
        .find(|number| machines.name(*number) == lost)
        .unwrap();
    for name in ["a", "b"] {
        let state = machines.ended(&runs[name]);
        assert_eq!(state["conclusion"], "success", "{state}");
    }
    machines.lose(number);
    let began = Instant::now();
    let state = machines.ended(&runs["held"]);
    let took = began.elapsed();
    println!(
        "the job of a lost machine was ended after {} ms",
        took.as_millis()
    );
    assert_eq!(state["conclusion"], "failure", "{state}");
    let reason = jobs_of(&state)[0]["reason"].as_str().unwrap().to_owned();
    assert!(
        reason.contains(&format!("`{lost}` lost communication")),
        "{reason}"
    );
    // 40 s are promised; the rest is for a machine that is busy otherwise.
    assert!(took.as_secs() < 60, "{took:?}");
    let mut ran = machines.lines("ran");
    ran.sort();
    let cells = |name: &str| -> Vec<String> {
        let cells = (1..=5).map(|n| format!("{name}{n}"));
        cells.chain([format!("{name}-last")]).collect()
    };
    let mut expected = [cells("a"), cells("b")].concat();
    expected.sort();
    assert_eq!(ran, expected);
    assert_eq!(machines.lines("began"), ["held"]);
    // Where each of them was is told, and what is not here is said to be elsewhere.
    let output = machines.output(&["runs", "logs", &runs["a"]]);
    assert!(output.status.success(), "{output:?}");
    let printed = [output.stdout, output.stderr].concat();
    let kept = [machines.everything_kept(), printed].concat();
    let password = PASSWORD.as_bytes();
    assert!(
        !kept
            .windows(password.len())
            .any(|window| window == password)
    );
}

#[test]
fn a_database_that_is_killed_and_comes_back_loses_nothing() {
    let listening = "[server]\nlisten = \"127.0.0.1:0\"\n";
    let mut machines = Machines::new(Arc::new(Postgres::start()), 2, listening);
    machines.write("held.yml", &held(&machines, "held"));
    machines.push("the workflow");
    machines.start(0, &[]);
    machines.start(1, &[]);
    let health = |machines: &Machines| {
        let answer = request(&machines.address(1), "GET", "/api/v1/health", &[], b"");
        let body: Value = serde_json::from_str(&answer.text).unwrap();
        (answer.status, body)
    };
    let well = serde_json::json!({ "status": "ok", "detail": "all is well" });
    assert_eq!(health(&machines), (200, well.clone()));
    let run = machines.dispatch("held.yml");
    let other = machines.dispatch("held.yml");
    machine_of(&machines, &run);
    machine_of(&machines, &other);
    for _ in 0..2 {
        machines.postgres.kill();
        machines.wait_for("a machine to miss the database", || {
            let is_missed = (0..2).all(|number| machines.log(number).contains("ERROR"));
            is_missed.then_some(())
        });
        let (code, body) = health(&machines);
        assert_eq!((code, &body["status"]), (503, &"degraded".into()), "{body}");
        let detail = body["detail"].as_str().unwrap();
        assert!(detail.starts_with("the store does not answer: "), "{body}");
        machines.postgres.go();
        machines.wait_for("the machine to be well again", || {
            (health(&machines) == (200, well.clone())).then_some(())
        });
    }
    machines.go();
    for run in [run, other] {
        let state = machines.ended(&run);
        assert_eq!(state["conclusion"], "success", "{state}");
    }
    assert_eq!(machines.lines("began"), ["held", "held"]);
    // They serve on as before.
    let run = machines.dispatch("held.yml");
    assert_eq!(machines.ended(&run)["conclusion"], "success");
}

#[test]
fn a_machine_that_is_cut_off_ends_its_job_before_another_one_goes_on() {
    let mut machines = Machines::new(Arc::new(Postgres::start()), 2, "");
    let relay = Relay::to(machines.postgres.port());
    machines.reach_by(0, relay.port());
    let folder = machines.path().display().to_string();
    // Beats as long as it lives; a second one of the group notes when it could begin.
    machines.write(
        "beat.yml",
        &format!(
            "name: beat\non: workflow_dispatch\nconcurrency: production\njobs:\n  beat:\n    runs-on: ubuntu-latest\n    steps:\n      - run: |\n          trap '' INT TERM\n          echo beat >> {folder}/began\n          while test ! -e {folder}/go; do date +%s%N >> {folder}/beats; sleep 0.1; done\n"
        ),
    );
    machines.write(
        "next.yml",
        &format!(
            "name: next\non: workflow_dispatch\nconcurrency: production\njobs:\n  next:\n    runs-on: ubuntu-latest\n    steps: [{{ run: 'date +%s%N >> {folder}/next' }}]\n"
        ),
    );
    machines.push("the workflows");
    machines.start(0, &[SHORT]);
    let beat = machines.dispatch("beat.yml");
    machine_of(&machines, &beat);
    let next = machines.dispatch("next.yml");
    machines.start(1, &[SHORT]);
    relay.cut(true);
    let state = machines.ended(&beat);
    assert_eq!(state["conclusion"], "failure", "{state}");
    assert_eq!(machines.ended(&next)["conclusion"], "success");
    let number = |line: &String| line.parse::<u64>().unwrap();
    let last = machines.lines("beats").iter().map(number).max().unwrap();
    let first = machines.lines("next").iter().map(number).min().unwrap();
    println!(
        "the next one began {} ms after the last sign of the one before",
        (first - last) / 1_000_000
    );
    assert!(last < first, "two of a group ran at once: {last} {first}");
    assert!(machines.jobs(0).is_empty());
    // What was under way when it was cut arrives late, and changes nothing; then the machine serves
    // again as any other.
    relay.cut(false);
    machines.stop(1);
    let again = machines.dispatch("next.yml");
    assert_eq!(machines.ended(&again)["conclusion"], "success");
    assert_eq!(machines.state(&beat).unwrap(), state);
    assert_eq!(machines.lines("began"), ["beat"]);
}

#[test]
fn a_server_that_comes_back_in_time_follows_its_jobs() {
    let mut machines = Machines::new(Arc::new(Postgres::start()), 2, "");
    machines.write("held.yml", &held(&machines, "held"));
    machines.push("the workflow");
    machines.start(0, &[]);
    let run = machines.dispatch("held.yml");
    machine_of(&machines, &run);
    machines.kill(0);
    machines.start(1, &[]);
    machines.start(0, &[]);
    machines.go();
    let state = machines.ended(&run);
    assert_eq!(state["conclusion"], "success", "{state}");
    assert_eq!(machines.lines("began"), ["held"]);
}

#[test]
fn a_server_that_does_not_come_back_leaves_no_job_that_runs() {
    let more = "lost-jobs = \"rerun\"\n";
    let mut machines = Machines::new(Arc::new(Postgres::start()), 2, more);
    machines.write("held.yml", &held(&machines, "held"));
    machines.push("the workflow");
    machines.start(0, &[SHORT]);
    let run = machines.dispatch("held.yml");
    machine_of(&machines, &run);
    machines.kill(0);
    assert_eq!(machines.jobs(0).len(), 1);
    machines.start(1, &[SHORT]);
    // It is asked for to be run again, and is, once the first one is gone.
    machines.wait_for("the other machine to take it", || {
        (machines.lines("began").len() == 2).then_some(())
    });
    assert!(machines.jobs(0).is_empty());
    machines.go();
    assert_eq!(machines.ended(&run)["conclusion"], "success");
}

#[test]
fn jobs_go_to_machines_that_serve_all_their_labels_and_others_wait_and_say_for_what() {
    let mut machines = Machines::new(Arc::new(Postgres::start()), 2, "");
    machines.configure(0, "[server]\nlisten = \"127.0.0.1:0\"\n");
    machines.configure(1, "[labels]\ngpu = \"host\"\nbig = \"host\"\n");
    machines.write(
        "labels.yml",
        "name: labels\non: workflow_dispatch\njobs:\n  any:\n    runs-on: ubuntu-latest\n    strategy: { matrix: { n: [1, 2, 3] } }\n    steps: [{ run: 'true' }]\n  gpu: { runs-on: [self-hosted, GPU, big], steps: [{ run: 'true' }] }\n  tpu: { runs-on: [gpu, tpu], steps: [{ run: 'true' }] }\n",
    );
    machines.push("the workflow");
    machines.start(0, &[SHORT]);
    let run = machines.dispatch("labels.yml");
    let job = |state: &Value, id: &str| -> Vec<Value> {
        let jobs = jobs_of(state).into_iter();
        jobs.filter(|job| job["id"] == id).collect()
    };
    let waits = |job: &Value, label: &str| {
        let words = format!("waits for a machine that serves {label}: none that lives does");
        job["status"] == "queued" && job["reason"] == words.as_str()
    };
    machines.wait_for("what is served, and what is said of the rest", || {
        let state = machines.state(&run)?;
        let any = job(&state, "any");
        let is_done = any.len() == 3 && any.iter().all(|job| job["conclusion"] == "success");
        let gpu = waits(&job(&state, "gpu")[0], "`GPU`, `big`");
        (is_done && gpu && waits(&job(&state, "tpu")[0], "`gpu`, `tpu`")).then_some(())
    });
    let shown = machines.ask(&["runs", "show", &run]);
    assert!(
        shown.contains("gpu: waits for a machine that serves `GPU`, `big`"),
        "{shown}"
    );
    machines.start(1, &[SHORT]);
    let state = machines.wait_for("the other machine to take what it serves", || {
        let state = machines.state(&run)?;
        let gpu = &job(&state, "gpu")[0];
        let is_done = gpu["status"] == "completed";
        (is_done && waits(&job(&state, "tpu")[0], "`tpu`")).then_some(state)
    });
    let gpu = &job(&state, "gpu")[0];
    assert_eq!(gpu["conclusion"], "success", "{state}");
    assert_eq!(gpu["machine"], machines.name(1), "{state}");
    assert!(gpu["reason"].is_null(), "{state}");
    // Where its log is, is said by whoever is asked.
    let said = machines.log(0);
    let address = said
        .lines()
        .find_map(|line| line.strip_prefix("listening at http://"));
    let get = |path: &str| request(address.unwrap(), "GET", path, &[], &[]);
    let log = get(&format!("/api/v1/runs/{run}/jobs/{}/log.txt", gpu["key"]));
    let name = machines.name(1);
    assert_eq!(log.status, 404, "{}", log.text);
    assert!(
        log.text.contains(&format!("ran on the machine `{name}`")),
        "{}",
        log.text
    );
    let page = get(&format!("/runs/{run}")).text;
    assert!(
        page.contains("what it printed is on the machine") && page.contains(&name),
        "{page}"
    );
    // The other one may plan what comes, and still does not take what it does not serve.
    machines.stop(1);
    let second = machines.dispatch("labels.yml");
    machines.wait_for("a machine that stopped to be missed", || {
        let state = machines.state(&second)?;
        waits(&job(&state, "gpu")[0], "`GPU`, `big`").then_some(())
    });
    for run in [run, second] {
        machines.ask(&["runs", "cancel", &run]);
        assert_eq!(machines.ended(&run)["conclusion"], "cancelled");
    }
}
