//! The one-off container that migrates.

use super::{Subject, accessories, containers, error::Problems, millis};
use crate::release::{
    ContainerName, ContainerSpec, Duty, MigrateSpec, Millis, PURPOSE_LABEL, RoleName, command_words,
};

/// The role of the one-off, which is no role of the configuration.
const ROLE: &str = "migrate";

/// Returns the migration: a container as the primary role's, with the command of `x-runner.migrate`.
pub(super) fn migrate(subject: &Subject<'_>, problems: &mut Problems) -> Option<MigrateSpec> {
    let config = subject.config;
    let migrate = config.runner.migrate.as_ref()?;
    let role = config.primary_role()?;
    let host = role.hosts.first()?;
    let like = containers::of_role(subject, role, host, problems);
    let command = command_words(&migrate.command);
    let command = problems.take("x-runner/migrate/command", command);
    let mut env = like.env;
    let name = format!("{}-{ROLE}", config.service_and_destination());
    env.insert("KAMAL_CONTAINER_NAME".to_owned(), name.clone());
    limit_locks(&mut env, millis(migrate.lock_timeout));
    let mut labels = like.labels;
    // Whoever counts the containers of a role must not find this one.
    labels.shift_remove("role");
    labels.insert(PURPOSE_LABEL.to_owned(), ROLE.to_owned());
    let database = accessories::database(config, &env);
    if migrate.backup && database.is_none() {
        problems.invalid(
            "x-runner/migrate/backup",
            "no PostgreSQL accessory is known that could be dumped",
        );
    }
    let container = ContainerSpec {
        role: RoleName::from(ROLE),
        duty: Duty::Migration,
        name: ContainerName::new(name),
        labels,
        env,
        env_file: None,
        publish: Vec::new(),
        command,
        health_check: None,
        restart: "no".to_owned(),
        ..like
    };
    Some(MigrateSpec {
        container,
        limit: millis(migrate.timeout),
        database,
        backup: migrate.backup,
    })
}

/// A change of the schema that waits for a lock makes every reader behind it wait, too.
fn limit_locks(env: &mut indexmap::IndexMap<String, String>, limit: Millis) {
    if limit == Millis(0) {
        return;
    }
    let ours = format!("-c lock_timeout={limit}");
    env.entry("PGOPTIONS".to_owned())
        .and_modify(|own| *own = format!("{ours} {own}"))
        .or_insert(ours.clone());
}
