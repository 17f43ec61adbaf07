//! Runs one job and its steps.
