//! The actions that are part of this program: each reads its inputs and calls a lower room.

mod backup;
mod build_image;
mod checkout;
mod health_check;
mod lost_deploy;
mod migrate;
mod project;
mod promote;
mod push_image;
mod rollback;
mod ssh_deploy;
mod transaction;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::ActionRegistry;
use crate::run::Fates;

/// Returns all built-in actions, and the well-known ones that they stand in for.
///
/// `env` is the environment of the process: project files may use it, as with Kamal.
pub fn registry(env: BTreeMap<String, String>) -> ActionRegistry {
    let env = Arc::new(env);
    let own = || Arc::clone(&env);
    let checkout = Arc::new(checkout::Checkout);
    ActionRegistry::default()
        .with("runner/checkout", Arc::clone(&checkout) as _)
        .with("actions/checkout", checkout)
        .with(
            "runner/build-image",
            Arc::new(build_image::BuildImage { env: own() }),
        )
        .with(
            "runner/push-image",
            Arc::new(push_image::PushImage { env: own() }),
        )
        .with(
            "runner/ssh-deploy",
            Arc::new(ssh_deploy::SshDeploy { env: own() }),
        )
        .with("runner/migrate", Arc::new(migrate::Migrate))
        .with("runner/health-check", Arc::new(health_check::HealthCheck))
        .with("runner/promote", Arc::new(promote::Promote))
        .with(
            "runner/rollback",
            Arc::new(rollback::Rollback { env: own() }),
        )
        .with("runner/backup", Arc::new(backup::Backup { env: own() }))
}

/// Returns the actions that find out what became of the deploys of a job whose process was lost,
/// under the names of those that opened them, and where they say it.
///
/// They are given what those were given; `checkout` is among them, since the project is read.
pub fn askers(env: BTreeMap<String, String>) -> (ActionRegistry, Fates) {
    let (env, fates) = (Arc::new(env), Fates::default());
    let checkout = Arc::new(checkout::Checkout);
    let asker = |manifest| {
        Arc::new(lost_deploy::LostDeploy {
            env: Arc::clone(&env),
            manifest,
            fates: fates.clone(),
        })
    };
    let registry = ActionRegistry::default()
        .with("runner/checkout", Arc::clone(&checkout) as _)
        .with("actions/checkout", checkout)
        .with(
            "runner/ssh-deploy",
            asker(include_str!("ssh_deploy/action.yml")),
        )
        .with(
            "runner/rollback",
            asker(include_str!("rollback/action.yml")),
        );
    (registry, fates)
}
