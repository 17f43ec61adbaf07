//! `accessories:`: databases and other services that are not deployed with each release.

use indexmap::IndexMap;

use super::diagnostics::{Findings, in_context, join};
use super::docker_options::DockerOptions;
use super::env::Env;
use super::fields::Fields;
use super::proxy::Proxy;
use super::registry::Registry;
use super::role::{Role, check_labels};
use super::setting::{Scalar, Setting, Value};

/// A service beside the application.
#[derive(Debug, Clone, PartialEq)]
pub struct Accessory {
    /// The name, as `db`.
    pub name: String,
    /// The name of its container and its label `service`: `<service>-<name>` by default.
    pub service: String,
    /// The image, with the accessory's own registry before it.
    pub image: String,
    /// Its own registry.
    pub registry: Option<Registry>,
    /// The hosts that it runs on.
    pub hosts: Vec<String>,
    /// What is published, as `127.0.0.1:5432:5432`.
    pub port: Option<String>,
    /// The command, the image's own without one.
    pub cmd: Option<String>,
    /// The labels of the container.
    pub labels: IndexMap<String, String>,
    /// Further options for `docker run`.
    pub options: DockerOptions,
    /// The environment; the root's is not part of it.
    pub env: Env,
    /// Files of the project that are put on the host and mounted.
    pub files: Vec<Mount>,
    /// Folders that are made on the host and mounted.
    pub directories: Vec<Mount>,
    /// Any other volumes, as Docker writes them.
    pub volumes: Vec<String>,
    /// The Docker network, `kamal` by default.
    pub network: String,
    /// How requests reach it; `None` if it is not behind the proxy.
    pub proxy: Option<Proxy>,
}

/// A file or folder that is mounted into an accessory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The file in the project, or the folder's name below the accessory's own.
    pub local: String,
    /// The path on the host: absolute, or below the SSH user's home.
    pub host_path: String,
    /// The path in the container.
    pub container_path: String,
    /// Options of the mount, as `ro`.
    pub options: Option<String>,
    /// The mode that is set on the host.
    pub mode: Option<String>,
    /// The owner that is set on the host.
    pub owner: Option<String>,
}

impl Mount {
    /// Returns the mount as Docker's `--volume` takes it; `$PWD` is the home on the server.
    pub fn volume(&self) -> String {
        let options = self.options.iter().map(|options| format!(":{options}"));
        let options: String = options.collect();
        format!(
            "{}:{}{options}",
            on_server(&self.host_path),
            self.container_path
        )
    }

    /// Tells whether the file is a template that is rendered before it is put on the host.
    pub fn is_template(&self) -> bool {
        self.local.ends_with("erb")
    }
}

/// Puts `$PWD` before a path that is not absolute.
pub(super) fn on_server(path: &str) -> String {
    if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("$PWD/{path}")
    }
}

impl Accessory {
    /// Tells whether it is behind the proxy.
    pub fn is_proxied(&self) -> bool {
        self.proxy.is_some()
    }

    /// Returns every volume as Docker's `--volume` takes it: volumes, files, directories.
    pub fn all_volumes(&self) -> Vec<String> {
        let mounts = self.files.iter().chain(&self.directories);
        self.volumes
            .iter()
            .cloned()
            .chain(mounts.map(Mount::volume))
            .collect()
    }
}

const KEYS: [&str; 19] = [
    "service",
    "image",
    "registry",
    "host",
    "hosts",
    "role",
    "roles",
    "tag",
    "tags",
    "cmd",
    "port",
    "labels",
    "options",
    "env",
    "files",
    "directories",
    "volumes",
    "network",
    "proxy",
];

const PLACEMENT: [&str; 6] = ["host", "hosts", "role", "roles", "tag", "tags"];

/// Reads `accessories`, in the order written.
pub(super) fn read_accessories(root: &Fields<'_>, service: &str, roles: &[Role]) -> Vec<Accessory> {
    let Some(setting) = root.setting.get("accessories") else {
        return Vec::new();
    };
    if !setting.is_hash() {
        root.wrong_type(setting, "accessories", "a hash");
    }
    setting
        .pairs()
        .iter()
        .filter_map(|pair| read_accessory(&pair.key, &pair.value, service, roles, root.found))
        .collect()
}

fn read_accessory(
    name: &str,
    setting: &Setting,
    service: &str,
    roles: &[Role],
    found: &Findings,
) -> Option<Accessory> {
    let context = join("accessories", name);
    let fields = Fields::open(setting, context.as_str(), &KEYS, found)?;
    let service = fields
        .string("service")
        .unwrap_or_else(|| format!("{service}-{name}"));
    let registry = setting
        .get("registry")
        .filter(|registry| !matches!(&registry.value, Value::Hash(pairs) if pairs.is_empty()))
        .map(|registry| Registry::read(registry, &fields.path("registry"), found));
    let image = fields.string("image").unwrap_or_default();
    if image.is_empty() && setting.get("image").is_none() {
        let message = in_context(&context, "image is required");
        found.error("missing-key", &setting.place, message);
    }
    let server = registry
        .as_ref()
        .and_then(|registry| registry.server.as_deref());
    check_labels(&fields);
    let mut labels = IndexMap::from([("service".to_owned(), service.clone())]);
    labels.extend(fields.texts("labels").unwrap_or_default());
    let path_of = |key| fields.path(key);
    Some(Accessory {
        name: name.to_owned(),
        image: server.map_or_else(|| image.clone(), |server| format!("{server}/{image}")),
        hosts: read_placement(&fields, roles),
        port: read_port(&fields),
        cmd: fields.string("cmd"),
        labels,
        options: DockerOptions::read(&fields, true),
        env: Env::read(setting.get("env"), &path_of("env"), found),
        files: read_mounts(&fields, "files", &service),
        directories: read_mounts(&fields, "directories", &service),
        volumes: fields.strings("volumes").unwrap_or_default(),
        network: fields
            .string("network")
            .unwrap_or_else(|| "kamal".to_owned()),
        proxy: read_proxy(&fields),
        service,
        registry,
    })
}

