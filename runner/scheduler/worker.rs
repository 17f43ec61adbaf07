//! Takes queued jobs for this machine, starts their processes and follows them to their end.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Child;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::clearing::{Clearing, labels_of};
use super::lease::machine_time;
use super::ledger::{JobOutcome, Ledger, LedgerError, TakenJob};
use super::lost_job::KILLED;
use super::order::{Asks, FORMAT, WrittenOrder};
use super::repository::Repository;
use super::room::Room;
use super::spool::{Life, Spool};
use super::vault::{OpenedSecrets, Vault, VaultError};
use crate::diagnostic::chain;
use crate::process;
use crate::run::{Conclusion, Terms};
use crate::store::{ClaimedJob, JobRow, SecretScope, crash_point};

/// How often the store is asked when nothing hints that it should be.
const TICK: Duration = Duration::from_millis(500);

/// How often a process is looked at that another server started.
const LOOK: Duration = Duration::from_millis(50);

/// How long to wait after the store could not be asked.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// How often the store is asked for the secrets of a job before that fails.
const TRIES: u32 = 10;

/// The jobs that are followed, by the tasks that follow them.
type Followed = HashMap<tokio::task::Id, ClaimedJob>;

/// Runs the jobs of one machine, each in a process of its own.
#[derive(Debug, Clone)]
pub struct Worker {
    /// Where all runs stand.
    pub ledger: Ledger,
    /// The machine's name in the store.
    pub machine: String,
    /// How many jobs run at once.
    pub slots: usize,
    /// Where the spools of jobs are.
    pub spools: PathBuf,
    /// Where the folders of jobs are made.
    pub work: PathBuf,
    /// This program, and what makes it the process of a job.
    pub program: (PathBuf, Vec<OsString>),
    /// The variables that no job may see: where the store is, with a password, and what opens secrets.
    pub hidden: Vec<String>,
    /// For how long jobs are had.
    pub terms: Terms,
    /// Whether the disk has room for one more job.
    pub room: Room,
    /// The repositories that are watched, by name.
    pub repositories: Arc<HashMap<String, Repository>>,
    /// What opens the stored secrets.
    pub vault: Vault,
    /// Who takes away what killed jobs left on Docker.
    pub clearing: Clearing,
}

