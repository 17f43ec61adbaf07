//! Single promises of a transaction, one by one.

use super::acts::{advance, deployed, finish, names};
use super::world::{ROUTE, World};
use crate::release::{
    Blocked, ContainerName, Difference, Failure, Fence, HostName, Kind, Millis, Outcome, Phase,
    PlanError, Problem, Reached, Stage, UnixMillis, Verb, backward, close, forward, hosts_to_lock,
    hosts_to_probe, leftovers, preflight, samples, verify_undone,
};

fn verbs(stages: &[Stage]) -> Vec<String> {
    stages
        .iter()
        .flat_map(|stage| &stage.ops)
        .map(ToString::to_string)
        .collect()
}

fn run(names: &[(&str, bool)]) -> Vec<(String, bool)> {
    names
        .iter()
        .map(|(name, running)| ((*name).to_owned(), *running))
        .collect()
}

#[test]
fn a_first_deploy_ends_with_kamals_names_and_nothing_of_the_meantime() {
    let world = deployed(samples::fleet("v1"));
    assert_eq!(
        names(&world, "h1"),
        run(&[("shop-web-v1", true), ("shop-sidekiq", true)])
    );
    assert_eq!(
        names(&world, "h2"),
        run(&[("shop-web-v1", true), ("shop-worker-v1", true)])
    );
    let files: Vec<_> = world.servers["h1"]
        .files
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        files,
        [
            ".kamal/apps/shop/env/accessories/sidekiq.env",
            ".kamal/apps/shop/env/roles/web.env",
            ".kamal/proxy/traefik/certs/shop-web.t1.crt",
            ".kamal/proxy/traefik/certs/shop-web.t1.key",
            ROUTE,
        ]
    );
    let tags: Vec<_> = world.servers["h1"]
        .tags
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(tags, ["latest", "v1"]);
    assert_eq!(world.servers["h2"].history.len(), 1);
    assert_eq!(world.serving().len(), 2);
}

#[test]
fn a_second_deploy_stops_the_old_and_exchanges_the_accessorys_name() {
    let mut world = deployed(samples::fleet("v1"));
    finish(&mut world, "t2", samples::fleet("v2"));
    assert_eq!(
        names(&world, "h1"),
        run(&[
            ("shop-web-v1", false),
            ("shop-web-v2", true),
            ("shop-sidekiq", true)
        ])
    );
    assert!(
        !world.servers["h1"]
            .files
            .keys()
            .any(|path| path.contains(".t1."))
    );
    finish(&mut world, "t3", samples::fleet("v3"));
    let kept = run(&[
        ("shop-web-v2", false),
        ("shop-web-v3", true),
        ("shop-sidekiq", true),
    ]);
    assert_eq!(
        names(&world, "h1"),
        kept,
        "one old container of a role is kept"
    );
}

#[test]
fn the_same_version_again_takes_the_name_over() {
    let mut world = deployed(samples::fleet("v1"));
    let journal = advance(&mut world, "t2", samples::fleet("v1"), Phase::Booted);
    assert!(names(&world, "h1").contains(&("shop-web-v1_t2".to_owned(), true)));
    let stages = forward(&journal, &world.observe(), Phase::Finished).unwrap();
    world.run(&stages, &journal);
    assert_eq!(
        names(&world, "h1"),
        run(&[
            ("shop-web-v1_replaced_t2", false),
            ("shop-web-v1", true),
            ("shop-sidekiq", true)
        ])
    );
}

#[test]
fn a_rollback_never_migrates() {
    let mut world = deployed(samples::fleet("v1"));
    let journal = world.open_as("t2", samples::fleet("v0"), Kind::Rollback);
    let stages = forward(&journal, &world.observe(), Phase::Finished).unwrap();
    let migrates = |verb: &Verb| {
        matches!(verb, Verb::StartOnce { .. } | Verb::BackUp { .. })
            || matches!(
                verb,
                Verb::Record {
                    phase: Phase::Migrating
                }
            )
    };
    assert!(
        !stages
            .iter()
            .flat_map(|stage| &stage.ops)
            .any(|op| migrates(&op.verb))
    );
}

