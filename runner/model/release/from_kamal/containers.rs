//! The application's containers: of every role on every server, and accessories on its image.

use indexmap::IndexMap;

use super::{
    Subject, accessories, error::Problems, error::Reason, millis, options::Sorted,
    options::plain_value, options::volume,
};
use crate::kamal::{Accessory, Config, Env, Role, RoleHost};
use crate::release::{
    ACCESSORY_LABEL, APPLICATION_LABEL, ContainerName, ContainerSpec, Duty, HostName, RoleName,
    SecretName, command_words,
};

/// The network that all containers of Kamal share.
pub(super) const NETWORK: &str = "kamal";
/// Tells the application that migrating is not its own affair.
const SKIP_DB_PREPARE: &str = "SKIP_DB_PREPARE";
/// Kamal cuts the server's name after so many characters.
const HOSTNAME_LENGTH: usize = 51;

/// Returns all containers, web before workers, the primary role first.
pub(super) fn containers(subject: &Subject<'_>, problems: &mut Problems) -> Vec<ContainerSpec> {
    let config = subject.config;
    let mut roles: Vec<&Role> = config.roles.iter().collect();
    roles.sort_by_key(|role| (!role.is_proxied(), !role.is_primary));
    let mut containers = Vec::new();
    for role in roles {
        for host in &role.hosts {
            containers.push(of_role(subject, role, host, problems));
        }
    }
    for accessory in &config.accessories {
        if accessories::is_worker(config, accessory) {
            for host in &accessory.hosts {
                containers.push(of_accessory(subject, accessory, host, problems));
            }
        }
    }
    containers
}

/// Returns the container of a role on one of its servers.
pub(super) fn of_role(
    subject: &Subject<'_>,
    role: &Role,
    host: &RoleHost,
    problems: &mut Problems,
) -> ContainerSpec {
    let (config, version) = (subject.config, subject.facts.version.as_str());
    let at = format!("servers/{}", role.name);
    let options = Sorted::new(&role.options, &format!("{at}/options"), problems);
    if role.asset_path.is_some() {
        let reason = "assets are not shared between releases yet";
        problems.add(format!("{at}/asset_path"), Reason::Unsupported(reason));
    }
    let mut env = config.kamal_env(role, &host.name, version);
    env.extend(clear_env(&host.env, &format!("{at}/env"), problems));
    env.extend(options.env.clone());
    skip_preparation(config, &mut env);
    let mut networks = vec![NETWORK.to_owned()];
    networks.extend(options.networks.iter().cloned());
    if role.is_proxied() {
        networks.extend(config.runner.proxy.networks.iter().cloned());
    }
    let mut labels = role.container_labels();
    labels.extend(options.labels.clone());
    let paths = paths_of(config);
    let name = RoleName::from(role.name.as_str());
    let drain = config.drain_timeout;
    // Behind Kamal's proxy requests end before the signal; here the application ends them itself.
    let stop = match role.stop_timeout {
        Some(own) if role.is_proxied() => own.max(drain),
        own => own.unwrap_or(drain),
    };
    ContainerSpec {
        host: HostName::from(host.name.as_str()),
        duty: if role.is_proxied() {
            Duty::Web
        } else {
            Duty::Worker
        },
        name: ContainerName::new(role.container_name(version)),
        boot_name: None,
        image: subject.image.clone(),
        hostname: options
            .hostname
            .clone()
            .or_else(|| Some(hostname(&host.name, &role.name, &subject.facts.seed))),
        labels,
        env,
        secrets: secret_env(&host.env),
        env_file: Some(paths.role_env(&name)),
        volumes: volumes(&config.volumes, &options, problems),
        publish: if role.is_proxied() {
            Vec::new()
        } else {
            options.publish.clone()
        },
        command: words(role.cmd.as_deref(), &format!("{at}/cmd"), problems),
        networks: each_once(networks),
        stop_timeout: options.stop_timeout.unwrap_or_else(|| millis(stop)),
        health_check: options.health_check.clone(),
        restart: role.options.restart_policy().to_owned(),
        logging: options.logging(&role.logging),
        options: options.others,
        role: name,
    }
}

/// Returns the container of an accessory on the application's image.
fn of_accessory(
    subject: &Subject<'_>,
    accessory: &Accessory,
    host: &str,
    problems: &mut Problems,
) -> ContainerSpec {
    let config = subject.config;
    if !accessory.files.is_empty() {
        let reason =
            "an accessory on the application's image comes with the deploy, its files do not";
        let at = format!("accessories/{}/files", accessory.name);
        problems.add(at, Reason::Unsupported(reason));
    }
    let mut container = of_any_accessory(config, accessory, host, problems);
    container.duty = Duty::WorkerAccessory;
    container.image = subject.image.clone();
    let version = subject.facts.version.as_str().to_owned();
    // Kamal does not tell it, but by it a probe knows which release runs.
    container
        .env
        .entry("KAMAL_VERSION".to_owned())
        .or_insert(version);
    skip_preparation(config, &mut container.env);
    container.labels.insert(
        APPLICATION_LABEL.to_owned(),
        config.service_and_destination(),
    );
    container
        .labels
        .insert(ACCESSORY_LABEL.to_owned(), accessory.name.clone());
    container
}

