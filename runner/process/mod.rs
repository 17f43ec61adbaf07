//! The only place that starts processes, and ends them with all their children.
//!
//! # How it works
//! A child gets a process group of its own and one pipe for both of its streams, so that lines
//! stand in the order in which they were printed. It ends when its first process ends: what is in
//! the pipe is read, and a child left behind in the background does not hold the step
//! (`docs/decisions/0003-processes.md`). A cancelled child gets SIGINT, after 7.5 s SIGTERM, after
//! 2.5 s more the whole tree is killed: the times of GitHub's `ProcessInvoker`, but sent to the
//! group and not to the first process alone.

mod capture;
mod detached;
mod output;
mod tree;

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use thiserror::Error;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

pub use capture::{Captured, capture};
pub use detached::{interrupt, kill_process, lead_session, start_detached};
pub use output::OutputSink;
pub use tree::{adopt_orphans, kill_adopted, kill_session, kill_tagged};

/// How long a child has after SIGINT.
const INTERRUPT_GRACE: Duration = Duration::from_millis(7_500);

/// How long the output of a new child waits in its pipe.
///
/// A small step prints some lines and ends: to read them all at its end wakes the runner once and
/// not for every line. Nobody sees that a line is so much late, and a pipe holds 64 KiB.
const UNWATCHED: Duration = Duration::from_millis(3);

/// How long a child has after SIGTERM.
const TERMINATE_GRACE: Duration = Duration::from_millis(2_500);

/// What to start.
#[derive(Debug, Clone)]
pub struct ProcessSpec {
    /// The program: a path, or a name that is looked for in `PATH` of `env`.
    pub program: PathBuf,
    /// Its arguments; never secrets, since every user of the machine can read them.
    pub arguments: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// The folder where it starts.
    pub directory: PathBuf,
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessExit {
    /// Its exit code; for a signal 128 and its number, as shells say it.
    pub code: i32,
    /// Who ended it, if it did not end by itself.
    pub stopped: Option<StopReason>,
    /// What it left running.
    pub left: LeftBehind,
}

/// What a child left running when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftBehind {
    /// Nothing: the runner has no children at all any more.
    Nothing,
    /// Nothing that holds its output; the runner has other children, and some may be the child's.
    NothingSeen,
    /// Something that holds its output, or that could do so and cannot be seen.
    Something,
}

/// Why a child was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// Its token was cancelled.
    Cancelled,
    /// Its time was over.
    TimedOut,
}

/// When a child is to be ended before its time.
#[derive(Debug, Clone)]
pub struct Stop {
    /// Ends it when cancelled.
    pub token: CancellationToken,
    /// Ends it after this time.
    pub limit: Option<Duration>,
}