#[test]
fn a_deploy_is_recorded_as_migrating_before_the_migration_exists() {
    let mut world = deployed(samples::fleet("v1"));
    let journal = world.open("t2", samples::fleet("v2"));
    let stages = forward(&journal, &world.observe(), Phase::Migrated).unwrap();
    let at = |wanted: fn(&Verb) -> bool| {
        stages
            .iter()
            .position(|stage| stage.ops.iter().any(|op| wanted(&op.verb)))
            .unwrap()
    };
    let recorded = at(|verb| {
        matches!(
            verb,
            Verb::Record {
                phase: Phase::Migrating
            }
        )
    });
    let created = at(|verb| matches!(verb, Verb::Create { .. }));
    let backed_up = at(|verb| matches!(verb, Verb::BackUp { .. }));
    assert!(backed_up < recorded && recorded < created);
}

#[test]
fn an_interrupted_migration_is_never_started_again_and_its_sessions_are_ended() {
    let mut world = deployed(samples::fleet("v1"));
    let journal = world.open("t2", samples::fleet("v2"));
    let stages = forward(&journal, &world.observe(), Phase::Migrated).unwrap();
    for op in stages.iter().flat_map(|stage| &stage.ops) {
        world.apply(op, &journal);
        if matches!(op.verb, Verb::StartOnce { .. }) {
            break;
        }
    }
    world.server("h1").sessions.insert("runner-t2".to_owned());
    let left = world.journal(&"h1".into()).unwrap();
    let again = forward(&left, &world.observe(), Phase::Booted);
    assert_eq!(again, Err(Blocked::MigrationInterrupted));
    let stages = backward(&left, &world.observe()).unwrap();
    let first = stages[0].ops[0].to_string();
    assert_eq!(first, "h1: stop `shop-migrate-t2` (at most 10s)");
    world.run(&stages, &left);
    assert!(world.servers["h1"].sessions.is_empty());
    assert_eq!(verify_undone(&left, &world.observe()), []);
}

#[test]
fn workers_start_after_the_gate_of_the_web_and_before_the_switch() {
    let mut world = deployed(samples::fleet("v1"));
    let journal = world.open("t2", samples::fleet("v2"));
    let stages = forward(&journal, &world.observe(), Phase::Switched).unwrap();
    let order: Vec<_> = verbs(&stages)
        .into_iter()
        .filter(|line| {
            line.starts_with("h2: ")
                && (line.contains("gate")
                    || line.contains("start")
                    || line.contains("create")
                    || line.contains("h2: route"))
        })
        .map(|line| line.split(" from ").next().unwrap().to_owned())
        .collect();
    assert_eq!(
        order,
        [
            "h2: create container `shop-web-v2`",
            "h2: create container `shop-worker-v2`",
            "h2: start `shop-web-v2`",
            "h2: gate `shop-web-v2` on port 3000, `/up` (at most 30s)",
            "h2: start `shop-worker-v2`",
            "h2: gate `shop-worker-v2` by its state (at most 30s)",
            "h2: route `shop-web` to `shop-web-v2` (weight 100)",
        ]
    );
}

#[test]
fn a_small_deploy_has_few_waits() {
    let mut world = World::new(&["h1"]);
    finish(&mut world, "t1", samples::single("v1"));
    let journal = world.open("t2", samples::single("v2"));
    let stages = forward(&journal, &world.observe(), Phase::Finished).unwrap();
    let line = journal.history_line(Outcome::Succeeded, None, UnixMillis(0));
    world.run(&stages, &journal);
    let end = close(&journal, &world.observe(), &line);
    let all: Vec<_> = stages.iter().chain(&end).collect();
    // A stage of small files alone rides in one command with the stage of small files before it.
    let small = |stage: &Stage| stage.ops.iter().all(|op| op.verb.is_small_file());
    let riding = all
        .windows(2)
        .filter(|pair| small(pair[0]) && small(pair[1]))
        .count();
    let waits = all.len() - riding;
    let lines: Vec<_> = all
        .iter()
        .map(|stage| verbs(std::slice::from_ref(*stage)))
        .collect();
    // Before them: one for the probe, one for lock and fence.
    assert!(waits + 2 <= 14, "{waits} waits: {lines:#?}");
}

