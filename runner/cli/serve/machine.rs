//! The folder of a server: its lock, its name, its store.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use nix::fcntl::{Flock, FlockArg};

use super::super::error::{CliError, ErrorKind};
use super::super::write_note;
use super::config::ServeConfig;
use crate::git::leave_out;
use crate::scheduler::{Ledger, now};
use crate::store::Store;

/// Opens the store of a configuration.
pub(in super::super) async fn open_ledger(config: &ServeConfig) -> Result<Ledger, CliError> {
    make_folder(&config.data)?;
    let opened = match &config.database {
        Some(url) => Store::open(checked(url)?, &shown(url)).await,
        None => Store::open_file(&config.data.join("runner.db")).await,
    };
    let store = opened.map_err(|source| {
        CliError::new(ErrorKind::Environment, "the store cannot be used").because(source)
    })?;
    let ledger = Ledger::new(store, Arc::new(now), config.labels.clone());
    Ok(ledger.telling(config.subscriptions.clone()))
}

/// Refuses what is no address of a database.
fn checked(url: &str) -> Result<&str, CliError> {
    let is_known = ["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| url.starts_with(scheme));
    if is_known && url::Url::parse(url).is_ok() {
        return Ok(url);
    }
    Err(CliError::new(
        ErrorKind::Usage,
        "the address of the database cannot be read",
    )
    .with_hint(
        "write postgres://USER:PASSWORD@HOST:PORT/NAME; what is special in a password as %XX",
    ))
}

/// Returns an address without what proves who we are.
pub(in super::super) fn shown(url: &str) -> String {
    let Ok(url) = url::Url::parse(url) else {
        return "the database".to_owned();
    };
    let port = url.port().map_or(String::new(), |port| format!(":{port}"));
    let host = url.host_str().unwrap_or_default();
    format!("{}://{host}{port}{}", url.scheme(), url.path())
}

fn make_folder(path: &Path) -> Result<(), CliError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let is_there = path.exists();
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
    })?;
    if !is_there {
        leave_out_of_git(path);
    }
    Ok(())
}

/// Keeps what is the server's own out of commits and of the workspaces of jobs, where it lies in a
/// working tree.
pub(super) fn leave_out_of_git(path: &Path) {
    let shown = path.display();
    match leave_out(path) {
        Ok(true) => write_note(&format!(
            "note: git leaves out `{shown}` (.git/info/exclude)"
        )),
        Ok(false) => {}
        Err(error) => write_note(&format!(
            "warning: `{shown}` lies in a git repository and is not ignored there ({error}): do not commit it"
        )),
    }
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
        name = new_name();
        std::fs::write(&path, &name).map_err(failed)?;
    }
    Ok(name.trim().to_owned())
}

/// Returns a name that no other machine has, and that tells people which one it is.
fn new_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let id = uuid::Uuid::now_v7().simple().to_string();
    // Its end is chance, its beginning the time.
    let end = id.get(id.len() - 12..).unwrap_or(&id);
    format!("{}-{end}", host.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (url, expected) in [
            (
                "postgres://me:geheim@db:5433/runner",
                "postgres://db:5433/runner",
            ),
            (
                "postgres://me:ge%40heim@db/runner?password=geheim",
                "postgres://db/runner",
            ),
            ("postgres://me@%2Frun/runner", "postgres://%2Frun/runner"),
        ] {
            assert_eq!(shown(checked(url).unwrap()), expected);
        }
        for wrong in [
            "runner.db",
            "mysql://me:geheim@db/x",
            "postgres://me:ge/heim@db:port/x",
        ] {
            let refused = checked(wrong).unwrap_err();
            assert!(!format!("{refused:?}").contains("heim"), "{refused:?}");
        }
    }
}
