//! The pure rooms of `runner`: text to typed values, plans and records.
//!
//! Nothing in this package reads a file, a clock, the environment or the network: what a room
//! needs of the world is given to it. `docs/architecture.md` shows the rooms and who may use whom.

pub mod diagnostic;
pub mod event;
pub mod expression;
pub mod kamal;
pub mod mask;
pub mod plan;
pub mod release;
pub mod run;
pub mod workflow;
pub mod yaml;
