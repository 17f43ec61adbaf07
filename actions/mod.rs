//! The actions that are part of this program: each reads its inputs and calls a lower room.

mod checkout;

use std::sync::Arc;

use crate::engine::ActionRegistry;

/// Returns all built-in actions, and the well-known ones that they stand in for.
pub fn registry() -> ActionRegistry {
    let checkout = Arc::new(checkout::Checkout);
    ActionRegistry::default()
        .with("runner/checkout", Arc::clone(&checkout) as _)
        .with("actions/checkout", checkout)
}
