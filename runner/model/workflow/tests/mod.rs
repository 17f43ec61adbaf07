//! What the readers take, refuse and say.

mod conformance;
mod evaluation;
mod meaning;
mod mutation;
mod rules;

use super::{Workflow, parse};
use crate::diagnostic::Severity;

/// Returns the problems of a workflow, each as `line:column code`.
fn problems(source: &str, severity: Severity) -> Vec<String> {
    parse(source)
        .1
        .iter()
        .filter(|problem| problem.severity == severity)
        .map(|problem| format!("{} {}", problem.span.start, problem.code))
        .collect()
}

/// Reads a workflow that must be without an error.
fn read(source: &str) -> Workflow {
    let (workflow, found) = parse(source);
    workflow.unwrap_or_else(|| panic!("{found:?}\n{source}"))
}

/// Puts the keys of a job around some lines of it.
fn job(lines: &str) -> String {
    let lines: Vec<String> = lines.lines().map(|line| format!("    {line}")).collect();
    format!("on: push\njobs:\n  a:\n{}\n", lines.join("\n"))
}

/// Puts a job around one step.
fn step(lines: &str) -> String {
    let lines: Vec<String> = lines.lines().map(|line| format!("  {line}")).collect();
    job(&format!(
        "runs-on: x\nsteps:\n-{}",
        lines.join("\n").get(1..).unwrap()
    ))
}
