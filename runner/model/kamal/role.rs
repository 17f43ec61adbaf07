//! `servers:`: the roles and their hosts.

use std::time::Duration;

use indexmap::IndexMap;

use super::diagnostics::{Findings, in_context, join};
use super::docker_options::DockerOptions;
use super::env::Env;
use super::fields::Fields;
use super::logging::Logging;
use super::proxy::Proxy;
use super::setting::{Place, Scalar, Setting, Value};

/// A kind of server: the same image with its own command, environment and limits.
///
/// Everything that the root of the configuration adds (environment, labels, logging, proxy) is
/// already merged in.
#[derive(Debug, Clone, PartialEq)]
pub struct Role {
    /// The name, as `web`.
    pub name: String,
    /// Whether it is the primary role.
    pub is_primary: bool,
    /// The hosts in the order written.
    pub hosts: Vec<RoleHost>,
    /// The command, the image's own without one.
    pub cmd: Option<String>,
    /// The labels of the containers: Kamal's three first, one without value is `None`.
    pub labels: IndexMap<String, Option<String>>,
    /// Further options for `docker run`.
    pub options: DockerOptions,
    /// The log driver.
    pub logging: Logging,
    /// The time between SIGTERM and SIGKILL, if it is configured.
    pub stop_timeout: Option<Duration>,
    /// The time that Docker is told on stopping: see [`Role::stop_wait`].
    pub(super) drain_timeout: Duration,
    /// How requests reach it; `None` if it is not behind the proxy.
    pub proxy: Option<Proxy>,
    /// Assets that old and new containers share; only behind the proxy.
    pub asset_path: Option<AssetPath>,
    /// The containers' names without the version: `<service>-<role>[-<destination>]`.
    pub container_prefix: String,
}

/// A host of a role.
#[derive(Debug, Clone, PartialEq)]
pub struct RoleHost {
    /// Its name or address.
    pub name: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// The whole environment there: the root's, the role's and the tags'.
    pub env: Env,
}

/// A folder of assets in the image, `PATH[:OPTIONS]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetPath {
    /// The folder in the container.
    pub path: String,
    /// Options of the mount.
    pub options: Option<String>,
}

impl AssetPath {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (path, options) = match text.split_once(':') {
            Some((path, options)) => (path, Some(options.to_owned())),
            None => (text, None),
        };
        let path = path.to_owned();
        (!path.trim().is_empty()).then_some(Self { path, options })
    }
}

impl Role {
    /// Tells whether it is behind the proxy.
    pub fn is_proxied(&self) -> bool {
        self.proxy.is_some()
    }

    /// Returns the names of the hosts.
    pub fn host_names(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(|host| host.name.as_str())
    }

    /// Returns the name of the container of a version.
    pub fn container_name(&self, version: &str) -> String {
        format!("{}-{version}", self.container_prefix)
    }

    /// Returns the labels that are put on containers: those of Traefik are not, since its routes
    /// are written as files; one without value is empty.
    pub fn container_labels(&self) -> IndexMap<String, String> {
        self.labels
            .iter()
            .filter(|(key, _)| !key.starts_with("traefik."))
            .map(|(key, value)| (key.clone(), value.clone().unwrap_or_default()))
            .collect()
    }

    /// Returns how long `docker stop` waits before it kills; `None` is Docker's own 10 seconds.
    ///
    /// Source: behind Kamal's proxy requests are drained before, so only other roles wait for
    /// `drain_timeout`.
    pub fn stop_wait(&self) -> Option<Duration> {
        let unproxied = (!self.is_proxied()).then_some(self.drain_timeout);
        self.stop_timeout.or(unproxied)
    }
}

/// What the root of the configuration gives to every role.
#[derive(Debug)]
pub(super) struct RoleContext<'a> {
    pub(super) service: &'a str,
    pub(super) destination: Option<&'a str>,
    pub(super) primary_role: &'a str,
    pub(super) labels: &'a IndexMap<String, String>,
    pub(super) env: &'a Env,
    pub(super) tags: &'a IndexMap<String, Env>,
    pub(super) logging: &'a Logging,
    pub(super) proxy: Option<&'a Setting>,
    pub(super) asset_path: Option<&'a AssetPath>,
    pub(super) stop_timeout: Option<Duration>,
    pub(super) drain_timeout: Duration,
    pub(super) found: &'a Findings,
}

