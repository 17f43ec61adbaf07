//! A channel as a byte stream.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UnixStream,
};

use super::requests::Shared;

/// A byte stream through a host.
///
/// Shutting down the writing half tells the far end of the end of file; reading goes on. A stream
/// that is dropped is closed, and bytes that the host has not taken yet are lost. It keeps the
/// connection open. If the session is lost, reading and writing end with `ConnectionReset`.
pub struct Stream {
    inner: UnixStream,
    shared: Arc<Shared>,
}

impl Stream {
    pub(super) fn new(inner: UnixStream, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }

    pub(super) fn into_std(self) -> io::Result<std::os::unix::net::UnixStream> {
        self.inner.into_std()
    }

    /// An end that the session's own end brought about is no end of file.
    fn verdict(&self) -> io::Result<()> {
        match self.shared.status.failure.get() {
            Some(_) => Err(io::Error::new(
                io::ErrorKind::ConnectionReset,
                self.shared.lost(),
            )),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("host", &self.shared.host)
            .finish_non_exhaustive()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let room = buf.remaining();
        match Pin::new(&mut self.inner).poll_read(cx, buf) {
            Poll::Ready(Ok(())) if buf.filled().len() == before && room > 0 => {
                Poll::Ready(self.verdict())
            }
            // What was sent and not taken before the far end was done resets a local socket, after
            // everything that came from there has been read: no loss for a reader.
            Poll::Ready(Err(e)) if e.kind() == io::ErrorKind::ConnectionReset => {
                Poll::Ready(self.verdict())
            }
            Poll::Ready(Err(e)) => Poll::Ready(self.verdict().and(Err(e))),
            other => other,
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write(cx, buf) {
            Poll::Ready(Err(e)) => Poll::Ready(self.verdict().and(Err(e))),
            other => other,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
