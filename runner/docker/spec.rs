//! What a container should be.

use std::{collections::BTreeMap, fmt, time::Duration};

use bollard::models::{
    ContainerCreateBody, DeviceMapping, EndpointSettings, HealthConfig, HostConfig,
    HostConfigLogConfig, NetworkingConfig, PortBinding, ResourcesUlimits,
    RestartPolicy as BollardRestart, RestartPolicyNameEnum,
};
use thiserror::Error;

/// A value that Docker's command line would not take either: the user's fault.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{text}` is not {expected}")]
pub struct SpecError {
    /// What was given.
    pub text: String,
    /// What is expected.
    pub expected: &'static str,
}

/// Environment of a container; shows its names only.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Env(pub Vec<(String, String)>);

impl Env {
    pub(super) fn to_api(&self) -> Option<Vec<String>> {
        let line = |(name, value): &(String, String)| format!("{name}={value}");
        (!self.0.is_empty()).then(|| self.0.iter().map(line).collect())
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

/// When the daemon starts a container again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// Always.
    Always,
    /// Always, but for containers that were stopped by hand.
    UnlessStopped,
    /// After a failure, this many times at most; 0 is without end.
    OnFailure(u32),
}

impl RestartPolicy {
    /// Reads `no`, `always`, `unless-stopped`, `on-failure`, `on-failure:3`.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let (name, count) = text.split_once(':').unwrap_or((text, ""));
        match (name, count) {
            ("no" | "", "") => Ok(Self::No),
            ("always", "") => Ok(Self::Always),
            ("unless-stopped", "") => Ok(Self::UnlessStopped),
            ("on-failure", "") => Ok(Self::OnFailure(0)),
            ("on-failure", count) if count.parse::<u32>().is_ok() => {
                Ok(Self::OnFailure(count.parse().unwrap_or(0)))
            }
            _ => Err(SpecError {
                text: text.to_owned(),
                expected: "a restart policy",
            }),
        }
    }

    fn to_api(self) -> BollardRestart {
        let (name, count) = match self {
            Self::No => (RestartPolicyNameEnum::NO, None),
            Self::Always => (RestartPolicyNameEnum::ALWAYS, None),
            Self::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
            Self::OnFailure(count) => (RestartPolicyNameEnum::ON_FAILURE, Some(i64::from(count))),
        };
        BollardRestart {
            name: Some(name),
            maximum_retry_count: count,
        }
    }
}

/// A port of the container that the host's network reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Address on the host; all, if empty.
    pub host_ip: String,
    /// Port on the host; 0 lets the daemon choose.
    pub host_port: u16,
    /// Port in the container.
    pub container_port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

impl Publish {
    /// Reads `[[ip:]host:]container[/protocol]`, as `docker run --publish` does, without ranges.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let wrong = || SpecError {
            text: text.to_owned(),
            expected: "a port like `3002:3000`",
        };
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        if !["tcp", "udp", "sctp"].contains(&protocol) {
            return Err(wrong());
        }
        let (rest, container) = ports.rsplit_once(':').unwrap_or(("", ports));
        let (ip, host) = rest.rsplit_once(':').unwrap_or(("", rest));
        let ip = ip
            .strip_prefix('[')
            .and_then(|ip| ip.strip_suffix(']'))
            .unwrap_or(ip);
        if !ip.is_empty() && ip.parse::<std::net::IpAddr>().is_err() {
            return Err(wrong());
        }
        let container_port = container.parse().map_err(|_| wrong())?;
        let host_port = if host.is_empty() {
            0
        } else {
            host.parse().map_err(|_| wrong())?
        };
        if container_port == 0 {
            return Err(wrong());
        }
        Ok(Self {
            host_ip: ip.to_owned(),
            host_port,
            container_port,
            protocol: protocol.to_owned(),
        })
    }

    fn key(&self) -> String {
        format!("{}/{}", self.container_port, self.protocol)
    }
}

