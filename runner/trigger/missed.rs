//! Deliveries that never arrived: GitHub sends none twice by itself, but tells of them when asked.

use std::collections::HashSet;
use std::time::Duration;

use chrono::DateTime;
use serde_json::Value as Json;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::pace::Pace;
use crate::diagnostic::chain;
use crate::github::{Failure, GitHub};
use crate::run::Timestamp;
use crate::scheduler::{Ledger, LedgerError};
use crate::store::DeliveryRow;

/// How far before the last look a look begins: clocks differ, and a delivery takes its time.
const OVERLAP: i64 = 10 * 60 * 1000;

/// Where our server takes webhooks.
const PATH: &str = "/webhooks/github";

/// The longest time between two looks where GitHub cannot be asked.
const MAX_PAUSE: Duration = Duration::from_secs(30 * 60);

/// Whose deliveries are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookSource {
    /// Those of a repository's webhooks that lead to this server.
    Repository {
        /// `owner/name`.
        name: String,
        /// Where this server is seen from outside, if that is known.
        public_url: Option<String>,
    },
    /// Those of the App.
    App,
}

/// It could not be looked for missed deliveries.
#[derive(Debug, Error)]
enum MissedError {
    /// GitHub's, or the network's.
    #[error("GitHub could not be asked for missed deliveries: {0}")]
    GitHub(String),
    /// The store's.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<Failure> for MissedError {
    fn from(failure: Failure) -> Self {
        Self::GitHub(failure.words().to_owned())
    }
}

/// Asks GitHub what it delivered, and puts into the inbox what never arrived there.
#[derive(Debug, Clone)]
pub struct Missed {
    /// Where the inbox is.
    pub ledger: Ledger,
    /// Who asks.
    pub github: GitHub,
    /// Whose deliveries.
    pub source: HookSource,
    /// The time between two looks.
    pub every: Duration,
}

impl Missed {
    /// Looks until it is stopped, at once and then again and again.
    ///
    /// What fails is said once, and tried again later and later.
    pub async fn run(self, stop: CancellationToken) {
        let mut pace = Pace::new(self.every, MAX_PAUSE);
        loop {
            let looked = tokio::select! {
                () = stop.cancelled() => return,
                looked = self.look() => looked,
            };
            match looked {
                Ok(taken) => {
                    if taken > 0 {
                        tracing::warn!(taken, source = ?self.source, "deliveries were missed, and are taken in now");
                    }
                    pace.went_well();
                }
                Err(error) => {
                    if pace.failed() {
                        tracing::error!(source = ?self.source, "{}", chain(&error));
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pace.pause()) => {}
            }
        }
    }

    /// Looks once at each webhook; returns how many deliveries had not arrived.
    async fn look(&self) -> Result<usize, MissedError> {
        let routes = match &self.source {
            HookSource::App => vec!["/app/hook/deliveries".to_owned()],
            HookSource::Repository { name, public_url } => {
                let list = format!("/repos/{name}/hooks?per_page=100");
                let hooks = self.github.get(&list).await?;
                own_hooks(&hooks, public_url.as_deref())
                    .iter()
                    .map(|id| format!("/repos/{name}/hooks/{id}/deliveries"))
                    .collect()
            }
        };
        let mut taken = 0;
        for route in routes {
            taken += self.look_at(&route).await?;
        }
        Ok(taken)
    }

    /// Takes in what one webhook delivered since the last look and did not arrive.
    ///
    /// The first look only remembers the time: what happened before starts nothing.
    async fn look_at(&self, route: &str) -> Result<usize, MissedError> {
        let begun = self.ledger.now();
        let Some(mark) = self.ledger.delivery_mark(route).await? else {
            let first = Timestamp(begun.0 + OVERLAP);
            self.ledger.set_delivery_mark(route, first).await?;
            return Ok(0);
        };
        let mut missing = self.missing(route, mark.0 - OVERLAP).await?;
        // The list begins with the newest.
        missing.reverse();
        let taken = missing.len();
        for listed in missing {
            let whole = self
                .github
                .get(&format!("{route}/{}", listed.number))
                .await?;
            if let Some(row) = self.row(listed, &whole) {
                self.ledger.deliver(&row).await?;
            }
        }
        let mark = mark.max(begun);
        self.ledger.set_delivery_mark(route, mark).await?;
        Ok(taken)
    }

    /// Returns what was delivered since then and is not in the inbox, each once.
    async fn missing(&self, route: &str, since: i64) -> Result<Vec<Listed>, MissedError> {
        let mut seen = HashSet::new();
        let mut missing = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let from = cursor.map_or(String::new(), |cursor| {
                let cursor: String =
                    url::form_urlencoded::byte_serialize(cursor.as_bytes()).collect();
                format!("&cursor={cursor}")
            });
            let page = self
                .github
                .page(&format!("{route}?per_page=100{from}"))
                .await?;
            let listed: Vec<Listed> = page.items.iter().filter_map(Listed::read).collect();
            let is_past = listed.iter().any(|listed| listed.at < since);
            for listed in listed.into_iter().filter(|listed| listed.at >= since) {
                // A delivery that was tried again has the same name.
                if seen.insert(listed.guid.clone())
                    && !self.ledger.has_delivery(&listed.guid).await?
                {
                    missing.push(listed);
                }
            }
            cursor = page.next;
            if is_past || cursor.is_none() {
                return Ok(missing);
            }
        }
    }

