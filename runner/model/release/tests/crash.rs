//! A crash at every point of every kind of transaction.

use std::collections::BTreeSet;

use super::world::{Essence, ROUTE, World};
use crate::release::{
    Blocked, Duty, HistoryLine, HostName, Journal, Kind, Observed, Outcome, Phase, Spec, Stage,
    UnixMillis, Verb, backward, close, forward, samples, verify_undone,
};

/// A world before a transaction, and what the transaction wants.
struct Case {
    name: &'static str,
    world: World,
    spec: Spec,
    kind: Kind,
}

/// Runs a transaction to its end, as an earlier deploy did.
fn deploy(world: &mut World, id: &str, spec: Spec) {
    let journal = world.open(id, spec);
    let stages = forward(&journal, &world.observe(), Phase::Finished).unwrap();
    world.run(&stages, &journal);
    finish(world, &journal);
}

/// Closes what is finished.
fn finish(world: &mut World, journal: &Journal) {
    let line = journal.history_line(Outcome::Succeeded, None, UnixMillis(0));
    let stages = close(journal, &world.observe(), &line);
    world.run(&stages, journal);
}

fn case(name: &'static str, world: World, spec: Spec) -> Case {
    Case {
        name,
        world,
        spec,
        kind: Kind::Deploy,
    }
}

/// Configurations that lost or moved something since the last deploy.
fn changed_shapes(second: &World) -> Vec<Case> {
    let mut all = Vec::new();
    let mut smaller = samples::fleet("v2");
    smaller
        .containers
        .retain(|container| container.host == "h1".into());
    smaller.routes.retain(|route| route.host == "h1".into());
    all.push(case(
        "a host that left the configuration",
        second.clone(),
        smaller,
    ));

    let mut no_worker = samples::fleet("v2");
    no_worker
        .containers
        .retain(|container| container.duty == Duty::Web);
    all.push(case(
        "roles that left the configuration",
        second.clone(),
        no_worker,
    ));

    let mut unproxied = samples::fleet("v2");
    unproxied
        .containers
        .retain(|c| c.duty != Duty::Web || c.host == "h1".into());
    unproxied.routes.retain(|route| route.host == "h1".into());
    all.push(case(
        "a host that keeps a worker and loses its route",
        second.clone(),
        unproxied,
    ));

    let mut workers = samples::fleet("v2");
    workers
        .containers
        .retain(|container| container.duty != Duty::Web);
    workers.routes.clear();
    workers.proxy = None;
    all.push(case("workers alone", World::new(&["h1", "h2"]), workers));

    let mut moved = samples::fleet("v2");
    moved.primary = "h2".into();
    all.push(case("another primary", second.clone(), moved));

    all
}

fn cases() -> Vec<Case> {
    let empty = || World::new(&["h1", "h2"]);
    let mut all = Vec::new();
    all.push(case(
        "first deploy, one host",
        World::new(&["h1"]),
        samples::single("v1"),
    ));
    all.push(case(
        "first deploy, two hosts",
        empty(),
        samples::fleet("v1"),
    ));

    let mut second = empty();
    deploy(&mut second, "t1", samples::fleet("v1"));
    all.push(case("second deploy", second.clone(), samples::fleet("v2")));
    all.push(case(
        "the same version again",
        second.clone(),
        samples::fleet("v1"),
    ));
    all.push(Case {
        kind: Kind::Rollback,
        ..case("rollback", second.clone(), samples::fleet("v0"))
    });

    let mut third = second.clone();
    deploy(&mut third, "t2", samples::fleet("v1"));
    all.push(case(
        "third deploy, with old containers to prune",
        third,
        samples::fleet("v3"),
    ));

    let mut down = second.clone();
    for server in down.servers.values_mut() {
        server
            .containers
            .iter_mut()
            .for_each(|container| container.running = false);
    }
    all.push(case(
        "old release that was down",
        down,
        samples::fleet("v2"),
    ));

    let mut silent = second.clone();
    for server in silent.servers.values_mut() {
        server
            .containers
            .iter_mut()
            .for_each(|container| container.answers = false);
    }
    all.push(case(
        "old release that did not answer",
        silent,
        samples::fleet("v2"),
    ));

    all.extend(changed_shapes(&second));

    let mut kamal = empty();
    kamal.put("h1", "shop-web-k0", "web", true);
    kamal.put("h1", "shop-sidekiq", "sidekiq", true);
    kamal.put("h2", "shop-web-k0", "web", true);
    kamal.put("h2", "shop-worker-v1", "worker", true);
    all.push(case("a release of Kamal's", kamal, samples::fleet("v1")));

    let mut foreign = second;
    for server in foreign.servers.values_mut() {
        server
            .files
            .insert(ROUTE.to_owned(), "http: {services: {x: {}}}\n".to_owned());
    }
    all.push(case(
        "a route that somebody wrote by hand",
        foreign,
        samples::fleet("v2"),
    ));
    all
}

