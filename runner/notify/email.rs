//! Tells by e-mail.

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};

use super::channel::{ChannelError, Undelivered};
use super::notice::Notice;
use crate::diagnostic::chain;

/// How long a server may take.
const LIMIT: Duration = Duration::from_secs(60);

/// How the connection to a server of e-mail is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpTls {
    /// From its first byte, as on port 465.
    Wrapped,
    /// By `STARTTLS`, as on port 587; without it nothing is sent.
    StartTls,
    /// Not at all: for a server on this machine.
    None,
}

/// A server of e-mail, and who writes to whom.
#[derive(Debug, Clone)]
pub struct Email {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl Email {
    /// Returns the way by a server at `host`, `port` where `user` and a password are given or not.
    pub fn new(
        (host, port): (&str, u16),
        tls: SmtpTls,
        user: Option<(String, String)>,
        from: &str,
        to: &[String],
    ) -> Result<Self, ChannelError> {
        let mailbox = |text: &str| {
            text.parse::<Mailbox>()
                .map_err(|error| ChannelError(format!("`{text}` is no address of e-mail: {error}")))
        };
        if to.is_empty() {
            return Err(ChannelError("its `to` names nobody".to_owned()));
        }
        let parameters = || {
            TlsParameters::new(host.to_owned())
                .map_err(|error| ChannelError(format!("TLS to {host}: {}", chain(&error))))
        };
        let tls = match tls {
            SmtpTls::Wrapped => Tls::Wrapper(parameters()?),
            SmtpTls::StartTls => Tls::Required(parameters()?),
            SmtpTls::None => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(port)
            .tls(tls)
            .timeout(Some(LIMIT));
        if let Some((user, password)) = user {
            builder = builder.credentials(Credentials::new(user, password));
        }
        Ok(Self {
            transport: builder.build(),
            from: mailbox(from)?,
            to: to.iter().map(|to| mailbox(to)).collect::<Result<_, _>>()?,
        })
    }

    /// Sends one letter to all.
    pub(super) async fn tell(&self, notice: &Notice) -> Result<(), Undelivered> {
        let mut letter = Message::builder()
            .from(self.from.clone())
            .subject(notice.subject());
        for to in &self.to {
            letter = letter.to(to.clone());
        }
        let letter = letter
            .body(notice.text())
            .map_err(|error| Undelivered::Never(chain(&error)))?;
        let sent = tokio::time::timeout(LIMIT, self.transport.send(letter)).await;
        match sent {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                let why = chain(&error);
                // A server that refuses a password or a sender for good can still be mended here.
                Err(Undelivered::Later(why))
            }
            Err(_) => Err(Undelivered::Later(format!(
                "no answer came within {}",
                humantime::format_duration(LIMIT)
            ))),
        }
    }
}
