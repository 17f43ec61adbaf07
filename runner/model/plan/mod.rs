//! What a workflow becomes for one event: filters, the graph of jobs, matrices.
//!
//! [`filter::decide`] says whether an event runs a workflow, [`matrix::expand`] makes the cells of
//! a job's matrix, and [`name`] gives jobs the names and ids under which people see them.

pub mod filter;
pub mod matrix;
pub mod name;
pub mod pattern;

#[cfg(test)]
mod tests;