/// How the daemon finds out whether the container works.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HealthCheck {
    /// A command for the container's shell; an empty one is the image's own, none switches the
    /// image's check off.
    pub command: Option<String>,
    /// Time between two checks.
    pub interval: Option<Duration>,
    /// Limit of one check.
    pub timeout: Option<Duration>,
    /// Time at the start in which a failure does not count.
    pub start_period: Option<Duration>,
    /// Failures in a row that make the container unhealthy.
    pub retries: Option<u32>,
}

impl HealthCheck {
    fn to_api(&self) -> HealthConfig {
        let test = match &self.command {
            Some(command) if command.is_empty() => None,
            Some(command) => Some(vec!["CMD-SHELL".to_owned(), command.clone()]),
            None => Some(vec!["NONE".to_owned()]),
        };
        HealthConfig {
            test,
            interval: self.interval.map(nanoseconds),
            timeout: self.timeout.map(nanoseconds),
            start_period: self.start_period.map(nanoseconds),
            retries: self.retries.map(i64::from),
            start_interval: None,
        }
    }
}

/// Where the container's output goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogSettings {
    /// As `json-file`; the daemon's own, if empty.
    pub driver: String,
    /// As `max-size` = `10m`.
    pub options: BTreeMap<String, String>,
}

/// A limit of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulimit {
    /// As `nofile`.
    pub name: String,
    /// Soft limit.
    pub soft: i64,
    /// Hard limit.
    pub hard: i64,
}

/// A container to be created.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ContainerSpec {
    /// Its name; the daemon invents one, if empty.
    pub name: String,
    /// Name, digest or id of the image, which has to be there.
    pub image: String,
    /// The command; the image's, if none.
    pub command: Option<Vec<String>>,
    /// The entrypoint; the image's, if none.
    pub entrypoint: Option<Vec<String>>,
    /// Environment.
    pub env: Env,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Volumes and folders as `source:target[:options]`.
    pub volumes: Vec<String>,
    /// Folders in memory, with their options.
    pub tmpfs: BTreeMap<String, String>,
    /// Published ports.
    pub publish: Vec<Publish>,
    /// Network to join at creation: a name, `host`, `none`, or `container:ID`.
    pub network: Option<String>,
    /// More names in that network.
    pub aliases: Vec<String>,
    /// When it is started again.
    pub restart: RestartPolicy,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of memory and swap together; -1 is no limit.
    pub memory_swap: Option<i64>,
    /// Processors, also fractions.
    pub cpus: Option<f64>,
    /// Relative weight of processor time.
    pub cpu_shares: Option<i64>,
    /// Number of processes.
    pub pids_limit: Option<i64>,
    /// Bytes of `/dev/shm`.
    pub shm_size: Option<u64>,
    /// User, as `1000:1000`.
    pub user: Option<String>,
    /// More groups.
    pub groups: Vec<String>,
    /// Working directory.
    pub workdir: Option<String>,
    /// Hostname.
    pub hostname: Option<String>,
    /// More lines for `/etc/hosts`, as `name:ip`.
    pub extra_hosts: Vec<String>,
    /// Name servers.
    pub dns: Vec<String>,
    /// Health check; the image's, if none.
    pub health: Option<HealthCheck>,
    /// Logs; the daemon's way, if none.
    pub log: Option<LogSettings>,
    /// Signal that asks it to stop; the image's, if none.
    pub stop_signal: Option<String>,
    /// How long it may take to stop before it is killed.
    pub stop_timeout: Option<Duration>,
    /// Whether a small init reaps its orphans; the daemon's way, if none.
    pub init: Option<bool>,
    /// Kernel limits.
    pub ulimits: Vec<Ulimit>,
    /// Kernel settings.
    pub sysctls: BTreeMap<String, String>,
    /// Devices as `host[:container[:permissions]]`.
    pub devices: Vec<String>,
    /// Capabilities to add.
    pub cap_add: Vec<String>,
    /// Capabilities to drop.
    pub cap_drop: Vec<String>,
    /// Security options.
    pub security_options: Vec<String>,
    /// Whether it may do everything that the host's root may.
    pub privileged: bool,
    /// Whether its own file system is read-only.
    pub read_only: bool,
    /// Whether the daemon removes it when it ends.
    pub auto_remove: bool,
    /// Whether its standard input can be attached to.
    pub open_stdin: bool,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Platform of the image, as `linux/amd64`.
    pub platform: Option<String>,
}

