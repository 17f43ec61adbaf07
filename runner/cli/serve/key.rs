//! The key of the stored secrets: where it comes from, and that nobody else can read it.

use std::fs::OpenOptions;
use std::io::{ErrorKind as IoErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::error::{CliError, ErrorKind};
use super::super::settings;
use super::config::ServeConfig;
use super::machine::leave_out_of_git;
use crate::scheduler::Vault;
use crate::store::SealingKey;

/// The variable that can hold the key.
pub(super) const VARIABLE: &str = "RUNNER_SECRETS_KEY";

/// The systemd credential that can hold it.
const CREDENTIAL: &str = "runner-secrets-key";

/// Where the key is from, or would be.
#[derive(Debug)]
enum Place {
    /// A variable of the process.
    Variable(String),
    /// A file that systemd made for this service alone.
    Credential(PathBuf),
    /// A file of our own.
    File(PathBuf),
}

/// Returns what opens the stored secrets of a server.
///
/// The key is looked for in the environment, among the credentials of systemd, and in a file beside
/// the folder of the server, in this order, once it is wanted.
pub(super) fn vault(config: &ServeConfig) -> Vault {
    let shown = place(&config.data).shown();
    let data = config.data.clone();
    let find = move || place(&data).read().map_err(|error| error.chain());
    Vault::new(shown, Arc::new(find))
}

/// Returns the key, which is made where there is none and `may_make` says so; the second is the file
/// that was made.
///
/// Errors where there is none and it may not be made, or cannot be read.
pub(super) fn key(
    config: &ServeConfig,
    may_make: bool,
) -> Result<(SealingKey, Option<PathBuf>), CliError> {
    let place = place(&config.data);
    if let Some(key) = place.read()? {
        return Ok((key, None));
    }
    let Place::File(path) = place else {
        return Err(CliError::new(
            ErrorKind::Invalid,
            format!("there is no key at {}", place.shown()),
        ));
    };
    if !may_make {
        return Err(CliError::new(
            ErrorKind::Invalid,
            format!(
                "there are stored secrets, and the key that opens them is not at `{}`",
                path.display()
            ),
        )
        .with_hint("put the key back from your backup; without it they are lost: remove each with `runner secret remove` and set it again"));
    }
    let key = SealingKey::generate();
    let written = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| {
            file.write_all(key.to_text().as_bytes())?;
            // A key that a power cut takes away takes the secrets with it.
            file.sync_all()
        });
    written.map_err(|source| {
        CliError::new(
            ErrorKind::Environment,
            format!("the key could not be written to `{}`", path.display()),
        )
        .because(source)
    })?;
    leave_out_of_git(&path);
    Ok((key, Some(path)))
}

fn place(data: &Path) -> Place {
    if let Some(text) = settings::variable(VARIABLE) {
        return Place::Variable(text);
    }
    if let Some(folder) = settings::variable("CREDENTIALS_DIRECTORY") {
        let path = Path::new(&folder).join(CREDENTIAL);
        if path.exists() {
            return Place::Credential(path);
        }
    }
    // Beside and not inside: who copies the folder of the server has not copied the key.
    let mut name = data.as_os_str().to_owned();
    name.push(".key");
    Place::File(name.into())
}

impl Place {
    fn shown(&self) -> String {
        match self {
            Self::Variable(_) => format!("the variable {VARIABLE}"),
            Self::Credential(path) | Self::File(path) => format!("`{}`", path.display()),
        }
    }

    fn read(&self) -> Result<Option<SealingKey>, CliError> {
        let text = match self {
            Self::Variable(text) => text.clone(),
            // systemd lets the service's user read it by an access list, which looks like a group.
            Self::Credential(path) => match read_file(path, 0o007)? {
                Some(text) => text,
                None => return Ok(None),
            },
            Self::File(path) => match read_file(path, 0o077)? {
                Some(text) => text,
                None => return Ok(None),
            },
        };
        SealingKey::parse(&text).map(Some).map_err(|source| {
            CliError::new(ErrorKind::Invalid, format!("{} is no key", self.shown())).because(source)
        })
    }
}

/// Returns the text of a file that nobody of `forbidden` may touch; none where there is no file.
fn read_file(path: &Path, forbidden: u32) -> Result<Option<String>, CliError> {
    let failed = |source: std::io::Error| {
        CliError::new(
            ErrorKind::Invalid,
            format!("the key `{}` could not be read", path.display()),
        )
        .because(source)
    };
    let mode = match std::fs::metadata(path) {
        Err(error) if error.kind() == IoErrorKind::NotFound => return Ok(None),
        found => found.map_err(failed)?.permissions().mode(),
    };
    if mode & forbidden != 0 {
        return Err(CliError::new(
            ErrorKind::Invalid,
            format!(
                "the key `{}` can be read by others than its owner (mode {:o})",
                path.display(),
                mode & 0o777
            ),
        )
        .with_hint(format!("chmod 600 {}", path.display())));
    }
    std::fs::read_to_string(path).map(Some).map_err(failed)
}
