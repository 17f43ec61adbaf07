//! The thread's loop: one non-blocking session, many channels.
//!
//! What libssh2 asks of its caller, each of which bites in practice:
//! * One packet may be half sent. Every other sender then would block until its owner has been
//!   called again with the same arguments, so every pending call is repeated in every round. The
//!   packets of an end of file and of a keepalive live on the stack, where a repeated call never
//!   finds them: they are sent only when the kernel says that the socket takes more.
//! * The directions it is blocked in belong to the session, and a channel without window
//!   overwrites them: they are read after each call that would block, and summed up.
//! * Only one channel can be opening at a time.
//! * Dropping a channel leaks it: it is closed until that succeeds, and dropped then.
//! * Any call takes packets of all channels off the wire: before sleeping, each channel is asked
//!   whether it got something after its turn, since the socket is silent about that.
//! * It sends keepalives and never counts the answers: that is done here.

use std::{
    collections::VecDeque,
    io::{self, Read as _},
    os::{fd::AsFd as _, unix::net::UnixStream},
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError},
    },
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags};
use ssh2::{BlockDirections, Channel, ErrorCode, Session};

use super::{
    ChannelRefusal,
    channel::{CHUNK, CommandEnds, Conn, blocked},
    handshake::{EAGAIN, Wire},
    requests::{Open, Refused, Reply, Request, Status, Target},
    statistics::{Question, count},
    transport::{Transport, poll_for},
};

/// Keepalives without an answer after which the host counts as gone.
const SILENCE: u32 = 3;
/// How long a host with a limit on sessions may refuse one more, and how often it is asked.
const SESSION_PATIENCE: Duration = Duration::from_secs(30);
const FULL: &str = "it runs as many commands as its `MaxSessions` allows";
const SESSION_RETRY: Duration = Duration::from_millis(20);
/// How long what is still pending may take when nobody holds the connection any more.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long to sleep when an answer may have been taken off the wire by another call.
const SHORT: Duration = Duration::from_millis(10);

/// What a pump is made of.
pub(super) struct Wires {
    pub(super) wire: Wire,
    pub(super) inbox: Receiver<Request>,
    pub(super) woken: UnixStream,
    pub(super) status: Arc<Status>,
    pub(super) keepalive: Duration,
}

/// A command whose start the host has not confirmed.
struct Starting {
    conn: Conn,
    command: String,
    ends: CommandEnds,
    reply: Option<Reply>,
}

enum Opening {
    Wanted(Box<Open>),
    /// The channel that only listens; see [`Wire::idle`].
    Idle,
}

pub(super) struct Pump {
    session: Session,
    transport: Arc<Transport>,
    idle: Option<Channel>,
    idle_refused: bool,
    inbox: Receiver<Request>,
    woken: UnixStream,
    status: Arc<Status>,
    queue: VecDeque<Box<Open>>,
    opening: Option<Opening>,
    /// What the channel that is opened was asked after.
    opening_asked: Question,
    starting: Vec<Starting>,
    conns: Vec<Conn>,
    /// Whether the host has ever refused a session while others ran.
    was_full: bool,
    full_since: Option<Instant>,
    next_session: Instant,
    want_out: bool,
    keepalive: Duration,
    next_keepalive: Instant,
    unanswered: u32,
    scratch: Vec<u8>,
    closed: bool,
    leave_by: Option<Instant>,
}

impl Pump {
    pub(super) fn new(wires: Wires) -> Self {
        let Wires {
            wire,
            inbox,
            woken,
            status,
            keepalive,
        } = wires;
        let seconds = u32::try_from(keepalive.as_secs()).unwrap_or(u32::MAX);
        wire.session.set_keepalive(true, seconds.max(1));
        Self {
            idle_refused: wire.idle.is_none(),
            session: wire.session,
            transport: wire.transport,
            idle: wire.idle,
            inbox,
            woken,
            status,
            queue: VecDeque::new(),
            opening: None,
            opening_asked: Question::default(),
            starting: Vec::new(),
            conns: Vec::new(),
            was_full: false,
            full_since: None,
            next_session: Instant::now(),
            want_out: false,
            keepalive,
            next_keepalive: Instant::now() + keepalive,
            unanswered: 0,
            scratch: vec![0; CHUNK],
            closed: false,
            leave_by: None,
        }
    }

    /// Pumps until the connection is closed, let go, or lost.
    pub(super) fn run_to_end(mut self) {
        if let Err(e) = self.run() {
            // Told before any stream is closed, so that no end of file is taken for a real one.
            let _first_reason_stays = self.status.failure.set(e.to_string());
        } else {
            self.say_goodbye();
        }
        self.hang_up();
    }

