//! One open channel and the local ends that its bytes go to.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::Shutdown,
    os::{fd::AsFd as _, unix::net::UnixStream},
};

use nix::poll::{PollFd, PollFlags};
use ssh2::Channel;
use tokio::sync::oneshot;

use super::{
    Exit,
    requests::Reply,
    statistics::{Counters, Question, count},
};

/// libssh2 sends at most 32,700 bytes per packet.
pub(super) const CHUNK: usize = 32 * 1024;
/// Bytes per channel and direction before the next channel has its turn.
const TURN: usize = 512 * 1024;
/// Number of a channel's stream that carries standard error.
const STDERR: i32 = 1;

/// What a turn of a channel came to.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Turn {
    /// Bytes or states moved: another round is worth its while.
    pub(super) progress: bool,
    /// libssh2 would block.
    pub(super) again: bool,
    /// An end of file waits for the socket to take bytes.
    pub(super) want_out: bool,
}

/// What a command has beside its standard input and output.
#[derive(Default)]
pub(super) struct CommandEnds {
    pub(super) stderr: Option<UnixStream>,
    pub(super) exit: Option<oneshot::Sender<Exit>>,
    /// The other end of its input and output, where nobody holds it: without it the channel would
    /// be closed at once, and some shells die of that before they have done their work.
    pub(super) unattended: Option<UnixStream>,
}

/// A channel and its local ends.
pub(super) struct Conn {
    pub(super) channel: Channel,
    local: UnixStream,
    to_local: Buffer,
    stderr: Option<(UnixStream, Buffer)>,
    exit: Option<oneshot::Sender<Exit>>,
    pub(super) is_session: bool,
    to_remote: Buffer,
    local_eof: bool,
    eof_sent: bool,
    remote_eof: bool,
    remote_closed: bool,
    shut: bool,
    abandoned: bool,
    asked: bool,
    pub(super) question: Question,
    /// What was left in libssh2's queue at the last turn, for want of a reader.
    seen: u32,
    /// The caller's end of a command that has no caller.
    unattended: Option<UnixStream>,
}

/// Bytes that were taken from one side and not yet by the other.
#[derive(Default)]
pub(super) struct Buffer {
    data: Vec<u8>,
    from: usize,
}

impl Buffer {
    fn rest(&self) -> &[u8] {
        self.data.get(self.from..).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.from >= self.data.len()
    }

    fn took(&mut self, count: usize) {
        self.from += count;
        if self.is_empty() {
            self.clear();
        }
    }

    fn clear(&mut self) {
        self.data.clear();
        self.from = 0;
    }
}

pub(super) fn blocked(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
}

impl Conn {
    pub(super) fn new(channel: Channel, local: UnixStream) -> Self {
        Self {
            channel,
            local,
            to_local: Buffer::default(),
            stderr: None,
            exit: None,
            is_session: false,
            to_remote: Buffer::default(),
            local_eof: false,
            eof_sent: false,
            remote_eof: false,
            remote_closed: false,
            shut: false,
            abandoned: false,
            asked: false,
            question: Question::default(),
            seen: 0,
            unattended: None,
        }
    }

    /// Tells the caller that the channel is open; without a caller it has no use.
    pub(super) fn answer(&mut self, reply: Option<Reply>) {
        if reply.is_some_and(|reply| reply.send(Ok(())).is_err()) {
            self.abandon();
        }
    }

    /// The caller let go of its end: nobody reads what would still come.
    pub(super) fn abandon(&mut self) {
        self.abandoned = true;
    }

    /// Whether only the closing is left to do.
    pub(super) fn is_finished(&self) -> bool {
        self.abandoned
            || (self.is_drained() && (self.remote_closed || self.eof_sent && !self.is_command()))
    }

    /// A command is over when the host has closed its channel: its exit status may come late.
    fn is_command(&self) -> bool {
        self.exit.is_some()
    }

    fn is_drained(&self) -> bool {
        self.shut && self.to_local.is_empty() && self.stderr.is_none()
    }

    /// Whether to wake up when the caller has written something.
    pub(super) fn wants_local(&self) -> bool {
        !self.local_eof && self.to_remote.is_empty()
    }

    /// Whether the host's answer to our closing or its own closing is awaited.
    pub(super) fn awaits_close(&self) -> bool {
        self.abandoned || (self.remote_eof && !self.remote_closed)
    }

