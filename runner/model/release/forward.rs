//! What is left to do until a phase is reached.

use thiserror::Error;

use super::{
    finish,
    ids::{ContainerName, HostName},
    journal::Journal,
    observed::{Found, HostState, Observed},
    op::{AppPlan, BackendPlan, Check, Op, RoutePlan, Stage, Target, Verb},
    paths,
    phase::Phase,
    route::{RouteSpec, Tls, service_name},
    spec::{ContainerSpec, Duty},
    time::Millis,
};

/// Space that a transaction sets aside on every host.
const RESERVE: u64 = 64 * 1024;

/// Why nothing can be planned in this direction.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum Blocked {
    /// The machines: these hosts did not answer.
    #[error("no answer from `{}`", .0.iter().map(HostName::as_str).collect::<Vec<_>>().join("`, `"))]
    HostsAway(Vec<HostName>),
    /// A phase failed before: the transaction can only be undone.
    #[error("phase {phase} failed before: {reason}")]
    Failed {
        /// The phase.
        phase: Phase,
        /// The reason.
        reason: String,
    },
    /// A migration was interrupted; whether it ended is not known.
    #[error("the migration was interrupted")]
    MigrationInterrupted,
    /// The transaction is committed: it can only be finished.
    #[error("the transaction is committed")]
    Committed,
    /// A route does not lead to the new release.
    #[error("the route on `{0}` does not lead to this release")]
    NotSwitched(HostName),
}

/// Plans every phase up to and with `to` that was not reached yet.
///
/// Computed from what is observed now: what is there already is left out, so that the plan is the
/// same after a crash as without one. From [`Phase::Committed`] on, hosts that were struck are
/// left out too.
pub fn forward(journal: &Journal, observed: &Observed, to: Phase) -> Result<Vec<Stage>, Blocked> {
    let away = journal.away(observed);
    if !away.is_empty() {
        return Err(Blocked::HostsAway(away));
    }
    if let (Some(failure), false) = (&journal.failure, journal.is_committed()) {
        let reason = failure.reason.clone();
        return Err(Blocked::Failed {
            phase: failure.phase,
            reason,
        });
    }
    let one_off = journal
        .spec
        .migrate
        .as_ref()
        .map(|migrate| &migrate.container);
    let started = one_off.is_some_and(|spec| ours(journal, observed, spec).is_some());
    if journal.phase == Phase::Migrating && to > Phase::Migrating && started {
        return Err(Blocked::MigrationInterrupted);
    }
    let mut plan = Plan::new(journal, observed);
    for phase in Phase::ALL.into_iter().filter(|phase| *phase <= to) {
        if phase > journal.phase || phase == Phase::Opened && journal.phase == Phase::Opened {
            plan.phase = phase;
            plan.reach(phase)?;
        }
    }
    Ok(plan.into_stages())
}

/// Stages under construction, with what they are made from.
pub(super) struct Plan<'a> {
    pub(super) journal: &'a Journal,
    pub(super) observed: &'a Observed,
    phase: Phase,
    stages: Vec<Stage>,
    /// A phase that was reached but is recorded with the next stage, to save a wait.
    unrecorded: Option<Phase>,
}

impl<'a> Plan<'a> {
    fn new(journal: &'a Journal, observed: &'a Observed) -> Self {
        Self {
            journal,
            observed,
            phase: Phase::Opened,
            stages: Vec::new(),
            unrecorded: None,
        }
    }

    fn reach(&mut self, phase: Phase) -> Result<(), Blocked> {
        match phase {
            Phase::Opened => self.open(),
            Phase::Pulled => self.pull(),
            Phase::BackedUp => self.back_up(),
            Phase::Migrating => self.announce_migration(),
            Phase::Migrated => self.migrate(),
            Phase::Booted => self.boot(),
            Phase::Healthy => self.gate(),
            Phase::Switching => self.announce_switch(),
            Phase::Switched => self.switch(),
            Phase::Baked => self.bake(),
            Phase::Committed => self.commit()?,
            Phase::Finished => finish::finish(self),
        }
        Ok(())
    }

    /// Adds a stage; an empty one adds nothing.
    pub(super) fn stage(&mut self, ops: Vec<Op>) {
        if ops.is_empty() {
            return;
        }
        let mut ops = ops;
        let records = ops
            .iter()
            .any(|op| matches!(op.verb, Verb::Record { .. } | Verb::Commit { .. }));
        if let Some(phase) = self.unrecorded.take()
            && !records
        {
            ops.splice(0..0, self.records(phase));
        }
        self.stages.push(Stage {
            phase: self.phase,
            ops,
        });
    }

