//! Where the steps of a deploy may stand: its transaction lives in one job.

use indexmap::IndexMap;

use super::model::{ActionReference, Job, JobBody, Located, Step, StepBody, StepsJob, Workflow};
use super::parse::status;
use crate::diagnostic::{Diagnostic, Span};

/// The action that opens the transaction.
const OPENS: &str = "ssh-deploy";

/// The actions that go on with a transaction that is open.
const GO_ON: [&str; 3] = ["migrate", "health-check", "promote"];

/// The action that opens a transaction of its own and ends it.
const GOES_BACK: &str = "rollback";

/// Returns an error for every step of a deploy that could only fail where it stands.
///
/// `migrate`, `health-check` and `promote` need an earlier `ssh-deploy` in the same job, which may
/// be there once, and no `rollback` may follow it: the transaction is open to the job's end. GitHub
/// knows none of these actions, so it takes all of this. Steps of composite actions are not seen
/// here; they fail when they run.
pub fn deploy_steps(workflow: &Workflow) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    for job in workflow.jobs.values() {
        if let JobBody::Steps(body) = &job.body {
            let mut opened = None;
            look_at(&body.steps, &job.id.value, &mut opened, &mut found);
        }
    }
    found
}

/// Tells whether a job has a step that can change what runs on servers.
///
/// Steps of composite actions and of scripts are not seen.
pub fn has_deploy_steps(job: &Job) -> bool {
    match &job.body {
        JobBody::Steps(body) => has_any(&body.steps),
        JobBody::Call(_) => false,
    }
}

/// Returns a job without all that is not needed to find its servers again: what remains are the
/// steps that open a deploy and those that check the project out, each without condition and limits.
///
/// None where no step opens a deploy. Steps of composite actions and of scripts are not seen.
pub fn only_openings(job: &Job) -> Option<Job> {
    let JobBody::Steps(body) = &job.body else {
        return None;
    };
    let mut steps = Vec::new();
    keep_openings(&body.steps, &mut steps);
    if !steps.iter().any(opens) {
        return None;
    }
    let mut kept = job.clone();
    kept.body = JobBody::Steps(Box::new(StepsJob {
        timeout_minutes: None,
        cancel_timeout_minutes: None,
        continue_on_error: None,
        outputs: IndexMap::new(),
        container: None,
        services: None,
        steps,
        ..StepsJob::clone(body)
    }));
    Some(kept)
}

/// Tells whether a step opens a deploy, of this or of an earlier release.
pub fn opens(step: &Step) -> bool {
    match &step.body {
        StepBody::Uses { uses, .. } => {
            own_action(&uses.value).is_some_and(|name| name == OPENS || name == GOES_BACK)
        }
        _ => false,
    }
}

fn checks_out(step: &Step) -> bool {
    matches!(&step.body, StepBody::Uses { uses, .. } if matches!(&uses.value,
        ActionReference::Repository { owner, repository, path, .. }
            if path.is_empty()
                && repository.eq_ignore_ascii_case("checkout")
                && (owner.eq_ignore_ascii_case("actions") || owner.eq_ignore_ascii_case("runner"))))
}

fn keep_openings(steps: &[Step], kept: &mut Vec<Step>) {
    for step in steps {
        match &step.body {
            StepBody::Parallel(steps) => keep_openings(steps, kept),
            _ if opens(step) || checks_out(step) => {
                // What went before is not there, so a condition could not be judged.
                let Some(condition) = status(&step.span, "always()") else {
                    continue;
                };
                kept.push(Step {
                    condition,
                    continue_on_error: None,
                    timeout_minutes: None,
                    is_background: false,
                    ..step.clone()
                });
            }
            _ => {}
        }
    }
}

fn has_any(steps: &[Step]) -> bool {
    steps.iter().any(|step| match &step.body {
        StepBody::Uses { uses, .. } => own_action(&uses.value).is_some_and(|name| {
            name == OPENS || name == GOES_BACK || GO_ON.contains(&name.as_str())
        }),
        StepBody::Parallel(steps) => has_any(steps),
        StepBody::Run { .. } | StepBody::Wait(_) | StepBody::WaitAll | StepBody::Cancel(_) => false,
    })
}

fn look_at(steps: &[Step], job: &str, opened: &mut Option<Span>, found: &mut Vec<Diagnostic>) {
    for step in steps {
        match &step.body {
            StepBody::Uses { uses, .. } => {
                if let Some(name) = own_action(&uses.value) {
                    look_at_one(&name, uses, job, opened, found);
                }
            }
            StepBody::Parallel(steps) => look_at(steps, job, opened, found),
            StepBody::Run { .. } | StepBody::Wait(_) | StepBody::WaitAll | StepBody::Cancel(_) => {}
        }
    }
}