#[test]
fn what_fell_over_meanwhile_is_started_before_the_route_leads_back() {
    let mut world = deployed(samples::fleet("v1"));
    let journal = advance(&mut world, "t2", samples::fleet("v2"), Phase::Switched);
    for container in &mut world.server("h1").containers {
        if container.release == "v1" {
            container.running = false;
        }
    }
    let stages = backward(&journal, &world.observe()).unwrap();
    let lines = verbs(&stages);
    let at = |text: &str| lines.iter().position(|line| line.contains(text)).unwrap();
    assert!(at("start `shop-web-v1`") < at("wait for an answer of `shop-web-v1`"));
    assert!(at("wait for an answer of `shop-web-v1`") < at("h1: put route"));
    assert!(at("h1: put route") < at("stop `shop-web-v2`"));
    world.run(&stages, &journal);
    assert_eq!(verify_undone(&journal, &world.observe()), []);
}

#[test]
fn what_went_down_after_the_commit_is_started_before_the_old_stops() {
    let mut world = deployed(samples::fleet("v1"));
    let journal = advance(&mut world, "t2", samples::fleet("v2"), Phase::Committed);
    for container in &mut world.server("h1").containers {
        if container.release == "v2" {
            container.running = false;
        }
    }
    let stages = forward(&journal, &world.observe(), Phase::Finished).unwrap();
    let lines = verbs(&stages);
    let at = |text: &str| lines.iter().position(|line| line.contains(text)).unwrap();
    assert!(at("start `shop-web-v2`") < at("stop `shop-web-v1`"));
}

#[test]
fn another_tools_deploy_after_a_broken_lock_is_left_alone_by_an_undo() {
    let mut world = deployed(samples::fleet("v1"));
    let journal = advance(&mut world, "t2", samples::fleet("v2"), Phase::Switched);
    let text = "http: {services: {other: {}}}\n".to_owned();
    for host in ["h1", "h2"] {
        world
            .server(host)
            .files
            .insert(ROUTE.to_owned(), text.clone());
        world
            .server(host)
            .containers
            .iter_mut()
            .for_each(|c| c.running &= c.release != "v1");
    }
    let stages = backward(&journal, &world.observe()).unwrap();
    for line in verbs(&stages) {
        assert!(!line.contains("route") && !line.contains("-v1"), "{line}");
    }
    world.run(&stages, &journal);
    assert_eq!(world.servers["h1"].files[ROUTE], text);
    let left = verify_undone(&journal, &world.observe());
    assert!(
        left.contains(&Difference::Route { host: "h1".into() }),
        "{left:?}"
    );
}

#[test]
fn another_tools_deploy_after_the_commit_keeps_its_names_tags_and_files() {
    let mut world = deployed(samples::fleet("v1"));
    let journal = advance(&mut world, "t2", samples::fleet("v2"), Phase::Committed);
    let old = world.servers["h1"].containers[0].id.clone();
    let text = world.servers["h1"].files[&journal.spec.paths().way_back(&journal.id)].clone();
    world.server("h1").files.insert(ROUTE.to_owned(), text);
    let stages = forward(&journal, &world.observe(), Phase::Finished).unwrap();
    for op in stages
        .iter()
        .flat_map(|stage| &stage.ops)
        .filter(|op| op.host == "h1".into())
    {
        match &op.verb {
            Verb::Stop { container, .. } => assert_ne!(container.id.as_ref(), Some(&old), "{op}"),
            Verb::Rename { .. } | Verb::Tag { .. } | Verb::MoveFile { .. } => panic!("{op}"),
            _ => {}
        }
    }
    let renames = stages
        .iter()
        .flat_map(|stage| &stage.ops)
        .any(|op| op.host == "h2".into() && matches!(op.verb, Verb::Tag { .. }));
    assert!(renames, "the other host is finished all the same");
}

