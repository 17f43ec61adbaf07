//! The only place that starts processes, and ends them with all their children.
