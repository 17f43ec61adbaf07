//! The pipe between a child and the runner.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::net::unix::pipe::Receiver;

/// How much is read at once: a pipe's usual size.
pub(super) const BUFFER: usize = 64 * 1024;

/// How long output may still come after the child's end while something keeps the pipe busy.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);

/// Takes the output of a child.
pub trait OutputSink: Send {
    /// Takes the next bytes; they can end anywhere, also inside a character.
    fn push(&mut self, bytes: &[u8]);

    /// Says that nothing more comes.
    fn finish(&mut self) {}
}

impl OutputSink for Vec<u8> {
    fn push(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// The child's end of the pipe.
#[derive(Debug)]
pub(super) struct Writer(OwnedFd);

impl Writer {
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        self.0.try_clone().map(Self)
    }
}

impl From<Writer> for std::process::Stdio {
    fn from(writer: Writer) -> Self {
        writer.0.into()
    }
}

/// Makes a pipe whose reading end never waits.
pub(super) fn pipe() -> io::Result<(OwnedFd, Writer)> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    // Of the reading end alone: the writing end is the child's, which expects to wait.
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((reader, Writer(writer)))
}

/// Lets the runtime watch the reading end of a pipe.
pub(super) fn watched(reader: OwnedFd) -> io::Result<Receiver> {
    Receiver::from_owned_fd_unchecked(reader)
}

/// Reads what is there, waiting for the first byte; 0 is the end.
pub(super) async fn read(reader: &mut Receiver, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        reader.readable().await?;
        match reader.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            result => return result,
        }
    }
}

/// Reads what is still in the pipe after the child's end, without waiting for its other owners;
/// tells whether there are any.
pub(super) fn drain(
    reader: OwnedFd,
    buffer: &mut [u8],
    sink: &mut dyn OutputSink,
) -> io::Result<bool> {
    let begin = Instant::now();
    while begin.elapsed() < DRAIN_LIMIT {
        match nix::unistd::read(&reader, buffer) {
            Ok(0) => return Ok(false),
            Ok(length) => sink.push(buffer.get(..length).unwrap_or_default()),
            Err(Errno::EAGAIN) => break,
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    keep_open(watched(reader)?);
    Ok(true)
}

/// Reads and forgets what a process left in the background still prints.
///
/// If the pipe were closed its next line would end it; a server started in one step and used in the
/// next is an everyday thing.
#[expect(
    clippy::disallowed_methods,
    reason = "the reader belongs to a process that outlives its step; it ends with that process"
)]
fn keep_open(mut reader: Receiver) {
    drop(tokio::spawn(async move {
        let mut buffer = vec![0; 4096];
        while matches!(read(&mut reader, &mut buffer).await, Ok(length) if length > 0) {}
    }));
}
