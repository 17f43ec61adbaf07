//! Makes spans of what happens in a job: of the job, its steps, and the phases of a deploy.
//!
//! Source of the names: OpenTelemetry, "Semantic conventions for CICD spans".

use std::collections::BTreeMap;

use crate::mask::Masked;
use crate::run::{
    Conclusion, DeployOutcome, DeployProgress, JobKey, RunEvent, RunOutcome, Timestamp,
};
use crate::telemetry::{
    Attribute, Exporter, Outcome, Resource, Span, SpanId, SpanKind, Spans, TraceId,
};

use super::Reporter;

/// What `error.type` is where something failed by itself.
const FAILURE: &str = "failure";

/// A run whose parts are told of.
#[derive(Debug, Clone)]
pub struct TracedRun {
    /// Its trace: another one for each attempt.
    pub trace: TraceId,
    /// What all its spans are of.
    pub resource: Resource,
    /// Its number and attempt, by which its jobs are named.
    pub id: Masked,
}

/// How a run or a job ended, and when.
#[derive(Debug, Clone)]
pub struct TracedEnd {
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// How.
    pub conclusion: Conclusion,
    /// Whether a time limit ended it.
    pub is_timed_out: bool,
    /// What became of a deployment that did not go through.
    pub deploy: Option<DeployOutcome>,
    /// Why, in words.
    pub reason: Option<Masked>,
}

impl TracedEnd {
    /// Returns the word for how it ended.
    fn result(&self) -> &'static str {
        match self.conclusion {
            _ if self.is_timed_out => "timeout",
            Conclusion::Success => "success",
            Conclusion::Failure => FAILURE,
            Conclusion::Cancelled => "cancellation",
            Conclusion::Skipped => "skip",
        }
    }

    /// Returns what kind of failure it was, if it was one.
    fn error(&self) -> Option<&'static str> {
        match self.deploy {
            Some(DeployOutcome::Undone) => Some("deploy_undone"),
            Some(DeployOutcome::UndoIncomplete) => Some("deploy_undo_incomplete"),
            Some(DeployOutcome::Unknown) => Some("deploy_unknown"),
            None | Some(DeployOutcome::Stands) if self.is_timed_out => Some("timeout"),
            None | Some(DeployOutcome::Stands) => {
                (self.conclusion == Conclusion::Failure).then_some(FAILURE)
            }
        }
    }

    fn outcome(&self) -> Outcome {
        match self.error() {
            Some(_) => Outcome::Error(self.reason.clone().unwrap_or_default()),
            None => Outcome::Unset,
        }
    }
}

impl TracedRun {
    fn root(&self) -> SpanId {
        SpanId::of(self.trace, &["run"])
    }

    /// Returns the span of the run as a whole; `about` is what else is known of it.
    pub fn span(&self, workflow: &Masked, end: &TracedEnd, about: Vec<Attribute>) -> Spans {
        let mut attributes = vec![
            Attribute::word("cicd.pipeline.action.name", "RUN"),
            Attribute::word("cicd.pipeline.result", end.result()),
        ];
        attributes.extend(end.error().map(|kind| Attribute::word("error.type", kind)));
        attributes.extend(about);
        let name = Masked::join([&Masked::from_static("RUN"), workflow], " ");
        let span = Span {
            trace: self.trace,
            id: self.root(),
            parent: None,
            name,
            kind: SpanKind::Server,
            start: end.start,
            end: end.end.max(end.start),
            attributes,
            outcome: end.outcome(),
        };
        Spans {
            resource: self.resource.clone(),
            spans: vec![span],
        }
    }

    /// Begins to take what happens in a job; `owner` tells its tries apart.
    pub fn job(&self, key: JobKey, owner: u64) -> JobTrace {
        let words = ["job".to_owned(), key.0.to_string(), owner.to_string()];
        let words = words.each_ref().map(String::as_str);
        JobTrace {
            run: self.clone(),
            key,
            id: SpanId::of(self.trace, &words),
            start: None,
            last: None,
            steps: BTreeMap::new(),
            phases: Vec::new(),
            spans: Vec::new(),
        }
    }
}

#[derive(Debug)]
struct OpenStep {
    name: Masked,
    start: Timestamp,
}

#[derive(Debug)]
struct OpenPhase {
    phase: Masked,
    host: Option<Masked>,
    undoing: bool,
    /// The step in which it began.
    step: Option<u32>,
    start: Timestamp,
}

