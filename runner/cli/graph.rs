//! `runner graph`: which jobs of a workflow wait for which.

use std::path::Path;

use super::arguments::{GraphArguments, GraphFormat};
use super::error::{CliError, ErrorKind, ExitCode};
use super::{diagnostics, write_line, write_note};
use crate::scheduler::{ReadError, read_workflow};
use crate::workflow::{Job, JobBody, Workflow};

/// Prints the graph of a workflow file.
pub(super) fn graph(arguments: &GraphArguments) -> Result<ExitCode, CliError> {
    let path = arguments.file.display().to_string();
    let workflow = match read_workflow(&arguments.file, &path) {
        Ok((file, _)) => file.workflow,
        Err(ReadError::Invalid {
            text, diagnostics, ..
        }) => {
            for problem in &diagnostics {
                write_note(&diagnostics::render(&path, &text, problem));
            }
            return Ok(ExitCode::Invalid);
        }
        Err(error @ ReadError::File { .. }) => {
            let message = format!("`{path}` could not be read");
            return Err(CliError::new(ErrorKind::Usage, message).because(error));
        }
    };
    let lines = match arguments.format {
        GraphFormat::Text => text(&arguments.file, &workflow),
        GraphFormat::Mermaid => mermaid(&workflow),
    };
    for line in lines {
        write_line(&line);
    }
    Ok(ExitCode::Success)
}

/// Returns how many jobs must end one after the other before this one begins.
///
/// The workflow is valid, so there is no circle.
fn depth(workflow: &Workflow, job: &Job) -> usize {
    let needs = job.needs.iter();
    let needs = needs.filter_map(|need| workflow.jobs.get(&need.value));
    needs
        .map(|need| depth(workflow, need) + 1)
        .max()
        .unwrap_or(0)
}

/// What a job is beside its name: a matrix, a call.
fn notes(job: &Job) -> Vec<String> {
    let mut notes = Vec::new();
    if job.strategy.is_some() {
        notes.push("matrix".to_owned());
    }
    if let JobBody::Call(call) = &job.body {
        notes.push(format!("calls {}", call.uses.value));
    }
    notes
}

/// Stage after stage; the jobs of a stage can run side by side.
fn text(path: &Path, workflow: &Workflow) -> Vec<String> {
    let mut lines = vec![path.display().to_string()];
    let depths: Vec<_> = workflow
        .jobs
        .iter()
        .map(|(id, job)| (depth(workflow, job), id, job))
        .collect();
    let longest = depths.iter().map(|(.., id, _)| id.chars().count()).max();
    let last = depths.iter().map(|(depth, ..)| *depth).max().unwrap_or(0);
    for stage in 0..=last {
        let jobs = depths.iter().filter(|(depth, ..)| *depth == stage);
        for (number, (_, id, job)) in jobs.enumerate() {
            let stage = if number == 0 {
                (stage + 1).to_string()
            } else {
                String::new()
            };
            let needs: Vec<&str> = job.needs.iter().map(|need| need.value.as_str()).collect();
            let mut words = notes(job);
            if !needs.is_empty() {
                words.insert(0, format!("after {}", needs.join(", ")));
            }
            let width = longest.unwrap_or(0);
            let line = format!("{stage:>3}  {id:<width$}  {}", words.join("; "));
            lines.push(line.trim_end().to_owned());
        }
    }
    lines
}

/// A flowchart for Mermaid, which GitHub draws in Markdown.
fn mermaid(workflow: &Workflow) -> Vec<String> {
    let mut lines = vec!["flowchart LR".to_owned()];
    for (number, (id, job)) in workflow.jobs.iter().enumerate() {
        let mut label = id.clone();
        for note in notes(job) {
            label = format!("{label}<br>{}", note.replace('"', "#quot;"));
        }
        lines.push(format!("  j{number}[\"{label}\"]"));
    }
    for (number, job) in workflow.jobs.values().enumerate() {
        for need in &job.needs {
            if let Some(from) = workflow.jobs.get_index_of(&need.value) {
                lines.push(format!("  j{from} --> j{number}"));
            }
        }
    }
    lines
}
