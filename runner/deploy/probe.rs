//! What does run on a host: one script for the records, the daemon for the rest, all at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use tokio::try_join;

use super::{
    error::OpError,
    host::Host,
    http,
    script::{carries_transaction, quote},
};
use crate::{
    docker::{Image, Listed, State},
    release::{
        ACCESSORY_LABEL, APPLICATION_LABEL, AUTHORITY_LABEL, Answer, ContainerId, ContainerName,
        Digest, Duty, Fence, Found, HostState, LockDetails, LockFound, Millis, PROXY_LABEL,
        PURPOSE_LABEL, ProxyFound, RoleName, RouteFile, Spec, TRANSACTION_LABEL, TransactionId,
        UnixMillis, paths, traefik,
    },
};

/// How long a container that runs already may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// How much is looked at; each more costs round trips.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sight {
    /// Records and files, containers, images and networks.
    Records,
    /// The proxy and its ports, too.
    Proxy,
    /// And which containers answer.
    Whole,
}

/// What the host's own files say.
#[derive(Debug, Default)]
struct Records {
    files: HashMap<String, String>,
    listed: BTreeSet<String>,
    lease_age: Option<u64>,
    ports: BTreeSet<u16>,
}

/// Looks at one host, for one release and what it could meet there.
pub(super) async fn probe(host: &Host, spec: &Spec, sight: Sight) -> Result<HostState, OpError> {
    let (records, containers, images, networks, proxy) = try_join!(
        read_records(host, spec),
        async { Ok(host.engine.containers(&[]).await?) },
        async { Ok(host.engine.images(&[]).await?) },
        present_networks(host, spec),
        async {
            match spec.proxy.as_ref().filter(|_| sight >= Sight::Proxy) {
                Some(wish) => Ok(host.engine.container(wish.container.as_str()).await?),
                None => Ok(None),
            }
        },
    )?;
    let mut state = HostState {
        networks,
        ..HostState::default()
    };
    sort_images(spec, &images, &mut state);
    sort_containers(spec, &containers, &images, &mut state);
    take_records(spec, records, &mut state);
    if sight < Sight::Proxy {
        return Ok(state);
    }
    let way = async {
        if let (Sight::Whole, Some(wish), Some(found)) = (sight, &spec.proxy, proxy.clone()) {
            host.look_at_proxy(wish, found).await;
        }
    };
    let asked = async {
        match sight {
            Sight::Whole => ask_containers(host, spec, &state).await,
            Sight::Records | Sight::Proxy => Vec::new(),
        }
    };
    let proxy = find_proxy(host, spec, &containers, proxy.clone());
    let (proxy, answers, ()) = tokio::join!(proxy, asked, way);
    state.proxy = proxy?;
    for (id, answer) in answers {
        if let Some(found) = state.containers.iter_mut().find(|found| found.id == id) {
            found.answered = Some(answer);
        }
    }
    name_ports(host, spec, &containers, &mut state).await?;
    Ok(state)
}

async fn present_networks(host: &Host, spec: &Spec) -> Result<BTreeSet<String>, OpError> {
    let migration = spec.migrate.as_ref().map(|migrate| &migrate.container);
    let containers = spec.containers_of(&host.name).chain(migration);
    let wanted: BTreeSet<&String> = containers
        .flat_map(|container| &container.networks)
        .collect();
    let mut present = BTreeSet::new();
    let asked = wanted
        .into_iter()
        .map(|name| async move { (name, host.engine.network(name).await) });
    for (name, found) in futures_util::future::join_all(asked).await {
        if found?.is_some() {
            present.insert(name.clone());
        }
    }
    Ok(present)
}

