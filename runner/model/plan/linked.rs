//! Whether a workflow and the workflows that it calls fit each other.

use std::sync::Arc;

use super::call::{MAX_DEPTH, absolute};
use super::job::WorkflowFile;
use super::permissions::Permissions;
use crate::diagnostic::{Diagnostic, Span, nearest};
use crate::workflow::{CallInterface, CallJob, CallSecrets, Job, JobBody, Workflow};

/// What was found where a called workflow should be.
#[derive(Debug, Clone)]
pub enum Found {
    /// The workflow.
    Workflow(Arc<WorkflowFile>),
    /// It would have to be fetched, so nobody looked; in words.
    Elsewhere(String),
    /// There is no such file; in words.
    Missing(String),
    /// The file is not valid; in words.
    Invalid(String),
}

/// Returns what is wrong with the calls of a workflow, those of called workflows too.
///
/// Every problem is placed at the call in `workflow` that leads to it.
pub fn linked(workflow: &Workflow, find: &dyn Fn(&str) -> Found) -> Vec<Diagnostic> {
    let mut linker = Linker {
        find,
        problems: Vec::new(),
    };
    linker.calls(workflow, None, &[], None);
    linker.problems
}

/// Where a problem is shown: the job's name and its `uses` in the first file.
#[derive(Clone, Copy)]
struct Place<'a> {
    job: &'a Span,
    uses: &'a Span,
}

struct Linker<'a> {
    find: &'a dyn Fn(&str) -> Found,
    problems: Vec<Diagnostic>,
}

