//! Tells a collector of the runs of a server, when their jobs and they themselves have ended.
//!
//! # How it works
//! The ledger leaves a hint of each end in a bounded channel, and nobody waits for who reads it. A
//! job's spans are made by the process that recorded its end, mostly that of the machine where its
//! spool is; the run's own by the process that ended it. The names of all of them come from what they
//! are about (`docs/decisions/0017-traces.md`), so that no two machines need to speak of them.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::ledger::{Ledger, LedgerError};
use super::post::ended;
use super::repository::Repository;
use super::spool::Spool;
use crate::diagnostic::chain;
use crate::mask::{Masked, Masker};
use crate::report::{JobTrace, TracedEnd, TracedRun};
use crate::run::{Attempt, Conclusion, RunId, Status, Timestamp};
use crate::store::{ClaimedJob, JobRow, RunRow};
use crate::telemetry::{Attribute, Exporter, Resource, Spans, TraceId};

/// How many ends wait to be told of.
const MOST: usize = 1_024;

/// How many runs are remembered as told, and wait to be seen in the store.
const REMEMBERED: usize = 256;

/// How often the store is asked whether a run's end stands there, and for how long: longer than any
/// change takes.
const LOOK: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(60);

/// What ended.
#[derive(Debug)]
enum Ended {
    Job(ClaimedJob),
    Run(Box<EndingRun>),
}

/// A run that ends with a change that may not be in the store yet, or never come there.
#[derive(Debug)]
struct EndingRun {
    run: RunRow,
    jobs: Vec<JobRow>,
}

/// Takes hints of what ended; cheap to clone, and nothing where no traces are wanted.
#[derive(Debug, Clone, Default)]
pub struct Hints(Option<(Sender<Ended>, Exporter)>);

impl Hints {
    /// Says that the end of a job is recorded.
    pub(super) fn job_ended(&self, claimed: &ClaimedJob) {
        self.leave(|| Ended::Job(claimed.clone()));
    }

    /// Says that a run ends with the change that is being made.
    pub(super) fn run_ends(&self, run: &RunRow, jobs: &[JobRow]) {
        self.leave(|| {
            let (run, jobs) = (run.clone(), jobs.to_vec());
            Ended::Run(Box::new(EndingRun { run, jobs }))
        });
    }

    fn leave(&self, ended: impl FnOnce() -> Ended) {
        if let Some((sender, exporter)) = &self.0
            && sender.try_send(ended()).is_err()
        {
            exporter.dropped(1);
        }
    }
}

/// Makes spans of what ended.
#[derive(Debug)]
pub struct Tracer {
    /// Where the spools of jobs are.
    pub spools: PathBuf,
    /// The machine's name in the store.
    pub machine: String,
    /// Where this server's pages are seen from outside.
    pub public_url: Option<String>,
    /// The repositories that are watched, by name.
    pub repositories: Arc<HashMap<String, Repository>>,
    exporter: Exporter,
    ended: Receiver<Ended>,
    told: VecDeque<(RunId, Attempt)>,
}

impl Tracer {
    /// Returns who makes spans for an exporter, and who takes hints for it.
    pub fn new(
        exporter: Exporter,
        (spools, machine): (PathBuf, String),
        public_url: Option<String>,
        repositories: Arc<HashMap<String, Repository>>,
    ) -> (Self, Hints) {
        let (sender, ended) = channel(MOST);
        let hints = Hints(Some((sender, exporter.clone())));
        let tracer = Self {
            spools,
            machine,
            public_url,
            repositories,
            exporter,
            ended,
            told: VecDeque::new(),
        };
        (tracer, hints)
    }

