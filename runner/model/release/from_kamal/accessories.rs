//! Accessories: what a deploy expects of them, and what `setup` makes of them.

use indexmap::IndexMap;

use super::{SpecError, containers, error::Problems};
use crate::kamal::{Accessory, Config, Credential, Mount};
use crate::release::{
    AccessoryRef, ContainerName, ContainerSpec, DatabaseRef, HostName, ImageRef, published_ports,
};

/// An accessory on one of its servers, as `setup` and `accessory boot` make it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessorySpec {
    /// Its name in the configuration.
    pub name: String,
    /// Its container; the image is named by its tag.
    pub container: ContainerSpec,
    /// Files of the project that lie on the server before it starts.
    pub files: Vec<Upload>,
    /// Folders that are there before it starts.
    pub directories: Vec<Directory>,
    /// When it is ready.
    pub readiness: Readiness,
    /// The user of its own registry.
    pub username: Option<Credential>,
    /// The password of its own registry.
    pub password: Option<Credential>,
}

/// A file of the project that is put on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Where it is, in the project.
    pub local: String,
    /// Where it goes: absolute, or below the SSH user's home.
    pub remote: String,
    /// Its mode, as `chmod` takes it.
    pub mode: String,
    /// Its owner, as `chown` takes it.
    pub owner: Option<String>,
    /// Whether it is a template, rendered with the accessory's environment.
    pub is_template: bool,
}

/// A folder on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// Where it is: absolute, or below the SSH user's home.
    pub path: String,
    /// Its mode, as `chmod` takes it.
    pub mode: Option<String>,
    /// Its owner, as `chown` takes it.
    pub owner: Option<String>,
}

/// When an accessory is ready; one with a health check is ready when that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// When this command ends with 0 in its container.
    Command(Vec<String>),
    /// When a connection to this port of the container is taken.
    Port(u16),
    /// When it runs.
    Running,
}

/// Returns the accessories on all their servers, without those that come with the deploy.
pub fn accessories(config: &Config) -> Result<Vec<AccessorySpec>, Vec<SpecError>> {
    let mut problems = Problems::default();
    let mut specs = Vec::new();
    for accessory in ordinary(config) {
        for host in &accessory.hosts {
            specs.push(accessory_spec(config, accessory, host, &mut problems));
        }
    }
    problems.finish(specs)
}

fn accessory_spec(
    config: &Config,
    accessory: &Accessory,
    host: &str,
    problems: &mut Problems,
) -> AccessorySpec {
    let registry = accessory.registry.as_ref();
    let directory = |mount: &Mount| Directory {
        path: mount.host_path.clone(),
        mode: mount.mode.clone(),
        owner: mount.owner.clone(),
    };
    let upload = |mount: &Mount| Upload {
        local: mount.local.clone(),
        remote: mount.host_path.clone(),
        mode: mount.mode.clone().unwrap_or_else(|| "755".to_owned()),
        owner: mount.owner.clone(),
        is_template: mount.is_template(),
    };
    AccessorySpec {
        name: accessory.name.clone(),
        container: containers::of_any_accessory(config, accessory, host, problems),
        files: accessory.files.iter().map(upload).collect(),
        directories: accessory.directories.iter().map(directory).collect(),
        readiness: readiness(accessory, problems),
        username: registry.and_then(|registry| registry.username.clone()),
        password: registry.and_then(|registry| registry.password.clone()),
    }
}

/// Tells whether an accessory is really a worker: it is on the application's own image, and no
/// tag but the one that moves is named.
pub(super) fn is_worker(config: &Config, accessory: &Accessory) -> bool {
    let Ok(image) = ImageRef::parse(&accessory.image) else {
        return false;
    };
    let latest = match &config.destination {
        Some(destination) => format!("latest-{destination}"),
        None => "latest".to_owned(),
    };
    let moves = image
        .tag
        .as_deref()
        .is_none_or(|tag| tag == "latest" || tag == latest);
    let own = config.repository();
    moves && image.digest.is_none() && on_hub(&image.repository) == on_hub(&own)
}

