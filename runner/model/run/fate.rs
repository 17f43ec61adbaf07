//! What hosts tell of a deploy whose process was lost.

use std::sync::{Arc, Mutex, PoisonError};

use super::event::DeployOutcome;
use crate::mask::Masked;

/// What became of a deploy, as its hosts tell it.
#[derive(Debug, Clone)]
pub struct Fate {
    /// What became of it; none where nothing of the job is on the hosts, so that it changed nothing.
    pub outcome: Option<DeployOutcome>,
    /// Whether its job was green and at its end when it was lost: a deploy is committed only then.
    pub was_green: bool,
    /// The same for people, with what to do where something is left to be done.
    pub words: Masked,
}

/// Takes what hosts tell, in the order in which it is told; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Fates(Arc<Mutex<Vec<Fate>>>);

impl Fates {
    /// Adds what some hosts told.
    pub fn add(&self, fate: Fate) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(fate);
    }

    /// Takes all that was told so far.
    pub fn take(&self) -> Vec<Fate> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
