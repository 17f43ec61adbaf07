//! Checks of the root and of what must fit together across the configuration.

use super::config::{Config, KEYS};
use super::fields::Fields;
use super::role::Role;
use super::setting::{Place, Scalar, Setting};

/// The version of Kamal whose configuration is read, for `minimum_version`.
pub(super) const KAMAL_VERSION: &str = "2.12.0";

/// Reports root keys that are not known; keys that begin with `x-` belong to others.
pub(super) fn root_keys(fields: &Fields<'_>) {
    let unknown: Vec<_> = fields
        .setting
        .pairs()
        .iter()
        .filter(|pair| !KEYS.contains(&pair.key.as_str()) && !pair.key.starts_with("x-"))
        .map(|pair| (pair.key.as_str(), &pair.key_place))
        .collect();
    fields.found.unknown_keys("", &unknown, &KEYS);
}

/// Reports a required root key that is not there.
pub(super) fn missing(fields: &Fields<'_>, key: &str) {
    let message = format!("Missing required configuration for {key}");
    fields.error("missing-key", key, &message);
}

/// Checks what must be there before anything else makes sense.
pub(super) fn required_keys(fields: &Fields<'_>, destination: Option<&str>) {
    let has = |key: &str| {
        fields
            .setting
            .get(key)
            .is_some_and(|value| !value.is_blank())
    };
    if fields.boolean("require_destination") == Some(true) && destination.is_none() {
        let message = "You must specify a destination";
        fields.error("missing-destination", "require_destination", message);
    }
    if !has("service") {
        missing(fields, "service");
    } else if let Some(service) = fields.string("service") {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !service.bytes().all(is_word) {
            let message =
                "Service name can only include alphanumeric characters, hyphens, and underscores";
            fields.error("invalid-value", "service", message);
        }
    }
    if fields.setting.get("registry").is_none() {
        missing(fields, "registry");
    }
    if fields.setting.get("servers").is_none() && !has("accessories") {
        fields.error(
            "missing-key",
            "servers",
            "No servers or accessories specified",
        );
    }
    check_version(fields);
}

fn check_version(fields: &Fields<'_>) {
    let Some(minimum) = fields.string("minimum_version") else {
        return;
    };
    if version_parts(&minimum) > version_parts(KAMAL_VERSION) {
        let message = format!("Current version is {KAMAL_VERSION}, minimum required is {minimum}");
        fields.error("minimum-version", "minimum_version", &message);
    }
}

/// Splits a version into its numbers, without zeros at the end: `2.1` equals `2.1.0`.
fn version_parts(version: &str) -> Vec<u64> {
    let mut parts: Vec<u64> = version
        .trim()
        .trim_start_matches('v')
        .split(['.', '-'])
        .map(|part| part.parse().unwrap_or(0))
        .collect();
    while parts.last() == Some(&0) {
        parts.pop();
    }
    parts
}

/// Reads how many containers are kept: at least one.
pub(super) fn retain_containers(fields: &Fields<'_>) -> u64 {
    let Some(count) = fields.integer("retain_containers") else {
        return 5;
    };
    match u64::try_from(count) {
        Ok(count) if count > 0 => count,
        _ => {
            let message = "Must retain at least 1 container";
            fields.error("invalid-value", "retain_containers", message);
            1
        }
    }
}

/// Checks what no single part can see.
pub(super) fn whole(config: &Config, fields: &Fields<'_>) {
    check_roles(config, fields);
    check_ssl(config, fields);
    check_proxy_runs(config, fields);
    check_remote_builder(config, fields);
}

/// Returns the place of a role in `servers`.
fn role_place<'a>(fields: &'a Fields<'_>, role: &str) -> &'a Place {
    let servers = fields.setting.get("servers");
    servers
        .and_then(|servers| servers.pair(role))
        .map(|pair| &pair.key_place)
        .or_else(|| servers.map(|servers| &servers.place))
        .unwrap_or(&fields.setting.place)
}

