//! What is left after the commit: the old containers stop, names, tags and files are exchanged.
//!
//! Touches only containers of the baseline, and names, tags and env files only where the route
//! is still ours: somebody may have broken the lock and deployed with another tool.

use std::collections::BTreeSet;

use super::{
    forward::{Plan, is_switched, target},
    ids::{ContainerName, Digest, HostName},
    image::ImageRef,
    journal::HostBaseline,
    observed::{Found, HostState},
    op::{Op, Target, Verb},
    paths,
    phase::Phase,
    spec::{DrainMode, Duty},
    time::Millis,
};

/// Adds the stages that finish a committed transaction.
pub(super) fn finish(plan: &mut Plan<'_>) {
    let hosts: Vec<_> = plan.journal.hosts();
    let work: Vec<_> = hosts
        .iter()
        .filter_map(|host| Host::of(plan, host))
        .collect();
    let stages = [
        all(&work, Host::copies),
        all(&work, Host::revive),
        all(&work, Host::unroute),
        all(&work, Host::await_unrouted),
        // Names can be freed while requests are still answered.
        [all(&work, Host::stop), all(&work, Host::free_names)].concat(),
        // What waits for nothing first; files last: they go in one command with the record.
        [
            all(&work, Host::remove_surplus),
            all(&work, Host::tag),
            all(&work, Host::prune_images),
            all(&work, Host::take_names),
            all(&work, Host::move_files),
            all(&work, Host::tidy),
        ]
        .concat(),
    ];
    for stage in stages {
        plan.stage(stage);
    }
    plan.record(Phase::Finished);
}

/// One step on all hosts.
fn all<'a>(hosts: &[Host<'a>], step: fn(&Host<'a>) -> Vec<Op>) -> Vec<Op> {
    hosts.iter().flat_map(step).collect()
}

/// One host, with what decides about it.
struct Host<'a> {
    plan: &'a Plan<'a>,
    host: &'a HostName,
    state: &'a HostState,
    found: HostBaseline,
    /// Whether the plan is made ahead, so that all earlier phases must be taken as done.
    ahead: bool,
    /// Whether names, tags and files may be exchanged.
    ours: bool,
}

impl<'a> Host<'a> {
    fn of(plan: &'a Plan<'a>, host: &'a HostName) -> Option<Self> {
        let journal = plan.journal;
        let ahead = !journal.is_committed();
        let spec = &journal.spec;
        // A host without a route of its own follows those that have one.
        let mut deciding: Vec<_> = spec.routes.iter().map(|route| &route.host).collect();
        deciding.retain(|other| !journal.abandoned.contains(*other));
        if deciding.contains(&host) {
            deciding.retain(|other| *other == host);
        }
        let switched = deciding
            .iter()
            .all(|host| is_switched(journal, plan.observed, host));
        Some(Self {
            plan,
            host,
            state: plan.state(host)?,
            found: journal.found(host).cloned().unwrap_or_default(),
            ahead,
            ours: ahead || switched,
        })
    }

    /// Brings copies of the journal up to the commit before anything is taken away.
    fn copies(&self) -> Vec<Op> {
        let journal = self.plan.journal;
        let copy = self
            .state
            .journal
            .as_ref()
            .filter(|copy| copy.id == journal.id);
        let behind = copy.is_none_or(|copy| copy.phase < Phase::Committed);
        if self.ahead && *self.host == journal.spec.primary || !self.ahead && !behind {
            return Vec::new();
        }
        vec![self.op(Verb::Record {
            phase: Phase::Committed,
        })]
    }

    /// Starts what is ours and went down after the commit, as after a restart of the daemon.
    fn revive(&self) -> Vec<Op> {
        if self.ahead {
            return Vec::new();
        }
        let containers = self.plan.journal.spec.containers_of(self.host);
        let down = containers
            .filter_map(|spec| self.plan.seen(spec))
            .filter(|found| !found.ran);
        down.map(|found| {
            self.op(Verb::Start {
                container: target(found),
            })
        })
        .collect()
    }

