//! What GitHub takes but will surprise: names that nothing has, texts of strangers in scripts.

use std::collections::HashSet;

use crate::diagnostic::{Diagnostic, Severity, Span, nearest};
use crate::expression::{Expression, Reference, Step as Way};
use crate::workflow::model::{
    ActionManifest, ActionReference, ActionRuns, CallSecrets, Condition, Job, JobBody, RunDefaults,
    Step, StepBody, StepsJob, Strategy, Workflow,
};
use crate::workflow::token::{Token, TokenKind};

use super::inputs::pairs;
use super::reader::Reader;

/// Ways from `github` to texts that anybody can write, `*` for any step of a list.
const STRANGERS: [&str; 17] = [
    "head_ref",
    "event.issue.title",
    "event.issue.body",
    "event.pull_request.title",
    "event.pull_request.body",
    "event.pull_request.head.ref",
    "event.pull_request.head.label",
    "event.pull_request.head.repo.default_branch",
    "event.comment.body",
    "event.review.body",
    "event.review_comment.body",
    "event.discussion.title",
    "event.discussion.body",
    "event.head_commit.message",
    "event.head_commit.author.name",
    "event.commits.*.message",
    "event.commits.*.author.name",
];

/// Among how many names a near one is looked for.
const MAX_WORDS: usize = 500;

/// Warns of what surprises in a workflow.
pub(super) fn workflow(reader: &mut Reader<'_>, workflow: &Workflow) {
    let mut known = Known::default();
    let call = workflow.on.call.as_ref();
    known.inputs = Some(
        workflow
            .on
            .dispatch_inputs
            .keys()
            .chain(call.into_iter().flat_map(|call| call.inputs.keys()))
            .map(|name| name.to_lowercase())
            .collect(),
    );
    let jobs = workflow.jobs.keys().map(|id| id.to_lowercase()).collect();
    let mut lint = Lint {
        reader,
        known,
        said: HashSet::new(),
    };
    lint.tokens([&workflow.run_name, &workflow.env, &workflow.concurrency]);
    lint.defaults(&workflow.defaults);
    for job in workflow.jobs.values() {
        lint.job(job);
    }
    lint.known.jobs = Some(jobs);
    for output in call.into_iter().flat_map(|call| call.outputs.values()) {
        lint.token(output);
    }
    deadlocks(lint.reader, workflow);
}

/// Warns of what surprises in an action.
pub(in crate::workflow) fn action(reader: &mut Reader<'_>, manifest: &ActionManifest) {
    let ActionRuns::Composite { steps } = &manifest.runs else {
        return;
    };
    let inputs = manifest.inputs.keys().map(|name| name.to_lowercase());
    let mut lint = Lint {
        reader,
        known: Known {
            inputs: Some(inputs.collect()),
            steps: Some(HashSet::new()),
            ..Known::default()
        },
        said: HashSet::new(),
    };
    lint.steps(steps);
    for output in manifest.outputs.values().flatten() {
        lint.token(output);
    }
}

/// The names that the contexts have at a place, in lower case; `None` where they cannot be known.
#[derive(Debug, Default)]
struct Known {
    inputs: Option<HashSet<String>>,
    needs: Option<HashSet<String>>,
    steps: Option<HashSet<String>>,
    matrix: Option<HashSet<String>>,
    jobs: Option<HashSet<String>>,
}

struct Lint<'r, 's> {
    reader: &'r mut Reader<'s>,
    known: Known,
    /// Where something was said already, and of what, since a text is found where it stands first.
    said: HashSet<(usize, String)>,
}

impl Lint<'_, '_> {
    fn job(&mut self, job: &Job) {
        let needs = job.needs.iter().map(|need| need.value.to_lowercase());
        self.known.needs = Some(needs.collect());
        self.condition(&job.condition);
        if let Some(strategy) = &job.strategy {
            self.tokens([
                &strategy.whole,
                &strategy.matrix,
                &strategy.fail_fast,
                &strategy.max_parallel,
            ]);
        }
        self.known.matrix = matrix_keys(job.strategy.as_ref());
        self.tokens([&job.name, &job.concurrency]);
        if let Some(concurrency) = &job.concurrency {
            queue(self.reader, concurrency);
        }
        match &job.body {
            JobBody::Steps(body) => self.steps_job(body),
            JobBody::Call(call) => {
                call.with.values().for_each(|value| self.token(value));
                if let CallSecrets::Named(secrets) = &call.secrets {
                    secrets.values().for_each(|value| self.token(value));
                }
            }
        }
        self.known.needs = None;
        self.known.matrix = None;
    }