impl Linker<'_> {
    fn calls(
        &mut self,
        workflow: &Workflow,
        place: Option<Place<'_>>,
        callers: &[String],
        most: Option<&Permissions>,
    ) {
        for job in workflow.jobs.values() {
            let JobBody::Call(call) = &job.body else {
                continue;
            };
            let place = place.unwrap_or(Place {
                job: &job.id.span,
                uses: &call.uses.span,
            });
            let given = Permissions::read(job.permissions.as_ref())
                .or_else(|| Permissions::read(workflow.permissions.as_ref()));
            self.call(call, place, callers, given.as_ref().or(most));
        }
    }

    fn call(
        &mut self,
        call: &CallJob,
        place: Place<'_>,
        callers: &[String],
        most: Option<&Permissions>,
    ) {
        let caller = callers.last().map_or("", String::as_str);
        let uses = absolute(caller, &call.uses.value);
        let through = if caller.is_empty() {
            String::new()
        } else {
            format!(", called by `{caller}`")
        };
        if callers.contains(&uses) {
            self.error("call-loop", place.uses, format!("`{uses}` calls itself"));
            return;
        }
        if callers.len() >= MAX_DEPTH {
            let text = format!("`{uses}` is called more than {MAX_DEPTH} levels deep");
            self.error("call-depth", place.uses, text);
            return;
        }
        let file = match (self.find)(&uses) {
            Found::Workflow(file) => file,
            Found::Elsewhere(_) => return,
            Found::Missing(reason) => {
                let warning = Diagnostic::warning("missing-workflow", place.uses, reason);
                return self.problems.push(warning);
            }
            Found::Invalid(reason) => {
                return self.error("invalid-workflow", place.uses, format!("{reason}{through}"));
            }
        };
        let Some(interface) = &file.workflow.on.call else {
            let text = format!("`{uses}`{through} cannot be called: it has no `on: workflow_call`");
            return self.error("not-callable", place.uses, text);
        };
        let is_first = callers.is_empty();
        self.interface(call, interface, (&uses, &through), place, is_first);
        if let Some(most) = most {
            self.permissions(&file.workflow, most, (&uses, &through), place);
        }
        let callers = [callers, &[uses]].concat();
        self.calls(&file.workflow, Some(place), &callers, most);
    }

    /// Compares what is given with what is declared.
    fn interface(
        &mut self,
        call: &CallJob,
        interface: &CallInterface,
        (uses, through): (&str, &str),
        place: Place<'_>,
        is_first: bool,
    ) {
        let is = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
        let inputs: Vec<&str> = interface.inputs.keys().map(String::as_str).collect();
        for (name, value) in &call.with {
            if !inputs.iter().any(|known| is(known, name)) {
                let span = if is_first { &value.span } else { place.uses };
                let text = format!("`{uses}`{through} has no input `{name}`");
                self.error("unknown-input", span, text);
                self.hint(name, &inputs);
            }
        }
        for (name, input) in &interface.inputs {
            let is_given = call.with.keys().any(|given| is(given, name));
            if input.is_required && input.default.is_none() && !is_given {
                let text = format!("input `{name}` of `{uses}`{through} is required");
                self.error("missing-input", place.uses, text);
            }
        }
        let CallSecrets::Named(given) = &call.secrets else {
            return;
        };
        let secrets: Vec<&str> = interface.secrets.keys().map(String::as_str).collect();
        for (name, value) in given {
            if !secrets.iter().any(|known| is(known, name)) {
                let span = if is_first { &value.span } else { place.uses };
                let text = format!("`{uses}`{through} has no secret `{name}`");
                self.error("unknown-secret", span, text);
                self.hint(name, &secrets);
            }
        }
        for (name, is_required) in &interface.secrets {
            if *is_required && !given.keys().any(|given| is(given, name)) {
                let text = format!("secret `{name}` of `{uses}`{through} is required");
                self.error("missing-secret", place.uses, text);
            }
        }
    }

    /// A called workflow gets what its caller has, at most.
    fn permissions(
        &mut self,
        workflow: &Workflow,
        most: &Permissions,
        (uses, through): (&str, &str),
        place: Place<'_>,
    ) {
        let own = (None, workflow.permissions.as_ref());
        let jobs = workflow.jobs.values();
        let jobs = jobs.map(|job: &Job| (Some(&job.id.value), job.permissions.as_ref()));
        for (job, token) in std::iter::once(own).chain(jobs) {
            let wanted = Permissions::read(token);
            let Some((wanted, allowed)) = wanted.and_then(|wanted| wanted.beyond(most)) else {
                continue;
            };
            let who = job.map_or(String::new(), |job| format!("job `{job}` of "));
            let text = format!(
                "{who}`{uses}`{through} asks for `{wanted}`, but its caller has only `{allowed}`"
            );
            self.error("more-permissions", place.job, text);
        }
    }

    fn error(&mut self, code: &'static str, span: &Span, text: String) {
        self.problems.push(Diagnostic::error(code, span, text));
    }

    /// Says with the last problem what there is.
    fn hint(&mut self, name: &str, known: &[&str]) {
        let hint = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "it has none".to_owned(),
            None => format!("it has: {}", known.join(", ")),
        };
        if let Some(problem) = self.problems.pop() {
            self.problems.push(problem.with_hint(hint));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::parse;

    fn file(source: &str) -> Arc<WorkflowFile> {
        let (workflow, problems) = parse(source);
        Arc::new(WorkflowFile {
            path: String::new(),
            source: source.to_owned(),
            workflow: workflow.unwrap_or_else(|| panic!("{problems:?}")),
        })
    }

    /// Checks a job that calls `o/r/a.yml@v1`, with `b.yml` beside it.
    fn check(job: &str, a: &str, b: &str) -> String {
        let steps = "\njobs:\n  j:\n    runs-on: x\n    steps: [{run: x}]\n";
        let whole = |text: &str| {
            let steps = if text.contains("jobs:") { "" } else { steps };
            file(&format!("{text}{steps}"))
        };
        let (a, b) = (whole(a), whole(b));
        let find = |uses: &str| match uses {
            "o/r/a.yml@v1" => Found::Workflow(Arc::clone(&a)),
            "o/r/b.yml@v1" => Found::Workflow(Arc::clone(&b)),
            other => Found::Missing(format!("no {other}")),
        };
        let top = file(&format!("on: push\njobs:\n  top:\n    {job}\n"));
        let problems = linked(&top.workflow, &find);
        let problems = problems
            .iter()
            .map(|problem| format!("{} {}", problem.span.start, problem.code));
        problems.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn what_a_call_gives_is_compared_with_what_is_declared() {
        const A: &str = "on:\n  workflow_call:\n    inputs:\n      name: {type: string, required: true}\n      more: {type: string, default: x, required: true}\n    secrets:\n      key: {required: true}\n";
        for (job, expected) in [
            (
                "uses: o/r/a.yml@v1",
                "4:11 missing-input, 4:11 missing-secret",
            ),
            (
                "uses: o/r/a.yml@v1\n    secrets: inherit",
                "4:11 missing-input",
            ),
            (
                "uses: o/r/a.yml@v1\n    with: {NAME: x}\n    secrets: {key: x}",
                "",
            ),
            (
                "uses: o/r/a.yml@v1\n    with: {nmae: x, name: y}\n    secrets: {key: x, kez: y}",
                "5:18 unknown-input, 6:28 unknown-secret",
            ),
            ("uses: o/r/none.yml@v1", "4:11 missing-workflow"),
        ] {
            assert_eq!(check(job, A, "on: workflow_call"), expected, "{job}");
        }
    }

    #[test]
    fn a_called_workflow_may_not_ask_for_more_than_its_caller_has() {
        const JOB: &str = "permissions: {actions: read}\n    uses: o/r/a.yml@v1";
        let calls = |permissions: &str| {
            format!("on: workflow_call\njobs:\n  j:\n    {permissions}\n    uses: ./b.yml\n")
        };
        let b = "on: workflow_call\npermissions: {actions: read, contents: read}";
        for (job, a, expected) in [
            (JOB, "on: workflow_call".to_owned(), ""),
            (
                JOB,
                "on: workflow_call\npermissions: {actions: write}".to_owned(),
                "3:3 more-permissions",
            ),
            (JOB, calls("name: x"), "3:3 more-permissions"),
            (
                "uses: o/r/a.yml@v1",
                calls("permissions: {actions: read}"),
                "3:3 more-permissions",
            ),
            (
                "permissions: write-all\n    uses: o/r/a.yml@v1",
                calls("permissions: read-all"),
                "",
            ),
            ("uses: o/r/a.yml@v1", calls("name: x"), ""),
        ] {
            assert_eq!(check(job, &a, b), expected, "{job} {a}");
        }
    }

    #[test]
    fn a_loop_and_what_cannot_be_called_are_named() {
        let job = "uses: o/r/a.yml@v1";
        let calls = |path: &str| format!("on: workflow_call\njobs:\n  j:\n    uses: {path}\n");
        assert_eq!(check(job, &calls("./a.yml"), "on: push"), "4:11 call-loop");
        assert_eq!(
            check(job, &calls("./b.yml"), "on: push"),
            "4:11 not-callable"
        );
    }
}
