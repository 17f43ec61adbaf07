//! Every operation on a host, as data: printed by `--plan`, compared in tests, carried out elsewhere.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    history::HistoryLine,
    ids::{ContainerId, ContainerName, Digest, Fence, HostName, SecretName, TransactionId},
    image::ImageRef,
    lock::{Lease, LockDetails},
    observed::Answer,
    paths::CertificatePaths,
    phase::Phase,
    route::{Backend, Route, RouteApp, RouteSpec},
    spec::{AccessoryRef, ContainerSpec, DatabaseRef, GateSettings, ProxyWish},
    time::Millis,
};

/// Operations that may run at once; the next stage begins when all of them ended.
///
/// After a failed operation the later ones of the same host are left out, unless the failed one
/// is [`Op::best_effort`]: each relies on those before it. Other hosts go on in an undo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// The phase that is being reached; in an undo the one that was reached.
    pub phase: Phase,
    /// The operations.
    pub ops: Vec<Op>,
}

/// One operation on one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    /// The host.
    pub host: HostName,
    /// What is done.
    pub verb: Verb,
    /// Whether its failure is only reported.
    #[serde(default)]
    pub best_effort: bool,
}

impl Op {
    /// An operation whose failure counts.
    pub fn new(host: &HostName, verb: Verb) -> Self {
        Self {
            host: host.clone(),
            verb,
            best_effort: false,
        }
    }

    /// An operation whose failure is only reported.
    pub fn best_effort(host: &HostName, verb: Verb) -> Self {
        Self {
            host: host.clone(),
            verb,
            best_effort: true,
        }
    }
}

/// A container that an operation means: by id where it was seen, else by the name that it gets.
///
/// A container that is known by name alone must carry the transaction's label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    /// The name at that moment.
    pub name: ContainerName,
    /// The id, where it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ContainerId>,
}

