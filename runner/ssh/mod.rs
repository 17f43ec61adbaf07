//! Connections to hosts by SSH.
//!
//! [`Connection`] is an async handle on one session with one host. Many commands and streams run
//! over it at once; nothing here blocks the caller's thread.
//!
//! # How it works
//! Each connection has one thread. It connects, checks the host key, authenticates, and then
//! pumps a non-blocking libssh2 session: it sleeps in `poll` on the TCP socket, on a wake-up
//! socket through which requests come, and on one local socket pair per channel, whose other end
//! the caller holds as a [`Stream`]. So a slow reader holds up its own channel alone, and dropping
//! any future or stream at any time is safe: the thread sees the hang-up and closes that channel.
//!
//! The thread ends when [`Connection::close`] is called, when the last handle and the last stream
//! are gone, or when the session is lost; in the last case every open stream ends with an error,
//! never with a silent end of file.
//!
//! Host keys are always checked: against known hosts files or pinned fingerprints.

mod address;
mod channel;
mod command;
mod connection;
mod credentials;
mod error;
mod handshake;
mod host_key;
mod known_hosts;
mod pump;
mod requests;
mod statistics;
mod stream;
mod transport;

pub use address::{AddressError, HostAddress};
pub use command::{Command, Exit, Output, Process};
pub use connection::{Connection, Jump, Options};
pub use credentials::{Identity, Passphrase, PrivateKey};
pub use error::{ChannelRefusal, SshError};
pub use host_key::HostKeys;
pub use known_hosts::{Fingerprint, KnownHosts, Verdict};
pub use statistics::Statistics;
pub use stream::Stream;
