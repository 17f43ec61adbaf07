//! Secrets, and text that is free of them.