    /// Says whether the host was routed and is no longer meant to be.
    fn leaves_proxy(&self) -> bool {
        let proxied = self.plan.journal.spec.is_proxied(self.host);
        let unchanged = self.found.route.is_some() && self.state.route == self.found.route;
        !proxied && unchanged && self.ours
    }

    fn unroute(&self) -> Vec<Op> {
        if !self.leaves_proxy() {
            return Vec::new();
        }
        let journal = self.plan.journal;
        let route = journal.spec.paths().route();
        vec![self.op(Verb::RemoveRoute {
            route,
            fence: journal.fence,
        })]
    }

    fn await_unrouted(&self) -> Vec<Op> {
        let route = self
            .found
            .route
            .as_ref()
            .and_then(|file| file.route.as_ref());
        let gone: Vec<_> = route
            .filter(|_| self.leaves_proxy())
            .into_iter()
            .flat_map(|route| route.backends())
            .map(|(app, backend)| backend.service(app))
            .collect();
        if gone.is_empty() {
            return Vec::new();
        }
        vec![self.op(Verb::AwaitRoute {
            shows: Vec::new(),
            gone,
        })]
    }

    /// Containers of the baseline as they are now, without those that requests still reach.
    fn old(&self) -> Vec<&Found> {
        let route = self
            .state
            .route
            .as_ref()
            .and_then(|file| file.route.as_ref());
        let serves = |found: &Found| {
            let routed = route.is_some_and(|route| route.uses(&found.id));
            routed && !self.ahead && !self.leaves_proxy()
        };
        let now = self
            .found
            .containers
            .iter()
            .filter_map(|found| self.state.by_id(&found.id));
        now.filter(|found| !serves(found)).collect()
    }

    fn stop(&self) -> Vec<Op> {
        let spec = &self.plan.journal.spec;
        let stop = |found: &Found| {
            let wait = match spec.drain {
                DrainMode::Wait => spec.drain_timeout,
                DrainMode::Term => Millis(0),
            };
            let timeout = spec.drain_timeout;
            self.op(Verb::Stop {
                container: target(found),
                wait,
                timeout,
            })
        };
        self.old()
            .into_iter()
            .filter(|found| found.ran)
            .map(stop)
            .collect()
    }

    /// Old containers that have a name which ours want.
    fn in_the_way(&self) -> Vec<&Found> {
        let wanted: Vec<_> = self.plan.journal.spec.containers_of(self.host).collect();
        let mut old = if self.ours { self.old() } else { Vec::new() };
        old.retain(|found| wanted.iter().any(|spec| spec.name == found.name));
        old
    }

    fn free_names(&self) -> Vec<Op> {
        let id = &self.plan.journal.id;
        let rename = |found: &Found| {
            let to = ContainerName::new(format!("{}_replaced_{id}", found.name));
            self.op(Verb::Rename {
                container: target(found),
                to,
            })
        };
        self.in_the_way().into_iter().map(rename).collect()
    }

    fn tag(&self) -> Vec<Op> {
        let spec = &self.plan.journal.spec;
        if !self.ours || spec.containers_of(self.host).next().is_none() {
            return Vec::new();
        }
        let image = ImageRef {
            tag: None,
            ..spec.image.clone()
        };
        let tags = vec![spec.version.to_string(), spec.latest_tag()];
        vec![self.op(Verb::Tag { image, tags })]
    }

    fn take_names(&self) -> Vec<Op> {
        if !self.ours {
            return Vec::new();
        }
        let mut ops = Vec::new();
        let freed = self.in_the_way();
        for container in self.plan.journal.spec.containers_of(self.host) {
            let from = self.plan.target(container);
            let free = freed.iter().any(|found| found.name == container.name)
                || !self.state.holds_name(&container.name);
            if from.name != container.name && free {
                ops.push(self.op(Verb::Rename {
                    container: from,
                    to: container.name.clone(),
                }));
            }
        }
        ops
    }

    /// Gives the env files the names that Kamal knows.
    fn move_files(&self) -> Vec<Op> {
        if !self.ours {
            return Vec::new();
        }
        let journal = self.plan.journal;
        let containers = journal.spec.containers_of(self.host);
        let files: BTreeSet<_> = containers.filter_map(|c| c.env_file.clone()).collect();
        let mut ops = Vec::new();
        for to in files {
            let from = paths::of_transaction(&to, &journal.id);
            if self.ahead || self.state.files.contains(&from) {
                ops.push(self.op(Verb::MoveFile { from, to }));
            }
        }
        ops
    }

