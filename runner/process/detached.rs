//! Processes that go on when this one ends: the leader of a session of its own each.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, setsid};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use super::StartError;

/// Starts a process that outlives this one, and gives it `input` on its standard input.
///
/// It is to call [`lead_session`] first. Its output goes to `log`; the variables `hidden` are not for
/// it. Errors only if it could not be started; one that does not take its input ends by itself.
pub async fn start_detached(
    program: &Path,
    arguments: &[OsString],
    input: &[u8],
    (log, hidden): (std::fs::File, &[String]),
) -> Result<Child, StartError> {
    let started = || {
        let errors = log.try_clone()?;
        let mut command = Command::new(program);
        for name in hidden {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(errors)
            .spawn()
    };
    let mut child = started().map_err(|source| StartError::Program {
        program: program.display().to_string(),
        directory: ".".to_owned(),
        source,
    })?;
    if let Some(mut stdin) = child.stdin.take()
        && let Err(error) = stdin.write_all(input).await
    {
        tracing::warn!(%error, "a process did not take its input");
    }
    Ok(child)
}

/// Makes this process the leader of a session of its own, so that no signal to its parent's reaches
/// it.
pub fn lead_session() -> io::Result<()> {
    // A leader already is what this is for.
    match setsid() {
        Ok(_) | Err(nix::Error::EPERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Sends Ctrl-C to a process; one that is gone needs none.
pub fn interrupt(pid: u32) {
    send(pid, Signal::SIGINT);
}

/// Kills a process; one that is gone needs none.
pub fn kill_process(pid: u32) {
    send(pid, Signal::SIGKILL);
}

fn send(pid: u32, signal: Signal) {
    if let Ok(pid) = i32::try_from(pid)
        && pid > 1
    {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}
