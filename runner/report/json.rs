//! One JSON object a line, for programs.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::json;

use super::Reporter;
use crate::run::{Conclusion, JobEnd, JobKey, PlannedJob, RunEvent, RunOutcome, Stream};

/// Writes log lines as they come and one result at the end.
#[derive(Debug)]
pub struct JsonLines<W> {
    out: W,
    jobs: BTreeMap<JobKey, (PlannedJob, Option<JobEnd>)>,
    summary: String,
}

impl<W: Write> JsonLines<W> {
    /// Returns a reporter that writes to `out`.
    pub fn new(out: W) -> Self {
        Self {
            out,
            jobs: BTreeMap::new(),
            summary: String::new(),
        }
    }

    /// Writes the result of a run that never began: `rejected` or `not_triggered`.
    pub fn write_without_run(out: &mut W, conclusion: &str, reason: &str) {
        let line = json!({"type": "result", "conclusion": conclusion, "jobs": [], "summary": "", "reason": reason});
        write_line(out, &line);
    }

    fn id(&self, job: JobKey) -> &str {
        self.jobs
            .get(&job)
            .map_or("", |(planned, _)| planned.id.as_str())
    }

    fn write_result(&mut self, outcome: RunOutcome) {
        let jobs: Vec<_> = self
            .jobs
            .values()
            .map(|(planned, end)| {
                let conclusion = end.as_ref().map_or(Conclusion::Cancelled, |end| end.conclusion);
                let reason = end.as_ref().and_then(|end| end.reason.as_ref());
                json!({"id": planned.id, "name": planned.name, "conclusion": conclusion, "reason": reason})
            })
            .collect();
        let conclusion = if outcome.is_timed_out {
            "timed_out"
        } else {
            outcome.conclusion.as_str()
        };
        let mut line = json!({"type": "result", "conclusion": conclusion, "jobs": jobs, "summary": self.summary});
        if let (Some(deploy), Some(object)) = (outcome.deploy, line.as_object_mut()) {
            object.insert("deploy".to_owned(), json!(deploy));
        }
        write_line(&mut self.out, &line);
    }
}

impl<W: Write + Send> Reporter for JsonLines<W> {
    fn report(&mut self, event: &RunEvent) {
        match event {
            RunEvent::JobPlanned { job, planned } => {
                self.jobs.insert(*job, (planned.clone(), None));
            }
            RunEvent::Output {
                job,
                step,
                stream,
                text,
            } if *stream != Stream::Debug => {
                let id = self.id(*job).to_owned();
                for line in text.as_str().lines() {
                    write_line(
                        &mut self.out,
                        &json!({"type": "log", "job": id, "step": step, "line": line}),
                    );
                }
            }
            RunEvent::JobFinished { job, end } => {
                if let Some((_, known)) = self.jobs.get_mut(job) {
                    *known = Some(end.clone());
                }
                let line = json!({"type": "job_finished", "job": self.id(*job), "conclusion": end.conclusion});
                write_line(&mut self.out, &line);
            }
            RunEvent::Summary { text, .. } => self.summary.push_str(text.as_str()),
            RunEvent::RunFinished { outcome } => self.write_result(*outcome),
            RunEvent::Annotation {
                job,
                step,
                annotation,
            } => {
                let id = self.id(*job).to_owned();
                // GitHub's log has annotations as lines, too.
                for line in annotation.message.as_str().lines() {
                    let line = format!("{}: {line}", annotation.level.as_str());
                    write_line(
                        &mut self.out,
                        &json!({"type": "log", "job": id, "step": step, "line": line}),
                    );
                }
                let line = json!({"type": "annotation", "job": self.id(*job), "step": step, "annotation": annotation});
                write_line(&mut self.out, &line);
            }
            RunEvent::Deployment { job, progress } => {
                let line =
                    json!({"type": "deployment", "job": self.id(*job), "progress": progress});
                write_line(&mut self.out, &line);
            }
            RunEvent::StepFinished {
                job,
                step,
                name,
                outcome,
                conclusion,
                milliseconds,
            } => {
                let line = json!({"type": "step_finished", "job": self.id(*job), "step": step,
                    "name": name, "outcome": outcome, "conclusion": conclusion, "milliseconds": milliseconds});
                write_line(&mut self.out, &line);
            }
            RunEvent::RunStarted { .. }
            | RunEvent::JobStarted { .. }
            | RunEvent::StepStarted { .. }
            | RunEvent::Output { .. } => {}
        }
    }
}

fn write_line(out: &mut impl Write, line: &serde_json::Value) {
    // A reader that went away ends nobody's run.
    drop(writeln!(out, "{line}"));
}