fn look_at_one(
    name: &str,
    uses: &Located<ActionReference>,
    job: &str,
    opened: &mut Option<Span>,
    found: &mut Vec<Diagnostic>,
) {
    let error = |message: String| Diagnostic::error("deploy-steps", &uses.span, message);
    match opened {
        None if name == OPENS => *opened = Some(uses.span.clone()),
        None if GO_ON.contains(&name) => {
            let message =
                format!("`runner/{name}` needs an earlier `runner/{OPENS}` in job `{job}`");
            found.push(error(message).with_hint(
                "a deploy is one transaction, and it lives in one job: put its steps into the same job",
            ));
        }
        Some(first) if name == OPENS => {
            let message = format!("job `{job}` has a second `runner/{OPENS}`");
            found.push(
                error(message)
                    .with_hint("a job has one deploy; put the other one into a job of its own")
                    .with_related(first, "the deploy is opened here"),
            );
        }
        Some(first) if name == GOES_BACK => {
            let message =
                format!("`runner/{GOES_BACK}` in job `{job}` comes while a deploy is open");
            found.push(
                error(message)
                    .with_hint("a deploy that does not go through is undone by itself")
                    .with_related(first, "it is open from here to the job's end"),
            );
        }
        _ => {}
    }
}

/// Returns the name of an action that is part of this program, in lower case.
fn own_action(uses: &ActionReference) -> Option<String> {
    match uses {
        ActionReference::Repository {
            owner,
            repository,
            path,
            ..
        } if owner.eq_ignore_ascii_case("runner") && path.is_empty() => {
            Some(repository.to_lowercase())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::workflow::parse;

    /// Each job's steps in words, jobs apart by `|`; `run` is a script.
    fn problems(jobs: &str) -> Vec<String> {
        let mut text = "on: push\njobs:\n".to_owned();
        for (number, steps) in jobs.split('|').enumerate() {
            writeln!(text, "  job{number}:\n    runs-on: x\n    steps:").unwrap();
            for step in steps.split_whitespace() {
                let line = match step {
                    "run" => "      - run: make\n".to_owned(),
                    name if name.contains('/') => format!("      - uses: {name}\n"),
                    name => format!("      - uses: runner/{name}@v1\n"),
                };
                text.push_str(&line);
            }
        }
        let (workflow, diagnostics) = parse(&text);
        let workflow = workflow.unwrap_or_else(|| panic!("{diagnostics:?}"));
        let found = deploy_steps(&workflow);
        assert!(found.iter().all(Diagnostic::is_error));
        found.into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn only_what_leads_to_the_servers_remains_of_a_job() {
        let text = "on: push\njobs:\n  a:\n    runs-on: x\n    timeout-minutes: 5\n    container: y\n    outputs: { v: '${{ steps.d.outputs.version }}' }\n    env: { A: b }\n    steps:\n      - uses: actions/checkout@v4\n      - run: make\n      - uses: owner/checkout@v1\n      - id: d\n        if: steps.x.outputs.y == 'z'\n        uses: runner/ssh-deploy@v1\n        timeout-minutes: 1\n        with: { destination: live }\n      - uses: runner/promote@v1\n  b:\n    runs-on: x\n    steps: [{ uses: actions/checkout@v4 }, { uses: runner/build-image@v1 }]\n";
        let (workflow, diagnostics) = parse(text);
        let workflow = workflow.unwrap_or_else(|| panic!("{diagnostics:?}"));
        let kept = only_openings(&workflow.jobs["a"]).unwrap();
        let JobBody::Steps(body) = &kept.body else {
            panic!("{kept:?}")
        };
        let names: Vec<String> = body
            .steps
            .iter()
            .map(|step| match &step.body {
                StepBody::Uses { uses, .. } => uses.value.to_string(),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(names, ["actions/checkout@v4", "runner/ssh-deploy@v1"]);
        assert!(!opens(&body.steps[0]) && opens(&body.steps[1]));
        assert!(
            body.steps.iter().all(|step| {
                step.condition.text == "always()" && step.timeout_minutes.is_none()
            })
        );
        assert!(body.container.is_none() && body.timeout_minutes.is_none());
        assert!(body.outputs.is_empty() && body.env.is_some());
        assert!(only_openings(&workflow.jobs["b"]).is_none());
    }

    #[test]
    fn a_deploy_lives_in_one_job() {
        for jobs in [
            "checkout ssh-deploy migrate health-check promote run",
            "ssh-deploy promote",
            "ssh-deploy run promote migrate",
            "rollback run",
            "rollback ssh-deploy promote",
            "ssh-deploy promote|ssh-deploy promote",
            "owner/migrate@v1 runner/migrate/sub@v1 ./migrate",
            "build-image push-image",
        ] {
            assert_eq!(problems(jobs), Vec::<String>::new(), "{jobs}");
        }
        let lacks = |name: &str, job: u8| {
            format!("`runner/{name}` needs an earlier `runner/ssh-deploy` in job `job{job}`")
        };
        for (jobs, expected) in [
            ("migrate", vec![lacks("migrate", 0)]),
            ("promote ssh-deploy health-check", vec![lacks("promote", 0)]),
            (
                "ssh-deploy|migrate promote",
                vec![lacks("migrate", 1), lacks("promote", 1)],
            ),
            ("Runner/Health-Check@v2", vec![lacks("health-check", 0)]),
            (
                "ssh-deploy promote ssh-deploy",
                vec!["job `job0` has a second `runner/ssh-deploy`".to_owned()],
            ),
            (
                "ssh-deploy rollback",
                vec!["`runner/rollback` in job `job0` comes while a deploy is open".to_owned()],
            ),
        ] {
            assert_eq!(problems(jobs), expected, "{jobs}");
        }
    }
}
