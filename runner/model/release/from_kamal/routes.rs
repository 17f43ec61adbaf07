//! What the proxy brings to the containers, on each server.

use super::{error::Problems, error::Reason, millis, options::Sorted};
use crate::kamal::{Config, Proxy, ProxyDriver, ProxyRun, Role, Ssl};
use crate::release::{
    ContainerName, HostName, Millis, ProxyWish, PublishedPort, RoleName, RouteHealth, RouteSpec,
    SecretName, Tls, published_ports,
};

/// Kamal's proxy checks so often, and waits so long.
const CHECK_INTERVAL: Millis = Millis::from_secs(1);
const CHECK_TIMEOUT: Millis = Millis::from_secs(5);

/// Returns the routes of all proxied roles on all their servers.
pub(super) fn routes(config: &Config, problems: &mut Problems) -> Vec<RouteSpec> {
    let mut routes: Vec<RouteSpec> = Vec::new();
    for (role, proxy) in proxied(config) {
        let ports = plain_ports(role, proxy, problems);
        let plain_ports: Vec<u16> = ports.iter().filter_map(|port| port.outside).collect();
        let at = format!("servers/{}/proxy", role.name);
        if proxy.buffering.max_request_body.is_some() || proxy.buffering.max_response_body.is_some()
        {
            let reason = "sizes of bodies are not limited by the proxy yet";
            problems.add(format!("{at}/buffering"), Reason::Unsupported(reason));
        }
        for host in role.host_names() {
            check_clashes(config, host, &routes, &plain_ports, (&role.name, problems));
            routes.push(RouteSpec {
                host: HostName::from(host),
                role: RoleName::from(role.name.as_str()),
                app: role.container_prefix.clone(),
                hosts: proxy.hosts.clone(),
                paths: proxy.path_prefixes.clone(),
                strips_paths: proxy.strip_path_prefix.unwrap_or(true),
                app_port: proxy.app_port,
                tls: tls(&proxy.ssl),
                plain_ports: plain_ports.clone(),
                serves_plain: proxy.ssl.is_on() && proxy.ssl_redirect == Some(false),
                health: RouteHealth {
                    path: proxy.healthcheck.path.clone(),
                    interval: proxy.healthcheck.interval.map_or(CHECK_INTERVAL, millis),
                    timeout: proxy.healthcheck.timeout.map_or(CHECK_TIMEOUT, millis),
                },
            });
        }
    }
    routes
}

/// Returns what a deploy needs of the proxy; `None` where no role is behind one.
///
/// The ports are those of every server, since each is told to hold all of them.
pub(super) fn wish(
    config: &Config,
    found: Option<&str>,
    problems: &mut Problems,
) -> Option<ProxyWish> {
    let first = proxied(config).next()?;
    let driver = driver(config, found, problems);
    let host = first.0.host_names().next()?;
    let run = run(config, host);
    let mut ports = Vec::new();
    if run.publish {
        ports.extend([run.http_port, run.https_port]);
        let mut ignored = Problems::default();
        for (role, proxy) in proxied(config) {
            let plain = plain_ports(role, proxy, &mut ignored);
            ports.extend(plain.iter().filter_map(|port| port.outside));
        }
        ports.sort_unstable();
        ports.dedup();
    }
    Some(ProxyWish {
        container: ContainerName::new(driver.clone()),
        driver,
        ports,
        authority: super::proxy::authority(config),
    })
}

/// The roles behind the proxy, the primary one first.
pub(super) fn proxied(config: &Config) -> impl Iterator<Item = (&Role, &Proxy)> {
    let primary = config.roles.iter().filter(|role| role.is_primary);
    let others = config.roles.iter().filter(|role| !role.is_primary);
    primary
        .chain(others)
        .filter_map(|role| Some((role, role.proxy.as_ref()?)))
}

/// Returns how the proxy is run on a server; Kamal refuses two wishes for one.
pub(super) fn run(config: &Config, host: &str) -> ProxyRun {
    config.proxy_run(host).cloned().unwrap_or_default()
}

/// Returns the driver: the configured one, else the one that was found, else Traefik.
pub(super) fn driver(config: &Config, found: Option<&str>, problems: &mut Problems) -> String {
    let configured = config.runner.proxy.driver.map(ProxyDriver::name);
    let traefik = ProxyDriver::Traefik.name();
    let driver = configured.or(found).unwrap_or(traefik);
    if driver != traefik {
        let message = format!("proxy `{driver}` cannot be driven yet, only `{traefik}`");
        problems.invalid("x-runner/proxy/driver", message);
    }
    driver.to_owned()
}

/// Returns the ports of a proxied role's `options.publish`, which the proxy holds instead.
pub(super) fn plain_ports(
    role: &Role,
    proxy: &Proxy,
    problems: &mut Problems,
) -> Vec<PublishedPort> {
    let at = format!("servers/{}/options", role.name);
    // What else is wrong with the options is told where the containers are made.
    let options = Sorted::new(&role.options, &at, &mut Problems::default());
    let at = format!("{at}/publish");
    let mut ports = Vec::new();
    for text in &options.publish {
        for port in problems.take(&at, published_ports(text)) {
            if port.outside.is_none() || port.protocol != "tcp" {
                let message = format!(
                    "`{text}` cannot be held by the proxy: it needs a port of the server, with TCP"
                );
                problems.invalid(&at, message);
            } else if port.inside != proxy.app_port {
                let message = format!(
                    "`{text}` cannot be held by the proxy, which leads to port {} in the container; \
                     two releases cannot both hold it",
                    proxy.app_port
                );
                problems.invalid(&at, message);
            } else {
                ports.push(port);
            }
        }
    }
    ports
}

fn check_clashes(
    config: &Config,
    host: &str,
    routes: &[RouteSpec],
    ports: &[u16],
    (role, problems): (&str, &mut Problems),
) {
    let run = run(config, host);
    let at = format!("servers/{role}/options/publish");
    for port in ports {
        if [run.http_port, run.https_port].contains(port) {
            let message = format!("port {port} is the proxy's own, see `proxy/run`");
            problems.invalid(&at, message);
        }
        let other = routes
            .iter()
            .find(|route| route.host.as_str() == host && route.plain_ports.contains(port));
        if let Some(other) = other {
            let message = format!("port {port} of `{host}` is role `{}`'s, too", other.role);
            problems.invalid(&at, message);
        }
    }
    let ports_of = |host: &str| {
        let run = super::routes::run(config, host);
        (run.http_port, run.https_port, run.publish)
    };
    if let Some(other) = routes
        .iter()
        .find(|route| ports_of(route.host.as_str()) != ports_of(host))
    {
        let message = format!(
            "differs between `{}` and `{host}`, which is not supported",
            other.host
        );
        problems.invalid("proxy/run", message);
    }
}

fn tls(ssl: &Ssl) -> Option<Tls> {
    match ssl {
        Ssl::Off => None,
        Ssl::Automatic => Some(Tls::Acme),
        Ssl::Certificate {
            certificate_pem,
            private_key_pem,
        } => Some(Tls::Given {
            certificate: SecretName::new(certificate_pem.clone()),
            key: SecretName::new(private_key_pem.clone()),
        }),
    }
}
