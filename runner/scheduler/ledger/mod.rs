//! Where all runs stand: every change of a run is one transaction of the store.
//!
//! # How it works
//! A run is stored as its [`RunDocument`] and as the order in which things happened in it. A change
//! locks the run's row, brings the plan to where the store is, tells it of the change, and writes
//! what the plan decides. Plans of open runs are kept in memory, and made again where another
//! process went on with the run meanwhile. A write for a job carries its fence; one with an older
//! fence is refused.

mod announcement;
mod approval;
mod change;
mod groups;
mod inbox;
mod lost;
mod notices;
mod posts;
mod rerun;
mod retention;
mod schedules;
mod secrets;
mod serving;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Notify;

use super::document::{Change, RunDocument};
use super::findings::Findings;
use super::measures::Measures;
use super::tracer::Hints;
use crate::engine::Labels;
use crate::plan::Progress;
use crate::run::{Attempt, Conclusion, DeployOutcome, RunId, Status, Timestamp};
use crate::store::{
    ClaimedJob, EventRow, Figures, JobRow, RunFilter, RunRow, Store, StoreError, Transaction,
};
use groups::join_group;

pub use lost::{LostJob, Taken};
pub use notices::{Subscription, Subscriptions};
pub use posts::SkippedWorkflow;
pub use rerun::Rerun;

/// How often a transaction is tried again that another one got in the way of.
const CONFLICTS: u32 = 8;

/// How often a transaction is tried again whose connection broke.
const BREAKS: u32 = 2;

/// How long a change may take in a database on the network: a run can plan thousands of jobs at once.
const LONG: Duration = Duration::from_secs(30);

/// How long a word about a lease may take there: well below its time, so that a machine that was cut
/// off for a moment speaks up over another connection.
const SHORT: Duration = Duration::from_secs(5);

/// Tells the time; injected, so that tests can turn the clock.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Something could not be recorded.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The database's fault.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The user's: there is no such run.
    #[error("there is no run {0}")]
    NoRun(RunId),
    /// The user's: the run is not where this could be done.
    #[error("run {run} {why}")]
    WrongState {
        /// The run.
        run: RunId,
        /// Why not, in words.
        why: String,
    },
    /// Ours: what was stored cannot be read.
    #[error("run {run} cannot be planned: {why}")]
    Unplannable {
        /// The run.
        run: RunId,
        /// Why not, in words.
        why: String,
    },
    /// Another owner has the job; what this one says does not count any more.
    #[error("job {job} of run {run} has another owner")]
    Fenced {
        /// The run.
        run: RunId,
        /// The job.
        job: u32,
    },
}

impl LedgerError {
    /// Returns how often it is worth to try again what failed so.
    fn tries(&self) -> u32 {
        match self {
            Self::Store(error) if error.is_conflict() => CONFLICTS,
            Self::Store(error) if error.is_broken() => BREAKS,
            _ => 0,
        }
    }
}

/// How a job ended, as its process reports it.
#[derive(Debug, Clone)]
pub struct JobOutcome {
    /// How.
    pub conclusion: Conclusion,
    /// Why, in words free of secrets.
    pub reason: Option<String>,
    /// Its outputs.
    pub outputs: serde_json::Value,
    /// Whether its time limit ended it.
    pub is_timed_out: bool,
    /// What became of a deployment that it had open.
    pub deploy: Option<DeployOutcome>,
    /// How long it took.
    pub milliseconds: u64,
    /// What it found.
    pub findings: Findings,
}

impl JobOutcome {
    /// Returns the end of a job that nobody ran to its end.
    pub fn without_run(conclusion: Conclusion, reason: impl Into<String>) -> Self {
        Self {
            conclusion,
            reason: Some(reason.into()),
            outputs: serde_json::Value::Null,
            is_timed_out: false,
            deploy: None,
            milliseconds: 0,
            findings: Findings::default(),
        }
    }
}