/// Takes what happens in a job, in its order, and makes spans of it.
#[derive(Debug)]
pub struct JobTrace {
    run: TracedRun,
    key: JobKey,
    id: SpanId,
    start: Option<Timestamp>,
    last: Option<Timestamp>,
    steps: BTreeMap<u32, OpenStep>,
    phases: Vec<OpenPhase>,
    spans: Vec<Span>,
}

impl JobTrace {
    /// Takes the next event of the job.
    pub fn take(&mut self, at: Timestamp, event: &RunEvent) {
        // A clock that was set back makes no part end before it began.
        let at = self.last.map_or(at, |last| at.max(last));
        self.last = Some(at);
        match event {
            RunEvent::JobStarted { .. } => self.start = Some(at),
            RunEvent::StepStarted { step, name, .. } => {
                let name = name.clone();
                self.steps.insert(*step, OpenStep { name, start: at });
            }
            RunEvent::StepFinished {
                step,
                name,
                outcome,
                conclusion,
                ..
            } => {
                let open = self.steps.remove(step).unwrap_or_else(|| OpenStep {
                    name: name.clone(),
                    start: at,
                });
                self.end_phases(Some(*step), at);
                let is_kept_on = *outcome == Conclusion::Failure && conclusion != outcome;
                let mut span = self.step(*step, open, at, *outcome);
                if is_kept_on {
                    span.attributes
                        .push(Attribute::Flag("runner.step.continue_on_error", true));
                }
                self.spans.push(span);
            }
            RunEvent::Deployment { progress, .. } => self.phase(at, progress),
            _ => {}
        }
    }

    fn step(&self, number: u32, open: OpenStep, end: Timestamp, outcome: Conclusion) -> Span {
        let ended = TracedEnd {
            start: open.start,
            end,
            conclusion: outcome,
            is_timed_out: false,
            deploy: None,
            reason: None,
        };
        let id = Masked::join([&self.task(), &Masked::from(number)], "/");
        let mut attributes = vec![
            Attribute::Text("cicd.pipeline.task.name", open.name.clone()),
            Attribute::Text("cicd.pipeline.task.run.id", id),
            Attribute::word("cicd.pipeline.task.run.result", ended.result()),
        ];
        attributes.extend(
            ended
                .error()
                .map(|kind| Attribute::word("error.type", kind)),
        );
        Span {
            trace: self.run.trace,
            id: self.step_id(number),
            parent: Some(self.id),
            name: open.name,
            kind: SpanKind::Internal,
            start: open.start,
            end,
            attributes,
            outcome: ended.outcome(),
        }
    }

    fn step_id(&self, number: u32) -> SpanId {
        let (job, step) = (self.id.to_string(), number.to_string());
        SpanId::of(self.run.trace, &[&job, "step", &step])
    }

    /// Returns what names the job among all tasks of all runs.
    fn task(&self) -> Masked {
        Masked::join([&self.run.id, &Masked::from(self.key.0)], "/")
    }

    fn phase(&mut self, at: Timestamp, progress: &DeployProgress) {
        let undoing = progress.text.as_str().starts_with("und");
        let is_it = |open: &OpenPhase| {
            open.phase == progress.phase && open.host == progress.host && open.undoing == undoing
        };
        match progress.milliseconds {
            None => self.phases.push(OpenPhase {
                phase: progress.phase.clone(),
                host: progress.host.clone(),
                undoing,
                step: self.steps.keys().next_back().copied(),
                start: at,
            }),
            Some(_) => {
                if let Some(place) = self.phases.iter().position(is_it) {
                    let open = self.phases.remove(place);
                    self.end_phase(open, at, Outcome::Unset);
                }
            }
        }
    }

    fn end_phase(&mut self, open: OpenPhase, end: Timestamp, outcome: Outcome) {
        let place = self.spans.len().to_string();
        let undo = open.undoing.then(|| Masked::from_static("undo"));
        let mut attributes = vec![
            Attribute::Text("runner.deploy.phase", open.phase.clone()),
            Attribute::Flag("runner.deploy.undo", open.undoing),
        ];
        attributes.extend(
            open.host
                .map(|host| Attribute::Text("server.address", host)),
        );
        if matches!(outcome, Outcome::Error(_)) {
            attributes.push(Attribute::word("error.type", FAILURE));
        }
        self.spans.push(Span {
            trace: self.run.trace,
            id: SpanId::of(self.run.trace, &[&self.id.to_string(), "phase", &place]),
            parent: Some(open.step.map_or(self.id, |step| self.step_id(step))),
            name: Masked::join(undo.iter().chain([&open.phase]), " "),
            kind: SpanKind::Internal,
            start: open.start,
            end,
            attributes,
            outcome,
        });
    }

