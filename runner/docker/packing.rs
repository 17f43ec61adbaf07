//! Archives that are packed while they are sent.

use std::io;

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc;

/// Bytes per piece.
const PIECE: usize = 64 * 1024;
/// Pieces that wait for the daemon.
const WAITING: usize = 16;

/// Returns what `pack` writes, on a thread that may wait for files, while it is read; an error of
/// `pack` ends the stream with it.
pub(super) fn packed(
    pack: impl FnOnce(Pieces) -> io::Result<()> + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (sender, receiver) = mpsc::channel(WAITING);
    // Ends by itself when the receiver is dropped.
    drop(tokio::task::spawn_blocking(move || {
        let pieces = Pieces {
            sender: sender.clone(),
            buffer: Vec::with_capacity(PIECE),
        };
        if let Err(e) = pack(pieces) {
            let _nobody_reads = sender.blocking_send(Err(e));
        }
    }));
    futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|piece| (piece, receiver))
    })
}

/// Hands written bytes over in pieces.
pub(super) struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Pieces {
    fn send(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE));
        self.sender
            .blocking_send(Ok(piece.into()))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Hands over what is left.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.send()
    }
}

impl io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
