//! What tests do again and again: deploy, go on to a phase, look.

use super::world::World;
use crate::release::{Journal, Outcome, Phase, Spec, UnixMillis, close, forward};

pub(super) fn deployed(spec: Spec) -> World {
    let mut world = World::new(&["h1", "h2"]);
    finish(&mut world, "t1", spec);
    world
}

pub(super) fn finish(world: &mut World, id: &str, spec: Spec) -> Journal {
    let journal = advance(world, id, spec, Phase::Finished);
    let line = journal.history_line(Outcome::Succeeded, None, UnixMillis(0));
    let stages = close(&journal, &world.observe(), &line);
    world.run(&stages, &journal);
    journal
}

/// Opens a transaction, runs it up to `phase` and gives its journal as it then is.
pub(super) fn advance(world: &mut World, id: &str, spec: Spec, phase: Phase) -> Journal {
    let primary = spec.primary.clone();
    let journal = world.open(id, spec);
    let stages = forward(&journal, &world.observe(), phase).unwrap();
    world.run(&stages, &journal);
    world.journal(&primary).unwrap()
}

pub(super) fn names(world: &World, host: &str) -> Vec<(String, bool)> {
    let containers = &world.servers[host].containers;
    containers
        .iter()
        .map(|c| (c.name.to_string(), c.running))
        .collect()
}
