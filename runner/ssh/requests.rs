//! What the handles ask of the pump, and what both can see.

use std::{
    io::Write as _,
    os::unix::net::UnixStream,
    sync::{Mutex, OnceLock, PoisonError, mpsc},
};

use tokio::sync::oneshot;

use super::{ChannelRefusal, SshError, channel::CommandEnds, statistics::Counters};

/// What a channel leads to.
#[derive(Debug, Clone)]
pub(super) enum Target {
    Unix(String),
    Tcp(String, u16),
    Command(String),
}

/// Why a channel was refused, without the host's name.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) refusal: ChannelRefusal,
    pub(super) reason: String,
}

/// Where the answer to a wish goes.
pub(super) type Reply = oneshot::Sender<Result<(), Refused>>;

/// The wish for a channel, with the ends that the pump will hold.
pub(super) struct Open {
    pub(super) target: Target,
    pub(super) local: UnixStream,
    pub(super) ends: CommandEnds,
    /// None for a command that is started and left alone.
    pub(super) reply: Option<Reply>,
}

impl Open {
    /// Whether the caller went away while it waited.
    pub(super) fn is_cancelled(&self) -> bool {
        self.reply.as_ref().is_some_and(oneshot::Sender::is_closed)
    }
}

pub(super) enum Request {
    Open(Box<Open>),
    Close,
}

/// What the pump tells everybody.
#[derive(Debug, Default)]
pub(super) struct Status {
    pub(super) counters: Counters,
    /// Why the session ended; set before any stream is closed.
    pub(super) failure: OnceLock<String>,
}

/// The callers' side of a connection; when the last one is dropped, the pump ends.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) host: String,
    pub(super) status: std::sync::Arc<Status>,
    pub(super) ended: Mutex<Option<oneshot::Receiver<()>>>,
    requests: mpsc::Sender<Request>,
    wake: UnixStream,
    /// The connection that this one runs through, if any: it has to live as long.
    _jump: Option<std::sync::Arc<Self>>,
}

impl Shared {
    pub(super) fn new(
        host: String,
        requests: mpsc::Sender<Request>,
        wake: UnixStream,
        ended: oneshot::Receiver<()>,
        jump: Option<std::sync::Arc<Self>>,
    ) -> Self {
        Self {
            host,
            status: std::sync::Arc::default(),
            ended: Mutex::new(Some(ended)),
            requests,
            wake,
            _jump: jump,
        }
    }

    /// Hands a request to the pump.
    ///
    /// # Errors
    /// The pump has ended.
    pub(super) fn send(&self, request: Request) -> Result<(), SshError> {
        self.requests.send(request).map_err(|_| self.lost())?;
        // A full socket means that the pump has a wake-up call already.
        let _woken = (&self.wake).write(&[0]);
        Ok(())
    }

    pub(super) fn lost(&self) -> SshError {
        let reason = self
            .status
            .failure
            .get()
            .map_or("it was closed", String::as_str);
        SshError::Lost {
            host: self.host.clone(),
            reason: reason.to_owned(),
        }
    }

    pub(super) fn take_ended(&self) -> Option<oneshot::Receiver<()>> {
        self.ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}