/// A new run, as it is to be recorded.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// `owner/name`.
    pub repository: String,
    /// The workflow's name.
    pub name: String,
    /// The event's name.
    pub event: String,
    /// What makes the event one.
    pub event_key: String,
    /// The ref that it is about.
    pub git_ref: String,
    /// The commit that it is about.
    pub sha: String,
    /// Who caused it.
    pub actor: String,
    /// What is shown as its title.
    pub title: String,
    /// What it takes to plan it; gets `run_id` and `run_number`.
    pub document: RunDocument,
    /// Whether someone must let it run first.
    pub awaits_approval: bool,
}

/// A ref that moved, as somebody saw it or was told of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefMove {
    /// The ref.
    pub name: String,
    /// Where it stands now; `None` where it is gone.
    pub after: Option<String>,
    /// Where the store said that it stood when somebody looked; `None` for who did not look there.
    pub seen_from: Option<Option<String>>,
}

/// A job that was taken, with all that it takes to run it but the secrets.
#[derive(Debug, Clone)]
pub struct TakenJob {
    /// Which one, and as which owner.
    pub claimed: ClaimedJob,
    /// `owner/name`.
    pub repository: String,
    /// Its name.
    pub name: String,
    /// The environment that it deploys to.
    pub environment: Option<String>,
    /// The labels of its `runs-on`.
    pub labels: Vec<String>,
    /// Which job it is, unlike any other of any server: what its deploys carry.
    pub origin: String,
    /// What the run is planned from.
    pub document: RunDocument,
    /// What happened in the run so far.
    pub changes: Vec<Change>,
}

/// How a job stands with the machine that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hold {
    /// How it is to end: 0 by itself, 1 cancelled, 2 at once.
    pub cancel_level: u32,
    /// Whether its lease lapsed, and it is about to be taken from the machine.
    pub is_disconnected: bool,
}

struct Planned {
    progress: Progress,
    positions: u64,
}

/// Where all runs stand; cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    store: Store,
    clock: Clock,
    /// The labels that jobs may ask for.
    labels: Arc<Labels>,
    subscriptions: Arc<Subscriptions>,
    plans: Arc<Mutex<HashMap<(RunId, Attempt), Planned>>>,
    measures: Measures,
    /// Told of what ended, where traces are made of it.
    hints: Hints,
    /// Told whenever a job may be there to be taken, or one is to be cancelled.
    changed: Arc<Notify>,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger")
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// Does `$body` in a transaction `$tx`, again where another one got in its way.
macro_rules! transaction {
    ($ledger:expr, $tx:ident, $body:expr) => {
        transaction!(
            $ledger,
            (begin, $crate::scheduler::ledger::LONG),
            $tx,
            $body
        )
    };
    ($ledger:expr, ($begin:ident, $limit:expr), $tx:ident, $body:expr) => {{
        let mut tries = 0;
        loop {
            let attempt = async {
                let mut $tx = $ledger.store.$begin().await?;
                let done = $body;
                $tx.commit().await?;
                Ok::<_, LedgerError>(done)
            };
            match $ledger.in_time($limit, attempt).await {
                Err(error) if tries < error.tries() => {
                    tries += 1;
                    $ledger.forget_plans();
                    tokio::time::sleep(std::time::Duration::from_millis(5 << tries)).await;
                }
                Err(error) => {
                    $ledger.forget_plans();
                    break Err(error);
                }
                done => break done,
            }
        }
    }};
}

/// Does `$body` in a transaction `$tx` that only reads.
macro_rules! reading {
    ($ledger:expr, $tx:ident, $body:expr) => {
        transaction!($ledger, (read, $crate::scheduler::ledger::LONG), $tx, $body)
    };
}
use reading;
use transaction;

