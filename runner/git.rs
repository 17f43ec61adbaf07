//! What is asked of a git repository.
