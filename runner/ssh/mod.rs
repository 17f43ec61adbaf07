//! Connections to hosts by SSH.
