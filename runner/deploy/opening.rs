//! How a transaction begins: look, lock, end what a dead holder left, look again, plan.

use std::{collections::BTreeSet, sync::Arc};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    carry::{Carried, Carrier, Course},
    container,
    error::{OpError, OpenError},
    fleet::{Away, Fleet},
    host::Host,
    lease::Lease,
    machine,
    probe::Sight,
    progress::{Event, Progress},
    proxy,
    settings::Settings,
    transaction::{Ending, Transaction},
};
use crate::release::{
    Digest, Fence, Found, HistoryLine, Holder, HostName, InvalidTransactionId, Journal, Kind,
    LockFound, LockVerdict, Machine, Observed, Op, Opening, Outcome, Phase, PlanError, ProxyWish,
    Running, Spec, Stage, TransactionId, Verb, acquire, forward, hosts_to_lock, hosts_to_probe,
    plan, preflight,
};

/// What is done with a transaction that somebody left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LeftOpen {
    /// Finished if it was committed, else undone.
    #[default]
    Decide,
    /// Carried on to its end.
    Resume,
    /// Undone; one that was committed is finished.
    Undo,
}

/// How a transaction is to begin.
#[derive(Debug, Clone)]
pub struct Begin {
    /// What it is.
    pub kind: Kind,
    /// What is done with one that was left open.
    pub left_open: LeftOpen,
    /// Hosts that are gone and do not count.
    pub abandon: BTreeSet<HostName>,
}

impl Begin {
    /// A transaction of this kind, all else as usual.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            left_open: LeftOpen::Decide,
            abandon: BTreeSet::new(),
        }
    }
}

/// What is there, and the way to look again or to act.
#[derive(Debug)]
pub struct Look {
    /// The hosts.
    pub fleet: Fleet,
    /// What was seen.
    pub observed: Observed,
    /// Hosts that did not answer.
    pub away: Vec<Away>,
    /// The release's hosts and proxy: what else is seen does not depend on the release.
    sought: (Vec<HostName>, Option<ProxyWish>),
}

impl Look {
    /// This look if it saw what `spec` asks for and every host answered; else a new one over the
    /// same connections.
    async fn reuse(self, spec: &Spec) -> Self {
        let (hosts, proxy) = &self.sought;
        if self.away.is_empty() && *hosts == spec.hosts() && *proxy == spec.proxy {
            return self;
        }
        look_over(self.fleet, spec, Sight::Proxy).await
    }

    /// The history as the primary host has it, or the longest copy.
    pub fn history(&self, primary: &HostName) -> &[HistoryLine] {
        let of_primary = self.observed.host(primary).map(|state| &state.history);
        let longest = || {
            self.observed
                .hosts
                .values()
                .map(|state| &state.history)
                .max_by_key(|lines| lines.len())
        };
        of_primary.or_else(longest).map_or(&[], Vec::as_slice)
    }

    /// What runs on the primary host: the container of the primary role that requests reach, else
    /// the newest that runs.
    pub fn running(&self, spec: &Spec) -> Option<Running> {
        let state = self.observed.host(&spec.primary)?;
        let route = state.route.as_ref().and_then(|file| file.route.as_ref());
        let mut containers: Vec<_> = state
            .containers
            .iter()
            .filter(|found| found.ran && !found.accessory && found.release.is_some())
            .collect();
        containers.sort_by_key(|found| {
            let routed = route.is_some_and(|route| route.uses(&found.id));
            (!routed, std::cmp::Reverse(found.created))
        });
        let found = containers.first()?;
        Some(Running {
            release: found.release.clone()?,
            digest: found.image.clone(),
        })
    }
}

/// Looks at the hosts of a release, and at those of the release before it; changes nothing.
pub async fn look(spec: &Spec, settings: &Settings) -> Look {
    look_over(Fleet::new(settings.reach.clone()), spec, Sight::Proxy).await
}

/// The same, and which containers answer.
pub async fn look_closely(spec: &Spec, settings: &Settings) -> Look {
    look_over(Fleet::new(settings.reach.clone()), spec, Sight::Whole).await
}