/// What an operation does. All hold names of secrets at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Verb {
    /// Takes Kamal's lock with our lease, under the guard; again by the same transaction: nothing.
    TakeLock {
        /// Kamal's text.
        details: LockDetails,
        /// The lease.
        lease: Lease,
        /// The transaction whose lock is taken over.
        over: Option<TransactionId>,
    },
    /// Raises the host's fence, under the guard; refused where it is higher already.
    WriteFence {
        /// The fence.
        fence: Fence,
    },
    /// Writes the journal with this phase: temporary file, fsync, rename.
    Record {
        /// The phase.
        phase: Phase,
    },
    /// Writes the journal as committed by one rename, under the guard, if the fence is ours.
    Commit {
        /// The fence that must be there.
        fence: Fence,
    },
    /// Copies the route to where it can be renamed back from.
    KeepWayBack {
        /// The route.
        route: String,
        /// The copy.
        way_back: String,
    },
    /// Sets space aside.
    Reserve {
        /// The file.
        path: String,
        /// Its size.
        bytes: u64,
    },
    /// Creates a network; there already: nothing.
    CreateNetwork {
        /// Its name.
        name: String,
    },
    /// Checks that the proxy runs, answers and holds its ports.
    CheckProxy {
        /// What it must be.
        proxy: ProxyWish,
    },
    /// Checks that an accessory runs and answers.
    CheckAccessory {
        /// Which.
        accessory: AccessoryRef,
    },
    /// Pulls the image by digest; credentials go with the request.
    Pull {
        /// The image.
        image: ImageRef,
    },
    /// Dumps the database to where the runner keeps backups; again: one more dump.
    BackUp {
        /// The database.
        database: DatabaseRef,
    },
    /// Writes an env file of mode 0600 from secrets.
    WriteEnvFile {
        /// The file.
        path: String,
        /// The variables, by the names of their secrets.
        secrets: IndexMap<String, SecretName>,
    },
    /// Writes a certificate and its key, of mode 0600, from secrets.
    WriteCertificate {
        /// Where to.
        paths: PathPair,
        /// The chain.
        certificate: SecretName,
        /// The key.
        key: SecretName,
    },
    /// Creates a container and connects it to its networks; there already: only connects.
    Create {
        /// The container.
        container: Box<ContainerSpec>,
    },
    /// Starts a container; runs already: nothing.
    Start {
        /// Which.
        container: Target,
    },
    /// Starts a one-off container unless it was ever started.
    StartOnce {
        /// Which.
        container: Target,
    },
    /// Waits until a one-off container ends with status 0.
    AwaitExit {
        /// Which.
        container: Target,
        /// How long.
        limit: Millis,
    },
    /// Waits until a container is fit for its duty.
    Gate {
        /// Which.
        container: Target,
        /// What is asked of it.
        check: Check,
    },
    /// Waits until a container answers as it did when it was found.
    AwaitAnswer {
        /// Which.
        container: Target,
        /// Where.
        answer: Answer,
    },
    /// Writes the route in the staging folder and renames it into place, under the guard, if the
    /// fence is ours.
    WriteRoute {
        /// Where requests go.
        route: RoutePlan,
        /// The fence that must be there.
        fence: Fence,
    },
    /// Waits until the proxy's own API shows the change.
    AwaitRoute {
        /// Groups that must be shown.
        shows: Vec<String>,
        /// Groups that must not.
        gone: Vec<String>,
    },
    /// Sends a request to the host's real ports and finds the transaction in the answer.
    Probe {
        /// What is asked for.
        routes: Vec<RouteSpec>,
        /// The transaction that must be named.
        transaction: TransactionId,
    },
    /// Watches the new containers for a while: health, restarts, share of 5xx.
    Watch {
        /// How long.
        span: Millis,
        /// Which.
        containers: Vec<Target>,
    },
    /// Renames the way back into place, under the guard, if the fence is ours.
    RestoreRoute {
        /// The route.
        route: String,
        /// The copy that was kept.
        way_back: String,
        /// The text, should the copy be gone.
        text: String,
        /// The fence that must be there.
        fence: Fence,
    },
    /// Removes the route, under the guard, if the fence is ours.
    RemoveRoute {
        /// The route.
        route: String,
        /// The fence that must be there.
        fence: Fence,
    },
    /// Ends the database sessions of an application name.
    EndSessions {
        /// The database.
        database: DatabaseRef,
        /// `PGAPPNAME` of the sessions.
        application: String,
    },
    /// Stops a container: waits, SIGTERM, waits again, SIGKILL; stopped already: nothing.
    Stop {
        /// Which.
        container: Target,
        /// How long before SIGTERM.
        wait: Millis,
        /// How long before SIGKILL.
        timeout: Millis,
    },
    /// Removes a stopped container; gone already: nothing.
    Remove {
        /// Which.
        container: Target,
    },
    /// Gives a container another name; has it already: nothing.
    Rename {
        /// Which.
        container: Target,
        /// The name.
        to: ContainerName,
    },
    /// Gives the release's image its tags.
    Tag {
        /// The image, by digest.
        image: ImageRef,
        /// The tags.
        tags: Vec<String>,
    },
    /// Renames a file; gone already: nothing.
    MoveFile {
        /// From.
        from: String,
        /// To.
        to: String,
    },
    /// Removes a file; gone already: nothing.
    RemoveFile {
        /// Which.
        path: String,
    },
    /// Removes images of the application that no container uses.
    PruneImages {
        /// The repository.
        repository: String,
        /// Those that stay in any case.
        keep: Vec<Digest>,
    },
    /// Appends to the history, unless the transaction has its line.
    AppendHistory {
        /// The line.
        line: Box<HistoryLine>,
    },
    /// Appends to Kamal's audit log, unless the same line is there.
    Audit {
        /// The line.
        line: String,
    },
    /// Removes the journal of this transaction.
    RemoveJournal {
        /// Whose.
        transaction: TransactionId,
    },
    /// Gives the lock back, if this transaction holds it.
    Unlock {
        /// Whose.
        transaction: TransactionId,
    },
}

impl Verb {
    /// Says whether a second time changes nothing.
    pub const fn is_idempotent(&self) -> bool {
        !matches!(self, Self::BackUp { .. })
    }

    /// Says whether it is written under `flock`, and only if the host's fence is ours.
    pub const fn is_fenced(&self) -> bool {
        matches!(
            self,
            Self::Commit { .. }
                | Self::WriteRoute { .. }
                | Self::RestoreRoute { .. }
                | Self::RemoveRoute { .. }
        )
    }