async fn read_records(host: &Host, spec: &Spec) -> Result<Records, OpError> {
    let paths = spec.paths();
    let boundary = format!("==runner-{}==", uuid::Uuid::now_v7().simple());
    let wanted = [
        paths.lock_details(),
        paths.lease(),
        paths.fence(),
        paths.journal(),
        paths.history(),
        paths.route(),
    ];
    let files: Vec<_> = wanted.iter().map(|path| quote(path)).collect();
    let folders = [
        paths.records(),
        paths::STAGING.to_owned(),
        paths::CERTIFICATES.to_owned(),
        env_folder(&paths),
    ];
    let folders: Vec<_> = folders.iter().map(|path| quote(path)).collect();
    let text = format!(
        "for f in {files}; do if [ -f \"$f\" ]; then printf '\\n%s file %s\\n' {b} \"$f\"; cat \"$f\"; fi; done\n\
         if [ -d {lock} ]; then printf '\\n%s lock\\n' {b}; fi\n\
         if [ -f {lease} ]; then printf '\\n%s age\\n%s' {b} $(( $(date +%s) - $(stat -c %Y {lease}) )); fi\n\
         printf '\\n%s list\\n' {b}; find {folders} -type f 2>/dev/null\n\
         printf '\\n%s ports\\n' {b}; cat /proc/net/tcp /proc/net/tcp6 2>/dev/null\n",
        files = files.join(" "),
        b = quote(&boundary),
        lock = quote(&paths.lock()),
        lease = quote(&paths.lease()),
        folders = folders.join(" "),
    );
    let (stdout, _) = host.script(text, "read the records of the deploy").await?;
    Ok(parse_records(&stdout, &boundary, &paths.lock()))
}

fn env_folder(paths: &paths::Paths) -> String {
    let file = paths.role_env(&"x".into());
    file.strip_suffix("/roles/x.env")
        .unwrap_or(&file)
        .to_owned()
}

fn parse_records(stdout: &str, boundary: &str, lock: &str) -> Records {
    let mut records = Records::default();
    for section in stdout.split(&format!("\n{boundary} ")).skip(1) {
        let (head, body) = section.split_once('\n').unwrap_or((section, ""));
        match head.split_once(' ').unwrap_or((head, "")) {
            ("file", path) => drop(records.files.insert(path.to_owned(), body.to_owned())),
            ("lock", _) => drop(records.files.insert(lock.to_owned(), String::new())),
            ("age", _) => records.lease_age = body.trim().parse().ok().or(Some(0)),
            ("list", _) => records.listed.extend(body.lines().map(str::to_owned)),
            ("ports", _) => records
                .ports
                .extend(body.lines().filter_map(listening_port)),
            _ => {}
        }
    }
    records
}

/// A line of `/proc/net/tcp` whose socket listens for others than the host itself.
fn listening_port(line: &str) -> Option<u16> {
    let mut words = line.split_whitespace();
    let local = words.nth(1)?;
    let state = words.nth(1)?;
    let (address, port) = local.rsplit_once(':')?;
    let loopback = address == "0100007F" || address == "00000000000000000000000001000000";
    (state == "0A" && !loopback)
        .then(|| u16::from_str_radix(port, 16).ok())
        .flatten()
}

fn take_records(spec: &Spec, mut records: Records, state: &mut HostState) {
    let paths = spec.paths();
    let text = |path: &str| records.files.get(path);
    let lease = text(&paths.lease()).and_then(|text| serde_json::from_str(text).ok());
    let details = text(&paths.lock_details()).and_then(|text| LockDetails::from_file(text));
    if records.files.contains_key(&paths.lock()) {
        let age = Millis::from_secs(records.lease_age.unwrap_or(0));
        state.lock = Some(LockFound {
            details,
            lease,
            age,
        });
    }
    state.fence = text(&paths.fence())
        .and_then(|text| Fence::parse(text))
        .unwrap_or_default();
    state.journal = text(&paths.journal()).and_then(|text| serde_json::from_str(text).ok());
    let history = text(&paths.history())
        .map(String::as_str)
        .unwrap_or_default();
    state.history = history
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    state.route = records.files.remove(&paths.route()).map(|text| RouteFile {
        route: traefik::read_dynamic(&text).ok(),
        text,
    });
    state.files = records
        .listed
        .into_iter()
        .filter(|path| carries_transaction(path))
        .collect();
    state.ports = records.ports.into_iter().map(|port| (port, None)).collect();
}

fn sort_images(spec: &Spec, images: &[Image], state: &mut HostState) {
    let repository = &spec.image.repository;
    let latest = format!("{repository}:{}", spec.latest_tag());
    for image in images {
        let Some(digest) = image.digest_in(repository).map(Digest::new) else {
            continue;
        };
        if image.tags.contains(&latest) {
            state.latest = Some(digest.clone());
        }
        state.images.insert(digest);
    }
}

