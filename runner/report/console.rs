//! A run as lines for a person at a terminal or in a log file.

use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

use super::Reporter;
use crate::run::{
    Annotation, AnnotationLevel, Conclusion, DeployProgress, JobEnd, JobKey, PlannedJob, RunEvent,
    RunOutcome, Stream,
};

/// How many of a failed step's last lines are shown again at the end.
const TAIL: usize = 20;

/// How a console writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsoleStyle {
    /// Whether debug lines are shown.
    pub is_debug: bool,
    /// Whether colours are written: they are for terminals.
    pub is_colored: bool,
}

/// Writes a run as lines: what began, what it printed, how it ended and how long it took.
///
/// Each event is written at once, in one piece.
#[derive(Debug)]
pub struct Console<W> {
    out: W,
    style: ConsoleStyle,
    jobs: BTreeMap<JobKey, Job>,
    width: usize,
    palette: Palette,
}

#[derive(Debug)]
struct Job {
    planned: PlannedJob,
    /// The step that runs: its number and name.
    steps: BTreeMap<u32, String>,
    tails: BTreeMap<u32, VecDeque<String>>,
    failed: Vec<u32>,
    end: Option<JobEnd>,
}

/// The styles of a console; all empty where colours are not wanted.
#[derive(Debug, Clone, Copy)]
struct Palette {
    bold: Style,
    dim: Style,
    red: Style,
    green: Style,
    yellow: Style,
    cyan: Style,
}

impl Palette {
    fn new(is_colored: bool) -> Self {
        let style = |style: Style| if is_colored { style } else { Style::new() };
        Self {
            bold: style(Style::new().bold()),
            dim: style(Style::new().dimmed()),
            red: style(AnsiColor::Red.on_default().bold()),
            green: style(AnsiColor::Green.on_default()),
            yellow: style(AnsiColor::Yellow.on_default()),
            cyan: style(AnsiColor::Cyan.on_default()),
        }
    }

    fn sign(&self, conclusion: Conclusion) -> (&'static str, Style) {
        match conclusion {
            Conclusion::Success => ("✓", self.green),
            Conclusion::Failure => ("✗", self.red),
            Conclusion::Cancelled => ("■", self.yellow),
            Conclusion::Skipped => ("-", self.dim),
        }
    }
}

/// Formats a time as a person reads it: `0.3s`, `12s`, `2m 5s`.
pub fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1}s", duration.as_secs_f64()),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
    }
}

impl<W: Write> Console<W> {
    /// Returns a console that writes to `out`.
    pub fn new(out: W, style: ConsoleStyle) -> Self {
        Self {
            out,
            style,
            jobs: BTreeMap::new(),
            width: 0,
            palette: Palette::new(style.is_colored),
        }
    }

    /// Returns what stands before every line of a job: its name.
    fn prefix(&self, job: JobKey) -> String {
        let dim = self.palette.dim;
        let name = self
            .jobs
            .get(&job)
            .map_or("", |job| job.planned.name.as_str());
        let padding = " ".repeat(self.width.saturating_sub(name.chars().count()));
        format!("{dim}{name}{padding}{dim:#} ")
    }

    /// Writes a line behind the name of its job.
    fn line(&mut self, job: JobKey, text: &str) {
        let line = format!("{}{text}\n", self.prefix(job));
        // A reader that went away ends nobody's run.
        drop(self.out.write_all(line.as_bytes()));
    }

    fn step_named(&mut self, job: JobKey, step: u32, name: &str) {
        if let Some(job) = self.jobs.get_mut(&job) {
            job.steps.entry(step).or_insert_with(|| name.to_owned());
        }
    }

    fn step_started(&mut self, job: JobKey, step: u32, name: &str) {
        let bold = self.palette.bold;
        self.step_named(job, step, name);
        self.line(job, &format!("{bold}▸ {name}{bold:#}"));
    }

