//! The actions that are part of this program: each reads its inputs and calls a lower room.

mod backup;
mod build_image;
mod checkout;
mod health_check;
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
