//! A run in this process: the queue is in memory, and it ends with the process.
//!
//! # How it works
//! One loop owns the [`Progress`] and asks it what is next; each job is a task in a `JoinSet`. The
//! only ways back from a job are its result and the two tokens: one for the run, one for the runner.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::secrets::job_secrets;
use crate::engine::{EngineOptions, JobOrder, JobReport, run_job};
use crate::expression::Object;
use crate::mask::Masker;
use crate::plan::{Decision, JobPlan, JobResult, Progress, RunFacts};
use crate::report::Recorder;
use crate::run::{Conclusion, JobEnd, JobKey, PlannedJob, RunEvent, RunOutcome, Tally};

/// A run that is ready to begin.
#[derive(Debug)]
pub struct LocalRun {
    /// Where its jobs stand: nothing is decided yet.
    pub progress: Progress,
    /// What is the same for all jobs.
    pub facts: RunFacts,
    /// All secrets of the run.
    pub secrets: Object,
    /// Knows the secrets.
    pub masker: Masker,
    /// Takes the events.
    pub recorder: Recorder,
    /// How many jobs run at once.
    pub slots: usize,
    /// Who runs them.
    pub options: Arc<EngineOptions>,
    /// Cancels the run.
    pub cancel: CancellationToken,
    /// Ends everything at once.
    pub force: CancellationToken,
}

/// How a run ended.
#[derive(Debug)]
pub struct RunReport {
    /// How.
    pub outcome: RunOutcome,
}

struct State {
    run: LocalRun,
    tasks: JoinSet<(JobKey, JobReport)>,
    cancels: HashMap<JobKey, CancellationToken>,
    slots: Arc<Semaphore>,
    tally: Tally,
}

/// Runs a run to its end.
///
/// When its token is cancelled the running jobs are, and the rest is decided by conditions.
pub async fn run_local(run: LocalRun) -> RunReport {
    let slots = Arc::new(Semaphore::new(run.slots.max(1)));
    let cancel = run.cancel.clone();
    let mut state = State {
        run,
        tasks: JoinSet::new(),
        cancels: HashMap::new(),
        slots,
        tally: Tally::default(),
    };
    let decisions = state.run.progress.advance();
    state.apply(decisions);
    let mut is_cancelled = false;
    loop {
        tokio::select! {
            () = cancel.cancelled(), if !is_cancelled => {
                is_cancelled = true;
                let decisions = state.run.progress.cancel();
                state.apply(decisions);
            }
            ended = state.tasks.join_next() => match ended {
                Some(Ok((key, report))) => state.finished(key, report),
                // A job's task was aborted or panicked: ours to mend, and the run must not hang.
                Some(Err(error)) => {
                    tracing::error!(%error, "a job's task ended without a result");
                    state.tally.add(Conclusion::Failure, false, None);
                    break;
                }
                None => break,
            }
        }
    }
    state.end()
}

impl State {
    fn apply(&mut self, decisions: Vec<Decision>) {
        for decision in decisions {
            match decision {
                Decision::Planned {
                    key,
                    id,
                    name,
                    needs,
                } => {
                    let masker = &self.run.masker;
                    let planned = PlannedJob {
                        id: masker.mask(&id),
                        name: masker.mask(&name),
                        needs: needs.iter().map(|need| masker.mask(need)).collect(),
                    };
                    self.run
                        .recorder
                        .record(&RunEvent::JobPlanned { job: key, planned });
                }
                Decision::Start(plan) => self.start(plan),
                Decision::End {
                    key,
                    conclusion,
                    reason,
                } => {
                    self.tally.add(conclusion, false, None);
                    let reason = Some(self.run.masker.mask(&reason));
                    let end = JobEnd {
                        conclusion,
                        reason,
                        milliseconds: 0,
                        deploy: None,
                        is_timed_out: false,
                    };
                    self.run
                        .recorder
                        .record(&RunEvent::JobFinished { job: key, end });
                }
                Decision::Cancel(key) => {
                    if let Some(token) = self.cancels.get(&key) {
                        token.cancel();
                    }
                }
            }
        }
    }

    fn start(&mut self, plan: Box<JobPlan>) {
        let key = plan.key;
        let lacking = self.run.options.labels.unserved(&plan.runs_on);
        if !lacking.is_empty() {
            let reason = format!(
                "nobody serves the label `{}` of its `runs-on`",
                lacking.join("`, `")
            );
            self.refuse(key, &reason);
            return;
        }
        let cancel = CancellationToken::new();
        self.cancels.insert(key, cancel.clone());
        let run = &self.run;
        let order = JobOrder {
            secrets: job_secrets(&run.secrets, &plan.secrets, &run.facts),
            plan,
            github: run.facts.github.clone(),
            vars: run.facts.vars.clone(),
            masker: run.masker.clone(),
            recorder: run.recorder.clone(),
            cancel,
            force: run.force.child_token(),
            options: Arc::clone(&run.options),
        };
        let slots = Arc::clone(&self.slots);
        self.tasks.spawn(async move {
            // The semaphore is never closed, so there is always a permit to come.
            let permit = slots.acquire_owned().await;
            let report = run_job(order).await;
            drop(permit);
            (key, report)
        });
    }

    /// Fails a job that cannot be run.
    fn refuse(&mut self, key: JobKey, reason: &str) {
        self.tally.add(Conclusion::Failure, false, None);
        let end = JobEnd {
            conclusion: Conclusion::Failure,
            reason: Some(self.run.masker.mask(reason)),
            milliseconds: 0,
            deploy: None,
            is_timed_out: false,
        };
        self.run
            .recorder
            .record(&RunEvent::JobFinished { job: key, end });
        let decisions = self
            .run
            .progress
            .finish(key, JobResult::bare(Conclusion::Failure));
        self.apply(decisions);
    }

    fn finished(&mut self, key: JobKey, report: JobReport) {
        self.cancels.remove(&key);
        self.tally.add(
            report.end.conclusion,
            report.end.is_timed_out,
            report.end.deploy,
        );
        let result = JobResult {
            conclusion: report.end.conclusion,
            outputs: report.outputs,
        };
        let decisions = self.run.progress.finish(key, result);
        self.apply(decisions);
    }

    fn end(self) -> RunReport {
        let conclusion = self.run.progress.conclusion();
        let outcome = self
            .tally
            .outcome(conclusion, self.run.cancel.is_cancelled());
        self.run.recorder.record(&RunEvent::RunFinished { outcome });
        RunReport { outcome }
    }
}