fn check_roles(config: &Config, fields: &Fields<'_>) {
    if fields.setting.get("servers").is_none() {
        return;
    }
    let name = &config.primary_role_name;
    let Some(primary) = config.primary_role() else {
        let key = if fields.setting.get("primary_role").is_some() {
            "primary_role"
        } else {
            "servers"
        };
        let message = format!("The primary_role {name} isn't defined");
        let place = fields
            .setting
            .get(key)
            .map_or(&fields.setting.place, |at| &at.place);
        let names: Vec<&str> = config.roles.iter().map(|role| role.name.as_str()).collect();
        let hint = format!("set `primary_role` to one of: {}", names.join(", "));
        fields
            .found
            .error_with_hint("unknown-role", place, message, hint);
        return;
    };
    let empty = |role: &&Role| role.hosts.is_empty();
    if empty(&primary) {
        let message = format!("No servers specified for the {name} primary_role");
        let place = role_place(fields, name);
        fields.found.error("empty-role", place, message);
    }
    let others = config.roles.iter().filter(|role| !role.is_primary);
    for role in others.filter(empty) {
        if !config.allow_empty_roles {
            let message = format!(
                "No servers specified for the {} role. You can ignore this with \
                 allow_empty_roles: true",
                role.name
            );
            let place = role_place(fields, &role.name);
            fields.found.error("empty-role", place, message);
        }
    }
}

fn check_ssl(config: &Config, fields: &Fields<'_>) {
    let with_ssl = || {
        config
            .roles
            .iter()
            .filter_map(|role| Some((role, role.proxy.as_ref()?)))
            .filter(|(_, proxy)| proxy.ssl.is_on())
    };
    for (role, proxy) in with_ssl() {
        if role.hosts.len() > 1 && !proxy.ssl.is_custom() {
            let message = format!(
                "SSL is only supported on a single server unless you provide custom \
                 certificates, found {} servers for role {}",
                role.hosts.len(),
                role.name
            );
            let place = role_place(fields, &role.name);
            fields.found.error("conflict", place, message);
        }
    }
    let mut seen: Vec<&str> = Vec::new();
    let mut shared: Vec<&str> = Vec::new();
    for host in with_ssl().flat_map(|(_, proxy)| &proxy.hosts) {
        if seen.contains(&host.as_str()) && !shared.contains(&host.as_str()) {
            shared.push(host);
        }
        seen.push(host);
    }
    if !shared.is_empty() {
        let message = format!(
            "Different roles can't share the same host for SSL: {}",
            shared.join(", ")
        );
        fields.error("conflict", "servers", &message);
    }
}

fn check_proxy_runs(config: &Config, fields: &Fields<'_>) {
    for host in config.proxy_hosts() {
        let mut runs = config
            .proxies_on(&host)
            .filter_map(|proxy| proxy.run.as_ref());
        let first = runs.next();
        if runs.any(|run| Some(run) != first) {
            let message = format!("Conflicting proxy run configurations for host {host}");
            fields.error("conflict", "proxy", &message);
        }
    }
}

fn check_remote_builder(config: &Config, fields: &Fields<'_>) {
    let Some(remote) = &config.builder.remote else {
        return;
    };
    if config.registry.is_local() && !remote.starts_with("ssh://") {
        let message = "a local registry needs a remote builder that is reached by `ssh://`";
        let setting = fields
            .setting
            .get("builder")
            .and_then(|one| one.get("remote"));
        let place = setting.map_or(&fields.setting.place, |setting| &setting.place);
        fields
            .found
            .error("conflict", place, format!("builder/remote: {message}"));
    }
}

/// Reports a scalar at the root, where a hash belongs.
pub(super) fn is_configuration(root: &Setting, fields: &Fields<'_>) -> bool {
    if root.is_hash() {
        return true;
    }
    let is_text = matches!(root.as_scalar(), Some(Scalar::Text(_)));
    let hint = if is_text {
        "a key needs `:` and a space behind it"
    } else {
        "keys like `service:` belong here"
    };
    let message = "the configuration should be a hash";
    fields
        .found
        .error_with_hint("wrong-type", &root.place, message, hint);
    false
}
