//! `runner run --plan`: which jobs would run, without running one.

use serde_json::{Value as Json, json};

use super::error::{CliError, ExitCode};
use super::write_line;
use crate::event::TriggerEvent;
use crate::plan::{PreviewedJob, Progress, WorkflowFile};
use crate::workflow::{JobBody, Step, StepBody, Token, TokenKind};

/// Prints the plan of a run.
pub(super) fn print(
    file: &WorkflowFile,
    event: &TriggerEvent,
    progress: &Progress,
    is_json: bool,
) -> Result<ExitCode, CliError> {
    let jobs = progress.preview();
    if is_json {
        let jobs: Vec<Json> = jobs.iter().map(job_json).collect();
        let plan = json!({"event": event.name, "workflow": file.path, "triggered": true, "reason": null, "jobs": jobs});
        write_line(&plan.to_string());
        return Ok(ExitCode::Success);
    }
    write_line(&format!("{} on {}", file.path, event.name));
    for job in &jobs {
        let needs = if job.needs.is_empty() {
            String::new()
        } else {
            format!(", after {}", job.needs.join(", "))
        };
        let later = if job.is_dynamic {
            ", its matrix comes from a job before it"
        } else {
            ""
        };
        write_line(&format!(
            "  {} on {}{needs}{later}",
            job.name,
            job.runs_on.join(", ")
        ));
        for step in steps(job) {
            write_line(&format!("    - {}", step_name(step)));
        }
    }
    Ok(ExitCode::Success)
}

/// Prints that nothing would run, and why.
pub(super) fn print_not_triggered(
    file: &WorkflowFile,
    event: &TriggerEvent,
    reason: &str,
    is_json: bool,
) {
    if is_json {
        let plan = json!({"event": event.name, "workflow": file.path, "triggered": false, "reason": reason, "jobs": []});
        write_line(&plan.to_string());
    } else {
        write_line(&format!(
            "{} does not run on {}: {reason}",
            file.path, event.name
        ));
    }
}

fn steps(job: &PreviewedJob) -> &[Step] {
    match job.file.workflow.jobs.get(&job.id).map(|job| &job.body) {
        Some(JobBody::Steps(body)) => &body.steps,
        _ => &[],
    }
}

fn job_json(job: &PreviewedJob) -> Json {
    let written = job.file.workflow.jobs.get(&job.id);
    let body = written.map(|job| &job.body);
    let (environment, uses) = match body {
        Some(JobBody::Steps(body)) => (body.environment.as_ref().and_then(environment_name), None),
        Some(JobBody::Call(call)) => (None, Some(call.uses.value.as_str())),
        None => (None, None),
    };
    let condition = written
        .map(|job| &job.condition)
        .filter(|condition| condition.is_written);
    json!({
        "id": job.id, "name": job.name, "needs": job.needs,
        "if": condition.map(|condition| condition.text.as_str()),
        "matrix": Json::from(&job.matrix), "dynamic": job.is_dynamic, "runs_on": job.runs_on,
        "environment": environment, "uses": uses,
        "steps": steps(job).iter().map(step_json).collect::<Vec<_>>(),
    })
}

fn environment_name(token: &Token) -> Option<String> {
    match &token.kind {
        TokenKind::Mapping(_) => token.get("name").map(written_text),
        _ => Some(written_text(token)),
    }
}

fn step_json(step: &Step) -> Json {
    let (uses, script) = match &step.body {
        StepBody::Uses { uses, .. } => (Some(uses.value.to_string()), None),
        StepBody::Run { script, .. } => (None, Some(written_text(script))),
        _ => (None, None),
    };
    let condition = Some(&step.condition).filter(|condition| condition.is_written);
    json!({
        "id": step.id.as_ref().map(|id| id.value.as_str()), "name": step_name(step), "uses": uses, "run": script,
        "if": condition.map(|condition| condition.text.as_str()),
    })
}

fn step_name(step: &Step) -> String {
    if let Some(name) = &step.name {
        return written_text(name);
    }
    match &step.body {
        StepBody::Run { script, .. } => {
            let script = written_text(script);
            format!(
                "Run {}",
                script
                    .lines()
                    .find(|line| !line.trim().is_empty())
                    .unwrap_or_default()
                    .trim()
            )
        }
        StepBody::Uses { uses, .. } => format!("Run {}", uses.value),
        StepBody::Wait(_) | StepBody::WaitAll => "Wait".to_owned(),
        StepBody::Cancel(_) => "Cancel".to_owned(),
        StepBody::Parallel(_) => "Parallel".to_owned(),
    }
}

/// Returns a scalar as it was written.
fn written_text(token: &Token) -> String {
    match &token.kind {
        TokenKind::Null => String::new(),
        TokenKind::Boolean(value) => value.to_string(),
        TokenKind::Number(value) => crate::expression::format_number(*value),
        TokenKind::String(text) => text.clone(),
        TokenKind::Expression(template) => template.text().to_owned(),
        TokenKind::Insert | TokenKind::Sequence(_) | TokenKind::Mapping(_) => String::new(),
    }
}