fn read_port(fields: &Fields<'_>) -> Option<String> {
    let port = fields.string("port").filter(|port| !port.is_empty())?;
    if port.contains(':') {
        Some(port)
    } else {
        Some(format!("{port}:{port}"))
    }
}

fn read_proxy(fields: &Fields<'_>) -> Option<Proxy> {
    let setting = fields.setting.get("proxy")?;
    match &setting.value {
        Value::Hash(pairs) if pairs.is_empty() => None,
        Value::Scalar(Scalar::Boolean(false)) => None,
        _ => Some(Proxy::read(setting, &fields.path("proxy"), fields.found)),
    }
}

/// Finds the hosts: exactly one of the six keys says where.
fn read_placement(fields: &Fields<'_>, roles: &[Role]) -> Vec<String> {
    let given: Vec<_> = fields
        .setting
        .pairs()
        .iter()
        .filter(|pair| PLACEMENT.contains(&pair.key.as_str()))
        .collect();
    let [only] = given.as_slice() else {
        let message = "specify one of `host`, `hosts`, `role`, `roles`, `tag` or `tags`";
        let message = in_context(&fields.context, message);
        let place = given
            .get(1)
            .map_or(&fields.setting.place, |pair| &pair.key_place);
        fields.found.error("conflict", place, message);
        return Vec::new();
    };
    let named: Vec<String> = match only.key.as_str() {
        "host" | "role" | "tag" => fields.string(&only.key).into_iter().collect(),
        _ => fields.strings(&only.key).unwrap_or_default(),
    };
    match only.key.as_str() {
        "host" | "hosts" => named,
        "role" | "roles" => {
            check_roles(fields, &only.value, &named, roles);
            let of_roles = named
                .iter()
                .filter_map(|name| roles.iter().find(|role| role.name == *name));
            unique(of_roles.flat_map(Role::host_names))
        }
        _ => {
            let tagged = roles
                .iter()
                .flat_map(|role| &role.hosts)
                .filter(|host| host.tags.iter().any(|tag| named.contains(tag)));
            unique(tagged.map(|host| host.name.as_str()))
        }
    }
}

fn check_roles(fields: &Fields<'_>, setting: &Setting, named: &[String], roles: &[Role]) {
    let unknown: Vec<&str> = named
        .iter()
        .filter(|name| !roles.iter().any(|role| role.name == **name))
        .map(String::as_str)
        .collect();
    if unknown.is_empty() {
        return;
    }
    let word = if setting.as_list().is_some() {
        "roles"
    } else {
        "role"
    };
    let message = format!("unknown {word} {}", unknown.join(", "));
    let known: Vec<&str> = roles.iter().map(|role| role.name.as_str()).collect();
    fields.found.error_with_hint(
        "unknown-role",
        &setting.place,
        in_context(&fields.context, &message),
        format!("the roles are: {}", known.join(", ")),
    );
}

/// Returns each name once, in the order of first appearance.
pub(super) fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for name in names {
        if !seen.iter().any(|known| known == name) {
            seen.push(name.to_owned());
        }
    }
    seen
}

/// Reads `files` or `directories`: `LOCAL:REMOTE[:OPTIONS]`, or a hash.
fn read_mounts(fields: &Fields<'_>, key: &str, service: &str) -> Vec<Mount> {
    let Some(setting) = fields.setting.get(key) else {
        return Vec::new();
    };
    let path = fields.path(key);
    let Some(items) = setting.as_list() else {
        fields.wrong_type(setting, &path, "an array");
        return Vec::new();
    };
    let mut mounts = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = join(&path, &index.to_string());
        let mount = match &item.value {
            Value::Scalar(scalar) => {
                let text = scalar.to_string();
                let mut parts = text.splitn(3, ':');
                let local = parts.next().unwrap_or_default().to_owned();
                let remote = parts.next().map(str::to_owned);
                let options = parts.next().map(str::to_owned);
                (Some(local), remote, options, None, None)
            }
            Value::Hash(_) => {
                let inner = Fields {
                    context: path.clone(),
                    setting: item,
                    found: fields.found,
                };
                (
                    inner.string("local"),
                    inner.string("remote"),
                    inner.string("options"),
                    inner.string("mode"),
                    inner.string("owner"),
                )
            }
            Value::Null | Value::List(_) => {
                fields.wrong_type(item, &path, "a string or a hash");
                continue;
            }
        };
        let (Some(local), Some(remote), options, mode, owner) = mount else {
            let message = in_context(&path, "needs a local and a remote path");
            fields.found.error("missing-key", &item.place, message);
            continue;
        };
        let is_file = key == "files";
        let host_path = match (is_file, local.starts_with('/')) {
            (true, _) => format!("{service}{remote}"),
            (false, true) => local.clone(),
            (false, false) => format!("{service}/{local}"),
        };
        mounts.push(Mount {
            host_path,
            container_path: remote,
            options,
            mode: mode.or_else(|| is_file.then(|| "755".to_owned())),
            owner,
            local,
        });
    }
    mounts
}