const KEYS: [&str; 9] = [
    "hosts",
    "cmd",
    "stop_timeout",
    "options",
    "logging",
    "proxy",
    "labels",
    "env",
    "asset_path",
];

/// Reads `servers`: a list is the role `web`; roles come in the order of their names.
pub(super) fn read_roles(servers: &Setting, context: &RoleContext<'_>) -> Vec<Role> {
    match &servers.value {
        Value::List(_) => {
            let hosts = read_hosts(servers, "servers", context);
            vec![plain_role("web", hosts, context)]
        }
        Value::Hash(pairs) => {
            let mut roles: Vec<Role> = pairs
                .iter()
                .map(|pair| read_role(&pair.key, &pair.value, context))
                .collect();
            roles.sort_by(|a, b| a.name.cmp(&b.name));
            roles
        }
        Value::Null | Value::Scalar(_) => {
            let message = "servers: should be an array or a hash";
            context.found.error("wrong-type", &servers.place, message);
            Vec::new()
        }
    }
}

fn plain_role(name: &str, hosts: Vec<RoleHost>, context: &RoleContext<'_>) -> Role {
    let place = hosts_place();
    let nothing = Setting::empty_hash(&place);
    let fields = Fields {
        context: join("servers", name),
        setting: &nothing,
        found: context.found,
    };
    role_from(name, hosts, &Env::default(), &fields, context)
}

/// A place for a role that is only a list: nothing is ever reported there.
fn hosts_place() -> Place {
    Place {
        file: String::new(),
        span: crate::diagnostic::Span::START,
    }
}

fn read_role(name: &str, setting: &Setting, context: &RoleContext<'_>) -> Role {
    let path = join("servers", name);
    match &setting.value {
        Value::List(_) => plain_role(name, read_hosts(setting, &path, context), context),
        Value::Hash(_) => {
            let found = context.found;
            let fields = Fields {
                context: path.clone(),
                setting,
                found,
            };
            drop(Fields::open(setting, path.as_str(), &KEYS, found));
            let env = Env::read(setting.get("env"), &join(&path, "env"), found);
            let hosts = setting
                .get("hosts")
                .map(|hosts| read_hosts(hosts, &join(&path, "hosts"), context))
                .unwrap_or_default();
            role_from(name, hosts, &env, &fields, context)
        }
        Value::Null | Value::Scalar(_) => {
            let message = in_context(&path, "should be an array or a hash");
            context.found.error("wrong-type", &setting.place, message);
            plain_role(name, Vec::new(), context)
        }
    }
}

fn role_from(
    name: &str,
    mut hosts: Vec<RoleHost>,
    env: &Env,
    fields: &Fields<'_>,
    context: &RoleContext<'_>,
) -> Role {
    let is_primary = name == context.primary_role;
    let role_env = context.env.merged(env);
    for host in &mut hosts {
        host.env = host
            .tags
            .iter()
            .filter_map(|tag| context.tags.get(tag))
            .fold(role_env.clone(), |env, tag| env.merged(tag));
    }
    let asset_path = fields
        .string("asset_path")
        .and_then(|text| AssetPath::parse(&text))
        .or_else(|| context.asset_path.cloned());
    let proxy = read_proxy(is_primary, fields, context);
    let prefix = [Some(context.service), Some(name), context.destination];
    let prefix: Vec<&str> = prefix.into_iter().flatten().collect();
    Role {
        name: name.to_owned(),
        is_primary,
        cmd: fields.string("cmd"),
        labels: labels(name, fields, context),
        options: DockerOptions::read(fields, true),
        logging: Logging::read(fields, Some(context.logging)),
        stop_timeout: fields.seconds("stop_timeout").or(context.stop_timeout),
        drain_timeout: context.drain_timeout,
        // Assets are shared for requests that the proxy brings; Kamal mounts them nowhere else.
        asset_path: asset_path.filter(|_| proxy.is_some()),
        proxy,
        container_prefix: prefix.join("-"),
        hosts,
    }
}