    /// Returns a delivery as it would have arrived; none where GitHub does not say what was in it.
    fn row(&self, listed: Listed, whole: &Json) -> Option<DeliveryRow> {
        let payload = whole
            .pointer("/request/payload")
            .filter(|payload| payload.is_object())?;
        let repository = payload
            .pointer("/repository/full_name")
            .and_then(Json::as_str);
        Some(DeliveryRow {
            id: listed.guid,
            repository: repository.unwrap_or_default().to_owned(),
            event: listed.event,
            payload: payload.to_string(),
            state: "new".to_owned(),
            note: String::new(),
            received_at: self.ledger.now(),
        })
    }
}

/// A delivery as it is listed.
#[derive(Debug)]
struct Listed {
    number: u64,
    guid: String,
    event: String,
    at: i64,
}

impl Listed {
    fn read(item: &Json) -> Option<Self> {
        let text = |key: &str| item.get(key).and_then(Json::as_str);
        Some(Self {
            number: item.get("id")?.as_u64()?,
            guid: text("guid")?.to_owned(),
            event: text("event")?.to_owned(),
            at: DateTime::parse_from_rfc3339(text("delivered_at")?)
                .ok()?
                .timestamp_millis(),
        })
    }
}

/// Returns the numbers of the webhooks that lead to this server.
fn own_hooks(hooks: &Json, public_url: Option<&str>) -> Vec<u64> {
    let is_own = |url: &str| match public_url {
        Some(public) => url == format!("{}{PATH}", public.trim_end_matches('/')),
        None => url.ends_with(PATH),
    };
    let all = hooks.as_array().into_iter().flatten();
    all.filter(|hook| {
        let url = hook.pointer("/config/url").and_then(Json::as_str);
        url.is_some_and(is_own)
    })
    .filter_map(|hook| hook.get("id")?.as_u64())
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_webhooks_that_lead_here_are_looked_at() {
        let hooks = json!([
            {"id": 1, "config": {"url": "https://ci.example.com/webhooks/github"}},
            {"id": 2, "config": {"url": "https://staging.example.com/webhooks/github"}},
            {"id": 3, "config": {"url": "https://chat.example.com/hook"}},
            {"id": 4, "config": {}},
        ]);
        assert_eq!(own_hooks(&hooks, Some("https://ci.example.com/")), [1]);
        assert_eq!(own_hooks(&hooks, None), [1, 2]);
        assert_eq!(own_hooks(&json!({"message": "no"}), None), [0_u64; 0]);
    }
}
