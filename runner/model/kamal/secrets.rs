//! The secrets files: which are read, and the values in them.

use std::fmt;
use std::sync::OnceLock;

use indexmap::IndexMap;
use thiserror::Error;

use super::dotenv;
use super::world::World;

/// The secrets of a project: read when the first one is asked for, and then once.
#[derive(Debug)]
pub struct Secrets {
    candidates: Vec<String>,
    kamal_1: String,
    values: OnceLock<Result<SecretValues, SecretsError>>,
}

/// The secrets files cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SecretsError {
    /// The machine: a file is there and cannot be read.
    #[error("secrets file `{file}` cannot be read: {reason}")]
    Read {
        /// The file.
        file: String,
        /// The system's words.
        reason: String,
    },
    /// The user's file: a `$(command)` in it failed. The command is not shown, it may hold secrets.
    #[error("the command for secret `{name}` in `{file}` failed: {reason}")]
    Command {
        /// The file.
        file: String,
        /// The secret's name.
        name: String,
        /// What went wrong.
        reason: String,
    },
}

/// A secret that the configuration names and no file has: the user's files lack it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("Secret '{name}' not found{}", where_looked(files, candidates))]
pub struct MissingSecret {
    /// The secret's name.
    pub name: String,
    /// The files that were read.
    pub files: Vec<String>,
    /// The files that would have been read.
    pub candidates: Vec<String>,
}

fn where_looked(files: &[String], candidates: &[String]) -> String {
    if files.is_empty() {
        format!(", no secret files ({}) provided", candidates.join(", "))
    } else {
        format!(" in {}", files.join(", "))
    }
}

/// The values of the secrets files.
///
/// Its `Debug` shows names only.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct SecretValues {
    values: IndexMap<String, String>,
    files: Vec<String>,
    candidates: Vec<String>,
    is_from_kamal_1: bool,
}

impl fmt::Debug for SecretValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.values.keys().collect();
        f.debug_struct("SecretValues")
            .field("names", &names)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl SecretValues {
    /// Returns the value of a secret.
    pub fn get(&self, name: &str) -> Result<&str, MissingSecret> {
        self.values
            .get(name)
            .map(String::as_str)
            .ok_or_else(|| MissingSecret {
                name: name.to_owned(),
                files: self.files.clone(),
                candidates: self.candidates.clone(),
            })
    }

    /// Walks over names and values, in the order of the files.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns the files that were read.
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// Tells whether the values come from `.env`, as with Kamal 1.
    pub fn is_from_kamal_1(&self) -> bool {
        self.is_from_kamal_1
    }
}

impl Secrets {
    /// Names the files: `<path>-common`, then `<path>.<destination>` with a destination or
    /// `<path>` without one.
    ///
    /// Where none of them is there, Kamal 1's `.env.<destination>` or `.env` is read.
    pub fn new(secrets_path: &str, destination: Option<&str>) -> Self {
        let with_destination = |path: &str| match destination {
            Some(destination) => format!("{path}.{destination}"),
            None => path.to_owned(),
        };
        Self {
            candidates: vec![
                format!("{secrets_path}-common"),
                with_destination(secrets_path),
            ],
            kamal_1: with_destination(".env"),
            values: OnceLock::new(),
        }
    }

    /// Reads the files the first time it is called, and runs the commands in them.
    pub fn load(&self, world: &dyn World) -> Result<&SecretValues, SecretsError> {
        self.values
            .get_or_init(|| self.read(world))
            .as_ref()
            .map_err(Clone::clone)
    }

    fn read(&self, world: &dyn World) -> Result<SecretValues, SecretsError> {
        let mut secrets = SecretValues {
            candidates: self.candidates.clone(),
            ..SecretValues::default()
        };
        for file in &self.candidates {
            read_file(file, world, &mut secrets)?;
        }
        if secrets.files.is_empty() {
            read_file(&self.kamal_1, world, &mut secrets)?;
            secrets.is_from_kamal_1 = !secrets.files.is_empty();
        }
        Ok(secrets)
    }
}

fn read_file(
    file: &str,
    world: &dyn World,
    secrets: &mut SecretValues,
) -> Result<(), SecretsError> {
    let text = world.read_file(file).map_err(|reason| SecretsError::Read {
        file: file.to_owned(),
        reason,
    })?;
    let Some(text) = text else {
        return Ok(());
    };
    secrets.files.push(file.to_owned());
    dotenv::read(&text, world, &mut secrets.values).map_err(|failure| SecretsError::Command {
        file: file.to_owned(),
        name: failure.name,
        reason: failure.reason,
    })
}