fn sort_containers(spec: &Spec, containers: &[Listed], images: &[Image], state: &mut HostState) {
    let digests: HashMap<&str, Digest> = images
        .iter()
        .filter_map(|image| Some((image.id.as_str(), image.digest_in(&spec.image.repository)?)))
        .map(|(id, digest)| (id, Digest::new(digest)))
        .collect();
    for listed in containers {
        match found(spec, listed, &digests) {
            Some(found) => state.containers.push(found),
            None => {
                let name = ContainerName::new(listed.name.clone());
                if spec
                    .accessories
                    .iter()
                    .any(|accessory| accessory.container == name)
                {
                    let runs = listed.state == State::Running;
                    state.accessories.insert(name.clone(), runs);
                }
                state.other_names.insert(name);
            }
        }
    }
}

/// The container as one of this service and destination; `None` for any other.
fn found(spec: &Spec, listed: &Listed, digests: &HashMap<&str, Digest>) -> Option<Found> {
    let label = |name: &str| listed.labels.get(name).map(String::as_str);
    let service = label("service").unwrap_or_default();
    let destination = label("destination").unwrap_or_default();
    let wanted = spec.destination.as_deref().unwrap_or_default();
    let transaction = label(TRANSACTION_LABEL).and_then(|id| TransactionId::parse(id).ok());
    let of_service = service == spec.service.as_str() && destination == wanted;
    let stem = service_and_destination(spec);
    let worker = match label(APPLICATION_LABEL) {
        Some(application) => label(ACCESSORY_LABEL)
            .filter(|_| application == stem)
            .map(RoleName::from),
        // One that Kamal started, or `docker run`.
        None => spec
            .containers
            .iter()
            .find(|container| {
                container.duty == Duty::WorkerAccessory
                    && (service == container.name.as_str()
                        || listed.name == container.name.as_str())
            })
            .map(|container| container.role.clone()),
    };
    if !of_service && worker.is_none() {
        return None;
    }
    let one_off = label(PURPOSE_LABEL).is_some();
    let is_accessory = worker.is_some();
    let role = match worker {
        Some(role) => Some(role),
        None => label("role").filter(|_| !one_off).map(Into::into),
    };
    let release = role
        .as_ref()
        .and_then(|role| release_of(spec, listed, role.as_str(), transaction.as_ref()));
    Some(Found {
        id: ContainerId::new(listed.id.clone()),
        name: ContainerName::new(listed.name.clone()),
        role,
        transaction,
        release: release.map(Into::into),
        image: digests.get(listed.image_id.as_str()).cloned(),
        ran: matches!(
            listed.state,
            State::Running | State::Restarting | State::Paused
        ),
        answered: None,
        accessory: is_accessory,
        created: UnixMillis(
            u64::try_from(listed.created)
                .unwrap_or(0)
                .saturating_mul(1000),
        ),
    })
}

fn service_and_destination(spec: &Spec) -> String {
    match &spec.destination {
        Some(destination) => format!("{}-{destination}", spec.service),
        None => spec.service.to_string(),
    }
}

/// The release in a container's name, without what an exchange of names adds to it.
fn release_of<'a>(
    spec: &Spec,
    listed: &'a Listed,
    role: &str,
    transaction: Option<&TransactionId>,
) -> Option<&'a str> {
    let prefix = match &spec.destination {
        Some(destination) => format!("{}-{role}-{destination}-", spec.service),
        None => format!("{}-{role}-", spec.service),
    };
    let rest = listed.name.strip_prefix(prefix.as_str())?;
    let rest = rest
        .split_once("_replaced_")
        .map_or(rest, |(release, _)| release);
    let mark = transaction.map(|id| format!("_{id}"));
    Some(
        mark.and_then(|mark| rest.strip_suffix(mark.as_str()))
            .unwrap_or(rest),
    )
}

/// Asks every container that requests could reach for the answer that its gate asked for.
async fn ask_containers(host: &Host, spec: &Spec, state: &HostState) -> Vec<(ContainerId, Answer)> {
    let asked = state
        .containers
        .iter()
        .filter(|found| found.ran)
        .filter_map(|found| {
            let route = spec
                .routes
                .iter()
                .find(|route| Some(&route.role) == found.role.as_ref())?;
            let answer = Answer {
                port: route.app_port,
                path: route.health.path.clone(),
                limit: spec.gate.limit,
            };
            Some(async move {
                answers(host, &found.id, &answer)
                    .await
                    .then(|| (found.id.clone(), answer))
            })
        });
    futures_util::future::join_all(asked)
        .await
        .into_iter()
        .flatten()
        .collect()
}