async fn look_over(mut fleet: Fleet, spec: &Spec, sight: Sight) -> Look {
    let hosts = spec.hosts();
    let (observed, away) = fleet.probe(spec, &hosts, sight).await;
    let mut look = Look {
        fleet,
        observed,
        away,
        sought: (hosts.clone(), spec.proxy.clone()),
    };
    let history = look.history(&spec.primary).to_vec();
    let mut more = hosts_to_probe(spec, &history);
    more.extend(hosts_to_lock(spec, &history));
    more.retain(|host| !hosts.contains(host));
    if !more.is_empty() {
        let (seen, away) = look.fleet.probe(spec, &more, sight).await;
        look.observed.hosts.extend(seen.hosts);
        look.away.extend(away);
    }
    look
}

/// Finds the digest of a release's image and names it everywhere, so that every host gets the
/// same.
///
/// # Errors
/// The registry does not have it, or the login is refused.
pub async fn pin(spec: &mut Spec, host: &Host, settings: &Settings) -> Result<(), OpenError> {
    if spec.image.digest.is_none() {
        let login = settings.credentials(&spec.image);
        let reference = spec.image.exact();
        let digest = host
            .engine
            .digest_in_registry(&reference, login)
            .await
            .map_err(|error| OpenError::Image {
                image: reference.clone(),
                source: Box::new(error.into()),
            })?;
        spec.image.digest = Some(Digest::new(digest));
    }
    let image = spec.image.clone();
    let migration = spec
        .migrate
        .iter_mut()
        .map(|migrate| &mut migrate.container);
    for container in spec.containers.iter_mut().chain(migration) {
        container.image = image.clone();
    }
    Ok(())
}

/// Opens a transaction.
///
/// Ends what a dead holder left open, and says so. `seen` is a look at the hosts that was needed to
/// know the release: its connections are kept, and what it saw if it is of the same hosts.
/// `cancel` is heeded until the lock is taken, and between operations after it; whatever was done
/// is undone then.
///
/// # Errors
/// Nothing was changed and the lock is free, except for [`OpenError::LeftOpen`].
pub async fn open(
    mut spec: Spec,
    begin: Begin,
    settings: Arc<Settings>,
    progress: Arc<dyn Progress>,
    seen: Option<Look>,
    cancel: &CancellationToken,
) -> Result<Transaction, OpenError> {
    validate(&spec, &settings)?;
    let look = match seen {
        Some(seen) => seen.reuse(&spec).await,
        None => look(&spec, &settings).await,
    };
    refuse_away(&look, &spec, &begin.abandon)?;
    if let Some(host) = look.fleet.host(&spec.primary) {
        pin(&mut spec, host, &settings).await?;
    }
    let mut opener = Opener::new(spec, begin, settings, progress, look)?;
    opener.judge_locks()?;
    let problems = preflight(&opener.spec, &opener.look.observed);
    if !problems.is_empty() {
        return Err(PlanError::NotReady(problems).into());
    }
    if cancel.is_cancelled() {
        return Err(OpenError::Cancelled);
    }
    let lease = opener.take_lock(cancel).await?;
    Box::pin(opener.proceed(lease, cancel)).await
}

/// Finds what would fail on a host before anything is done there.
pub(super) fn validate(spec: &Spec, settings: &Settings) -> Result<(), OpenError> {
    let migration = spec.migrate.iter().map(|migrate| &migrate.container);
    for container in spec.containers.iter().chain(migration) {
        container::wanted(container, "/", &settings.secrets).map_err(|source| {
            OpenError::Invalid {
                host: container.host.clone(),
                source: Box::new(source),
            }
        })?;
    }
    for route in &spec.routes {
        let invalid = |source| OpenError::Invalid {
            host: route.host.clone(),
            source: Box::new(source),
        };
        if let Some(crate::release::Tls::Given { certificate, key }) = &route.tls {
            settings.secrets.get(certificate).map_err(invalid)?;
            settings.secrets.get(key).map_err(invalid)?;
        }
        if let Some(wish) = &spec.proxy {
            proxy::supported(wish).map_err(invalid)?;
        }
    }
    Ok(())
}

