//! A way to people.

use thiserror::Error;

use super::email::Email;
use super::notice::Notice;
use super::webhook::Webhook;

/// Something could not be told.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Undelivered {
    /// It can arrive later.
    #[error("{0}")]
    Later(String),
    /// It never will.
    #[error("{0}")]
    Never(String),
}

/// A channel cannot be made of what is written of it; whose file it is has to mend it.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct ChannelError(pub String);

/// How a channel tells.
#[derive(Debug, Clone)]
pub enum Means {
    /// By a request with JSON or what a template makes.
    Webhook(Box<Webhook>),
    /// By e-mail.
    Email(Box<Email>),
}

/// A way to people; cheap to clone.
#[derive(Debug, Clone)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// How it tells.
    pub means: Means,
}

impl Channel {
    /// Tells something once.
    ///
    /// What is said of a failure holds no address of a webhook: it can be a secret.
    pub async fn tell(&self, notice: &Notice) -> Result<(), Undelivered> {
        match &self.means {
            Means::Webhook(webhook) => webhook.tell(notice).await,
            Means::Email(email) => email.tell(notice).await,
        }
    }
}
