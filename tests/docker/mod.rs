//! The Docker room against the machine's own daemon.

mod build;
mod remote;

use std::{
    collections::BTreeMap,
    io::Read as _,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, TryStreamExt as _};
use runner::docker::{
    Chunk, ContainerSpec, DockerError, Engine, Env, ExecSpec, Found, Health, HealthCheck,
    LogOptions, LogSettings, Publish, RestartPolicy, State, StdStream,
};
use tokio::time::timeout;

use crate::support::images::{BUSYBOX, engine, unique};

const LONG: Duration = Duration::from_secs(60);

fn shell(script: &str) -> Option<Vec<String>> {
    Some(vec!["sh".into(), "-c".into(), script.into()])
}

fn spec(script: &str) -> ContainerSpec {
    ContainerSpec {
        name: unique("box"),
        command: shell(script),
        labels: [("runner.test".to_owned(), "1".to_owned())].into(),
        init: Some(true),
        ..ContainerSpec::of_image(BUSYBOX)
    }
}

/// Creates and starts a container, and returns its id.
async fn run(engine: &Engine, spec: &ContainerSpec) -> String {
    let id = engine.create_container(spec).await.unwrap();
    engine.start(&id).await.unwrap();
    id
}

async fn remove(engine: &Engine, id: &str) {
    assert!(engine.remove_container(id, true, true).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_version_is_negotiated() {
    let engine = engine().await;
    engine.ping().await.unwrap();
    let version = engine.version().await.unwrap();
    let (major, minor) = version.api.split_once('.').unwrap();
    assert!(
        (1, 41) <= (major.parse().unwrap(), minor.parse().unwrap()),
        "{version:?}"
    );
    assert_eq!(version.os, "linux");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_not_there_is_said() {
    let error = Engine::local("/nowhere/docker.sock").await.unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error, DockerError::Unreachable { .. }),
        "{error:?}"
    );
    assert!(
        text.ends_with("its socket is not there; is it running?"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_lives_its_life() {
    let engine = engine().await;
    let spec = spec("echo out; echo err >&2; trap 'exit 5' TERM; while :; do sleep 0.1; done");
    let id = engine.create_container(&spec).await.unwrap();
    let created = engine.container(&spec.name).await.unwrap().unwrap();
    assert_eq!(
        (created.state, created.started_at.as_ref()),
        (State::Created, None)
    );
    let clash = engine.create_container(&spec).await.unwrap_err();
    assert!(
        clash.is_conflict() && clash.to_string().contains(&spec.name),
        "{clash}"
    );
    engine.start(&id).await.unwrap();
    engine.start(&id).await.unwrap();
    let name = unique("renamed");
    engine.rename(&id, &name).await.unwrap();
    let running = engine.container(&id).await.unwrap().unwrap();
    assert!(running.is_running() && running.pid.is_some() && running.exit_code.is_none());
    assert_eq!(
        (running.name.as_str(), running.image.as_str()),
        (name.as_str(), BUSYBOX)
    );
    engine.stop(&id, Duration::from_secs(20)).await.unwrap();
    assert_eq!(engine.wait(&id).await.unwrap(), 5);
    let ended = engine.container(&id).await.unwrap().unwrap();
    assert_eq!(
        (ended.state, ended.exit_code, ended.oom_killed),
        (State::Exited, Some(5), false)
    );
    assert!(ended.finished_at.is_some());
    let not_running = engine.kill(&id, "SIGUSR1").await.unwrap_err();
    assert!(not_running.is_conflict(), "{not_running}");
    remove(&engine, &id).await;
    assert!(!engine.remove_container(&id, true, true).await.unwrap());
    assert_eq!(engine.container(&id).await.unwrap(), None);
    assert!(engine.start(&id).await.unwrap_err().is_not_found());
}

fn tar_of(name: &str, content: &[u8], mode: u32) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    tar.append_data(&mut header, name, content).unwrap();
    tar.into_inner().unwrap()
}

async fn until_healthy(engine: &Engine, id: &str) -> Found {
    let deadline = Instant::now() + LONG;
    loop {
        let found = engine.container(id).await.unwrap().unwrap();
        if found.health == Some(Health::Healthy) {
            return found;
        }
        assert!(Instant::now() < deadline, "{found:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wish_of_a_spec_reaches_the_container() {
    let engine = engine().await;
    let network = unique("net");
    engine
        .ensure_network(&network, &BTreeMap::new())
        .await
        .unwrap();
    let volume = unique("volume");
    let script =
        "echo $A; id -u; pwd; hostname; cat /etc/hosts; cat /data/x; ulimit -n; sleep 1000";
    let wishes = ContainerSpec {
        env: [("A", "b c")].into_iter().collect::<Env>(),
        volumes: vec![format!("{volume}:/data")],
        publish: vec![Publish::parse("127.0.0.1::80").unwrap()],
        network: Some(network.clone()),
        aliases: vec!["web".into()],
        restart: RestartPolicy::UnlessStopped,
        memory: Some(64 << 20),
        cpus: Some(0.5),
        user: Some("1234".into()),
        workdir: Some("/tmp".into()),
        hostname: Some("thehost".into()),
        extra_hosts: vec!["other:10.9.8.7".into()],
        log: Some(LogSettings {
            driver: "json-file".into(),
            options: [("max-size".to_owned(), "10m".to_owned())].into(),
        }),
        health: Some(HealthCheck {
            command: Some("echo fine".into()),
            interval: Some(Duration::from_millis(100)),
            ..HealthCheck::default()
        }),
        stop_timeout: Some(Duration::from_secs(3)),
        ulimits: vec![runner::docker::Ulimit {
            name: "nofile".into(),
            soft: 321,
            hard: 400,
        }],
        ..spec(script)
    };
    let id = engine.create_container(&wishes).await.unwrap();
    let packed = tar_of("x", b"stored", 0o644);
    engine.put_archive(&id, "/data", packed).await.unwrap();
    engine.start(&id).await.unwrap();
    let found = until_healthy(&engine, &id).await;
    let said = engine.last_lines(&id, 100).await.unwrap();
    for part in [
        "b c\n1234\n/tmp\nthehost\n",
        "10.9.8.7\tother",
        "stored321\n",
    ] {
        assert!(said.contains(part), "{part:?} in {said:?}");
    }
    assert_eq!(found.health_output.trim(), "fine");
    assert!(!found.networks[&network].ip.is_empty());
    assert!(found.networks[&network].aliases.contains(&"web".to_owned()));
    let port = &found.ports[0];
    assert_eq!(
        (port.container.as_str(), port.host_ip.as_str()),
        ("80/tcp", "127.0.0.1")
    );
    assert!(port.host_port > 0);
    let usage = engine.usage(&id, false).await.unwrap();
    assert_eq!((usage.memory_limit, usage.cpu_percent), (64 << 20, None));
    assert!(usage.memory > 0 && usage.processes > 0);
    assert!(
        engine
            .remove_volume(&volume)
            .await
            .unwrap_err()
            .is_conflict()
    );
    remove(&engine, &id).await;
    assert!(engine.remove_volume(&volume).await.unwrap());
    assert!(!engine.remove_volume(&volume).await.unwrap());
    assert!(engine.remove_network(&network).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_are_listed_by_their_labels() {
    let engine = engine().await;
    let key = unique("label");
    let mut wishes = spec("true");
    wishes.labels.insert(key.clone(), "a".into());
    let id = engine.create_container(&wishes).await.unwrap();
    let found = engine.containers(std::slice::from_ref(&key)).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        (&found[0].id, &found[0].name, found[0].state),
        (&id, &wishes.name, State::Created)
    );
    assert!(
        engine
            .containers(&[format!("{key}=b")])
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        engine
            .containers(&[format!("{key}=a")])
            .await
            .unwrap()
            .len(),
        1
    );
    remove(&engine, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_followed_to_the_end_and_cut_to_the_last_lines() {
    let engine = engine().await;
    let id = run(
        &engine,
        &spec("echo 1; sleep 0.3; echo 2 >&2; sleep 0.3; echo 3"),
    )
    .await;
    let options = LogOptions {
        follow: true,
        ..LogOptions::default()
    };
    let chunks: Vec<Chunk> = engine.logs(&id, &options).try_collect().await.unwrap();
    let of = |stream| {
        let bytes = chunks.iter().filter(|chunk| chunk.stream == stream);
        bytes
            .flat_map(|chunk| chunk.bytes.to_vec())
            .collect::<Vec<u8>>()
    };
    assert_eq!(
        (of(StdStream::Stdout), of(StdStream::Stderr)),
        (b"1\n3\n".to_vec(), b"2\n".to_vec())
    );
    assert_eq!(engine.last_lines(&id, 1).await.unwrap(), "3\n");
    let options = LogOptions {
        timestamps: true,
        tail: Some(1),
        ..LogOptions::default()
    };
    let chunks: Vec<Chunk> = engine.logs(&id, &options).try_collect().await.unwrap();
    let line = String::from_utf8_lossy(&chunks[0].bytes);
    assert!(line.starts_with("20") && line.contains("Z 3"), "{line}");
    assert_eq!(engine.wait(&id).await.unwrap(), 0);
    remove(&engine, &id).await;
    let mut gone = engine.logs(&id, &LogOptions::default());
    assert!(gone.next().await.unwrap().unwrap_err().is_not_found());
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_in_containers_with_input_and_both_outputs() {
    let engine = engine().await;
    let id = run(&engine, &spec("sleep 1000")).await;
    let command = ExecSpec {
        env: [("B", "2")].into_iter().collect(),
        user: Some("7".into()),
        workdir: Some("/tmp".into()),
        ..ExecSpec::of_words(["sh", "-c", "cat; echo $B $(id -u) $PWD >&2; exit 3"])
    };
    let input = vec![b'x'; 3_000_000];
    let done = engine
        .exec_output(&id, &command, Some(&input))
        .await
        .unwrap();
    assert_eq!((done.code, done.stderr.as_slice()), (3, &b"2 7 /tmp\n"[..]));
    assert!(done.stdout == input, "{} bytes", done.stdout.len());
    let command = ExecSpec::of_words(["sh", "-c", "cat; exit 0"]);
    assert_eq!(
        engine.exec_output(&id, &command, None).await.unwrap().code,
        0
    );
    let command = ExecSpec::of_words(["nonesuch"]);
    let missing = engine.exec_output(&id, &command, None).await.unwrap();
    assert!([126, 127].contains(&missing.code), "{missing:?}");
    let reads_nothing = ExecSpec::of_words(["true"]);
    let done = timeout(LONG, engine.exec_output(&id, &reads_nothing, Some(&input))).await;
    assert_eq!(done.expect("it ends").unwrap().code, 0);
    remove(&engine, &id).await;
    assert!(
        engine
            .exec_output(&id, &command, None)
            .await
            .unwrap_err()
            .is_not_found()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attached_container_loses_no_word() {
    let engine = engine().await;
    let wishes = ContainerSpec {
        open_stdin: true,
        ..spec("cat; echo err >&2; printf end; exit 6")
    };
    let id = engine.create_container(&wishes).await.unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut keep = |chunk: Chunk| match chunk.stream {
        StdStream::Stdout => out.extend_from_slice(&chunk.bytes),
        StdStream::Stderr => err.extend_from_slice(&chunk.bytes),
    };
    let input = vec![b'y'; 1_000_000];
    let mut source = input.as_slice();
    let code = engine
        .run_attached(&id, Some(&mut source), &mut keep)
        .await
        .unwrap();
    assert_eq!((code, err.as_slice()), (6, &b"err\n"[..]));
    assert!(
        out == [input.as_slice(), b"end"].concat(),
        "{} bytes",
        out.len()
    );
    remove(&engine, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_in_and_come_out() {
    let engine = engine().await;
    let id = engine.create_container(&spec("true")).await.unwrap();
    let content: Vec<u8> = (0..5_000_000_u32).map(|i| i.to_le_bytes()[0]).collect();
    let packed = tar_of("big", &content, 0o600);
    engine.put_archive(&id, "/run", packed).await.unwrap();
    let packed = engine.get_archive(&id, "/run/big").await.unwrap();
    let mut archive = tar::Archive::new(packed.as_slice());
    let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(entry.header().mode().unwrap() & 0o777, 0o600);
    let mut back = Vec::new();
    entry.read_to_end(&mut back).unwrap();
    assert!(back == content);
    assert!(
        engine
            .get_archive(&id, "/nowhere")
            .await
            .unwrap_err()
            .is_not_found()
    );
    remove(&engine, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn networks_are_made_once_and_joined_twice_without_a_word() {
    let engine = engine().await;
    let name = unique("net");
    let labels: BTreeMap<_, _> = [("a".to_owned(), "b".to_owned())].into();
    let make = || engine.ensure_network(&name, &labels);
    let (a, b, c) = tokio::join!(make(), make(), make());
    let made = [a, b, c]
        .into_iter()
        .filter(|made| *made.as_ref().unwrap())
        .count();
    assert_eq!(made, 1);
    assert_eq!(engine.network(&name).await.unwrap().unwrap().labels, labels);
    let id = run(&engine, &spec("sleep 1000")).await;
    for _ in 0..2 {
        engine
            .connect_network(&name, &id, &["db".into()])
            .await
            .unwrap();
    }
    assert_eq!(
        engine.network(&name).await.unwrap().unwrap().containers,
        std::slice::from_ref(&id)
    );
    let found = engine.container(&id).await.unwrap().unwrap();
    assert!(found.networks[&name].aliases.contains(&"db".to_owned()));
    engine.disconnect_network(&name, &id).await.unwrap();
    remove(&engine, &id).await;
    assert!(engine.remove_network(&name).await.unwrap());
    assert!(!engine.remove_network(&name).await.unwrap());
}
