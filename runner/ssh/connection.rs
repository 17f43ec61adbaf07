//! The handle on one session with one host.

use std::{
    fs, io,
    os::unix::net::UnixStream as StdUnixStream,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use tokio::{net::UnixStream, sync::oneshot, time::timeout};

use super::{
    Command, HostAddress, HostKeys, Identity, Output, Process, SshError, Statistics, Stream,
    channel::CommandEnds,
    handshake::{self, Login},
    pump::{Pump, Wires},
    requests::{Open, Request, Shared, Target},
    transport::Transport,
};

/// How long the resolver may exceed the connect limit: it cannot be interrupted.
const RESOLVER_GRACE: Duration = Duration::from_secs(2);
/// How long a clean end may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// How to reach, trust and log in to a host.
#[derive(Debug, Clone)]
pub struct Options {
    /// Ways to log in, tried in this order.
    pub identities: Vec<Identity>,
    /// Which host keys are trusted.
    pub host_keys: HostKeys,
    /// The host to go through, as `ProxyJump`.
    pub jump: Option<Box<Jump>>,
    /// Limit of the whole connecting, from the TCP connection to the login.
    pub connect_timeout: Duration,
    /// How often a silent host is asked for a sign of life; after three without an answer the
    /// session counts as lost.
    pub keepalive: Duration,
}

/// A host to go through.
#[derive(Debug, Clone)]
pub struct Jump {
    /// Where it is.
    pub address: HostAddress,
    /// How to reach it.
    pub options: Options,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            identities: Vec::new(),
            host_keys: HostKeys::default(),
            jump: None,
            connect_timeout: Duration::from_secs(10),
            keepalive: Duration::from_secs(15),
        }
    }
}

impl Options {
    /// What `ssh` uses without a configuration: the agent, then the keys of default names in
    /// `~/.ssh`, and the known hosts of the user and of the machine.
    ///
    /// `agent` is the value of `SSH_AUTH_SOCK`.
    pub fn of_home(home: &Path, agent: Option<PathBuf>) -> Self {
        let folder = home.join(".ssh");
        let agent = agent.map(|socket| Identity::Agent { socket });
        let keys = ["id_ed25519", "id_ecdsa", "id_rsa"].map(|name| Identity::File {
            path: folder.join(name),
            passphrase: None,
            optional: true,
        });
        Self {
            identities: agent.into_iter().chain(keys).collect(),
            host_keys: HostKeys::files([
                folder.join("known_hosts"),
                folder.join("known_hosts2"),
                PathBuf::from("/etc/ssh/ssh_known_hosts"),
            ]),
            ..Self::default()
        }
    }
}

/// A session with a host; clones share it.
///
/// The session ends when the last clone and the last stream are dropped, or by [`Self::close`].
#[derive(Debug, Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

impl Connection {
    /// Connects, checks the host key and logs in, through the jump host if there is one.
    ///
    /// Dropping the future stops the attempt.
    ///
    /// # Errors
    /// See [`SshError`]; each names the host and what to do.
    pub async fn connect(address: &HostAddress, options: &Options) -> Result<Self, SshError> {
        match &options.jump {
            None => Self::establish(address, options, None).await,
            Some(jump) => {
                let via = Box::pin(Self::connect(&jump.address, &jump.options)).await?;
                Self::establish(address, options, Some(&via)).await
            }
        }
    }

