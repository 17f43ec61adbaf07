//! What GitHub runs and this program cannot run yet: refused by name before anything starts.

use super::label::Labels;
use crate::diagnostic::{Diagnostic, Span};
use crate::workflow::{
    Job, JobBody, Located, Step, StepBody, StepsJob, Token, TokenKind, Workflow,
};

/// Returns a warning for everything in a workflow that cannot be run.
///
/// `check` shows them; `run` refuses a workflow that has one, so that nothing is ever green that did
/// not run.
pub fn unsupported(workflow: &Workflow, labels: &Labels) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for job in workflow.jobs.values() {
        if let JobBody::Steps(body) = &job.body {
            job_parts(job, body, labels, &mut found);
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

fn job_parts(job: &Job, body: &StepsJob, served: &Labels, found: &mut Vec<Diagnostic>) {
    let id = &job.id.value;
    for label in written_labels(&body.runs_on) {
        let labels = [label.value];
        if !served.unserved(&labels).is_empty() {
            let message = format!(
                "nobody serves the label `{}` of job `{id}`",
                labels.join("")
            );
            found.push(
                Diagnostic::warning("unserved-label", &label.span, message).with_hint(
                    "this machine serves ubuntu-…, self-hosted, linux and its architecture; `run --on LABEL=host` or `--on LABEL=docker:IMAGE` serves another",
                ),
            );
        }
    }
    if let Some(token) = &body.snapshot {
        warn(found, &token.span, &format!("the snapshot of job `{id}`"));
    }
}

/// Returns the labels that stand in the file as they are; those of expressions are known later.
fn written_labels(token: &Token) -> Vec<Located<String>> {
    match &token.kind {
        TokenKind::String(label) => {
            vec![Located {
                value: label.clone(),
                span: token.span.clone(),
            }]
        }
        TokenKind::Sequence(items) => items.iter().flat_map(written_labels).collect(),
        TokenKind::Mapping(_) => {
            let group = token.get("group").into_iter().flat_map(written_labels);
            let group = group.map(|group| Located {
                value: format!("group:{}", group.value),
                ..group
            });
            let labels = token.get("labels").into_iter().flat_map(written_labels);
            group.chain(labels).collect()
        }
        _ => Vec::new(),
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