    /// Makes spans until it is stopped, and then of what ended before that.
    pub async fn run(mut self, ledger: Ledger, stop: CancellationToken) {
        let mut ending: VecDeque<(EndingRun, Instant)> = VecDeque::new();
        loop {
            let is_stopped = stop.is_cancelled();
            tokio::select! {
                biased;
                ended = self.ended.recv() => match ended {
                    Some(Ended::Job(claimed)) => self.job(&ledger, &claimed).await,
                    Some(Ended::Run(run)) => ending.push_back((*run, Instant::now() + PATIENCE)),
                    None => return,
                },
                () = sleep_until(Instant::now() + LOOK), if !ending.is_empty() && !is_stopped => {}
                () = stop.cancelled() => if is_stopped { break },
            }
            self.settle(&ledger, &mut ending).await;
        }
        self.exporter.dropped(ending.len());
    }

    /// Tells of the runs whose end is in the store by now.
    async fn settle(&mut self, ledger: &Ledger, ending: &mut VecDeque<(EndingRun, Instant)>) {
        for _ in 0..ending.len() {
            let Some((ended, until)) = ending.pop_front() else {
                return;
            };
            let name = (ended.run.id.clone(), ended.run.attempt);
            // A change that is tried again says it twice.
            if self.told.contains(&name) {
                continue;
            }
            let stands = ledger.run(&name.0, None).await.is_ok_and(|(run, _)| {
                run.attempt > name.1 || run.attempt == name.1 && run.status == Status::Completed
            });
            if stands {
                self.whole(&ended);
                self.told.push_back(name);
                if self.told.len() > REMEMBERED {
                    self.told.pop_front();
                }
            } else if Instant::now() < until && ending.len() < REMEMBERED {
                ending.push_back((ended, until));
            }
            // Else the change was given up, and the run goes on.
        }
    }

    fn whole(&self, whole: &EndingRun) {
        let EndingRun { run, jobs } = whole;
        // What never ran takes no time.
        let own = |job: &&JobRow| !job.is_kept;
        let Some(start) = jobs
            .iter()
            .filter(own)
            .filter_map(|job| job.started_at)
            .min()
        else {
            return;
        };
        let of = self.of(run);
        let end = TracedEnd {
            start,
            end: run.finished_at.unwrap_or(start),
            conclusion: run.conclusion.unwrap_or(Conclusion::Cancelled),
            is_timed_out: run.is_timed_out,
            deploy: run.deploy,
            reason: Some(of.masker.mask(&ended(run, jobs))),
        };
        let about = vec![
            Attribute::Text("runner.event", of.masker.mask(&run.event)),
            Attribute::Number("runner.attempt", i64::from(run.attempt.0)),
        ];
        let workflow = of.masker.mask(&run.name);
        self.exporter.tell(&of.run.span(&workflow, &end, about));
    }

