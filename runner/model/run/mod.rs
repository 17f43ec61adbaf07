//! The records of a run and the events that tell of its progress.

pub mod command;
pub mod command_file;

#[cfg(test)]
mod tests;
