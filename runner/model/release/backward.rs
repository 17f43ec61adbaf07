//! What is left to do until everything is as it was found.

use super::{
    forward::{Blocked, target},
    history::{HistoryLine, Outcome},
    ids::{Fence, HostName, TransactionId},
    journal::{HostBaseline, Journal},
    observed::{Found, HostState, Observed},
    op::{Op, Stage, Verb},
    open::application_name,
    paths,
    phase::Phase,
    route::service_name,
    spec::{DrainMode, Duty},
    time::Millis,
};

/// How long a migration has to end when it is told to.
const MIGRATION_STOP: Millis = Millis::from_secs(10);
/// How long requests that the proxy took before its change have to reach a container.
const SETTLE: Millis = Millis::from_secs(1);

/// Plans the way back to the baseline, on every host that was seen.
///
/// Computed from what is observed now and the baseline alone. Touches only containers that carry
/// the transaction's label, a route only while it leads to one of them, and starts a container of
/// the baseline only if it ran and nobody else routed the host meanwhile. Hosts that are away are
/// left out: [`super::verify_undone`] names them, and the lock stays.
pub fn backward(journal: &Journal, observed: &Observed) -> Result<Vec<Stage>, Blocked> {
    if journal.is_committed() {
        return Err(Blocked::Committed);
    }
    let names = journal.hosts();
    let hosts: Vec<_> = names
        .iter()
        .filter_map(|host| Host::of(journal, observed, host))
        .collect();
    let stages = [
        all(&hosts, Host::note_undo),
        all(&hosts, Host::stop_migration),
        end_sessions(journal, observed),
        all(&hosts, Host::start_old),
        all(&hosts, Host::await_old),
        all(&hosts, Host::route_back),
        all(&hosts, Host::await_route),
        all(&hosts, Host::stop_ours),
        all(&hosts, Host::remove_ours),
    ];
    let stage = |ops: Vec<Op>| {
        (!ops.is_empty()).then_some(Stage {
            phase: journal.phase,
            ops,
        })
    };
    Ok(stages.into_iter().filter_map(stage).collect())
}

/// One step on all hosts.
fn all<'a>(hosts: &[Host<'a>], step: fn(&Host<'a>) -> Vec<Op>) -> Vec<Op> {
    hosts.iter().flat_map(step).collect()
}

/// Ends what an interrupted migration left in the database, which may hold locks.
fn end_sessions(journal: &Journal, observed: &Observed) -> Vec<Op> {
    let migrate = journal
        .spec
        .migrate
        .as_ref()
        .filter(|_| journal.phase == Phase::Migrating);
    let database = migrate.and_then(|migrate| migrate.database.clone());
    let Some(database) = database.filter(|database| observed.host(&database.host).is_some()) else {
        return Vec::new();
    };
    let application = application_name(&journal.id);
    vec![Op::new(
        &database.host.clone(),
        Verb::EndSessions {
            database,
            application,
        },
    )]
}

/// One host, with what was found there and what is there.
struct Host<'a> {
    journal: &'a Journal,
    host: &'a HostName,
    state: &'a HostState,
    found: HostBaseline,
    /// Whether the route leads to what this transaction made.
    ours: bool,
    /// Whether somebody else routed some host meanwhile.
    foreign: bool,
}

impl<'a> Host<'a> {
    fn of(journal: &'a Journal, observed: &'a Observed, host: &'a HostName) -> Option<Self> {
        let state = observed.host(host)?;
        let found = journal.found(host).cloned().unwrap_or_default();
        let ours = state.leads_to(&journal.id);
        let mut hosts = journal.baseline.hosts.keys();
        let foreign = if found.route.is_some() || state.route.is_some() {
            is_foreign(journal, observed, host)
        } else {
            hosts.any(|host| is_foreign(journal, observed, host))
        };
        Some(Self {
            journal,
            host,
            state,
            found,
            ours,
            foreign,
        })
    }

    fn ours(&self) -> impl Iterator<Item = &Found> {
        self.state.made_by(&self.journal.id)
    }