    /// Notes a phase whose record may ride with the next stage.
    fn reached(&mut self) {
        self.unrecorded = Some(self.phase);
    }

    /// Records a phase on every host before anything else happens.
    pub(super) fn record(&mut self, phase: Phase) {
        let records = self.records(phase);
        self.stage(records);
    }

    fn records(&self, phase: Phase) -> Vec<Op> {
        let hosts = self.journal.hosts();
        hosts
            .iter()
            .map(|host| Op::new(host, Verb::Record { phase }))
            .collect()
    }

    fn into_stages(mut self) -> Vec<Stage> {
        if let Some(phase) = self.unrecorded.take() {
            self.phase = phase;
            self.record(phase);
        }
        self.stages
    }

    /// What was seen on `host`; `None` for one that was struck.
    pub(super) fn state(&self, host: &HostName) -> Option<&'a HostState> {
        self.observed
            .host(host)
            .filter(|_| !self.journal.abandoned.contains(host))
    }

    /// The container of ours that fulfils `spec`, where it was seen.
    pub(super) fn seen(&self, spec: &ContainerSpec) -> Option<&'a Found> {
        ours(self.journal, self.observed, spec)
    }

    /// How operations name the container that fulfils `spec`.
    pub(super) fn target(&self, spec: &ContainerSpec) -> Target {
        match self.seen(spec) {
            Some(found) => target(found),
            None => Target {
                name: spec.created_as().clone(),
                id: None,
            },
        }
    }

    fn with_duty(&self, web: bool) -> impl Iterator<Item = &'a ContainerSpec> + use<'a> {
        let journal = self.journal;
        let wanted = move |container: &&ContainerSpec| {
            (container.duty == Duty::Web) == web && !journal.abandoned.contains(&container.host)
        };
        journal.spec.containers.iter().filter(wanted)
    }

    fn open(&mut self) {
        let (journal, paths) = (self.journal, self.journal.spec.paths());
        let hosts = journal.hosts();
        let unrecorded = hosts.iter().any(|host| {
            let copy = self.state(host).and_then(|state| state.journal.as_ref());
            copy.is_none_or(|copy| copy.id != journal.id)
        });
        if unrecorded {
            self.record(journal.phase);
        }
        let mut ops = Vec::new();
        for host in &hosts {
            let Some(state) = self.state(host) else {
                continue;
            };
            let (way_back, reserve) = (paths.way_back(&journal.id), paths.reserve(&journal.id));
            let routed = journal
                .found(host)
                .is_some_and(|found| found.route.is_some());
            if routed && !state.files.contains(&way_back) {
                ops.push(Op::new(
                    host,
                    Verb::KeepWayBack {
                        route: paths.route(),
                        way_back,
                    },
                ));
            }
            if !state.files.contains(&reserve) {
                ops.push(Op::new(
                    host,
                    Verb::Reserve {
                        path: reserve,
                        bytes: RESERVE,
                    },
                ));
            }
        }
        self.stage(ops);
    }

    fn pull(&mut self) {
        let spec = &self.journal.spec;
        let mut ops = Vec::new();
        for host in self.journal.spec.hosts() {
            let Some(state) = self.state(&host) else {
                continue;
            };
            let migration = spec.migrate.as_ref().filter(|_| self.journal.migrates);
            let one_off = migration
                .map(|migrate| &migrate.container)
                .filter(|c| c.host == host);
            let containers: Vec<_> = spec.containers_of(&host).chain(one_off).collect();
            let mut networks: Vec<&String> = Vec::new();
            for network in containers.iter().flat_map(|container| &container.networks) {
                if !state.networks.contains(network) && !networks.contains(&network) {
                    networks.push(network);
                }
            }
            let create = |name: &String| Op::new(&host, Verb::CreateNetwork { name: name.clone() });
            ops.extend(networks.into_iter().map(create));
            if let Some(proxy) = spec.proxy.clone().filter(|_| spec.is_proxied(&host)) {
                ops.push(Op::new(&host, Verb::CheckProxy { proxy }));
            }
            for accessory in spec.accessories.iter().filter(|a| a.host == host) {
                let accessory = accessory.clone();
                ops.push(Op::new(&host, Verb::CheckAccessory { accessory }));
            }
            let there = spec
                .image
                .digest
                .as_ref()
                .is_some_and(|digest| state.images.contains(digest));
            if !containers.is_empty() && !there {
                ops.push(Op::new(
                    &host,
                    Verb::Pull {
                        image: spec.image.clone(),
                    },
                ));
            }
        }
        self.stage(ops);
        self.reached();
    }

    fn back_up(&mut self) {
        let migrate = self
            .journal
            .spec
            .migrate
            .as_ref()
            .filter(|migrate| migrate.backup);
        let database = migrate.and_then(|migrate| migrate.database.clone());
        if let (Some(database), true) = (database, self.journal.migrates) {
            self.stage(vec![Op::new(
                &database.host.clone(),
                Verb::BackUp { database },
            )]);
            self.reached();
        }
    }

    fn announce_migration(&mut self) {
        if self.journal.migrates {
            self.record(Phase::Migrating);
        }
    }

    fn migrate(&mut self) {
        let Some(migrate) = self
            .journal
            .spec
            .migrate
            .as_ref()
            .filter(|_| self.journal.migrates)
        else {
            return;
        };
        let host = &migrate.container.host;
        let container = self.target(&migrate.container);
        let create = Verb::Create {
            container: Box::new(migrate.container.clone()),
        };
        self.stage(vec![Op::new(host, create)]);
        self.stage(vec![Op::new(
            host,
            Verb::StartOnce {
                container: container.clone(),
            },
        )]);
        let limit = migrate.limit;
        self.stage(vec![Op::new(
            host,
            Verb::AwaitExit {
                container: container.clone(),
                limit,
            },
        )]);
        self.record(Phase::Migrated);
        self.stage(vec![Op::new(host, Verb::Remove { container })]);
    }

    fn boot(&mut self) {
        // Files first, so that they go to a host in one command.
        let (mut ops, mut creates) = (Vec::new(), Vec::new());
        for container in &self.journal.spec.containers {
            let Some(state) = self.state(&container.host) else {
                continue;
            };
            if let Some(file) = &container.env_file {
                let path = paths::of_transaction(file, &self.journal.id);
                let write = Op::new(
                    &container.host,
                    Verb::WriteEnvFile {
                        path: path.clone(),
                        secrets: container.secrets.clone(),
                    },
                );
                if !state.files.contains(&path) && !ops.contains(&write) {
                    ops.push(write);
                }
            }
            if self.seen(container).is_none() {
                let create = Verb::Create {
                    container: Box::new(container.clone()),
                };
                creates.push(Op::new(&container.host, create));
            }
        }
        for route in &self.journal.spec.routes {
            ops.extend(self.certificate(route));
        }
        ops.extend(creates);
        self.stage(ops);
        self.stage(self.starts(true));
        self.reached();
    }

    fn certificate(&self, route: &RouteSpec) -> Option<Op> {
        let Some(Tls::Given { certificate, key }) = &route.tls else {
            return None;
        };
        let files = paths::Paths::certificate(&route.app, &self.journal.id);
        let state = self.state(&route.host)?;
        if state.files.contains(&files.certificate) && state.files.contains(&files.key) {
            return None;
        }
        let (certificate, key) = (certificate.clone(), key.clone());
        let verb = Verb::WriteCertificate {
            paths: files.into(),
            certificate,
            key,
        };
        Some(Op::new(&route.host, verb))
    }

    fn starts(&self, web: bool) -> Vec<Op> {
        let down = self
            .with_duty(web)
            .filter(|spec| self.seen(spec).is_none_or(|f| !f.ran));
        let start = |spec: &ContainerSpec| {
            Op::new(
                &spec.host,
                Verb::Start {
                    container: self.target(spec),
                },
            )
        };
        down.map(start).collect()
    }

    fn gate(&mut self) {
        self.stage(self.gates(true));
        self.stage(self.starts(false));
        self.stage(self.gates(false));
        self.reached();
    }

    fn gates(&self, web: bool) -> Vec<Op> {
        let spec = &self.journal.spec;
        let settings = spec.gate;
        let gate = |container: &'a ContainerSpec| {
            let mut routes = spec.routes_of(&container.host);
            let route = routes.find(|route| route.role == container.role && web);
            let check = match route {
                Some(route) => {
                    let path = route.health.path.clone();
                    Check::Http {
                        port: route.app_port,
                        path,
                        settings,
                    }
                }
                None => Check::Docker { settings },
            };
            Op::new(
                &container.host,
                Verb::Gate {
                    container: self.target(container),
                    check,
                },
            )
        };
        self.with_duty(web).map(gate).collect()
    }

    fn announce_switch(&mut self) {
        if !self.journal.spec.routes.is_empty() {
            self.record(Phase::Switching);
        }
    }

    fn switch(&mut self) {
        let (journal, spec) = (self.journal, &self.journal.spec);
        let mut hosts = spec.hosts();
        hosts.retain(|host| spec.is_proxied(host));
        let write = |host: &HostName| {
            let apps = spec.routes_of(host).map(|route| self.app(route)).collect();
            let route = RoutePlan {
                transaction: journal.id.clone(),
                apps,
            };
            Op::new(
                host,
                Verb::WriteRoute {
                    route,
                    fence: journal.fence,
                },
            )
        };
        let unswitched = hosts
            .iter()
            .filter(|host| !is_switched(journal, self.observed, host));
        let writes = unswitched.map(write).collect();
        let show = |host: &HostName| {
            let shows = spec
                .routes_of(host)
                .map(|route| service_name(&route.app, &journal.id));
            Op::new(
                host,
                Verb::AwaitRoute {
                    shows: shows.collect(),
                    gone: Vec::new(),
                },
            )
        };
        let shows = hosts.iter().map(show).collect();
        let probe = |host: &HostName| {
            let routes = spec.routes_of(host).cloned().collect();
            Op::new(
                host,
                Verb::Probe {
                    routes,
                    transaction: journal.id.clone(),
                },
            )
        };
        let probes = hosts.iter().map(probe).collect();
        self.stage(writes);
        self.stage(shows);
        self.stage(probes);
        self.reached();
    }

    fn app(&self, route: &RouteSpec) -> AppPlan {
        let mut containers = self.with_duty(true).collect::<Vec<_>>();
        containers.retain(|spec| spec.host == route.host && spec.role == route.role);
        let backend = BackendPlan {
            transaction: self.journal.id.clone(),
            weight: 100,
            port: route.app_port,
            containers: containers
                .into_iter()
                .map(|spec| self.target(spec))
                .collect(),
        };
        AppPlan {
            spec: route.clone(),
            backends: vec![backend],
        }
    }

    fn bake(&mut self) {
        let spec = &self.journal.spec;
        if spec.bake > Millis(0) {
            let mut ops = Vec::new();
            for host in spec.hosts() {
                let containers: Vec<_> =
                    spec.containers_of(&host).map(|c| self.target(c)).collect();
                if !containers.is_empty() {
                    ops.push(Op::new(
                        &host,
                        Verb::Watch {
                            span: spec.bake,
                            containers,
                        },
                    ));
                }
            }
            self.stage(ops);
        }
        self.reached();
    }

    fn commit(&mut self) -> Result<(), Blocked> {
        let journal = self.journal;
        if journal.phase >= Phase::Switched {
            let proxied = journal.spec.routes.iter().map(|route| &route.host);
            for host in proxied.filter(|host| !journal.abandoned.contains(*host)) {
                if !is_switched(journal, self.observed, host) {
                    return Err(Blocked::NotSwitched(host.clone()));
                }
            }
        }
        let fence = journal.fence;
        let primary = Op::new(&journal.spec.primary, Verb::Commit { fence });
        self.stage(vec![primary]);
        Ok(())
    }
}

