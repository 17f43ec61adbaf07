//! Hosts in memory: carries operations out, refuses what would break a promise, is probed again.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use indexmap::IndexMap;

use crate::release::{
    Answer, ContainerId, ContainerName, ContainerSpec, Digest, Duty, Fence, Found, HistoryLine,
    HostName, HostState, Journal, LockFound, Machine, Millis, Observed, Op, Opening, Phase,
    ProxyFound, RoleName, Route, RouteFile, Spec, Stage, TRANSACTION_LABEL, Target, TransactionId,
    UnixMillis, Verb, acquire, hosts_to_lock, paths, plan, traefik,
};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Container {
    pub(super) id: ContainerId,
    pub(super) name: ContainerName,
    pub(super) role: Option<RoleName>,
    pub(super) transaction: Option<TransactionId>,
    pub(super) release: String,
    pub(super) image: Digest,
    pub(super) running: bool,
    pub(super) ever_started: bool,
    pub(super) connected: bool,
    pub(super) answers: bool,
    pub(super) accessory: bool,
    pub(super) created: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Server {
    pub(super) containers: Vec<Container>,
    pub(super) files: BTreeMap<String, String>,
    pub(super) networks: BTreeSet<String>,
    pub(super) images: BTreeSet<Digest>,
    pub(super) tags: BTreeMap<String, Digest>,
    pub(super) lock: Option<LockFound>,
    pub(super) fence: Fence,
    pub(super) journal: Option<Journal>,
    pub(super) history: Vec<HistoryLine>,
    pub(super) audit: Vec<String>,
    pub(super) accessories: BTreeMap<ContainerName, bool>,
    pub(super) sessions: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct World {
    pub(super) servers: IndexMap<HostName, Server>,
    /// Hosts that do not answer.
    pub(super) away: BTreeSet<HostName>,
    pub(super) latest: String,
    /// Hosts that answered when the transaction opened: they must go on doing so.
    served: BTreeSet<HostName>,
    next: u64,
}

/// What an undo must bring back.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Essence {
    containers: BTreeMap<(HostName, ContainerId), Container>,
    files: BTreeMap<HostName, BTreeMap<String, String>>,
    tags: BTreeMap<HostName, BTreeMap<String, Digest>>,
    accessories: BTreeMap<HostName, BTreeMap<ContainerName, bool>>,
}

impl World {
    pub(super) fn new(hosts: &[&str]) -> Self {
        let mut servers = IndexMap::new();
        for host in hosts {
            let mut server = Server::default();
            server.accessories.insert("shop-db".into(), true);
            servers.insert(HostName::from(*host), server);
        }
        Self {
            servers,
            away: BTreeSet::new(),
            latest: "latest".to_owned(),
            served: BTreeSet::new(),
            next: 1,
        }
    }

    pub(super) fn server(&mut self, host: &str) -> &mut Server {
        self.servers.get_mut(host).unwrap()
    }

    pub(super) fn essence(&self) -> Essence {
        let by = |server: &Server, host: &HostName| {
            server
                .containers
                .iter()
                .map(|c| ((host.clone(), c.id.clone()), c.clone()))
                .collect::<Vec<_>>()
        };
        let servers = || self.servers.iter();
        Essence {
            containers: servers()
                .flat_map(|(host, server)| by(server, host))
                .collect(),
            files: servers()
                .map(|(host, server)| (host.clone(), server.files.clone()))
                .collect(),
            tags: servers()
                .map(|(host, server)| (host.clone(), server.tags.clone()))
                .collect(),
            accessories: servers()
                .map(|(h, server)| (h.clone(), server.accessories.clone()))
                .collect(),
        }
    }

    pub(super) fn observe(&self) -> Observed {
        let answering = self
            .servers
            .iter()
            .filter(|(host, _)| !self.away.contains(*host));
        let hosts = answering.map(|(host, server)| (host.clone(), self.state(server)));
        Observed {
            hosts: hosts.collect(),
        }
    }

    fn state(&self, server: &Server) -> HostState {
        let found = |c: &Container| Found {
            id: c.id.clone(),
            name: c.name.clone(),
            role: c.role.clone(),
            transaction: c.transaction.clone(),
            release: Some(c.release.as_str().into()),
            image: Some(c.image.clone()),
            ran: c.running,
            answered: (c.running && c.answers).then(|| Answer {
                port: 3000,
                path: "/up".to_owned(),
                limit: Millis::from_secs(30),
            }),
            accessory: c.accessory,
            created: UnixMillis(c.created),
        };
        let route = server.files.get(ROUTE).map(|text| RouteFile {
            text: text.clone(),
            route: read(text),
        });
        // As a probe sees them: names with a part between dots, the route itself not among them.
        let files = server
            .files
            .keys()
            .filter(|path| *path != ROUTE && !path.ends_with(".env"));
        HostState {
            containers: server.containers.iter().map(found).collect(),
            other_names: server.accessories.keys().cloned().collect(),
            route,
            proxy: Some(ProxyFound {
                driver: "traefik".to_owned(),
                container: "traefik".into(),
                running: true,
                ports: [8080, 8443, 3002].into(),
                authority: None,
            }),
            accessories: server.accessories.clone(),
            networks: server.networks.clone(),
            images: server.images.clone(),
            latest: server.tags.get(&self.latest).cloned(),
            files: files.cloned().collect(),
            lock: server.lock.clone(),
            fence: server.fence,
            journal: server.journal.clone(),
            history: server.history.clone(),
            ports: BTreeMap::new(),
        }
    }

    /// A container that was there before any transaction of ours.
    pub(super) fn put(&mut self, host: &str, name: &str, role: &str, running: bool) -> ContainerId {
        let id = self.id();
        let created = self.next;
        self.server(host).containers.push(Container {
            id: id.clone(),
            name: name.into(),
            role: Some(role.into()),
            transaction: None,
            release: "k0".to_owned(),
            image: "sha256:k0".into(),
            running,
            ever_started: true,
            connected: true,
            answers: role == "web",
            accessory: role == "sidekiq",
            created,
        });
        id
    }

    fn id(&mut self) -> ContainerId {
        self.next += 1;
        ContainerId::new(format!("{:012x}{:052x}", self.next, 7))
    }

    /// The route as the proxy follows it.
    pub(super) fn route(&self, host: &HostName) -> Option<Route> {
        read(self.servers[host].files.get(ROUTE)?)
    }

    /// Hosts on which a request would be answered.
    pub(super) fn serving(&self) -> BTreeSet<HostName> {
        let serves = |host: &HostName| {
            let Some(route) = self.route(host) else {
                return false;
            };
            let answers = |id: &ContainerId| {
                let mut all = self.servers[host].containers.iter();
                all.any(|c| c.id.is(id.as_str()) && c.running && c.connected && c.answers)
            };
            let mut active = route.backends().filter(|(_, backend)| backend.weight > 0);
            active.all(|(_, backend)| backend.containers.iter().all(answers))
        };
        self.servers
            .keys()
            .filter(|host| serves(host))
            .cloned()
            .collect()
    }

    /// Takes lock and fence, probes and plans.
    pub(super) fn open(&mut self, id: &str, spec: Spec) -> Journal {
        self.open_as(id, spec, crate::release::Kind::Deploy)
    }

    pub(super) fn open_as(&mut self, id: &str, spec: Spec, kind: crate::release::Kind) -> Journal {
        let observed = self.observe();
        let history = observed
            .hosts
            .values()
            .map(|h| h.history.clone())
            .max_by_key(Vec::len)
            .unwrap();
        let locks = hosts_to_lock(&spec, &history);
        let opening = Opening {
            id: TransactionId::parse(id).unwrap(),
            kind,
            fence: observed.next_fence(),
            holder: crate::release::Holder {
                who: "ann".to_owned(),
                machine: Machine {
                    boot: "b".to_owned(),
                    pid_namespace: "n".to_owned(),
                    pid: 1,
                    started: 1,
                },
            },
            run: None,
            at: UnixMillis(0),
        };
        self.served = self.serving();
        let stages = acquire(&spec, &locks, &observed, &opening);
        let observed = self.observe();
        let journal = plan(spec, &observed, locks, opening).unwrap();
        for op in stages.iter().flat_map(|stage| &stage.ops) {
            self.apply(op, &journal);
        }
        journal
    }

    pub(super) fn run(&mut self, stages: &[Stage], journal: &Journal) {
        for op in stages.iter().flat_map(|stage| &stage.ops) {
            self.apply(op, journal);
        }
    }

    /// The journal as the primary host has it now.
    pub(super) fn journal(&self, host: &HostName) -> Option<Journal> {
        self.servers[host].journal.clone()
    }

    fn find(&self, host: &HostName, target: &Target, journal: &Journal) -> usize {
        let containers = &self.servers[host].containers;
        let found = containers.iter().position(|c| match &target.id {
            Some(id) => c.id == *id,
            None => c.name == target.name && c.transaction.as_ref() == Some(&journal.id),
        });
        found.unwrap_or_else(|| panic!("{host} has no container {target:?}"))
    }

    /// Carries one operation out.
    pub(super) fn apply(&mut self, op: &Op, journal: &Journal) {
        let serving = self.serving();
        let host = &op.host;
        assert!(!self.away.contains(host), "{op}: the host is away");
        let locked = self.servers[&journal.locks[0]].lock.as_ref();
        let holds = locked.is_some_and(|lock| lock.transaction() == Some(&journal.id));
        assert!(
            holds || matches!(op.verb, Verb::TakeLock { .. } | Verb::Unlock { .. }),
            "{op}: no lock"
        );
        if op.verb.is_fenced() {
            assert_eq!(
                self.servers[host].fence, journal.fence,
                "{op}: the fence is not ours"
            );
        }
        match &op.verb {
            Verb::WriteRoute { .. } | Verb::AwaitRoute { .. } | Verb::Probe { .. } => {
                self.apply_route(op, journal);
            }
            Verb::Create { .. }
            | Verb::Start { .. }
            | Verb::StartOnce { .. }
            | Verb::AwaitExit { .. }
            | Verb::Gate { .. }
            | Verb::AwaitAnswer { .. }
            | Verb::Watch { .. }
            | Verb::Stop { .. }
            | Verb::Remove { .. }
            | Verb::Rename { .. } => self.apply_to_containers(op, journal),
            _ => self.apply_to_files(op, journal),
        }
        let now = self.serving();
        let lost: Vec<_> = serving
            .difference(&now)
            .filter(|host| self.served.contains(*host))
            .collect();
        let unrouted = matches!(op.verb, Verb::RemoveRoute { .. });
        assert!(
            lost.is_empty() || unrouted,
            "{op}: {lost:?} no longer answer"
        );
    }

    fn apply_to_containers(&mut self, op: &Op, journal: &Journal) {
        let host = &op.host;
        match &op.verb {
            Verb::Create { container } => self.create(host, container, true),
            Verb::Start { container } | Verb::StartOnce { container } => {
                let once = matches!(op.verb, Verb::StartOnce { .. });
                let at = self.find(host, container, journal);
                let c = &mut self.servers[host].containers[at];
                assert!(c.connected, "{op}: started before it is connected");
                c.running |= !(once && c.ever_started);
                c.ever_started = true;
            }
            Verb::AwaitExit { container, .. } => {
                let at = self.find(host, container, journal);
                self.servers[host].containers[at].running = false;
            }
            Verb::Gate { container, .. } | Verb::AwaitAnswer { container, .. } => {
                let at = self.find(host, container, journal);
                assert!(
                    self.servers[host].containers[at].running,
                    "{op}: it does not run"
                );
            }
            Verb::Watch { containers, .. } => {
                for container in containers {
                    let at = self.find(host, container, journal);
                    assert!(
                        self.servers[host].containers[at].running,
                        "{op}: it does not run"
                    );
                }
            }
            Verb::Stop { container, .. } => {
                let at = self.find(host, container, journal);
                self.servers[host].containers[at].running = false;
            }
            Verb::Remove { container } => {
                let containers = &mut self.servers[host].containers;
                let id = container.id.clone();
                let at = containers.iter().position(|c| match &id {
                    Some(id) => c.id == *id,
                    None => c.name == container.name && c.transaction.as_ref() == Some(&journal.id),
                });
                if let Some(at) = at {
                    let gone = containers.remove(at);
                    assert!(!gone.running, "{op}: it still runs");
                }
            }
            Verb::Rename { container, to } => {
                let mut all = self.servers[host].containers.iter();
                if all.any(|c| c.name == *to && c.transaction.as_ref() == Some(&journal.id)) {
                    return;
                }
                let at = self.find(host, container, journal);
                let server = &mut self.servers[host];
                let id = server.containers[at].id.clone();
                let taken = server
                    .containers
                    .iter()
                    .any(|c| c.name == *to && c.id != id);
                assert!(
                    !taken && !server.accessories.contains_key(to),
                    "{op}: the name is taken"
                );
                server.containers[at].name = to.clone();
            }
            _ => {}
        }
    }

    /// Does the first part of an operation that has several; says whether it has.
    pub(super) fn apply_half(&mut self, op: &Op, journal: &Journal) -> bool {
        match &op.verb {
            Verb::Create { container } => self.create(&op.host, container, false),
            Verb::WriteRoute { .. } => {
                let path = journal.spec.paths().staged_route(&journal.id);
                self.servers[&op.host].files.insert(path, String::new());
            }
            Verb::WriteCertificate { paths, .. } => {
                self.servers[&op.host]
                    .files
                    .insert(paths.certificate.clone(), String::new());
            }
            _ => return false,
        }
        true
    }

    fn create(&mut self, host: &HostName, spec: &ContainerSpec, connect: bool) {
        let id = self.id();
        let created = self.next;
        let server = &mut self.servers[host];
        let label = spec.labels.get(TRANSACTION_LABEL).unwrap();
        let transaction = TransactionId::parse(label).unwrap();
        let name = spec.created_as();
        assert!(server.networks.contains("kamal"), "no network on {host}");
        assert!(
            server.images.contains(spec.image.digest.as_ref().unwrap()),
            "no image on {host}"
        );
        if let Some(there) = server.containers.iter_mut().find(|c| c.name == *name) {
            assert_eq!(
                there.transaction,
                Some(transaction),
                "name {name} is taken on {host}"
            );
            there.connected |= connect;
            return;
        }
        assert!(
            !server.accessories.contains_key(name),
            "name {name} is taken on {host}"
        );
        server.containers.push(Container {
            id,
            name: name.clone(),
            role: (spec.duty != Duty::Migration).then(|| spec.role.clone()),
            transaction: Some(transaction),
            release: spec.image.tag.clone().unwrap(),
            image: spec.image.digest.clone().unwrap(),
            running: false,
            ever_started: false,
            connected: connect,
            answers: spec.duty == Duty::Web,
            accessory: spec.duty == Duty::WorkerAccessory,
            created,
        });
    }

    fn apply_route(&mut self, op: &Op, journal: &Journal) {
        let host = &op.host;
        match &op.verb {
            Verb::WriteRoute { route, .. } => {
                let find = |name: &ContainerName| {
                    let target = Target {
                        name: name.clone(),
                        id: None,
                    };
                    let at = self.find(host, &target, journal);
                    Some(self.servers[host].containers[at].id.clone())
                };
                let resolved = route.resolve(find).unwrap();
                let text = traefik::dynamic_file(&route.specs(), &resolved, &route.transaction);
                let server = &mut self.servers[host];
                for (spec, _) in route.specs().iter().zip(&resolved.apps) {
                    let files = paths::Paths::certificate(&spec.app, &journal.id);
                    assert!(
                        server.files.contains_key(&files.certificate),
                        "{op}: no certificate"
                    );
                    assert!(server.files.contains_key(&files.key), "{op}: no key");
                }
                server.files.insert(ROUTE.to_owned(), text);
                server
                    .files
                    .remove(&journal.spec.paths().staged_route(&journal.id));
            }
            Verb::AwaitRoute { shows, gone } => {
                let route = self.route(host).unwrap_or_default();
                let names: Vec<_> = route.backends().map(|(app, b)| b.service(app)).collect();
                assert!(
                    shows.iter().all(|name| names.contains(name)),
                    "{op}: {names:?}"
                );
                assert!(
                    gone.iter().all(|name| !names.contains(name)),
                    "{op}: {names:?}"
                );
            }
            _ => assert!(self.serving().contains(host), "{op}: nobody answers"),
        }
    }

    fn apply_to_files(&mut self, op: &Op, journal: &Journal) {
        let server = &mut self.servers[&op.host];
        let put = |server: &mut Server, path: &str| {
            server.files.insert(path.to_owned(), journal.id.to_string());
        };
        match &op.verb {
            Verb::TakeLock { details, lease, .. } => {
                let (details, lease) = (Some(details.clone()), Some(lease.clone()));
                server.lock = Some(LockFound {
                    details,
                    lease,
                    age: Millis(0),
                });
            }
            Verb::WriteFence { fence } => server.fence = server.fence.max(*fence),
            Verb::Record { phase } => {
                server.journal = Some(journal.clone().at(*phase, UnixMillis(0)));
            }
            Verb::Commit { .. } => {
                server.journal = Some(journal.clone().at(Phase::Committed, UnixMillis(0)));
            }
            Verb::KeepWayBack { route, way_back } => {
                let text = server.files[route].clone();
                server.files.insert(way_back.clone(), text);
            }
            Verb::Reserve { path, .. } => put(server, path),
            Verb::CreateNetwork { name } => drop(server.networks.insert(name.clone())),
            Verb::CheckProxy { .. } => {}
            Verb::CheckAccessory { accessory } => assert!(server.accessories[&accessory.container]),
            Verb::Pull { image } => drop(server.images.insert(image.digest.clone().unwrap())),
            Verb::BackUp { .. } => {}
            Verb::WriteEnvFile { path, .. } => put(server, path),
            Verb::WriteCertificate { paths, .. } => {
                put(server, &paths.certificate);
                put(server, &paths.key);
            }
            Verb::AppendHistory { line } => {
                if server
                    .history
                    .iter()
                    .all(|old| old.transaction != line.transaction)
                {
                    server.history.push((**line).clone());
                }
            }
            Verb::Audit { line } => {
                if !server.audit.contains(line) {
                    server.audit.push(line.clone());
                }
            }
            Verb::RemoveJournal { .. } => server.journal = None,
            Verb::Unlock { .. } => server.lock = None,
            _ => self.apply_changes(op),
        }
    }

    fn apply_changes(&mut self, op: &Op) {
        let (server, latest) = (&mut self.servers[&op.host], &self.latest);
        match &op.verb {
            Verb::RestoreRoute {
                route,
                way_back,
                text,
                ..
            } => {
                let kept = server.files.remove(way_back);
                assert_eq!(
                    kept.as_ref(),
                    Some(text),
                    "{op}: the way back is not what was found"
                );
                server.files.insert(route.clone(), text.clone());
            }
            Verb::RemoveRoute { route, .. } => drop(server.files.remove(route)),
            Verb::EndSessions { application, .. } => drop(server.sessions.remove(application)),
            Verb::Tag { image, tags } => {
                assert!(tags.contains(latest));
                for tag in tags {
                    server
                        .tags
                        .insert(tag.clone(), image.digest.clone().unwrap());
                }
            }
            Verb::MoveFile { from, to } => {
                if let Some(text) = server.files.remove(from) {
                    server.files.insert(to.clone(), text);
                }
                assert!(server.files.contains_key(to), "{op}: neither is there");
            }
            Verb::RemoveFile { path } => drop(server.files.remove(path)),
            Verb::PruneImages { keep, .. } => {
                let used: Vec<_> = server.containers.iter().map(|c| c.image.clone()).collect();
                server
                    .images
                    .retain(|image| keep.contains(image) || used.contains(image));
            }
            other => panic!("{other} is not modelled"),
        }
    }
}

thread_local! {
    /// Routes that were read before: the same few texts are read a million times.
    static READ: RefCell<HashMap<String, Option<Route>>> = RefCell::new(HashMap::new());
}

fn read(text: &str) -> Option<Route> {
    READ.with_borrow_mut(|known| {
        if let Some(route) = known.get(text) {
            return route.clone();
        }
        let route = traefik::read_dynamic(text).ok();
        known.insert(text.to_owned(), route.clone());
        route
    })
}

pub(super) const ROUTE: &str = ".kamal/proxy/traefik/dynamic/shop.yml";
