//! What can go wrong with a connection, in words for its user.

use std::{io, path::PathBuf, time::Duration};

use thiserror::Error;

use super::Fingerprint;

/// Why a host did not open a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelRefusal {
    /// The SSH server's settings forbid it, as `AllowStreamLocalForwarding no` does.
    Forbidden,
    /// What the channel should lead to is not there or does not answer.
    NotConnected,
    /// The host gave another reason, or none.
    Other,
}

/// A host could not be reached, trusted or used by SSH.
#[derive(Debug, Error)]
pub enum SshError {
    /// The machine, the network or the settings: the name has no address.
    #[error("`{host}` has no address; check its name")]
    NoAddress {
        /// Name of the host.
        host: String,
        /// What the resolver said.
        #[source]
        source: Option<io::Error>,
    },
    /// The network or the host: nothing listens there, or a firewall is between.
    #[error(
        "`{host}` is not reachable by SSH; check that the host is up, the port and the firewall"
    )]
    Unreachable {
        /// Address with port.
        host: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The host took the connection and then did not answer in time.
    #[error("`{host}` did not complete {phase} within {}", humantime::format_duration(*limit))]
    ConnectTimeout {
        /// Address with port.
        host: String,
        /// What was waited for.
        phase: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// The host: what answers is not an SSH server, or shares no algorithm with us.
    #[error("`{host}` and this machine did not agree on an SSH session: {reason}")]
    Handshake {
        /// Address with port.
        host: String,
        /// libssh2's words.
        reason: String,
    },
    /// The host is not known yet: the user has to vouch for it.
    #[error(
        "the host key of `{host}` is in no known hosts file{others}: it shows {kind} {fingerprint}; \
         compare that with `ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` on the host, then add the line `{line}`"
    )]
    HostKeyUnknown {
        /// Name as known hosts files have it.
        host: String,
        /// Type of the key.
        kind: String,
        /// Fingerprint of the key.
        fingerprint: Fingerprint,
        /// Types that are on record, as a remark in parentheses, or nothing.
        others: String,
        /// The line that would make it known.
        line: String,
    },
    /// The host was set up anew, or somebody listens in.
    #[error(
        "the host key of `{host}` is not the one in `{place}`: it shows {kind} {fingerprint}; \
         if the host was set up anew, replace that line, else somebody may be listening in"
    )]
    HostKeyChanged {
        /// Name as known hosts files have it.
        host: String,
        /// Type of the key.
        kind: String,
        /// Fingerprint of the key that was shown.
        fingerprint: Fingerprint,
        /// `file:line` of the key on record.
        place: String,
    },
    /// The key is marked as stolen or withdrawn.
    #[error(
        "the host key of `{host}`, {kind} {fingerprint}, is revoked in `{place}`; \
         give the host another key"
    )]
    HostKeyRevoked {
        /// Name as known hosts files have it.
        host: String,
        /// Type of the key.
        kind: String,
        /// Fingerprint of the key.
        fingerprint: Fingerprint,
        /// `file:line` of the mark.
        place: String,
    },
    /// The host does not show the key that the settings pin.
    #[error(
        "the host key of `{host}` is not the pinned one: it shows {kind} {fingerprint}, pinned is {pinned}"
    )]
    HostKeyNotPinned {
        /// Name as known hosts files have it.
        host: String,
        /// Type of the key.
        kind: String,
        /// Fingerprint of the key that was shown.
        fingerprint: Fingerprint,
        /// Fingerprints that are pinned.
        pinned: String,
    },
    /// The machine: a key or known hosts file is there and cannot be read.
    #[error("`{}` could not be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The settings: no key fits.
    #[error(
        "`{host}` accepted no key of user `{user}`: {tried}; it takes {methods}; \
         add the public key to `~{user}/.ssh/authorized_keys` there, or name another key"
    )]
    NotAuthenticated {
        /// Address with port.
        host: String,
        /// User that wanted to log in.
        user: String,
        /// Every identity and what became of it.
        tried: String,
        /// Methods that the host offers.
        methods: String,
    },
    /// The host refused one channel; the connection lives on.
    #[error("`{host}` refused {what}: {reason}")]
    Refused {
        /// Address with port.
        host: String,
        /// What was wanted.
        what: String,
        /// What it means.
        refusal: ChannelRefusal,
        /// The host's words.
        reason: String,
    },
    /// The network or the host: the session is gone, with everything that ran over it.
    #[error("the SSH connection to `{host}` is lost: {reason}")]
    Lost {
        /// Address with port.
        host: String,
        /// What was seen.
        reason: String,
    },
    /// The command: it ran longer than it may.
    #[error("`{command}` on `{host}` did not end within {}", humantime::format_duration(*limit))]
    CommandTimeout {
        /// Address with port.
        host: String,
        /// What messages call the command.
        command: String,
        /// The limit.
        limit: Duration,
    },
    /// The machine: a thread, a socket pair or libssh2 itself could not be had.
    #[error("an SSH session could not be set up on this machine")]
    Machine(
        /// What the kernel said.
        #[source]
        io::Error,
    ),
}
