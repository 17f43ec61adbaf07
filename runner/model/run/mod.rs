//! The records of a run and the events that tell of its progress.
