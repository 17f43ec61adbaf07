//! The Docker Engine by its API, local or through an SSH connection.
//!
//! [`Engine`] speaks to one daemon, from API 1.41 (Engine 20.10) on; the version is negotiated.
//! Requests to one daemon share a pool of kept connections, so that a request over SSH costs one
//! round trip and not three.
//!
//! Every future may be dropped at any time. That ends the request; what the daemon does with it
//! then is said where it matters (a build stops, a pull goes on, a command in a container goes on).

mod archive;
mod build;
mod build_context;
mod build_progress;
mod build_session;
mod container;
mod credentials;
mod distribution;
mod dockerignore;
mod engine;
mod error;
mod exec;
mod files;
mod found;
mod image;
mod logs;
mod network;
mod packing;
mod reference;
mod registry;
mod spec;
mod stats;
mod transport;
mod volume;

pub use build::{BuildSpec, Builder, Built};
pub use container::Listed;
pub use credentials::Credentials;
pub use dockerignore::DockerIgnore;
pub use engine::{DEFAULT_SOCKET, Engine, Version, local_socket};
pub use error::{DockerError, Failure};
pub use exec::{ExecSpec, Executed, Hold};
pub use files::Upload;
pub use found::{Found, Health, JoinedNetwork, PublishedPort, State};
pub use image::Image;
pub use logs::{Chunk, LogOptions, StdStream};
pub use network::Network;
pub use reference::ImageReference;
pub use spec::{
    ContainerSpec, Env, HealthCheck, LogSettings, Publish, RestartPolicy, SpecError, Ulimit,
    parse_bytes,
};
pub use stats::Usage;
pub use volume::Volume;
