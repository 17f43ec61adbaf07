//! All hosts of a release: connected and probed at once.

use futures_util::future::join_all;
use indexmap::IndexMap;

use super::{
    error::OpError,
    host::Host,
    probe::{self, Sight},
    settings::Reach,
};
use crate::release::{HostName, Observed, Spec};

/// Hosts with their connections, and the hosts that did not answer.
#[derive(Debug)]
pub struct Fleet {
    reach: Reach,
    hosts: IndexMap<HostName, Host>,
}

/// A host that did not answer, and why.
pub type Away = (HostName, OpError);

impl Fleet {
    /// A fleet without connections.
    pub fn new(reach: Reach) -> Self {
        Self {
            reach,
            hosts: IndexMap::new(),
        }
    }

    /// Connects to those hosts that are not connected, all at once; returns those that are away.
    pub async fn connect(&mut self, names: &[HostName]) -> Vec<Away> {
        let reach = &self.reach;
        let mut wanted: Vec<&HostName> = Vec::new();
        for name in names {
            let connected = self
                .hosts
                .get(name)
                .is_some_and(|host| host.ssh.failure().is_none());
            if !connected && !wanted.contains(&name) {
                wanted.push(name);
            }
        }
        let connecting = wanted.iter().map(|name| Host::connect(name, reach));
        let mut away = Vec::new();
        for (name, connected) in wanted.iter().zip(join_all(connecting).await) {
            match connected {
                Ok(host) => drop(self.hosts.insert((*name).clone(), host)),
                Err(error) => {
                    self.hosts.shift_remove(*name);
                    away.push(((*name).clone(), error));
                }
            }
        }
        away
    }

    /// Looks at hosts, all at once, connecting again where a connection was lost.
    pub(super) async fn probe(
        &mut self,
        spec: &Spec,
        names: &[HostName],
        sight: Sight,
    ) -> (Observed, Vec<Away>) {
        let mut away = self.connect(names).await;
        let present: Vec<&Host> = names
            .iter()
            .filter_map(|name| self.hosts.get(name))
            .collect();
        let probes = present.iter().map(|host| probe::probe(host, spec, sight));
        let mut observed = Observed::default();
        for (host, probed) in present.iter().zip(join_all(probes).await) {
            match probed {
                Ok(state) => drop(observed.hosts.insert(host.name.clone(), state)),
                Err(error) => away.push((host.name.clone(), error)),
            }
        }
        (observed, away)
    }

    /// The host of this name, if it is connected.
    pub fn host(&self, name: &HostName) -> Option<&Host> {
        self.hosts.get(name)
    }

    /// All connected hosts.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.values()
    }
}
