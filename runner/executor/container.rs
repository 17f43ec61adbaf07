//! Steps that run in the container of a job.
//!
//! Each command is an exec by Docker's API. The command's processes are found again by a variable
//! that all of them inherit; a command in the container sends them signals, so that it does not
//! matter which processes the runner can see or may end on this host.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::lines::Lines;
use super::mounts::Mounts;
use super::volumes::Volumes;
use super::{CommandSpec, Sandbox, SandboxError, SandboxFuture};
use crate::docker::{ContainerSpec, DockerError, Engine, Env, ExecSpec, Hold};
use crate::process::{LeftBehind, OutputSink, ProcessExit, Stop, StopReason};

/// The variable by which the processes of a command are found.
const TAG: &str = "RUNNER_STEP_TAG";

/// How long a command has after each signal before the next one.
///
/// Source: the times of GitHub's `ProcessInvoker`.
const LADDER: [(&str, Duration); 3] = [
    ("INT", Duration::from_millis(7_500)),
    ("TERM", Duration::from_millis(2_500)),
    ("KILL", Duration::from_millis(5_000)),
];

/// Ends processes by their tag.
const END_PROCESSES: &str = include_str!("end_processes.sh");

/// The code of a command that was ended by force.
pub(super) const KILLED: i32 = 137;

/// Runs commands in a container that is kept running for the job.
#[derive(Debug)]
pub struct ContainerSandbox {
    engine: Engine,
    id: String,
    mounts: Mounts,
    place: Place,
    /// The `PATH` of the container's own; none where it has no shell to tell it.
    path: OnceCell<Option<String>>,
    programs: Mutex<HashMap<String, bool>>,
}

/// Where the container and the job's folders are.
#[derive(Debug)]
enum Place {
    /// Here: this container empties them in the end.
    Here(Box<ContainerSpec>),
    /// On another machine, for as long as the hold lasts.
    There { volumes: Arc<Volumes>, _hold: Hold },
}

impl ContainerSandbox {
    /// Returns a sandbox for a container that runs on this machine.
    pub(super) fn new(engine: Engine, id: String, mounts: Mounts, cleaner: ContainerSpec) -> Self {
        Self::at(engine, id, mounts, Place::Here(Box::new(cleaner)))
    }

    /// Returns a sandbox for a container that runs on another machine as long as it is held.
    pub(super) fn on_another_machine(
        engine: Engine,
        id: String,
        mounts: Mounts,
        (volumes, hold): (Arc<Volumes>, Hold),
    ) -> Self {
        let place = Place::There {
            volumes,
            _hold: hold,
        };
        Self::at(engine, id, mounts, place)
    }

    fn at(engine: Engine, id: String, mounts: Mounts, place: Place) -> Self {
        Self {
            engine,
            id,
            mounts,
            place,
            path: OnceCell::new(),
            programs: Mutex::default(),
        }
    }

    /// Returns the id of the container.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the `PATH` of the container, as its image or its `env` sets it; none where it has
    /// no shell.
    async fn own_path(&self) -> Result<Option<&str>, DockerError> {
        let question = ExecSpec::of_words(["sh", "-c", "printf %s \"$PATH\""]);
        let path = self.path.get_or_try_init(|| async {
            let answer = self.engine.exec_output(&self.id, &question, None).await?;
            let path = String::from_utf8_lossy(&answer.stdout).into_owned();
            Ok((answer.code == 0).then_some(path))
        });
        path.await.map(Option::as_deref)
    }

    async fn environment(&self, command: &CommandSpec, tag: String) -> Result<Env, DockerError> {
        let mut env = command.env.clone();
        if !command.path.is_empty() {
            let own = match env.get("PATH") {
                Some(path) => path.clone(),
                None => self.own_path().await?.unwrap_or_default().to_owned(),
            };
            let parts = command.path.iter().map(String::as_str).chain([&*own]);
            let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
            env.insert("PATH".to_owned(), parts.join(":"));
        }
        env.insert(TAG.to_owned(), tag);
        Ok(Env(env.into_iter().collect()))
    }

    /// Sends a signal to all processes of a command, and adds them to those that are known.
    async fn signal(&self, family: &Family, signal: &str) {
        let entry = format!("{TAG}={}", family.tag);
        let known = family.known();
        let words = ["sh", "-c", END_PROCESSES, "sh", &entry, signal, &known];
        let command = ExecSpec {
            user: Some("0".to_owned()),
            ..ExecSpec::of_words(words)
        };
        match self.engine.exec_output(&self.id, &command, None).await {
            Ok(answer) => family.add(&String::from_utf8_lossy(&answer.stdout)),
            // Whoever is still there is ended with the container.
            Err(error) => tracing::debug!(%error, "the processes of a step were not signalled"),
        }
    }

