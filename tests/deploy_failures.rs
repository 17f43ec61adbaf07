//! Everything that can be wrong with a deploy on real servers: the old release goes on serving, nothing is changed,
//! and the message says what failed, where, and what to do.

use std::fs;

use crate::support::{
    found::{ended, running},
    project::{MIGRATES, X_RUNNER, address, deploy_yml},
    scene::{ONE, Scene, TWO},
    stub::{StubProject, ask},
};

/// A second role beside the web, without a port.
const WORKER: &str = "  worker:\n    hosts: [127.0.0.16]\n    cmd: stub worker\n";

/// The configuration with a worker on the first server.
fn with_worker(servers: &[u8], more: &str) -> String {
    let text = deploy_yml(servers, more);
    text.replacen("proxy:\n", &format!("{WORKER}proxy:\n"), 1)
}

/// Makes the registry's password another one, and returns the secrets as they were.
fn with_wrong_password(scene: &Scene) -> String {
    let good = scene.project.read(".kamal/secrets");
    let wrong = good.lines().map(|line| match line.split_once('=') {
        Some(("REGISTRY_PASSWORD", _)) => "REGISTRY_PASSWORD=not-this-one\n".to_owned(),
        _ => format!("{line}\n"),
    });
    scene
        .project
        .file(".kamal/secrets", &wrong.collect::<String>());
    good
}

#[test]
fn a_configuration_or_secret_that_is_wrong_is_refused_by_name() {
    let mut scene = Scene::usual(&[ONE]);
    let good = deploy_yml(&[ONE], X_RUNNER);
    for (from, to, words) in [
        ("service: stub\n", "", "service"),
        ("image: stub\n", "imago: stub\n", "imago"),
        ("app_port: 3000", "app_port: many", "app_port"),
        ("  proxy: { driver", "  proxi: { driver", "proxi"),
        (
            "secret: [TOKEN]",
            "secret: [TOKEN, NOBODY_HAS_IT]",
            "NOBODY_HAS_IT",
        ),
        (
            "key_pem: TLS_PRIVATE_KEY",
            "key_pem: NO_SUCH_KEY",
            "NO_SUCH_KEY",
        ),
        (
            "password: [REGISTRY_PASSWORD]",
            "password: [NO_PASSWORD]",
            "NO_PASSWORD",
        ),
    ] {
        let wrong = good.replacen(from, to, 1);
        assert_ne!(wrong, good, "{from}");
        scene.project.write(&wrong);
        let refused = scene.deploy("v2").expect(3).says(words);
        scene.project.write(&good);
        scene.unchanged(&refused);
    }
    scene.quiet();
}

#[test]
fn a_server_that_is_not_known_or_has_changed_is_not_spoken_to() {
    let mut scene = Scene::usual(&[ONE]);
    let home = tempfile::tempdir().unwrap();
    let ssh = home.path().join(".ssh");
    fs::create_dir(&ssh).unwrap();
    fs::copy(
        scene.sandbox.value("SANDBOX_SSH_KEY"),
        ssh.join("id_ed25519"),
    )
    .unwrap();
    let known = scene.sandbox.file("SANDBOX_KNOWN_HOSTS");
    let mine = |server: u8| format!("[{}]:2121 ", address(server));
    // The key of another server stands for one that was changed.
    let other = known.lines().find_map(|line| line.strip_prefix(&mine(TWO)));
    let changed = format!("{}{}\n", mine(ONE), other.unwrap());
    let home_folder = home.path().to_str().unwrap();
    for (known_hosts, words) in [
        ("", "is in no known hosts file"),
        (&changed, "is not the one in"),
    ] {
        fs::write(ssh.join("known_hosts"), known_hosts).unwrap();
        let variables = [("HOME", home_folder)];
        let refused = scene
            .project
            .run_with(&variables, &["deploy", "--version", "v2"])
            .expect(5)
            .says("127.0.0.16")
            .says(words);
        scene.unchanged(&refused);
    }
    scene.quiet();
}

#[test]
fn a_registry_that_refuses_the_password_or_lacks_the_image_changes_nothing() {
    let mut scene = Scene::usual(&[ONE]);
    let good = with_wrong_password(&scene);
    let refused = scene
        .deploy("v2")
        .expect(3)
        .says("127.0.0.1:5000/stub:v2")
        .says("could not be found in its registry");
    scene.project.file(".kamal/secrets", &good);
    scene.unchanged(&refused);
    let refused = scene.deploy("no-such").expect(3).says("no-such");
    scene.unchanged(&refused);
    let refused = scene
        .run(&["rollback", "v9"])
        .expect(3)
        .says("`v9` is not in the history");
    scene.unchanged(&refused);
    scene.quiet();
}