#[test]
fn a_host_that_left_is_unrouted_before_it_is_stopped() {
    let mut world = deployed(samples::fleet("v1"));
    let mut spec = samples::fleet("v2");
    spec.containers
        .retain(|container| container.host == "h1".into());
    spec.routes.retain(|route| route.host == "h1".into());
    finish(&mut world, "t2", spec);
    let running: Vec<_> = names(&world, "h2")
        .into_iter()
        .filter(|(_, running)| *running)
        .collect();
    assert_eq!(running, []);
    assert!(!world.servers["h2"].files.contains_key(ROUTE));
    assert_eq!(world.servers["h2"].history.len(), 2);
}

#[test]
fn a_host_that_is_away_blocks_until_it_is_struck() {
    let mut world = deployed(samples::fleet("v1"));
    let mut journal = advance(&mut world, "t2", samples::fleet("v2"), Phase::Committed);
    world.away.insert("h2".into());
    let away = forward(&journal, &world.observe(), Phase::Finished);
    assert_eq!(away, Err(Blocked::HostsAway(vec!["h2".into()])));
    journal.abandon("h2".into());
    let stages = forward(&journal, &world.observe(), Phase::Finished).unwrap();
    world.run(&stages, &journal);
    let line = journal.history_line(Outcome::Succeeded, None, UnixMillis(0));
    let stages = close(&journal, &world.observe(), &line);
    world.run(&stages, &journal);
    assert!(world.servers["h1"].lock.is_none());
    assert_eq!(world.servers["h1"].history[1].abandoned, ["h2".into()]);
}

#[test]
fn an_undo_with_a_host_away_does_the_others_and_names_it() {
    let mut world = deployed(samples::fleet("v1"));
    let mut journal = advance(&mut world, "t2", samples::fleet("v2"), Phase::Switched);
    world.away.insert("h2".into());
    let stages = backward(&journal, &world.observe()).unwrap();
    world.run(&stages, &journal);
    let left = verify_undone(&journal, &world.observe());
    assert_eq!(left, [Difference::Away { host: "h2".into() }]);
    journal.abandon("h2".into());
    assert_eq!(verify_undone(&journal, &world.observe()), []);
    let line = journal.history_line(Outcome::Undone, Some("red".to_owned()), UnixMillis(0));
    let stages = close(&journal, &world.observe(), &line);
    world.run(&stages, &journal);

    // The host comes back routed to the undone release: its own record puts it back.
    world.away.clear();
    let mut back = world.clone();
    let next = back.open("t3", samples::fleet("v3"));
    let fence = next.fence;
    let stages = leftovers(&back.observe(), fence);
    back.run(&stages, &next);
    assert_eq!(verify_undone(&journal, &back.observe()), []);
    assert_eq!(back.server("h2").journal, None);
    assert_eq!(back.observe().open_transaction(&"h2".into()), None);

    // Without the record it is not cut off, only reported.
    world.server("h2").journal = None;
    assert_eq!(leftovers(&world.observe(), fence), []);
    let way_back = journal.spec.paths().way_back(&journal.id);
    let text = world.server("h2").files[&way_back].clone();
    world.server("h2").files.insert(ROUTE.to_owned(), text);
    let lines = verbs(&leftovers(&world.observe(), fence));
    assert!(
        lines.contains(&"h2: stop `shop-web-v2` (at most 10s)".to_owned()),
        "{lines:?}"
    );
    assert!(
        lines.contains(&"h2: remove `shop-worker-v2`".to_owned()),
        "{lines:?}"
    );
    assert!(!lines.iter().any(|line| line.contains("-v1")), "{lines:?}");
}

#[test]
fn with_the_primary_gone_the_furthest_copy_speaks() {
    let mut world = deployed(samples::fleet("v1"));
    let journal = advance(&mut world, "t2", samples::fleet("v2"), Phase::Switched);
    world.away.insert("h1".into());
    let observed = world.observe();
    let copy = observed.open_transaction(&"h1".into()).unwrap();
    assert_eq!((&copy.id, copy.phase), (&journal.id, Phase::Switched));
}

