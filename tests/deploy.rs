//! Deploys of the stub application to real servers, by the program itself.

use std::{
    sync::Once,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::support::{
    project::{X_RUNNER, address, deploy_yml},
    servers::Sandbox,
    stub::{Load, StubProject, ask},
};

/// The servers of these tests.
const ONE: u8 = 3;
const TWO: u8 = 4;

/// Versions that misbehave, pushed once per process; the registry keeps them.
fn versions(sandbox: &Sandbox) {
    static PUSHED: Once = Once::new();
    PUSHED.call_once(|| {
        for (version, behaviour) in [
            ("broken", &["BREAK_UP=1"][..]),
            ("crashing", &["CRASH=1"]),
            ("slow", &["UP_AFTER=60"]),
            ("stubborn", &["ON_TERM=ignore"]),
            ("migration-fails", &["MIGRATE=fail"]),
            ("migration-hangs", &["MIGRATE=hang"]),
        ] {
            sandbox.stub(version, behaviour);
        }
    });
}

fn fresh(servers: &[u8], more: &str) -> (&'static Sandbox, StubProject) {
    let sandbox = Sandbox::up(&[ONE, TWO]);
    let project = StubProject::new(sandbox, &deploy_yml(servers, more));
    for server in [ONE, TWO] {
        sandbox.clean(server);
    }
    (sandbox, project)
}

/// A project whose release `v1` runs.
fn deployed(servers: &[u8], more: &str) -> (&'static Sandbox, StubProject) {
    let (sandbox, project) = fresh(servers, more);
    versions(sandbox);
    project.run(&["setup", "--version", "v1"]).expect(0);
    (sandbox, project)
}

fn plain(server: u8) -> String {
    format!("{}:3002", address(server))
}

#[test]
fn a_release_replaces_another_and_is_rolled_back_without_a_lost_request() {
    let (sandbox, project) = deployed(&[ONE], X_RUNNER);
    assert_eq!(ask(&plain(ONE), "/version").as_deref(), Ok("v1"));
    assert_eq!(
        ask(&plain(ONE), "/env?name=GREETING").as_deref(),
        Ok("hello")
    );
    let load = Load::start(&address(ONE), 3002);
    project
        .run(&["deploy", "--version", "v2"])
        .expect(0)
        .says("deployed `v2`");
    assert_eq!(ask(&plain(ONE), "/version").as_deref(), Ok("v2"));
    project.run(&["deploy", "--version", "v2"]).expect(0);
    project
        .run(&["rollback", "v1"])
        .expect(0)
        .says("rolled back to `v1`");
    let (sent, lost) = load.end();
    println!("{sent} requests, {} lost", lost.len());
    assert!(lost.is_empty(), "of {sent}: {lost:?}");
    assert_eq!(ask(&plain(ONE), "/version").as_deref(), Ok("v1"));
    let left = sandbox.on(
        ONE,
        "find .kamal -name '*.0*' -o -name 'reserve*' -o -name 'lock-*' -o -name 'journal*'",
    );
    let left: Vec<_> = left
        .lines()
        .filter(|path| !path.contains("/certs/"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(
        sandbox
            .on(ONE, "ls .kamal/proxy/traefik/certs | wc -l")
            .trim(),
        "2"
    );
    let env = sandbox.on(ONE, "stat -c %a .kamal/apps/stub/env/roles/web.env");
    assert_eq!(env.trim(), "600");
    project.run(&["history"]).expect(0).says("rollback v1");
    project
        .run(&["rollback", "v9"])
        .expect(3)
        .says("`v9` is not in the history");
}

#[test]
fn a_release_that_fails_its_health_check_is_undone_and_nothing_is_changed() {
    let (sandbox, project) = deployed(&[ONE], X_RUNNER);
    let before = sandbox.snapshot(ONE);
    project
        .run(&["deploy", "--version", "broken"])
        .expect(20)
        .says("`/up` answered 500 `broken on purpose`")
        .says("everything is as it was found");
    assert_eq!(sandbox.snapshot(ONE), before);
    project
        .run(&["deploy", "--version", "crashing"])
        .expect(20)
        .says("crashes on purpose");
    assert_eq!(sandbox.snapshot(ONE), before);
    project.run(&["history"]).expect(0).says("undone");
    project
        .run(&["rollback"])
        .expect(3)
        .says("no earlier release");
    assert_eq!(ask(&plain(ONE), "/version").as_deref(), Ok("v1"));
}

#[test]
fn one_host_that_fails_brings_the_whole_fleet_back() {
    let (sandbox, project) = deployed(&[ONE, TWO], X_RUNNER);
    let before = [sandbox.snapshot(ONE), sandbox.snapshot(TWO)];
    project.run(&["deploy", "--version", "broken"]).expect(20);
    assert_eq!([sandbox.snapshot(ONE), sandbox.snapshot(TWO)], before);
    let load = Load::start(&address(TWO), 3002);
    project.run(&["deploy", "--version", "v2"]).expect(0);
    let (sent, lost) = load.end();
    assert!(lost.is_empty(), "of {sent}: {lost:?}");
    for server in [ONE, TWO] {
        assert_eq!(ask(&plain(server), "/version").as_deref(), Ok("v2"));
    }
}

const MIGRATES: &str = "volumes: [\"stub_data:/data\"]\nx-runner:\n  proxy: { driver: traefik, image: \"127.0.0.1:5000/traefik:v3.7\", networks: [traefik] }\n  migrate: { command: stub migrate, timeout: 3s }\n";

#[test]
fn a_migration_runs_once_before_the_new_release_and_its_failure_undoes_it() {
    let (sandbox, project) = deployed(&[ONE], MIGRATES);
    let volume = "docker run --rm -v stub_data:/data --entrypoint cat 127.0.0.1:5000/stub:v1 /data/migrations";
    assert_eq!(sandbox.on(ONE, volume).trim(), "v1");
    let before = sandbox.snapshot(ONE);
    project
        .run(&["deploy", "--version", "migration-fails"])
        .expect(20)
        .says("migration failed on purpose")
        .says("the schema stays");
    assert_eq!(sandbox.snapshot(ONE), before);
    project
        .run(&["deploy", "--version", "migration-hangs"])
        .expect(20)
        .says("within 3s");
    assert_eq!(sandbox.snapshot(ONE), before);
    project.run(&["deploy", "--version", "v2"]).expect(0);
    project.run(&["rollback"]).expect(0);
    let done = sandbox.on(ONE, volume);
    assert_eq!(
        done.lines().collect::<Vec<_>>(),
        ["v1", "v2"],
        "a rollback never migrates"
    );
}

#[test]
fn ctrl_c_undoes_and_a_second_one_leaves_journal_and_lock() {
    let (sandbox, project) = deployed(&[ONE], X_RUNNER);
    let before = sandbox.snapshot(ONE);
    let running = project.start_until(&["deploy", "--version", "slow"], "booted");
    running.signal(Signal::SIGINT);
    running
        .wait()
        .expect(11)
        .says("everything is as it was found");
    assert_eq!(sandbox.snapshot(ONE), before);
    let running = project.start_until(&["deploy", "--version", "slow"], "booted");
    running.signal(Signal::SIGINT);
    running.signal(Signal::SIGTERM);
    running.wait().expect(21).says("runner deploy --undo");
    project
        .run(&["lock", "status"])
        .expect(0)
        .says("is open at phase");
    project
        .run(&["deploy", "--undo"])
        .expect(0)
        .says("was left open");
    assert_eq!(sandbox.snapshot(ONE), before);
    project
        .run(&["deploy", "--undo"])
        .expect(0)
        .says("no transaction is open");
}

#[test]
fn a_second_deploy_is_refused_and_a_dead_one_is_ended_by_the_next() {
    let (sandbox, project) = deployed(&[ONE], X_RUNNER);
    let running = project.start_until(&["deploy", "--version", "slow"], "booted");
    let held = sandbox.snapshot(ONE);
    project
        .run(&["deploy", "--version", "v2"])
        .expect(5)
        .says("the deploy lock is held");
    assert_eq!(sandbox.snapshot(ONE), held);
    running.signal(Signal::SIGKILL);
    running.wait().expect(-1);
    project
        .run(&["deploy", "--version", "v2"])
        .expect(0)
        .says("was left open at phase")
        .says("is undone")
        .says("deployed `v2`");
    assert_eq!(ask(&plain(ONE), "/version").as_deref(), Ok("v2"));
    let ours = sandbox.on(
        ONE,
        "docker ps -a --format '{{.Names}}' | grep slow; ls -d .kamal/lock-*",
    );
    assert_eq!(ours.trim(), "");
}

#[test]
fn what_cannot_begin_says_why_and_changes_nothing() {
    let (sandbox, project) = fresh(&[ONE], X_RUNNER);
    let before = sandbox.snapshot(ONE);
    project
        .run(&["deploy", "--version", "v1"])
        .expect(5)
        .says("has no proxy (run `runner setup`)");
    project
        .run(&["deploy", "--version", "no-such"])
        .expect(3)
        .says("no-such");
    assert_eq!(sandbox.snapshot(ONE), before);
    project.run(&["setup", "--version", "v1"]).expect(0);
    let before = sandbox.snapshot(ONE);
    project
        .run(&["deploy", "--version", "v2", "--plan"])
        .expect(0)
        .says("create container `stub-web-v2`");
    assert_eq!(sandbox.snapshot(ONE), before);
}

#[test]
fn a_deploy_that_dies_after_its_commit_is_finished_by_the_next_command() {
    let (sandbox, project) = deployed(&[ONE], X_RUNNER);
    project.run(&["deploy", "--version", "stubborn"]).expect(0);
    let running = project.start_until(&["deploy", "--version", "v2"], "committed");
    running.signal(Signal::SIGKILL);
    running.wait().expect(-1);
    project
        .run(&["deploy", "--resume"])
        .expect(0)
        .says("is being finished");
    assert_eq!(ask(&plain(ONE), "/version").as_deref(), Ok("v2"));
    project
        .run(&["history"])
        .expect(0)
        .says("v2                       succeeded");
    let left = sandbox.on(
        ONE,
        "ls -d .kamal/lock-* .kamal/runner/stub/journal.json 2>/dev/null",
    );
    assert_eq!(left.trim(), "");
    let old = sandbox.on(ONE, "docker ps --format '{{.Names}}' | grep -c stub-web");
    assert_eq!(old.trim(), "1", "the old container still runs");
}

#[test]
fn a_deploy_that_dies_after_its_switch_is_undone_without_a_lost_request() {
    let more = format!("{X_RUNNER}  bake: 30s\n");
    let (sandbox, project) = fresh(&[ONE], &more);
    versions(sandbox);
    let quick = X_RUNNER.to_owned();
    project.write(&deploy_yml(&[ONE], &quick));
    project.run(&["setup", "--version", "v1"]).expect(0);
    project.write(&deploy_yml(&[ONE], &more));
    let before = sandbox.snapshot(ONE);
    let load = Load::start(&address(ONE), 3002);
    let running = project.start_until(&["deploy", "--version", "v2"], "switched");
    assert_eq!(ask(&plain(ONE), "/version").as_deref(), Ok("v2"));
    running.signal(Signal::SIGKILL);
    running.wait().expect(-1);
    project
        .run(&["deploy", "--undo"])
        .expect(0)
        .says("is being undone");
    let (sent, lost) = load.end();
    assert!(lost.is_empty(), "of {sent}: {lost:?}");
    assert_eq!(ask(&plain(ONE), "/version").as_deref(), Ok("v1"));
    assert_eq!(sandbox.snapshot(ONE), before);
}

#[test]
fn a_host_that_is_gone_blocks_an_undo_until_it_is_abandoned() {
    let (sandbox, project) = deployed(&[ONE, TWO], X_RUNNER);
    let before = sandbox.snapshot(ONE);
    let running = project.start_until(&["deploy", "--version", "slow"], "booted");
    running.signal(Signal::SIGKILL);
    running.wait().expect(-1);
    let rule = "INPUT -p tcp --dport 2121 -j REJECT --reject-with tcp-reset";
    sandbox.as_root(TWO, &format!("iptables -I {rule}"));
    let blocked = project.run(&["deploy", "--undo"]);
    let abandoned = project.run(&["deploy", "--undo", "--abandon", &address(TWO)]);
    sandbox.as_root(TWO, &format!("iptables -D {rule}"));
    blocked.expect(21).says("`127.0.0.14` does not answer");
    abandoned.expect(0).says("is undone");
    assert_eq!(sandbox.snapshot(ONE), before);
    project
        .run(&["deploy", "--version", "v2"])
        .expect(0)
        .says("left behind");
    let left = sandbox.on(TWO, "docker ps -a --format '{{.Names}}' | grep slow");
    assert_eq!(left.trim(), "");
}

#[test]
fn a_deploy_that_was_frozen_for_too_long_changes_nothing_more() {
    let (sandbox, project) = deployed(&[ONE], X_RUNNER);
    let running = project.start_until(&["deploy", "--version", "slow"], "booted");
    running.signal(Signal::SIGSTOP);
    let deadline = Instant::now() + Duration::from_secs(60);
    let next = loop {
        let next = project.run(&["deploy", "--version", "v2"]);
        if next.code != 5 || Instant::now() > deadline {
            break next;
        }
    };
    next.expect(0).says("was left open");
    let after = sandbox.snapshot(ONE);
    running.signal(Signal::SIGCONT);
    running.wait().expect(21).says("nothing more was changed");
    assert_eq!(sandbox.snapshot(ONE), after);
    assert_eq!(ask(&plain(ONE), "/version").as_deref(), Ok("v2"));
}