    fn remove_surplus(&self) -> Vec<Op> {
        let surplus = self.surplus().into_iter();
        surplus
            .map(|container| Op::best_effort(self.host, Verb::Remove { container }))
            .collect()
    }

    /// Removes what is no longer needed; none of it can fail a deploy.
    fn tidy(&self) -> Vec<Op> {
        let (journal, paths) = (self.plan.journal, self.plan.journal.spec.paths());
        let (way_back, reserve) = (paths.way_back(&journal.id), paths.reserve(&journal.id));
        let routed = self.found.route.is_some();
        let mut files: Vec<String> = Vec::new();
        files.extend(
            (routed && (self.ahead || self.state.files.contains(&way_back))).then_some(way_back),
        );
        files.extend((self.ahead || self.state.files.contains(&reserve)).then_some(reserve));
        files.extend(self.old_certificates());
        let remove = |path| Op::best_effort(self.host, Verb::RemoveFile { path });
        files.into_iter().map(remove).collect()
    }

    /// Certificates of earlier transactions: the route names ours, or is gone.
    fn old_certificates(&self) -> Vec<String> {
        let Some(route) = self
            .found
            .route
            .as_ref()
            .and_then(|file| file.route.as_ref())
        else {
            return Vec::new();
        };
        if !self.ours {
            return Vec::new();
        }
        let names = route.backends().flat_map(|(app, backend)| {
            let files = paths::Paths::certificate(app, &backend.transaction);
            [files.certificate, files.key]
        });
        names
            .filter(|path| self.state.files.contains(path))
            .collect()
    }

    /// Old containers beyond those that are kept for a look back.
    fn surplus(&self) -> Vec<Target> {
        let keep = self.plan.journal.spec.retain_containers;
        let mut old = self.old();
        old.sort_by_key(|found| std::cmp::Reverse(found.created));
        let mut kept: Vec<&Found> = Vec::new();
        let mut surplus = Vec::new();
        for found in old {
            let same = kept.iter().filter(|other| other.role == found.role).count();
            if found.accessory || self.is_accessory(found) || same >= keep {
                surplus.push(self.renamed(found));
            } else {
                kept.push(found);
            }
        }
        surplus
    }

    fn is_accessory(&self, found: &Found) -> bool {
        let mut specs = self.plan.journal.spec.containers.iter();
        specs.any(|spec| {
            spec.duty == Duty::WorkerAccessory && Some(&spec.role) == found.role.as_ref()
        })
    }

    /// The container under the name that it has after the names were exchanged.
    fn renamed(&self, found: &Found) -> Target {
        let mut container = target(found);
        if self.in_the_way().iter().any(|other| other.id == found.id) {
            let id = &self.plan.journal.id;
            container.name = ContainerName::new(format!("{}_replaced_{id}", found.name));
        }
        container
    }

    /// Images of containers that are removed at the same time may stay until the next deploy: a
    /// wait of its own would be dearer.
    fn prune_images(&self) -> Vec<Op> {
        let spec = &self.plan.journal.spec;
        if spec.containers_of(self.host).next().is_none() || !self.ours {
            return Vec::new();
        }
        let gone: BTreeSet<_> = self
            .surplus()
            .into_iter()
            .filter_map(|target| target.id)
            .collect();
        let left = self
            .found
            .containers
            .iter()
            .filter(|found| !gone.contains(&found.id));
        let mut keep: Vec<Digest> = left.filter_map(|found| found.image.clone()).collect();
        keep.extend(spec.image.digest.clone());
        keep.sort();
        keep.dedup();
        if self.state.images.iter().all(|seen| keep.contains(seen)) {
            return Vec::new();
        }
        let repository = spec.image.repository.clone();
        vec![Op::best_effort(
            self.host,
            Verb::PruneImages { repository, keep },
        )]
    }

    fn op(&self, verb: Verb) -> Op {
        Op::new(self.host, verb)
    }
}