fn refuse_away(look: &Look, spec: &Spec, abandon: &BTreeSet<HostName>) -> Result<(), OpenError> {
    for (host, error) in &look.away {
        if !abandon.contains(host) || spec.hosts().contains(host) {
            return Err(OpenError::Unreachable {
                host: host.clone(),
                source: Box::new(OpError::NotReady(error.chain())),
            });
        }
    }
    Ok(())
}

/// A transaction that is about to begin.
pub(super) struct Opener {
    pub(super) spec: Spec,
    pub(super) begin: Begin,
    pub(super) settings: Arc<Settings>,
    pub(super) progress: Arc<dyn Progress>,
    pub(super) look: Look,
    pub(super) id: TransactionId,
    machine: Machine,
    pub(super) locks: Vec<HostName>,
    pub(super) fence: Fence,
    /// A holder of this machine that is no more.
    pub(super) dead: Option<TransactionId>,
}

impl Opener {
    pub(super) fn new(
        spec: Spec,
        begin: Begin,
        settings: Arc<Settings>,
        progress: Arc<dyn Progress>,
        look: Look,
    ) -> Result<Self, InvalidTransactionId> {
        let mut locks = hosts_to_lock(&spec, look.history(&spec.primary));
        locks.retain(|host| !begin.abandon.contains(host));
        let fence = look.observed.next_fence();
        let (id, machine) = (new_id()?, machine::this());
        Ok(Self {
            spec,
            begin,
            settings,
            progress,
            look,
            id,
            machine,
            locks,
            fence,
            dead: None,
        })
    }

    pub(super) fn opening(&self) -> Opening {
        Opening {
            id: self.id.clone(),
            kind: self.begin.kind,
            fence: self.fence,
            holder: Holder {
                who: self.settings.who.clone(),
                machine: self.machine.clone(),
            },
            run: self.settings.run.clone(),
            at: machine::now(),
        }
    }

    pub(super) fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Refuses if somebody holds a lock.
    pub(super) fn judge_locks(&mut self) -> Result<(), OpenError> {
        for host in &self.locks {
            let Some(lock) = self
                .look
                .observed
                .host(host)
                .and_then(|state| state.lock.as_ref())
            else {
                continue;
            };
            match lock.judge(&self.machine, machine::is_alive) {
                LockVerdict::Held => {
                    let details = lock_words(lock);
                    return Err(OpenError::Locked {
                        host: host.clone(),
                        details,
                    });
                }
                LockVerdict::HolderDead => self.dead = lock.transaction().cloned(),
                LockVerdict::Expired => {}
            }
        }
        Ok(())
    }

    /// Takes lock and fence, and begins to renew the lease.
    pub(super) async fn take_lock(
        &mut self,
        cancel: &CancellationToken,
    ) -> Result<Lease, OpenError> {
        let opening = self.opening();
        let stages = acquire(&self.spec, &self.locks, &self.look.observed, &opening);
        // Only what the transaction is called matters to these operations.
        let journal = self.bare_journal(opening);
        let since = Instant::now();
        let carried = self.carry(&journal, &stages, None, cancel).await;
        if let Some(failed) = carried.failures.into_iter().next() {
            self.release_locks(&journal).await;
            let host = failed.op.host;
            return Err(match failed.error {
                OpError::LockHeld { by } => OpenError::Locked { host, details: by },
                error => OpenError::Operation {
                    host,
                    what: failed.op.verb.to_string(),
                    source: Box::new(error),
                },
            });
        }
        if carried.stopped {
            self.release_locks(&journal).await;
            return Err(OpenError::Cancelled);
        }
        let hosts = self
            .locks
            .iter()
            .filter_map(|host| self.look.fleet.host(host))
            .cloned()
            .collect();
        Ok(Lease::keep(
            hosts,
            self.spec.paths(),
            self.id.clone(),
            since,
        ))
    }

