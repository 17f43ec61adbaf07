//! The byte streams to a daemon, kept and used again.
//!
//! bollard closes its connection after each request. Through SSH every connection costs a round
//! trip, and through `docker system dial-stdio` a process on the host, so it is given a client
//! that keeps them.

use std::{
    io,
    path::PathBuf,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::Stream;
use http_body_util::{Either, Full, StreamBody};
use hyper::{Request, Response, Uri, body::Frame, body::Incoming, header::HeaderValue};
use hyper_util::{
    client::legacy::{
        Client, Error,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixStream,
};

use crate::ssh::{self, SshError};

/// Connections that are kept while nobody uses them.
const KEPT: usize = 8;
const KEPT_FOR: Duration = Duration::from_secs(30);
/// What answers where sshd forbids the way to the socket.
const DIAL: &str = "docker system dial-stdio";

/// What requests carry; the form is bollard's.
pub(super) type Body = Either<
    Full<Bytes>,
    StreamBody<Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, io::Error>> + Send>>>,
>;

/// Where the daemon is.
#[derive(Debug, Clone)]
pub(super) enum Way {
    Local(Arc<PathBuf>),
    Ssh {
        connection: ssh::Connection,
        socket: Arc<str>,
        /// Set once the host has refused the way to the socket.
        dials: Arc<AtomicBool>,
    },
}

impl Way {
    async fn connect(self) -> Result<Box<dyn ByteStream>, io::Error> {
        match self {
            Self::Local(path) => Ok(Box::new(UnixStream::connect(&*path).await?)),
            Self::Ssh {
                connection,
                socket,
                dials,
            } => {
                if !dials.load(Ordering::Relaxed) {
                    match connection.connect_unix(&socket).await {
                        Ok(stream) => return Ok(Box::new(stream)),
                        // OpenSSH does not tell a forbidden socket from one that is not there.
                        Err(SshError::Refused { .. }) => dials.store(true, Ordering::Relaxed),
                        Err(e) => return Err(io::Error::other(e)),
                    }
                }
                let stream = connection
                    .connect_command(DIAL)
                    .await
                    .map_err(io::Error::other)?;
                Ok(Box::new(stream))
            }
        }
    }

    /// Whether a command on the host stands in for the socket.
    pub(super) fn dials(&self) -> bool {
        matches!(self, Self::Ssh { dials, .. } if dials.load(Ordering::Relaxed))
    }
}

trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// Opens connections for the pool.
#[derive(Debug, Clone)]
pub(super) struct Dialer(Way);

/// A connection as hyper wants it.
pub(super) struct Wire(TokioIo<Box<dyn ByteStream>>);

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wire")
    }
}

impl tower_service::Service<Uri> for Dialer {
    type Response = Wire;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Wire>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let way = self.0.clone();
        Box::pin(async move { Ok(Wire(TokioIo::new(way.connect().await?))) })
    }
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A pool of connections to one daemon.
#[derive(Debug, Clone)]
pub(super) struct Pool(Client<Dialer, Body>);

impl Pool {
    pub(super) fn new(way: Way) -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(KEPT_FOR)
            .pool_timer(hyper_util::rt::TokioTimer::new())
            .pool_max_idle_per_host(KEPT)
            .build(Dialer(way));
        Self(client)
    }

    /// Sends a request; the answer's body comes as it arrives.
    pub(super) async fn send(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, Error> {
        for name in ["x-registry-auth", "x-registry-config"] {
            if let Some(value) = request.headers().get(name)
                && let Some(fixed) = url_safe(value)
            {
                request.headers_mut().insert(name, fixed);
            }
        }
        self.0.request(request).await
    }
}

/// The API wants these headers in the URL's base64, in which two letters differ; daemons take a
/// header that they cannot decode for an empty one.
fn url_safe(value: &HeaderValue) -> Option<HeaderValue> {
    let text = value.to_str().ok()?.replace('+', "-").replace('/', "_");
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A body that is sent at once.
pub(super) fn whole(bytes: impl Into<Bytes>) -> Body {
    Either::Left(Full::new(bytes.into()))
}

/// A body that is sent as it comes.
pub(super) fn streamed(stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    use futures_util::TryStreamExt as _;
    Either::Right(StreamBody::new(Box::pin(stream.map_ok(Frame::data))))
}