    /// Asks, tells and makes the processes of a command end; returns its code, or none when the
    /// time for that is over.
    ///
    /// A signal that is on its way is always awaited: it tells who is to be ended.
    async fn end(
        &self,
        family: &Family,
        exec: impl Future<Output = Result<i64, DockerError>>,
    ) -> Option<i64> {
        let (ended, given_up) = (CancellationToken::new(), CancellationToken::new());
        let wait = async {
            let code = tokio::select! {
                code = exec => code.ok(),
                () = given_up.cancelled() => None,
            };
            ended.cancel();
            code
        };
        let climb = async {
            for (signal, grace) in LADDER {
                self.signal(family, signal).await;
                if tokio::time::timeout(grace, ended.cancelled()).await.is_ok() {
                    self.signal(family, "KILL").await;
                    return;
                }
            }
            given_up.cancel();
        };
        tokio::join!(wait, climb).0
    }

    async fn execute(
        &self,
        command: &CommandSpec,
        sink: &mut dyn OutputSink,
        stop: &Stop,
    ) -> Result<ProcessExit, DockerError> {
        let family = Family::new();
        let mut words = command.argv.clone();
        if self.own_path().await?.is_some() {
            // The daemon carries the two streams side by side; lines stay in order in one alone.
            let shell = ["sh", "-c", "exec \"$@\" 2>&1", "sh"].map(str::to_owned);
            words.splice(0..0, shell);
        }
        let spec = ExecSpec {
            command: words,
            env: self.environment(command, family.tag.clone()).await?,
            workdir: Some(command.directory.clone()),
            ..ExecSpec::default()
        };
        let mut lines = Lines::new(sink);
        let mut on_output = |chunk| lines.push(&chunk);
        let exit = {
            let exec = self.engine.exec(&self.id, &spec, None, &mut on_output);
            tokio::pin!(exec);
            let ended = tokio::select! {
                code = &mut exec => Ok(code?),
                reason = stopped(stop) => Err(reason),
            };
            match ended {
                Ok(code) => ProcessExit {
                    code: i32::try_from(code).unwrap_or(1),
                    stopped: None,
                    // The container lives on, and whatever was started in it.
                    left: LeftBehind::Something,
                },
                Err(reason) => {
                    let code = self.end(&family, exec).await;
                    if code.is_none() {
                        self.end_container().await;
                    }
                    ProcessExit {
                        code: code.and_then(|code| code.try_into().ok()).unwrap_or(KILLED),
                        stopped: Some(reason),
                        left: LeftBehind::Something,
                    }
                }
            }
        };
        lines.finish();
        Ok(exit)
    }

    /// Tells a machine that is lost from what its daemon refuses.
    fn explain(&self, error: DockerError) -> SandboxError {
        match &self.place {
            Place::Here(_) => error.into(),
            Place::There { volumes, .. } => volumes.explain(error),
        }
    }

    /// Empties a folder of the job in the container, as its image's root.
    async fn empty(&self, folder: &Path) -> Result<(), DockerError> {
        let inside = self.mounts.path_inside(folder);
        let words = [
            "sh",
            "-c",
            "cd \"$1\" && rm -rf -- ..?* .[!.]* *",
            "sh",
            &inside,
        ];
        let command = ExecSpec {
            user: Some("0".to_owned()),
            ..ExecSpec::of_words(words)
        };
        let answer = self.engine.exec_output(&self.id, &command, None).await?;
        if answer.code == 0 {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&answer.stderr);
        Err(self
            .engine
            .refusal(&format!("empty `{inside}` of the job"), said.trim()))
    }

    /// The last way to end a command that no signal ends.
    async fn end_container(&self) {
        if let Err(error) = self.engine.kill(&self.id, "SIGKILL").await {
            tracing::debug!(%error, "the container of the job could not be ended");
        }
    }

    /// Empties the job's folders: files of the container's users are not this user's to remove.
    ///
    /// In a container of its own, which sees nothing but these folders: the job's volumes can lie
    /// within them.
    async fn remove_files(&self) -> Result<(), DockerError> {
        let Place::Here(cleaner) = &self.place else {
            // What is on another machine are volumes, which go with the job.
            return Ok(());
        };
        if nix::unistd::geteuid().is_root() {
            return Ok(());
        }
        let id = self.engine.create_container(cleaner).await?;
        let code = self.engine.run_attached(&id, None, &mut |_| {}).await?;
        tracing::debug!(code, "the job's folders were emptied");
        self.engine.remove_container(&id, true, true).await?;
        Ok(())
    }
}

