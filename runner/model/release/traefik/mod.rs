//! Traefik's files as text: the dynamic one that a deploy writes, the static one of the proxy.
//!
//! Groups of containers are named by their transaction and reached by the first 12 digits of
//! their ids: a name can move to another container, an id cannot. A router for requests with
//! [`PROBE_HEADER`] answers with [`RELEASE_HEADER`], which proves a switch without any help of
//! the application.

mod dynamic;
mod entry;
mod maintenance;
mod tree;

pub use dynamic::{ReadError, dynamic_file, read_dynamic};
pub use entry::{Acme, Challenge, StaticSettings, runner_file, static_file};
pub use maintenance::{maintenance_file, maintenance_service};

/// The entry point of the port that redirects.
pub const WEB: &str = "web";
/// The entry point of the port with TLS.
pub const WEB_SECURE: &str = "websecure";
/// The entry point of Traefik's own API, for us alone.
pub const OPS: &str = "ops";
/// The resolver that gets certificates.
pub const RESOLVER: &str = "le";
/// The header of a request that asks for a transaction.
pub const PROBE_HEADER: &str = "X-Runner-Probe";
/// The header of the answer that names it.
pub const RELEASE_HEADER: &str = "X-Runner-Release";

/// The entry point of a port without TLS and without redirect.
pub fn plain_entry(port: u16) -> String {
    format!("plain-{port}")
}
