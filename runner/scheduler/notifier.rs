//! Tells people by one channel, in order, each thing until it arrives.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::ledger::{Ledger, LedgerError};
use super::outbox::{TICK, backoff, next_try};
use crate::diagnostic::chain;
use crate::notify::{Channel, Undelivered};

/// For how long one machine tells what all of them write: longer than any try takes.
const TURN: Duration = Duration::from_secs(120);

/// Tells by one channel.
#[derive(Debug, Clone)]
pub struct Notifier {
    /// Where the notices are.
    pub ledger: Ledger,
    /// The machine's name in the store.
    pub machine: String,
    /// How they are told.
    pub channel: Channel,
}

impl Notifier {
    /// Tells until it is stopped.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let changed = self.ledger.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Err(error) = self.tell_due(&stop).await {
                tracing::error!(channel = self.channel.name, error = %chain(&error), "notices wait");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = &mut changed => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    /// Tells what is due; what fails is tried again later, and holds up what is newer of its
    /// repository, nothing else.
    async fn tell_due(&self, stop: &CancellationToken) -> Result<(), LedgerError> {
        for notice in self.ledger.due_notices(&self.channel.name).await? {
            // Each once: of the machines that share the store one tells.
            let name = format!("notices {}", self.channel.name);
            let is_ours = self.ledger.hold(&name, &self.machine, TURN).await?;
            if stop.is_cancelled() || !is_ours {
                return Ok(());
            }
            let told = match serde_json::from_str(&notice.body) {
                Ok(body) => self.channel.tell(&body).await,
                Err(error) => Err(Undelivered::Never(format!("it cannot be read: {error}"))),
            };
            match told {
                Ok(()) => self.ledger.notice_sent(&notice).await?,
                Err(Undelivered::Never(why)) => {
                    tracing::error!(subject = notice.subject, "it is refused for good: {why}");
                    self.ledger.notice_failed(&notice, &why, None).await?;
                }
                Err(Undelivered::Later(why)) => {
                    if notice.tries == 0 {
                        tracing::warn!(subject = notice.subject, "it is told later: {why}");
                    }
                    let next =
                        next_try(notice.created_at, self.ledger.now(), backoff(notice.tries));
                    self.ledger.notice_failed(&notice, &why, next).await?;
                    // What is newer of the same repository must not be told before it.
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
