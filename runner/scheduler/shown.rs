//! Runs and jobs as JSON: the same from the command line and from the API.

use serde_json::{Value as Json, json};

use crate::run::Timestamp;
use crate::store::{JobRow, RunRow};

/// Returns a run as JSON.
pub fn run_json(run: &RunRow) -> Json {
    json!({
        "id": run.id, "repository": run.repository, "number": run.number, "workflow": run.workflow,
        "name": run.name, "event": run.event, "ref": run.git_ref, "sha": run.sha, "actor": run.actor,
        "title": run.title, "attempt": run.attempt, "status": run.status, "conclusion": run.conclusion,
        "awaits_approval": run.awaits_approval, "approved_by": run.approved_by,
        "deploy": run.deploy, "created_at": iso_time(run.created_at),
        "started_at": run.started_at.map(iso_time), "finished_at": run.finished_at.map(iso_time),
    })
}

/// Returns a job as JSON.
pub fn job_json(job: &JobRow) -> Json {
    json!({
        "key": job.job, "id": job.id, "name": job.name, "status": job.status, "conclusion": job.conclusion,
        "reason": job.reason, "deploy": job.deploy, "environment": job.environment,
        "started_at": job.started_at.map(iso_time), "milliseconds": job.milliseconds, "kept": job.is_kept,
        "machine": job.machine, "disconnected": job.disconnected_at.is_some(),
    })
}

/// Returns a time as `2026-01-31T12:00:00Z`.
pub fn iso_time(at: Timestamp) -> String {
    told_time(at).unwrap_or_default()
}

/// The same; none for a time that no calendar has.
pub(super) fn told_time(at: Timestamp) -> Option<String> {
    let time = chrono::DateTime::from_timestamp_millis(at.0)?;
    Some(time.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}
