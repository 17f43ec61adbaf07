//! What a run does now, in the live region of a terminal.

use std::collections::BTreeMap;

use super::Reporter;
use super::screen::{LineKey, screen};
use crate::run::{JobKey, RunEvent};

/// Shows one line for each job that runs, one for each server that a deploy works on, and one that
/// counts.
///
/// It stands before the [`Console`](super::Console) in the list of reporters: the region is gone
/// when the run's last words are printed.
#[derive(Debug, Default)]
pub struct Live {
    jobs: BTreeMap<JobKey, Job>,
    done: usize,
    has_footer: bool,
}

#[derive(Debug)]
struct Job {
    name: String,
    is_running: bool,
    /// The hosts that have lines.
    hosts: Vec<LineKey>,
}

impl Live {
    fn line(job: JobKey) -> LineKey {
        (job.0, String::new())
    }

    fn step(&self, job: JobKey, step: &str) {
        if let Some(known) = self.jobs.get(&job) {
            screen().show(&Self::line(job), &format!("{} › {step}", known.name));
        }
    }

    fn started(&mut self, job: JobKey) {
        if let Some(known) = self.jobs.get_mut(&job) {
            known.is_running = true;
        }
        self.step(job, "getting ready");
        self.count();
    }

    fn finished(&mut self, job: JobKey) {
        screen().hide(&Self::line(job));
        if let Some(known) = self.jobs.remove(&job) {
            for host in &known.hosts {
                screen().hide(host);
            }
            self.done += 1;
        }
        self.count();
    }

    fn host(&mut self, job: JobKey, host: &str, phase: &str, is_done: bool) {
        let Some(known) = self.jobs.get_mut(&job) else {
            return;
        };
        let line = (job.0, format!("host {host}"));
        if is_done {
            screen().hide(&line);
            known.hosts.retain(|shown| *shown != line);
            return;
        }
        screen().show(&line, &format!("  {host}: {phase}"));
        if !known.hosts.contains(&line) {
            known.hosts.push(line);
        }
    }

    /// Counts the jobs in the last line, where there is more than one.
    fn count(&mut self) {
        let running = self.jobs.values().filter(|job| job.is_running).count();
        let waiting = self.jobs.len() - running;
        if self.jobs.len() + self.done < 2 {
            return;
        }
        let text = format!("{running} running, {waiting} waiting, {} done", self.done);
        let line = (u32::MAX, String::new());
        if self.has_footer {
            screen().change(&line, &text);
        } else {
            screen().show(&line, &text);
            self.has_footer = true;
        }
    }
}

impl Reporter for Live {
    fn report(&mut self, event: &RunEvent) {
        match event {
            RunEvent::JobPlanned { job, planned } => {
                let known = Job {
                    name: planned.name.as_str().to_owned(),
                    is_running: false,
                    hosts: Vec::new(),
                };
                self.jobs.insert(*job, known);
                self.count();
            }
            RunEvent::JobStarted { job } => self.started(*job),
            RunEvent::StepStarted { job, name, .. } => self.step(*job, name.as_str()),
            RunEvent::Deployment { job, progress } => {
                if let Some(host) = &progress.host {
                    let is_done = progress.milliseconds.is_some();
                    self.host(*job, host.as_str(), progress.phase.as_str(), is_done);
                }
            }
            RunEvent::JobFinished { job, .. } => self.finished(*job),
            RunEvent::RunFinished { .. } => screen().close(),
            RunEvent::RunStarted { .. }
            | RunEvent::Output { .. }
            | RunEvent::Annotation { .. }
            | RunEvent::StepFinished { .. }
            | RunEvent::Summary { .. } => {}
        }
    }
}
