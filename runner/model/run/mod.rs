//! The records of a run and the events that tell of its progress.

pub mod command;
pub mod command_file;
mod envelope;
mod event;
mod fate;
mod lease;
pub mod matcher;
mod record;

#[cfg(test)]
mod tests;

pub use envelope::{Attempt, Envelope, Fence, JobKey, RunId, Timestamp};
pub use event::{
    Annotation, AnnotationLevel, DeployOutcome, DeployProgress, JobEnd, PlannedJob, RunEvent,
    RunOutcome, Stream, Tally,
};
pub use fate::{Fate, Fates};
pub use lease::Terms;
pub use record::{Conclusion, Status};
