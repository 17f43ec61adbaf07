//! The conformance data beside the project, where it is there: how much of it agrees.

use std::process::Command;

use crate::support::process::conformance;

/// The least that must agree, per cent, of each row.
const FLOORS: &[(&str, f64)] = &[
    ("expressions/evaluate", 100.0),
    ("expressions/interpolate", 100.0),
    ("expressions/syntax", 100.0),
    ("expressions/hashfiles", 100.0),
    ("expressions/real-world", 100.0),
    ("real-world/no-crash", 100.0),
    ("real-world/accept", 97.0),
    ("workflows-valid", 97.0),
    ("action-manifests", 97.0),
    ("tables/if-conditions", 100.0),
    ("tables/matrix", 100.0),
    ("tables/file-commands", 100.0),
    ("tables/workflow-commands", 100.0),
    ("tables/masking", 100.0),
    ("runs", 60.0),
    ("kamal/facts", 100.0),
    ("kamal/accept", 100.0),
    ("kamal/refuse", 100.0),
    ("kamal/validation", 100.0),
    ("kamal/secrets", 100.0),
    ("kamal/envfile", 100.0),
];

#[test]
fn the_conformance_data_agrees_at_least_as_far_as_promised() {
    let Some(data) = conformance() else {
        println!("skipped: there is no conformance data beside the project");
        return;
    };
    let output = Command::new("python3")
        .arg(data.join("score/score.py"))
        .arg(&data)
        .args(["--runner", env!("CARGO_BIN_EXE_runner"), "--timeout", "30"])
        .args([
            "--only",
            "expressions,workflows-valid,action-manifests,real-world,tables,runs,kamal",
        ])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{said}");
    for (row, floor) in FLOORS {
        let line = said
            .lines()
            .find(|line| line.split(' ').next() == Some(row));
        let share = line
            .and_then(|line| line.split(' ').nth(2))
            .and_then(|share| share.parse::<f64>().ok());
        assert!(
            share.is_some_and(|share| share >= *floor),
            "{row}: {line:?}, the least is {floor} %"
        );
    }
}
