//! What the service manager is told: that the server is ready, lives, is degraded, stops.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use crate::scheduler::{Ledger, Room};
use crate::store::RunFilter;

/// How often the status is told where no watchdog wants to hear more often.
const EVERY: Duration = Duration::from_secs(30);

/// Says that the server is ready.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Says that the server stops.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says that the server lives, as often as the watchdog wants to hear it, and how it stands.
///
/// It is said only after the ledger answered, whatever: a database that is away is no reason to
/// start a server anew, one that hangs is.
pub(super) async fn heartbeat(ledger: Ledger, room: Room, stop: CancellationToken) {
    let mut limit = 0;
    let watched = sd_notify::watchdog_enabled(false, &mut limit).then_some(limit);
    let every = watched.map_or(EVERY, |limit| (Duration::from_micros(limit) / 3).min(EVERY));
    loop {
        let filter = RunFilter {
            limit: Some(1),
            ..RunFilter::default()
        };
        let status = match (ledger.runs(&filter).await, room.lack()) {
            (Err(_), _) => "degraded: the store does not answer".to_owned(),
            (Ok(_), Some(why)) => format!("degraded: {why}"),
            (Ok(_), None) => "ready".to_owned(),
        };
        let status = NotifyState::Status(&status);
        match watched {
            Some(_) => tell(&[status, NotifyState::Watchdog]),
            None => tell(&[status]),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
    }
}

/// Tells the service manager, if there is one.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, states) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
