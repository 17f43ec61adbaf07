//! The configuration as a whole: the root of `config/deploy.yml`.

use std::time::Duration;

use indexmap::IndexMap;

use super::accessory::{Accessory, read_accessories, unique};
use super::boot::Boot;
use super::builder::Builder;
use super::diagnostics::Findings;
use super::env::Env;
use super::fields::Fields;
use super::logging::{HooksOutput, Logging, Output};
use super::proxy::{Proxy, ProxyRun};
use super::registry::Registry;
use super::role::{AssetPath, Role, RoleContext, read_roles};
use super::runner_extension::RunnerExtension;
use super::setting::Setting;
use super::ssh::{Ssh, Sshkit};
use super::{aliases, check};

/// A deploy configuration, with every default filled in and everything merged that Kamal merges.
///
/// It holds names of secrets, never values from the secrets files.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The name of the application, of its containers and its label `service`.
    pub service: String,
    /// The destination that was chosen, as `staging`.
    pub destination: Option<String>,
    /// The image without registry and tag; in a local registry the service's name by default.
    pub image: String,
    /// The registry of the image.
    pub registry: Registry,
    /// The roles, in the order of their names.
    pub roles: Vec<Role>,
    /// The name of the primary role, whether or not it exists.
    pub primary_role_name: String,
    /// Services beside the application, in the order written.
    pub accessories: Vec<Accessory>,
    /// The root's environment; roles have it merged in already.
    pub env: Env,
    /// Labels of all application containers; roles have them merged in already.
    pub labels: IndexMap<String, String>,
    /// Volumes of all application containers, as Docker writes them.
    pub volumes: Vec<String>,
    /// The root's proxy; roles have it merged in already.
    pub proxy: Proxy,
    /// How the image is built.
    pub builder: Builder,
    /// How hosts are reached.
    pub ssh: Ssh,
    /// Limits of connections.
    pub sshkit: Sshkit,
    /// How containers are booted over many hosts.
    pub boot: Boot,
    /// The root's log driver; roles have it merged in already.
    pub logging: Logging,
    /// Where the output of deploys is written to.
    pub output: Output,
    /// Short names of command lines.
    pub aliases: IndexMap<String, String>,
    /// The folder of hooks.
    pub hooks_path: String,
    /// How much of a hook's output is shown.
    pub hooks_output: HooksOutput,
    /// The secrets file, without `-common` or the destination.
    pub secrets_path: String,
    /// A folder of error pages for the proxy.
    pub error_pages_path: Option<String>,
    /// Whether a role may be without hosts.
    pub allow_empty_roles: bool,
    /// How many old containers are kept.
    pub retain_containers: u64,
    /// How long a container without health check must run before it counts as ready.
    pub readiness_delay: Duration,
    /// How long a container may take to become healthy.
    pub deploy_timeout: Duration,
    /// How long the old containers' requests are waited for.
    pub drain_timeout: Duration,
    /// The root's time between SIGTERM and SIGKILL, if it is configured.
    pub stop_timeout: Option<Duration>,
    /// The keys below `x-runner`.
    pub runner: RunnerExtension,
    /// Whether the files were in the words of Kamal 1.
    pub is_from_kamal_1: bool,
}

pub(super) const KEYS: [&str; 32] = [
    "service",
    "image",
    "labels",
    "volumes",
    "registry",
    "servers",
    "env",
    "asset_path",
    "hooks_path",
    "hooks_output",
    "secrets_path",
    "error_pages_path",
    "require_destination",
    "primary_role",
    "allow_empty_roles",
    "retain_containers",
    "minimum_version",
    "readiness_delay",
    "deploy_timeout",
    "drain_timeout",
    "stop_timeout",
    "run_directory",
    "ssh",
    "builder",
    "accessories",
    "proxy",
    "sshkit",
    "boot",
    "logging",
    "output",
    "aliases",
    "x-runner",
];

impl Config {
    /// The folder of the tool's files on the servers, below the SSH user's home.
    pub const RUN_DIRECTORY: &'static str = ".kamal";

    /// Returns the primary role.
    pub fn primary_role(&self) -> Option<&Role> {
        self.role(&self.primary_role_name)
    }

    /// Returns the first host of the primary role, where lock and journal are.
    pub fn primary_host(&self) -> Option<&str> {
        self.primary_role()?.host_names().next()
    }

