//! `[[notify]]` of `runner.toml`: who is told of what, and how.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::super::error::{CliError, ErrorKind};
use super::config::{Value, Values};
use crate::diagnostic::chain;
use crate::notify::{Channel, ChannelError, Email, Means, NoticeKind, SmtpTls, Template, Webhook};
use crate::scheduler::{Subscription, Subscriptions};

/// A table as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct WrittenChannel {
    name: String,
    #[serde(default)]
    on: Option<Vec<Told>>,
    #[serde(default)]
    repositories: Vec<String>,
    webhook: Option<WrittenWebhook>,
    slack: Option<Value>,
    email: Option<WrittenEmail>,
}

/// What one can be told of.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Told {
    DeployFailed,
    Broken,
    Recovered,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenWebhook {
    url: Value,
    template: Option<PathBuf>,
    content_type: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenEmail {
    server: String,
    tls: Option<WrittenTls>,
    user: Option<String>,
    password: Option<Value>,
    from: String,
    to: Vec<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenTls {
    Tls,
    Starttls,
    None,
}

/// Refuses what is there twice and repositories that nobody watches; errors in words.
pub(super) fn check(subscriptions: &Subscriptions, repositories: &[&str]) -> Result<(), String> {
    let mut names = HashSet::new();
    for Subscription {
        channel,
        repositories: wanted,
        ..
    } in &subscriptions.all
    {
        if !names.insert(channel) {
            return Err(format!("`notify` {channel} is there twice"));
        }
        let is_unknown = |name: &&String| !repositories.contains(&name.as_str());
        if let Some(name) = wanted.iter().find(is_unknown) {
            return Err(format!(
                "`notify` {channel}: the repository `{name}` is not watched"
            ));
        }
    }
    Ok(())
}

impl WrittenChannel {
    /// Returns who is told of what, without how.
    pub(super) fn subscription(&self) -> Subscription {
        let all = [Told::DeployFailed, Told::Broken, Told::Recovered];
        let kinds = self.on.as_deref().unwrap_or(&all).iter();
        Subscription {
            channel: self.name.clone(),
            kinds: kinds
                .map(|told| match told {
                    Told::DeployFailed => NoticeKind::DeployFailed,
                    Told::Broken => NoticeKind::Broken,
                    Told::Recovered => NoticeKind::Recovered,
                })
                .collect(),
            repositories: self.repositories.clone(),
        }
    }

    /// Returns how it is told; none where the values of secrets are left alone.
    pub(super) fn channel(
        &self,
        folder: &Path,
        values: Values,
    ) -> Result<Option<Channel>, CliError> {
        let what = format!("`notify` {}", self.name);
        let invalid = |error: ChannelError| {
            CliError::new(
                ErrorKind::Invalid,
                format!("{what} cannot be used: {error}"),
            )
        };
        let ways = [
            self.webhook.is_some(),
            self.slack.is_some(),
            self.email.is_some(),
        ];
        if ways.iter().filter(|way| **way).count() != 1 {
            return Err(invalid(ChannelError(
                "it wants one of `webhook`, `slack` and `email`".to_owned(),
            )));
        }
        if values == Values::Left {
            return Ok(None);
        }
        let means = if let Some(webhook) = &self.webhook {
            let url = webhook.url.read(&format!("{what}: `url`"), folder)?;
            let template = match &webhook.template {
                None => None,
                Some(path) => Some(template(&folder.join(path)).map_err(invalid)?),
            };
            let content_type = webhook.content_type.as_deref();
            let webhook = Webhook::new(&url, template, content_type).map_err(invalid)?;
            Means::Webhook(Box::new(webhook))
        } else if let Some(url) = &self.slack {
            let url = url.read(&format!("{what}: `slack`"), folder)?;
            Means::Webhook(Box::new(Webhook::slack(&url).map_err(invalid)?))
        } else if let Some(email) = &self.email {
            let password = match &email.password {
                None => None,
                Some(value) => Some(value.read(&format!("{what}: `password`"), folder)?),
            };
            Means::Email(Box::new(email.read(password).map_err(invalid)?))
        } else {
            return Ok(None);
        };
        Ok(Some(Channel {
            name: self.name.clone(),
            means,
        }))
    }
}

fn template(path: &Path) -> Result<Template, ChannelError> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| ChannelError(format!("`{shown}` could not be read: {error}")))?;
    Template::read(&text).map_err(|error| ChannelError(format!("`{shown}`: {}", chain(&error))))
}

impl WrittenEmail {
    fn read(&self, password: Option<String>) -> Result<Email, ChannelError> {
        let place = self
            .server
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host, port.parse().ok()?)))
            .filter(|(host, _)| !host.is_empty());
        let Some((host, port)) = place else {
            let wrong = format!("`server` is `HOST:PORT`, not `{}`", self.server);
            return Err(ChannelError(wrong));
        };
        let tls = match (self.tls, port) {
            (Some(WrittenTls::Tls), _) | (None, 465) => SmtpTls::Wrapped,
            (Some(WrittenTls::None), _) => SmtpTls::None,
            (Some(WrittenTls::Starttls) | None, _) => SmtpTls::StartTls,
        };
        let user = match (&self.user, password) {
            (Some(user), Some(password)) => Some((user.clone(), password)),
            (None, None) => None,
            _ => {
                let wrong = "`user` and `password` belong together".to_owned();
                return Err(ChannelError(wrong));
            }
        };
        Email::new((host, port), tls, user, &self.from, &self.to)
    }
}
