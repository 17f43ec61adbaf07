//! The proxy itself, as `setup` and `proxy boot` make it: Traefik with its file provider.

use indexmap::IndexMap;

use super::{
    SpecError, containers::NETWORK, containers::each_once, error::Problems, millis,
    options::Sorted, routes,
};
use crate::kamal::{AcmeChallenge, Config, ProxyRun, Ssl};
use crate::release::{
    AUTHORITY_LABEL, ContainerName, ContainerSpec, Duty, HostName, ImageRef, LogSettings, Millis,
    PROXY_LABEL, RoleName, paths,
    traefik::{Acme, Challenge, StaticSettings, runner_file, static_file},
};

/// The port of Traefik's own API: on the server reached from itself alone.
pub const OPS_PORT: u16 = 8082;
/// The image where the configuration names none.
const IMAGE: &str = "traefik:v3.7";
/// The directory of Let's Encrypt.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// The certificate by which another authority is trusted, below the folder of certificates.
const AUTHORITY_FILE: &str = "authority.crt";
/// How much longer the container has than the requests in it.
const MARGIN: Millis = Millis::from_secs(5);

/// The proxy on one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxySpec {
    /// Its driver.
    pub driver: String,
    /// Its container; the image is named by its tag.
    pub container: ContainerSpec,
    /// What its static file is made from; where it differs, the proxy must be booted again.
    pub settings: StaticSettings,
    /// Folders below the SSH user's home that must be there, with their modes.
    pub folders: Vec<(String, u32)>,
    /// Files that must be there before it starts.
    pub files: Vec<BootFile>,
}

/// A file that the proxy reads when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootFile {
    /// Where it lies, below the SSH user's home.
    pub path: String,
    /// Its mode.
    pub mode: u32,
    /// Its text, without any secret.
    pub text: String,
    /// The project's file whose text it has; it is read when the proxy is booted.
    pub local: Option<String>,
}

/// Returns the proxy of every server that needs one; `found` is the driver that a probe saw.
///
/// Every server gets the ports of all proxied roles, so that a role can move without a reboot.
pub fn proxies(config: &Config, found: Option<&str>) -> Result<Vec<ProxySpec>, Vec<SpecError>> {
    let mut problems = Problems::default();
    let mut specs = Vec::new();
    if routes::proxied(config).next().is_none() {
        return Ok(specs);
    }
    let driver = routes::driver(config, found, &mut problems);
    // What is wrong with the routes is wrong for the proxy.
    drop(routes::routes(config, &mut problems));
    let mut hosts = Vec::new();
    for (role, _) in routes::proxied(config) {
        hosts.extend(role.host_names().map(str::to_owned));
    }
    for host in each_once(hosts) {
        specs.push(proxy(config, &driver, &host, &mut problems));
    }
    problems.finish(specs)
}

fn proxy(config: &Config, driver: &str, host: &str, problems: &mut Problems) -> ProxySpec {
    let run = routes::run(config, host);
    let settings = settings(config, &run, problems);
    let file = |path: &str, text: String| BootFile {
        path: path.to_owned(),
        mode: 0o644,
        text,
        local: None,
    };
    let mut files = vec![
        file(paths::STATIC, static_file(&settings)),
        file(paths::RUNNER_DYNAMIC, runner_file()),
    ];
    if settings.acme.is_some() && config.runner.proxy.acme.ca.is_some() {
        let path = format!("{}/{AUTHORITY_FILE}", paths::CERTIFICATES);
        files.push(BootFile {
            local: config.runner.proxy.acme.ca.clone(),
            ..file(&path, String::new())
        });
    }
    let folder = |path: &str, mode| (path.to_owned(), mode);
    ProxySpec {
        driver: driver.to_owned(),
        container: container(config, driver, host, &run, problems),
        folders: vec![
            folder(paths::DYNAMIC, 0o755),
            folder(paths::STAGING, 0o700),
            folder(paths::CERTIFICATES, 0o700),
            folder(paths::ACME, 0o700),
        ],
        files,
        settings,
    }
}

/// Returns what Traefik's static file says; listens inside on the ports of the server.
fn settings(config: &Config, run: &ProxyRun, problems: &mut Problems) -> StaticSettings {
    let mut plain_ports = Vec::new();
    let mut ignored = Problems::default();
    let (mut redirecting, mut plain) = (0, 0);
    let mut is_automatic = false;
    for (role, proxy) in routes::proxied(config) {
        let ports = routes::plain_ports(role, proxy, &mut ignored);
        plain_ports.extend(ports.iter().filter_map(|port| port.outside));
        if proxy.ssl.is_on() && proxy.ssl_redirect != Some(false) {
            redirecting += 1;
        } else {
            plain += 1;
        }
        is_automatic |= proxy.ssl == Ssl::Automatic;
    }
    plain_ports.sort_unstable();
    plain_ports.dedup();
    if redirecting > 0 && plain > 0 {
        problems.invalid(
            "proxy/ssl_redirect",
            "one role redirects to HTTPS and another is served without it, on the same port",
        );
    }
    let acme = &config.runner.proxy.acme;
    let is_public = (run.http_port, run.https_port) == (80, 443);
    if is_automatic && !is_public && !acme.is_forwarded {
        let message = format!(
            "{} reaches only ports 80 and 443, the proxy has {} and {}; set \
             `x-runner.proxy.acme.forwarded: true` where those two lead to them",
            match &acme.server {
                Some(server) => format!("the authority `{server}`"),
                None => "Let's Encrypt".to_owned(),
            },
            run.http_port,
            run.https_port
        );
        problems.invalid("proxy/ssl", message);
    }
    StaticSettings {
        http_port: run.http_port,
        https_port: run.https_port,
        redirect: redirecting > 0,
        plain_ports,
        ops_address: format!(":{OPS_PORT}"),
        trusted: config.runner.proxy.trusted.clone(),
        acme: is_automatic.then(|| Acme {
            email: acme.email.clone().unwrap_or_default(),
            server: acme.server.clone(),
            authorities: acme.ca.iter().map(|_| authority_inside()).collect(),
            challenge: match acme.challenge {
                AcmeChallenge::Http => Challenge::Http,
                AcmeChallenge::Tls => Challenge::Tls,
            },
        }),
        grace: millis(config.drain_timeout),
    }
}

