//! What the tests of several rooms need.

pub(crate) mod app;
pub(crate) mod collector;
pub(crate) mod doubles;
pub(crate) mod found;
pub(crate) mod github;
pub(crate) mod http;
pub(crate) mod images;
pub(crate) mod machines;
pub(crate) mod npm;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod project;
pub(crate) mod pty;
pub(crate) mod registry;
pub(crate) mod scene;
pub(crate) mod server;
pub(crate) mod servers;
pub(crate) mod sshd;
pub(crate) mod stub;
pub(crate) mod traffic;