/// Docker Hub's repositories have several names.
fn on_hub(repository: &str) -> &str {
    let name = ["docker.io/", "index.docker.io/", "registry-1.docker.io/"]
        .iter()
        .find_map(|server| repository.strip_prefix(server))
        .unwrap_or(repository);
    name.strip_prefix("library/").unwrap_or(name)
}

/// The accessories that a deploy does not touch.
fn ordinary(config: &Config) -> impl Iterator<Item = &Accessory> {
    let accessories = config.accessories.iter();
    accessories.filter(move |accessory| !is_worker(config, accessory))
}

/// Returns what a deploy expects to run.
pub(super) fn references(config: &Config, problems: &mut Problems) -> Vec<AccessoryRef> {
    let mut references = Vec::new();
    for accessory in ordinary(config) {
        let port = inside_port(accessory, problems);
        references.extend(accessory.hosts.iter().map(|host| AccessoryRef {
            name: accessory.name.clone(),
            host: HostName::from(host.as_str()),
            container: ContainerName::new(accessory.service.clone()),
            port,
        }));
    }
    references
}

fn inside_port(accessory: &Accessory, problems: &mut Problems) -> Option<u16> {
    let at = format!("accessories/{}/port", accessory.name);
    let published = accessory.port.as_deref()?;
    let ports = problems.take(&at, published_ports(published));
    ports
        .iter()
        .find(|port| port.protocol == "tcp")
        .map(|port| port.inside)
}

fn readiness(accessory: &Accessory, problems: &mut Problems) -> Readiness {
    if let Some(database) = postgres(accessory, "") {
        // Over TCP: while the image fills a new database, it answers on its socket alone.
        let words = [
            "pg_isready",
            "-q",
            "-h",
            "127.0.0.1",
            "-U",
            &database.user,
            "-d",
            &database.database,
        ];
        return Readiness::Command(words.map(str::to_owned).to_vec());
    }
    let port = inside_port(accessory, problems);
    port.map_or(Readiness::Running, Readiness::Port)
}

/// Finds the application's PostgreSQL: the only one, or the one that its environment names.
pub(super) fn database(config: &Config, env: &IndexMap<String, String>) -> Option<DatabaseRef> {
    let databases: Vec<(&Accessory, DatabaseRef)> = ordinary(config)
        .filter_map(|accessory| {
            let host = accessory.hosts.first()?;
            Some((accessory, postgres(accessory, host)?))
        })
        .collect();
    let is_named = |accessory: &Accessory| {
        let name = accessory.service.as_str();
        env.values().any(|value| value.contains(name))
    };
    match databases.as_slice() {
        [(_, only)] => Some(only.clone()),
        several => {
            let mut named = several.iter().filter(|(one, _)| is_named(one));
            let first = named.next()?;
            named.next().is_none().then(|| first.1.clone())
        }
    }
}

/// Finds the PostgreSQL of one accessory.
pub(super) fn database_of(config: &Config, name: &str) -> Option<DatabaseRef> {
    let mut accessories = config.accessories.iter();
    let accessory = accessories.find(|accessory| accessory.name == name)?;
    postgres(accessory, accessory.hosts.first()?)
}

/// Reads how to connect inside a PostgreSQL accessory; `None` for any other.
fn postgres(accessory: &Accessory, host: &str) -> Option<DatabaseRef> {
    let image = ImageRef::parse(&accessory.image).ok()?;
    let name = image.repository.rsplit('/').next().unwrap_or_default();
    let is_postgres = [
        "postgres",
        "postgresql",
        "postgis",
        "pgvector",
        "timescaledb",
    ]
    .contains(&name);
    if !is_postgres {
        return None;
    }
    let is_secret = |name: &str| {
        let mut secrets = accessory.env.secrets.iter();
        secrets.any(|secret| secret.variable == name)
    };
    let clear = |name: &str| accessory.env.clear.get(name).map(ToString::to_string);
    // A name that is a secret is not known here.
    if is_secret("POSTGRES_USER") || is_secret("POSTGRES_DB") {
        return None;
    }
    let user = clear("POSTGRES_USER").unwrap_or_else(|| "postgres".to_owned());
    Some(DatabaseRef {
        host: HostName::from(host),
        container: ContainerName::new(accessory.service.clone()),
        database: clear("POSTGRES_DB").unwrap_or_else(|| user.clone()),
        user,
    })
}
