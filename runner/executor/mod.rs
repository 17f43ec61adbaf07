//! Where steps run: this host, or a container here or on another machine.
//!
//! A [`Sandbox`] is opened once for a job, runs its steps one after the other (or side by side) and
//! is closed after the last one. `close` is always called, also of a job that was cancelled, under
//! the runner's own time and not the run's.

mod action_container;
mod clear;
mod container;
mod host;
mod lines;
mod mounts;
mod options;
mod order;
mod owner;
mod services;
mod volumes;
mod words;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use thiserror::Error;

use crate::docker::DockerError;
use crate::process::{OutputSink, ProcessExit, StartError, Stop};

pub use action_container::ActionSandbox;
pub use clear::clear_lost;
pub use container::ContainerSandbox;
pub use host::HostSandbox;
pub use mounts::Mounts;
pub use options::{OptionError, PullPolicy};
pub use order::{ContainerOrder, ContainerParts, OrderError, split_arguments};
pub use services::{ContainerError, JobContainers, Machine, Service};

/// A future that a [`Sandbox`] returns.
pub type SandboxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One command of a step, with paths as the sandbox sees them.
#[derive(Debug, Clone)]
pub struct CommandSpec {
    /// The program and its arguments; never secrets.
    pub argv: Vec<String>,
    /// The variables of the step; the sandbox adds what belongs to the place.
    pub env: BTreeMap<String, String>,
    /// Folders to put in front of `PATH`, first one first.
    pub path: Vec<String>,
    /// The folder where it starts.
    pub directory: String,
}

/// A command could not be run: the machine's fault, or a program that is not there.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// The program could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The machine: the container is gone, or Docker is.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// The user's file or the machine: the container of an action could not be brought up.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// The network or the machine that the job runs on: nothing more can be heard of the step.
    #[error(
        "the SSH connection to `{host}`, where the job runs, is lost: {reason}; what is left there is removed when it can be reached again, by the next job at the latest"
    )]
    Lost {
        /// The machine, as `user@host:port`.
        host: String,
        /// What was seen.
        reason: String,
    },
}

/// A place where the steps of one job run.
///
/// Calls can overlap (background steps). A cancelled command is ended with its whole tree before
/// `run` returns; its exit says so.
pub trait Sandbox: Send + Sync + fmt::Debug {
    /// Runs a command to its end and gives its output to `sink`.
    fn run<'a>(
        &'a self,
        command: &'a CommandSpec,
        sink: &'a mut dyn OutputSink,
        stop: &'a Stop,
    ) -> SandboxFuture<'a, Result<ProcessExit, SandboxError>>;

    /// Returns the path by which commands see a folder or file of this host.
    fn path_inside(&self, path: &Path) -> String;

    /// Returns the path on this host of what commands see as `path`.
    fn path_outside(&self, path: &str) -> PathBuf;

    /// Tells whether a program is in the sandbox's own `PATH`.
    fn has_program<'a>(&'a self, name: &'a str) -> SandboxFuture<'a, bool>;

    /// Tells whether commands run in a container.
    fn is_container(&self) -> bool;

    /// Tells whether commands see the files of this host themselves, and not copies of them.
    fn shares_files(&self) -> bool {
        true
    }

    /// Copies files and folders of the job to where commands see them, if those are copies; what is
    /// there and has no namesake stays.
    fn send<'a>(&'a self, _paths: &'a [&'a Path]) -> SandboxFuture<'a, Result<(), SandboxError>> {
        Box::pin(async { Ok(()) })
    }

    /// Makes a folder that commands see what it is on this host, if it is a copy.
    fn replace<'a>(&'a self, _folder: &'a Path) -> SandboxFuture<'a, Result<(), SandboxError>> {
        Box::pin(async { Ok(()) })
    }

    /// Makes a folder of this host what it is where commands see it, if that is a copy.
    fn fetch<'a>(&'a self, _folder: &'a Path) -> SandboxFuture<'a, Result<(), SandboxError>> {
        Box::pin(async { Ok(()) })
    }

    /// Ends whatever the job left behind.
    fn close(&self) -> SandboxFuture<'_, ()>;
}