/// Every part of a stage that may have been carried out when a crash comes: all subsets of a small
/// stage; of a large one those with at most two operations done, or at most two missing, or a
/// beginning done.
fn parts(ops: usize) -> BTreeSet<u32> {
    let all = (1_u32 << ops) - 1;
    if ops <= 6 {
        return (1..=all).collect();
    }
    let mut parts = BTreeSet::new();
    for first in 0..ops {
        parts.insert((1 << first) - 1);
        for second in 0..ops {
            let few = 1 << first | 1 << second;
            parts.extend([few, all & !few]);
        }
    }
    parts.insert(all);
    parts
}

/// The worlds that a crash can leave, whatever of the stages was carried out.
fn crashes(world: &World, stages: &[Stage], journal: &Journal) -> Vec<World> {
    let mut points = vec![world.clone()];
    let mut now = world.clone();
    for stage in stages {
        for mask in parts(stage.ops.len()) {
            let mut point = now.clone();
            for (index, op) in stage.ops.iter().enumerate() {
                if mask & 1 << index != 0 {
                    point.apply(op, journal);
                }
            }
            points.push(point);
        }
        for op in &stage.ops {
            let mut half = now.clone();
            if half.apply_half(op, journal) {
                points.push(half);
            }
        }
        for op in &stage.ops {
            now.apply(op, journal);
        }
    }
    points
}

/// The worlds before and after each operation, one after the other.
fn prefixes(world: &World, stages: &[Stage], journal: &Journal) -> Vec<World> {
    let mut points = vec![world.clone()];
    let mut now = world.clone();
    for op in stages.iter().flat_map(|stage| &stage.ops) {
        now.apply(op, journal);
        points.push(now.clone());
    }
    points
}

fn is_over(stages: &[Stage]) -> bool {
    let over = |verb: &Verb| verb.only_looks() || matches!(verb, Verb::EndSessions { .. });
    stages
        .iter()
        .flat_map(|stage| &stage.ops)
        .all(|op| over(&op.verb))
}

/// Undoes and checks that everything is as it was.
fn undo(world: &World, journal: &Journal, before: &Essence) -> World {
    let mut world = world.clone();
    let stages = backward(journal, &world.observe()).unwrap();
    world.run(&stages, journal);
    check_undone(&world, journal, before);
    world
}

fn check_undone(world: &World, journal: &Journal, before: &Essence) {
    assert_eq!(verify_undone(journal, &world.observe()), []);
    assert_eq!(world.essence(), *before);
    let again = backward(journal, &world.observe()).unwrap();
    assert!(is_over(&again), "an undo of nothing changes {again:?}");
}

fn closed(mut world: World, journal: &Journal, outcome: Outcome) -> World {
    let line: HistoryLine = journal.history_line(outcome, None, UnixMillis(0));
    let stages = close(journal, &world.observe(), &line);
    let last = &stages.last().unwrap().ops[0].verb;
    assert!(
        matches!(last, Verb::Unlock { .. }),
        "the last thing is {last}"
    );
    for mut point in prefixes(&world, &stages, journal) {
        // Whoever comes next and finds the lock still taken closes again.
        let again = close(journal, &point.observe(), &line);
        if point.servers[&journal.locks[0]].lock.is_some() {
            point.run(&again, journal);
        }
        assert!(
            point
                .servers
                .values()
                .all(|s| s.lock.is_none() && s.journal.is_none())
        );
        assert!(
            point
                .servers
                .values()
                .all(|server| server.audit.len() == server.history.len())
        );
    }
    world.run(&stages, journal);
    world
}

