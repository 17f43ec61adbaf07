//! The configuration as `runner config --format json` prints it.

use serde_json::{Map, Value, json};

use super::accessory::{Accessory, Mount, on_server};
use super::config::Config;
use super::env::Env;
use super::role::Role;
use super::secrets::SecretValues;
use super::ssh::SshProxy;
use super::{escape, registry::Credential};

/// What stands for a secret's value.
const REDACTED: &str = "[REDACTED]";

/// What the printing of a configuration needs besides it.
#[derive(Debug, Clone, Copy)]
pub struct JsonContext<'a> {
    /// The version of the release.
    pub version: &'a str,
    /// The project's folder, absolute, for paths of local files.
    pub folder: &'a str,
    /// The secrets.
    pub secrets: &'a SecretValues,
    /// Whether secret values are shown.
    pub reveals_secrets: bool,
}

impl JsonContext<'_> {
    /// Returns a credential's value, hidden unless it may be shown; null for a missing secret.
    fn credential(&self, credential: Option<&Credential>) -> Value {
        self.hidden(
            credential
                .and_then(|credential| credential.resolve(self.secrets).ok())
                .map(str::to_owned),
        )
    }

    fn hidden(&self, value: Option<String>) -> Value {
        match value {
            Some(_) if !self.reveals_secrets => REDACTED.into(),
            value => value.into(),
        }
    }

    fn env_file(&self, env: &Env) -> Value {
        let Ok(values) = env.secret_values(self.secrets) else {
            return Value::Null;
        };
        let shown = values.iter().map(|(name, value)| {
            let value = if self.reveals_secrets {
                value
            } else {
                REDACTED
            };
            (*name, value)
        });
        escape::env_file(shown).into()
    }
}

/// Returns the whole configuration, with the values of secrets only if `context` reveals them.
///
/// A secret that is missing makes what needs it null.
pub fn to_json(config: &Config, context: &JsonContext<'_>) -> Value {
    let version = context.version;
    let primary_role = config.primary_role().map_or("", |role| role.name.as_str());
    json!({
        "service": config.service,
        "destination": config.destination,
        "version": version,
        "absoluteImage": config.absolute_image(version),
        "latestImage": config.latest_image(),
        "serviceWithVersion": config.service_with_version(version),
        "primaryHost": config.primary_host(),
        "primaryRole": primary_role,
        "allHosts": config.all_hosts(),
        "proxyHosts": config.proxy_hosts(),
        "retainContainers": config.retain_containers,
        "readinessDelay": config.readiness_delay.as_secs(),
        "deployTimeout": config.deploy_timeout.as_secs(),
        "drainTimeout": config.drain_timeout.as_secs(),
        "runDirectory": Config::RUN_DIRECTORY,
        "hooksPath": config.hooks_path,
        "secretsPath": config.secrets_path,
        "registry": {
            "server": config.registry.server,
            "username": username(config, context),
            "password": context.credential(config.registry.password.as_ref()),
        },
        "ssh": ssh(config),
        "boot": {
            "limit": config.boot_limit(),
            "wait": config.boot.wait.map(|wait| wait.as_secs()),
            "parallelRoles": config.boot.parallel_roles,
        },
        "aliases": config.aliases,
        "roles": list(&config.roles, |one| role(one, context)),
        "accessories": list(&config.accessories, |one| accessory(one, context)),
    })
}

fn list<T>(items: &[T], to_value: impl Fn(&T) -> Value) -> Value {
    items.iter().map(to_value).collect()
}

/// A user name in the configuration is no secret; one from the secrets files is.
fn username(config: &Config, context: &JsonContext<'_>) -> Value {
    match &config.registry.username {
        Some(Credential::Literal(name)) => name.as_str().into(),
        other => context.credential(other.as_ref()),
    }
}

fn ssh(config: &Config) -> Value {
    let proxy = config.ssh.proxy.as_ref().map(|proxy| match proxy {
        SshProxy::Jump(text) | SshProxy::Command(text) => text,
    });
    json!({
        "user": config.ssh.user,
        "port": config.ssh.port,
        "proxy": proxy,
        "keysOnly": config.ssh.keys_only,
        "keys": config.ssh.keys,
    })
}

fn role(role: &Role, context: &JsonContext<'_>) -> Value {
    let hosts: Vec<&str> = role.host_names().collect();
    let stop = role
        .stop_wait()
        .map(|wait| format!("-t {}", wait.as_secs()));
    let per_host: Map<String, Value> = role
        .hosts
        .iter()
        .map(|host| (host.name.clone(), environment(&host.env, context)))
        .collect();
    json!({
        "name": role.name,
        "hosts": hosts,
        "primary": role.is_primary,
        "cmd": role.cmd,
        "runningProxy": role.is_proxied(),
        "labels": role.labels,
        "optionArgs": role.options.to_args().join(" "),
        "restart": role.options.restart_policy(),
        "containerPrefix": role.container_prefix,
        "containerName": role.container_name(context.version),
        "stop": stop.unwrap_or_default(),
        "perHost": per_host,
    })
}

fn environment(env: &Env, context: &JsonContext<'_>) -> Value {
    let clear: Map<String, Value> = env
        .clear
        .iter()
        .map(|(name, value)| (name.clone(), value.to_json()))
        .collect();
    let keys: Vec<String> = env.secrets.iter().map(|secret| secret.to_key()).collect();
    json!({
        "clearEnv": clear,
        "secretKeys": keys,
        "envFile": context.env_file(env),
    })
}

fn accessory(accessory: &Accessory, context: &JsonContext<'_>) -> Value {
    let volumes: Vec<String> = accessory
        .all_volumes()
        .iter()
        .map(|volume| format!("--volume {volume}"))
        .collect();
    json!({
        "name": accessory.name,
        "service": accessory.service,
        "image": accessory.image,
        "hosts": accessory.hosts,
        "port": accessory.port,
        "cmd": accessory.cmd,
        "labels": accessory.labels,
        "files": mounts(&accessory.files, |file| in_folder(context.folder, &file.local)),
        "directories": mounts(&accessory.directories, |one| on_server(&one.host_path)),
        "volumeArgs": volumes.join(" "),
        "envFile": context.env_file(&accessory.env),
        "runningProxy": accessory.is_proxied(),
    })
}

fn mounts(mounts: &[Mount], key: impl Fn(&Mount) -> String) -> Map<String, Value> {
    let value = |mount: &Mount| {
        json!({
            "host_path": mount.host_path,
            "container_path": mount.container_path,
            "options": mount.options,
            "mode": mount.mode,
            "owner": mount.owner,
        })
    };
    mounts
        .iter()
        .map(|mount| (key(mount), value(mount)))
        .collect()
}

/// Makes a path of the project absolute, without `.` and `..`.
fn in_folder(folder: &str, path: &str) -> String {
    let whole = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{folder}/{path}")
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}