impl Ledger {
    /// Returns the ledger in a store, for machines that serve `labels`.
    pub fn new(store: Store, clock: Clock, labels: Labels) -> Self {
        Self {
            store,
            clock,
            labels: Arc::new(labels),
            subscriptions: Arc::default(),
            plans: Arc::default(),
            measures: Measures::default(),
            hints: Hints::default(),
            changed: Arc::new(Notify::new()),
        }
    }

    /// Tells these people of runs.
    #[must_use]
    pub fn telling(mut self, subscriptions: Subscriptions) -> Self {
        self.subscriptions = Arc::new(subscriptions);
        self
    }

    /// Has traces made of what ends in this process.
    #[must_use]
    pub fn tracing(mut self, hints: Hints) -> Self {
        self.hints = hints;
        self
    }

    /// Gives up what a database on the network does not answer in time.
    async fn in_time<T>(
        &self,
        after: Duration,
        work: impl Future<Output = Result<T, LedgerError>>,
    ) -> Result<T, LedgerError> {
        if !self.is_shared() {
            return work.await;
        }
        let late = StoreError::Silent { after };
        tokio::time::timeout(after, work)
            .await
            .unwrap_or(Err(late.into()))
    }

    /// Tells whether several machines share the store.
    pub fn is_shared(&self) -> bool {
        self.store.is_shared()
    }

    /// Returns the labels that jobs may ask for.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Returns what is measured while this process runs.
    pub fn measures(&self) -> &Measures {
        &self.measures
    }

    /// Returns figures of the whole store.
    pub async fn figures(&self) -> Result<Figures, LedgerError> {
        let now = self.now();
        reading!(self, tx, tx.figures(now).await?)
    }

    /// Returns the time.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Waits until something may be there to be done; wake-ups are hints.
    pub fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Returns the store, for those that only read.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Takes in an event and the runs that it starts, all or nothing.
    ///
    /// Returns the new runs; none where the event was taken in before. Of workflows that filters shut
    /// out GitHub is told where that is wanted.
    pub async fn take_in(
        &self,
        event: &EventRow,
        moved: Option<&RefMove>,
        runs: &[NewRun],
        skipped: &[SkippedWorkflow],
    ) -> Result<Vec<RunId>, LedgerError> {
        let added = transaction!(self, tx, {
            let mut added = Vec::new();
            let is_news = match moved {
                Some(moved) => self.is_news(&mut tx, &event.repository, moved).await?,
                None => true,
            };
            if is_news && tx.insert_event(event).await? {
                for run in runs {
                    added.extend(Box::pin(self.add_run(&mut tx, run)).await?);
                }
                for skip in skipped {
                    self.tell_skipped(&mut tx, skip).await?;
                }
            }
            if let Some(moved) = moved.filter(|_| is_news) {
                tx.set_ref(&event.repository, &moved.name, moved.after.as_deref())
                    .await?;
            }
            added
        })?;
        self.changed.notify_waiters();
        Ok(added)
    }

    /// Tells whether a move of a ref says something that is not known.
    async fn is_news(
        &self,
        tx: &mut Transaction,
        repository: &str,
        moved: &RefMove,
    ) -> Result<bool, LedgerError> {
        tx.alone_with(&format!("refs {repository}")).await?;
        let refs = tx.refs(repository).await?;
        let known = refs.get(&moved.name);
        // Another machine that looked may have been quicker; what this one saw is then no move from
        // where the ref stands, and the next look tells what is.
        let is_current = moved
            .seen_from
            .as_ref()
            .is_none_or(|before| before.as_ref() == known);
        Ok(is_current && known != moved.after.as_ref())
    }

