//! Kamal's `config/deploy.yml` and secrets files, read to typed values.
