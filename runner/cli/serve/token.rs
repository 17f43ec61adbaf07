//! `runner token`: who may ask a server, and for what.

use std::io::Read as _;
use std::time::Duration;

use serde_json::json;
use tokio::runtime::Runtime;

use super::super::arguments::Format;
use super::super::error::{CliError, ErrorKind, ExitCode};
use super::super::runs::failed;
use super::super::{write_line, write_note};
use super::arguments::TokenVerb;
use super::config::{ServeConfig, Values};
use super::machine::open_ledger;
use crate::run::Timestamp;
use crate::scheduler::{AccessScope, NewToken, allowed_by, iso_time, now};
use crate::store::TokenRow;

/// The longest name of a token.
const MAX_NAME: usize = 100;

/// Does what is asked of the tokens, whether the server is up or not.
pub(in super::super) fn token(runtime: &Runtime, verb: &TokenVerb) -> Result<ExitCode, CliError> {
    let (TokenVerb::Create { config, .. }
    | TokenVerb::List { config, .. }
    | TokenVerb::Revoke { config, .. }) = verb;
    let config = ServeConfig::of(config, Values::Left)?;
    runtime.block_on(async {
        match verb {
            TokenVerb::Create {
                name,
                scope,
                expires,
                ..
            } => create(&config, name, (*scope).into(), expires).await,
            TokenVerb::List { format, .. } => list(&config, *format).await,
            TokenVerb::Revoke { token, .. } => revoke(&config, token).await,
        }
    })
}

async fn create(
    config: &ServeConfig,
    name: &str,
    scope: AccessScope,
    expires: &str,
) -> Result<ExitCode, CliError> {
    let usage = |what: String| CliError::new(ErrorKind::Usage, what);
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(usage(format!(
            "the name of a token is one line of 1 to {MAX_NAME} characters"
        )));
    }
    let now = now();
    let expires_at = match expires {
        "never" => None,
        text => {
            let lasts = humantime::parse_duration(text)
                .map_err(|error| usage(format!("--expires: {error}; write `90d` or `never`")))?;
            Some(end(now, lasts).ok_or_else(|| usage("--expires: that is too long".to_owned()))?)
        }
    };
    let new = NewToken::new(name, scope, now, expires_at, &random()?);
    let ledger = open_ledger(config).await?;
    let known = ledger.tokens().await.map_err(failed)?;
    if known
        .iter()
        .any(|row| row.name == name && allowed_by(row, now).is_some())
    {
        return Err(usage(format!("there is a token `{name}` already"))
            .with_hint(format!("revoke that one first: runner token revoke {name}")));
    }
    ledger.add_token(&new.row).await.map_err(failed)?;
    ledger.store().close().await;
    write_note(&format!(
        "made the token `{name}`: {}, {}; it is shown this once",
        scope.as_str(),
        until(&new.row)
    ));
    write_line(&new.token);
    Ok(ExitCode::Success)
}

async fn list(config: &ServeConfig, format: Format) -> Result<ExitCode, CliError> {
    let ledger = open_ledger(config).await?;
    let tokens = ledger.tokens().await.map_err(failed)?;
    ledger.store().close().await;
    let state = |row: &TokenRow| match (row.revoked_at, allowed_by(row, now())) {
        (Some(_), _) => "revoked",
        (None, None) => "expired",
        (None, Some(_)) => "counts",
    };
    match format {
        Format::Json => {
            let tokens: Vec<_> = tokens
                .iter()
                .map(|row| {
                    json!({
                        "id": row.id, "name": row.name, "scope": row.scope, "state": state(row),
                        "created_at": iso_time(row.created_at), "expires_at": row.expires_at.map(iso_time),
                        "revoked_at": row.revoked_at.map(iso_time),
                    })
                })
                .collect();
            write_line(&json!({ "tokens": tokens }).to_string());
        }
        Format::Text => {
            for row in &tokens {
                write_line(&format!(
                    "{}  {:<7}  {:<5}  {}  {}",
                    row.id,
                    state(row),
                    row.scope,
                    until(row),
                    row.name
                ));
            }
        }
    }
    Ok(ExitCode::Success)
}

async fn revoke(config: &ServeConfig, wanted: &str) -> Result<ExitCode, CliError> {
    let ledger = open_ledger(config).await?;
    let tokens = ledger.tokens().await.map_err(failed)?;
    let mut revoked = 0;
    for row in tokens
        .iter()
        .filter(|row| row.id == wanted || row.name == wanted)
    {
        if ledger.revoke_token(&row.id).await.map_err(failed)? {
            revoked += 1;
            write_line(&format!("revoked {} `{}`", row.id, row.name));
        }
    }
    ledger.store().close().await;
    if revoked == 0 {
        return Err(CliError::new(
            ErrorKind::Usage,
            format!("there is no token `{wanted}` that is not revoked"),
        )
        .with_hint("a name or an id of: runner token list"));
    }
    Ok(ExitCode::Success)
}

fn until(row: &TokenRow) -> String {
    row.expires_at.map_or_else(
        || "for ever".to_owned(),
        |end| format!("until {}", iso_time(end)),
    )
}

fn end(now: Timestamp, lasts: Duration) -> Option<Timestamp> {
    let milliseconds = i64::try_from(lasts.as_millis()).ok()?;
    now.0.checked_add(milliseconds).map(Timestamp)
}

/// Returns random bytes of the machine's generator.
fn random() -> Result<[u8; 40], CliError> {
    let mut bytes = [0; 40];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|source| {
            CliError::new(
                ErrorKind::Environment,
                "the machine's random numbers cannot be read",
            )
            .because(source)
        })?;
    Ok(bytes)
}
