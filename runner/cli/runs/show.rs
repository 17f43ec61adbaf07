//! Runs and jobs as lines and as JSON.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde_json::Value as Json;

use super::super::arguments::Format;
use super::super::error::{CliError, ExitCode};
use super::super::write_line;
use super::stands;
use crate::report::format_duration;
use crate::run::{Attempt, Conclusion, RunId, Status};
use crate::scheduler::{Ledger, iso_time, job_json, now, run_json};
use crate::store::{EventRow, JobRow, RunRow};

/// The most characters of a title in a list.
const TITLE: usize = 50;

/// Prints runs, a line each.
pub(super) fn list(runs: &[RunRow]) {
    for run in runs {
        let title: String = run.title.chars().take(TITLE).collect();
        write_line(&format!(
            "{:>5}  {}  {}  {} on {} {}  {}  {}",
            run.id,
            state(run.status, run.conclusion),
            run.repository,
            run.name,
            run.event,
            short_ref(&run.git_ref),
            took(run),
            title
        ));
    }
}

/// Prints a run with its jobs.
pub(super) async fn show(
    ledger: &Ledger,
    id: &RunId,
    attempt: Option<Attempt>,
    format: Format,
) -> Result<ExitCode, CliError> {
    let (run, jobs) = stands(ledger, id, attempt).await?;
    if format == Format::Json {
        let mut whole = run_json(&run);
        if let Json::Object(object) = &mut whole {
            let jobs: Vec<Json> = jobs.iter().map(job_json).collect();
            object.insert("jobs".to_owned(), jobs.into());
        }
        write_line(&whole.to_string());
        return Ok(ExitCode::Success);
    }
    write_line(&format!(
        "run {} {} {}",
        run.id,
        state(run.status, run.conclusion),
        took(&run)
    ));
    write_line(&format!(
        "  {} ({}) #{} of {}, attempt {}",
        run.name, run.workflow, run.number, run.repository, run.attempt.0
    ));
    write_line(&format!(
        "  {} {} by {}: {}",
        run.event,
        short_ref(&run.git_ref),
        run.actor,
        run.title
    ));
    write_line(&format!("  commit {}", run.sha));
    if run.status == Status::Pending && run.awaits_approval {
        write_line(&format!(
            "  waits for approval; look at the commit, then: runner runs approve {}",
            run.id
        ));
    }
    if let Some(by) = &run.approved_by {
        write_line(&format!("  approved by {by}"));
    }
    if run.status == Status::Pending
        && let Some(group) = &run.concurrency_group
    {
        write_line(&format!("  waits for the concurrency group `{group}`"));
    }
    for job in &jobs {
        write_line(&job_line(job));
    }
    Ok(ExitCode::Success)
}

fn job_line(job: &JobRow) -> String {
    let took = job.milliseconds.map_or(String::new(), |milliseconds| {
        format!(
            " ({})",
            format_duration(Duration::from_millis(milliseconds))
        )
    });
    let kept = if job.is_kept {
        ", kept from the attempt before"
    } else {
        ""
    };
    let reason = match (&job.reason, job.status, &job.concurrency_group) {
        (Some(reason), _, _) => format!(": {reason}"),
        (None, Status::Pending, Some(group)) => {
            format!(": waits for the concurrency group `{group}`")
        }
        (None, Status::Queued, _) if !job.is_ready => ": waits for other jobs".to_owned(),
        (None, Status::Queued, _) => ": waits for a free slot".to_owned(),
        (None, Status::InProgress, _) => on_machine(job),
        _ => String::new(),
    };
    format!(
        "  {} {}{took}{kept}{reason}",
        state(job.status, job.conclusion),
        job.name
    )
}

/// Says where a job runs, where there are several machines, and whether anything is heard of it.
fn on_machine(job: &JobRow) -> String {
    match (&job.machine, job.disconnected_at) {
        (Some(machine), Some(since)) => {
            format!(
                ": disconnected: nothing is heard of the machine {machine} since {}",
                iso_time(since)
            )
        }
        (Some(machine), None) if job.began_at.is_some() => format!(": on the machine {machine}"),
        _ => String::new(),
    }
}

/// Prints events with what became of them.
pub(super) fn events(events: &[EventRow]) {
    for event in events {
        let sha: String = event.sha.chars().take(7).collect();
        write_line(&format!(
            "{}  {} {} {sha} of {}",
            iso_time(event.at),
            event.event,
            short_ref(&event.git_ref),
            event.repository
        ));
        for line in event.outcome.lines() {
            write_line(&format!("  {line}"));
        }
        if event.outcome.is_empty() {
            write_line("  there is no workflow");
        }
    }
}

fn state(status: Status, conclusion: Option<Conclusion>) -> String {
    let (word, color) = match conclusion {
        Some(Conclusion::Success) => ("success", AnsiColor::Green),
        Some(Conclusion::Failure) => ("failure", AnsiColor::Red),
        Some(Conclusion::Cancelled) => ("cancelled", AnsiColor::Yellow),
        Some(Conclusion::Skipped) => ("skipped", AnsiColor::White),
        None => (status.as_str(), AnsiColor::Cyan),
    };
    let style = Style::new().fg_color(Some(color.into()));
    format!("{style}{word:<11}{style:#}")
}

fn took(run: &RunRow) -> String {
    let Some(started) = run.started_at else {
        return String::new();
    };
    let end = run.finished_at.unwrap_or_else(now);
    let milliseconds = u64::try_from(end.0 - started.0).unwrap_or(0);
    format_duration(Duration::from_millis(milliseconds))
}

fn short_ref(name: &str) -> &str {
    name.strip_prefix("refs/heads/")
        .or_else(|| name.strip_prefix("refs/tags/"))
        .unwrap_or(name)
}