/// A process could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The user's file or the machine: the program is not there or cannot be run.
    #[error("`{program}` could not be started in `{directory}`")]
    Program {
        /// The program.
        program: String,
        /// The folder.
        directory: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The machine: no pipe could be made or read.
    #[error("the output of `{program}` could not be read")]
    Output {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Runs a child to its end and gives its output to `sink` as it comes.
///
/// Errors only if it could not be started or watched; a failing program is an exit code.
/// When `stop` says so, the whole tree of the child is ended before this returns.
pub async fn run(
    spec: &ProcessSpec,
    sink: &mut dyn OutputSink,
    stop: &Stop,
) -> Result<ProcessExit, StartError> {
    let program = || spec.program.display().to_string();
    let output_error = |source| StartError::Output {
        program: program(),
        source,
    };
    let (reader, writer) = output::pipe().map_err(output_error)?;
    let mut child = start(spec, writer)?;
    let group = Pid::from_raw(
        child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .unwrap_or(0),
    );
    let mut buffer = vec![0; output::BUFFER];
    let end = match tokio::time::timeout(UNWATCHED, child.wait()).await {
        Ok(status) => status.map(|status| End {
            status,
            stopped: None,
            reader: Some(reader),
        }),
        Err(_) => watch(&mut child, group, (reader, &mut buffer), sink, stop).await,
    };
    tree::forget_child(group);
    let end = end.map_err(output_error)?;
    if let Some((_, ladder)) = &end.stopped {
        tree::kill_family(group, &ladder.family).await;
    }
    let is_held = match end.reader {
        Some(reader) => output::drain(reader, &mut buffer, sink).map_err(output_error)?,
        None => false,
    };
    sink.finish();
    Ok(ProcessExit {
        code: exit_code(end.status),
        stopped: end.stopped.map(|(reason, _)| reason),
        left: if is_held {
            LeftBehind::Something
        } else if tree::has_no_children() {
            LeftBehind::Nothing
        } else {
            LeftBehind::NothingSeen
        },
    })
}

/// How a child ended, before its last output is read.
struct End {
    status: std::process::ExitStatus,
    /// Why it was ended and how far that went, if it did not end by itself.
    stopped: Option<(StopReason, Ladder)>,
    /// Its output, unless that was read to its end.
    reader: Option<OwnedFd>,
}

/// Gives a child's output to `sink` as it comes, until the child ends, and ends it when `stop` says so.
async fn watch(
    child: &mut Child,
    group: Pid,
    (reader, buffer): (OwnedFd, &mut [u8]),
    sink: &mut dyn OutputSink,
    stop: &Stop,
) -> io::Result<End> {
    let mut reader = output::watched(reader)?;
    let limit = stop.limit.map(|limit| limit.saturating_sub(UNWATCHED));
    let limit = limit.map(tokio::time::sleep);
    tokio::pin!(limit);
    let mut stopped: Option<(StopReason, Ladder)> = None;
    let mut is_open = true;
    let status = loop {
        let rung = stopped.as_ref().map(|(_, ladder)| ladder.next);
        tokio::select! {
            biased;
            status = child.wait() => break status?,
            read = output::read(&mut reader, buffer), if is_open => match read? {
                0 => is_open = false,
                length => sink.push(buffer.get(..length).unwrap_or_default()),
            },
            () = stop.token.cancelled(), if stopped.is_none() => {
                stopped = Some((StopReason::Cancelled, Ladder::begin(group)));
            }
            () = async { if let Some(limit) = limit.as_mut().as_pin_mut() { limit.await } },
                if stopped.is_none() && stop.limit.is_some() =>
            {
                stopped = Some((StopReason::TimedOut, Ladder::begin(group)));
            }
            () = tokio::time::sleep_until(rung.unwrap_or_else(tokio::time::Instant::now)), if rung.is_some() => {
                if let Some((_, ladder)) = stopped.as_mut() {
                    ladder.climb(group);
                }
            }
        }
    };
    let reader = if is_open {
        Some(reader.into_nonblocking_fd()?)
    } else {
        None
    };
    Ok(End {
        status,
        stopped,
        reader,
    })
}

/// Starts the child with `posix_spawn`: no closure runs between fork and exec, since the fork would
/// then copy the runner's page tables, which costs more the more memory it uses.
fn start(spec: &ProcessSpec, writer: output::Writer) -> Result<Child, StartError> {
    let failed = |source| StartError::Program {
        program: spec.program.display().to_string(),
        directory: spec.directory.display().to_string(),
        source,
    };
    let second = writer.try_clone().map_err(failed)?;
    let mut command = Command::new(&spec.program);
    command
        .args(&spec.arguments)
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&spec.directory)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(second);
    tree::start_child(&mut command).map_err(failed)
}

fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1)
}

/// The steps by which a child is asked, told and made to end.
#[derive(Debug)]
struct Ladder {
    /// When the next rung is due.
    next: tokio::time::Instant,
    /// What is sent then; none is the kill of the whole tree.
    signal: Option<Signal>,
    /// Who came from the child when it was asked: some run away as soon as it ends.
    family: tree::Family,
}

impl Ladder {
    fn begin(group: Pid) -> Self {
        let family = tree::Family::of(group);
        send(group, Signal::SIGINT);
        let next = tokio::time::Instant::now() + INTERRUPT_GRACE;
        Self {
            next,
            signal: Some(Signal::SIGTERM),
            family,
        }
    }

    fn climb(&mut self, group: Pid) {
        self.family.grow(group);
        send(group, self.signal.take().unwrap_or(Signal::SIGKILL));
        self.next += TERMINATE_GRACE;
    }
}

fn send(group: Pid, signal: Signal) {
    // Group 0 would be the runner's own; a group that is gone already needs no signal.
    if group.as_raw() > 0 {
        let _ = killpg(group, signal);
    }
}
