//! Traefik with its file provider.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    deploy::{
        error::OpError,
        host::Host,
        http::{self, Answer},
        script::quote,
    },
    docker::{ContainerSpec, Credentials, Publish, RestartPolicy},
    release::{
        ContainerName, ImageRef, Millis, RouteSpec, TransactionId, paths,
        traefik::{
            PROBE_HEADER, RELEASE_HEADER, StaticSettings, WEB, WEB_SECURE, plain_entry,
            runner_file, static_file,
        },
    },
};

/// The port of Traefik's own API, inside its container; it is never published.
const OPS_PORT: u16 = 8082;
/// How long Traefik may take to show a change.
const SHOWN: Duration = Duration::from_secs(15);
/// How long Traefik may take to start.
const STARTED: Duration = Duration::from_secs(30);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(5);
/// The label with what the container was started from.
const SETTINGS_LABEL: &str = "runner.proxy";

/// What Traefik is started with on one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraefikSettings {
    /// The container's name.
    pub container: ContainerName,
    /// The image.
    pub image: ImageRef,
    /// The networks: the first at creation.
    pub networks: Vec<String>,
    /// The port without TLS.
    pub http_port: u16,
    /// The port with TLS.
    pub https_port: u16,
    /// Whether the port without TLS redirects to the one with it.
    pub redirect: bool,
    /// Further ports without TLS and without redirect.
    pub plain_ports: Vec<u16>,
    /// Addresses whose forwarded headers are believed.
    pub trusted: Vec<String>,
    /// Certificates that Traefik gets itself.
    pub acme: Option<crate::release::traefik::Acme>,
}

impl TraefikSettings {
    /// The ports of the host that Traefik holds.
    pub fn ports(&self) -> Vec<u16> {
        let mut ports = vec![self.http_port, self.https_port];
        ports.extend(&self.plain_ports);
        ports
    }

    fn static_file(&self) -> String {
        static_file(&StaticSettings {
            http_port: self.http_port,
            https_port: self.https_port,
            redirect: self.redirect,
            plain_ports: self.plain_ports.clone(),
            ops_address: format!(":{OPS_PORT}"),
            trusted: self.trusted.clone(),
            acme: self.acme.clone(),
            grace: Millis::from_secs(30),
        })
    }

    fn container(&self, home: &str) -> ContainerSpec {
        let mount = |path: &str, inside: &str, mode: &str| format!("{home}/{path}:{inside}{mode}");
        let publish = |port: u16| Publish {
            host_ip: String::new(),
            host_port: port,
            container_port: port,
            protocol: "tcp".to_owned(),
        };
        let ports: BTreeSet<u16> = self.ports().into_iter().collect();
        ContainerSpec {
            name: self.container.to_string(),
            image: self.image.exact(),
            volumes: vec![
                mount(paths::STATIC, "/etc/traefik/traefik.yml", ":ro"),
                mount(paths::DYNAMIC, paths::DYNAMIC_INSIDE, ":ro"),
                mount(paths::CERTIFICATES, paths::CERTIFICATES_INSIDE, ":ro"),
                mount(paths::ACME, "/acme", ""),
            ],
            publish: ports.into_iter().map(publish).collect(),
            network: self.networks.first().cloned(),
            restart: RestartPolicy::UnlessStopped,
            stop_timeout: Some(Duration::from_secs(40)),
            labels: BTreeMap::from([(SETTINGS_LABEL.to_owned(), self.mark())]),
            ..ContainerSpec::default()
        }
    }

    /// Tells two settings apart, so that a change is seen without reading files on the host.
    fn mark(&self) -> String {
        use sha2::{Digest as _, Sha256};
        let text = format!(
            "{}\n{}\n{:?}",
            self.static_file(),
            self.image,
            self.networks
        );
        hex::encode(Sha256::digest(text.as_bytes()))
    }
}