    /// Writes output: many lines at once, since a step can print gigabytes.
    fn output(&mut self, job: JobKey, step: u32, stream: Stream, text: &str) {
        if stream == Stream::Debug && !self.style.is_debug {
            return;
        }
        let dim = self.palette.dim;
        let (before, after) = match stream {
            Stream::Step => (format!("{}{dim}│{dim:#} ", self.prefix(job)), String::new()),
            Stream::Runner | Stream::Debug => {
                (format!("{}{dim}│ ", self.prefix(job)), format!("{dim:#}"))
            }
        };
        let mut block = String::with_capacity(text.len() * 2);
        for line in text.lines() {
            block.push_str(&before);
            block.push_str(line);
            block.push_str(&after);
            block.push('\n');
        }
        drop(self.out.write_all(block.as_bytes()));
        self.remember(job, step, text);
    }

    /// Keeps the last lines of a step, for the end of a run in which it failed.
    fn remember(&mut self, job: JobKey, step: u32, text: &str) {
        if let Some(job) = self.jobs.get_mut(&job) {
            let tail = job.tails.entry(step).or_default();
            let last: Vec<&str> = text.lines().rev().take(TAIL).collect();
            tail.extend(last.into_iter().rev().map(str::to_owned));
            let surplus = tail.len().saturating_sub(TAIL);
            tail.drain(..surplus);
        }
    }

    fn annotation(&mut self, job: JobKey, step: u32, annotation: &Annotation) {
        let word = annotation.level.as_str();
        let style = match annotation.level {
            AnnotationLevel::Notice => self.palette.cyan,
            AnnotationLevel::Warning => self.palette.yellow,
            AnnotationLevel::Error => self.palette.red,
        };
        let place = match (&annotation.file, annotation.line) {
            (Some(file), Some(line)) => format!("{file}:{line}: "),
            (Some(file), None) => format!("{file}: "),
            (None, _) => String::new(),
        };
        let title = annotation
            .title
            .as_ref()
            .map_or(String::new(), |title| format!("{title}: "));
        if annotation.level == AnnotationLevel::Error {
            let message = annotation.message.as_str();
            self.remember(job, step, &format!("{word}: {place}{title}{message}"));
        }
        for (number, line) in annotation.message.as_str().lines().enumerate() {
            if number == 0 {
                self.line(
                    job,
                    &format!("{style}{word}:{style:#} {place}{title}{line}"),
                );
            } else {
                self.line(job, &format!("       {line}"));
            }
        }
    }

    fn step_finished(
        &mut self,
        job: JobKey,
        step: u32,
        ends: (Conclusion, Conclusion),
        milliseconds: u64,
    ) {
        let Palette { dim, .. } = self.palette;
        let (outcome, conclusion) = ends;
        let Some(known) = self.jobs.get_mut(&job) else {
            return;
        };
        let name = known.steps.get(&step).cloned().unwrap_or_default();
        if conclusion == Conclusion::Failure {
            known.failed.push(step);
        } else {
            known.tails.remove(&step);
        }
        let (sign, style) = self.palette.sign(conclusion);
        let took = format_duration(Duration::from_millis(milliseconds));
        let note = if outcome == conclusion {
            ""
        } else {
            ", failed, but may (continue-on-error)"
        };
        if outcome == Conclusion::Skipped {
            self.line(job, &format!("{dim}{sign} {name} (skipped){dim:#}"));
        } else {
            self.line(
                job,
                &format!("{style}{sign}{style:#} {name} {dim}({took}{note}){dim:#}"),
            );
        }
    }

    fn deployment(&mut self, job: JobKey, progress: &DeployProgress) {
        let Palette { bold, dim, .. } = self.palette;
        let phase = &progress.phase;
        let host = progress
            .host
            .as_ref()
            .map_or(String::new(), |host| format!("{host}: "));
        let took = progress.milliseconds.map_or(String::new(), |milliseconds| {
            format!(
                " {dim}({}){dim:#}",
                format_duration(Duration::from_millis(milliseconds))
            )
        });
        self.line(
            job,
            &format!(
                "{dim}│{dim:#} {bold}{phase}{bold:#} {host}{}{took}",
                progress.text
            ),
        );
    }