/// Returns the container that empties the job's folders, as its image's root.
pub(super) fn cleaner(
    image: &str,
    labels: BTreeMap<String, String>,
    mounts: &Mounts,
) -> ContainerSpec {
    let words = ["-c", "rm -rf -- /[0-9]*/* /[0-9]*/.[!.]*"];
    let folders = mounts.writable_folders().enumerate();
    ContainerSpec {
        entrypoint: Some(vec!["sh".to_owned()]),
        command: Some(words.map(str::to_owned).to_vec()),
        user: Some("0".to_owned()),
        network: Some("none".to_owned()),
        labels,
        volumes: folders
            .map(|(number, folder)| format!("{}:/{number}", folder.display()))
            .collect(),
        ..ContainerSpec::of_image(image)
    }
}

/// The processes of a command: how they are found, and which were seen.
///
/// Those that gave up the variable and whose parent is gone are known from the look before.
#[derive(Debug)]
struct Family {
    tag: String,
    known: Mutex<BTreeSet<u32>>,
}

impl Family {
    fn new() -> Self {
        Self {
            tag: uuid::Uuid::now_v7().simple().to_string(),
            known: Mutex::default(),
        }
    }

    fn add(&self, numbers: &str) {
        let numbers = numbers
            .split_whitespace()
            .filter_map(|number| number.parse::<u32>().ok());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(numbers);
    }

    fn known(&self) -> String {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let numbers: Vec<String> = known.iter().map(u32::to_string).collect();
        numbers.join(" ")
    }
}

/// Waits until a command is to be ended, and says why.
pub(super) async fn stopped(stop: &Stop) -> StopReason {
    let limit = async {
        match stop.limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = stop.token.cancelled() => StopReason::Cancelled,
        () = limit => StopReason::TimedOut,
    }
}

impl Sandbox for ContainerSandbox {
    fn run<'a>(
        &'a self,
        command: &'a CommandSpec,
        sink: &'a mut dyn OutputSink,
        stop: &'a Stop,
    ) -> SandboxFuture<'a, Result<ProcessExit, SandboxError>> {
        Box::pin(async move {
            let ended = self.execute(command, sink, stop).await;
            ended.map_err(|error| self.explain(error))
        })
    }

    fn path_inside(&self, path: &Path) -> String {
        self.mounts.path_inside(path)
    }

    fn path_outside(&self, path: &str) -> PathBuf {
        self.mounts.path_outside(path)
    }

    fn has_program<'a>(&'a self, name: &'a str) -> SandboxFuture<'a, bool> {
        Box::pin(async move {
            let known = {
                let programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
                programs.get(name).copied()
            };
            if let Some(is_there) = known {
                return is_there;
            }
            let question = ExecSpec::of_words(["sh", "-c", "command -v \"$1\"", "sh", name]);
            let answer = self.engine.exec_output(&self.id, &question, None).await;
            let is_there = answer.is_ok_and(|answer| answer.code == 0);
            let mut programs = self.programs.lock().unwrap_or_else(PoisonError::into_inner);
            programs.insert(name.to_owned(), is_there);
            is_there
        })
    }

    fn is_container(&self) -> bool {
        true
    }

    fn shares_files(&self) -> bool {
        matches!(self.place, Place::Here(_))
    }

    fn send<'a>(&'a self, paths: &'a [&'a Path]) -> SandboxFuture<'a, Result<(), SandboxError>> {
        Box::pin(async move {
            match &self.place {
                Place::Here(_) => Ok(()),
                Place::There { volumes, .. } => volumes.send(paths).await,
            }
        })
    }

    fn replace<'a>(&'a self, folder: &'a Path) -> SandboxFuture<'a, Result<(), SandboxError>> {
        Box::pin(async move {
            let Place::There { volumes, .. } = &self.place else {
                return Ok(());
            };
            self.empty(folder)
                .await
                .map_err(|error| self.explain(error))?;
            volumes.send(&[folder]).await
        })
    }

    fn fetch<'a>(&'a self, folder: &'a Path) -> SandboxFuture<'a, Result<(), SandboxError>> {
        Box::pin(async move {
            match &self.place {
                Place::Here(_) => Ok(()),
                Place::There { volumes, .. } => volumes.fetch(folder).await,
            }
        })
    }

    fn close(&self) -> SandboxFuture<'_, ()> {
        Box::pin(async move {
            if let Err(error) = self.engine.remove_container(&self.id, true, true).await {
                match self.explain(error) {
                    // It ended with the connection, and is removed with the rest of the job.
                    SandboxError::Lost { .. } => {}
                    error => {
                        tracing::warn!(%error, "the container of the job could not be removed");
                    }
                }
            }
            if let Err(error) = self.remove_files().await {
                tracing::warn!(%error, "the files of the job's container could not be removed");
            }
        })
    }
}
