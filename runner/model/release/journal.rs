//! The record of one open transaction, and what it found when it opened.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{
    history::{HistoryLine, Outcome},
    ids::{ContainerId, Digest, Fence, HostName, TransactionId},
    lock::Machine,
    observed::{Found, Observed, RouteFile},
    phase::Phase,
    spec::Spec,
    time::UnixMillis,
};

/// The number of the stored form.
pub const FORMAT: u32 = 1;

/// One open transaction: what it wants, what it found, how far it came. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    /// The number of the stored form.
    pub format: u32,
    /// The transaction.
    pub id: TransactionId,
    /// Its fence.
    pub fence: Fence,
    /// What it is.
    pub kind: Kind,
    /// What it wants.
    pub spec: Spec,
    /// What it found.
    pub baseline: Baseline,
    /// How far it came.
    pub phase: Phase,
    /// When each phase was reached.
    #[serde(default)]
    pub reached: Vec<Reached>,
    /// Why no further phase may begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Whether the migration's one-off belongs to this transaction.
    #[serde(default)]
    pub migrates: bool,
    /// The schema version that the migration told, before and after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<SchemaChange>,
    /// Who holds it.
    pub holder: Holder,
    /// The run that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// Hosts with a lock, in the order of taking.
    pub locks: Vec<HostName>,
    /// Hosts that were struck by `--abandon`.
    #[serde(default)]
    pub abandoned: BTreeSet<HostName>,
}

/// What a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// To a release of the configuration.
    Deploy,
    /// To a release of the history; never migrates.
    Rollback,
}

/// When a phase was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The phase.
    pub phase: Phase,
    /// The moment, by the holder's clock.
    pub at: UnixMillis,
}

/// The phase that failed, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The phase that could not be reached.
    pub phase: Phase,
    /// The reason, for people; already masked.
    pub reason: String,
    /// When it failed, by the holder's clock.
    #[serde(default)]
    pub at: UnixMillis,
}

/// What the migration did to the schema version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaChange {
    /// Before.
    #[serde(default)]
    pub before: Option<String>,
    /// After.
    #[serde(default)]
    pub after: Option<String>,
}

/// Who holds a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The person, as Kamal's audit names them.
    pub who: String,
    /// The process.
    pub machine: Machine,
}

/// What a transaction found when it opened; undo restores this and no more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// Every host that the release uses, or the one before it used.
    pub hosts: IndexMap<HostName, HostBaseline>,
}

/// What a transaction found on one host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostBaseline {
    /// Containers of the service and destination, each with whether it ran and answered.
    pub containers: Vec<Found>,
    /// The route.
    #[serde(default)]
    pub route: Option<RouteFile>,
    /// The digest of what `latest[-<destination>]` meant.
    #[serde(default)]
    pub latest: Option<Digest>,
}

impl Journal {
    /// The hosts of the release and of the one before it, without those that were struck.
    pub fn hosts(&self) -> Vec<HostName> {
        let mut hosts = self.spec.hosts();
        for host in self.baseline.hosts.keys() {
            if !hosts.contains(host) {
                hosts.push(host.clone());
            }
        }
        hosts.retain(|host| !self.abandoned.contains(host));
        hosts
    }

    /// The hosts that a probe did not reach and that were not struck: they block.
    pub fn away(&self, observed: &Observed) -> Vec<HostName> {
        let mut hosts = self.hosts();
        hosts.retain(|host| observed.host(host).is_none());
        hosts
    }

    /// What was found on `host`.
    pub fn found(&self, host: &HostName) -> Option<&HostBaseline> {
        self.baseline.hosts.get(host)
    }

    /// Says whether a container was there when the transaction opened.
    pub fn has_found(&self, host: &HostName, container: &ContainerId) -> bool {
        let mut containers = self
            .found(host)
            .into_iter()
            .flat_map(|host| &host.containers);
        containers.any(|found| found.id == *container)
    }

    /// Says whether the transaction only goes forward.
    pub fn is_committed(&self) -> bool {
        self.phase >= Phase::Committed
    }

    /// Strikes a host that is gone; the history says so.
    pub fn abandon(&mut self, host: HostName) {
        self.abandoned.insert(host);
    }

    /// The same journal after `phase` was reached.
    pub fn at(mut self, phase: Phase, at: UnixMillis) -> Self {
        self.phase = phase;
        self.reached.push(Reached { phase, at });
        self
    }

    /// The line of the history for this transaction, with how it ended.
    pub fn history_line(
        &self,
        outcome: Outcome,
        reason: Option<String>,
        at: UnixMillis,
    ) -> HistoryLine {
        let mut roles: Vec<_> = Vec::new();
        for container in &self.spec.containers {
            if !roles.contains(&container.role) {
                roles.push(container.role.clone());
            }
        }
        let mut seconds = IndexMap::new();
        for pair in self.reached.windows(2) {
            if let [before, after] = pair {
                let passed = after.at.0.saturating_sub(before.at.0);
                seconds.insert(after.phase, super::time::Millis(passed));
            }
        }
        if let (Some(failure), Some(last)) = (&self.failure, self.reached.last())
            && failure.phase > last.phase
        {
            let passed = failure.at.0.saturating_sub(last.at.0);
            seconds.insert(failure.phase, super::time::Millis(passed));
        }
        HistoryLine {
            format: FORMAT,
            transaction: Some(self.id.clone()),
            fence: self.fence,
            kind: Some(self.kind),
            release: self.spec.version.clone(),
            digest: self.spec.image.digest.clone(),
            hosts: self.spec.hosts(),
            roles,
            primary: self.spec.primary.clone(),
            who: self.holder.who.clone(),
            run: self.run.clone(),
            at,
            outcome,
            reason,
            schema: self.schema.clone(),
            abandoned: self.abandoned.iter().cloned().collect(),
            phases: seconds,
        }
    }
}
