//! The actions that are part of this program: each reads its inputs and calls a lower room.

mod build_image;
mod checkout;
mod project;
mod push_image;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::ActionRegistry;

/// Returns all built-in actions, and the well-known ones that they stand in for.
///
/// `env` is the environment of the process: project files may use it, as with Kamal.
pub fn registry(env: BTreeMap<String, String>) -> ActionRegistry {
    let env = Arc::new(env);
    let checkout = Arc::new(checkout::Checkout);
    let build_image = build_image::BuildImage {
        env: Arc::clone(&env),
    };
    ActionRegistry::default()
        .with("runner/checkout", Arc::clone(&checkout) as _)
        .with("actions/checkout", checkout)
        .with("runner/build-image", Arc::new(build_image))
        .with("runner/push-image", Arc::new(push_image::PushImage { env }))
}