#[test]
fn a_primary_that_was_struck_is_not_believed_when_it_comes_back() {
    let mut world = deployed(samples::fleet("v1"));
    let mut journal = advance(&mut world, "t2", samples::fleet("v2"), Phase::Switched);
    let primary: HostName = "h1".into();
    assert!(world.observe().open_transaction(&primary).is_some());
    journal.abandon(primary.clone());
    let line = journal.history_line(Outcome::Undone, None, UnixMillis(0));
    world.server("h2").history.push(line);
    assert_eq!(world.observe().open_transaction(&primary), None);
}

#[test]
fn an_undo_is_recorded_before_it_changes_anything_and_cannot_be_carried_on() {
    let mut world = deployed(samples::fleet("v1"));
    let mut journal = advance(&mut world, "t2", samples::fleet("v2"), Phase::Switched);
    journal.failure = Some(Failure {
        phase: Phase::Baked,
        reason: "503".to_owned(),
        at: UnixMillis(0),
    });
    let stages = backward(&journal, &world.observe()).unwrap();
    let first = &verbs(&stages)[..2];
    assert!(
        first.iter().all(|line| line.contains("record")),
        "{first:?}"
    );
    world.run(&stages[..1], &journal);
    let copy = world.server("h2").journal.clone().unwrap();
    assert_eq!(copy.failure, journal.failure);
    let again = verbs(&backward(&journal, &world.observe()).unwrap());
    assert!(
        !again.iter().any(|line| line.contains("record")),
        "{again:?}"
    );
    let carried_on = forward(&copy, &world.observe(), Phase::Finished);
    assert!(matches!(carried_on, Err(Blocked::Failed { .. })));
}

#[test]
fn the_history_says_how_long_the_phase_took_that_failed() {
    let mut world = deployed(samples::fleet("v1"));
    let mut journal = advance(&mut world, "t2", samples::fleet("v2"), Phase::Booted);
    journal.reached = vec![
        Reached {
            phase: Phase::Opened,
            at: UnixMillis(1000),
        },
        Reached {
            phase: Phase::Booted,
            at: UnixMillis(1500),
        },
    ];
    journal.failure = Some(Failure {
        phase: Phase::Healthy,
        reason: "503".to_owned(),
        at: UnixMillis(31_500),
    });
    let line = journal.history_line(Outcome::Undone, None, UnixMillis(40_000));
    let phases: Vec<_> = line.phases.into_iter().collect();
    assert_eq!(
        phases,
        [
            (Phase::Booted, Millis(500)),
            (Phase::Healthy, Millis(30_000))
        ]
    );
}

#[test]
fn a_copy_of_an_ended_transaction_is_not_taken_for_an_open_one() {
    let mut world = deployed(samples::fleet("v1"));
    let journal = advance(&mut world, "t2", samples::fleet("v2"), Phase::Finished);
    let line = journal.history_line(Outcome::Succeeded, None, UnixMillis(0));
    world.server("h2").history.push(line);
    world.away.insert("h1".into());
    assert_eq!(world.observe().open_transaction(&"h1".into()), None);
}

#[test]
fn a_failed_phase_ends_the_transaction() {
    let mut world = deployed(samples::fleet("v1"));
    let mut journal = advance(&mut world, "t2", samples::fleet("v2"), Phase::Booted);
    journal.failure = Some(Failure {
        phase: Phase::Healthy,
        reason: "503".to_owned(),
        at: UnixMillis(0),
    });
    let later = forward(&journal, &world.observe(), Phase::Switched);
    let failed = Blocked::Failed {
        phase: Phase::Healthy,
        reason: "503".to_owned(),
    };
    assert_eq!(later, Err(failed));
    assert!(backward(&journal, &world.observe()).is_ok());
}

#[test]
fn a_commit_is_refused_while_a_route_leads_elsewhere() {
    let mut world = deployed(samples::fleet("v1"));
    let before = world.servers["h2"].files[ROUTE].clone();
    let journal = advance(&mut world, "t2", samples::fleet("v2"), Phase::Switched);
    world.server("h2").files.insert(ROUTE.to_owned(), before);
    let commit = forward(&journal, &world.observe(), Phase::Committed);
    assert_eq!(commit, Err(Blocked::NotSwitched("h2".into())));
}

