//! The pipe between a child and the runner.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::fcntl::OFlag;
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

/// Makes a pipe whose reading end the runtime watches.
pub(super) fn pipe() -> io::Result<(Receiver, Writer)> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    Ok((Receiver::from_owned_fd(reader)?, Writer(writer)))
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
pub(super) async fn drain(
    reader: Receiver,
    buffer: &mut [u8],
    sink: &mut dyn OutputSink,
) -> io::Result<bool> {
    let begin = tokio::time::Instant::now();
    while begin.elapsed() < DRAIN_LIMIT {
        match reader.try_read(buffer) {
            Ok(0) => return Ok(false),
            Ok(length) => sink.push(buffer.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    keep_open(reader);
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