    async fn add_run(
        &self,
        tx: &mut Transaction,
        new: &NewRun,
    ) -> Result<Option<RunId>, LedgerError> {
        let (id, number) = tx.next_run(&new.repository, &new.document.path).await?;
        let mut document = new.document.clone();
        if let serde_json::Value::Object(github) = &mut document.github {
            github.insert("run_id".to_owned(), id.0.clone().into());
            github.insert("run_number".to_owned(), number.to_string().into());
        }
        let text = serde_json::to_string(&document).map_err(|source| StoreError::Unreadable {
            what: "a run",
            source,
        })?;
        let mut run = RunRow {
            id: id.clone(),
            repository: new.repository.clone(),
            number,
            workflow: document.path.clone(),
            name: new.name.clone(),
            event: new.event.clone(),
            event_key: new.event_key.clone(),
            git_ref: new.git_ref.clone(),
            sha: new.sha.clone(),
            actor: new.actor.clone(),
            title: new.title.clone(),
            document: text,
            attempt: Attempt(1),
            status: Status::Pending,
            conclusion: None,
            deploy: None,
            is_timed_out: false,
            positions: 0,
            cancelled_at: None,
            concurrency_group: None,
            created_at: self.now(),
            started_at: None,
            finished_at: None,
            awaits_approval: new.awaits_approval,
            approved_by: None,
        };
        let concurrency = join_group(&mut run, &document)?;
        if new.awaits_approval {
            return Box::pin(self.add_awaiting(tx, run)).await;
        }
        if !tx.insert_run(&run).await? {
            return Ok(None);
        }
        self.announce_run(tx, &run, "requested").await?;
        self.enter_run(tx, run, concurrency).await?;
        Ok(Some(id))
    }

    /// Takes a job for a machine; none where none waits.
    ///
    /// Repositories take turns by how many of their jobs run; of one, the job that waits longest.
    /// Jobs with a label that is not served here are left to other machines.
    pub async fn claim(
        &self,
        machine: &str,
        lease: Duration,
    ) -> Result<Option<TakenJob>, LedgerError> {
        let now = self.now();
        // A store that is not shared has no other machine that could: whoever takes it says so.
        let is_served =
            |labels: &[String]| !self.is_shared() || self.labels.unserved(labels).is_empty();
        transaction!(self, tx, {
            match tx.claim_job(machine, &is_served, (now, lease)).await? {
                None => None,
                Some(claimed) => {
                    let mut run = self.locked(&mut tx, &claimed.run).await?;
                    if run.status == Status::Queued {
                        run.status = Status::InProgress;
                        run.started_at = run.started_at.or(Some(now));
                        tx.update_run(&run).await?;
                    }
                    let jobs = tx.jobs_of(&run.id, run.attempt).await?;
                    let document = read_document(&run)?;
                    self.tell_of(&mut tx, &run, &document, &jobs).await?;
                    Some(taken_job(&run, &jobs, document, claimed))
                }
            }
        })
    }

    /// Returns a job that this owner has, as [`Ledger::claim`] gave it.
    pub async fn taken(&self, claimed: &ClaimedJob) -> Result<TakenJob, LedgerError> {
        reading!(self, tx, {
            self.owned(&mut tx, claimed).await?;
            let run = tx.run(&claimed.run).await?;
            let run = run.ok_or_else(|| LedgerError::NoRun(claimed.run.clone()))?;
            let jobs = tx.jobs_of(&run.id, claimed.attempt).await?;
            let document = read_document(&run)?;
            taken_job(&run, &jobs, document, claimed.clone())
        })
    }

    /// Records that the process of a job is gone, which is not over yet, and why.
    pub async fn note_lost(&self, claimed: &ClaimedJob, why: &str) -> Result<(), LedgerError> {
        transaction!(self, tx, {
            self.locked(&mut tx, &claimed.run).await?;
            let mut job = self.owned(&mut tx, claimed).await?;
            job.reason = Some(why.to_owned());
            tx.update_job(&job).await?;
        })
    }

    /// Gives a job back that was taken and never began.
    pub async fn give_back(&self, claimed: &ClaimedJob) -> Result<(), LedgerError> {
        transaction!(self, tx, {
            self.locked(&mut tx, &claimed.run).await?;
            let mut job = self.owned(&mut tx, claimed).await?;
            back_to_queue(&mut job);
            tx.update_job(&job).await?;
        })?;
        self.changed.notify_waiters();
        Ok(())
    }