/// Says whether every routed role of `host` leads to this transaction alone.
pub(super) fn is_switched(journal: &Journal, observed: &Observed, host: &HostName) -> bool {
    let Some(route) = observed
        .host(host)
        .and_then(|state| state.route.as_ref()?.route.as_ref())
    else {
        return false;
    };
    let mut wanted = journal.spec.routes_of(host);
    wanted.all(|spec| {
        let app = route.apps.iter().find(|app| app.app == spec.app);
        app.is_some_and(|app| {
            let mut active = app.backends.iter().filter(|backend| backend.weight > 0);
            active
                .next()
                .is_some_and(|backend| backend.transaction == journal.id)
                && active.next().is_none()
        })
    })
}

/// The container of this transaction that fulfils `spec`, where it was seen.
pub(super) fn ours<'a>(
    journal: &Journal,
    observed: &'a Observed,
    spec: &ContainerSpec,
) -> Option<&'a Found> {
    let state = observed.host(&spec.host)?;
    let names: [&ContainerName; 2] = [spec.created_as(), &spec.name];
    state.containers.iter().find(|found| {
        found.transaction.as_ref() == Some(&journal.id) && names.contains(&&found.name)
    })
}

/// How operations name a container that was seen.
pub(super) fn target(found: &Found) -> Target {
    Target {
        name: found.name.clone(),
        id: Some(found.id.clone()),
    }
}