#[test]
fn a_gate_that_never_passes_undoes_the_deploy_and_one_that_passes_late_does_not() {
    let mut scene = Scene::usual(&[ONE, TWO]);
    scene.version("broken", &["BREAK_UP=1"]);
    scene.version("moved", &["UP_STATUS=301"]);
    scene.version("late", &["UP_AFTER=4"]);
    scene.version("silent", &["START_DELAY=60"]);
    for (version, words) in [
        ("broken", "`/up` answered 500 `broken on purpose`"),
        ("moved", "`/up` answered 301"),
        ("silent", "`/up` on port 3000"),
    ] {
        let undone = scene
            .deploy(version)
            .expect(20)
            .says(words)
            .says("everything is as it was found");
        scene.unchanged(&undone);
    }
    // The history tells how long the gate took that failed: all of its 8 s.
    let last = scene
        .sandbox
        .on(ONE, "tail -n 1 .kamal/runner/stub/history.jsonl");
    let line: serde_json::Value = serde_json::from_str(&last).unwrap();
    let gate = line["phases"]["healthy"].as_u64().unwrap_or_default();
    assert!(gate >= 7_900, "{last}");
    let done = scene.deploy("late").expect(0);
    scene.completed("late", &done);
    scene.quiet();
}

#[test]
fn a_worker_that_crashes_after_the_web_is_fine_undoes_both() {
    let mut scene = Scene::clean(&[ONE], X_RUNNER);
    scene.project.write(&with_worker(&[ONE], X_RUNNER));
    scene.run(&["setup", "--version", "v1"]).expect(0);
    scene.look();
    let only_worker = with_worker(&[ONE], X_RUNNER).replacen(
        "cmd: stub worker",
        "cmd: stub worker\n    env: { clear: { CRASH: \"1\" } }",
        1,
    );
    scene.project.write(&only_worker);
    let undone = scene
        .deploy("v2")
        .expect(20)
        .says("stub-worker-v2")
        .says("crashes on purpose");
    scene.unchanged(&undone);
    // A role that leaves the configuration runs until the release is committed, and no longer.
    scene.project.write(&deploy_yml(&[ONE], X_RUNNER));
    scene.version("broken", &["BREAK_UP=1"]);
    let undone = scene.deploy("broken").expect(20);
    scene.unchanged(&undone);
    assert_eq!(running(scene.sandbox, ONE, "worker"), "stub-worker-v1");
    let done = scene.deploy("v2").expect(0);
    scene.completed("v2", &done);
    assert_eq!(running(scene.sandbox, ONE, "worker"), "");
    scene.quiet();
}

#[test]
fn a_first_deploy_that_fails_leaves_nothing_and_an_old_release_that_was_down_stays_down() {
    let mut scene = Scene::clean(&[ONE], X_RUNNER);
    scene.version("broken", &["BREAK_UP=1"]);
    scene.run(&["proxy", "boot"]).expect(0);
    scene.look_only();
    let undone = scene.deploy("broken").expect(20);
    scene.unchanged(&undone);
    let left = "docker ps -aq --filter label=service=stub; docker volume ls -q | grep stub";
    assert_eq!(scene.sandbox.on(ONE, left).trim(), "");
    scene
        .run(&["rollback"])
        .expect(3)
        .says("no earlier release is in the history");
    scene.deploy("v1").expect(0);
    scene.sandbox.on(ONE, "docker stop -t 1 stub-web-v1");
    scene.look_only();
    let undone = scene.deploy("broken").expect(20);
    scene.unchanged(&undone);
    let done = scene.deploy("v2").expect(0);
    scene.completed("v2", &done);
    scene.quiet();
}

#[test]
fn the_same_version_again_replaces_its_container_and_a_second_deploy_at_once_is_refused() {
    let mut scene = Scene::usual(&[ONE]);
    let id = "docker ps -q --filter label=role=web --filter label=service=stub";
    let first = scene.sandbox.on(ONE, id);
    let done = scene.deploy("v1").expect(0);
    scene.completed("v1", &done);
    assert_ne!(scene.sandbox.on(ONE, id), first);
    scene.version("slow", &["UP_AFTER=60"]);
    let patient = deploy_yml(&[ONE], X_RUNNER).replace("deploy_timeout: 8", "deploy_timeout: 90");
    scene.project.write(&patient);
    let running = scene
        .project
        .start_until(&["deploy", "--version", "slow"], "booted");
    let v2 = ["deploy", "--version", "v2"];
    for refused in [
        scene.run(&v2),
        StubProject::ended(&mut StubProject::elsewhere(&scene.project.command(&v2))),
    ] {
        refused
            .expect(5)
            .says("the deploy lock is held on `127.0.0.16`")
            .says("slow");
    }
    running.signal(nix::sys::signal::Signal::SIGINT);
    let cancelled = running.wait().expect(11);
    scene.unchanged(&cancelled);
    scene.quiet();
}

