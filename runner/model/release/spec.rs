//! What should run: the wish of a configuration for one release, with no secret in it.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{
    ids::{ContainerName, HostName, ReleaseVersion, RoleName, SecretName, ServiceName},
    image::ImageRef,
    paths::Paths,
    publish::{Mounts, PublishedPort, published_ports},
    route::RouteSpec,
    run_options::{self, OptionError, RunOptions},
    time::Millis,
};
use crate::kamal::env_file_value;

/// Label that names the transaction which made a container; only ours carry it.
pub const TRANSACTION_LABEL: &str = "runner.tx";
/// Label of a one-off container that migrates.
pub const PURPOSE_LABEL: &str = "runner.purpose";
/// Label of an accessory on the application's image: the service and destination that it belongs
/// to, by which it is found after it left the configuration.
pub const APPLICATION_LABEL: &str = "runner.application";
/// Label of an accessory on the application's image: its name in the configuration.
pub const ACCESSORY_LABEL: &str = "runner.accessory";
/// Label of the proxy's container: its driver.
pub const PROXY_LABEL: &str = "runner.proxy";
/// Label of the proxy's container: the authority from which it gets certificates itself.
pub const AUTHORITY_LABEL: &str = "runner.proxy.authority";

/// Everything that one release of one service wants, on all its hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The service.
    pub service: ServiceName,
    /// The destination, where one was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// The release.
    pub version: ReleaseVersion,
    /// The release's image; `digest` is set, the tag is the release's.
    pub image: ImageRef,
    /// The host that holds lock, journal and history, and where migrations run.
    pub primary: HostName,
    /// All application containers: of every host, web roles first.
    pub containers: Vec<ContainerSpec>,
    /// What is routed, on each proxied host.
    #[serde(default)]
    pub routes: Vec<RouteSpec>,
    /// The proxy, where some role is proxied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxyWish>,
    /// Accessories that must be there and answer; workers in disguise are not among them.
    #[serde(default)]
    pub accessories: Vec<AccessoryRef>,
    /// The migration, where one is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrate: Option<MigrateSpec>,
    /// The gate of web containers.
    pub gate: GateSettings,
    /// What happens to connections of old containers.
    pub drain: DrainMode,
    /// How long old containers have to finish (`drain_timeout`).
    pub drain_timeout: Millis,
    /// How long the new release is watched after the switch.
    #[serde(default)]
    pub bake: Millis,
    /// How many stopped containers of a role are kept (`retain_containers`).
    pub retain_containers: usize,
}

impl Spec {
    /// The files of this service and destination on a host.
    pub fn paths(&self) -> Paths {
        Paths::new(&self.service, self.destination.as_deref())
    }

    /// `latest`, or `latest-<destination>`.
    pub fn latest_tag(&self) -> String {
        match &self.destination {
            Some(destination) => format!("latest-{destination}"),
            None => "latest".to_owned(),
        }
    }

    /// The hosts that the release uses, each once, the primary first.
    pub fn hosts(&self) -> Vec<HostName> {
        let mut hosts = vec![self.primary.clone()];
        let used = self.containers.iter().map(|container| &container.host);
        for host in used.chain(self.accessories.iter().map(|accessory| &accessory.host)) {
            if !hosts.contains(host) {
                hosts.push(host.clone());
            }
        }
        hosts
    }

    /// The routes of `host`.
    pub fn routes_of<'a>(&'a self, host: &'a HostName) -> impl Iterator<Item = &'a RouteSpec> {
        self.routes.iter().filter(move |route| route.host == *host)
    }

    /// Says whether the release wants a route on `host`.
    pub fn is_proxied(&self, host: &HostName) -> bool {
        self.routes_of(host).next().is_some()
    }

    /// The containers of `host`.
    pub fn containers_of<'a>(
        &'a self,
        host: &'a HostName,
    ) -> impl Iterator<Item = &'a ContainerSpec> {
        self.containers
            .iter()
            .filter(move |container| container.host == *host)
    }
}

/// What a container is for, which decides when it starts and how it is gated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Duty {
    /// Answers requests behind the proxy.
    Web,
    /// Takes jobs from its start; its name carries the release.
    Worker,
    /// An accessory on the application's own image: a worker whose name carries no release.
    WorkerAccessory,
    /// Migrates the database once and ends.
    Migration,
    /// An accessory that deploys do not touch.
    Accessory,
    /// The proxy, which deploys do not touch.
    Proxy,
}