#[test]
fn every_crash_before_the_commit_is_undone_and_every_one_after_it_is_finished() {
    let (mut undone, mut finished) = (0, 0);
    for Case {
        name,
        mut world,
        spec,
        kind,
    } in cases()
    {
        println!("{name}");
        let before = world.essence();
        let journal = world.open_as("t9", spec, kind);
        let primary: HostName = journal.spec.primary.clone();
        let stages = forward(&journal, &world.observe(), Phase::Finished).unwrap();
        let mut done = world.clone();
        done.run(&stages, &journal);
        for point in crashes(&world, &stages, &journal) {
            let Some(left) = point.observe().open_transaction(&primary).cloned() else {
                assert_eq!(
                    point.essence(),
                    before,
                    "{name}: changed before it was recorded"
                );
                continue;
            };
            if left.is_committed() {
                let end = complete(&point, &left);
                assert_same_end(&end, &done, name);
                finished += 1;
            } else {
                undo(&point, &left, &before);
                undone += 1;
            }
        }
    }
    println!("{undone} crashes undone, {finished} finished");
    assert!(undone > 1000 && finished > 1000);
}

/// Finishes what is committed.
fn complete(world: &World, journal: &Journal) -> World {
    let mut world = world.clone();
    let stages = forward(journal, &world.observe(), Phase::Finished).unwrap();
    world.run(&stages, journal);
    world
}

/// Two ends are the same but for what is done with the best effort alone.
fn assert_same_end(end: &World, done: &World, name: &str) {
    let phase = |world: &World| {
        let mut journals = world
            .servers
            .values()
            .filter_map(|server| server.journal.as_ref());
        journals.any(|journal| journal.phase == Phase::Finished)
    };
    assert!(phase(end), "{name}: not finished");
    assert_eq!(end.essence(), done.essence(), "{name}");
}

#[test]
fn an_undo_that_crashes_itself_is_undone_all_the_same() {
    let mut tried = 0;
    for Case {
        name,
        mut world,
        spec,
        kind,
    } in cases()
    {
        println!("{name}");
        let before = world.essence();
        let journal = world.open_as("t9", spec, kind);
        let primary = journal.spec.primary.clone();
        let stages = forward(&journal, &world.observe(), Phase::Baked).unwrap();
        for point in prefixes(&world, &stages, &journal) {
            let Some(left) = point.journal(&primary) else {
                continue;
            };
            let back = backward(&left, &point.observe()).unwrap();
            for second in crashes(&point, &back, &left) {
                undo(&second, &left, &before);
                tried += 1;
            }
            let end = closed(undo(&point, &left, &before), &left, Outcome::Undone);
            assert!(end.servers.values().all(|server| server.lock.is_none()));
        }
    }
    println!("{tried} crashed undos");
    assert!(tried > 1000);
}

#[test]
fn a_completion_that_crashes_itself_is_completed_all_the_same() {
    for Case {
        name,
        mut world,
        spec,
        kind,
    } in cases()
    {
        println!("{name}");
        let journal = world.open_as("t9", spec, kind);
        let primary = journal.spec.primary.clone();
        let stages = forward(&journal, &world.observe(), Phase::Committed).unwrap();
        world.run(&stages, &journal);
        let committed = world.journal(&primary).unwrap();
        assert_eq!(
            backward(&committed, &world.observe()),
            Err(Blocked::Committed)
        );
        let stages = forward(&committed, &world.observe(), Phase::Finished).unwrap();
        let mut done = world.clone();
        done.run(&stages, &committed);
        for point in crashes(&world, &stages, &committed) {
            assert_same_end(
                &complete(&point, &point.journal(&primary).unwrap()),
                &done,
                name,
            );
        }
        for point in prefixes(&world, &stages, &committed) {
            let left = point.journal(&primary).unwrap();
            let rest = forward(&left, &point.observe(), Phase::Finished).unwrap();
            for second in prefixes(&point, &rest, &left) {
                let left = second.journal(&primary).unwrap();
                assert_same_end(&complete(&second, &left), &done, name);
            }
        }
        closed(done, &committed, Outcome::Succeeded);
    }
}

#[test]
fn every_operation_may_be_carried_out_twice() {
    for Case {
        name,
        mut world,
        spec,
        kind,
    } in cases()
    {
        let journal = world.open_as("t9", spec, kind);
        let stages = forward(&journal, &world.observe(), Phase::Finished).unwrap();
        let mut once = world.clone();
        for op in stages.iter().flat_map(|stage| &stage.ops) {
            once.apply(op, &journal);
            let mut twice = once.clone();
            twice.apply(op, &journal);
            assert_eq!(twice.essence(), once.essence(), "{name}: {op}");
        }
    }
}