    /// Says whether it is but a small file: such operations of one host that follow each other,
    /// in one stage or in several, can ride in one command, in their order.
    pub const fn is_small_file(&self) -> bool {
        matches!(
            self,
            Self::TakeLock { .. }
                | Self::WriteFence { .. }
                | Self::Record { .. }
                | Self::Commit { .. }
                | Self::KeepWayBack { .. }
                | Self::Reserve { .. }
                | Self::WriteEnvFile { .. }
                | Self::WriteCertificate { .. }
                | Self::WriteRoute { .. }
                | Self::RestoreRoute { .. }
                | Self::RemoveRoute { .. }
                | Self::MoveFile { .. }
                | Self::RemoveFile { .. }
                | Self::AppendHistory { .. }
                | Self::Audit { .. }
                | Self::RemoveJournal { .. }
                | Self::Unlock { .. }
        )
    }

    /// Says whether it only looks or waits.
    pub const fn only_looks(&self) -> bool {
        matches!(
            self,
            Self::CheckProxy { .. }
                | Self::CheckAccessory { .. }
                | Self::AwaitExit { .. }
                | Self::Gate { .. }
                | Self::AwaitAnswer { .. }
                | Self::AwaitRoute { .. }
                | Self::Probe { .. }
                | Self::Watch { .. }
        )
    }
}

/// What the gate asks of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// Answers of 2xx in a row.
    Http {
        /// The port inside.
        port: u16,
        /// The path.
        path: String,
        /// How often, how many, how long.
        settings: GateSettings,
    },
    /// Docker's health where there is a check, else that it keeps running.
    Docker {
        /// How long.
        settings: GateSettings,
    },
}

/// The two files of a certificate on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathPair {
    /// The chain.
    pub certificate: String,
    /// The key.
    pub key: String,
}

impl From<CertificatePaths> for PathPair {
    fn from(paths: CertificatePaths) -> Self {
        Self {
            certificate: paths.certificate,
            key: paths.key,
        }
    }
}

/// Where requests of one host go, before all ids are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutePlan {
    /// The transaction that the probe request finds.
    pub transaction: TransactionId,
    /// The routed roles.
    pub apps: Vec<AppPlan>,
}

/// Where requests of one role go, before all ids are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppPlan {
    /// What is routed.
    pub spec: RouteSpec,
    /// Who answers.
    pub backends: Vec<BackendPlan>,
}

/// A group of containers, before all ids are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendPlan {
    /// The transaction that makes them.
    pub transaction: TransactionId,
    /// Their share.
    pub weight: u32,
    /// The port inside.
    pub port: u16,
    /// The containers.
    pub containers: Vec<Target>,
}

/// A container that a route needs is not there.
#[derive(Debug, Error)]
#[error("container `{0}` is not there to be routed to")]
pub struct UnknownContainer(ContainerName);

impl RoutePlan {
    /// Turns names into ids; `find` knows the containers that were created meanwhile.
    pub fn resolve(
        &self,
        find: impl Fn(&ContainerName) -> Option<ContainerId>,
    ) -> Result<Route, UnknownContainer> {
        let id = |target: &Target| {
            let known = target.id.clone().or_else(|| find(&target.name));
            known.ok_or_else(|| UnknownContainer(target.name.clone()))
        };
        let backend = |plan: &BackendPlan| {
            Ok(Backend {
                transaction: plan.transaction.clone(),
                weight: plan.weight,
                port: plan.port,
                containers: plan.containers.iter().map(id).collect::<Result<_, _>>()?,
            })
        };
        let app = |plan: &AppPlan| {
            Ok(RouteApp {
                app: plan.spec.app.clone(),
                backends: plan
                    .backends
                    .iter()
                    .map(backend)
                    .collect::<Result<_, _>>()?,
            })
        };
        Ok(Route {
            apps: self.apps.iter().map(app).collect::<Result<_, _>>()?,
        })
    }

    /// What is routed, without who answers.
    pub fn specs(&self) -> Vec<RouteSpec> {
        self.apps.iter().map(|app| app.spec.clone()).collect()
    }
}
