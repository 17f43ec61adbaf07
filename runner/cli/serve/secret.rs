//! `runner secret`: the secrets that a server keeps, sealed.

use std::io::{BufRead as _, IsTerminal as _, Read as _};

use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
use serde_json::json;
use tokio::runtime::Runtime;

use super::super::arguments::Format;
use super::super::error::{CliError, ErrorKind, ExitCode};
use super::super::runs::failed;
use super::super::{write_line, write_note};
use super::arguments::{SecretScopeArguments, SecretVerb};
use super::config::{ServeConfig, Values};
use super::key;
use super::machine::open_ledger;
use crate::scheduler::{Ledger, MAX_SECRET, iso_time, now, secret_name};
use crate::store::{SecretRow, SecretScope};

/// Does what is asked of the stored secrets, whether the server is up or not.
pub(in super::super) fn secret(runtime: &Runtime, verb: &SecretVerb) -> Result<ExitCode, CliError> {
    match verb {
        SecretVerb::Set { name, scope } => {
            let config = ServeConfig::of(&scope.config, Values::Left)?;
            let (name, scope) = (named(name)?, scoped(&config, scope)?);
            let value = value_for(&name)?;
            runtime.block_on(set(&config, name, scope, &value))
        }
        SecretVerb::List { config, format } => {
            let config = ServeConfig::of(config, Values::Left)?;
            runtime.block_on(list(&config, *format))
        }
        SecretVerb::Remove { name, scope } => {
            let config = ServeConfig::of(&scope.config, Values::Left)?;
            let (name, scope) = (named(name)?, scoped(&config, scope)?);
            runtime.block_on(remove(&config, &name, &scope))
        }
    }
}

async fn set(
    config: &ServeConfig,
    name: String,
    scope: SecretScope,
    value: &str,
) -> Result<ExitCode, CliError> {
    let ledger = open_ledger(config).await?;
    let stored = ledger.secrets().await.map_err(failed)?;
    let (key, made) = key::key(config, stored.is_empty())?;
    let sealed = key.seal(&name, &scope, value).map_err(|source| {
        CliError::new(ErrorKind::Internal, "the secret could not be sealed").because(source)
    })?;
    // Two keys in one store would mean that one of them is taken for lost.
    if let Some(other) = stored.first() {
        let opened = key.open(&other.name, &other.scope, &other.sealed);
        opened.map_err(|source| {
            CliError::new(ErrorKind::Invalid, "nothing was stored: the key is not the one that the stored secrets were sealed with")
                .because(source)
                .with_hint("put that key back, or remove what it sealed: runner secret list, runner secret remove")
        })?;
    }
    let is_change = stored
        .iter()
        .any(|known| known.name == name && known.scope == scope);
    let row = SecretRow {
        name,
        scope,
        sealed,
        changed_at: now(),
    };
    ledger.set_secret(&row).await.map_err(failed)?;
    ledger.store().close().await;
    if let Some(path) = made {
        write_note(&format!(
            "made the key `{}`: keep a copy of it elsewhere, without it the secrets are lost",
            path.display()
        ));
    }
    let done = if is_change { "changed" } else { "stored" };
    write_line(&format!("{done} {} for {}", row.name, row.scope));
    Ok(ExitCode::Success)
}

async fn list(config: &ServeConfig, format: Format) -> Result<ExitCode, CliError> {
    let ledger = open_ledger(config).await?;
    let stored = ledger.secrets().await.map_err(failed)?;
    ledger.store().close().await;
    match format {
        Format::Json => {
            let secrets: Vec<_> = stored
                .iter()
                .map(|secret| {
                    json!({
                        "name": secret.name, "repository": secret.scope.repository,
                        "environment": secret.scope.environment, "event": secret.scope.event,
                        "changed_at": iso_time(secret.changed_at),
                    })
                })
                .collect();
            write_line(&json!({ "secrets": secrets }).to_string());
        }
        Format::Text => {
            for secret in &stored {
                let at = iso_time(secret.changed_at);
                write_line(&format!("{at}  {:<30}  {}", secret.name, secret.scope));
            }
        }
    }
    Ok(ExitCode::Success)
}