#[test]
fn a_plan_made_ahead_is_what_is_done_phase_by_phase() {
    let lines = |stages: &[Stage]| -> Vec<String> {
        stages
            .iter()
            .flat_map(|stage| &stage.ops)
            .map(ToString::to_string)
            .collect()
    };
    for Case {
        name,
        mut world,
        spec,
        kind,
    } in cases()
    {
        let journal = world.open_as("t9", spec, kind);
        let primary = journal.spec.primary.clone();
        let ahead = forward(&journal, &world.observe(), Phase::Finished).unwrap();
        let mut done = Vec::new();
        for phase in Phase::ALL {
            let now = world.journal(&primary).unwrap_or_else(|| journal.clone());
            let stages = forward(&now, &world.observe(), phase).unwrap();
            world.run(&stages, &now);
            done.extend(lines(&stages));
        }
        // A record that could not ride with a later phase's stage comes a little earlier.
        let mut ahead = lines(&ahead);
        let recorded = |line: &String| line.contains("record phase");
        ahead.retain(|line| !recorded(line));
        done.retain(|line| !recorded(line));
        assert_eq!(done, ahead, "{name}");
    }
}

/// What must not change before the commit: containers, tags and files that were found.
fn untouched(before: &Observed, world: &World, first: &World) {
    for (host, state) in &before.hosts {
        let now = &world.servers[host];
        for found in &state.containers {
            let container = now.containers.iter().find(|c| c.id == found.id).unwrap();
            assert_eq!(container.name, found.name);
            assert_eq!(container.running, found.ran);
        }
        assert_eq!(now.tags, first.servers[host].tags);
        for (path, text) in &first.servers[host].files {
            assert!(
                path == ROUTE || now.files.get(path) == Some(text),
                "{path} on {host}"
            );
        }
        for image in &first.servers[host].images {
            assert!(now.images.contains(image), "{image} on {host}");
        }
    }
}

#[test]
fn nothing_that_was_found_is_touched_before_the_commit() {
    for Case {
        mut world,
        spec,
        kind,
        ..
    } in cases()
    {
        let (first, before) = (world.clone(), world.observe());
        let journal = world.open_as("t9", spec, kind);
        let stages = forward(&journal, &world.observe(), Phase::Baked).unwrap();
        for op in stages.iter().flat_map(|stage| &stage.ops) {
            let removes = matches!(
                op.verb,
                Verb::Stop { .. }
                    | Verb::Rename { .. }
                    | Verb::Tag { .. }
                    | Verb::MoveFile { .. }
                    | Verb::PruneImages { .. }
                    | Verb::RemoveFile { .. }
                    | Verb::RemoveRoute { .. }
            );
            assert!(!removes, "{op}");
            world.apply(op, &journal);
            untouched(&before, &world, &first);
        }
    }
}

#[test]
fn an_undo_touches_only_what_carries_the_transactions_label() {
    for Case {
        mut world,
        spec,
        kind,
        ..
    } in cases()
    {
        let journal = world.open_as("t9", spec, kind);
        let primary = journal.spec.primary.clone();
        let stages = forward(&journal, &world.observe(), Phase::Baked).unwrap();
        for point in prefixes(&world, &stages, &journal) {
            let Some(left) = point.journal(&primary) else {
                continue;
            };
            let observed = point.observe();
            for op in backward(&left, &observed)
                .unwrap()
                .iter()
                .flat_map(|stage| &stage.ops)
            {
                if let Verb::Stop { container, .. } | Verb::Remove { container } = &op.verb {
                    let state = observed.host(&op.host).unwrap();
                    let found = state.by_id(container.id.as_ref().unwrap()).unwrap();
                    assert_eq!(found.transaction.as_ref(), Some(&left.id), "{op}");
                }
                if let Verb::RestoreRoute { .. } | Verb::RemoveRoute { .. } = &op.verb {
                    assert!(observed.host(&op.host).unwrap().leads_to(&left.id), "{op}");
                }
            }
        }
    }
}

#[test]
fn journals_survive_their_text_and_hold_no_secret() {
    for Case {
        mut world,
        spec,
        kind,
        ..
    } in cases()
    {
        let journal = world.open_as("t9", spec, kind);
        let text = serde_json::to_string(&journal).unwrap();
        assert_eq!(serde_json::from_str::<Journal>(&text).unwrap(), journal);
        let stages = forward(&journal, &world.observe(), Phase::Finished).unwrap();
        let text = serde_json::to_string(&stages).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Stage>>(&text).unwrap(), stages);
    }
}