    fn is_migration(&self, found: &Found) -> bool {
        let migrate = self.journal.spec.migrate.as_ref();
        migrate.is_some_and(|migrate| migrate.container.name == found.name)
    }

    /// Records that an undo has begun, so that nobody carries the transaction on afterwards.
    ///
    /// A disk that is full must not keep the way back from being gone.
    fn note_undo(&self) -> Vec<Op> {
        let copy = self.state.journal.as_ref();
        let unnoted = copy.is_some_and(|copy| copy.id == self.journal.id && copy.failure.is_none());
        if self.journal.failure.is_none() || !unnoted {
            return Vec::new();
        }
        let phase = self.journal.phase;
        vec![Op::best_effort(self.host, Verb::Record { phase })]
    }

    fn stop_migration(&self) -> Vec<Op> {
        let running = self
            .ours()
            .filter(|found| found.ran && self.is_migration(found));
        running
            .map(|found| self.stop(found, Millis(0), MIGRATION_STOP))
            .collect()
    }

    fn stop(&self, found: &Found, wait: Millis, timeout: Millis) -> Op {
        let container = target(found);
        self.op(Verb::Stop {
            container,
            wait,
            timeout,
        })
    }

    /// How long to wait before a container of ours is told to end: one that requests reached may
    /// get some that the proxy took before its route led back.
    fn settles(&self, found: &Found) -> Millis {
        let spec = &self.journal.spec;
        let web = spec.containers_of(self.host).any(|container| {
            container.duty == Duty::Web && Some(&container.role) == found.role.as_ref()
        });
        match spec.drain {
            _ if !web || self.journal.phase < Phase::Switching => Millis(0),
            DrainMode::Wait => spec.drain_timeout,
            DrainMode::Term => SETTLE,
        }
    }

    /// Containers that ran when they were found and are down now.
    fn fallen(&self) -> Vec<&Found> {
        if self.foreign {
            return Vec::new();
        }
        let ran = self.found.containers.iter().filter(|found| found.ran);
        ran.filter(|found| self.state.by_id(&found.id).is_some_and(|now| !now.ran))
            .collect()
    }

    fn start_old(&self) -> Vec<Op> {
        let fallen = self.fallen();
        fallen
            .into_iter()
            .map(|found| {
                self.op(Verb::Start {
                    container: target(found),
                })
            })
            .collect()
    }

    /// Waits for those that answered before and must answer again before the route leads back.
    fn await_old(&self) -> Vec<Op> {
        let fallen = self.fallen();
        let asked = self.found.containers.iter().filter(|found| {
            let down = fallen.iter().any(|other| other.id == found.id);
            let there = self.state.by_id(&found.id).is_some();
            there && (self.ours || down)
        });
        let wait = |found: &Found| {
            let answer = found.answered.clone()?;
            Some(self.op(Verb::AwaitAnswer {
                container: target(found),
                answer,
            }))
        };
        asked.filter_map(wait).collect()
    }

    fn route_back(&self) -> Vec<Op> {
        if !self.ours {
            return Vec::new();
        }
        let paths = self.journal.spec.paths();
        let (route, fence) = (paths.route(), self.journal.fence);
        vec![self.op(match &self.found.route {
            Some(before) => Verb::RestoreRoute {
                route,
                way_back: paths.way_back(&self.journal.id),
                text: before.text.clone(),
                fence,
            },
            None => Verb::RemoveRoute { route, fence },
        })]
    }

    /// Waits until no request reaches ours, also where an earlier undo was cut off before it did.
    fn await_route(&self) -> Vec<Op> {
        if self.foreign || !self.journal.spec.is_proxied(self.host) {
            return Vec::new();
        }
        if self.journal.phase < Phase::Switching || self.ours().next().is_none() {
            return Vec::new();
        }
        let before = self
            .found
            .route
            .as_ref()
            .and_then(|file| file.route.as_ref());
        let backends = before.into_iter().flat_map(|route| route.backends());
        let shows = backends
            .map(|(app, backend)| backend.service(app))
            .collect();
        let routes = self.journal.spec.routes_of(self.host);
        let gone = routes
            .map(|route| service_name(&route.app, &self.journal.id))
            .collect();
        vec![self.op(Verb::AwaitRoute { shows, gone })]
    }

