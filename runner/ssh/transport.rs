//! The byte stream below a session: a TCP connection, or a stream through a jump host.

use std::{
    io,
    net::{TcpStream, ToSocketAddrs as _},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{setsockopt, sockopt},
};

use super::{HostAddress, SshError};

/// How long sent bytes may stay unacknowledged before the kernel gives the peer up.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// What libssh2 reads and writes.
#[derive(Debug)]
pub(super) enum Transport {
    Tcp(TcpStream),
    Jump(UnixStream),
}

impl Transport {
    /// Connects to the first address that answers, within the time left.
    pub(super) fn connect(
        address: &HostAddress,
        limit: Duration,
        deadline: Instant,
    ) -> Result<Self, SshError> {
        let HostAddress { host, port, .. } = address;
        let addresses =
            (host.as_str(), *port)
                .to_socket_addrs()
                .map_err(|source| SshError::NoAddress {
                    host: host.clone(),
                    source: Some(source),
                })?;
        let mut last = None;
        for candidate in addresses {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            match TcpStream::connect_timeout(&candidate, left) {
                Ok(tcp) => {
                    prepare(&tcp).map_err(SshError::Machine)?;
                    return Ok(Self::Tcp(tcp));
                }
                Err(e) => last = Some(e),
            }
        }
        let host = address.to_string();
        match last {
            None => Err(SshError::NoAddress { host, source: None }),
            Some(e) if e.kind() == io::ErrorKind::TimedOut => Err(SshError::ConnectTimeout {
                host,
                phase: "the TCP connection",
                limit,
            }),
            Some(source) => Err(SshError::Unreachable { host, source }),
        }
    }

    /// Tells whether the kernel takes more bytes at this moment.
    pub(super) fn is_writable(&self) -> bool {
        let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLOUT)];
        let ready = poll(&mut fds, PollTimeout::ZERO).unwrap_or(0);
        let [fd] = fds;
        ready > 0
            && fd
                .revents()
                .is_some_and(|events| events.contains(PollFlags::POLLOUT))
    }
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(tcp) => tcp.as_fd(),
            Self::Jump(stream) => stream.as_fd(),
        }
    }
}

impl AsRawFd for Transport {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// libssh2 does not count unanswered keepalives; the kernel finds a dead peer by these.
fn prepare(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let milliseconds = u32::try_from(USER_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
    let set = || -> nix::Result<()> {
        setsockopt(tcp, sockopt::KeepAlive, &true)?;
        setsockopt(tcp, sockopt::TcpKeepIdle, &15)?;
        setsockopt(tcp, sockopt::TcpKeepInterval, &5)?;
        setsockopt(tcp, sockopt::TcpKeepCount, &3)?;
        setsockopt(tcp, sockopt::TcpUserTimeout, &milliseconds)
    };
    set().map_err(io::Error::from)
}

/// Polls until something is ready or the time is over; a signal is no reason to stop.
pub(super) fn poll_for(fds: &mut [PollFd<'_>], wait: Duration) -> io::Result<()> {
    let until = Instant::now() + wait;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        // Rounded up, else the last millisecond is a busy loop.
        let left = left.as_micros().div_ceil(1000);
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(fds, timeout) {
            Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
            Ok(_) => return Ok(()),
        }
    }
}
