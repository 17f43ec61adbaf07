//! Actions that are a container: one container for each command.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::container::{KILLED, stopped};
use super::lines::Lines;
use super::mounts::Mounts;
use super::order::ContainerOrder;
use super::services::{ContainerError, JobContainers};
use super::{CommandSpec, Sandbox, SandboxError, SandboxFuture};
use crate::docker::{BuildSpec, Env};
use crate::process::{LeftBehind, OutputSink, ProcessExit, Stop};

/// How long a container has to end by itself when its step is cancelled: the sum of what a
/// process on the host has.
const GRACE: Duration = Duration::from_secs(10);

/// Runs each command in a new container of an action's image.
///
/// The command's `argv` are the arguments of the image's entrypoint. Folders for `PATH` are those
/// of another place, so they do not count here.
#[derive(Debug)]
pub struct ActionSandbox {
    containers: Arc<JobContainers>,
    order: ContainerOrder,
    mounts: Mounts,
}

impl ActionSandbox {
    /// Returns a sandbox for an action.
    pub fn new(containers: Arc<JobContainers>, order: ContainerOrder, mounts: Mounts) -> Self {
        Self {
            containers,
            order,
            mounts,
        }
    }

    async fn execute(
        &self,
        command: &CommandSpec,
        sink: &mut dyn OutputSink,
        stop: &Stop,
    ) -> Result<ProcessExit, ContainerError> {
        tokio::select! {
            provided = self.containers.provide_image(&self.order) => provided?,
            reason = stopped(stop) => {
                return Ok(ProcessExit { code: KILLED, stopped: Some(reason), left: LeftBehind::NothingSeen });
            }
        }
        let engine = &self.containers.engine;
        let mut spec = self.order.spec.clone();
        spec.command = (!command.argv.is_empty()).then(|| command.argv.clone());
        spec.env = Env(command.env.clone().into_iter().collect());
        spec.workdir = Some(command.directory.clone());
        spec.network = Some(self.containers.network().to_owned());
        spec.labels.extend(self.containers.labels());
        spec.volumes.extend(self.containers.binds(&self.mounts));
        let id = engine.create_container(&spec).await?;
        let mut lines = Lines::new(sink);
        let mut on_output = |chunk| lines.push(&chunk);
        let exit = {
            let run = engine.run_attached(&id, None, &mut on_output);
            tokio::pin!(run);
            let ended = tokio::select! {
                code = &mut run => Ok(code),
                reason = stopped(stop) => Err(reason),
            };
            match ended {
                Ok(code) => code.map(|code| (code, None)),
                Err(reason) => {
                    let stop = async {
                        // One that ended in the meantime needs no signal.
                        let _gone = engine.kill(&id, "SIGINT").await;
                        engine.stop(&id, GRACE).await
                    };
                    let (code, _stopped) = tokio::join!(run, stop);
                    Ok((code.unwrap_or(KILLED.into()), Some(reason)))
                }
            }
        };
        lines.finish();
        if let Err(error) = engine.remove_container(&id, true, true).await {
            tracing::debug!(%error, "the container of an action is removed with its job");
        }
        let (code, stopped) = exit?;
        Ok(ProcessExit {
            code: i32::try_from(code).unwrap_or(1),
            stopped,
            left: LeftBehind::NothingSeen,
        })
    }
}

impl JobContainers {
    /// Builds the image of an action from its Dockerfile and returns its name; it is removed with
    /// the job, and what was built stays in the builder's cache.
    ///
    /// The Dockerfile's own folder is the build context. `on_line` gets what the build says.
    ///
    /// # Errors
    /// A step of the Dockerfile failed, or Docker refused.
    pub async fn build_action(
        &self,
        dockerfile: &Path,
        on_line: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<String, ContainerError> {
        let folder = dockerfile.parent().unwrap_or(dockerfile);
        let file = dockerfile.file_name().unwrap_or_default();
        let tag = format!("runner-action:{}", uuid::Uuid::now_v7().simple());
        let spec = BuildSpec {
            dockerfile: file.to_string_lossy().into_owned(),
            labels: self.labels(),
            ..BuildSpec::of_folder(folder, &tag)
        };
        self.engine.build(&spec, on_line).await?;
        Ok(tag)
    }
}

impl Sandbox for ActionSandbox {
    fn run<'a>(
        &'a self,
        command: &'a CommandSpec,
        sink: &'a mut dyn OutputSink,
        stop: &'a Stop,
    ) -> SandboxFuture<'a, Result<ProcessExit, SandboxError>> {
        Box::pin(async move {
            let ended = self.execute(command, sink, stop).await;
            ended.map_err(|error| match (error, self.containers.volumes()) {
                (ContainerError::Docker(error), Some(volumes)) => volumes.explain(error),
                (error, _) => error.into(),
            })
        })
    }

    fn path_inside(&self, path: &Path) -> String {
        self.mounts.path_inside(path)
    }

    fn path_outside(&self, path: &str) -> PathBuf {
        self.mounts.path_outside(path)
    }

    fn has_program<'a>(&'a self, _name: &'a str) -> SandboxFuture<'a, bool> {
        // Its entrypoint is all that is run in it.
        Box::pin(async { false })
    }

    fn is_container(&self) -> bool {
        true
    }

    fn shares_files(&self) -> bool {
        self.containers.volumes().is_none()
    }

    fn send<'a>(&'a self, paths: &'a [&'a Path]) -> SandboxFuture<'a, Result<(), SandboxError>> {
        Box::pin(async move {
            match self.containers.volumes() {
                Some(volumes) => volumes.send(paths).await,
                None => Ok(()),
            }
        })
    }

    fn fetch<'a>(&'a self, folder: &'a Path) -> SandboxFuture<'a, Result<(), SandboxError>> {
        Box::pin(async move {
            match self.containers.volumes() {
                Some(volumes) => volumes.fetch(folder).await,
                None => Ok(()),
            }
        })
    }

    fn close(&self) -> SandboxFuture<'_, ()> {
        Box::pin(async {})
    }
}
