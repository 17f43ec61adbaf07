//! `runner notify`: whether people can be told, and what they were told.

use tokio::runtime::Runtime;

use super::super::error::{CliError, ErrorKind, ExitCode};
use super::super::{write_line, write_note};
use super::arguments::NotifyVerb;
use super::config::{ServeConfig, Values};
use super::machine;
use crate::notify::Notice;

/// Tells a test, or lists what was told.
pub(in super::super) fn notify(runtime: &Runtime, verb: &NotifyVerb) -> Result<ExitCode, CliError> {
    match verb {
        NotifyVerb::Test { config, name } => {
            let config = ServeConfig::of(config, Values::Read)?;
            test(runtime, &config, name.as_deref())
        }
        NotifyVerb::List { config, limit } => {
            let config = ServeConfig::of(config, Values::Left)?;
            list(runtime, &config, *limit)
        }
    }
}

fn test(runtime: &Runtime, config: &ServeConfig, name: Option<&str>) -> Result<ExitCode, CliError> {
    let mut channels = config.channels.clone();
    channels.retain(|channel| name.is_none_or(|name| channel.name == name));
    if channels.is_empty() {
        let what = match name {
            Some(name) => format!("there is no `[[notify]]` called `{name}`"),
            None => "there is no `[[notify]]`".to_owned(),
        };
        return Err(CliError::new(ErrorKind::Usage, what).with_hint(
            "write one: [[notify]] with `name`, and one of `webhook`, `slack`, `email`",
        ));
    }
    let notice = Notice::test(config.subscriptions.public_url.clone());
    let mut has_failed = false;
    for channel in channels {
        match runtime.block_on(channel.tell(&notice)) {
            Ok(()) => write_line(&format!("{}: told", channel.name)),
            Err(why) => {
                has_failed = true;
                write_note(&format!("{}: not told: {why}", channel.name));
            }
        }
    }
    Ok(if has_failed {
        ExitCode::Environment
    } else {
        ExitCode::Success
    })
}

fn list(runtime: &Runtime, config: &ServeConfig, limit: u32) -> Result<ExitCode, CliError> {
    let notices = runtime.block_on(async {
        let ledger = machine::open_ledger(config).await?;
        ledger
            .notices(limit)
            .await
            .map_err(super::super::runs::failed)
    })?;
    for notice in notices {
        let subject = serde_json::from_str(&notice.body)
            .map_or(notice.subject, |body: Notice| body.subject());
        let why = match notice.error {
            Some(error) => format!(" (tried {} times: {error})", notice.tries),
            None => String::new(),
        };
        write_line(&format!(
            "{:<8} {}: {subject}{why}",
            notice.state, notice.channel
        ));
    }
    Ok(ExitCode::Success)
}
