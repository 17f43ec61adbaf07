//! Traefik with its file provider.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    deploy::{
        container,
        error::OpError,
        host::Host,
        http::{self, Answer},
        proxy::Requests,
        script::quote,
        settings::Settings,
    },
    docker::Found,
    release::{
        RouteSpec, TransactionId,
        from_kamal::{OPS_PORT, ProxySpec},
        paths,
        traefik::{PROBE_HEADER, RELEASE_HEADER, WEB, WEB_SECURE, plain_entry},
    },
};

/// How long Traefik may take to show a change.
const SHOWN: Duration = Duration::from_secs(15);
/// How long Traefik may take to start.
const STARTED: Duration = Duration::from_secs(30);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(5);
/// How long an answer shows that Traefik runs.
const FRESH: Duration = Duration::from_secs(2);
/// The label with what the container was started from.
const SETTINGS_LABEL: &str = "runner.proxy.settings";

/// Starts Traefik, or sees to it that it runs.
pub(super) async fn boot(
    host: &Host,
    spec: &ProxySpec,
    settings: &Settings,
    anew: bool,
) -> Result<bool, OpError> {
    let name = spec.container.name.as_str();
    let mark = mark(spec);
    let found = host.engine.container(name).await?;
    if let Some(found) = found.as_ref().filter(|_| !anew) {
        let of_ours = found.labels.get(SETTINGS_LABEL);
        if of_ours == Some(&mark) {
            if !found.is_running() {
                host.engine.start(name).await?;
            }
            await_start(host, name).await?;
            return Ok(false);
        }
        let text = match of_ours {
            None => format!(
                "container `{name}` on `{}` was not started by runner; `runner proxy reboot` replaces it",
                host.name
            ),
            Some(_) => format!(
                "the proxy on `{}` runs with other settings; `runner proxy reboot` starts it anew (connections are cut)",
                host.name
            ),
        };
        return Err(OpError::NotReady(text));
    }
    write_files(host, spec).await?;
    for network in &spec.container.networks {
        host.engine
            .ensure_network(network, &BTreeMap::new())
            .await?;
    }
    let image = spec.container.image.exact();
    if host.engine.image(&image).await?.is_none() {
        let login = settings.credentials(&spec.container.image);
        host.engine.pull(&image, login, &mut |_| {}).await?;
    }
    let mut wanted = container::wanted(&spec.container, &host.home, &settings.secrets)?;
    wanted.labels.insert(SETTINGS_LABEL.to_owned(), mark);
    if found.is_some() {
        let grace = spec.container.stop_timeout.to_duration();
        host.engine.stop(name, grace).await?;
        host.engine.remove_container(name, true, false).await?;
    }
    let id = host.engine.create_container(&wanted).await?;
    for network in spec.container.networks.iter().skip(1) {
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

/// Tells two settings apart, so that a change is seen without reading files on the host.
fn mark(spec: &ProxySpec) -> String {
    use sha2::{Digest as _, Sha256};
    let text = format!("{:?}\n{:?}", spec.container, spec.files);
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// Writes what Traefik reads when it starts.
async fn write_files(host: &Host, spec: &ProxySpec) -> Result<(), OpError> {
    use std::fmt::Write as _;
    let mut script = String::from("set -e\n");
    for (path, mode) in &spec.folders {
        let path = quote(path);
        let _written = writeln!(script, "mkdir -p {path}; chmod {mode:o} {path}");
    }
    for file in &spec.files {
        let (path, text, mode) = (quote(&file.path), quote(&file.text), file.mode);
        let name = file.path.rsplit('/').next().unwrap_or_default();
        // Beside the watched folder, so that Traefik never sees half a file.
        let staged = quote(&format!("{}/{name}.new", paths::STAGING));
        let _written = writeln!(
            script,
            "printf '%s' {text} > {staged}; chmod {mode:o} {staged}; mv -f {staged} {path}"
        );
    }
    script.push_str("echo written\n");
    let what = "write the files of the proxy";
    let (stdout, stderr) = host.script(script, what).await?;
    if stdout.lines().any(|line| line == "written") {
        return Ok(());
    }
    Err(OpError::Script {
        what: what.to_owned(),
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

/// Checks that Traefik runs and its API answers, or did a moment ago.
pub(super) async fn check(host: &Host, container: &str) -> Result<(), OpError> {
    entry_points(host, container, FRESH).await.map(drop)
}

/// Sees to it that the way to Traefik's API is open and its entry points are known, where that can
/// be; `found` is its container. Why it cannot be is told by whoever needs them.
pub(super) async fn look(host: &Host, found: Found) {
    let name = found.name.clone();
    let mut way = host.proxy_api.lock().await;
    let is_open = |api: &Api| api.found.id == found.id && api.kept.is_open();
    if !way.as_ref().is_some_and(is_open) {
        *way = Api::open(host, found).await.ok();
    }
    let can_ask = way.is_some();
    drop(way);
    if can_ask {
        let _told_later = entry_points(host, &name, Duration::ZERO).await;
    }
}

/// Traefik's entry points, and its container; they are the same as long as it runs, so that what was
/// asked for less than `age` ago, through the way that is still open, is not asked for again.
async fn entry_points(
    host: &Host,
    container: &str,
    age: Duration,
) -> Result<(Value, Found), OpError> {
    if let Some(api) = host.proxy_api.lock().await.as_ref()
        && api.found.name == container
        && api.kept.is_open()
        && let Some((entries, asked)) = &api.entries
        && asked.elapsed() < age
    {
        return Ok((entries.clone(), api.found.clone()));
    }
    let (answer, found) = api_and_container(host, container, "/api/entrypoints").await?;
    if !answer.is_success() {
        return Err(OpError::Proxy(format!(
            "answers {} on its own port",
            answer.status
        )));
    }
    let entries: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if let Some(api) = host.proxy_api.lock().await.as_mut() {
        api.entries = Some((entries.clone(), Instant::now()));
    }
    Ok((entries, found))
}

/// The way to Traefik's own API, kept from one question to the next.
#[derive(Debug)]
pub(in crate::deploy) struct Api {
    /// The container as it was when the way was opened.
    found: Found,
    kept: http::Kept,
    /// The entry points, once they were asked for, and when that was.
    entries: Option<(Value, Instant)>,
}

impl Api {
    async fn of(host: &Host, container: &str) -> Result<Self, OpError> {
        let found = host.engine.container(container).await?;
        let found = found.ok_or_else(|| OpError::NoContainer(container.into()))?;
        Self::open(host, found).await
    }

    async fn open(host: &Host, found: Found) -> Result<Self, OpError> {
        let mut ips = found.networks.values().map(|joined| joined.ip.as_str());
        let ip = ips.find(|ip| !ip.is_empty());
        let ip = ip.ok_or_else(|| OpError::Proxy(format!("`{}` does not run", found.name)))?;
        let connect = timeout(ANSWER, host.ssh.connect_tcp(ip, OPS_PORT)).await;
        let stream =
            connect.map_err(|_| OpError::Proxy("does not take connections".to_owned()))??;
        let kept = http::Kept::new(stream).await.map_err(|e| silent(&e))?;
        Ok(Self {
            found,
            kept,
            entries: None,
        })
    }

    async fn get(&mut self, path: &str) -> Result<Answer, OpError> {
        let wanted = http::Get {
            host: "localhost",
            path,
            headers: &[],
            limit: ANSWER,
        };
        self.kept.get(wanted).await.map_err(|e| silent(&e))
    }
}

fn silent(error: &http::HttpError) -> OpError {
    let reason = crate::deploy::error::chain(error);
    OpError::Proxy(format!("did not answer on its own port: {reason}"))
}

/// Asks Traefik's own API, on the address that only the host reaches.
async fn api(host: &Host, container: &str, path: &str) -> Result<Answer, OpError> {
    Ok(api_and_container(host, container, path).await?.0)
}

/// The same, with what the daemon says of the container.
async fn api_and_container(
    host: &Host,
    container: &str,
    path: &str,
) -> Result<(Answer, Found), OpError> {
    let mut way = host.proxy_api.lock().await;
    // One that is broken off in the middle is not used again.
    if let Some(mut api) = way.take().filter(|api| api.found.name == container)
        && let Ok(answer) = api.get(path).await
    {
        let found = api.found.clone();
        *way = Some(api);
        return Ok((answer, found));
    }
    let mut api = Api::of(host, container).await?;
    let answer = api.get(path).await?;
    let found = api.found.clone();
    *way = Some(api);
    Ok((answer, found))
}

/// Waits until Traefik's API shows some services, enabled, and no longer shows others.
pub(super) async fn await_services(
    host: &Host,
    container: &str,
    shows: &[String],
    gone: &[String],
) -> Result<(), OpError> {
    let end = Instant::now() + SHOWN;
    loop {
        let mut missing = None;
        let wanted = shows.iter().map(|name| (name, true));
        for (name, is_wanted) in wanted.chain(gone.iter().map(|name| (name, false))) {
            let answer = api(host, container, &format!("/api/http/services/{name}@file")).await?;
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

/// Reads Traefik's own counts of requests for the services of a transaction.
pub(super) async fn requests_of(
    host: &Host,
    container: &str,
    transaction: &TransactionId,
) -> Option<Requests> {
    let answer = api(host, container, "/metrics").await.ok()?;
    let text = String::from_utf8(answer.body).ok()?;
    Some(count_requests(&text, transaction))
}

/// Adds up `traefik_service_requests_total` over the services of a transaction.
fn count_requests(metrics: &str, transaction: &TransactionId) -> Requests {
    let service = format!("-{transaction}@file\"");
    let mut requests = Requests::default();
    for line in metrics.lines() {
        let Some(rest) = line.strip_prefix("traefik_service_requests_total{") else {
            continue;
        };
        let Some((labels, value)) = rest.rsplit_once("} ") else {
            continue;
        };
        // Large counts are written as 1e+06.
        let value: f64 = value.trim().parse().unwrap_or(0.0);
        if !labels.contains(&service) || value < 0.0 {
            continue;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts are whole, not negative, and a cast from float saturates"
        )]
        let count = value as u64;
        requests.all += count;
        if labels.contains("code=\"5") {
            requests.failed += count;
        }
    }
    requests
}

/// A port that has to show a release, and the name that is asked for there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::deploy) struct Door {
    port: u16,
    name: String,
    is_tls: bool,
}

impl Door {
    async fn open(&self, host: &Host) -> Result<http::Kept, OpError> {
        let opened = async {
            let stream = host.ssh.connect_tcp("127.0.0.1", self.port).await?;
            let kept = if self.is_tls {
                http::Kept::tls(stream, &self.name).await
            } else {
                http::Kept::new(stream).await
            };
            kept.map_err(|error| self.silent(&crate::deploy::error::chain(&error)))
        };
        let late = |_| Err(self.silent("no connection in time"));
        timeout(ANSWER, opened).await.unwrap_or_else(late)
    }

    fn silent(&self, reason: &str) -> OpError {
        OpError::Proxy(format!("did not answer on port {}: {reason}", self.port))
    }
}

/// Every port that routes use, with the route.
async fn doors<'a>(
    host: &Host,
    container: &str,
    routes: &'a [RouteSpec],
) -> Result<Vec<(Door, &'a RouteSpec)>, OpError> {
    let (entries, found) = entry_points(host, container, Duration::MAX).await?;
    let mut doors = Vec::new();
    for route in routes {
        let main = if route.tls.is_some() { WEB_SECURE } else { WEB };
        let mut wanted = vec![(main.to_owned(), route.tls.is_some())];
        wanted.extend(
            route
                .plain_ports
                .iter()
                .map(|port| (plain_entry(*port), false)),
        );
        for (entry, is_tls) in wanted {
            let inside = entry_port(&entries, &entry)?;
            let key = format!("{inside}/tcp");
            let published = found.ports.iter().find(|port| port.container == key);
            let port = published.map(|port| port.host_port).ok_or_else(|| {
                OpError::Proxy(format!(
                    "does not publish port {inside} of entry point `{entry}`"
                ))
            })?;
            let name = route.hosts.first().map_or("localhost", String::as_str);
            let name = name.to_owned();
            doors.push((Door { port, name, is_tls }, route));
        }
    }
    Ok(doors)
}

/// Opens connections to every port that routes use, ahead of the proof, where they can be.
pub(super) async fn open_doors(host: &Host, container: &str, routes: &[RouteSpec]) {
    let Ok(doors) = doors(host, container, routes).await else {
        return;
    };
    let opening = doors.into_iter().map(|(door, _)| async {
        let opened = door.open(host).await.ok();
        (door, opened)
    });
    let opened = futures_util::future::join_all(opening).await;
    let opened = opened
        .into_iter()
        .filter_map(|(door, kept)| Some((door, kept?)));
    host.doors.lock().await.extend(opened);
}

/// Sends a request for the transaction to every port that its routes use, to all at once.
pub(super) async fn prove(
    host: &Host,
    container: &str,
    routes: &[RouteSpec],
    transaction: &TransactionId,
) -> Result<(), OpError> {
    let doors = doors(host, container, routes).await?;
    let proofs = doors
        .into_iter()
        .map(|(door, route)| prove_port(host, route, transaction, door));
    futures_util::future::try_join_all(proofs).await?;
    Ok(())
}

/// The port of an entry point inside the container.
fn entry_port(entries: &Value, entry: &str) -> Result<u16, OpError> {
    let named = |found: &&Value| found.get("name").and_then(Value::as_str) == Some(entry);
    let found = entries.as_array().and_then(|all| all.iter().find(named));
    let address = found.and_then(|found| found.get("address"));
    let address = address.and_then(Value::as_str).unwrap_or_default();
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
    door: Door,
) -> Result<(), OpError> {
    let path = route.paths.first().unwrap_or(&route.health.path);
    let headers = [(PROBE_HEADER, transaction.as_str())];
    let end = Instant::now() + SHOWN;
    let mut kept = host.doors.lock().await.remove(&door);
    loop {
        let wanted = http::Get {
            host: &door.name,
            path,
            headers: &headers,
            limit: ANSWER,
        };
        let way = match kept.take().filter(http::Kept::is_open) {
            Some(way) => Ok(way),
            None => door.open(host).await,
        };
        let reason = match way {
            Ok(mut way) => match way.get(wanted).await {
                Ok(answer) if proves(&answer, transaction) => return Ok(()),
                Ok(answer) => {
                    kept = Some(way);
                    format!("answered {} `{}`", answer.status, answer.first_line())
                }
                Err(error) => format!("did not answer: {}", crate::deploy::error::chain(&error)),
            },
            Err(error) => error.chain(),
        };
        if Instant::now() >= end {
            let (name, port) = (&door.name, door.port);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_one_transaction_are_added_up() {
        let metrics = "# HELP traefik_service_requests_total How many\n\
            traefik_service_requests_total{code=\"200\",method=\"GET\",protocol=\"http\",service=\"shop-web-t2@file\"} 90\n\
            traefik_service_requests_total{code=\"502\",method=\"GET\",protocol=\"http\",service=\"shop-web-t2@file\"} 7\n\
            traefik_service_requests_total{code=\"500\",method=\"POST\",protocol=\"http\",service=\"shop-api-t2@file\"} 1e+03\n\
            traefik_service_requests_total{code=\"500\",method=\"GET\",protocol=\"http\",service=\"shop-web-t1@file\"} 50\n";
        let id = TransactionId::parse("t2").unwrap();
        let expected = Requests {
            all: 1097,
            failed: 1007,
        };
        assert_eq!(count_requests(metrics, &id), expected);
    }

    #[test]
    fn an_error_of_the_proxy_itself_proves_nothing() {
        let id = TransactionId::parse("t2").unwrap();
        let answer = |status, named: &str| Answer {
            status,
            headers: vec![("x-runner-release".to_owned(), named.to_owned())],
            body: Vec::new(),
        };
        for (status, named, is_proof) in [
            (200, "t2", true),
            (404, "t2", true),
            (500, "t2", true),
            (502, "t2", false),
            (504, "t2", false),
            (200, "t1", false),
        ] {
            assert_eq!(
                proves(&answer(status, named), &id),
                is_proof,
                "{status} {named}"
            );
        }
    }
}
