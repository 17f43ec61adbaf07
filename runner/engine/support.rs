//! What GitHub runs and this program cannot run yet: refused by name before anything starts.

use crate::diagnostic::{Diagnostic, Span};
use crate::workflow::{Job, JobBody, Step, StepBody, StepsJob, Workflow};

/// Returns a warning for everything in a workflow that cannot be run.
///
/// `check` shows them; `run` refuses a workflow that has one, so that nothing is ever green that did
/// not run.
pub fn unsupported(workflow: &Workflow) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for job in workflow.jobs.values() {
        if let JobBody::Steps(body) = &job.body {
            job_parts(job, body, &mut found);
            steps(&body.steps, &mut found);
        }
    }
    found
}

fn warn(found: &mut Vec<Diagnostic>, span: &Span, what: &str) {
    let message = format!("{what} cannot be run yet");
    found.push(Diagnostic::warning("unsupported", span, message).with_hint(
        "GitHub accepts this; `runner run` refuses it, so that nothing is green that did not run",
    ));
}

fn job_parts(job: &Job, body: &StepsJob, found: &mut Vec<Diagnostic>) {
    let id = &job.id.value;
    if let Some(token) = &body.snapshot {
        warn(found, &token.span, &format!("the snapshot of job `{id}`"));
    }
}

fn steps(steps: &[Step], found: &mut Vec<Diagnostic>) {
    for step in steps {
        if step.is_background {
            warn(found, &step.span, "a background step");
        }
        match &step.body {
            StepBody::Wait(_) | StepBody::WaitAll | StepBody::Cancel(_) | StepBody::Parallel(_) => {
                warn(found, &step.span, "a step that waits for others");
            }
            StepBody::Run { .. } | StepBody::Uses { .. } => {}
        }
    }
}