/// Tells whether a container answers with 2xx at this moment.
pub(super) async fn answers(host: &Host, id: &ContainerId, answer: &Answer) -> bool {
    let ask = async {
        let found = host.engine.container(id.as_str()).await.ok().flatten()?;
        let ip = found
            .networks
            .values()
            .map(|joined| &joined.ip)
            .find(|ip| !ip.is_empty())?;
        // One that was restarted may be gone again before it answers.
        let stream = if found.restart_count > 0 {
            let connect = host.connect_container(ip, answer.port, ANSWER / 2);
            connect.await.ok()?
        } else {
            host.ssh.connect_tcp(ip, answer.port).await.ok()?
        };
        let wanted = http::Get {
            host: id.short(),
            path: &answer.path,
            headers: &[],
            limit: ANSWER,
        };
        http::get(stream, wanted).await.ok()
    };
    let answer = tokio::time::timeout(ANSWER, ask).await;
    answer
        .ok()
        .flatten()
        .is_some_and(|answer| answer.is_success())
}

async fn find_proxy(
    host: &Host,
    spec: &Spec,
    containers: &[Listed],
    wanted: Option<crate::docker::Found>,
) -> Result<Option<ProxyFound>, OpError> {
    if spec.proxy.is_none() {
        return Ok(None);
    }
    let by_name = |name: &&str| containers.iter().find(|listed| listed.name == **name);
    let other = || ["kamal-proxy", "traefik", "caddy"].iter().find_map(by_name);
    let found = match (wanted, other()) {
        (Some(found), _) => found,
        (None, None) => return Ok(None),
        (None, Some(listed)) => match host.engine.container(&listed.id).await? {
            Some(found) => found,
            None => return Ok(None),
        },
    };
    let known = ["kamal-proxy", "traefik", "caddy", "nginx", "haproxy"];
    let labelled = found.labels.get(PROXY_LABEL).map(String::as_str);
    let driver = known
        .iter()
        .find(|driver| found.image.contains(**driver))
        .or_else(|| known.iter().find(|driver| found.name.contains(**driver)));
    Ok(Some(ProxyFound {
        driver: labelled
            .or(driver.copied())
            .map_or_else(|| found.image.clone(), str::to_owned),
        container: ContainerName::new(found.name.clone()),
        running: found.is_running(),
        ports: found.ports.iter().map(|port| port.host_port).collect(),
        authority: found.labels.get(AUTHORITY_LABEL).cloned(),
    }))
}

/// Says which containers hold the ports that the proxy should hold and does not.
async fn name_ports(
    host: &Host,
    spec: &Spec,
    containers: &[Listed],
    state: &mut HostState,
) -> Result<(), OpError> {
    let held = state
        .proxy
        .as_ref()
        .map(|proxy| proxy.ports.clone())
        .unwrap_or_default();
    let wanted = spec.proxy.iter().flat_map(|proxy| &proxy.ports);
    let open: Vec<u16> = wanted
        .filter(|port| !held.contains(port) && state.ports.contains_key(port))
        .copied()
        .collect();
    if open.is_empty() {
        return Ok(());
    }
    let mut names = BTreeMap::new();
    for listed in containers
        .iter()
        .filter(|listed| listed.state == State::Running)
    {
        if let Some(found) = host.engine.container(&listed.id).await? {
            let ports = found.ports.iter().map(|port| port.host_port);
            names.extend(ports.map(|port| (port, ContainerName::new(listed.name.clone()))));
        }
    }
    for port in open {
        state.ports.insert(port, names.remove(&port));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_says_is_taken_apart() {
        let said = "\n#b# file a/fence\n7\n\n#b# file a/text\n#b#\n\n#b# lock\n\n#b# age\n12\n#b# list\na/b.c\nd\n\n#b# ports\n\
            sl local rem st\n0: 00000000:0BBA 00000000:0000 0A 0\n1: 0100007F:1F90 00000000:0000 0A 0\n2: 00000000:01BB 00000000:0000 01 0\n";
        let records = parse_records(said, "#b#", "lock");
        assert_eq!(records.files["a/fence"], "7\n");
        assert_eq!(records.files["a/text"], "#b#\n");
        assert!(records.files.contains_key("lock"));
        assert_eq!(records.lease_age, Some(12));
        assert!(records.listed.contains("a/b.c") && records.listed.contains("d"));
        let ports: Vec<_> = records.ports.into_iter().collect();
        assert_eq!(
            ports,
            [3002],
            "neither of the host alone nor of a connection"
        );
    }
}
