//! How a transaction begins: who is probed, the lock, the baseline, the journal.

use std::fmt::{self, Display};

use indexmap::IndexMap;
use thiserror::Error;

use super::{
    history::{HistoryLine, Outcome},
    ids::{ContainerName, Fence, HostName, TransactionId},
    journal::{Baseline, FORMAT, Holder, HostBaseline, Journal, Kind, Reached},
    lock::{Lease, LockDetails},
    observed::{HostState, Observed},
    op::{Op, Stage, Verb},
    phase::Phase,
    spec::{ContainerSpec, Spec, TRANSACTION_LABEL},
    time::UnixMillis,
};

/// What is new with each transaction.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Its id.
    pub id: TransactionId,
    /// What it is.
    pub kind: Kind,
    /// Its fence, [`Observed::next_fence`].
    pub fence: Fence,
    /// Who holds it.
    pub holder: Holder,
    /// The run that it belongs to.
    pub run: Option<String>,
    /// The moment.
    pub at: UnixMillis,
}

/// Why a transaction cannot begin; nothing was changed.
#[derive(Debug, Error)]
pub enum PlanError {
    /// The machines: some host did not answer.
    #[error("no answer from {}", Names(.0))]
    HostsAway(Vec<HostName>),
    /// The hosts are not prepared.
    #[error("{}", Lines(.0))]
    NotReady(Vec<Problem>),
    /// The image is not known exactly: our fault, or the registry's.
    #[error("the digest of image `{0}` is not known")]
    NoDigest(String),
}

/// Something that a host lacks.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// `runner setup` was never run.
    #[error("`{host}` has no proxy (run `runner setup`)")]
    NoProxy {
        /// The host.
        host: HostName,
    },
    /// Another tool's proxy answers there.
    #[error("`{host}` has proxy `{found}`, the configuration wants `{wanted}`")]
    OtherProxy {
        /// The host.
        host: HostName,
        /// The driver that was found.
        found: String,
        /// The driver that is wanted.
        wanted: String,
    },
    /// The proxy is down.
    #[error("proxy `{container}` on `{host}` does not run (run `runner proxy boot`)")]
    ProxyDown {
        /// The host.
        host: HostName,
        /// The container.
        container: ContainerName,
    },
    /// The proxy was started without that port.
    #[error("the proxy on `{host}` does not hold port {port} (run `runner proxy reboot`)")]
    PortMissing {
        /// The host.
        host: HostName,
        /// The port.
        port: u16,
    },
    /// The proxy was started without certificates of its own, or with those of somebody else.
    #[error(
        "the proxy on `{host}` gets certificates from {}, not from {wanted} (run `runner proxy reboot`)",
        found.as_deref().unwrap_or("nobody")
    )]
    OtherAuthority {
        /// The host.
        host: HostName,
        /// Where it gets them.
        found: Option<String>,
        /// Where it should.
        wanted: String,
    },
    /// Something else listens there.
    #[error("port {port} on `{host}` is held by {by}")]
    PortTaken {
        /// The host.
        host: HostName,
        /// The port.
        port: u16,
        /// Who.
        by: String,
    },
    /// An accessory was never started.
    #[error("accessory `{name}` is not on `{host}` (run `runner setup`)")]
    NoAccessory {
        /// The host.
        host: HostName,
        /// The accessory.
        name: String,
    },
    /// An accessory is down.
    #[error("accessory `{name}` on `{host}` does not run (run `runner accessory boot {name}`)")]
    AccessoryDown {
        /// The host.
        host: HostName,
        /// The accessory.
        name: String,
    },
}

/// The hosts to probe: the release's, those of the last one that succeeded, and those where an undo
/// since then may have left something.
pub fn hosts_to_probe(spec: &Spec, history: &[HistoryLine]) -> Vec<HostName> {
    let mut hosts = spec.hosts();
    for host in since_success(history).flat_map(|line| &line.hosts) {
        if !hosts.contains(host) {
            hosts.push(host.clone());
        }
    }
    hosts
}

/// The hosts to lock, in this order: the primary of the last release that succeeded before a new one.
pub fn hosts_to_lock(spec: &Spec, history: &[HistoryLine]) -> Vec<HostName> {
    let old = since_success(history)
        .next()
        .map(|line| &line.primary)
        .filter(|old| **old != spec.primary);
    old.into_iter().chain([&spec.primary]).cloned().collect()
}

/// The last transaction that succeeded and all that were undone after it, oldest first.
fn since_success(history: &[HistoryLine]) -> impl Iterator<Item = &HistoryLine> {
    let last = history
        .iter()
        .rposition(|line| line.kind.is_some() && line.outcome == Outcome::Succeeded);
    let lines = history.iter().skip(last.unwrap_or_default());
    lines.filter(|line| line.kind.is_some())
}

/// The operations that take the lock and raise the fence; they come before the final probe.
pub fn acquire(
    spec: &Spec,
    locks: &[HostName],
    observed: &Observed,
    opening: &Opening,
) -> Vec<Stage> {
    let lock = |host: &HostName| {
        let found = observed.host(host).and_then(|state| state.lock.as_ref());
        let over = found
            .and_then(|lock| lock.transaction())
            .filter(|id| **id != opening.id);
        let who = &opening.holder.who;
        Op::new(
            host,
            Verb::TakeLock {
                details: LockDetails::automatic(
                    who,
                    opening.id.clone(),
                    spec.version.clone(),
                    opening.at,
                ),
                lease: Lease {
                    format: FORMAT,
                    transaction: opening.id.clone(),
                    owner: who.clone(),
                    machine: opening.holder.machine.clone(),
                    run: opening.run.clone(),
                },
                over: over.cloned(),
            },
        )
    };
    let stage = |ops| Stage {
        phase: Phase::Opened,
        ops,
    };
    let fence = |host| {
        Op::new(
            host,
            Verb::WriteFence {
                fence: opening.fence,
            },
        )
    };
    let mut stages: Vec<_> = locks.iter().map(|host| stage(vec![lock(host)])).collect();
    stages.push(stage(observed.hosts.keys().map(fence).collect()));
    stages
}

