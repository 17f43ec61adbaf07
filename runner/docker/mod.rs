//! The Docker Engine by its API, local or through an SSH connection.