    fn steps_job(&mut self, job: &StepsJob) {
        self.token(&job.runs_on);
        self.defaults(&job.defaults);
        self.tokens([
            &job.env,
            &job.timeout_minutes,
            &job.continue_on_error,
            &job.container,
            &job.services,
        ]);
        self.known.steps = Some(HashSet::new());
        self.steps(&job.steps);
        self.tokens([&job.environment]);
        job.outputs.values().for_each(|value| self.token(value));
        self.known.steps = None;
    }

    /// Looks at steps in order: each knows only those before it.
    fn steps(&mut self, steps: &[Step]) {
        for step in steps {
            self.step(step);
            if let Some(known) = &mut self.known.steps {
                known.extend(step.id.as_ref().map(|id| id.value.to_lowercase()));
            }
        }
    }

    fn step(&mut self, step: &Step) {
        self.condition(&step.condition);
        self.tokens([
            &step.name,
            &step.env,
            &step.continue_on_error,
            &step.timeout_minutes,
        ]);
        match &step.body {
            StepBody::Run {
                script,
                shell,
                working_directory,
            } => {
                self.token(script);
                self.tokens([shell, working_directory]);
                self.strangers(script);
            }
            StepBody::Uses { uses, with } => {
                self.tokens([with]);
                if let ActionReference::Repository { path, .. } = &uses.value
                    && path.starts_with(".github/workflows/")
                {
                    let message =
                        format!("`{}` is a workflow, but a step runs an action", uses.value);
                    let problem = Diagnostic::warning("uses-format", &uses.span, message);
                    self.reader
                        .report(problem.with_hint("workflows are called by `uses` of a job"));
                }
                if let Some(script) = with.as_ref().and_then(|with| with.get("script")) {
                    self.strangers(script);
                }
            }
            StepBody::Parallel(steps) => self.steps(steps),
            StepBody::Wait(_) | StepBody::WaitAll | StepBody::Cancel(_) => {}
        }
    }

    fn defaults(&mut self, defaults: &RunDefaults) {
        self.tokens([
            &defaults.whole,
            &defaults.shell,
            &defaults.working_directory,
        ]);
    }

    fn tokens<const N: usize>(&mut self, tokens: [&Option<Token>; N]) {
        for token in tokens.into_iter().flatten() {
            self.token(token);
        }
    }

    fn token(&mut self, token: &Token) {
        each_expression(token, &mut |token, expression| {
            self.expression(&token.span, expression);
        });
    }

    fn condition(&mut self, condition: &Condition) {
        if !condition.is_written {
            return;
        }
        self.expression(&condition.span, &condition.expression);
    }

    fn expression(&mut self, span: &Span, expression: &Expression) {
        for reference in expression.references() {
            self.reference(span, expression, &reference);
        }
    }

    fn reference(&mut self, span: &Span, expression: &Expression, reference: &Reference) {
        let Some(name) = reference.property(0) else {
            return;
        };
        if self.reader.is_full(Severity::Warning) {
            return;
        }
        let (known, code, what) = match reference.context.to_lowercase().as_str() {
            "inputs" => (
                &self.known.inputs,
                "unknown-input",
                "no such input is declared",
            ),
            "needs" => (
                &self.known.needs,
                "unknown-need",
                "the job does not name it in `needs`, so it is empty",
            ),
            "steps" => (
                &self.known.steps,
                "unknown-step",
                "no step before has this id, so it is empty",
            ),
            "matrix" => (
                &self.known.matrix,
                "unknown-matrix-key",
                "the matrix has no such key",
            ),
            "jobs" => (&self.known.jobs, "unknown-job", "there is no such job"),
            _ => return,
        };
        let Some(known) = known else { return };
        if known.contains(&name.to_lowercase()) {
            return;
        }
        let words = known.iter().map(String::as_str).take(MAX_WORDS);
        let near = nearest(name, words).map(str::to_owned);
        let written = expression.text().get(reference.span.clone());
        let place = self.reader.find_in(span, written.unwrap_or_default());
        if !self.said.insert((place.bytes.start, name.to_owned())) {
            return;
        }
        let message = format!("`{}.{name}`: {what}", reference.context);
        let problem = Diagnostic::warning(code, &place, message);
        self.reader.report(match near {
            Some(near) => problem.with_hint(format!("did you mean `{near}`?")),
            None => problem,
        });
    }