    pub(super) fn bare_journal(&self, opening: Opening) -> Journal {
        Journal {
            format: crate::release::FORMAT,
            id: opening.id,
            fence: opening.fence,
            kind: opening.kind,
            spec: self.spec.clone(),
            baseline: Default::default(),
            phase: Phase::Opened,
            reached: Vec::new(),
            failure: None,
            migrates: false,
            schema: None,
            holder: opening.holder,
            run: opening.run,
            locks: self.locks.clone(),
            abandoned: self.begin.abandon.clone(),
        }
    }

    pub(super) async fn carry(
        &self,
        journal: &Journal,
        stages: &[Stage],
        lease: Option<&Lease>,
        stop: &CancellationToken,
    ) -> Carried {
        let carrier = Carrier {
            fleet: &self.look.fleet,
            settings: &self.settings,
            lease,
            dead: self.dead.as_ref(),
            progress: self.progress.as_ref(),
            stop,
            course: match lease {
                Some(_) => Course::Forward,
                None => Course::Locking,
            },
        };
        carrier.carry(journal, stages).await
    }

    /// With the lock: ends what was left open, looks again, plans, records.
    async fn proceed(
        mut self,
        lease: Lease,
        cancel: &CancellationToken,
    ) -> Result<Transaction, OpenError> {
        let lease = self.look_again(lease).await?;
        let hosts: Vec<HostName> = self.look.observed.hosts.keys().cloned().collect();
        let lease = self.end_left_open(lease, cancel).await?;
        if self.remove_leftovers(&lease, cancel).await {
            let (observed, _) = self
                .look
                .fleet
                .probe(&self.spec, &hosts, Sight::Whole)
                .await;
            self.look.observed = observed;
        }
        let planned = plan(
            self.spec.clone(),
            &self.look.observed,
            self.locks.clone(),
            self.opening(),
        );
        let mut journal = match planned {
            Ok(journal) => journal,
            Err(error) => {
                self.unlock(lease).await;
                return Err(error.into());
            }
        };
        for host in &self.begin.abandon {
            journal.abandon(host.clone());
        }
        self.progress.tell(Event::Opened {
            id: journal.id.clone(),
        });
        Box::pin(self.record_open(journal, lease, cancel)).await
    }

    /// Looks once more at the hosts that were seen, now that nobody else can change them; gives the
    /// lock back where one of them does not answer any more.
    pub(super) async fn look_again(&mut self, lease: Lease) -> Result<Lease, OpenError> {
        let hosts: Vec<HostName> = self.look.observed.hosts.keys().cloned().collect();
        let (observed, away) = self
            .look
            .fleet
            .probe(&self.spec, &hosts, Sight::Whole)
            .await;
        if let Some((host, error)) = away.into_iter().next() {
            self.unlock(lease).await;
            return Err(OpenError::Unreachable {
                host,
                source: Box::new(error),
            });
        }
        self.look.observed = observed;
        Ok(lease)
    }

    /// Writes the journal and the ways back; a failure here leaves nothing behind.
    async fn record_open(
        self,
        journal: Journal,
        lease: Lease,
        cancel: &CancellationToken,
    ) -> Result<Transaction, OpenError> {
        let mut stages = match forward(&journal, &self.look.observed, Phase::Opened) {
            Ok(stages) => stages,
            Err(error) => {
                self.unlock(lease).await;
                return Err(error.into());
            }
        };
        stages.extend(self.found_releases());
        let carried = self.carry(&journal, &stages, Some(&lease), cancel).await;
        let mut transaction = Transaction {
            journal: carried.journal,
            fleet: self.look.fleet,
            lease: Some(lease),
            settings: self.settings,
            progress: self.progress,
            seen: None,
        };
        let error = match carried.failures.into_iter().next() {
            Some(failed) => OpenError::Operation {
                host: failed.op.host,
                what: failed.op.verb.to_string(),
                source: Box::new(failed.error),
            },
            None if carried.stopped => OpenError::Cancelled,
            None => {
                let mut observed = self.look.observed;
                note_records(&mut observed, &transaction.journal);
                transaction.seen = Some(observed);
                return Ok(transaction);
            }
        };
        transaction.run_undo(&CancellationToken::new()).await;
        Err(error)
    }