/// Finds what `observed` lacks for `spec`, all of it at once.
pub fn preflight(spec: &Spec, observed: &Observed) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (host, state) in &observed.hosts {
        if spec.is_proxied(host) {
            check_proxy(spec, host, state, &mut problems);
        }
        for accessory in spec
            .accessories
            .iter()
            .filter(|accessory| accessory.host == *host)
        {
            let (host, name) = (host.clone(), accessory.name.clone());
            match state.accessories.get(&accessory.container) {
                Some(true) => {}
                Some(false) => problems.push(Problem::AccessoryDown { host, name }),
                None => problems.push(Problem::NoAccessory { host, name }),
            }
        }
    }
    problems
}

fn check_proxy(spec: &Spec, host: &HostName, state: &HostState, problems: &mut Vec<Problem>) {
    let Some(wish) = &spec.proxy else { return };
    let host = host.clone();
    match &state.proxy {
        None => problems.push(Problem::NoProxy { host }),
        Some(found) if found.driver != wish.driver => {
            let (found, wanted) = (found.driver.clone(), wish.driver.clone());
            problems.push(Problem::OtherProxy {
                host,
                found,
                wanted,
            });
        }
        Some(found) if !found.running => {
            problems.push(Problem::ProxyDown {
                host,
                container: found.container.clone(),
            });
        }
        Some(found) => {
            if let Some(wanted) = wish.authority.clone()
                && found.authority.as_ref() != Some(&wanted)
            {
                problems.push(Problem::OtherAuthority {
                    host: host.clone(),
                    found: found.authority.clone(),
                    wanted,
                });
            }
            for port in wish
                .ports
                .iter()
                .copied()
                .filter(|port| !found.ports.contains(port))
            {
                let host = host.clone();
                problems.push(match state.ports.get(&port) {
                    None => Problem::PortMissing { host, port },
                    Some(Some(by)) => Problem::PortTaken {
                        host,
                        port,
                        by: format!("container `{by}`"),
                    },
                    Some(None) => Problem::PortTaken {
                        host,
                        port,
                        by: "another program".to_owned(),
                    },
                });
            }
        }
    }
}

/// Records what was found and what is wanted.
///
/// Adds the transaction's label to every container, and gives another name for the meantime to
/// each whose own is taken.
pub fn plan(
    mut spec: Spec,
    observed: &Observed,
    locks: Vec<HostName>,
    opening: Opening,
) -> Result<Journal, PlanError> {
    let away: Vec<_> = spec
        .hosts()
        .into_iter()
        .filter(|h| observed.host(h).is_none())
        .collect();
    if !away.is_empty() {
        return Err(PlanError::HostsAway(away));
    }
    if spec.image.digest.is_none() {
        return Err(PlanError::NoDigest(spec.image.to_string()));
    }
    let problems = preflight(&spec, observed);
    if !problems.is_empty() {
        return Err(PlanError::NotReady(problems));
    }
    for container in &mut spec.containers {
        let taken = observed
            .host(&container.host)
            .is_some_and(|s| s.holds_name(&container.name));
        mark(container, &opening.id);
        if taken {
            let name = format!("{}_{}", container.name, opening.id);
            container.boot_name = Some(ContainerName::new(name));
        }
    }
    let migrates = opening.kind == Kind::Deploy && spec.migrate.is_some();
    if let Some(migrate) = &mut spec.migrate {
        mark(&mut migrate.container, &opening.id);
        let name = format!("{}-{}", migrate.container.name, opening.id);
        migrate.container.name = ContainerName::new(name);
        let application = application_name(&opening.id);
        migrate
            .container
            .env
            .insert("PGAPPNAME".to_owned(), application);
    }
    let baseline = observed
        .hosts
        .iter()
        .map(|(host, state)| (host.clone(), found(state, &opening.id)));
    let baseline = Baseline {
        hosts: baseline.collect::<IndexMap<_, _>>(),
    };
    Ok(Journal {
        format: FORMAT,
        id: opening.id,
        fence: opening.fence,
        kind: opening.kind,
        spec,
        baseline,
        phase: Phase::Opened,
        reached: vec![Reached {
            phase: Phase::Opened,
            at: opening.at,
        }],
        failure: None,
        migrates,
        schema: None,
        holder: opening.holder,
        run: opening.run,
        locks,
        abandoned: Default::default(),
    })
}

/// The name by which the migration's database sessions are found.
pub fn application_name(id: &TransactionId) -> String {
    format!("runner-{id}")
}

fn mark(container: &mut ContainerSpec, id: &TransactionId) {
    container
        .labels
        .insert(TRANSACTION_LABEL.to_owned(), id.to_string());
}

fn found(state: &HostState, id: &TransactionId) -> HostBaseline {
    let before = state
        .containers
        .iter()
        .filter(|found| found.transaction.as_ref() != Some(id));
    HostBaseline {
        containers: before.cloned().collect(),
        route: state.route.clone(),
        latest: state.latest.clone(),
    }
}

struct Names<'a>(&'a [HostName]);

impl Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, host) in self.0.iter().enumerate() {
            write!(f, "{}`{host}`", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

struct Lines<'a>(&'a [Problem]);

impl Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if index == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}