fn labels(
    name: &str,
    fields: &Fields<'_>,
    context: &RoleContext<'_>,
) -> IndexMap<String, Option<String>> {
    let own = fields.texts("labels").unwrap_or_default();
    check_labels(fields);
    let mut labels = IndexMap::from([
        ("service".to_owned(), Some(context.service.to_owned())),
        ("role".to_owned(), Some(name.to_owned())),
        (
            "destination".to_owned(),
            context.destination.map(str::to_owned),
        ),
    ]);
    let pairs = fields.setting.get("labels").map(Setting::pairs);
    let of_traefik = pairs
        .unwrap_or_default()
        .iter()
        .find(|pair| pair.key.starts_with("traefik."));
    if let Some(pair) = of_traefik {
        let message = "labels of Traefik are not put on containers: `proxy` says what is routed";
        context
            .found
            .notice("traefik-label", &pair.key_place, message);
    }
    let custom = context.labels.iter().chain(&own);
    labels.extend(custom.map(|(key, value)| (key.clone(), Some(value.clone()))));
    labels
}

/// Reports labels that Kamal keeps for itself.
pub(super) fn check_labels(fields: &Fields<'_>) {
    let Some(labels) = fields.setting.get("labels") else {
        return;
    };
    for pair in labels.pairs() {
        if matches!(pair.key.as_str(), "destination" | "role" | "service") {
            let message = "invalid label. destination, role, and service are reserved labels";
            let path = join(&fields.path("labels"), &pair.key);
            let message = in_context(&path, message);
            fields
                .found
                .error("reserved-label", &pair.key_place, message);
        }
    }
}

/// Reads the role's proxy over the root's: the primary role has one unless it says `false`,
/// any other only if it says so.
fn read_proxy(is_primary: bool, fields: &Fields<'_>, context: &RoleContext<'_>) -> Option<Proxy> {
    let path = fields.path("proxy");
    let own = fields.setting.get("proxy");
    let special = match own.map(|own| &own.value) {
        None if is_primary => None,
        Some(Value::Scalar(Scalar::Boolean(true))) => None,
        None | Some(Value::Scalar(Scalar::Boolean(false))) => return None,
        Some(_) => own,
    };
    if let Some(own) = special {
        drop(Proxy::read(own, &path, context.found));
    }
    let root = context.proxy.filter(|root| root.is_hash());
    let merged = match (root, special.filter(|own| own.is_hash())) {
        (Some(root), Some(own)) => root.clone().overlaid_with(own.clone()),
        (Some(one), None) | (None, Some(one)) => one.clone(),
        (None, None) => return Some(Proxy::default()),
    };
    // Both parts were checked on their own, as Kamal does.
    let already_told = Findings::default();
    Some(Proxy::read(&merged, &path, &already_told))
}

/// Reads hosts: each a string, or a hash of one host with its tags.
fn read_hosts(setting: &Setting, path: &str, context: &RoleContext<'_>) -> Vec<RoleHost> {
    let fields = Fields {
        context: path.to_owned(),
        setting,
        found: context.found,
    };
    let Some(items) = setting.as_list() else {
        fields.wrong_type(setting, path, "an array");
        return Vec::new();
    };
    let mut hosts: Vec<RoleHost> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = join(path, &index.to_string());
        let Some((name, tags)) = read_host(item, &path, &fields) else {
            continue;
        };
        let host = RoleHost {
            name,
            tags,
            env: Env::default(),
        };
        match hosts.iter_mut().find(|known| known.name == host.name) {
            Some(known) => *known = host,
            None => hosts.push(host),
        }
    }
    hosts
}

fn read_host(item: &Setting, path: &str, fields: &Fields<'_>) -> Option<(String, Vec<String>)> {
    match &item.value {
        Value::Scalar(scalar) => Some((scalar.to_string(), Vec::new())),
        Value::Hash(pairs) => {
            let [pair] = pairs.as_slice() else {
                let message = in_context(path, "multiple hosts found");
                fields.found.error("invalid-value", &item.place, message);
                return None;
            };
            let path = join(path, &pair.key);
            let tags = match &pair.value.value {
                Value::Scalar(tag) => vec![tag.to_string()],
                Value::List(_) => fields.strings_of(&pair.value, &path)?,
                Value::Null | Value::Hash(_) => {
                    fields.wrong_type(&pair.value, &path, "a string or an array");
                    return None;
                }
            };
            Some((pair.key.clone(), tags))
        }
        Value::Null | Value::List(_) => {
            fields.wrong_type(item, path, "a string or a hash");
            None
        }
    }
}
