//! The transaction as a whole, tried on a model of hosts.

mod cases;
mod crash;
mod world;
