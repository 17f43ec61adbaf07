//! What a workflow becomes for one event: filters, the graph of jobs, matrices.
//!
//! [`filter::decide`] says whether an event runs a workflow, [`matrix::expand`] makes the cells of
//! a job's matrix, and [`name`] gives jobs the names and ids under which people see them.
//! [`Progress`] is told what happened in a run and says which job is next.

mod call;
mod concurrency;
mod environment;
mod expand;
pub mod filter;
mod frame;
mod job;
mod linked;
pub mod matrix;
pub mod name;
pub mod pattern;
mod permissions;
mod preview;
mod progress;
mod schedule;
mod scope;

#[cfg(test)]
mod tests;

pub use call::{WorkflowLoader, inputs};
pub use concurrency::Concurrency;
pub use environment::Environment;
pub use job::{CallerContexts, JobPlan, SecretAccess, WorkflowFile};
pub use linked::{Found, linked};
pub use preview::PreviewedJob;
pub use progress::{Decision, JobResult, Progress, RunFacts};
pub use schedule::{Minute, Timetable};