/// One container on one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// The host.
    pub host: HostName,
    /// The role, or the accessory's name.
    pub role: RoleName,
    /// What it is for.
    pub duty: Duty,
    /// The name that it has in the end.
    pub name: ContainerName,
    /// The name under which it is created; another one while `name` is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_name: Option<ContainerName>,
    /// The image, by digest.
    pub image: ImageRef,
    /// The host name inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Labels; the transaction's is added by [`super::plan`].
    pub labels: IndexMap<String, String>,
    /// Environment that is no secret.
    pub env: IndexMap<String, String>,
    /// Environment that is secret: the variable's name to the secret's name.
    #[serde(default)]
    pub secrets: IndexMap<String, SecretName>,
    /// Kamal's env file of this role or accessory, relative to the home folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_file: Option<String>,
    /// Volumes, `source:target[:options]`.
    #[serde(default)]
    pub volumes: Vec<String>,
    /// Ports, `[address:]outside:inside`; those of proxied roles are the proxy's instead.
    #[serde(default)]
    pub publish: Vec<String>,
    /// Further options of `docker run`, in order.
    #[serde(default)]
    pub options: Vec<ContainerOption>,
    /// The command, split into words; empty means the image's own.
    #[serde(default)]
    pub command: Vec<String>,
    /// Networks: the first at creation, the others connected before the start.
    pub networks: Vec<String>,
    /// How long it has between SIGTERM and SIGKILL.
    pub stop_timeout: Millis,
    /// A health check that replaces the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// The restart policy, `unless-stopped`.
    pub restart: String,
    /// The log driver and its options.
    pub logging: LogSettings,
}

impl ContainerSpec {
    /// The name under which it is created.
    pub fn created_as(&self) -> &ContainerName {
        self.boot_name.as_ref().unwrap_or(&self.name)
    }

    /// Memory in bytes, from `memory`; `None` where it is not limited.
    pub fn memory_bytes(&self) -> Result<Option<u64>, OptionError> {
        self.read_option("memory", run_options::bytes)
    }

    /// Processors in billionths, from `cpus`; `None` where they are not limited.
    pub fn nano_cpus(&self) -> Result<Option<u64>, OptionError> {
        self.read_option("cpus", run_options::nano_cpus)
    }

    /// The options, with types for Docker's API.
    pub fn run_options(&self) -> Result<RunOptions, OptionError> {
        RunOptions::read(&self.options)
    }

    /// The ports, one for each number of a range.
    pub fn published_ports(&self) -> Result<Vec<PublishedPort>, OptionError> {
        let mut ports = Vec::new();
        for text in &self.publish {
            ports.extend(published_ports(text)?);
        }
        Ok(ports)
    }

    /// The volumes; those in the SSH user's home are made absolute with `home`.
    pub fn mounts(&self, home: &str) -> Mounts {
        Mounts::new(&self.volumes, home)
    }

    /// The environment as Docker's API takes it, `NAME=value`; `secret` gives values by name.
    ///
    /// Secrets are written as in Kamal's env file, so that a line break arrives as `\n`; what is
    /// no secret comes later and counts where both have the same name, as with `docker run`.
    pub fn environment<E>(
        &self,
        secret: impl Fn(&SecretName) -> Result<String, E>,
    ) -> Result<Vec<String>, E> {
        let mut variables = IndexMap::new();
        for (name, key) in &self.secrets {
            variables.insert(name.as_str(), env_file_value(&secret(key)?));
        }
        for (name, value) in &self.env {
            variables.insert(name.as_str(), value.clone());
        }
        let line = |(name, value): (&str, String)| format!("{name}={value}");
        Ok(variables.into_iter().map(line).collect())
    }

    fn read_option(
        &self,
        name: &str,
        read: fn(&str) -> Option<u64>,
    ) -> Result<Option<u64>, OptionError> {
        let mut options = self.options.iter().rev();
        let Some(value) = options
            .find(|option| option.name == name)
            .and_then(|option| option.value.as_deref())
        else {
            return Ok(None);
        };
        read(value).map(Some).ok_or_else(|| OptionError::Value {
            option: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

/// One option of `docker run`, `--name value` or `--name`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerOption {
    /// The option without its hyphens.
    pub name: String,
    /// The value, where it takes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// A health check that Docker runs inside the container.
///
/// What is 0 is left to the image, and to Docker where the image has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// The shell command; the image's own where it is empty.
    pub command: String,
    /// Time between two checks.
    pub interval: Millis,
    /// Time that one check may take.
    pub timeout: Millis,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
    /// Time from the start in which failures do not count.
    #[serde(default)]
    pub start_period: Millis,
}

/// How a container's output is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSettings {
    /// The driver; `None` means the daemon's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// The driver's options.
    #[serde(default)]
    pub options: IndexMap<String, String>,
}

/// The gate of web containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateSettings {
    /// Time between two requests after the first answer.
    pub interval: Millis,
    /// Answers of 2xx in a row.
    pub successes: u32,
    /// The limit, `deploy_timeout`.
    pub limit: Millis,
    /// How long a container without a health check must run with an unchanged restart count.
    pub readiness_delay: Millis,
}

/// How an old container is stopped after the switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DrainMode {
    /// SIGTERM at once: the application finishes what it has.
    #[default]
    Term,
    /// Wait first: for applications that drop requests on SIGTERM.
    Wait,
}

