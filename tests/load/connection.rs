//! One connection: plain or TLS, and what can go wrong on it.

use std::{io, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::ClientConfig};

use crate::target::Target;

/// What can be sent on a connection.
pub(crate) type Sender = http1::SendRequest<Full<Bytes>>;

/// The same on a connection of HTTP/2, which many requests share.
pub(crate) type Sender2 = http2::SendRequest<Full<Bytes>>;

/// Why a request counts as failed.
#[derive(Debug, Error)]
pub enum Wrong {
    /// No connection, or it was reset.
    #[error("no connection: {0}")]
    Connect(#[from] io::Error),
    /// The exchange broke off.
    #[error("{}", chain(.0))]
    Broken(#[from] hyper::Error),
    /// Another status than the right one.
    #[error("status {0}")]
    Status(u16),
    /// The body did not come back as it was sent.
    #[error("another body came back")]
    Body,
    /// The WebSocket broke off.
    #[error("WebSocket: {0}")]
    Socket(String),
    /// No answer in time.
    #[error("no answer in time")]
    TooLate,
}

fn chain(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(
        || error.to_string(),
        |cause| format!("{error}: {}", chain(cause)),
    )
}

/// A stream to a server.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Which protocol a TLS connection is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

pub(crate) async fn connect(target: &Target, protocol: Protocol) -> Result<Stream, Wrong> {
    let stream = TcpStream::connect((target.address.as_str(), target.port)).await?;
    stream.set_nodelay(true)?;
    Ok(match &target.tls {
        None => Stream::Plain(stream),
        Some((config, name)) => {
            let mut config = ClientConfig::clone(config);
            if protocol == Protocol::Http2 {
                config.alpn_protocols = vec![b"h2".to_vec()];
            }
            let connector = TlsConnector::from(Arc::new(config));
            Stream::Tls(Box::new(connector.connect(name.clone(), stream).await?))
        }
    })
}

/// Connects and begins to speak HTTP/1.1.
pub(crate) async fn http(target: &Target) -> Result<Sender, Wrong> {
    match connect(target, Protocol::Http1).await? {
        Stream::Plain(stream) => handshake(target, stream).await,
        Stream::Tls(stream) => handshake(target, *stream).await,
    }
}

async fn handshake<S>(target: &Target, stream: S) -> Result<Sender, Wrong>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // What ends it is told to the request that waits; nobody else asks.
    target
        .connections
        .spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// Connects by TLS and begins to speak HTTP/2.
pub(crate) async fn http_2(target: &Target) -> Result<Sender2, Wrong> {
    let Stream::Tls(stream) = connect(target, Protocol::Http2).await? else {
        return Err(Wrong::Connect(io::Error::other("HTTP/2 needs TLS")));
    };
    let io = TokioIo::new(*stream);
    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
    target
        .connections
        .spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// Sends a request; on a kept connection that the server had closed before anything was sent, on a
/// new one.
pub(crate) async fn send(
    target: &Target,
    kept: Option<Sender>,
    request: Request<Full<Bytes>>,
) -> Result<(Sender, Response<Incoming>), Wrong> {
    let mut request = request;
    if let Some(mut sender) = kept {
        match sender.try_send_request(request).await {
            Ok(answer) => return Ok((sender, answer)),
            Err(mut error) => match error.take_message() {
                Some(unsent) => request = unsent,
                None => return Err(error.into_error().into()),
            },
        }
    }
    let mut sender = http(target).await?;
    let answer = sender.send_request(request).await?;
    Ok((sender, answer))
}

/// Reads a whole body.
pub(crate) async fn body(answer: Response<Incoming>) -> Result<Bytes, Wrong> {
    Ok(answer.into_body().collect().await?.to_bytes())
}
