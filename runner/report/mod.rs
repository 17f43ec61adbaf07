//! Turns the events of a run into what people and GitHub see.
//!
//! A [`Recorder`] takes each event once, in the order in which it happened, and hands it to its
//! reporters. Reporters only look: what they do never changes the run.

mod console;
mod json;
mod live;
mod screen;
mod trace;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::run::RunEvent;

pub use console::{Console, ConsoleStyle, format_duration};
pub use json::JsonLines;
pub use live::Live;
pub use screen::{LineKey, Screen, ScreenWriter, screen};
pub use trace::{JobTrace, TracedEnd, TracedRun, Traces};

/// Takes the events of a run.
///
/// Called from the tasks of several jobs, one call at a time; a slow reporter slows the jobs down
/// rather than losing anything.
pub trait Reporter: Send {
    /// Takes the next event.
    fn report(&mut self, event: &RunEvent);
}

/// Hands events to reporters; cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    reporters: Arc<Mutex<Vec<Box<dyn Reporter>>>>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

impl Recorder {
    /// Returns a recorder for these reporters.
    pub fn new(reporters: Vec<Box<dyn Reporter>>) -> Self {
        Self {
            reporters: Arc::new(Mutex::new(reporters)),
        }
    }

    /// Hands an event to all reporters, in their order.
    pub fn record(&self, event: &RunEvent) {
        let mut reporters = self
            .reporters
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for reporter in reporters.iter_mut() {
            reporter.report(event);
        }
    }
}