    /// Connects to a host that only `self` can reach; `self` stays usable.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn connect_through(
        &self,
        address: &HostAddress,
        options: &Options,
    ) -> Result<Self, SshError> {
        Self::establish(address, options, Some(self)).await
    }

    /// A host shows one key only. A pinned fingerprint does not tell its type, so the host is
    /// asked for each family until it shows the pinned one.
    async fn establish(
        address: &HostAddress,
        options: &Options,
        via: Option<&Self>,
    ) -> Result<Self, SshError> {
        let mut untried = vec!["rsa-", "ecdsa-", "ssh-ed25519"];
        let mut prefer = None;
        loop {
            let refused = match Self::attempt(address, options, via, prefer).await {
                Err(e @ SshError::HostKeyNotPinned { .. }) => e,
                other => return other,
            };
            if let SshError::HostKeyNotPinned { kind, .. } = &refused {
                let shown = kind.replace("ssh-rsa", "rsa-");
                untried.retain(|family| !shown.starts_with(family));
            }
            match untried.pop() {
                Some(family) => prefer = Some(family),
                None => return Err(refused),
            }
        }
    }

    async fn attempt(
        address: &HostAddress,
        options: &Options,
        via: Option<&Self>,
        prefer: Option<&'static str>,
    ) -> Result<Self, SshError> {
        let limit = options.connect_timeout;
        let deadline = Instant::now() + limit;
        let transport = match via {
            None => None,
            Some(via) => {
                let stream = via.connect_tcp(&address.host, address.port);
                let stream =
                    timeout(limit, stream)
                        .await
                        .map_err(|_| SshError::ConnectTimeout {
                            host: address.to_string(),
                            phase: "the connection through the jump host",
                            limit,
                        })??;
                Some(Transport::Jump(
                    stream.into_std().map_err(SshError::Machine)?,
                ))
            }
        };
        let (wake, woken) = pair()?;
        let (requests, inbox) = mpsc::channel();
        let (ended_sender, ended) = oneshot::channel();
        let jump = via.map(|via| via.shared.clone());
        let shared = Shared::new(address.to_string(), requests, wake, ended, jump);
        let status = shared.status.clone();
        let (ready, is_ready) = oneshot::channel();
        let (address, options) = (address.clone(), options.clone());
        let host = address.to_string();
        // The kernel shows 15 letters of it: the port first, since that is short.
        let name = format!("ssh {} {}", address.port, address.host.replace('\0', ""));
        let work = move || {
            let _ended = ended_sender;
            let login = Login {
                address: &address,
                options: &options,
                prefer,
                deadline,
                stop: &woken,
                waits: &status.counters.handshake_waits,
            };
            match handshake::log_in(&login, transport) {
                Ok(wire) => {
                    if ready.send(Ok(())).is_ok() {
                        let wires = Wires {
                            wire,
                            inbox,
                            woken,
                            status,
                            keepalive: options.keepalive,
                        };
                        Pump::new(wires).run_to_end();
                    }
                }
                Err(e) => {
                    let _nobody_waits = ready.send(Err(e));
                }
            }
        };
        std::thread::Builder::new()
            .name(name)
            .spawn(work)
            .map_err(SshError::Machine)?;
        match timeout(limit + RESOLVER_GRACE, is_ready).await {
            Ok(Ok(outcome)) => outcome.map(|()| Self {
                shared: Arc::new(shared),
            }),
            Ok(Err(_)) => Err(shared.lost()),
            Err(_) => Err(SshError::ConnectTimeout {
                host,
                phase: "the name lookup",
                limit,
            }),
        }
    }

    /// Connects to a Unix socket on the host.
    ///
    /// # Errors
    /// [`SshError::Refused`]: forbidden by the SSH server, or nobody listens there.
    pub async fn connect_unix(&self, path: &str) -> Result<Stream, SshError> {
        let what = format!("a connection to `{path}`");
        self.open(Target::Unix(path.to_owned()), what).await
    }

    /// Connects to a TCP port as the host sees it.
    ///
    /// # Errors
    /// [`SshError::Refused`]: forbidden by the SSH server, or nobody listens there.
    pub async fn connect_tcp(&self, host: &str, port: u16) -> Result<Stream, SshError> {
        let what = format!("a connection to `{host}:{port}`");
        self.open(Target::Tcp(host.to_owned(), port), what).await
    }

    /// Connects to the standard input and output of a command; what it says on standard error is
    /// lost, and so is its exit code.
    ///
    /// # Errors
    /// [`SshError::Refused`]: the SSH server does not let this user run commands.
    pub async fn connect_command(&self, command: &str) -> Result<Stream, SshError> {
        let what = format!("to run `{command}`");
        self.open(Target::Command(command.to_owned()), what).await
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// The command could not run or its time is over; a command that fails is no error.
    pub async fn exec(&self, command: &Command) -> Result<Output, SshError> {
        let run = async { self.spawn(command).await?.talk(&command.stdin).await };
        match command.limit {
            None => run.await,
            Some(limit) => timeout(limit, run)
                .await
                .map_err(|_| SshError::CommandTimeout {
                    host: self.shared.host.clone(),
                    command: command.shown(),
                    limit,
                })?,
        }
    }

    /// Starts a command and hands over its streams; `stdin` and `limit` of it are the caller's
    /// business.
    ///
    /// # Errors
    /// The SSH server does not let this user run commands.
    pub async fn spawn(&self, command: &Command) -> Result<Process, SshError> {
        if !command.ends_with_caller {
            return self.start(command).await;
        }
        // A caller who goes away while the command starts must not leave it running: the start is
        // brought to its end in any case, and what it returns ends the command when it is dropped.
        let (this, command) = (self.clone(), command.clone());
        #[expect(clippy::disallowed_methods, reason = "it has to outlive the caller")]
        let started = tokio::spawn(async move {
            let mut process = this.start(&command).await?;
            process.learn_group().await?;
            Ok(process)
        });
        started
            .await
            .map_err(|e| SshError::Machine(io::Error::other(e)))?
    }

    async fn start(&self, command: &Command) -> Result<Process, SshError> {
        let (mine, theirs) = pair()?;
        let (exit_sender, exit) = oneshot::channel();
        let target = Target::Command(command.line());
        let what = format!("to run `{}`", command.shown());
        let ends = CommandEnds {
            stderr: Some(theirs),
            exit: Some(exit_sender),
            unattended: None,
        };
        let stdio = self.request(target, ends, what).await?;
        let stderr = self.stream(mine)?;
        let shared = self.shared.clone();
        Ok(Process {
            stdio,
            stderr,
            exit,
            end: None,
            shared,
        })
    }

    /// Ends the session: streams that are still open end with an error.
    pub async fn close(self) {
        let _status = self
            .shared
            .status
            .failure
            .set("it was closed by this side".into());
        if self.shared.send(Request::Close).is_ok()
            && let Some(ended) = self.shared.take_ended()
        {
            let _in_time = timeout(CLOSE_LIMIT, ended).await;
        }
    }

    /// Why the session is lost, if it is.
    pub fn failure(&self) -> Option<String> {
        self.shared.status.failure.get().cloned()
    }

    /// What was done over this connection so far.
    pub fn statistics(&self) -> Statistics {
        self.shared.status.counters.snapshot()
    }

    /// The host, as `user@host:port`.
    pub fn host(&self) -> &str {
        &self.shared.host
    }

    async fn open(&self, target: Target, what: String) -> Result<Stream, SshError> {
        self.request(target, CommandEnds::default(), what).await
    }

    async fn request(
        &self,
        target: Target,
        ends: CommandEnds,
        what: String,
    ) -> Result<Stream, SshError> {
        let (mine, local) = pair()?;
        let (reply, answer) = oneshot::channel();
        self.shared.send(Request::Open(Box::new(Open {
            target,
            local,
            ends,
            reply: Some(reply),
        })))?;
        match answer.await {
            Ok(Ok(())) => self.stream(mine),
            Ok(Err(refused)) => Err(SshError::Refused {
                host: self.shared.host.clone(),
                what,
                refusal: refused.refusal,
                reason: refused.reason,
            }),
            Err(_) => Err(self.shared.lost()),
        }
    }

    fn stream(&self, local: StdUnixStream) -> Result<Stream, SshError> {
        let inner = UnixStream::from_std(local).map_err(SshError::Machine)?;
        Ok(Stream::new(inner, self.shared.clone()))
    }
}

