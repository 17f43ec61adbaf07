//! What happened outside that can start a run.