async fn remove(
    config: &ServeConfig,
    name: &str,
    scope: &SecretScope,
) -> Result<ExitCode, CliError> {
    let ledger = open_ledger(config).await?;
    let is_removed = ledger.remove_secret(name, scope).await.map_err(failed)?;
    let others = others_of(&ledger, name).await?;
    ledger.store().close().await;
    if is_removed {
        write_line(&format!("removed {name} for {scope}"));
        return Ok(ExitCode::Success);
    }
    let hint = if others.is_empty() {
        "the stored ones are listed by: runner secret list".to_owned()
    } else {
        format!("it is stored for: {}", others.join("; "))
    };
    Err(CliError::new(
        ErrorKind::Usage,
        format!("there is no secret {name} for {scope}"),
    )
    .with_hint(hint))
}

async fn others_of(ledger: &Ledger, name: &str) -> Result<Vec<String>, CliError> {
    let stored = ledger.secrets().await.map_err(failed)?;
    let same = stored.iter().filter(|secret| secret.name == name);
    Ok(same.map(|secret| secret.scope.to_string()).collect())
}

fn named(name: &str) -> Result<String, CliError> {
    secret_name(name).map_err(|why| {
        CliError::new(
            ErrorKind::Usage,
            format!("the name of a secret {why}: `{name}`"),
        )
    })
}

fn scoped(config: &ServeConfig, arguments: &SecretScopeArguments) -> Result<SecretScope, CliError> {
    for (flag, value) in [
        ("--environment", &arguments.environment),
        ("--event", &arguments.event),
    ] {
        if value.as_ref().is_some_and(String::is_empty) {
            return Err(CliError::new(ErrorKind::Usage, format!("{flag} is empty")));
        }
    }
    let repository = match &arguments.repository {
        // One that nobody watches would never be asked for it.
        Some(name) => Some(config.repository(Some(name))?.name.clone()),
        None => None,
    };
    Ok(SecretScope {
        environment: arguments.environment.clone(),
        repository,
        event: arguments.event.clone(),
    })
}

/// Reads a value from standard input, or asks for it where that is a terminal; the ends of lines
/// behind it are no part of it.
fn value_for(name: &str) -> Result<String, CliError> {
    let failed = |source: std::io::Error| {
        CliError::new(
            ErrorKind::Usage,
            "the value could not be read from standard input",
        )
        .because(source)
    };
    let text = if std::io::stdin().is_terminal() {
        ask(name).map_err(failed)?
    } else {
        let mut bytes = Vec::new();
        let most = u64::try_from(MAX_SECRET).unwrap_or(u64::MAX);
        std::io::stdin()
            .take(most + 3)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        String::from_utf8(bytes).map_err(|_| {
            CliError::new(ErrorKind::Usage, "the value is no text in UTF-8")
                .with_hint("store it in Base64, and decode it in the workflow")
        })?
    };
    let value = text.trim_end_matches(['\r', '\n']);
    if value.trim().is_empty() {
        return Err(CliError::new(
            ErrorKind::Usage,
            "the value is empty, and an empty one cannot be masked",
        )
        .with_hint(format!("runner secret set {name} < FILE")));
    }
    if value.len() > MAX_SECRET {
        return Err(CliError::new(
            ErrorKind::Usage,
            format!("the value is longer than {} KiB", MAX_SECRET / 1024),
        ));
    }
    Ok(value.to_owned())
}

/// Asks for a line at the terminal, which does not show it.
fn ask(name: &str) -> std::io::Result<String> {
    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin)?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    write_note(&format!("value of {name} (it is not shown):"));
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &silent)?;
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    tcsetattr(&stdin, SetArg::TCSANOW, &before)?;
    read?;
    Ok(line)
}
