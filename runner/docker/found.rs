//! What a container is.

use std::collections::BTreeMap;

use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum, HealthStatusEnum, NetworkSettings,
};

/// Whether a container runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// It was never started.
    Created,
    /// It runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// It ended and the daemon is about to start it again.
    Restarting,
    /// It is being removed.
    Removing,
    /// It ended.
    Exited,
    /// The daemon could not remove it.
    Dead,
    /// The daemon did not say.
    #[default]
    Unknown,
}

impl State {
    pub(super) fn parse(text: &str) -> Self {
        match text {
            "created" => Self::Created,
            "running" | "stopping" => Self::Running,
            "paused" => Self::Paused,
            "restarting" => Self::Restarting,
            "removing" => Self::Removing,
            "exited" => Self::Exited,
            "dead" => Self::Dead,
            _ => Self::Unknown,
        }
    }
}

/// What the health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It has not decided yet.
    Starting,
    /// The container works.
    Healthy,
    /// It does not.
    Unhealthy,
}

/// A network that a container is in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JoinedNetwork {
    /// Its IPv4 address there; empty while it does not run.
    pub ip: String,
    /// Its more names there.
    pub aliases: Vec<String>,
}

/// A port that is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedPort {
    /// As `3000/tcp`.
    pub container: String,
    /// Address on the host.
    pub host_ip: String,
    /// Port on the host.
    pub host_port: u16,
}

/// A container as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Full id.
    pub id: String,
    /// Its name, without a slash.
    pub name: String,
    /// The image as it was named at creation.
    pub image: String,
    /// Id of the image, `sha256:...`.
    pub image_id: String,
    /// Whether it runs.
    pub state: State,
    /// When it was created, in the daemon's clock, RFC 3339.
    pub created_at: String,
    /// When it was last started; none if never.
    pub started_at: Option<String>,
    /// When it last ended; none if never.
    pub finished_at: Option<String>,
    /// Code of its last end; none while it runs and before its first end.
    pub exit_code: Option<i64>,
    /// Whether its last end was for want of memory.
    pub oom_killed: bool,
    /// What the daemon says of a start that failed.
    pub error: String,
    /// How often the daemon started it again.
    pub restart_count: u64,
    /// Process on the host; none while it does not run.
    pub pid: Option<i64>,
    /// None without a health check.
    pub health: Option<Health>,
    /// What the last health check said.
    pub health_output: String,
    /// Networks by name.
    pub networks: BTreeMap<String, JoinedNetwork>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Published ports.
    pub ports: Vec<PublishedPort>,
    /// Its command, the image's included.
    pub command: Vec<String>,
}

impl Found {
    /// Whether its processes run.
    pub fn is_running(&self) -> bool {
        matches!(self.state, State::Running | State::Paused)
    }

    /// The first 12 digits of the id, which every network knows it by.
    pub fn short_id(&self) -> &str {
        self.id.get(..12).unwrap_or(&self.id)
    }

    pub(super) fn of(found: ContainerInspectResponse) -> Self {
        let state = found.state.unwrap_or_default();
        let config = found.config.unwrap_or_default();
        let status = state.status.unwrap_or(ContainerStateStatusEnum::EMPTY);
        let health = state.health.unwrap_or_default();
        let settings = found.network_settings.unwrap_or_default();
        let state_is = State::parse(status.as_ref());
        let ended = time(state.finished_at);
        let exit_code = state
            .exit_code
            .filter(|_| ended.is_some() && state_is != State::Running);
        Self {
            id: found.id.unwrap_or_default(),
            name: found
                .name
                .unwrap_or_default()
                .trim_start_matches('/')
                .to_owned(),
            image: config.image.unwrap_or_default(),
            image_id: found.image.unwrap_or_default(),
            state: state_is,
            created_at: found
                .created
                .map(|date| date.to_rfc3339())
                .unwrap_or_default(),
            started_at: time(state.started_at),
            finished_at: ended,
            exit_code,
            oom_killed: state.oom_killed.unwrap_or_default(),
            error: state.error.unwrap_or_default(),
            restart_count: found
                .restart_count
                .and_then(|n| n.try_into().ok())
                .unwrap_or_default(),
            pid: state.pid.filter(|pid| *pid != 0),
            health: match health.status {
                Some(HealthStatusEnum::STARTING) => Some(Health::Starting),
                Some(HealthStatusEnum::HEALTHY) => Some(Health::Healthy),
                Some(HealthStatusEnum::UNHEALTHY) => Some(Health::Unhealthy),
                Some(HealthStatusEnum::NONE | HealthStatusEnum::EMPTY) | None => None,
            },
            health_output: health
                .log
                .and_then(|mut log| log.pop())
                .and_then(|last| last.output)
                .unwrap_or_default(),
            ports: ports(&settings),
            networks: networks(settings),
            labels: config.labels.unwrap_or_default().into_iter().collect(),
            command: found
                .path
                .into_iter()
                .chain(found.args.unwrap_or_default())
                .collect(),
        }
    }
}

/// The API writes year 1 for "never".
fn time(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty() && !text.starts_with("0001-"))
}

fn networks(settings: NetworkSettings) -> BTreeMap<String, JoinedNetwork> {
    let networks = settings.networks.unwrap_or_default().into_iter();
    let joined = |endpoint: bollard::models::EndpointSettings| JoinedNetwork {
        ip: endpoint.ip_address.unwrap_or_default(),
        aliases: endpoint.aliases.unwrap_or_default(),
    };
    networks
        .map(|(name, endpoint)| (name, joined(endpoint)))
        .collect()
}

fn ports(settings: &NetworkSettings) -> Vec<PublishedPort> {
    let mut ports = Vec::new();
    for (container, bindings) in settings.ports.iter().flatten() {
        for binding in bindings.iter().flatten() {
            let port = binding
                .host_port
                .as_deref()
                .and_then(|port| port.parse().ok());
            if let Some(host_port) = port {
                let host_ip = binding.host_ip.clone().unwrap_or_default();
                ports.push(PublishedPort {
                    container: container.clone(),
                    host_ip,
                    host_port,
                });
            }
        }
    }
    ports.sort_by(|a, b| (&a.container, &a.host_ip).cmp(&(&b.container, &b.host_ip)));
    ports
}