impl ContainerSpec {
    /// A container of this image, all else as the image says.
    pub fn of_image(image: impl Into<String>) -> Self {
        Self {
            image: image.into(),
            ..Self::default()
        }
    }

    pub(super) fn to_api(&self) -> ContainerCreateBody {
        let exposed: Vec<_> = self.publish.iter().map(Publish::key).collect();
        ContainerCreateBody {
            image: Some(self.image.clone()),
            cmd: self.command.clone(),
            entrypoint: self.entrypoint.clone(),
            env: self.env.to_api(),
            labels: some(&self.labels),
            exposed_ports: (!exposed.is_empty()).then_some(exposed),
            user: self.user.clone(),
            working_dir: self.workdir.clone(),
            hostname: self.hostname.clone(),
            healthcheck: self.health.as_ref().map(HealthCheck::to_api),
            stop_signal: self.stop_signal.clone(),
            stop_timeout: self.stop_timeout.map(seconds),
            tty: Some(self.tty),
            open_stdin: Some(self.open_stdin),
            stdin_once: Some(self.open_stdin),
            host_config: Some(self.host_config()),
            networking_config: self.networking(),
            ..ContainerCreateBody::default()
        }
    }

    fn host_config(&self) -> HostConfig {
        HostConfig {
            binds: list(&self.volumes),
            tmpfs: some(&self.tmpfs),
            port_bindings: self.port_bindings(),
            network_mode: self.network.clone(),
            restart_policy: Some(self.restart.to_api()),
            memory: self.memory.map(bytes),
            memory_swap: self.memory_swap,
            nano_cpus: self.cpus.map(nano_cpus),
            cpu_shares: self.cpu_shares,
            pids_limit: self.pids_limit,
            shm_size: self.shm_size.map(bytes),
            group_add: list(&self.groups),
            extra_hosts: list(&self.extra_hosts),
            dns: list(&self.dns),
            log_config: self.log.as_ref().map(|log| HostConfigLogConfig {
                typ: Some(log.driver.clone()).filter(|driver| !driver.is_empty()),
                config: some(&log.options),
            }),
            init: self.init,
            ulimits: (!self.ulimits.is_empty()).then(|| self.ulimits.iter().map(ulimit).collect()),
            sysctls: some(&self.sysctls),
            devices: (!self.devices.is_empty())
                .then(|| self.devices.iter().map(|text| device(text)).collect()),
            cap_add: list(&self.cap_add),
            cap_drop: list(&self.cap_drop),
            security_opt: list(&self.security_options),
            privileged: Some(self.privileged),
            readonly_rootfs: Some(self.read_only),
            auto_remove: Some(self.auto_remove),
            ..HostConfig::default()
        }
    }

    fn port_bindings(&self) -> Option<bollard::models::PortMap> {
        let mut ports = bollard::models::PortMap::new();
        for publish in &self.publish {
            let port = Some(publish.host_port).filter(|port| *port != 0);
            ports
                .entry(publish.key())
                .or_default()
                .get_or_insert_default()
                .push(PortBinding {
                    host_ip: Some(publish.host_ip.clone()),
                    host_port: Some(port.map_or_else(String::new, |port| port.to_string())),
                });
        }
        (!ports.is_empty()).then_some(ports)
    }

    fn networking(&self) -> Option<NetworkingConfig> {
        let network = self.network.as_ref().filter(|_| !self.aliases.is_empty())?;
        let endpoint = EndpointSettings {
            aliases: list(&self.aliases),
            ..EndpointSettings::default()
        };
        Some(NetworkingConfig {
            endpoints_config: Some([(network.clone(), endpoint)].into()),
        })
    }
}

fn some(map: &BTreeMap<String, String>) -> Option<std::collections::HashMap<String, String>> {
    (!map.is_empty()).then(|| map.clone().into_iter().collect())
}

fn list(list: &[String]) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.to_vec())
}

