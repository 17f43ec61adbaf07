//! `runner` runs GitHub Actions workflows on your own machines and deploys containers over SSH.
//!
//! `docs/architecture.md` shows the rooms, the floors they stand on and the way of data.

pub use runner_model::{
    diagnostic, event, expression, kamal, mask, plan, release, run, workflow, yaml,
};

#[path = "../actions/mod.rs"]
pub mod actions;
pub mod cli;
pub mod deploy;
pub mod docker;
pub mod engine;
pub mod executor;
pub mod git;
pub mod github;
pub mod notify;
pub mod process;
pub mod report;
pub mod scheduler;
pub mod server;
pub mod ssh;
pub mod store;
pub mod telemetry;
pub mod trigger;