#[test]
fn every_transaction_raises_the_fence_above_every_hosts() {
    let mut world = deployed(samples::fleet("v1"));
    world.server("h2").fence = Fence(40);
    let journal = world.open("t2", samples::fleet("v2"));
    assert_eq!(journal.fence, Fence(41));
    assert!(
        world
            .servers
            .values()
            .all(|server| server.fence == Fence(41))
    );
}

#[test]
fn a_changed_primary_locks_both_the_old_one_first() {
    let mut world = deployed(samples::fleet("v1"));
    let mut spec = samples::fleet("v2");
    spec.primary = "h2".into();
    let history = world.servers["h1"].history.clone();
    assert_eq!(hosts_to_lock(&spec, &history), ["h1".into(), "h2".into()]);
    let journal = finish(&mut world, "t2", spec);
    assert_eq!(journal.locks, [HostName::from("h1"), "h2".into()]);
    assert!(world.servers.values().all(|server| server.lock.is_none()));
}

#[test]
fn hosts_of_the_last_release_are_probed_too() {
    let world = deployed(samples::fleet("v1"));
    let history = &world.servers["h1"].history;
    let hosts = hosts_to_probe(&samples::single("v2"), history);
    assert_eq!(hosts, ["h1".into(), "h2".into()]);
}

#[test]
fn an_undone_deploy_does_not_make_the_next_one_forget_a_host() {
    let mut world = deployed(samples::fleet("v1"));
    let journal = world.open("t2", samples::single("v2"));
    let undone = journal.history_line(Outcome::Undone, None, UnixMillis(0));
    let mut history = world.servers["h1"].history.clone();
    history.push(undone);
    let hosts = hosts_to_probe(&samples::single("v2"), &history);
    assert_eq!(hosts, ["h1".into(), "h2".into()]);
    let mut moved = samples::single("v2");
    moved.primary = "h3".into();
    assert_eq!(hosts_to_lock(&moved, &history), ["h1".into(), "h3".into()]);
}

#[test]
fn everything_that_a_host_lacks_is_said_at_once() {
    let world = World::new(&["h1", "h2"]);
    let mut observed = world.observe();
    let h1 = observed.hosts.get_mut("h1").unwrap();
    h1.accessories.clear();
    let proxy = h1.proxy.as_mut().unwrap();
    proxy.ports = [8080].into();
    h1.ports
        .insert(3002, Some(ContainerName::from("shop-web-k0")));
    observed.hosts.get_mut("h2").unwrap().proxy = None;
    let problems = preflight(&samples::fleet("v1"), &observed);
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "the proxy on `h1` does not hold port 8443 (run `runner proxy reboot`)",
            "port 3002 on `h1` is held by container `shop-web-k0`",
            "accessory `db` is not on `h1` (run `runner setup`)",
            "`h2` has no proxy (run `runner setup`)",
        ]
    );
    assert!(matches!(problems[3], Problem::NoProxy { .. }));
}

#[test]
fn an_image_without_a_digest_is_not_deployed() {
    let mut world = World::new(&["h1"]);
    let opened = world.open("t1", samples::single("v1"));
    let mut spec = samples::single("v1");
    spec.image.digest = None;
    let opening = crate::release::Opening {
        id: opened.id,
        kind: Kind::Deploy,
        fence: opened.fence,
        holder: opened.holder,
        run: None,
        at: UnixMillis(0),
    };
    let planned = crate::release::plan(spec, &world.observe(), Vec::new(), opening);
    assert!(matches!(planned, Err(PlanError::NoDigest(_))));
}

#[test]
fn the_audit_line_is_kamals_and_names_the_transaction() {
    let mut world = World::new(&["h1"]);
    finish(&mut world, "t1", samples::single("v1"));
    assert_eq!(
        world.servers["h1"].audit,
        ["[1970-01-01T00:00:00Z] [ann] Deployed version v1 (runner t1)"]
    );
}
