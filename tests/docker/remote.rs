//! A server's daemon, reached by SSH.

use std::time::Duration;

use futures_util::StreamExt as _;
use runner::{
    docker::{BuildSpec, DEFAULT_SOCKET, Engine, ExecSpec, LogOptions},
    ssh::Connection,
};
use tokio::time::timeout;

use super::{
    build::{build, folder},
    remove, run, spec,
};
use crate::support::{
    images::{BUSYBOX, engine, unique},
    sshd::Sshd,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_host_s_daemon_is_reached_by_ssh_with_one_exchange_a_question() {
    engine().await;
    let sshd = Sshd::start();
    let host = Connection::connect(&sshd.address(), &sshd.options())
        .await
        .unwrap();
    let engine = Engine::over_ssh(&host, DEFAULT_SOCKET).await.unwrap();
    assert!(!engine.is_dialled());
    let before = host.statistics();
    for _ in 0..20 {
        engine.ping().await.unwrap();
    }
    let after = host.statistics();
    // One more may be opened while the first is on its way back to the pool.
    assert!(
        after.channels <= before.channels + 1,
        "{before:?} {after:?}"
    );
    assert_eq!(after.exchanges, before.exchanges + 20);
    exercise(&engine).await;
    drop(host);
    engine.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_forbids_the_socket_is_reached_by_its_docker_command() {
    engine().await;
    let sshd = Sshd::with("AllowStreamLocalForwarding no");
    let host = Connection::connect(&sshd.address(), &sshd.options())
        .await
        .unwrap();
    let engine = Engine::over_ssh(&host, DEFAULT_SOCKET).await.unwrap();
    assert!(engine.is_dialled());
    let before = host.statistics();
    for _ in 0..20 {
        engine.ping().await.unwrap();
    }
    let after = host.statistics();
    assert!(
        after.commands <= before.commands + 1,
        "{before:?} {after:?}"
    );
    exercise(&engine).await;
}

/// The operations that use a connection in different ways.
async fn exercise(engine: &Engine) {
    let id = run(engine, &spec("echo a; sleep 1000")).await;
    let command = ExecSpec::of_words(["sh", "-c", "cat; exit 4"]);
    let input = vec![7; 2_000_000];
    let done = engine
        .exec_output(&id, &command, Some(&input))
        .await
        .unwrap();
    assert_eq!(done.code, 4);
    assert!(done.stdout == input);
    let follow = LogOptions {
        follow: true,
        ..LogOptions::default()
    };
    let mut logs = engine.logs(&id, &follow);
    assert_eq!(logs.next().await.unwrap().unwrap().bytes.as_ref(), b"a\n");
    // A question beside an answer that never ends, and one that is dropped.
    engine.ping().await.unwrap();
    drop(logs);
    let (asked, waited) = (engine.clone(), id.clone());
    assert!(
        timeout(Duration::from_millis(50), asked.wait(&waited))
            .await
            .is_err()
    );
    let folder = folder(&[(
        "Dockerfile",
        &format!("FROM {BUSYBOX}\nRUN --mount=type=secret,id=s cat /run/secrets/s | wc -c\n"),
    )]);
    let tag = format!("{}:1", unique("remote"));
    let mut wishes = BuildSpec::of_folder(folder.path(), &tag);
    wishes.secrets.insert("s".into(), b"12345".to_vec());
    wishes.no_cache = true;
    let (built, said) = build(engine, &wishes).await;
    built.unwrap();
    assert!(said.contains("\n5\n"), "{said}");
    engine.remove_image(&tag, true).await.unwrap();
    let questions = (0..20).map(|_| engine.container(&id));
    for answer in futures_util::future::join_all(questions).await {
        assert!(answer.unwrap().unwrap().is_running());
    }
    remove(engine, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_a_daemon_is_explained() {
    let sshd = Sshd::start();
    let host = Connection::connect(&sshd.address(), &sshd.options())
        .await
        .unwrap();
    // `docker version` works here, so what is left is that nothing listens at the socket named.
    let dialled = Engine::over_ssh(&host, "/nowhere/docker.sock")
        .await
        .unwrap();
    assert!(dialled.is_dialled());
    host.close().await;
    let error = dialled.ping().await.unwrap_err();
    let text = format!("{error:?}");
    assert!(text.contains("closed by this side"), "{text}");
}
