//! Ctrl-C: what is ended, what still runs, and that nothing is left behind.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::process::{Test, wait_until};

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

/// Returns how many processes have `word` on their command line.
fn count(word: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines
        .filter(|line| {
            line.split(|byte| *byte == 0)
                .any(|part| part == word.as_bytes())
        })
        .count()
}

/// Starts a run and waits for the line `ready` in its output.
fn start(test: &Test) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = test
        .command()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("ready") {
        line.clear();
        assert!(
            out.read_line(&mut line).unwrap() > 0,
            "the run ended before it was ready"
        );
    }
    (child, out)
}

fn finish(mut child: Child, mut out: BufReader<std::process::ChildStdout>) -> (i32, String) {
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    (child.wait().unwrap().code().unwrap_or(-1), rest)
}

#[test]
fn the_whole_tree_of_a_cancelled_step_is_ended_and_clean_up_runs() {
    // Hostile children: background, another session, deaf to signals, an empty environment.
    let script = "          sleep 70001 &\n          setsid sleep 70002 &\n          (setsid bash -c 'trap \"\" TERM HUP INT; sleep 70003 & wait' &)\n          nohup sleep 70004 >/dev/null 2>&1 &\n          env -i setsid sleep 70005 &\n          sleep 0.3; echo ready\n          wait\n";
    let workflow = format!(
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: |\n{script}      - run: echo never\n      - if: cancelled()\n        run: echo cleaned\n"
    );
    let test = Test::new().workflow(&workflow).args(&["run", "w.yml"]);
    let (child, out) = start(&test);
    signal(&child, Signal::SIGINT);
    let (code, rest) = finish(child, out);
    assert_eq!(code, 11, "{rest}");
    assert!(
        rest.contains("│ cleaned") && !rest.contains("│ never"),
        "{rest}"
    );
    for seconds in ["70001", "70002", "70003", "70004", "70005"] {
        wait_until(5, &format!("sleep {seconds} is gone"), || {
            count(seconds) == 0
        });
    }
}

#[test]
fn a_second_signal_ends_everything_at_once() {
    let workflow = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - if: always()\n        run: |\n          trap '' INT TERM\n          echo ready\n          sleep 70011 & wait; wait\n";
    let test = Test::new().workflow(workflow).args(&["run", "w.yml"]);
    let (mut child, out) = start(&test);
    // A step with `always()` goes on when the run is cancelled; the second signal ends it, too.
    signal(&child, Signal::SIGINT);
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    err.read_line(&mut line).unwrap();
    assert!(line.contains("cancelling"), "{line}");
    signal(&child, Signal::SIGINT);
    let (code, rest) = finish(child, out);
    assert_eq!(code, 11, "{rest}");
    assert_eq!(count("70011"), 0);
}

#[test]
fn a_child_left_in_the_background_does_not_hold_its_step_and_ends_with_the_job() {
    let workflow = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: sleep 70021 &\n      - run: pgrep -f 'sleep 70021' > /dev/null && echo alive\n";
    let test = Test::new().workflow(workflow).args(&["run", "w.yml"]);
    test.run().code(0).says("alive");
    assert_eq!(count("70021"), 0);
}