    /// Tells of a job whose end is recorded.
    async fn job(&self, ledger: &Ledger, claimed: &ClaimedJob) {
        match self.spans_of(ledger, claimed).await {
            Ok(Some(spans)) => self.exporter.tell(&spans),
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(error = %chain(&error), "a job is in no trace");
                self.exporter.dropped(1);
            }
        }
    }

    async fn spans_of(
        &self,
        ledger: &Ledger,
        claimed: &ClaimedJob,
    ) -> Result<Option<Spans>, LedgerError> {
        let (run, jobs) = ledger.run(&claimed.run, Some(claimed.attempt)).await?;
        let row = jobs.into_iter().find(|job| job.job == claimed.job);
        let Some(job) = row.filter(|job| job.fence == claimed.fence) else {
            return Ok(None);
        };
        let of = self.of(&RunRow {
            attempt: claimed.attempt,
            ..run
        });
        let trace = of.run.job(claimed.job, claimed.fence.0);
        let spool = Spool::new(&self.spools, claimed);
        let read = tokio::task::spawn_blocking(move || filled(trace, &spool)).await;
        let Ok(trace) = read else {
            return Ok(None);
        };
        let start = job.started_at.unwrap_or(job.created_at);
        let took = i64::try_from(job.milliseconds.unwrap_or(0)).unwrap_or(0);
        let end = TracedEnd {
            start,
            end: Timestamp(start.0.saturating_add(took)),
            conclusion: job.conclusion.unwrap_or(Conclusion::Cancelled),
            is_timed_out: job.is_timed_out,
            deploy: job.deploy,
            reason: job.reason.as_ref().map(|reason| of.masker.mask(reason)),
        };
        let name = of.masker.mask(&job.name);
        Ok(Some(trace.finish(
            &name,
            &end,
            self.about(&job, &of.masker),
        )))
    }

    /// Returns what is known of a job beside its name and end.
    fn about(&self, job: &JobRow, masker: &Masker) -> Vec<Attribute> {
        let mut about = Vec::new();
        if let Some(url) = &self.public_url {
            let (url, run) = (url.trim_end_matches('/'), &job.run);
            let (key, attempt) = (job.job.0, job.attempt.0);
            let log = format!("{url}/api/v1/runs/{run}/jobs/{key}/log.txt?attempt={attempt}");
            about.push(Attribute::Text(
                "cicd.pipeline.task.run.url.full",
                masker.mask(&log),
            ));
        }
        if let Some(environment) = &job.environment {
            about.push(Attribute::word("cicd.pipeline.task.type", "deploy"));
            about.push(Attribute::Text(
                "deployment.environment.name",
                masker.mask(environment),
            ));
        }
        let waited = job.started_at.map(|start| start.0 - job.created_at.0);
        about.extend(waited.map(|waited| Attribute::Number("runner.job.queued_ms", waited)));
        about
    }

    fn of(&self, run: &RunRow) -> Of {
        let repository = self.repositories.get(&run.repository);
        let masker = repository.map_or_else(Masker::new, Repository::masker);
        let text = |name, text: &str| Attribute::Text(name, masker.mask(text));
        let (owner, short) = run.repository.split_once('/').unwrap_or_default();
        let mut resource = vec![
            text("cicd.pipeline.name", &run.name),
            text("cicd.pipeline.run.id", &run.id.0),
            text("cicd.worker.name", &self.machine),
            text("vcs.owner.name", owner),
            text("vcs.repository.name", short),
            text("vcs.ref.head.revision", &run.sha),
        ];
        let kinds = [("refs/heads/", "branch"), ("refs/tags/", "tag")];
        let kind = kinds.iter().find_map(|(begin, kind)| {
            let name = run.git_ref.strip_prefix(begin)?;
            Some((name, *kind))
        });
        match kind {
            Some((name, kind)) => resource.extend([
                text("vcs.ref.head.name", name),
                Attribute::word("vcs.ref.head.type", kind),
            ]),
            None => resource.push(text("vcs.ref.head.name", &run.git_ref)),
        }
        if let Some(server) = repository.and_then(|repository| repository.server_url.as_ref()) {
            let url = format!("{server}/{}", run.repository);
            resource.push(text("vcs.repository.url.full", &url));
        }
        if let Some(url) = &self.public_url {
            let url = format!("{}/runs/{}", url.trim_end_matches('/'), run.id);
            resource.push(text("cicd.pipeline.run.url.full", &url));
        }
        let (created, attempt) = (run.created_at.0.to_string(), run.attempt.0.to_string());
        let id = masker.mask(&run.id.0);
        Of {
            run: TracedRun {
                trace: TraceId::of(&[&run.repository, &run.id.0, &created, &attempt]),
                resource: Resource(resource),
                id: Masked::join([&id, &Masked::from(run.attempt.0)], "/"),
            },
            masker,
        }
    }
}

/// What is the same for all spans of a run.
struct Of {
    run: TracedRun,
    masker: Masker,
}

/// Reads what happened in a job; what it printed is passed over.
fn filled(mut trace: JobTrace, spool: &Spool) -> JobTrace {
    let read = spool.each_event(|envelope| trace.take(envelope.at, &envelope.event));
    if let Err(error) = read {
        tracing::debug!(%error, "what happened in a job could not be read whole");
    }
    trace
}
