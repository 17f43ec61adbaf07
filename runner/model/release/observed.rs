//! What does run: what a probe saw on the hosts that answered.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{
    history::HistoryLine,
    ids::{
        ContainerId, ContainerName, Digest, Fence, HostName, ReleaseVersion, RoleName,
        TransactionId,
    },
    journal::Journal,
    lock::LockFound,
    route::Route,
    time::{Millis, UnixMillis},
};

/// What a probe saw, at one moment; a host that did not answer is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// The hosts that answered.
    pub hosts: IndexMap<HostName, HostState>,
}

/// What a probe saw on one host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostState {
    /// Containers of the service and destination, also stopped ones, and one-offs of ours.
    pub containers: Vec<Found>,
    /// Names of all other containers of the host, which cannot be taken.
    #[serde(default)]
    pub other_names: BTreeSet<ContainerName>,
    /// The file of the service's route.
    #[serde(default)]
    pub route: Option<RouteFile>,
    /// The proxy.
    #[serde(default)]
    pub proxy: Option<ProxyFound>,
    /// Accessories of the service, by container name, and whether they run.
    #[serde(default)]
    pub accessories: BTreeMap<ContainerName, bool>,
    /// Networks, by name.
    #[serde(default)]
    pub networks: BTreeSet<String>,
    /// Digests of the images of the application's repository.
    #[serde(default)]
    pub images: BTreeSet<Digest>,
    /// The digest of what `latest[-<destination>]` means.
    #[serde(default)]
    pub latest: Option<Digest>,
    /// Files below `.kamal` that a transaction added, as [`super::paths::belongs_to`] knows them.
    #[serde(default)]
    pub files: BTreeSet<String>,
    /// The lock.
    #[serde(default)]
    pub lock: Option<LockFound>,
    /// The fence.
    #[serde(default)]
    pub fence: Fence,
    /// The journal, or the copy of it.
    #[serde(default)]
    pub journal: Option<Journal>,
    /// The history, or the copy of it, oldest line first.
    #[serde(default)]
    pub history: Vec<HistoryLine>,
    /// Ports of the host on which something listens, and the container that published each.
    #[serde(default)]
    pub ports: BTreeMap<u16, Option<ContainerName>>,
}

/// A container as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its id.
    pub id: ContainerId,
    /// Its name at that moment.
    pub name: ContainerName,
    /// Its role, or the accessory's name; `None` for one-offs.
    #[serde(default)]
    pub role: Option<RoleName>,
    /// The transaction that made it, from its label.
    #[serde(default)]
    pub transaction: Option<TransactionId>,
    /// The release, from its name or `KAMAL_VERSION`.
    #[serde(default)]
    pub release: Option<ReleaseVersion>,
    /// The digest of its image.
    #[serde(default)]
    pub image: Option<Digest>,
    /// Whether it ran.
    pub ran: bool,
    /// Where it answered; `None` where it did not, or is not asked.
    #[serde(default)]
    pub answered: Option<Answer>,
    /// Whether it is an accessory on the application's own image.
    #[serde(default)]
    pub accessory: bool,
    /// When it was created.
    #[serde(default)]
    pub created: UnixMillis,
}

/// Where a container answered a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The port inside.
    pub port: u16,
    /// The path.
    pub path: String,
    /// How long to wait for the same answer again.
    pub limit: Millis,
}

/// The file of a route: its exact text, and what it says where we can read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteFile {
    /// The text.
    pub text: String,
    /// Who answers; `None` for a file that we did not write.
    #[serde(default)]
    pub route: Option<Route>,
}

impl RouteFile {
    /// Says whether requests go to a group of `transaction`, or to one of `containers`.
    pub fn leads_to<'a>(
        &self,
        transaction: &TransactionId,
        mut containers: impl Iterator<Item = &'a Found>,
    ) -> bool {
        self.route.as_ref().is_some_and(|route| {
            route.names(transaction) || containers.any(|found| route.uses(&found.id))
        })
    }
}

/// The proxy of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyFound {
    /// `traefik`, `kamal-proxy`, or another tool's name.
    pub driver: String,
    /// Its container.
    pub container: ContainerName,
    /// Whether it runs.
    pub running: bool,
    /// The ports of the host that it holds.
    pub ports: BTreeSet<u16>,
    /// The authority from which it gets certificates itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
}

impl HostState {
    /// The containers that `transaction` made.
    pub fn made_by<'a>(
        &'a self,
        transaction: &'a TransactionId,
    ) -> impl Iterator<Item = &'a Found> {
        self.containers
            .iter()
            .filter(move |found| found.transaction.as_ref() == Some(transaction))
    }

    /// The container with this id.
    pub fn by_id(&self, id: &ContainerId) -> Option<&Found> {
        self.containers.iter().find(|found| found.id == *id)
    }

    /// Says whether some container has this name.
    pub fn holds_name(&self, name: &ContainerName) -> bool {
        self.other_names.contains(name) || self.containers.iter().any(|found| found.name == *name)
    }

    /// Says whether the route leads to what `transaction` made.
    pub fn leads_to(&self, transaction: &TransactionId) -> bool {
        self.route
            .as_ref()
            .is_some_and(|route| route.leads_to(transaction, self.made_by(transaction)))
    }
}

impl Observed {
    /// What was seen on `host`; `None` where it did not answer.
    pub fn host(&self, host: &HostName) -> Option<&HostState> {
        self.hosts.get(host)
    }

    /// The fence of the next transaction: 1 more than the highest on any host.
    pub fn next_fence(&self) -> Fence {
        let highest = self.hosts.values().map(|host| host.fence).max();
        highest.unwrap_or_default().next()
    }

    /// The open transaction: the primary host's word, or the furthest copy where it is gone.
    ///
    /// A copy of a transaction that some history knows as ended does not count, nor does the word of
    /// a primary host that was struck from it.
    pub fn open_transaction(&self, primary: &HostName) -> Option<&Journal> {
        let lines = || self.hosts.values().flat_map(|host| &host.history);
        if let Some(state) = self.host(primary) {
            let struck = |journal: &&Journal| {
                lines().any(|line| {
                    line.transaction.as_ref() == Some(&journal.id)
                        && line.abandoned.contains(primary)
                })
            };
            return state.journal.as_ref().filter(|journal| !struck(journal));
        }
        let ended =
            |journal: &&Journal| lines().any(|line| line.transaction.as_ref() == Some(&journal.id));
        let copies = self.hosts.values().filter_map(|host| host.journal.as_ref());
        let open = copies.filter(|journal| !ended(journal));
        open.max_by_key(|journal| (journal.fence, journal.phase))
    }
}