    fn run(&mut self) -> io::Result<()> {
        loop {
            self.want_out = false;
            self.take_requests();
            if self.is_over() {
                return Ok(());
            }
            let mut progress = self.start_commands()?;
            progress |= self.open_channels()?;
            progress |= self.turn_all()?;
            self.close_finished();
            self.listen()?;
            self.keep_alive()?;
            let wait = if progress || self.has_news() {
                Duration::ZERO
            } else if self.opening.is_some()
                || !self.starting.is_empty()
                || self.conns.iter().any(Conn::awaits_close)
            {
                SHORT
            } else if !self.queue.is_empty() {
                SESSION_RETRY
            } else {
                self.next_keepalive
                    .saturating_duration_since(Instant::now())
            };
            self.sleep(wait)?;
        }
    }

    fn take_requests(&mut self) {
        loop {
            match self.inbox.try_recv() {
                Ok(Request::Open(open)) => self.queue.push_back(open),
                Ok(Request::Close) => self.closed = true,
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.leave_by
                        .get_or_insert_with(|| Instant::now() + LAST_WORDS);
                    return;
                }
            }
        }
    }

    /// Without handles, what is left are commands that nobody waits for.
    fn is_over(&self) -> bool {
        let pending = !self.queue.is_empty()
            || !self.starting.is_empty()
            || matches!(self.opening, Some(Opening::Wanted(_)))
            || self.conns.iter().any(Conn::listens);
        self.closed
            || self
                .leave_by
                .is_some_and(|limit| !pending || Instant::now() >= limit)
    }

    /// A call that would block passes here.
    fn again(&mut self) {
        let blocked = self.session.block_directions();
        self.want_out |= matches!(blocked, BlockDirections::Outbound | BlockDirections::Both);
    }

    fn sessions(&self) -> usize {
        let open = self.conns.iter().filter(|conn| conn.is_session).count();
        open + self.starting.len() + usize::from(self.idle.is_some())
    }

    fn next_wish(&mut self) -> Option<Opening> {
        self.queue.retain(|open| !open.is_cancelled());
        let room = Instant::now() >= self.next_session;
        let fits = |open: &Open| room || !matches!(open.target, Target::Command(_));
        if let Some(index) = self.queue.iter().position(|open| fits(open)) {
            return self.queue.remove(index).map(Opening::Wanted);
        }
        let lonely = self.idle.is_none() && self.sessions() == 0 && self.queue.is_empty();
        (lonely && room && !self.idle_refused && self.leave_by.is_none()).then_some(Opening::Idle)
    }

    fn open_channels(&mut self) -> io::Result<bool> {
        let mut progress = false;
        while let Some(opening) = self.opening.take().or_else(|| self.next_wish()) {
            let opened = match &opening {
                Opening::Idle => self.session.channel_session(),
                Opening::Wanted(open) => match &open.target {
                    Target::Unix(path) => self.session.channel_direct_streamlocal(path, None),
                    Target::Tcp(host, port) => self.session.channel_direct_tcpip(host, *port, None),
                    Target::Command(_) => self.session.channel_session(),
                },
            };
            match opened {
                Err(e) if e.code() == EAGAIN => {
                    // Nobody waits for one that is opened in reserve.
                    if matches!(opening, Opening::Wanted(_)) {
                        self.status.counters.asked(&mut self.opening_asked);
                    }
                    self.opening = Some(opening);
                    self.again();
                    return Ok(progress);
                }
                Err(e) => self.refused(opening, e)?,
                Ok(channel) => {
                    count(&self.status.counters.channels, 1);
                    self.status.counters.answered(&mut self.opening_asked);
                    match opening {
                        Opening::Idle => self.idle = Some(channel),
                        Opening::Wanted(open) => self.opened(*open, channel),
                    }
                }
            }
            progress = true;
        }
        Ok(progress)
    }

    fn opened(&mut self, open: Open, channel: Channel) {
        let cancelled = open.is_cancelled();
        let Open {
            target,
            local,
            ends,
            reply,
        } = open;
        let mut conn = Conn::new(channel, local);
        match target {
            Target::Command(command) => {
                self.full_since = None;
                conn.is_session = true;
                if !cancelled {
                    self.starting.push(Starting {
                        conn,
                        command,
                        ends,
                        reply,
                    });
                    return;
                }
                conn.abandon();
            }
            Target::Unix(_) | Target::Tcp(..) => conn.answer(reply),
        }
        self.conns.push(conn);
    }

    /// A refused channel ends one wish; everything else ends the session.
    fn refused(&mut self, opening: Opening, error: ssh2::Error) -> io::Result<()> {
        if !matches!(error.code(), ErrorCode::Session(-21 | -22 | -6)) {
            return Err(error.into());
        }
        let Opening::Wanted(mut open) = opening else {
            self.idle_refused = !self.was_full;
            self.next_session = Instant::now() + SESSION_RETRY;
            return Ok(());
        };
        if matches!(open.target, Target::Command(_)) && self.may_wait_for_a_session()? {
            self.queue.push_front(open);
            return Ok(());
        }
        if open.reply.is_none() {
            tracing::warn!("an SSH host did not let a running command be ended");
        }
        if let Some(reply) = open.reply.take() {
            let full = self.was_full && matches!(open.target, Target::Command(_));
            let reason = if full { FULL } else { error.message() }.to_owned();
            let refusal = meaning(error.message());
            let _nobody_waits = reply.send(Err(Refused { refusal, reason }));
        }
        Ok(())
    }

    /// A host refuses more sessions than its `MaxSessions`. The idle one makes room first; else
    /// the wish is repeated for a while, since a host still counts a session that both sides have
    /// closed as long as its command runs.
    fn may_wait_for_a_session(&mut self) -> io::Result<bool> {
        let now = Instant::now();
        if let Some(idle) = self.idle.take() {
            let (local, _gone) = UnixStream::pair()?;
            let mut conn = Conn::new(idle, local);
            conn.is_session = true;
            conn.abandon();
            self.conns.push(conn);
        } else if self.sessions() == 0 && !self.was_full {
            return Ok(false);
        }
        self.was_full = true;
        let since = *self.full_since.get_or_insert(now);
        self.next_session = now + SESSION_RETRY;
        Ok(now.duration_since(since) < SESSION_PATIENCE)
    }

    /// Asks for every command that is not confirmed yet; each channel has its own state for that.
    fn start_commands(&mut self) -> io::Result<bool> {
        let mut progress = false;
        let mut waiting = Vec::new();
        for mut starting in std::mem::take(&mut self.starting) {
            match starting.conn.channel.exec(&starting.command) {
                Err(e) if e.code() == EAGAIN => {
                    self.status.counters.asked(&mut starting.conn.question);
                    self.again();
                    waiting.push(starting);
                }
                Ok(()) => {
                    progress = true;
                    count(&self.status.counters.commands, 1);
                    let question = &mut starting.conn.question;
                    self.status.counters.answered(question);
                    let Starting {
                        mut conn,
                        ends,
                        reply,
                        ..
                    } = starting;
                    conn.give_command_ends(ends);
                    conn.answer(reply);
                    self.conns.push(conn);
                }
                Err(e) if matches!(e.code(), ErrorCode::Session(-22 | -26 | -27 | -6)) => {
                    progress = true;
                    let Starting {
                        mut conn, reply, ..
                    } = starting;
                    if reply.is_none() {
                        tracing::warn!("an SSH host did not let a running command be ended");
                    }
                    if let Some(reply) = reply {
                        let reason = e.message().to_owned();
                        let refusal = ChannelRefusal::Forbidden;
                        let _nobody_waits = reply.send(Err(Refused { refusal, reason }));
                    }
                    conn.abandon();
                    self.conns.push(conn);
                }
                Err(e) => return Err(e.into()),
            }
        }
        self.starting.extend(waiting);
        Ok(progress)
    }

    fn turn_all(&mut self) -> io::Result<bool> {
        let mut progress = false;
        let mut conns = std::mem::take(&mut self.conns);
        let mut outcome = Ok(());
        for conn in &mut conns {
            let writable = self.transport.is_writable();
            match conn.turn(&mut self.scratch, &self.status.counters, writable) {
                Ok(turn) => {
                    progress |= turn.progress;
                    self.want_out |= turn.want_out;
                    if turn.again {
                        self.again();
                    }
                }
                Err(e) => {
                    outcome = Err(e);
                    break;
                }
            }
        }
        self.conns = conns;
        outcome.map(|()| progress)
    }

    fn close_finished(&mut self) {
        let mut kept = Vec::with_capacity(self.conns.len());
        for mut conn in std::mem::take(&mut self.conns) {
            if !conn.is_finished() {
                kept.push(conn);
            } else if !self.transport.is_writable() {
                self.want_out = true;
                kept.push(conn);
            } else {
                conn.abandon();
                match conn.channel.close() {
                    Err(e) if e.code() == EAGAIN => {
                        self.again();
                        kept.push(conn);
                    }
                    // Closed, or of a session that is gone, which the next read will tell.
                    _ => {}
                }
            }
        }
        self.conns = kept;
    }

    fn listen(&mut self) -> io::Result<()> {
        match self.idle.as_mut().map(|idle| idle.read(&mut [0; 1])) {
            Some(Err(e)) if blocked(&e) => self.again(),
            Some(Err(e)) => return Err(e),
            Some(Ok(0)) if self.idle.as_ref().is_some_and(Channel::eof) => {
                return Err(io::Error::other("the host ended the session"));
            }
            Some(Ok(_)) | None => {}
        }
        Ok(())
    }

    fn keep_alive(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if now < self.next_keepalive {
            return Ok(());
        }
        if !self.takes_packets() {
            // Nothing reads, so an answer would not be seen.
            self.unanswered = 0;
        } else if self.unanswered >= SILENCE {
            let silent = self.keepalive * SILENCE;
            let silent = humantime::format_duration(silent);
            return Err(io::Error::other(format!(
                "the host did not answer for {silent}"
            )));
        }
        if self.transport.is_writable() && !self.want_out {
            self.session.keepalive_send()?;
        }
        self.unanswered += 1;
        self.next_keepalive = now + self.keepalive;
        Ok(())
    }

    fn takes_packets(&self) -> bool {
        self.idle.is_some()
            || !self.conns.is_empty()
            || !self.starting.is_empty()
            || self.opening.is_some()
    }

    fn has_news(&self) -> bool {
        self.conns.iter().any(|conn| conn.has_news(self.want_out))
    }

    fn sleep(&mut self, wait: Duration) -> io::Result<()> {
        let out = if self.want_out {
            PollFlags::POLLOUT
        } else {
            PollFlags::empty()
        };
        let reads = if self.takes_packets() {
            PollFlags::POLLIN
        } else {
            PollFlags::empty()
        };
        let mut fds = vec![
            PollFd::new(self.transport.as_fd(), reads | out),
            PollFd::new(self.woken.as_fd(), PollFlags::POLLIN),
        ];
        if self.leave_by.is_some() {
            // Its other end is closed, so it would be ready for ever.
            fds.truncate(1);
        }
        let first = fds.len();
        let listening: Vec<_> = (0..)
            .zip(&self.conns)
            .filter(|(_, conn)| conn.listens())
            .map(|(i, _)| i)
            .collect();
        fds.extend(
            self.conns
                .iter()
                .filter(|conn| conn.listens())
                .map(Conn::local_interest),
        );
        fds.extend(self.conns.iter().filter_map(Conn::stderr_interest));
        poll_for(&mut fds, wait)?;
        let heard = fds
            .first()
            .and_then(PollFd::revents)
            .unwrap_or(PollFlags::empty());
        let hung_up: Vec<usize> = fds
            .iter()
            .skip(first)
            .zip(listening)
            .filter(|(fd, _)| {
                fd.revents()
                    .is_some_and(|got| got.contains(PollFlags::POLLHUP))
            })
            .map(|(_, index)| index)
            .collect();
        drop(fds);
        if heard.contains(PollFlags::POLLIN) {
            self.unanswered = 0;
        }
        for index in hung_up {
            if let Some(conn) = self.conns.get_mut(index) {
                conn.hang_up();
            }
        }
        // Taken in full: requests are read from the inbox, this only ends the sleep.
        while matches!((&self.woken).read(&mut self.scratch), Ok(1..)) {}
        Ok(())
    }

    /// Tells the host, so that it ends its side at once.
    fn say_goodbye(&self) {
        let limit = u32::try_from(LAST_WORDS.as_millis()).unwrap_or(u32::MAX);
        self.session.set_timeout(limit);
        self.session.set_blocking(true);
        let _unheard = self.session.disconnect(None, "done", None);
    }

    /// libssh2 frees channels and the session by calls that may wait for the host: with a socket
    /// that is shut down none of them does.
    fn hang_up(&mut self) {
        let _gone = nix::sys::socket::shutdown(
            std::os::fd::AsRawFd::as_raw_fd(&*self.transport),
            nix::sys::socket::Shutdown::Both,
        );
        self.session.set_timeout(1);
        self.session.set_blocking(true);
    }
}

fn meaning(message: &str) -> ChannelRefusal {
    if message.contains("administratively prohibited") {
        ChannelRefusal::Forbidden
    } else if message.contains("connect failed") {
        ChannelRefusal::NotConnected
    } else {
        ChannelRefusal::Other
    }
}