/// Returns the container of an accessory as Kamal runs it; of `image` only the name is set.
pub(super) fn of_any_accessory(
    config: &Config,
    accessory: &Accessory,
    host: &str,
    problems: &mut Problems,
) -> ContainerSpec {
    let at = format!("accessories/{}", accessory.name);
    let options = Sorted::new(&accessory.options, &format!("{at}/options"), problems);
    if accessory.is_proxied() {
        let reason = "only roles are behind the proxy yet";
        problems.add(format!("{at}/proxy"), Reason::Unsupported(reason));
    }
    let mut env = IndexMap::from([("KAMAL_HOST".to_owned(), host.to_owned())]);
    env.extend(clear_env(&accessory.env, &format!("{at}/env"), problems));
    env.extend(options.env.clone());
    let mut labels = accessory.labels.clone();
    labels.extend(options.labels.clone());
    let mut networks = vec![accessory.network.clone()];
    networks.extend(options.networks.iter().cloned());
    let mut publish: Vec<String> = accessory.port.iter().cloned().collect();
    publish.extend(options.publish.iter().cloned());
    let image = match crate::release::ImageRef::parse(&accessory.image) {
        Ok(image) => image,
        Err(error) => {
            problems.add(format!("{at}/image"), error);
            crate::release::ImageRef {
                repository: accessory.image.clone(),
                tag: None,
                digest: None,
            }
        }
    };
    ContainerSpec {
        host: HostName::from(host),
        role: RoleName::from(accessory.name.as_str()),
        duty: Duty::Accessory,
        name: ContainerName::new(accessory.service.clone()),
        boot_name: None,
        image,
        hostname: options.hostname.clone(),
        labels,
        env,
        secrets: secret_env(&accessory.env),
        env_file: Some(paths_of(config).accessory_env(&accessory.name)),
        volumes: volumes(&accessory.all_volumes(), &options, problems),
        publish,
        command: words(accessory.cmd.as_deref(), &format!("{at}/cmd"), problems),
        networks: each_once(networks),
        stop_timeout: options
            .stop_timeout
            .unwrap_or_else(|| millis(config.drain_timeout)),
        health_check: options.health_check.clone(),
        restart: accessory.options.restart_policy().to_owned(),
        logging: options.logging(&config.logging),
        options: options.others,
    }
}

/// Where the deploy has a step for it, no container prepares the database on its own.
pub(super) fn skip_preparation(config: &Config, env: &mut IndexMap<String, String>) {
    if config.runner.migrate.is_some() {
        env.entry(SKIP_DB_PREPARE.to_owned())
            .or_insert_with(|| "1".to_owned());
    }
}

pub(super) fn paths_of(config: &Config) -> crate::release::paths::Paths {
    let service = config.service.as_str().into();
    crate::release::paths::Paths::new(&service, config.destination.as_deref())
}

/// Clear values as they arrive in a container; Kamal leaves out those that are blank.
fn clear_env(env: &Env, at: &str, problems: &mut Problems) -> IndexMap<String, String> {
    let mut arrived = IndexMap::new();
    for (name, value) in env.clear.iter().filter(|(_, value)| !value.is_blank()) {
        let value = plain_value(&value.to_string());
        let value = problems.take(&format!("{at}/{name}"), value);
        arrived.insert(name.clone(), value);
    }
    arrived
}

fn secret_env(env: &Env) -> IndexMap<String, SecretName> {
    let pair = |secret: &crate::kamal::SecretVariable| {
        let name = SecretName::new(secret.secret.clone());
        (secret.variable.clone(), name)
    };
    env.secrets.iter().map(pair).collect()
}

fn volumes(configured: &[String], options: &Sorted, problems: &mut Problems) -> Vec<String> {
    let mut volumes = Vec::new();
    for text in configured {
        match volume(text) {
            Ok(volume) => volumes.push(volume),
            Err(reason) => problems.add("volumes", reason),
        }
    }
    volumes.extend(options.volumes.iter().cloned());
    volumes
}

fn words(command: Option<&str>, at: &str, problems: &mut Problems) -> Vec<String> {
    let Some(command) = command else {
        return Vec::new();
    };
    problems.take(at, command_words(command))
}

pub(super) fn each_once(names: Vec<String>) -> Vec<String> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

/// Kamal's host name in a container: the server's, a hyphen and twelve digits.
fn hostname(host: &str, role: &str, seed: &str) -> String {
    let base: String = host.chars().take(HOSTNAME_LENGTH).collect();
    let base = base.strip_suffix('.').unwrap_or(&base);
    // FNV-1a: the digits are there to differ, nothing hangs on them.
    let hash = [seed, "/", host, "/", role]
        .iter()
        .flat_map(|part| part.bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("{base}-{:012x}", (hash ^ (hash >> 48)) & 0xffff_ffff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_kamals_and_differ_with_role_and_deploy() {
        let name = hostname("rs-development.net", "web", "t1");
        let digits = name.strip_prefix("rs-development.net-").unwrap();
        assert_eq!(digits.len(), 12);
        assert!(digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        assert_eq!(name, hostname("rs-development.net", "web", "t1"));
        assert_ne!(name, hostname("rs-development.net", "web", "t2"));
        assert_ne!(name, hostname("rs-development.net", "worker", "t1"));
        assert_eq!(hostname(&"a".repeat(80), "web", "t").len(), 64);
        let dotted = format!("{}.example.com", "a".repeat(50));
        assert!(hostname(&dotted, "web", "t").starts_with(&format!("{}-", "a".repeat(50))));
    }
}