/// Where Traefik's container finds the authority's certificate.
fn authority_inside() -> String {
    format!("{}/{AUTHORITY_FILE}", paths::CERTIFICATES_INSIDE)
}

/// The authority from which the proxy gets certificates, where a role wants it to.
pub(super) fn authority(config: &Config) -> Option<String> {
    let mut proxied = routes::proxied(config);
    let is_automatic = proxied.any(|(_, proxy)| proxy.ssl == Ssl::Automatic);
    let server = config.runner.proxy.acme.server.clone();
    is_automatic.then(|| server.unwrap_or_else(|| LETS_ENCRYPT.to_owned()))
}

fn container(
    config: &Config,
    driver: &str,
    host: &str,
    run: &ProxyRun,
    problems: &mut Problems,
) -> ContainerSpec {
    let options = Sorted::new(&run.options, "proxy/run/options", problems);
    let image = config.runner.proxy.image.as_deref().unwrap_or(IMAGE);
    let image = match ImageRef::parse(image) {
        Ok(image) => image,
        Err(error) => {
            problems.add("x-runner/proxy/image", error);
            ImageRef {
                repository: image.to_owned(),
                tag: None,
                digest: None,
            }
        }
    };
    let mut networks = vec![NETWORK.to_owned()];
    networks.extend(config.runner.proxy.networks.iter().cloned());
    networks.extend(options.networks.iter().cloned());
    let mut labels = IndexMap::from([(PROXY_LABEL.to_owned(), driver.to_owned())]);
    labels.extend(authority(config).map(|url| (AUTHORITY_LABEL.to_owned(), url)));
    labels.extend(options.labels.clone());
    let mut log_options = IndexMap::from([("max-size".to_owned(), run.log_max_size.clone())]);
    log_options.extend(options.log_options.clone());
    let mut volumes = vec![
        format!("$PWD/{}:/etc/traefik/traefik.yml:ro", paths::STATIC),
        format!("$PWD/{}:{}:ro", paths::DYNAMIC, paths::DYNAMIC_INSIDE),
        format!(
            "$PWD/{}:{}:ro",
            paths::CERTIFICATES,
            paths::CERTIFICATES_INSIDE
        ),
        format!("$PWD/{}:/acme", paths::ACME),
    ];
    volumes.extend(options.volumes.iter().cloned());
    let grace = millis(config.drain_timeout);
    ContainerSpec {
        host: HostName::from(host),
        role: RoleName::from(driver),
        duty: Duty::Proxy,
        name: ContainerName::new(driver),
        boot_name: None,
        image,
        hostname: options.hostname.clone(),
        labels,
        env: options.env.clone(),
        secrets: IndexMap::new(),
        env_file: None,
        volumes,
        publish: published(config, run, &options),
        command: Vec::new(),
        networks: each_once(networks),
        stop_timeout: Millis(grace.0.saturating_add(MARGIN.0)),
        health_check: options.health_check.clone(),
        restart: options
            .restart
            .clone()
            .unwrap_or_else(|| run.options.restart_policy().to_owned()),
        logging: LogSettings {
            driver: options.log_driver.clone(),
            options: log_options,
        },
        options: options.others,
    }
}

/// The ports of the container: the two of `proxy.run` on its addresses, those that were taken over
/// on theirs, and the API's for the server alone.
fn published(config: &Config, run: &ProxyRun, options: &Sorted) -> Vec<String> {
    let mut publish = vec![format!("127.0.0.1:{OPS_PORT}:{OPS_PORT}")];
    if run.publish {
        for port in [run.http_port, run.https_port] {
            if run.bind_ips.is_empty() {
                publish.push(format!("{port}:{port}"));
            }
            let on = |address: &String| match address.contains(':') {
                true => format!("[{}]:{port}:{port}", address.trim_matches(['[', ']'])),
                false => format!("{address}:{port}:{port}"),
            };
            publish.extend(run.bind_ips.iter().map(on));
        }
        let mut ignored = Problems::default();
        for (role, proxy) in routes::proxied(config) {
            for port in routes::plain_ports(role, proxy, &mut ignored) {
                let Some(outside) = port.outside else {
                    continue;
                };
                publish.push(match &port.address {
                    Some(address) if address.contains(':') => {
                        format!("[{address}]:{outside}:{outside}")
                    }
                    Some(address) => format!("{address}:{outside}:{outside}"),
                    None => format!("{outside}:{outside}"),
                });
            }
        }
    }
    publish.extend(options.publish.iter().cloned());
    each_once(publish)
}