fn bytes(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn seconds(time: Duration) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a cast from float saturates"
)]
fn nano_cpus(cpus: f64) -> i64 {
    (cpus * 1e9).round() as i64
}

fn ulimit(limit: &Ulimit) -> ResourcesUlimits {
    ResourcesUlimits {
        name: Some(limit.name.clone()),
        soft: Some(limit.soft),
        hard: Some(limit.hard),
    }
}

fn device(text: &str) -> DeviceMapping {
    let mut parts = text.split(':');
    let host = parts.next().unwrap_or_default();
    DeviceMapping {
        path_on_host: Some(host.to_owned()),
        path_in_container: Some(parts.next().unwrap_or(host).to_owned()),
        cgroup_permissions: Some(parts.next().unwrap_or("rwm").to_owned()),
    }
}

/// Reads a size as Docker does: `2g`, `512m`, `64k`, `100b`, `1.5g`, or bytes; units of 1024.
///
/// # Errors
/// Anything else, and sizes below zero.
pub fn parse_bytes(text: &str) -> Result<u64, SpecError> {
    let wrong = || SpecError {
        text: text.to_owned(),
        expected: "a size like `512m` or `2g`",
    };
    let lower = text.trim().to_ascii_lowercase();
    let unit = lower.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number = lower.get(..lower.len() - unit.len()).unwrap_or_default();
    let factor: u32 = match unit.trim() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        _ => return Err(wrong()),
    };
    if let Ok(whole) = number.parse::<u64>() {
        return 1024_u64
            .checked_pow(factor)
            .and_then(|f| f.checked_mul(whole))
            .ok_or_else(wrong);
    }
    let fraction: f64 = number.parse().map_err(|_| wrong())?;
    let size = fraction * 1024_f64.powi(factor.cast_signed());
    if !(0.0..9e18).contains(&size) {
        return Err(wrong());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is checked above, and a fraction of a byte is dropped"
    )]
    Ok(size as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        for (text, size) in [
            ("2g", 2 << 30),
            ("512m", 512 << 20),
            ("512MB", 512 << 20),
            ("64k", 64 << 10),
            ("100b", 100),
            ("100", 100),
            ("1.5g", 3 << 29),
        ] {
            assert_eq!(parse_bytes(text), Ok(size), "{text}");
        }
        for text in ["", "g", "2x", "-1m", "1..2g", "99999999999g"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ports_are_read_as_docker_reads_them() {
        let port = |ip: &str, host, container, protocol: &str| Publish {
            host_ip: ip.into(),
            host_port: host,
            container_port: container,
            protocol: protocol.into(),
        };
        for (text, expected) in [
            ("3000", port("", 0, 3000, "tcp")),
            ("3002:3000", port("", 3002, 3000, "tcp")),
            ("127.0.0.1:5433:5432", port("127.0.0.1", 5433, 5432, "tcp")),
            ("127.0.0.1::5432", port("127.0.0.1", 0, 5432, "tcp")),
            ("[::1]:53:53/udp", port("::1", 53, 53, "udp")),
        ] {
            assert_eq!(Publish::parse(text), Ok(expected), "{text}");
        }
        for text in ["", "x", "1:2:3:4", "70000", "0", "80/ftp", "host:80:80"] {
            assert!(Publish::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn restart_policies_are_read() {
        assert_eq!(
            RestartPolicy::parse("unless-stopped"),
            Ok(RestartPolicy::UnlessStopped)
        );
        assert_eq!(
            RestartPolicy::parse("on-failure:3"),
            Ok(RestartPolicy::OnFailure(3))
        );
        assert!(RestartPolicy::parse("sometimes").is_err());
        assert!(RestartPolicy::parse("always:3").is_err());
    }

    #[test]
    fn values_of_the_environment_do_not_show() {
        let env: Env = [("PASSWORD", "s3cret")].into_iter().collect();
        let spec = ContainerSpec {
            env,
            ..ContainerSpec::of_image("app")
        };
        let shown = format!("{spec:?}");
        assert!(
            shown.contains("PASSWORD") && !shown.contains("s3cret"),
            "{shown}"
        );
    }
}