    /// Warns of texts that anybody can write in a script, where they are run as part of it.
    fn strangers(&mut self, script: &Token) {
        each_expression(script, &mut |token, expression| {
            for reference in expression.references() {
                if !reference.is_context("github") || !is_strangers(&reference.path) {
                    continue;
                }
                let written = expression.text().get(reference.span.clone());
                let written = written.unwrap_or_default();
                let place = self.reader.find_in(&token.span, written);
                if !self.said.insert((place.bytes.start, "script".to_owned())) {
                    continue;
                }
                let message =
                    format!("anybody can write `{written}`, and it becomes part of the script");
                self.reader.report(
                    Diagnostic::warning("script-injection", &place, message)
                        .with_hint("give it to the script as a variable in `env`"),
                );
            }
        });
    }
}

fn is_strangers(path: &[Way]) -> bool {
    let way: Vec<&str> = path
        .iter()
        .map(|step| match step {
            Way::Property(name) if name.parse::<usize>().is_err() => name,
            _ => "*",
        })
        .collect();
    let way = way.join(".");
    STRANGERS
        .iter()
        .any(|stranger| way.eq_ignore_ascii_case(stranger))
}

/// Walks over the expressions in a token, each with the token that it stands in.
fn each_expression(token: &Token, visit: &mut impl FnMut(&Token, &Expression)) {
    match &token.kind {
        TokenKind::Expression(template) => template
            .expressions()
            .for_each(|(_, expression)| visit(token, expression)),
        TokenKind::Sequence(items) => items.iter().for_each(|item| each_expression(item, visit)),
        TokenKind::Mapping(entries) => {
            for (key, value) in entries {
                each_expression(key, visit);
                each_expression(value, visit);
            }
        }
        _ => {}
    }
}

/// Lists the keys of a matrix in lower case; `None` if expressions decide about them.
fn matrix_keys(strategy: Option<&Strategy>) -> Option<HashSet<String>> {
    let Some(strategy) = strategy else {
        return Some(HashSet::new());
    };
    if strategy.whole.is_some() {
        return None;
    }
    let Some(matrix) = &strategy.matrix else {
        return Some(HashSet::new());
    };
    let mut keys = HashSet::new();
    for (key, value) in matrix.as_mapping()? {
        match key.as_literal()? {
            "include" => {
                for row in value.as_sequence()? {
                    row.as_mapping()?;
                    keys.extend(pairs(row).map(|(name, _)| name.to_lowercase()));
                }
            }
            "exclude" => {}
            name => {
                keys.insert(name.to_lowercase());
            }
        }
    }
    Some(keys)
}

/// Warns of jobs that would wait for the group which their own workflow holds.
fn deadlocks(reader: &mut Reader<'_>, workflow: &Workflow) {
    let Some(concurrency) = &workflow.concurrency else {
        return;
    };
    queue(reader, concurrency);
    let Some(group) = group(concurrency) else {
        return;
    };
    for job in workflow.jobs.values() {
        let own = job.concurrency.as_ref();
        let Some(own) = own.filter(|own| self::group(own) == Some(group)) else {
            continue;
        };
        let message = format!(
            "job `{}` waits for the group `{group}`, which its own workflow holds",
            job.id.value
        );
        reader.report(Diagnostic::warning(
            "concurrency-deadlock",
            &reader.start(&own.span),
            message,
        ));
    }
}

fn group(concurrency: &Token) -> Option<&str> {
    let group = concurrency.get("group").unwrap_or(concurrency);
    match &group.kind {
        TokenKind::String(text) => Some(text),
        TokenKind::Expression(template) => Some(template.text()),
        _ => None,
    }
}

/// Warns of a queue that the next run empties.
fn queue(reader: &mut Reader<'_>, concurrency: &Token) {
    let cancels = concurrency
        .get("cancel-in-progress")
        .map(|token| &token.kind);
    let is_max = concurrency.get("queue").and_then(Token::as_literal) == Some("max");
    if is_max && matches!(cancels, Some(TokenKind::Boolean(true))) {
        let span = concurrency.key_span("queue").unwrap_or(&concurrency.span);
        let message = "`queue: max` has no use beside `cancel-in-progress: true`";
        reader.report(Diagnostic::warning("concurrency-queue", span, message));
    }
}

/// Says that a condition is always the same.
pub(super) fn constant(span: &Span) -> Diagnostic {
    Diagnostic {
        severity: Severity::Info,
        ..Diagnostic::warning("if-constant", span, "this condition never changes")
    }
}
