//! The Docker room against the machine's own daemon.
