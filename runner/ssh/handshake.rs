//! From a transport to a session that is trusted and logged in.
//!
//! The session is non-blocking from the start, so that one deadline holds for everything and a
//! caller who goes away stops it.

use std::{
    io,
    os::{
        fd::{AsFd as _, AsRawFd, RawFd},
        unix::net::UnixStream,
    },
    path::Path,
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use nix::poll::{PollFd, PollFlags};
use ssh2::{BlockDirections, Channel, ErrorCode, MethodType, Session};

use super::{
    HostAddress, Identity, KnownHosts, Options, PrivateKey, SshError,
    connection::read_key,
    credentials::Passphrase,
    statistics::count,
    transport::{Transport, poll_for},
};

pub(super) const EAGAIN: ErrorCode = ErrorCode::Session(-37);
/// The host refused the key.
const REFUSED: [ErrorCode; 2] = [ErrorCode::Session(-18), ErrorCode::Session(-19)];
/// libssh2 could not make sense of the key or its passphrase.
const UNUSABLE: [ErrorCode; 2] = [ErrorCode::Session(-16), ErrorCode::Session(-48)];

/// What is needed to log in.
pub(super) struct Login<'a> {
    pub(super) address: &'a HostAddress,
    pub(super) options: &'a Options,
    /// Start of the host key algorithms to ask for first.
    pub(super) prefer: Option<&'static str>,
    pub(super) deadline: Instant,
    /// Becomes readable when the caller has gone away.
    pub(super) stop: &'a UnixStream,
    pub(super) waits: &'a AtomicU64,
}

/// A session that is ready, what it runs on, and the channel that keeps it listening.
pub(super) struct Wire {
    pub(super) session: Session,
    pub(super) transport: Arc<Transport>,
    /// Only a channel's read takes packets off the wire. Without one that is always there,
    /// whatever arrives while no other channel reads makes `poll` return at once, for ever, and
    /// a server that asks for a sign of life gets no answer and hangs up.
    pub(super) idle: Option<Channel>,
}

/// Lets libssh2 use the descriptor while the pump polls it.
struct Descriptor(Arc<Transport>);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

enum Stuck {
    Timeout,
    Stopped,
    Machine(io::Error),
    Session(ssh2::Error),
}

/// Connects if there is no transport yet, and does all the rest.
pub(super) fn log_in(login: &Login<'_>, transport: Option<Transport>) -> Result<Wire, SshError> {
    let hosts = login.options.host_keys.read()?;
    let transport = match transport {
        Some(transport) => transport,
        None => {
            count(login.waits, 1);
            Transport::connect(login.address, login.options.connect_timeout, login.deadline)?
        }
    };
    let transport = Arc::new(transport);
    let machine = |e: ssh2::Error| SshError::Machine(e.into());
    let mut session = Session::new().map_err(machine)?;
    session.set_tcp_stream(Descriptor(transport.clone()));
    session.set_blocking(false);
    let algorithms = login
        .host_key_algorithms(&session, &hosts)
        .map_err(machine)?;
    session
        .method_pref(MethodType::HostKey, &algorithms)
        .map_err(machine)?;
    let wire = Wire {
        session: session.clone(),
        transport,
        idle: None,
    };
    login
        .patiently(&wire, || session.handshake())
        .map_err(|stuck| login.trouble(stuck, "the SSH handshake"))?;
    let (key, _) = wire.session.host_key().ok_or_else(|| SshError::Handshake {
        host: login.address.to_string(),
        reason: "it shows no host key".into(),
    })?;
    login.options.host_keys.check(&hosts, login.address, key)?;
    login.authenticate(&wire)?;
    // A refusal, as under `MaxSessions 0`, leaves it out.
    let idle = match login.patiently(&wire, || wire.session.channel_session()) {
        Ok(channel) => Some(channel),
        Err(Stuck::Session(e)) if matches!(e.code(), ErrorCode::Session(-21 | -22)) => None,
        Err(stuck) => return Err(login.trouble(stuck, "the first channel")),
    };
    Ok(Wire { idle, ..wire })
}