    fn run_finished(&mut self, outcome: RunOutcome) {
        drop(writeln!(self.out));
        let jobs = std::mem::take(&mut self.jobs);
        for job in jobs.values() {
            self.job_summary(job);
        }
        let (sign, style) = self.palette.sign(outcome.conclusion);
        let word = if outcome.is_timed_out {
            "timed out"
        } else {
            outcome.conclusion.as_str()
        };
        let deploy = outcome
            .deploy
            .map_or_else(String::new, |deploy| format!("; {}", deploy.words()));
        drop(writeln!(self.out, "{style}{sign} {word}{style:#}{deploy}"));
        drop(self.out.flush());
    }

    fn job_summary(&mut self, job: &Job) {
        let Palette { bold, dim, .. } = self.palette;
        let end = job.end.as_ref();
        let conclusion = end.map_or(Conclusion::Cancelled, |end| end.conclusion);
        let (sign, style) = self.palette.sign(conclusion);
        let took = end.map_or(String::new(), |end| {
            format!(
                " {dim}({}){dim:#}",
                format_duration(Duration::from_millis(end.milliseconds))
            )
        });
        let reason = end.and_then(|end| end.reason.as_ref());
        let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
        drop(writeln!(
            self.out,
            "{style}{sign}{style:#} {}{took}{reason}",
            job.planned.name
        ));
        for step in &job.failed {
            let name = job.steps.get(step).map_or("", String::as_str);
            drop(writeln!(
                self.out,
                "  step {step}, {bold}{name}{bold:#} failed; its last lines:"
            ));
            for line in job.tails.get(step).into_iter().flatten() {
                drop(writeln!(self.out, "  {dim}│{dim:#} {line}"));
            }
        }
    }
}

impl<W: Write + Send> Reporter for Console<W> {
    fn report(&mut self, event: &RunEvent) {
        let Palette { bold, dim, .. } = self.palette;
        match event {
            RunEvent::RunStarted { workflow, event } => {
                drop(writeln!(
                    self.out,
                    "{bold}{workflow}{bold:#} {dim}on {event}{dim:#}"
                ));
            }
            RunEvent::JobPlanned { job, planned } => {
                self.width = self
                    .width
                    .max(planned.name.as_str().chars().count())
                    .min(30);
                let job_state = Job {
                    planned: planned.clone(),
                    steps: BTreeMap::new(),
                    tails: BTreeMap::new(),
                    failed: Vec::new(),
                    end: None,
                };
                self.jobs.insert(*job, job_state);
            }
            RunEvent::JobStarted { .. } | RunEvent::Summary { .. } => {}
            RunEvent::StepStarted { job, step, name } => {
                self.step_started(*job, *step, name.as_str());
            }
            RunEvent::Output {
                job,
                step,
                stream,
                text,
            } => {
                self.output(*job, *step, *stream, text.as_str());
            }
            RunEvent::Annotation {
                job,
                step,
                annotation,
            } => self.annotation(*job, *step, annotation),
            RunEvent::StepFinished {
                job,
                step,
                name,
                outcome,
                conclusion,
                milliseconds,
            } => {
                self.step_named(*job, *step, name.as_str());
                self.step_finished(*job, *step, (*outcome, *conclusion), *milliseconds);
            }
            RunEvent::Deployment { job, progress } => self.deployment(*job, progress),
            RunEvent::JobFinished { job, end } => {
                if let Some(known) = self.jobs.get_mut(job) {
                    known.end = Some(end.clone());
                }
                if end.conclusion == Conclusion::Skipped {
                    let reason = end.reason.as_ref().map_or("", |reason| reason.as_str());
                    self.line(*job, &format!("{dim}- skipped: {reason}{dim:#}"));
                }
            }
            RunEvent::RunFinished { outcome } => self.run_finished(*outcome),
        }
    }
}