#[test]
fn a_migration_that_fails_or_hangs_stops_the_deploy_and_says_that_the_schema_stays() {
    let quickly = MIGRATES.replace("60s", "3s");
    let mut scene = Scene::deployed(&[ONE, TWO], &quickly);
    scene.version("migration-fails", &["MIGRATE=fail"]);
    scene.version("migration-hangs", &["MIGRATE=hang"]);
    for (version, words) in [
        ("migration-fails", "migration failed on purpose"),
        ("migration-hangs", "within 3s"),
    ] {
        let undone = scene
            .deploy(version)
            .expect(20)
            .says(words)
            .says("the schema stays");
        scene.unchanged(&undone);
    }
    let done = scene.deploy("v2").expect(0);
    scene.completed("v2", &done);
    scene.quiet();
}

#[test]
fn a_struck_server_that_comes_back_is_put_back_to_the_release_of_the_others() {
    let bakes = format!("{X_RUNNER}  bake: 60s\n");
    let mut scene = Scene::usual(&[ONE, TWO]);
    scene.project.write(&deploy_yml(&[ONE, TWO], &bakes));
    let running = scene
        .project
        .start_until(&["deploy", "--version", "v2"], "switched");
    running.signal(nix::sys::signal::Signal::SIGKILL);
    running.wait().expect(-1);
    let plain = |server: u8| format!("{}:3002", address(server));
    assert_eq!(ask(&plain(TWO), "/version").as_deref(), Ok("v2"));
    let rule = "INPUT -p tcp --dport 2121 -j REJECT --reject-with tcp-reset";
    scene.sandbox.as_root(TWO, &format!("iptables -I {rule}"));
    let blocked = scene.run(&["deploy", "--undo"]);
    let lock = scene.sandbox.on(ONE, "ls -d .kamal/lock-stub");
    let abandoned = scene.run(&["deploy", "--undo", "--abandon", &address(TWO)]);
    scene.sandbox.as_root(TWO, &format!("iptables -D {rule}"));
    blocked.expect(21).says("`127.0.0.17`");
    assert_eq!(
        lock.trim(),
        ".kamal/lock-stub",
        "the lock stays while something is open"
    );
    abandoned.expect(0).says("is undone");
    assert_eq!(ask(&plain(ONE), "/version").as_deref(), Ok("v1"));
    assert_eq!(ask(&plain(TWO), "/version").as_deref(), Ok("v2"));
    // Whatever comes next brings it back, also what fails itself.
    scene.version("broken", &["BREAK_UP=1"]);
    scene.project.write(&deploy_yml(&[ONE, TWO], X_RUNNER));
    let undone = scene.deploy("broken").expect(20).says("left behind");
    scene.unchanged(&undone);
    ended(scene.sandbox, TWO, &undone.text);
    assert_eq!(ask(&plain(TWO), "/version").as_deref(), Ok("v1"));
    scene.quiet();
}

#[test]
fn an_image_that_does_not_build_or_cannot_be_pushed_ends_a_workflow_before_its_deploy() {
    const STEPS: &str = "- id: build\n  uses: runner/build-image@v1\n- uses: runner/push-image@v1\n\
        - uses: runner/ssh-deploy@v1\n  with: { version: \"${{ steps.build.outputs.version }}\" }\n- uses: runner/promote@v1\n";
    let mut scene = Scene::usual(&[ONE]);
    let base = "FROM 127.0.0.1:5000/stub:v1\n";
    let breaks = format!("{base}RUN echo this breaks; exit 7\n");
    scene.project.file("Dockerfile", &breaks);
    scene.project.commit();
    let failed = StubProject::ended(&mut scene.project.workflow(STEPS))
        .expect(10)
        .says("this breaks");
    scene.unchanged(&failed);
    scene.project.file("Dockerfile", base);
    scene.project.commit();
    let good = with_wrong_password(&scene);
    let failed = StubProject::ended(&mut scene.project.workflow(STEPS))
        .expect(10)
        .says("refused user `deploy` with secret `REGISTRY_PASSWORD`");
    scene.project.file(".kamal/secrets", &good);
    scene.unchanged(&failed);
    scene.quiet();
}
