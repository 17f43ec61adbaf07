//! Where a host's proxy sends requests, as data that every driver can write and read.

use serde::{Deserialize, Serialize};

use super::{
    ids::{ContainerId, HostName, RoleName, SecretName, TransactionId},
    time::Millis,
};

/// What is routed to one role on one host; who answers is not part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteSpec {
    /// The host.
    pub host: HostName,
    /// The role.
    pub role: RoleName,
    /// The name in the proxy: `<service>-<role>[-<destination>]`.
    pub app: String,
    /// The names that are asked for; empty means any.
    pub hosts: Vec<String>,
    /// Path prefixes; empty means all paths.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Whether a prefix is taken away before the application sees the path.
    #[serde(default)]
    pub strips_paths: bool,
    /// The port inside the containers.
    pub app_port: u16,
    /// How TLS is ended; `None` means that the plain port is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Further ports of the host without TLS and without redirect, for any name.
    #[serde(default)]
    pub plain_ports: Vec<u16>,
    /// Whether the port without TLS is served, too, where TLS is on.
    #[serde(default)]
    pub serves_plain: bool,
    /// The path of the gate, and of the proxy's own check.
    pub health: RouteHealth,
}

/// Who ends TLS, and with which certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    /// A certificate that the configuration gives, named by its secrets.
    Given {
        /// The chain.
        certificate: SecretName,
        /// The key.
        key: SecretName,
    },
    /// A certificate that the proxy gets itself.
    Acme,
}

/// The health of a routed role (`proxy.healthcheck`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteHealth {
    /// The path.
    pub path: String,
    /// Time between two checks of the proxy.
    pub interval: Millis,
    /// Time that one check of the proxy may take.
    pub timeout: Millis,
}

/// Who answers on one host, for all routed roles of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The roles, by their names in the proxy.
    pub apps: Vec<RouteApp>,
}

/// Who answers for one role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteApp {
    /// The name in the proxy.
    pub app: String,
    /// The groups that share the requests by their weights.
    pub backends: Vec<Backend>,
}

/// The containers of one transaction that answer for one role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backend {
    /// The transaction that made them.
    pub transaction: TransactionId,
    /// Their share, of the sum of all weights; 0 means none.
    pub weight: u32,
    /// The port inside.
    pub port: u16,
    /// The containers, by id or its first 12 digits.
    pub containers: Vec<ContainerId>,
}

impl Backend {
    /// The name of this group in the proxy.
    pub fn service(&self, app: &str) -> String {
        service_name(app, &self.transaction)
    }
}

/// The name in the proxy of the containers that `transaction` made for `app`.
pub fn service_name(app: &str, transaction: &TransactionId) -> String {
    format!("{app}-{transaction}")
}

impl Route {
    /// All groups with the names of their roles.
    pub fn backends(&self) -> impl Iterator<Item = (&str, &Backend)> {
        self.apps.iter().flat_map(|app| {
            app.backends
                .iter()
                .map(|backend| (app.app.as_str(), backend))
        })
    }

    /// Says whether some requests go to `container`, an id or its first 12 digits.
    pub fn uses(&self, container: &ContainerId) -> bool {
        self.backends()
            .flat_map(|(_, backend)| &backend.containers)
            .any(|used| container.is(used.as_str()) || used.is(container.as_str()))
    }

    /// Says whether some group is of `transaction`.
    pub fn names(&self, transaction: &TransactionId) -> bool {
        self.backends()
            .any(|(_, backend)| backend.transaction == *transaction)
    }
}
