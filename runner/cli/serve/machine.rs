//! The folder of a server: its lock, its name, its store.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use nix::fcntl::{Flock, FlockArg};

use super::super::error::{CliError, ErrorKind};
use super::config::ServeConfig;
use crate::scheduler::{Ledger, now};
use crate::store::Store;

/// Opens the store of a configuration.
pub(in super::super) async fn open_ledger(config: &ServeConfig) -> Result<Ledger, CliError> {
    make_folder(&config.data)?;
    let opened = match &config.database {
        Some(url) => Store::open(url, without_password(url)).await,
        None => Store::open_file(&config.data.join("runner.db")).await,
    };
    let store = opened.map_err(|source| {
        CliError::new(ErrorKind::Environment, "the store cannot be used").because(source)
    })?;
    Ok(Ledger::new(store, Arc::new(now), config.labels.clone()))
}

fn without_password(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, place)| place)
}

fn make_folder(path: &Path) -> Result<(), CliError> {
    use std::os::unix::fs::DirBuilderExt as _;
    // Logs are masked, but who may read them is still for the owner to say.
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path);
    made.map_err(|source| {
        CliError::new(
            ErrorKind::Environment,
            format!("the folder `{}` could not be made", path.display()),
        )
        .because(source)
    })
}

/// Takes the folder for this server until what is returned is dropped; refuses where another has it.
pub(super) fn take(data: &Path) -> Result<Flock<File>, CliError> {
    make_folder(data)?;
    let path = data.join("serve.lock");
    let failed = |source: std::io::Error| {
        CliError::new(
            ErrorKind::Environment,
            format!("`{}` cannot be used", path.display()),
        )
        .because(source)
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| {
        if error == nix::Error::EAGAIN {
            CliError::new(
                ErrorKind::Environment,
                format!("another server uses `{}`", data.display()),
            )
            .with_hint("stop that one, or give this one a `data` of its own")
        } else {
            failed(error.into())
        }
    })
}

/// Returns the name of the machine in the store: made once, and kept with the spools of its jobs.
pub(super) fn name(data: &Path) -> Result<String, CliError> {
    let path = data.join("machine");
    let failed = |source: std::io::Error| {
        CliError::new(
            ErrorKind::Environment,
            format!("`{}` cannot be used", path.display()),
        )
        .because(source)
    };
    let mut name = String::new();
    if let Ok(mut file) = File::open(&path) {
        file.read_to_string(&mut name).map_err(failed)?;
    }
    if name.trim().is_empty() {
        name = uuid::Uuid::now_v7().to_string();
        std::fs::write(&path, &name).map_err(failed)?;
    }
    Ok(name.trim().to_owned())
}