    /// Records how a job ended and what follows from it.
    pub async fn finish(
        &self,
        claimed: &ClaimedJob,
        outcome: &JobOutcome,
    ) -> Result<(), LedgerError> {
        let repository = transaction!(self, tx, {
            let mut run = self.locked(&mut tx, &claimed.run).await?;
            self.owned(&mut tx, claimed).await?;
            self.record_end(&mut tx, &mut run, claimed.job, outcome, false)
                .await?;
            run.repository
        })?;
        self.measures.job_ended(&repository, outcome);
        self.hints.job_ended(claimed);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Prolongs the lease of a job; returns its cancel level.
    pub async fn renew(&self, claimed: &ClaimedJob, lease: Duration) -> Result<u32, LedgerError> {
        self.prolong(claimed, lease, false).await
    }

    /// Records that the process of a job is about to be started, and prolongs its lease.
    ///
    /// From here on nobody else may run the job without being asked to.
    pub async fn begin(&self, claimed: &ClaimedJob, lease: Duration) -> Result<(), LedgerError> {
        self.prolong(claimed, lease, true).await.map(drop)
    }

    async fn prolong(
        &self,
        claimed: &ClaimedJob,
        lease: Duration,
        begins: bool,
    ) -> Result<u32, LedgerError> {
        let level = transaction!(
            self,
            (begin, SHORT),
            tx,
            tx.renew_lease(claimed, lease, begins).await?
        )?;
        level.ok_or_else(|| fenced(claimed))
    }

    /// Returns how a job that somebody runs stands with its owner.
    pub async fn hold_of(&self, claimed: &ClaimedJob) -> Result<Hold, LedgerError> {
        transaction!(self, (read, SHORT), tx, {
            let job = self.owned(&mut tx, claimed).await?;
            Hold {
                cancel_level: job.cancel_level,
                is_disconnected: job.disconnected_at.is_some(),
            }
        })
    }

    /// Cancels a run; once more ends it at once. One that ended stays as it is.
    pub async fn cancel(&self, id: &RunId) -> Result<(), LedgerError> {
        transaction!(self, tx, {
            let mut run = self.locked(&mut tx, id).await?;
            if run.status == Status::Completed {
                return Err(LedgerError::WrongState {
                    run: id.clone(),
                    why: "has ended".to_owned(),
                });
            }
            self.cancel_run(&mut tx, &mut run).await?;
        })?;
        self.changed.notify_waiters();
        Ok(())
    }

    /// Returns the runs of a filter, the newest first.
    pub async fn runs(&self, filter: &RunFilter) -> Result<Vec<RunRow>, LedgerError> {
        reading!(self, tx, tx.runs(filter).await?)
    }

    /// Returns a run with the jobs of an attempt, the newest where none is named.
    pub async fn run(
        &self,
        id: &RunId,
        attempt: Option<Attempt>,
    ) -> Result<(RunRow, Vec<JobRow>), LedgerError> {
        reading!(self, tx, {
            let run = tx
                .run(id)
                .await?
                .ok_or_else(|| LedgerError::NoRun(id.clone()))?;
            let jobs = tx.jobs_of(id, attempt.unwrap_or(run.attempt)).await?;
            (run, jobs)
        })
    }

    /// Returns the newest events, the newest first.
    pub async fn events(&self, limit: u32) -> Result<Vec<EventRow>, LedgerError> {
        reading!(self, tx, tx.events(limit).await?)
    }

    /// Returns where the refs of a repository stood when they were last looked at.
    pub async fn refs(
        &self,
        repository: &str,
    ) -> Result<std::collections::BTreeMap<String, String>, LedgerError> {
        reading!(self, tx, tx.refs(repository).await?)
    }

    /// Writes where refs stand that nobody looked at before, without an event.
    pub async fn first_refs(
        &self,
        repository: &str,
        refs: &std::collections::BTreeMap<String, String>,
    ) -> Result<(), LedgerError> {
        transaction!(self, tx, {
            tx.alone_with(&format!("refs {repository}")).await?;
            if tx.refs(repository).await?.is_empty() {
                for (name, sha) in refs {
                    tx.set_ref(repository, name, Some(sha)).await?;
                }
            }
        })
    }

    /// Returns the jobs that are recorded as running on a machine.
    pub async fn running(&self, machine: &str) -> Result<Vec<JobRow>, LedgerError> {
        reading!(self, tx, tx.running_jobs(Some(machine)).await?)
    }

    async fn locked(&self, tx: &mut Transaction, id: &RunId) -> Result<RunRow, LedgerError> {
        tx.lock_run(id)
            .await?
            .ok_or_else(|| LedgerError::NoRun(id.clone()))
    }

    /// Returns a job if this owner still has it.
    async fn owned(
        &self,
        tx: &mut Transaction,
        claimed: &ClaimedJob,
    ) -> Result<JobRow, LedgerError> {
        let job = tx.job(&claimed.run, claimed.attempt, claimed.job).await?;
        job.filter(|job| job.fence == claimed.fence && job.status == Status::InProgress)
            .ok_or_else(|| fenced(claimed))
    }

    fn forget_plans(&self) {
        self.plans
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

/// Returns what a machine is told of a job that it has.
fn taken_job(
    run: &RunRow,
    jobs: &[JobRow],
    document: RunDocument,
    claimed: ClaimedJob,
) -> TakenJob {
    let job = jobs.iter().find(|job| job.job == claimed.job);
    // Another server can have a run of this number; the moments tell them apart.
    let began = job.and_then(|job| job.started_at).map_or(0, |at| at.0);
    let origin = format!(
        "{} run {} attempt {} job {} of {}/{}",
        run.repository, run.id, run.attempt.0, claimed.job.0, run.created_at.0, began
    );
    TakenJob {
        repository: run.repository.clone(),
        name: job.map_or_else(String::new, |job| job.name.clone()),
        environment: job.and_then(|job| job.environment.clone()),
        labels: job.map_or_else(Vec::new, |job| job.labels.clone()),
        origin,
        changes: changes(run, jobs),
        document,
        claimed,
    }
}

/// Reads what a run is planned from.
pub(super) fn read_document(run: &RunRow) -> Result<RunDocument, LedgerError> {
    serde_json::from_str(&run.document).map_err(|source| {
        StoreError::Unreadable {
            what: "a run",
            source,
        }
        .into()
    })
}

/// Returns what happened in an attempt, in its order.
fn changes(run: &RunRow, jobs: &[JobRow]) -> Vec<Change> {
    let mut changes: Vec<(u64, Change)> = jobs
        .iter()
        .filter_map(|job| {
            let outputs = job.outputs.as_deref().unwrap_or("null");
            let change = Change::Finished {
                job: job.job,
                conclusion: job.conclusion?,
                outputs: serde_json::from_str(outputs).unwrap_or_default(),
            };
            Some((job.position?, change))
        })
        .chain(run.cancelled_at.map(|at| (at, Change::Cancelled)))
        .collect();
    changes.sort_by_key(|(position, _)| *position);
    changes.into_iter().map(|(_, change)| change).collect()
}

fn fenced(claimed: &ClaimedJob) -> LedgerError {
    LedgerError::Fenced {
        run: claimed.run.clone(),
        job: claimed.job.0,
    }
}

/// Lets a job be taken again of which nothing ran.
fn back_to_queue(job: &mut JobRow) {
    job.status = Status::Queued;
    job.machine = None;
    job.lease_until = None;
    job.began_at = None;
    job.disconnected_at = None;
    job.started_at = None;
    // Whoever has the number of this owner is nobody from here on.
    job.fence.0 += 1;
}