/// A one-off container that migrates, and what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrateSpec {
    /// The container, on the primary host.
    pub container: ContainerSpec,
    /// How long it may run.
    pub limit: Millis,
    /// Where its database sessions can be ended; `None` where that cannot be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabaseRef>,
    /// Whether the database is dumped before.
    #[serde(default)]
    pub backup: bool,
}

/// A PostgreSQL accessory, as something to run a command in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseRef {
    /// Its host.
    pub host: HostName,
    /// Its container.
    pub container: ContainerName,
    /// The user to connect as.
    pub user: String,
    /// The database.
    pub database: String,
}

/// An accessory that must be there before a deploy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessoryRef {
    /// Its name in the configuration.
    pub name: String,
    /// Its host.
    pub host: HostName,
    /// Its container.
    pub container: ContainerName,
    /// The port inside, where one is published: it must answer there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// What a deploy needs of the proxy on its hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyWish {
    /// `traefik`, `kamal-proxy`, `caddy`, `none`.
    pub driver: String,
    /// The proxy's container.
    pub container: ContainerName,
    /// The ports of the host that it must hold.
    pub ports: Vec<u16>,
    /// The authority from which it must get certificates, where routes want it to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::samples;

    fn with_option(name: &str, value: &str) -> ContainerSpec {
        let mut container = samples::web("h1", "v1");
        let value = Some(value.to_owned());
        container.options = vec![ContainerOption {
            name: name.to_owned(),
            value,
        }];
        container
    }

    #[test]
    fn memory_is_read_as_docker_reads_it() {
        for (text, bytes) in [
            ("512", 512),
            ("2g", 2 << 30),
            ("512m", 512 << 20),
            ("8KB", 8 << 10),
        ] {
            assert_eq!(
                with_option("memory", text).memory_bytes().unwrap(),
                Some(bytes),
                "{text}"
            );
        }
        for text in ["", "g", "2x", "-1m", "99999999999g"] {
            assert!(
                with_option("memory", text).memory_bytes().is_err(),
                "{text}"
            );
        }
        assert_eq!(samples::web("h1", "v1").memory_bytes().unwrap(), None);
    }

    #[test]
    fn processors_are_read_as_docker_reads_them() {
        for (text, nano) in [
            ("2", 2_000_000_000),
            ("1.5", 1_500_000_000),
            (".5", 500_000_000),
        ] {
            assert_eq!(
                with_option("cpus", text).nano_cpus().unwrap(),
                Some(nano),
                "{text}"
            );
        }
        for text in ["a", "1.", "-1", "1.5.5", "1.0123456789"] {
            let read = with_option("cpus", text).nano_cpus();
            assert!(read.is_err() || text == "1.", "{text}");
        }
    }

    #[test]
    fn secrets_arrive_as_from_an_env_file_and_clear_values_win() {
        let mut container = samples::web("h1", "v1");
        let secret = |name: &str| SecretName::new(name);
        container.secrets = [("CA", "PEM"), ("BOTH", "PEM")]
            .map(|(name, key)| (name.to_owned(), secret(key)))
            .into();
        container.env = [("BOTH", "clear"), ("TEXT", "a b")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let known = |name: &SecretName| match name.as_str() {
            "PEM" => Ok("a\nb\"".to_owned()),
            _ => Err(()),
        };
        let environment = container.environment(known);
        let expected = ["CA=a\\nb\"", "BOTH=clear", "TEXT=a b"];
        assert_eq!(environment.unwrap(), expected);
        container.secrets.insert("X".to_owned(), secret("GONE"));
        assert_eq!(container.environment(known), Err(()));
    }

    #[test]
    fn hosts_begin_with_the_primary_and_name_each_once() {
        let spec = samples::fleet("v1");
        assert_eq!(spec.hosts(), ["h1".into(), "h2".into()]);
        assert!(spec.is_proxied(&"h1".into()));
    }
}
