//! GitHub's workflow and action files, read to typed values.