    /// Ends the phases of a step that did not end by themselves: they failed.
    fn end_phases(&mut self, step: Option<u32>, at: Timestamp) {
        let (ended, rest) = std::mem::take(&mut self.phases)
            .into_iter()
            .partition(|open| step.is_none() || open.step == step);
        self.phases = rest;
        let ended: Vec<OpenPhase> = ended;
        for open in ended {
            self.end_phase(open, at, Outcome::Error(Masked::default()));
        }
    }

    /// Ends the job, and returns its spans.
    ///
    /// What was open is ended with it: its process may have been killed. The times of the job's own
    /// events count where they are there, since all of them are by one clock.
    pub fn finish(mut self, name: &Masked, end: &TracedEnd, about: Vec<Attribute>) -> Spans {
        let start = self.start.unwrap_or(end.start);
        let last = self.last.unwrap_or(end.end).max(start);
        self.end_phases(None, last);
        for (number, open) in std::mem::take(&mut self.steps) {
            let mut span = self.step(number, open, last, Conclusion::Failure);
            span.outcome = Outcome::Error(Masked::from_static("it was not seen to end"));
            self.spans.push(span);
        }
        let mut attributes = vec![
            Attribute::Text("cicd.pipeline.task.name", name.clone()),
            Attribute::Text("cicd.pipeline.task.run.id", self.task()),
            Attribute::word("cicd.pipeline.task.run.result", end.result()),
        ];
        attributes.extend(end.error().map(|kind| Attribute::word("error.type", kind)));
        attributes.extend(about);
        self.spans.push(Span {
            trace: self.run.trace,
            id: self.id,
            parent: Some(self.run.root()),
            name: name.clone(),
            kind: SpanKind::Internal,
            start,
            end: if self.last.is_some() {
                last
            } else {
                end.end.max(start)
            },
            attributes,
            outcome: end.outcome(),
        });
        Spans {
            resource: self.run.resource,
            spans: self.spans,
        }
    }
}

/// Tells a collector of a run of this process.
#[derive(Debug)]
pub struct Traces {
    run: TracedRun,
    exporter: Exporter,
    clock: fn() -> Timestamp,
    workflow: Masked,
    start: Timestamp,
    jobs: BTreeMap<JobKey, (Masked, JobTrace)>,
}

impl Traces {
    /// Returns who tells of a run that begins at this moment.
    pub fn new(run: TracedRun, exporter: Exporter, clock: fn() -> Timestamp) -> Self {
        Self {
            run,
            exporter,
            clock,
            workflow: Masked::default(),
            start: clock(),
            jobs: BTreeMap::new(),
        }
    }

    fn end(&self, outcome: RunOutcome, end: Timestamp) {
        let ended = TracedEnd {
            start: self.start,
            end,
            conclusion: outcome.conclusion,
            is_timed_out: outcome.is_timed_out,
            deploy: outcome.deploy,
            reason: None,
        };
        let spans = self.run.span(&self.workflow, &ended, Vec::new());
        self.exporter.tell(&spans);
    }
}

impl Reporter for Traces {
    fn report(&mut self, event: &RunEvent) {
        if matches!(event, RunEvent::Output { .. }) {
            return;
        }
        let at = (self.clock)();
        match event {
            RunEvent::RunStarted { workflow, .. } => self.workflow = workflow.clone(),
            RunEvent::JobPlanned { job, planned } => {
                let trace = self.run.job(*job, 0);
                self.jobs.insert(*job, (planned.name.clone(), trace));
            }
            RunEvent::RunFinished { outcome } => self.end(*outcome, at),
            _ => {}
        }
        let Some(job) = event.job() else { return };
        if let Some((_, trace)) = self.jobs.get_mut(&job) {
            trace.take(at, event);
        }
        let RunEvent::JobFinished { end, .. } = event else {
            return;
        };
        // Of a job that never began there is nothing to tell.
        if let Some((name, trace)) = self.jobs.remove(&job)
            && trace.start.is_some()
        {
            let ended = TracedEnd {
                start: at,
                end: at,
                conclusion: end.conclusion,
                is_timed_out: end.is_timed_out,
                deploy: end.deploy,
                reason: end.reason.clone(),
            };
            self.exporter.tell(&trace.finish(&name, &ended, Vec::new()));
        }
    }
}
