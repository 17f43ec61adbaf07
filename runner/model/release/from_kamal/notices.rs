//! What will be otherwise than with Kamal, said before anything happens.

use super::{accessories, error::Problems, routes};
use crate::kamal::{Config, ProxyRun, Role};
use crate::release::published_ports;

/// Returns a line for everything that is carried out otherwise than Kamal would, or not at all.
pub fn notices(config: &Config) -> Vec<String> {
    let mut notices = Vec::new();
    taken_over(config, &mut notices);
    for accessory in &config.accessories {
        if accessories::is_worker(config, accessory) {
            notices.push(format!(
                "accessory `{}` is on the application's own image: it is updated with every deploy",
                accessory.name
            ));
        }
    }
    let unproxied = config.roles.iter().filter(|role| !role.is_proxied());
    for role in unproxied {
        held_twice(role, &mut notices);
    }
    for (role, proxy) in routes::proxied(config) {
        let mut unused = |key: &str, why: &str| {
            notices.push(format!(
                "`proxy/{key}` of role `{}` has no effect: {why}",
                role.name
            ));
        };
        if proxy.response_timeout.is_some() {
            unused(
                "response_timeout",
                "Traefik waits as long as the application",
            );
        }
        if proxy.buffering.memory.is_some() {
            unused("buffering/memory", "Traefik passes bodies on as they come");
        }
        if proxy.forward_headers == Some(true) && config.runner.proxy.trusted.is_empty() {
            let why = "name the addresses that are trusted in `x-runner.proxy.trusted`";
            unused("forward_headers", why);
        }
        if let Some(run) = &proxy.run {
            of_kamal_proxy(run, &mut unused);
        }
    }
    if config.boot.limit.is_some() || config.boot.wait.is_some() {
        notices
            .push("`boot` has no effect: all servers are switched in one transaction".to_owned());
    }
    if config.error_pages_path.is_some() {
        notices.push("`error_pages_path` has no effect: error pages are Traefik's own".to_owned());
    }
    notices
}

/// Ports that the application's containers published until now.
fn taken_over(config: &Config, notices: &mut Vec<String>) {
    let mut ignored = Problems::default();
    for (role, proxy) in routes::proxied(config) {
        for port in routes::plain_ports(role, proxy, &mut ignored) {
            if let Some(outside) = port.outside {
                notices.push(format!(
                    "port {outside} of role `{}` is held by the proxy, for any host and without TLS, \
                     so that no request finds it closed while releases change",
                    role.name
                ));
            }
        }
    }
}

/// Ports that an old and a new container cannot both hold.
fn held_twice(role: &Role, notices: &mut Vec<String>) {
    let ports = role.options.get("publish");
    let ports = ports.iter().filter_map(|text| published_ports(text).ok());
    for port in ports.flatten().filter_map(|port| port.outside) {
        notices.push(format!(
            "port {port} of role `{}` is published without the proxy: a new container cannot start \
             while the old one holds it",
            role.name
        ));
    }
}

fn of_kamal_proxy(run: &ProxyRun, unused: &mut impl FnMut(&str, &str)) {
    let defaults = ProxyRun::default();
    let why = "it is kamal-proxy's";
    if run.registry.is_some() {
        unused("run/registry", why);
    }
    if run.repository != defaults.repository {
        unused("run/repository", why);
    }
    if run.version != defaults.version {
        unused("run/version", why);
    }
    if run.metrics_port.is_some() {
        unused(
            "run/metrics_port",
            "metrics are on Traefik's own port, for the server alone",
        );
    }
    if run.debug {
        unused("run/debug", why);
    }
}