impl Login<'_> {
    /// Every algorithm that libssh2 knows, those that fit the keys on record first.
    fn host_key_algorithms(
        &self,
        session: &Session,
        hosts: &KnownHosts,
    ) -> Result<String, ssh2::Error> {
        let on_record = hosts.types_on_record(self.address);
        let mut algorithms = session.supported_algs(MethodType::HostKey)?;
        // Signatures by SHA-1 are forged today.
        algorithms.retain(|name| !["ssh-rsa", "ssh-dss"].contains(name) && !name.contains("cert"));
        let rank = |name: &str| {
            let kind = if name.starts_with("rsa-") {
                "ssh-rsa"
            } else {
                name
            };
            let preferred = self.prefer.is_some_and(|prefix| name.starts_with(prefix));
            let listed = on_record.iter().position(|known| known == kind);
            (!preferred, listed.unwrap_or(usize::MAX))
        };
        algorithms.sort_by_key(|name| rank(name));
        Ok(algorithms.join(","))
    }

    fn authenticate(&self, wire: &Wire) -> Result<(), SshError> {
        let mut tried = Vec::new();
        for identity in &self.options.identities {
            match identity {
                Identity::File {
                    path,
                    passphrase,
                    optional,
                } => {
                    let name = path.display().to_string();
                    match read_key(path) {
                        Ok(text) => {
                            let key = PrivateKey::new(text);
                            let key = Candidate {
                                name,
                                key: &key,
                                passphrase: passphrase.as_ref(),
                            };
                            self.try_key(wire, &key, &mut tried)?;
                        }
                        Err(e) if *optional && e.kind() == io::ErrorKind::NotFound => {}
                        Err(source) => {
                            return Err(SshError::Unreadable {
                                path: path.clone(),
                                source,
                            });
                        }
                    }
                }
                Identity::Key {
                    name,
                    key,
                    passphrase,
                } => {
                    let key = Candidate {
                        name: name.clone(),
                        key,
                        passphrase: passphrase.as_ref(),
                    };
                    self.try_key(wire, &key, &mut tried)?;
                }
                Identity::Agent { socket } => self.try_agent(wire, socket, &mut tried)?,
            }
            if wire.session.authenticated() {
                return Ok(());
            }
        }
        let user = &self.address.user;
        let ask = || wire.session.auth_methods(user).map(str::to_owned);
        let methods = self
            .patiently(wire, ask)
            .unwrap_or_else(|_| "no more attempts".into());
        if wire.session.authenticated() {
            return Ok(());
        }
        Err(SshError::NotAuthenticated {
            host: self.address.to_string(),
            user: user.clone(),
            tried: if tried.is_empty() {
                "no key was found".into()
            } else {
                tried.join(", ")
            },
            methods,
        })
    }

    fn try_key(
        &self,
        wire: &Wire,
        candidate: &Candidate<'_>,
        tried: &mut Vec<String>,
    ) -> Result<(), SshError> {
        let Candidate {
            name,
            key,
            passphrase,
        } = candidate;
        let encrypted = key.is_encrypted();
        if encrypted && passphrase.is_none() {
            tried.push(format!("`{name}` is encrypted and no passphrase was given"));
            return Ok(());
        }
        let passphrase = passphrase.map(Passphrase::reveal).filter(|_| encrypted);
        let user = &self.address.user;
        let attempt = || {
            wire.session
                .userauth_pubkey_memory(user, None, key.reveal(), passphrase)
        };
        match self.patiently(wire, attempt) {
            Ok(()) => Ok(()),
            Err(Stuck::Session(e)) if REFUSED.contains(&e.code()) => {
                tried.push(format!("`{name}` was refused"));
                Ok(())
            }
            Err(Stuck::Session(e)) if UNUSABLE.contains(&e.code()) => {
                let reason = if encrypted {
                    "has another passphrase"
                } else {
                    "is no private key"
                };
                tried.push(format!("`{name}` {reason}"));
                Ok(())
            }
            Err(stuck) => Err(self.login_trouble(stuck, tried)),
        }
    }

    fn try_agent(
        &self,
        wire: &Wire,
        socket: &Path,
        tried: &mut Vec<String>,
    ) -> Result<(), SshError> {
        let list = || -> Result<_, ssh2::Error> {
            let mut agent = wire.session.agent()?;
            agent.set_identity_path(socket)?;
            agent.connect()?;
            agent.list_identities()?;
            let identities = agent.identities()?;
            Ok((agent, identities))
        };
        let Ok((agent, identities)) = list() else {
            tried.push(format!(
                "the agent at `{}` did not answer",
                socket.display()
            ));
            return Ok(());
        };
        if identities.is_empty() {
            tried.push("the agent has no key".into());
        }
        for identity in &identities {
            match self.patiently(wire, || agent.userauth(&self.address.user, identity)) {
                Ok(()) => return Ok(()),
                Err(Stuck::Session(e))
                    if matches!(e.code(), ErrorCode::Session(-13 | -7 | -43)) =>
                {
                    return Err(self.login_trouble(Stuck::Session(e), tried));
                }
                Err(Stuck::Session(_)) => {
                    tried.push(format!("`{}` of the agent was refused", identity.comment()));
                }
                Err(stuck) => return Err(self.trouble(stuck, "the login")),
            }
        }
        Ok(())
    }

    /// The host hangs up after a number of keys that it does not like.
    fn login_trouble(&self, stuck: Stuck, tried: &[String]) -> SshError {
        match stuck {
            Stuck::Session(e) => SshError::NotAuthenticated {
                host: self.address.to_string(),
                user: self.address.user.clone(),
                tried: format!(
                    "it ended the login after {} keys: {}",
                    tried.len(),
                    e.message()
                ),
                methods: "no more attempts".into(),
            },
            other => self.trouble(other, "the login"),
        }
    }

    /// Repeats a call until it no longer says that it would block.
    fn patiently<T>(
        &self,
        wire: &Wire,
        mut call: impl FnMut() -> Result<T, ssh2::Error>,
    ) -> Result<T, Stuck> {
        loop {
            match call() {
                Err(e) if e.code() == EAGAIN => {}
                other => return other.map_err(Stuck::Session),
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Stuck::Timeout);
            }
            let flags = match wire.session.block_directions() {
                BlockDirections::Outbound => PollFlags::POLLOUT,
                BlockDirections::Both => PollFlags::POLLIN | PollFlags::POLLOUT,
                BlockDirections::Inbound | BlockDirections::None => PollFlags::POLLIN,
            };
            let mut fds = [
                PollFd::new(wire.transport.as_fd(), flags),
                PollFd::new(self.stop.as_fd(), PollFlags::POLLIN),
            ];
            if flags.contains(PollFlags::POLLIN) {
                count(self.waits, 1);
            }
            poll_for(&mut fds, left).map_err(Stuck::Machine)?;
            let [_, stop] = fds;
            if stop.any().unwrap_or(true) {
                return Err(Stuck::Stopped);
            }
        }
    }

    fn trouble(&self, stuck: Stuck, phase: &'static str) -> SshError {
        let host = self.address.to_string();
        match stuck {
            Stuck::Timeout => {
                let limit = self.options.connect_timeout;
                SshError::ConnectTimeout { host, phase, limit }
            }
            Stuck::Stopped => SshError::Lost {
                host,
                reason: "connecting was given up".into(),
            },
            Stuck::Machine(e) => SshError::Machine(e),
            Stuck::Session(e) => SshError::Handshake {
                host,
                reason: e.message().to_owned(),
            },
        }
    }
}

struct Candidate<'a> {
    name: String,
    key: &'a PrivateKey,
    passphrase: Option<&'a Passphrase>,
}
