//! What stays open beside the requests: a WebSocket, and an answer that comes piece by piece.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http_body_util::Full;
use hyper::{Request, header::HOST};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{sleep, timeout},
};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    LIMIT,
    connection::{self, Protocol, Stream, Wrong},
    target::{Target, release},
};

/// How often the WebSocket says something.
const PAUSE: Duration = Duration::from_millis(100);

/// How a WebSocket came to its end.
enum Closed {
    /// The server said good-bye first: one connects again.
    ByServer,
    /// The load is over.
    ByUs,
}

/// Opens what the target has paths for, until it is to stop.
pub(crate) fn start(target: &Target, tasks: &TaskTracker, stop: &CancellationToken) {
    if let Some(path) = target.paths.stream.clone() {
        let (target, stop) = (target.clone(), stop.clone());
        tasks.spawn(async move {
            while !stop.is_cancelled() {
                let sent = Instant::now();
                let seen = stream(&target, &path).await;
                let is_wrong = seen.is_err();
                target.note("stream", sent, seen);
                if is_wrong {
                    sleep(PAUSE).await;
                }
            }
        });
    }
    if let Some(path) = target.paths.socket.clone() {
        let (target, stop) = (target.clone(), stop.clone());
        tasks.spawn(async move {
            while !stop.is_cancelled() {
                match socket(&target, &path, &stop).await {
                    Ok(Closed::ByUs) => return,
                    Ok(Closed::ByServer) => target.tally().reconnects += 1,
                    Err(wrong) => {
                        target.tally().failed("socket", &wrong);
                        sleep(PAUSE).await;
                    }
                }
            }
        });
    }
}

/// Reads a streamed answer to its end; each piece must come in time.
async fn stream(target: &Target, path: &str) -> Result<Option<String>, Wrong> {
    use http_body_util::BodyExt as _;
    let request = Request::builder().uri(path).header(HOST, &target.host);
    let request = request.body(Full::<Bytes>::default());
    let request = request.map_err(|error| Wrong::Connect(std::io::Error::other(error)))?;
    let sending = timeout(LIMIT, connection::send(target, None, request)).await;
    let (_sender, mut answer) = sending.unwrap_or(Err(Wrong::TooLate))?;
    let status = answer.status().as_u16();
    if status != 200 {
        return Err(Wrong::Status(status));
    }
    let release = release(&answer);
    loop {
        let piece = timeout(LIMIT, answer.body_mut().frame()).await;
        match piece.map_err(|_| Wrong::TooLate)? {
            Some(piece) => drop(piece?),
            None => return Ok(release),
        }
    }
}

async fn socket(target: &Target, path: &str, stop: &CancellationToken) -> Result<Closed, Wrong> {
    let connecting = timeout(LIMIT, connection::connect(target, Protocol::Http1)).await;
    match connecting.unwrap_or(Err(Wrong::TooLate))? {
        Stream::Plain(stream) => speak(target, path, stream, stop).await,
        Stream::Tls(stream) => speak(target, path, *stream, stop).await,
    }
}

async fn speak<S: AsyncRead + AsyncWrite + Unpin>(
    target: &Target,
    path: &str,
    stream: S,
    stop: &CancellationToken,
) -> Result<Closed, Wrong> {
    let words = |error: Error| Wrong::Socket(error.to_string());
    let url = format!("ws://{}{path}", target.host);
    let request = url.into_client_request().map_err(words)?;
    let opened = timeout(LIMIT, client_async(request, stream)).await;
    let (mut socket, _answer) = opened.map_err(|_| Wrong::TooLate)?.map_err(words)?;
    loop {
        let sent = Instant::now();
        let said = socket.send(Message::text("are you there?")).await;
        let heard = match said {
            Ok(()) => timeout(LIMIT, socket.next())
                .await
                .map_err(|_| Wrong::TooLate)?,
            Err(error) => Some(Err(error)),
        };
        match heard {
            Some(Ok(Message::Close(_))) => {
                // The library has answered it; now the stream ends.
                while let Ok(Some(Ok(_))) = timeout(LIMIT, socket.next()).await {}
                return Ok(Closed::ByServer);
            }
            Some(Ok(_)) => target.tally().answered("socket", sent, None),
            None | Some(Err(Error::ConnectionClosed)) => return Ok(Closed::ByServer),
            Some(Err(error)) => return Err(words(error)),
        }
        tokio::select! {
            () = stop.cancelled() => {
                socket.close(None).await.map_err(words)?;
                return Ok(Closed::ByUs);
            }
            () = sleep(PAUSE) => {}
        }
    }
}
