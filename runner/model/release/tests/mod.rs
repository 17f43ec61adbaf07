//! The transaction as a whole, tried on a model of hosts.

mod acts;
mod cases;
mod crash;
mod world;
