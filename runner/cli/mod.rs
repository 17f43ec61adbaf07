//! The verbs of the command line, settings, wiring and exit codes.