    /// Returns a role by name.
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.iter().find(|role| role.name == name)
    }

    /// Returns an accessory by name.
    pub fn accessory(&self, name: &str) -> Option<&Accessory> {
        self.accessories
            .iter()
            .find(|accessory| accessory.name == name)
    }

    /// Returns the hosts of all roles, each once, in the order of the roles.
    pub fn app_hosts(&self) -> Vec<String> {
        unique(self.roles.iter().flat_map(Role::host_names))
    }

    /// Returns the hosts of all roles and accessories, each once.
    pub fn all_hosts(&self) -> Vec<String> {
        let of_roles = self.roles.iter().flat_map(Role::host_names);
        let of_accessories = self.accessories.iter().flat_map(|one| &one.hosts);
        unique(of_roles.chain(of_accessories.map(String::as_str)))
    }

    /// Returns the hosts that need the proxy, each once.
    pub fn proxy_hosts(&self) -> Vec<String> {
        let roles = self.roles.iter().filter(|role| role.is_proxied());
        let accessories = self.accessories.iter().filter(|one| one.is_proxied());
        let of_accessories = accessories.flat_map(|one| &one.hosts).map(String::as_str);
        unique(roles.flat_map(Role::host_names).chain(of_accessories))
    }

    /// Returns how the proxy is run on a host, by the first role or accessory there that says it.
    pub fn proxy_run(&self, host: &str) -> Option<&ProxyRun> {
        self.proxies_on(host).find_map(|proxy| proxy.run.as_ref())
    }

    /// Walks over the proxies of the roles and accessories on a host.
    pub(super) fn proxies_on<'a, 'b: 'a>(
        &'b self,
        host: &'a str,
    ) -> impl Iterator<Item = &'b Proxy> + use<'a, 'b> {
        let roles = self
            .roles
            .iter()
            .filter(move |role| role.host_names().any(|name| name == host))
            .filter_map(|role| role.proxy.as_ref());
        let accessories = self
            .accessories
            .iter()
            .filter(move |one| one.hosts.iter().any(|name| name == host))
            .filter_map(|one| one.proxy.as_ref());
        roles.chain(accessories)
    }

    /// Returns how many hosts are booted at once, if there is a limit.
    pub fn boot_limit(&self) -> Option<usize> {
        self.boot
            .limit
            .map(|limit| limit.hosts(self.all_hosts().len()))
    }
}

/// Reads the merged tree; errors are in `found`.
pub(super) fn read(root: &Setting, destination: Option<&str>, found: &Findings) -> Config {
    let fields = Fields {
        context: String::new(),
        setting: root,
        found,
    };
    check::root_keys(&fields);
    check::required_keys(&fields, destination);
    let service = fields.string("service").unwrap_or_default();
    let registry = root
        .get("registry")
        .map(|registry| Registry::read(registry, "registry", found))
        .unwrap_or_default();
    let labels = fields.texts("labels").unwrap_or_default();
    let logging = Logging::read(&fields, None);
    let (env, tags) = Env::read_root(root.get("env"), found);
    let primary_role_name = string_of(&fields, "primary_role", "web");
    let drain_timeout = seconds_of(&fields, "drain_timeout", 30);
    let stop_timeout = fields.seconds("stop_timeout");
    let asset_path = fields
        .string("asset_path")
        .and_then(|text| AssetPath::parse(&text));
    let proxy_setting = root
        .get("proxy")
        .filter(|proxy| proxy.as_boolean() != Some(false));
    let proxy = proxy_setting.map(|proxy| Proxy::read(proxy, "proxy", found));
    let context = RoleContext {
        service: &service,
        destination,
        primary_role: &primary_role_name,
        labels: &labels,
        env: &env,
        tags: &tags,
        logging: &logging,
        proxy: proxy_setting,
        asset_path: asset_path.as_ref(),
        stop_timeout,
        drain_timeout,
        found,
    };
    let roles = root
        .get("servers")
        .map(|servers| read_roles(servers, &context))
        .unwrap_or_default();
    let config = Config {
        destination: destination.map(str::to_owned),
        image: read_image(&fields, &service, &registry),
        accessories: read_accessories(&fields, &service, &roles),
        volumes: fields.strings("volumes").unwrap_or_default(),
        proxy: proxy.unwrap_or_default(),
        builder: Builder::read(&fields),
        ssh: Ssh::read(&fields),
        sshkit: Sshkit::read(&fields),
        boot: Boot::read(&fields),
        output: Output::read(&fields),
        aliases: aliases::read(&fields),
        hooks_path: string_of(&fields, "hooks_path", ".kamal/hooks"),
        hooks_output: HooksOutput::read(&fields),
        secrets_path: string_of(&fields, "secrets_path", ".kamal/secrets"),
        error_pages_path: fields.string("error_pages_path"),
        allow_empty_roles: fields.boolean("allow_empty_roles").unwrap_or(false),
        retain_containers: check::retain_containers(&fields),
        readiness_delay: seconds_of(&fields, "readiness_delay", 7),
        deploy_timeout: seconds_of(&fields, "deploy_timeout", 30),
        runner: RunnerExtension::read(&fields),
        is_from_kamal_1: false,
        stop_timeout,
        drain_timeout,
        logging,
        labels,
        env,
        primary_role_name,
        roles,
        registry,
        service,
    };
    // Read for its type alone: Kamal takes the key and does not use it.
    drop(fields.string("run_directory"));
    check::whole(&config, &fields);
    config
}

fn read_image(fields: &Fields<'_>, service: &str, registry: &Registry) -> String {
    match fields.string("image").filter(|image| !image.is_empty()) {
        Some(image) => image,
        None if registry.is_local() => service.to_owned(),
        None => {
            check::missing(fields, "image");
            String::new()
        }
    }
}

fn string_of(fields: &Fields<'_>, key: &str, default: &str) -> String {
    fields.string(key).unwrap_or_else(|| default.to_owned())
}

fn seconds_of(fields: &Fields<'_>, key: &str, default: u64) -> Duration {
    fields.seconds(key).unwrap_or(Duration::from_secs(default))
}