/// Starts Traefik, or sees to it that it runs.
pub(super) async fn boot(
    host: &Host,
    settings: &TraefikSettings,
    login: Option<&Credentials>,
    anew: bool,
) -> Result<bool, OpError> {
    let home = write_files(host, settings).await?;
    for network in &settings.networks {
        host.engine
            .ensure_network(network, &BTreeMap::new())
            .await?;
    }
    let name = settings.container.as_str();
    let found = host.engine.container(name).await?;
    if let Some(found) = &found {
        let same = found.labels.get(SETTINGS_LABEL) == Some(&settings.mark());
        if !found.labels.contains_key(SETTINGS_LABEL) && !anew {
            let text = format!(
                "container `{name}` on `{}` was not started by runner; `runner proxy reboot` replaces it",
                host.name
            );
            return Err(OpError::NotReady(text));
        }
        if same && !anew {
            if !found.is_running() {
                host.engine.start(name).await?;
            }
            await_start(host, name).await?;
            return Ok(false);
        }
        if !same && !anew {
            let text = format!(
                "the proxy on `{}` runs with other settings; `runner proxy reboot` starts it anew (connections are cut)",
                host.name
            );
            return Err(OpError::NotReady(text));
        }
    }
    if host.engine.image(&settings.image.exact()).await?.is_none() {
        host.engine
            .pull(&settings.image.exact(), login, &mut |_| {})
            .await?;
    }
    if found.is_some() {
        host.engine.stop(name, Duration::from_secs(40)).await?;
        host.engine.remove_container(name, true, false).await?;
    }
    let id = host
        .engine
        .create_container(&settings.container(&home))
        .await?;
    for network in settings.networks.iter().skip(1) {
        host.engine.connect_network(network, &id, &[]).await?;
    }
    if let Err(error) = host.engine.start(&id).await {
        // A container that could not get its ports would only be in the way.
        host.engine.remove_container(&id, true, false).await?;
        return Err(error.into());
    }
    await_start(host, name).await?;
    Ok(true)
}

/// Writes the static file and the proxy's own dynamic one; returns the home folder.
async fn write_files(host: &Host, settings: &TraefikSettings) -> Result<String, OpError> {
    let script = format!(
        "set -e\nmkdir -p {dynamic} {staging} {certificates} {acme}\nchmod 700 {acme} {certificates}\n\
         printf '%s' {text} > {staging}/traefik.yml.new\nmv -f {staging}/traefik.yml.new {file}\n\
         printf '%s' {own} > {staging}/_runner.yml.new\nmv -f {staging}/_runner.yml.new {runner}\n\
         printf 'home %s\\n' \"$(pwd -P)\"\n",
        dynamic = quote(paths::DYNAMIC),
        staging = quote(paths::STAGING),
        certificates = quote(paths::CERTIFICATES),
        acme = quote(paths::ACME),
        text = quote(&settings.static_file()),
        file = quote(paths::STATIC),
        own = quote(&runner_file()),
        runner = quote(paths::RUNNER_DYNAMIC),
    );
    let (stdout, stderr) = host.script(script, "write the files of the proxy").await?;
    let home = stdout.lines().find_map(|line| line.strip_prefix("home "));
    home.map(str::to_owned).ok_or_else(|| OpError::Script {
        what: "write the files of the proxy".to_owned(),
        reason: stderr.trim().to_owned(),
    })
}

