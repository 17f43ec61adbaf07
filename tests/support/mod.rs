//! What the tests of several rooms need.

pub(crate) mod process;
pub(crate) mod sshd;