impl Worker {
    /// Takes jobs until it is stopped; jobs that run go on then, for the next server to follow.
    ///
    /// Begins by following what an earlier server started.
    pub async fn run(self, stop: CancellationToken) {
        let mut jobs = JoinSet::new();
        let mut followed = HashMap::new();
        loop {
            match self.ledger.running(&self.machine).await {
                Ok(running) => {
                    for job in running {
                        self.adopt(job, &mut jobs, &mut followed);
                    }
                    break;
                }
                Err(error) => {
                    tracing::error!(error = %chain(&error), "what runs here is not known");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(PAUSE) => {}
            }
        }
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut was_full = false;
        loop {
            let changed = self.ledger.changed();
            tokio::pin!(changed);
            // Listening begins before the store is asked, so that no hint falls between the two.
            changed.as_mut().enable();
            let lack = self.room.lack();
            if lack.is_some() != was_full {
                was_full = lack.is_some();
                match &lack {
                    Some(why) => tracing::error!("degraded: {why}"),
                    None => tracing::warn!("there is room on the disk again"),
                }
            }
            while lack.is_none() && jobs.len() < self.slots.max(1) {
                match self.ledger.claim(&self.machine, self.terms.lease).await {
                    Ok(Some(taken)) => {
                        let (worker, claimed) = (self.clone(), taken.claimed.clone());
                        let task = jobs.spawn(async move { worker.start(taken).await });
                        followed.insert(task.id(), claimed);
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::error!(error = %chain(&error), "no job could be taken");
                        sleep(PAUSE).await;
                        break;
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = jobs.join_next_with_id(), if !jobs.is_empty() => {
                    let id = match ended {
                        Ok((id, ())) => id,
                        Err(error) => {
                            tracing::error!(%error, "the follower of a job ended without a result");
                            error.id()
                        }
                    };
                    followed.remove(&id);
                }
                () = &mut changed => {}
                _ = tick.tick() => {}
            }
            if self.ledger.is_shared() {
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = self.adopt_lost(&mut jobs, &mut followed) => {}
                }
            }
        }
        // The processes of jobs are not ours to end: dropping their followers leaves them alone.
        jobs.abort_all();
    }

    /// Follows a job of this machine that nobody follows.
    fn adopt(&self, job: JobRow, jobs: &mut JoinSet<()>, followed: &mut Followed) {
        let (worker, claimed) = (self.clone(), job.claimed());
        let task = jobs.spawn(async move { worker.follow_again(&job).await });
        followed.insert(task.id(), claimed);
    }

    /// Follows the jobs that were taken from lost machines for this one to ask their hosts.
    async fn adopt_lost(&self, jobs: &mut JoinSet<()>, followed: &mut Followed) {
        // Where the store does not answer, the next look finds them.
        for job in self.ledger.running(&self.machine).await.unwrap_or_default() {
            let is_followed = followed.values().any(|claimed| *claimed == job.claimed());
            if job.is_lost() && !is_followed {
                self.adopt(job, jobs, followed);
            }
        }
    }

    /// Starts the process of a job that was just taken, and follows it.
    async fn start(&self, taken: TakenJob) {
        let claimed = taken.claimed.clone();
        let spool = Spool::new(&self.spools, &claimed);
        self.holding(&claimed, self.bring(&taken)).await;
        match self.spawn(&taken, &spool, None).await {
            Ok(Some(child)) => self.follow(&claimed, &spool, Some(child)).await,
            Ok(None) => {}
            Err(reason) => {
                let outcome = JobOutcome::without_run(Conclusion::Failure, reason);
                self.record(&claimed, &outcome).await;
            }
        }
    }

    /// Fetches the commit of a job where another machine took it in.
    pub(super) async fn bring(&self, taken: &TakenJob) {
        let Some(repository) = self.repositories.get(&taken.repository).cloned() else {
            return;
        };
        let github = &taken.document.github;
        let text = |key: &str| {
            let value = github.get(key).and_then(serde_json::Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let (sha, git_ref) = (text("sha"), text("ref"));
        let brought = tokio::task::spawn_blocking(move || repository.bring(&sha, &git_ref)).await;
        if let Ok(Err(error)) = brought {
            // Who needs it fails by saying so; a job without a checkout does not.
            tracing::warn!(error = %chain(&error), "the commit of a job could not be fetched");
        }
    }

    /// Keeps the lease of a job while something is done for it.
    pub(super) async fn holding<T>(
        &self,
        claimed: &ClaimedJob,
        work: impl Future<Output = T>,
    ) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = sleep(self.terms.renewal) => {
                    if let Err(error) = self.ledger.renew(claimed, self.terms.lease).await {
                        tracing::warn!(error = %chain(&error), "the lease of a job could not be renewed");
                    }
                }
            }
        }
    }

    /// Says in the store that the process of a job may run from now on; `false` where this machine
    /// does not have the job any more.
    ///
    /// Where the store does not answer, it may have heard it all the same: only an answer counts.
    async fn begin(&self, claimed: &ClaimedJob, spool: &Spool) -> std::io::Result<bool> {
        if !self.ledger.is_shared() {
            return Ok(true);
        }
        loop {
            let before = machine_time();
            match self.ledger.begin(claimed, self.terms.lease).await {
                // An answer that was too long under way says nothing of now.
                Ok(()) if machine_time() >= before + self.terms.lease => {}
                Ok(()) => {
                    spool.hold_until(before + self.terms.lease)?;
                    return Ok(true);
                }
                Err(LedgerError::Store(error)) => {
                    tracing::error!(error = %chain(&error), "a job cannot begin yet");
                    sleep(PAUSE).await;
                }
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "a job does not begin here");
                    return Ok(false);
                }
            }
        }
    }

    /// Starts the process of a job, or one that asks its hosts; none where this machine does not have
    /// the job any more.
    pub(super) async fn spawn(
        &self,
        taken: &TakenJob,
        spool: &Spool,
        asks: Option<Asks>,
    ) -> Result<Option<Child>, String> {
        let life = match &asks {
            None => spool.clone(),
            Some(asks) => Spool::at(asks.life.clone()),
        };
        let repository = self.repositories.get(&taken.repository).ok_or_else(|| {
            format!(
                "the repository {} is not in the configuration of this server any more",
                taken.repository
            )
        })?;
        // It could be served when it was planned.
        let lacking = self.ledger.labels().unserved(&taken.labels);
        if !lacking.is_empty() {
            return Err(format!(
                "nobody serves the label `{}` of its `runs-on` any more",
                lacking.join("`, `")
            ));
        }
        let secrets = self.secrets_of(repository, taken).await?;
        let mut labels = self.ledger.labels().clone();
        if let Some(image) = repository
            .fork_image
            .as_ref()
            .filter(|_| taken.document.is_fork)
        {
            labels.contain(image);
        }
        let order = WrittenOrder {
            format: FORMAT,
            run: taken.claimed.run.clone(),
            attempt: taken.claimed.attempt,
            job: taken.claimed.job,
            fence: taken.claimed.fence,
            document: taken.document.clone(),
            changes: taken.changes.clone(),
            secrets: secrets.of_repository,
            environment_secrets: secrets.of_environment,
            labels,
            spool: spool.folder().to_owned(),
            work: self.work.clone(),
            mirror: (
                repository.mirror.folder().to_owned(),
                repository.mirror.shown_url(),
            ),
            folder: if taken.document.is_fork {
                None
            } else {
                repository.folder.clone()
            },
            origin: Some(taken.origin.clone()),
            asks,
            marks: labels_of(&self.machine, &taken.claimed),
            lease_patience: self
                .ledger
                .is_shared()
                .then(|| u64::try_from(self.terms.patience.as_millis()).unwrap_or(u64::MAX)),
        };
        let order = serde_json::to_vec(&order).map_err(|error| error.to_string())?;
        let folder = |error: std::io::Error| {
            format!(
                "the folder `{}` of the job could not be made: {error}",
                spool.folder().display()
            )
        };
        life.create().map_err(folder)?;
        let log = life.log().map_err(folder)?;
        let (program, arguments) = &self.program;
        if !self.begin(&taken.claimed, &life).await.map_err(folder)? {
            return Ok(None);
        }
        crash_point("before the process of a job is started");
        let child = process::start_detached(program, arguments, &order, (log, &self.hidden))
            .await
            .map_err(|error| chain(&error))?;
        crash_point("after the process of a job is started");
        Ok(Some(child))
    }

    /// Returns the secrets of a job, or why it does not get them, in words; it is not started then.
    async fn secrets_of(
        &self,
        repository: &Repository,
        taken: &TakenJob,
    ) -> Result<OpenedSecrets, String> {
        let event = taken.document.github.get("event_name");
        let scope = SecretScope {
            repository: Some(taken.repository.clone()),
            environment: taken.environment.clone(),
            event: event.and_then(|event| event.as_str()).map(str::to_owned),
        };
        let mut tries = 0;
        loop {
            let opened = self
                .vault
                .secrets_of(&self.ledger, repository, &scope, taken.document.is_fork)
                .await;
            match opened {
                Ok(secrets) => return Ok(secrets),
                Err(VaultError::Ledger(_)) if tries < TRIES => {
                    tries += 1;
                    sleep(PAUSE).await;
                }
                Err(error) => return Err(chain(&error)),
            }
        }
    }

    /// Follows a job that an earlier server started.
    async fn follow_again(&self, job: &JobRow) {
        let claimed = job.claimed();
        let spool = Spool::new(&self.spools, &claimed);
        match &job.reason {
            // Its own process is gone, maybe with its machine.
            Some(why) if job.is_lost() => self.settle(&claimed, &spool, why).await,
            _ => self.follow(&claimed, &spool, None).await,
        }
    }

    /// Waits until the process of a job is gone, and records its end.
    async fn follow(&self, claimed: &ClaimedJob, spool: &Spool, child: Option<Child>) {
        let is_own = child.is_some();
        self.attend(claimed, spool, child, true).await;
        self.ended(claimed, spool, is_own).await;
    }

    /// Waits until a process is gone, keeps the lease of its job, and hands on what cancels it, unless
    /// it only `obeys` force; tells whether this machine has the job still.
    pub(super) async fn attend(
        &self,
        claimed: &ClaimedJob,
        spool: &Spool,
        mut child: Option<Child>,
        obeys: bool,
    ) -> bool {
        let mut sent = 0;
        // What an earlier server started was last renewed nobody knows when.
        let mut renewed = child.is_some().then(Instant::now);
        let mut fenced: Option<Instant> = None;
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let changed = self.ledger.changed();
            tokio::select! {
                is_gone = gone(spool, child.as_mut()) => if is_gone { break },
                () = changed => {}
                _ = tick.tick() => {}
            }
            if let Some(since) = fenced {
                // It looks after its lease itself, unless something holds it.
                if since.elapsed() > self.terms.grace
                    && let Some(pid) = spool.pid()
                {
                    process::kill_process(pid);
                }
                continue;
            }
            let level = match self.cancel_level(claimed, spool, &mut renewed).await {
                Ok(1) if !obeys => 0,
                Ok(level) => level,
                // Someone else has the job: what runs here must not go on beside it.
                Err(LedgerError::Fenced { .. }) => {
                    fenced = Some(Instant::now());
                    if let Err(error) = spool.hold_until(Duration::ZERO) {
                        tracing::error!(%error, "a job could not be told that it is over");
                    }
                    2
                }
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "the lease of a job could not be renewed");
                    continue;
                }
            };
            while sent < level {
                if let Some(pid) = spool.pid() {
                    process::interrupt(pid);
                    sent += 1;
                } else {
                    break;
                }
            }
        }
        fenced.is_none()
    }

    /// Asks whether the job is to be cancelled; prolongs its lease when that is due.
    async fn cancel_level(
        &self,
        claimed: &ClaimedJob,
        spool: &Spool,
        renewed: &mut Option<Instant>,
    ) -> Result<u32, LedgerError> {
        let is_due = renewed.is_none_or(|at| at.elapsed() >= self.terms.renewal);
        if !is_due {
            let hold = self.ledger.hold_of(claimed).await?;
            if !hold.is_disconnected {
                return Ok(hold.cancel_level);
            }
        }
        let (before, at) = (machine_time(), Instant::now());
        let level = self.ledger.renew(claimed, self.terms.lease).await?;
        *renewed = Some(at);
        if self.ledger.is_shared()
            && let Err(error) = spool.hold_until(before + self.terms.lease)
        {
            tracing::error!(%error, "a job could not be told that its machine still has it");
        }
        Ok(level)
    }

    /// Records the end of a job whose process is gone.
    async fn ended(&self, claimed: &ClaimedJob, spool: &Spool, is_own: bool) {
        let outcome = match spool.end() {
            Ok(Some(outcome)) => outcome,
            Ok(None) => match spool.end_or_life() {
                Ok(Life::NeverBegan) if !is_own => return self.give_back(claimed).await,
                Ok(Life::NeverBegan) => {
                    let reason = format!("its process ended before it began: {}", spool.words());
                    JobOutcome::without_run(Conclusion::Failure, reason)
                }
                _ => {
                    if let Some(pid) = spool.pid() {
                        process::kill_session(pid).await;
                    }
                    self.clearing.note_loss();
                    return self.lost(claimed, spool).await;
                }
            },
            Err(error) => {
                let reason = format!("its end could not be read: {error}");
                JobOutcome::without_run(Conclusion::Failure, reason)
            }
        };
        self.record(claimed, &outcome).await;
    }

    /// Notes that the process of a job was lost, and finds out what became of its deploy.
    async fn lost(&self, claimed: &ClaimedJob, spool: &Spool) {
        let words = (
            "the loss of a job is not noted yet",
            "the loss of a job does not count",
        );
        until_heard(words, || self.ledger.note_lost(claimed, KILLED)).await;
        self.settle(claimed, spool, KILLED).await;
    }

    /// Gives a job back that never began, however long the store is away.
    async fn give_back(&self, claimed: &ClaimedJob) {
        let words = ("a job is not given back yet", "a job is not given back");
        until_heard(words, || self.ledger.give_back(claimed)).await;
    }

    /// Records the end of a job, however long the store is away.
    pub(super) async fn record(&self, claimed: &ClaimedJob, outcome: &JobOutcome) {
        let words = (
            "the end of a job is not recorded yet",
            "the end of a job does not count",
        );
        until_heard(words, || self.ledger.finish(claimed, outcome)).await;
    }
}

/// Tells the store something until it answers, and says where it is late or refuses.
async fn until_heard<F>((late, refused): (&str, &str), tell: impl Fn() -> F)
where
    F: Future<Output = Result<(), LedgerError>>,
{
    loop {
        match tell().await {
            Ok(()) => return,
            Err(LedgerError::Store(error)) => {
                tracing::error!(error = %chain(&error), "{late}");
                sleep(PAUSE).await;
            }
            Err(error) => {
                tracing::warn!(error = %chain(&error), "{refused}");
                return;
            }
        }
    }
}

/// Waits until the process of a job may be gone, and tells whether it is.
async fn gone(spool: &Spool, child: Option<&mut Child>) -> bool {
    match child {
        Some(child) => {
            if let Err(error) = child.wait().await {
                tracing::warn!(%error, "the process of a job could not be waited for");
                sleep(LOOK).await;
                return is_gone(spool);
            }
            true
        }
        None => {
            if is_gone(spool) {
                return true;
            }
            sleep(LOOK).await;
            false
        }
    }
}

fn is_gone(spool: &Spool) -> bool {
    !matches!(spool.end_or_life(), Ok(Life::Alive(_)) | Err(_))
}