async fn await_start(host: &Host, container: &str) -> Result<(), OpError> {
    let end = Instant::now() + STARTED;
    loop {
        let reason = match api(host, container, "/api/http/routers/runner-ops@file").await {
            Ok(answer) if answer.is_success() => return Ok(()),
            Ok(answer) => format!("answers {}", answer.status),
            Err(error) => error.chain(),
        };
        if Instant::now() >= end {
            return Err(OpError::Proxy(format!("did not start: {reason}")));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Checks that Traefik runs and its API answers.
pub(super) async fn check(host: &Host, container: &str) -> Result<(), OpError> {
    let answer = api(host, container, "/ping").await?;
    if answer.is_success() {
        return Ok(());
    }
    Err(OpError::Proxy(format!(
        "answers {} on its own port",
        answer.status
    )))
}

/// Asks Traefik's own API, on the address that only the host reaches.
async fn api(host: &Host, container: &str, path: &str) -> Result<Answer, OpError> {
    let ip = address(host, container).await?;
    ask(host, &ip, path).await
}

async fn address(host: &Host, container: &str) -> Result<String, OpError> {
    let found = host.engine.container(container).await?;
    let found = found.ok_or_else(|| OpError::NoContainer(container.into()))?;
    let ip = found
        .networks
        .values()
        .map(|joined| joined.ip.clone())
        .find(|ip| !ip.is_empty());
    ip.ok_or_else(|| OpError::Proxy(format!("`{container}` does not run")))
}

async fn ask(host: &Host, ip: &str, path: &str) -> Result<Answer, OpError> {
    let connect = timeout(ANSWER, host.ssh.connect_tcp(ip, OPS_PORT)).await;
    let stream = connect.map_err(|_| OpError::Proxy("does not take connections".to_owned()))??;
    let wanted = http::Get {
        host: "localhost",
        path,
        headers: &[],
        limit: ANSWER,
    };
    http::get(stream, wanted).await.map_err(|error| {
        OpError::Proxy(format!(
            "did not answer on its own port: {}",
            crate::deploy::error::chain(&error)
        ))
    })
}

/// Waits until Traefik's API shows some services, enabled, and no longer shows others.
pub(super) async fn await_services(
    host: &Host,
    container: &str,
    shows: &[String],
    gone: &[String],
) -> Result<(), OpError> {
    let ip = address(host, container).await?;
    let end = Instant::now() + SHOWN;
    loop {
        let mut missing = None;
        let wanted = shows.iter().map(|name| (name, true));
        for (name, is_wanted) in wanted.chain(gone.iter().map(|name| (name, false))) {
            let answer = ask(host, &ip, &format!("/api/http/services/{name}@file")).await?;
            if is_shown(&answer) != is_wanted {
                let word = if is_wanted {
                    "does not show"
                } else {
                    "still shows"
                };
                missing = Some(format!(
                    "{word} service `{name}` (status {})",
                    answer.status
                ));
                break;
            }
        }
        let Some(missing) = missing else {
            return Ok(());
        };
        if Instant::now() >= end {
            return Err(OpError::Proxy(missing));
        }
        sleep(Duration::from_millis(10)).await;
    }
}

fn is_shown(answer: &Answer) -> bool {
    let Ok(service) = serde_json::from_slice::<Value>(&answer.body) else {
        return false;
    };
    answer.status == 200 && service.get("status").and_then(Value::as_str) == Some("enabled")
}

/// Sends a request for the transaction to every port that its routes use.
pub(super) async fn prove(
    host: &Host,
    container: &str,
    routes: &[RouteSpec],
    transaction: &TransactionId,
) -> Result<(), OpError> {
    let found = host.engine.container(container).await?;
    let found = found.ok_or_else(|| OpError::NoContainer(container.into()))?;
    let ip = address(host, container).await?;
    for route in routes {
        let main = if route.tls.is_some() { WEB_SECURE } else { WEB };
        let mut entries = vec![(main.to_owned(), route.tls.is_some())];
        entries.extend(
            route
                .plain_ports
                .iter()
                .map(|port| (plain_entry(*port), false)),
        );
        for (entry, is_tls) in entries {
            let inside = entry_port(host, &ip, &entry).await?;
            let key = format!("{inside}/tcp");
            let published = found.ports.iter().find(|port| port.container == key);
            let port = published.map(|port| port.host_port).ok_or_else(|| {
                OpError::Proxy(format!(
                    "does not publish port {inside} of entry point `{entry}`"
                ))
            })?;
            prove_port(host, route, transaction, port, is_tls).await?;
        }
    }
    Ok(())
}

/// The port of an entry point inside the container.
async fn entry_port(host: &Host, ip: &str, entry: &str) -> Result<u16, OpError> {
    let answer = ask(host, ip, &format!("/api/entrypoints/{entry}")).await?;
    let found: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let address = found
        .get("address")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let port = address
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok());
    port.ok_or_else(|| {
        OpError::Proxy(format!(
            "has no entry point `{entry}` (run `runner proxy reboot`)"
        ))
    })
}

async fn prove_port(
    host: &Host,
    route: &RouteSpec,
    transaction: &TransactionId,
    port: u16,
    is_tls: bool,
) -> Result<(), OpError> {
    let name = route.hosts.first().map_or("localhost", String::as_str);
    let path = route.paths.first().unwrap_or(&route.health.path);
    let headers = [(PROBE_HEADER, transaction.as_str())];
    let end = Instant::now() + SHOWN;
    loop {
        let wanted = http::Get {
            host: name,
            path,
            headers: &headers,
            limit: ANSWER,
        };
        let stream = host.ssh.connect_tcp("127.0.0.1", port).await?;
        let answer = if is_tls {
            http::get_tls(stream, name, wanted).await
        } else {
            http::get(stream, wanted).await
        };
        let reason = match answer {
            Ok(answer) if proves(&answer, transaction) => return Ok(()),
            Ok(answer) => format!("answered {} `{}`", answer.status, answer.first_line()),
            Err(error) => format!("did not answer: {}", crate::deploy::error::chain(&error)),
        };
        if Instant::now() >= end {
            let text = format!(
                "does not send requests for `{name}` on port {port} to the new release: {reason}"
            );
            return Err(OpError::Proxy(text));
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// The header alone is no proof: it is set on an error of the proxy itself, too.
fn proves(answer: &Answer, transaction: &TransactionId) -> bool {
    let named = answer.header(RELEASE_HEADER) == Some(transaction.as_str());
    named && !(502..=504).contains(&answer.status)
}
