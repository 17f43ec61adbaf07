//! What the tests of several rooms need.

pub(crate) mod servers;
pub(crate) mod sshd;
