//! What a person at a terminal sees of a run.

use std::fs;

use crate::support::process::{Test, wait_until};
use crate::support::pty::Terminal;

/// Two jobs that both wait for a file, after they have said something.
const WAITING: &str = r#"
name: Waits
on: push
jobs:
  first:
    runs-on: ubuntu-latest
    steps:
      - name: build it
        run: |
          echo said by first
          until [ -e "$GATE" ]; do sleep 0.05; done
          echo first goes on
  second:
    runs-on: ubuntu-latest
    steps:
      - name: test it
        run: |
          echo said by second
          until [ -e "$GATE" ]; do sleep 0.05; done
          for number in $(seq 1 30); do echo line $number; done
          exit 3
"#;

fn waiting() -> (Test, std::path::PathBuf) {
    let test = Test::new().workflow(WAITING);
    let gate = test.path().join("gate");
    let variable = format!("GATE={}", gate.display());
    let test = test.args(&["run", "w.yml", "--slots", "2", "--env", &variable]);
    (test, gate)
}

#[test]
fn what_runs_now_stands_below_what_was_printed() {
    let (test, gate) = waiting();
    let terminal = Terminal::start(test.command(), 24, 80);
    wait_until(60, "both steps are shown with their words above", || {
        terminal.look(|seen| {
            let text = seen.text();
            let (Some(said), Some(shown)) =
                (text.rfind("said by first"), text.rfind("first › build it"))
            else {
                return false;
            };
            let count = "2 running, 0 waiting, 0 done";
            said < shown
                && text.contains("said by second")
                && text.contains("second › test it")
                && text.trim_end().ends_with(count)
        })
    });
    wait_until(60, "the time goes on", || {
        terminal.look(|seen| {
            let text = seen.text();
            let line = text.lines().find(|line| line.contains("first › build it"));
            line.is_some_and(|line| !line.contains(" 0s "))
        })
    });
    fs::write(gate, "").unwrap();
    let (code, seen) = terminal.finish();
    assert_eq!(code, 10);
    let text = seen.text();
    for gone in ["first › build it", "second › test it", "running"] {
        assert!(!text.contains(gone), "`{gone}` still stands in:\n{text}");
    }
    let end = text.lines().last().unwrap_or_default();
    assert!(end.contains("failure"), "{text}");
}

#[test]
fn a_failed_run_ends_with_the_last_lines_of_the_failed_step_and_its_place() {
    let (test, gate) = waiting();
    fs::write(gate, "").unwrap();
    let (code, seen) = Terminal::start(test.command(), 60, 80).finish();
    assert_eq!(code, 10);
    let text = seen.text();
    let (_, end) = text
        .rsplit_once("step 1, test it failed; its last lines:")
        .unwrap_or_else(|| panic!("no last lines in:\n{text}"));
    assert!(
        end.contains("│ line 30") && end.contains("│ line 15"),
        "{text}"
    );
    assert!(
        !end.contains("│ line 5\n"),
        "more than the last lines:\n{text}"
    );
    assert!(end.contains("exit code 3"), "{text}");
}

#[test]
fn a_narrow_terminal_cuts_the_live_lines_and_not_what_was_printed() {
    let (test, gate) = waiting();
    let terminal = Terminal::start(test.command(), 24, 26);
    wait_until(60, "the live lines are there", || {
        terminal.look(|seen| seen.text().contains("2 running, 0"))
    });
    fs::write(gate, "").unwrap();
    let (code, seen) = terminal.finish();
    assert_eq!(code, 10);
    assert!(!seen.text().contains("running"), "{}", seen.text());
}

#[test]
fn without_colours_the_live_lines_are_there_and_no_colour_is() {
    let (test, gate) = waiting();
    let test = test.env("NO_COLOR", "1");
    let terminal = Terminal::start(test.command(), 24, 80);
    wait_until(60, "the live lines are there", || {
        terminal.look(|seen| seen.text().contains("first › build it"))
    });
    fs::write(gate, "").unwrap();
    let (_, seen) = terminal.finish();
    let all = String::from_utf8_lossy(&seen.bytes).into_owned();
    let is_colour = |rest: &str| {
        let end = rest.find(|letter: char| !(letter.is_ascii_digit() || letter == ';'));
        end.is_some_and(|end| end > 0 && rest[end..].starts_with('m'))
    };
    let colours = all.split("\u{1b}[").skip(1).filter(|rest| is_colour(rest));
    assert_eq!(colours.count(), 0, "{all:?}");
}

#[test]
fn the_programs_own_log_goes_through_the_live_lines_and_not_across_them() {
    let (test, gate) = waiting();
    let test = test.env("RUNNER_LOG", "trace");
    let terminal = Terminal::start(test.command(), 200, 120);
    wait_until(60, "the live lines are there", || {
        terminal.look(|seen| seen.text().contains("2 running, 0 waiting, 0 done"))
    });
    fs::write(gate, "").unwrap();
    let (_, seen) = terminal.finish();
    let text = seen.text();
    assert!(!text.contains("running, "), "a live line was left:\n{text}");
}

#[test]
fn a_terminal_that_cannot_move_its_cursor_gets_plain_lines() {
    let (test, gate) = waiting();
    fs::write(gate, "").unwrap();
    let test = test.env("TERM", "dumb").env("NO_COLOR", "1");
    let (_, seen) = Terminal::start(test.command(), 80, 100).finish();
    assert!(!seen.bytes.contains(&0x1b), "{}", seen.text());
    assert!(seen.text().contains("said by first"), "{}", seen.text());
}
