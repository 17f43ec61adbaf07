//! Turns the events of a run into what people and GitHub see.