impl Shared {
    /// Starts a command whose end nobody awaits; does nothing if the session is gone.
    pub(super) fn run_unattended(&self, command: String) {
        let Ok((mine, local)) = pair() else { return };
        let _no_input = mine.shutdown(std::net::Shutdown::Write);
        let ends = CommandEnds {
            unattended: Some(mine),
            ..CommandEnds::default()
        };
        let target = Target::Command(command);
        let open = Open {
            target,
            local,
            ends,
            reply: None,
        };
        let _gone = self.send(Request::Open(Box::new(open)));
    }

    /// Tells in our words why a stream broke.
    pub(super) fn broken(&self, error: &io::Error) -> SshError {
        match self.status.failure.get() {
            Some(_) => self.lost(),
            None => SshError::Lost {
                host: self.host.clone(),
                reason: error.to_string(),
            },
        }
    }
}

fn pair() -> Result<(StdUnixStream, StdUnixStream), SshError> {
    let make = || {
        let (a, b) = StdUnixStream::pair()?;
        a.set_nonblocking(true)?;
        b.set_nonblocking(true)?;
        Ok((a, b))
    };
    make().map_err(SshError::Machine)
}

/// Reads a key file, as text.
pub(super) fn read_key(path: &Path) -> io::Result<String> {
    let bytes = fs::read(path)?;
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not text"))
}
