//! Kamal's verbs for servers by hand, and its hooks, on a real server.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::support::{
    process::wait_until,
    project::{X_RUNNER, address, deploy_yml},
    servers::Sandbox,
    stub::{StubProject, ask},
};

/// The server of these tests.
const SERVER: u8 = 3;

const REDIS: &str = "accessories:\n  redis:\n    image: redis:7\n    host: HOST\n    cmd: redis-server --save \"\" --appendonly yes --dir /data\n    volumes: [ \"stub_redis:/data\" ]\n    directories: [ \"extra:/extra\" ]\n    registry: { server: \"127.0.0.1:5000\", username: deploy, password: [REGISTRY_PASSWORD] }\n";

fn project(more: &str) -> (&'static Sandbox, StubProject) {
    let sandbox = Sandbox::up(&[SERVER]);
    let more = format!("{}{X_RUNNER}", more.replace("HOST", &address(SERVER)));
    let project = StubProject::new(sandbox, &deploy_yml(&[SERVER], &more));
    sandbox.clean(SERVER);
    (sandbox, project)
}

fn plain() -> String {
    format!("{}:3002", address(SERVER))
}

fn hook(project: &StubProject, name: &str, script: &str) {
    let folder = project.path().join(".kamal/hooks");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join(name);
    fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn hooks_run_at_their_places_with_kamals_variables_and_one_that_fails_undoes() {
    let (sandbox, project) = project("");
    let names = [
        "docker-setup",
        "pre-connect",
        "pre-deploy",
        "pre-app-boot",
        "post-app-boot",
        "post-deploy",
    ];
    for name in names {
        hook(
            &project,
            name,
            &format!(
                "echo \"{name} $KAMAL_COMMAND $KAMAL_SERVICE_VERSION $KAMAL_HOSTS lock=$KAMAL_LOCK ${{TOKEN:+token}} ${{KAMAL_RUNTIME:+runtime}}\" >> hooks.log; echo \"the token is $TOKEN\""
            ),
        );
    }
    let log = || {
        let text = fs::read_to_string(project.path().join("hooks.log")).unwrap_or_default();
        let _gone = fs::remove_file(project.path().join("hooks.log"));
        text
    };
    project
        .run(&["setup", "--version", "v1", "-v"])
        .expect(0)
        .says("the token is ***");
    let host = address(SERVER);
    let line = |name: &str, lock: bool, more: &str| {
        format!("{name} setup stub@v1 {host} lock={lock} {more}\n")
    };
    let expected = [
        format!("pre-connect setup stub@unknown {host} lock=false token \n"),
        format!("docker-setup setup stub@unknown {host} lock=false  \n"),
        line("pre-deploy", true, "token "),
        line("pre-app-boot", true, " "),
        line("post-app-boot", true, " "),
        line("post-deploy", false, "token runtime"),
    ];
    assert_eq!(log(), expected.concat());

    project.run(&["deploy", "--version", "v2", "-H"]).expect(0);
    assert_eq!(log(), "");

    let before = sandbox.snapshot(SERVER);
    hook(&project, "post-app-boot", "echo not so; exit 4");
    project
        .run(&["deploy", "--version", "v1"])
        .expect(20)
        .says("hook `post-app-boot` ended with code 4")
        .says("not so")
        .says("everything is as it was found");
    assert_eq!(ask(&plain(), "/version").as_deref(), Ok("v2"));
    assert_eq!(sandbox.snapshot(SERVER), before);

    hook(&project, "pre-connect", "exit 1");
    project
        .run(&["deploy", "--version", "v1"])
        .expect(5)
        .says("nothing was done")
        .says("hook `pre-connect` ended with code 1");
}

#[test]
fn the_application_is_stopped_started_and_asked_by_hand() {
    let (sandbox, project) = project("");
    project.run(&["setup", "--version", "v1"]).expect(0);

    let exec = project.run(&[
        "app",
        "exec",
        "--env",
        "SAID:so",
        "sh -c 'echo $KAMAL_VERSION $GREETING $SAID'",
    ]);
    exec.expect(0).says("v1 hello so");
    let exec = project.run(&[
        "app",
        "exec",
        "--reuse",
        "sh",
        "-c",
        "echo reused $KAMAL_VERSION",
    ]);
    exec.expect(0).says("reused v1");
    project
        .run(&["app", "exec", "sh -c 'exit 3'"])
        .expect(10)
        .says("ended with code 3");
    let left = sandbox.as_root(
        SERVER,
        "docker ps -a --format '{{.Names}}' | grep exec || true",
    );
    assert_eq!(left, "");

    project
        .run(&["app", "maintenance"])
        .expect(0)
        .says("answers 503");
    let refused = ask(&plain(), "/version").unwrap_err();
    assert!(refused.contains("503"), "{refused}");
    project.run(&["app", "live"]).expect(0).says("is live");
    wait_until(30, "the application answers again", || {
        ask(&plain(), "/version").as_deref() == Ok("v1")
    });

    project
        .run(&["app", "stop"])
        .expect(0)
        .says("stopped stub-web-v1");
    assert!(ask(&plain(), "/version").is_err());
    project
        .run(&["app", "start"])
        .expect(0)
        .says("started stub-web-v1");
    wait_until(60, "the application answers again", || {
        ask(&plain(), "/version").as_deref() == Ok("v1")
    });
    project
        .run(&["app", "boot"])
        .expect(0)
        .says("deployed `v1`");
    assert_eq!(ask(&plain(), "/version").as_deref(), Ok("v1"));
}

#[test]
fn the_lock_keeps_others_out_and_old_things_are_pruned() {
    let (sandbox, project) = project("");
    project.run(&["setup", "--version", "v1"]).expect(0);
    project
        .run(&["lock", "acquire", "-m", "no deploys today"])
        .expect(0);
    project
        .run(&["lock", "status"])
        .expect(0)
        .says("no deploys today");
    project
        .run(&["deploy", "--version", "v2"])
        .expect(5)
        .says("no deploys today");
    project
        .run(&["app", "stop"])
        .expect(5)
        .says("no deploys today");
    project.run(&["lock", "release"]).expect(0);

    project.run(&["deploy", "--version", "v2"]).expect(0);
    let stopped =
        "docker ps -a --filter status=exited --filter label=role=web --format '{{.Names}}'";
    assert!(!sandbox.as_root(SERVER, stopped).is_empty());
    project
        .run(&["prune", "containers", "--retain", "0"])
        .expect(0)
        .says("removed stub-web-v1");
    assert_eq!(sandbox.as_root(SERVER, stopped), "");
    project.run(&["prune", "images"]).expect(0);
    let images = sandbox.as_root(SERVER, "docker images --format '{{.Repository}}:{{.Tag}}'");
    assert!(images.contains("127.0.0.1:5000/stub:v2"), "{images}");
    assert!(!images.contains("127.0.0.1:5000/stub:v1"), "{images}");
    project.run(&["audit"]).expect(0).says("Pruned containers");
    assert_eq!(ask(&plain(), "/version").as_deref(), Ok("v2"));
}

#[test]
fn an_accessory_is_made_anew_and_removed_but_never_its_data() {
    let (sandbox, project) = project(REDIS);
    project.run(&["accessory", "boot", "redis"]).expect(0);
    let redis = |words: &[&str]| {
        let verb = ["accessory", "exec", "redis", "--reuse", "redis-cli"];
        project.run(&[&verb[..], words].concat())
    };
    redis(&["set", "kept", "data-of-redis"]).expect(0);
    let id = || sandbox.as_root(SERVER, "docker inspect -f '{{.Id}}' stub-redis");
    let first = id();
    project
        .run(&["accessory", "exec", "redis", "redis-cli --version"])
        .expect(0)
        .says("redis-cli 7");

    project
        .run(&["accessory", "reboot", "redis"])
        .expect(0)
        .says("rebooted stub-redis");
    assert_ne!(id(), first);
    redis(&["get", "kept"]).expect(0).says("data-of-redis");

    project
        .run(&["accessory", "stop", "redis"])
        .expect(0)
        .says("stopped stub-redis");
    project.run(&["accessory", "start", "redis"]).expect(0);

    project
        .run(&["accessory", "remove", "redis"])
        .expect(2)
        .says("confirm it with `-y`");
    project
        .run(&["accessory", "remove", "redis", "-y"])
        .expect(0)
        .says("keeps its data: volume stub_redis");
    let left = "docker ps -a --format '{{.Names}}' | grep redis; docker volume ls -q | grep stub_redis; ls -d /home/deploy/stub-redis";
    assert_eq!(
        sandbox.as_root(SERVER, left),
        "stub_redis\n/home/deploy/stub-redis\n"
    );
    project
        .run(&["accessory", "remove", "redis", "-y", "--data"])
        .expect(0);
    assert_eq!(sandbox.as_root(SERVER, left), "stub_redis\n");
    project.run(&["accessory", "boot", "redis"]).expect(0);
    redis(&["get", "kept"]).expect(0).says("data-of-redis");
}