    /// Lines for releases that run and that the history does not know, as those of Kamal.
    fn found_releases(&self) -> Option<Stage> {
        let primary = &self.spec.primary;
        let history = self.look.history(primary);
        let mut ops: Vec<Op> = Vec::new();
        let mut known: Vec<_> = history.iter().map(|line| line.release.clone()).collect();
        let states = self.look.observed.hosts.values();
        let all: Vec<&Found> = states.flat_map(|state| &state.containers).collect();
        for found in &all {
            let (Some(release), Some(digest), None) =
                (&found.release, &found.image, &found.transaction)
            else {
                continue;
            };
            if known.contains(release) {
                continue;
            }
            known.push(release.clone());
            let line = HistoryLine {
                format: crate::release::FORMAT,
                transaction: None,
                fence: Fence(0),
                kind: None,
                release: release.clone(),
                digest: Some(digest.clone()),
                hosts: self.spec.hosts(),
                roles: found.role.clone().into_iter().collect(),
                primary: primary.clone(),
                who: self.settings.who.clone(),
                run: None,
                at: machine::now(),
                outcome: Outcome::Found,
                reason: None,
                schema: None,
                abandoned: Vec::new(),
                phases: Default::default(),
            };
            let hosts = self.look.observed.hosts.keys();
            let append = |host| {
                Op::best_effort(
                    host,
                    Verb::AppendHistory {
                        line: Box::new(line.clone()),
                    },
                )
            };
            ops.extend(hosts.map(append));
        }
        (!ops.is_empty()).then_some(Stage {
            phase: Phase::Opened,
            ops,
        })
    }

    pub(super) fn say(&self, text: &str) {
        self.progress.tell(Event::Notice(text.to_owned()));
    }

    /// Gives the lock back when nothing was done under it.
    pub(super) async fn unlock(&self, mut lease: Lease) {
        lease.stop();
        let journal = self.bare_journal(self.opening());
        self.release_locks(&journal).await;
    }

    async fn release_locks(&self, journal: &Journal) {
        let transaction = self.id.clone();
        let unlock = |host: &HostName| Stage {
            phase: Phase::Opened,
            ops: vec![Op::best_effort(
                host,
                Verb::Unlock {
                    transaction: transaction.clone(),
                },
            )],
        };
        let stages: Vec<_> = self.locks.iter().rev().map(unlock).collect();
        self.carry(journal, &stages, None, &CancellationToken::new())
            .await;
    }
}

/// Notes what the opening wrote, so that the first plan need not look again.
fn note_records(observed: &mut Observed, journal: &Journal) {
    let paths = journal.spec.paths();
    for state in observed.hosts.values_mut() {
        state.journal = Some(journal.clone());
        state.files.insert(paths.reserve(&journal.id));
        if state.route.is_some() {
            state.files.insert(paths.way_back(&journal.id));
        }
    }
}

/// The lock's text in one line.
pub fn lock_words(lock: &LockFound) -> String {
    let text = lock
        .details
        .as_ref()
        .map(crate::release::LockDetails::to_text);
    let text = text.unwrap_or_else(|| "it does not say by whom".to_owned());
    text.replace('\n', ", ")
}

/// How a transaction ended, in words.
pub fn ending_words(ending: &Ending) -> String {
    match ending {
        Ending::Succeeded => "it succeeded".to_owned(),
        Ending::Undone => "everything is as it was found".to_owned(),
        Ending::Incomplete {
            differences,
            failures,
        } => {
            let differences = differences.iter().map(ToString::to_string);
            differences
                .chain(failures.iter().cloned())
                .collect::<Vec<_>>()
                .join("; ")
        }
        Ending::Unfinished { failures } => failures.join("; "),
        Ending::Taken { by } => by.clone(),
        Ending::Interrupted => "it was interrupted".to_owned(),
    }
}

/// A new id: digits that grow with time, and enough chance for several in one millisecond.
pub(super) fn new_id() -> Result<TransactionId, InvalidTransactionId> {
    let text = uuid::Uuid::now_v7().simple().to_string();
    let (time, rest) = text.split_at_checked(12).unwrap_or((&text, ""));
    TransactionId::parse(&format!("{time}{}", rest.get(1..5).unwrap_or_default()))
}
