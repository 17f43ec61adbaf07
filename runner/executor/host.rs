//! Steps that run on this host, as processes of the runner's user.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{CommandSpec, Sandbox, SandboxError, SandboxFuture};
use crate::process::{self, OutputSink, ProcessExit, ProcessSpec, Stop};

/// The variable that marks all processes of a job, as GitHub's runner marks them.
const TRACKING: &str = "RUNNER_TRACKING_ID";

/// Runs commands on this host.
#[derive(Debug)]
pub struct HostSandbox {
    /// What every command gets from the machine: `PATH`, `HOME` and their like.
    base: BTreeMap<String, String>,
    tracking: String,
}

impl HostSandbox {
    /// Returns a sandbox for one job; `tracking` names the job on this machine.
    pub fn new(base: BTreeMap<String, String>, tracking: String) -> Self {
        Self { base, tracking }
    }

    fn environment(&self, command: &CommandSpec) -> Vec<(OsString, OsString)> {
        let mut env = self.base.clone();
        env.extend(
            command
                .env
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        let path = search_path(&env, &command.path);
        env.insert("PATH".to_owned(), path);
        env.insert(TRACKING.to_owned(), self.tracking.clone());
        env.into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }
}

/// Puts a step's folders in front of the machine's.
fn search_path(env: &BTreeMap<String, String>, first: &[String]) -> String {
    let own = env.get("PATH").map_or("", String::as_str);
    let parts = first
        .iter()
        .map(String::as_str)
        .chain([own])
        .filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join(":")
}

/// Finds a program as a shell would: a path as it is, a name in the folders of `path`.
fn find_program(name: &str, path: &str, directory: &Path) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(directory.join(name));
    }
    path.split(':')
        .map(|folder| directory.join(folder).join(name))
        .find(|file| {
            file.metadata()
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        })
}

impl Sandbox for HostSandbox {
    fn run<'a>(
        &'a self,
        command: &'a CommandSpec,
        sink: &'a mut dyn OutputSink,
        stop: &'a Stop,
    ) -> SandboxFuture<'a, Result<ProcessExit, SandboxError>> {
        Box::pin(async move {
            let env = self.environment(command);
            let path = env.iter().find(|(name, _)| name == "PATH");
            let path = path.map_or(String::new(), |(_, value)| {
                value.to_string_lossy().into_owned()
            });
            let directory = PathBuf::from(&command.directory);
            let (program, arguments) = command
                .argv
                .split_first()
                .map_or(("", &[][..]), |(program, rest)| (program.as_str(), rest));
            let spec = ProcessSpec {
                program: find_program(program, &path, &directory).unwrap_or_else(|| program.into()),
                arguments: arguments.iter().map(OsString::from).collect(),
                env,
                directory,
            };
            Ok(process::run(&spec, sink, stop).await?)
        })
    }

    fn path_inside(&self, path: &Path) -> String {
        path.to_string_lossy().into_owned()
    }

    fn path_outside(&self, path: &str) -> PathBuf {
        path.into()
    }

    fn has_program<'a>(&'a self, name: &'a str) -> SandboxFuture<'a, bool> {
        let path = self.base.get("PATH").map_or("", String::as_str);
        let is_there = find_program(name, path, Path::new("/")).is_some();
        Box::pin(async move { is_there })
    }

    fn is_container(&self) -> bool {
        false
    }

    fn close(&self) -> SandboxFuture<'_, ()> {
        Box::pin(process::kill_tagged(TRACKING, &self.tracking))
    }
}
