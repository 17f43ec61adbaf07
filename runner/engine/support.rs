//! What GitHub runs and this program cannot run yet: refused by name before anything starts.

use std::path::Path;

use super::action::ActionRegistry;
use super::label::Labels;
use crate::diagnostic::{Diagnostic, Span};
use crate::workflow::{
    ActionReference, Job, JobBody, Located, Step, StepBody, StepsJob, Token, TokenKind, Workflow,
};

/// Returns a warning for everything in a workflow that cannot be run.
///
/// `check` shows them; `run` refuses a workflow that has one, so that nothing is ever green that did
/// not run. `labels` are those that are served; none where machines that are not known may serve others.
pub fn unsupported(workflow: &Workflow, labels: Option<&Labels>) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for job in workflow.jobs.values() {
        if let JobBody::Steps(body) = &job.body {
            if let Some(labels) = labels {
                job_labels(job, body, labels, &mut found);
            }
            if let Some(token) = &body.snapshot {
                let what = format!("the snapshot of job `{}`", job.id.value);
                warn(&mut found, &token.span, &what);
            }
            steps(&body.steps, &mut found);
        }
    }
    found
}

/// Warns of each action that a job surely needs and that is neither built in nor in `folder`, where
/// actions lie as `owner/repository`: nothing is fetched.
///
/// A job gets its actions before its first step, whatever the conditions of its steps; one with a
/// condition of its own may be skipped, and fails by itself if it is not.
pub fn absent_actions(
    workflow: &Workflow,
    built_in: &ActionRegistry,
    folder: Option<&Path>,
) -> Vec<Diagnostic> {
    let jobs = workflow.jobs.values();
    let steps = jobs
        .filter(|job| !job.condition.is_written)
        .filter_map(|job| match &job.body {
            JobBody::Steps(body) => Some(&body.steps),
            JobBody::Call(_) => None,
        })
        .flatten();
    let absent = steps.filter_map(|step| {
        let StepBody::Uses { uses, .. } = &step.body else {
            return None;
        };
        let ActionReference::Repository {
            owner,
            repository,
            path,
            ..
        } = &uses.value
        else {
            return None;
        };
        let place = Path::new(owner).join(repository).join(path);
        let name = place.to_string_lossy().trim_end_matches('/').to_owned();
        let is_there = built_in.get(&name).is_some()
            || folder.is_some_and(|folder| folder.join(&place).is_dir());
        let near = || crate::diagnostic::nearest(&name, built_in.names());
        (!is_there).then(|| {
            let hint = match near() {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("nothing is fetched: put the action at {name} in a folder, and name that folder by --actions-dir"),
            };
            let message = format!("the action `{name}` is not here");
            Diagnostic::warning("absent-action", &uses.span, message).with_hint(hint)
        })
    });
    absent.collect()
}

fn warn(found: &mut Vec<Diagnostic>, span: &Span, what: &str) {
    let message = format!("{what} cannot be run yet");
    found.push(Diagnostic::warning("unsupported", span, message).with_hint(
        "GitHub accepts this; `runner run` refuses it, so that nothing is green that did not run",
    ));
}

fn job_labels(job: &Job, body: &StepsJob, served: &Labels, found: &mut Vec<Diagnostic>) {
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
                    "this machine serves ubuntu-…, self-hosted, linux and its architecture; `run --on LABEL=host`, `LABEL=docker:IMAGE` or `LABEL=ssh://USER@HOST` serves another",
                ),
            );
        }
    }
    let labels: Vec<String> = written_labels(&body.runs_on)
        .into_iter()
        .map(|label| label.value)
        .collect();
    if served.machine(&labels).is_some()
        && served.image(&labels).is_none()
        && body.container.is_none()
    {
        let message =
            format!("job `{id}` runs in no container, and its label leads to another machine");
        found.push(
            Diagnostic::warning("no-image", &body.runs_on.span, message).with_hint(
                "on another machine jobs run in containers: give the job a `container:`, or the label an image: LABEL=ssh://USER@HOST?image=IMAGE",
            ),
        );
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