    /// Whether libssh2 holds something for this channel that came in after its last turn.
    ///
    /// `stuck` says that the socket takes no bytes, so that an open window is no news.
    pub(super) fn has_news(&self, stuck: bool) -> bool {
        if self.abandoned {
            return false;
        }
        let available = self.channel.read_window().available;
        let window =
            !stuck && !self.to_remote.is_empty() && self.channel.write_window().remaining > 0;
        available > self.seen || (!self.remote_eof && self.channel.eof()) || window
    }

    /// Whether the local end can still say something: it is written to, read from, or may hang up.
    pub(super) fn listens(&self) -> bool {
        !self.abandoned && (!self.shut || self.wants_local())
    }

    /// What to wake up for on the caller's end.
    pub(super) fn local_interest(&self) -> PollFd<'_> {
        let mut events = PollFlags::empty();
        events.set(PollFlags::POLLIN, self.wants_local());
        events.set(PollFlags::POLLOUT, !self.to_local.is_empty());
        PollFd::new(self.local.as_fd(), events)
    }

    /// What to wake up for on the caller's end of standard error, if anything.
    pub(super) fn stderr_interest(&self) -> Option<PollFd<'_>> {
        let (local, buffer) = self.stderr.as_ref().filter(|_| !self.abandoned)?;
        (!buffer.is_empty()).then(|| PollFd::new(local.as_fd(), PollFlags::POLLOUT))
    }

    /// Gives a command that has started the rest of its ends.
    pub(super) fn give_command_ends(&mut self, ends: CommandEnds) {
        let CommandEnds {
            stderr,
            exit,
            unattended,
        } = ends;
        self.stderr = stderr.map(|local| (local, Buffer::default()));
        self.exit = exit;
        self.unattended = unattended;
    }

    /// The caller's end is closed. After our own end of file a closed half looks the same, and
    /// what the caller wrote before still has to be read.
    pub(super) fn hang_up(&mut self) {
        if !self.shut {
            self.abandoned = true;
        }
    }

    /// Moves what can be moved in both directions.
    ///
    /// # Errors
    /// The session is gone.
    pub(super) fn turn(
        &mut self,
        scratch: &mut [u8],
        counters: &Counters,
        writable: bool,
    ) -> io::Result<Turn> {
        let mut turn = Turn::default();
        self.send(counters, &mut turn)?;
        self.send_eof(writable, &mut turn)?;
        self.receive(scratch, counters, &mut turn)?;
        self.receive_stderr(scratch, counters, &mut turn)?;
        self.end(&mut turn);
        // What is left on purpose is no news; everything else is, also what one stream's read took
        // off the wire for the other.
        let held_up = !self.to_local.is_empty()
            || self
                .stderr
                .as_ref()
                .is_some_and(|(_, buffer)| !buffer.is_empty());
        self.seen = if held_up {
            self.channel.read_window().available
        } else {
            0
        };
        Ok(turn)
    }

    fn send(&mut self, counters: &Counters, turn: &mut Turn) -> io::Result<()> {
        let mut budget = TURN;
        while budget > 0 && !self.abandoned {
            if self.to_remote.is_empty() {
                if self.local_eof {
                    break;
                }
                self.to_remote.data.resize(CHUNK, 0);
                let got = self.local.read(&mut self.to_remote.data);
                self.to_remote.data.truncate(*got.as_ref().unwrap_or(&0));
                match got {
                    Ok(0) => self.local_eof = true,
                    Ok(_) => {}
                    Err(e) if blocked(&e) => break,
                    Err(_) => self.abandoned = true,
                }
                continue;
            }
            match self.channel.write(self.to_remote.rest()) {
                Ok(0) => break,
                Ok(sent) => {
                    self.to_remote.took(sent);
                    self.asked = true;
                    count(&counters.sent, sent);
                    counters.asked(&mut self.question);
                    turn.progress = true;
                    budget = budget.saturating_sub(sent);
                }
                Err(e) if blocked(&e) => {
                    turn.again = true;
                    break;
                }
                // The host closed the channel: what it does not want is dropped.
                Err(_) if self.channel.eof() => {
                    self.to_remote.clear();
                    self.local_eof = true;
                    self.eof_sent = true;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// The packet lives on libssh2's stack: it may only be sent when the socket takes all of it.
    fn send_eof(&mut self, writable: bool, turn: &mut Turn) -> io::Result<()> {
        if !self.local_eof || self.eof_sent || !self.to_remote.is_empty() || self.abandoned {
            return Ok(());
        }
        if !writable {
            turn.want_out = true;
            return Ok(());
        }
        match self.channel.send_eof() {
            Ok(()) => {
                self.eof_sent = true;
                turn.progress = true;
            }
            Err(_) if self.channel.eof() => self.eof_sent = true,
            Err(e) => {
                let e = io::Error::from(e);
                if !blocked(&e) {
                    return Err(e);
                }
                turn.again = true;
            }
        }
        Ok(())
    }

    fn receive(
        &mut self,
        scratch: &mut [u8],
        counters: &Counters,
        turn: &mut Turn,
    ) -> io::Result<()> {
        let mut budget = TURN;
        loop {
            if !flush(&self.local, &mut self.to_local, turn) {
                self.abandoned = true;
            }
            if self.remote_eof || !self.to_local.is_empty() || self.abandoned || budget == 0 {
                return Ok(());
            }
            match self.channel.read(scratch) {
                Ok(0) => return Ok(()),
                Ok(got) => {
                    turn.progress = true;
                    budget = budget.saturating_sub(got);
                    count(&counters.received, got);
                    counters.answered(&mut self.question);
                    if std::mem::take(&mut self.asked) && !self.is_session {
                        count(&counters.exchanges, 1);
                    }
                    self.to_local
                        .data
                        .extend_from_slice(scratch.get(..got).unwrap_or_default());
                }
                Err(e) if blocked(&e) => {
                    turn.again = true;
                    return Ok(());
                }
                Err(e) => return Err(e),
            }
        }
    }

    fn receive_stderr(
        &mut self,
        scratch: &mut [u8],
        counters: &Counters,
        turn: &mut Turn,
    ) -> io::Result<()> {
        if !self.is_session || self.abandoned {
            return Ok(());
        }
        let mut budget = TURN;
        loop {
            if let Some((local, buffer)) = &mut self.stderr {
                if !flush(local, buffer, turn) {
                    // Nobody reads it; it is still taken in, else the window would close.
                    self.stderr = None;
                } else if !buffer.is_empty() {
                    return Ok(());
                }
            }
            if self.remote_eof || budget == 0 {
                return Ok(());
            }
            match self.channel.stream(STDERR).read(scratch) {
                Ok(0) => return Ok(()),
                Ok(got) => {
                    turn.progress = true;
                    budget = budget.saturating_sub(got);
                    count(&counters.received, got);
                    counters.answered(&mut self.question);
                    if let Some((_, buffer)) = &mut self.stderr {
                        buffer
                            .data
                            .extend_from_slice(scratch.get(..got).unwrap_or_default());
                    }
                }
                Err(e) if blocked(&e) => {
                    turn.again = true;
                    return Ok(());
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Follows the host's end of file, closing and exit status.
    fn end(&mut self, turn: &mut Turn) {
        if !self.remote_eof && self.channel.eof() {
            self.remote_eof = true;
            turn.progress = true;
        }
        if !self.remote_eof {
            return;
        }
        if !self.shut && self.to_local.is_empty() {
            self.shut = true;
            turn.progress = true;
            let _gone = self.local.shutdown(Shutdown::Write);
        }
        if self
            .stderr
            .as_ref()
            .is_some_and(|(_, buffer)| buffer.is_empty())
        {
            self.stderr = None;
        }
        if self.remote_closed {
            return;
        }
        match self.channel.wait_close() {
            Ok(()) => {
                self.remote_closed = true;
                turn.progress = true;
                if let Some(exit) = self.exit.take() {
                    let _nobody_asks = exit.send(self.exit_of_command());
                }
            }
            Err(_) => turn.again = true,
        }
    }

    /// A command that a signal ended has status 0, so the signal is asked for first.
    fn exit_of_command(&self) -> Exit {
        let signal = self
            .channel
            .exit_signal()
            .ok()
            .and_then(|signal| signal.exit_signal);
        match signal {
            Some(name) => Exit::Signal(name),
            None => Exit::Code(self.channel.exit_status().unwrap_or(-1)),
        }
    }
}

/// Hands over what is buffered; `false` if nobody is there to take it.
fn flush(mut local: &UnixStream, buffer: &mut Buffer, turn: &mut Turn) -> bool {
    while !buffer.is_empty() {
        match local.write(buffer.rest()) {
            Ok(count) => {
                buffer.took(count);
                turn.progress = true;
            }
            Err(e) if blocked(&e) => return true,
            Err(_) => return false,
        }
    }
    true
}
