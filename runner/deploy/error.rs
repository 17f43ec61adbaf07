//! What can go wrong while a release is carried out on hosts, in words for its user.

use std::time::Duration;

use thiserror::Error;

pub(super) use crate::diagnostic::chain;

use super::hook::HookError;
use crate::{
    docker::DockerError,
    release::{
        Blocked, ContainerName, Fence, HostName, InvalidTransactionId, OptionError, PlanError,
        SecretName, TransactionId, UnknownContainer,
    },
    ssh::SshError,
};

/// One operation on one host did not do what it should.
#[derive(Debug, Error)]
pub enum OpError {
    /// The network, the host or its SSH server.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// The host's Docker daemon, or what it was asked for.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// The host: a small file could not be written, a tool is not there.
    #[error("{what}: {reason}")]
    Script {
        /// What was to be done.
        what: String,
        /// What the host's shell said.
        reason: String,
    },
    /// Somebody else: another transaction has raised the fence on the host.
    #[error("another transaction has taken over (fence {found} on the host, ours is {ours})")]
    FenceLost {
        /// The fence that is there.
        found: String,
        /// The fence of this transaction.
        ours: Fence,
    },
    /// Somebody else holds the lock.
    #[error("the lock is held by {by}")]
    LockHeld {
        /// Who, as the lock's text says.
        by: String,
    },
    /// Somebody else took the lock over while this process did not renew it.
    #[error("the lock was taken over by {by}")]
    LeaseTaken {
        /// Who, as the lock's text says.
        by: String,
    },
    /// The machine: this process could not renew its lease for too long.
    #[error("the lock was not renewed for {}, so nothing more may be changed", humantime::format_duration(*.0))]
    LeaseLapsed(
        /// How long ago it was renewed.
        Duration,
    ),
    /// The settings: a secret has no value.
    #[error("secret `{0}` has no value")]
    NoSecret(SecretName),
    /// The configuration: an option of a container cannot be read.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The configuration: a value of a container cannot be read.
    #[error("container `{container}`: {reason}")]
    Container {
        /// Which.
        container: ContainerName,
        /// What is wrong.
        reason: String,
    },
    /// The host: a container that should be there is not, or is not this transaction's.
    #[error("container `{0}` is not there, or was not made by this transaction")]
    NoContainer(ContainerName),
    /// The host: a name is taken by a container of somebody else.
    #[error("the name of container `{0}` is taken by another one")]
    NameTaken(ContainerName),
    /// The host: a route names a container that is not there.
    #[error(transparent)]
    Route(#[from] UnknownContainer),
    /// The application: a new container did not become fit for its duty.
    #[error("container `{container}` did not pass the gate within {}: {report}", humantime::format_duration(*.limit))]
    Gate {
        /// Which.
        container: ContainerName,
        /// The limit.
        limit: Duration,
        /// The last answer, the container's state and its last lines.
        report: String,
    },
    /// The application: a one-off container failed.
    #[error("container `{container}` ended with code {code}{lines}")]
    Exit {
        /// Which.
        container: ContainerName,
        /// Its code.
        code: i64,
        /// Its last lines.
        lines: String,
    },
    /// The application: something took longer than it may.
    #[error("{what} did not happen within {}", humantime::format_duration(*.limit))]
    TooLong {
        /// What was waited for.
        what: String,
        /// The limit.
        limit: Duration,
    },
    /// The host's proxy: what it shows or answers is not what was written.
    #[error("the proxy {0}")]
    Proxy(
        /// What was seen.
        String,
    ),
    /// The host: something that must be there before a deploy is not.
    #[error("{0}")]
    NotReady(
        /// What, and which command prepares it.
        String,
    ),
    /// The new release did worse under load than it may.
    #[error("while the new release was watched, {0}")]
    Watch(
        /// What was seen.
        String,
    ),
    /// The machine: a backup could not be written.
    #[error("the backup could not be written to `{path}`")]
    Backup {
        /// The file.
        path: String,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
    /// This program does not know how.
    #[error("{0} is not supported")]
    Unsupported(
        /// What.
        String,
    ),
    /// Somebody cancelled, or another host failed.
    #[error("it was cancelled")]
    Cancelled,
}

impl OpError {
    /// Tells whether nothing more may be changed: another transaction has the hosts.
    pub fn is_taken(&self) -> bool {
        matches!(self, Self::LeaseTaken { .. } | Self::FenceLost { .. })
    }

    /// The error and all its causes in one line.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

/// A transaction could not be opened; nothing was changed, and the lock is free again.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The network or the host.
    #[error("`{host}` is not reachable")]
    Unreachable {
        /// Which.
        host: HostName,
        /// Why.
        #[source]
        source: Box<OpError>,
    },
    /// Somebody else deploys.
    #[error("the deploy lock is held on `{host}`: {details}")]
    Locked {
        /// Where the lock is.
        host: HostName,
        /// Who holds it, since when and why.
        details: String,
    },
    /// The hosts, the configuration or the registry: a transaction cannot begin.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The configuration or the secrets.
    #[error("the release cannot be deployed to `{host}`")]
    Invalid {
        /// The host on which it would have failed.
        host: HostName,
        /// What is wrong.
        #[source]
        source: Box<OpError>,
    },
    /// The registry does not have the release's image, or does not let this user see it.
    #[error("image `{image}` could not be found in its registry")]
    Image {
        /// Which.
        image: String,
        /// What the daemon or the registry said.
        #[source]
        source: Box<OpError>,
    },
    /// An earlier transaction was left open and could be neither finished nor undone.
    #[error("transaction {id}, which `{who}` left open, could not be ended: {reason}")]
    LeftOpen {
        /// Which.
        id: TransactionId,
        /// Who held it.
        who: String,
        /// Why not.
        reason: String,
    },
    /// An operation of the opening failed.
    #[error("`{host}`: {what}")]
    Operation {
        /// The host.
        host: HostName,
        /// What was to be done.
        what: String,
        /// Why it was not.
        #[source]
        source: Box<OpError>,
    },
    /// Nothing can be planned.
    #[error(transparent)]
    Blocked(#[from] Blocked),
    /// Our own: an id could not be made.
    #[error(transparent)]
    Id(#[from] InvalidTransactionId),
    /// No open transaction is there to be resumed or undone.
    #[error("no transaction is open")]
    NothingOpen,
    /// Somebody cancelled before anything was changed.
    #[error("it was cancelled")]
    Cancelled,
}

/// A phase could not be reached; the transaction has to be undone.
#[derive(Debug, Error)]
pub enum PhaseError {
    /// Some operation failed.
    #[error("`{host}`: {what}")]
    Operation {
        /// The host.
        host: HostName,
        /// What was to be done.
        what: String,
        /// Why it was not.
        #[source]
        source: Box<OpError>,
    },
    /// Nothing can be planned in this direction.
    #[error(transparent)]
    Blocked(#[from] Blocked),
    /// Somebody cancelled.
    #[error("it was cancelled")]
    Cancelled,
    /// A hook of the project did not let the deploy go on.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// Another transaction has the hosts: nothing more may be changed.
    #[error("another transaction has taken over")]
    Taken(#[source] Box<OpError>),
}