    fn stop_ours(&self) -> Vec<Op> {
        let timeout = self.journal.spec.drain_timeout;
        let running = self
            .ours()
            .filter(|found| found.ran && !self.is_migration(found));
        running
            .map(|found| self.stop(found, self.settles(found), timeout))
            .collect()
    }

    fn remove_ours(&self) -> Vec<Op> {
        let containers = self.ours().map(|found| {
            self.op(Verb::Remove {
                container: target(found),
            })
        });
        let files = files_of(self.state, &self.journal.id);
        containers
            .chain(files.map(|path| self.op(Verb::RemoveFile { path })))
            .collect()
    }

    fn op(&self, verb: Verb) -> Op {
        Op::new(self.host, verb)
    }
}

/// Says whether the route of `host` is neither ours nor the one that was found.
fn is_foreign(journal: &Journal, observed: &Observed, host: &HostName) -> bool {
    let Some(state) = observed.host(host) else {
        return false;
    };
    let before = journal.found(host).and_then(|found| found.route.as_ref());
    !state.leads_to(&journal.id) && state.route.as_ref() != before
}

fn files_of<'a>(state: &'a HostState, id: &'a TransactionId) -> impl Iterator<Item = String> + 'a {
    state
        .files
        .iter()
        .filter(move |path| paths::belongs_to(path, id))
        .cloned()
}

/// Plans the removal of what undone transactions left behind, as on a host that was away then.
///
/// A host that comes back with the record of such a transaction is put back by that record; `fence`
/// is the one that was raised there. Without the record, a container that a route leads to stays.
pub fn leftovers(observed: &Observed, fence: Fence) -> Vec<Stage> {
    let lines = observed.hosts.values().flat_map(|host| &host.history);
    let undone = |line: &HistoryLine| line.outcome == Outcome::Undone;
    let mut ids: Vec<_> = lines
        .filter(|line| undone(line))
        .filter_map(|line| line.transaction.clone())
        .collect();
    ids.sort();
    ids.dedup();
    let records: Vec<(&HostName, Journal)> = observed
        .hosts
        .iter()
        .filter_map(|(host, state)| {
            let copy = state.journal.as_ref()?;
            let open = ids.contains(&copy.id) && !copy.is_committed();
            let fenced = |copy: &Journal| Journal {
                fence,
                ..copy.clone()
            };
            open.then(|| (host, fenced(copy)))
        })
        .collect();
    let returned: Vec<_> = records
        .iter()
        .filter_map(|(host, journal)| Host::of(journal, observed, host))
        .collect();
    let (mut stops, mut removals) = (
        all(&returned, Host::stop_ours),
        all(&returned, Host::remove_ours),
    );
    for (host, state) in &observed.hosts {
        for id in &ids {
            let by_record = records
                .iter()
                .any(|(known, journal)| *known == host && journal.id == *id);
            if state.leads_to(id) && !by_record {
                continue;
            }
            if state.journal.as_ref().is_some_and(|copy| copy.id == *id) {
                let transaction = id.clone();
                removals.push(Op::new(host, Verb::RemoveJournal { transaction }));
            }
            if by_record {
                continue;
            }
            for found in state.made_by(id) {
                let container = target(found);
                if found.ran {
                    let (container, wait) = (container.clone(), Millis(0));
                    let timeout = MIGRATION_STOP;
                    stops.push(Op::new(
                        host,
                        Verb::Stop {
                            container,
                            wait,
                            timeout,
                        },
                    ));
                }
                removals.push(Op::new(host, Verb::Remove { container }));
            }
            removals
                .extend(files_of(state, id).map(|path| Op::new(host, Verb::RemoveFile { path })));
        }
    }
    let stage = |ops: Vec<Op>| {
        (!ops.is_empty()).then_some(Stage {
            phase: Phase::Opened,
            ops,
        })
    };
    let stages = [
        all(&returned, Host::start_old),
        all(&returned, Host::await_old),
        all(&returned, Host::route_back),
        all(&returned, Host::await_route),
        stops,
        removals,
    ];
    stages.into_iter().filter_map(stage).collect()
}
