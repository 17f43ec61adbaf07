//! Sends spans to a collector, aside: what it cannot do harms nobody but itself.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::collector::{Collector, CollectorError};
use super::otlp;
use super::span::Spans;
use crate::diagnostic::chain;

/// How many spans wait at most.
const MOST: usize = 4096;

/// About how many are sent at once.
const BATCH: usize = 512;

/// How long spans are collected before they are sent.
const DELAY: Duration = Duration::from_millis(500);

/// How often a batch is tried before it is given up: for about two minutes.
const TRIES: u32 = 8;

/// The longest pause between two tries.
const PAUSE: Duration = Duration::from_secs(30);

/// How long the end of the process waits for what is left.
const LAST: Duration = Duration::from_secs(5);

/// More of an answer is never read.
const MAX_ANSWER: usize = 64 * 1024;

/// How many spans went which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// The collector has them.
    pub sent: u64,
    /// They are lost: there was no place for them, or the collector did not take them.
    pub dropped: u64,
}

#[derive(Debug, Default)]
struct Waiting {
    told: VecDeque<Spans>,
    /// How many spans are in there.
    count: usize,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    filled: Notify,
    sent: AtomicU64,
    dropped: AtomicU64,
}

/// Takes spans, and never waits; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Exporter(Arc<Shared>);

impl Exporter {
    /// Takes spans to be sent; those for which there is no place are counted as dropped.
    pub fn tell(&self, spans: &Spans) {
        for part in spans.spans.chunks(BATCH) {
            let mut waiting = self.waiting();
            if waiting.count + part.len() > MOST {
                drop(waiting);
                self.dropped(part.len());
                continue;
            }
            waiting.count += part.len();
            waiting.told.push_back(Spans {
                resource: spans.resource.clone(),
                spans: part.to_vec(),
            });
            drop(waiting);
            self.0.filled.notify_one();
        }
    }

    /// Counts spans that are lost before they could be told.
    pub fn dropped(&self, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.0.dropped.fetch_add(count, Ordering::Relaxed);
    }

    /// Returns how many spans went which way since this process began.
    pub fn counts(&self) -> Counts {
        Counts {
            sent: self.0.sent.load(Ordering::Relaxed),
            dropped: self.0.dropped.load(Ordering::Relaxed),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        let waiting = self.0.waiting.lock();
        waiting.unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what is sent next, at least one of those that wait.
    fn take(&self) -> Vec<Spans> {
        let mut waiting = self.waiting();
        let (mut taken, mut count) = (Vec::new(), 0);
        while let Some(next) = waiting.told.front() {
            let more = next.spans.len();
            if count > 0 && count + more > BATCH {
                break;
            }
            count += more;
            taken.extend(waiting.told.pop_front());
        }
        waiting.count -= count;
        taken
    }
}

/// Why a collector has not taken a request.
#[derive(Debug)]
enum Untaken {
    /// It can take it later; after this time, if it says so.
    Later(String, Option<Duration>),
    /// It never will.
    Never(String),
}

/// Sends what an [`Exporter`] takes.
pub struct Sending {
    exporter: Exporter,
    collector: Collector,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl std::fmt::Debug for Sending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sending")
            .field("collector", &self.collector)
            .finish_non_exhaustive()
    }
}

impl Sending {
    /// Returns who sends to a collector, and who takes what is sent.
    pub fn new(collector: Collector) -> Result<(Exporter, Self), CollectorError> {
        let provider = tokio_rustls::rustls::crypto::aws_lc_rs::default_provider();
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)
            .map_err(|error| {
                CollectorError(format!(
                    "the certificates of this machine cannot be read: {error}"
                ))
            })?
            .https_or_http()
            .enable_http1()
            .build();
        let exporter = Exporter::default();
        let sending = Self {
            exporter: exporter.clone(),
            collector,
            client: Client::builder(TokioExecutor::new()).build(connector),
        };
        Ok((exporter, sending))
    }

    /// Asks whether the collector takes anything: sends it nothing. Errors in words.
    pub async fn probe(&self) -> Result<(), String> {
        let nothing = otlp::request(&self.collector.about, &[]).to_string();
        match self.exchange(Bytes::from(nothing)).await {
            Ok(_) => Ok(()),
            Err(Untaken::Later(why, _) | Untaken::Never(why)) => Err(why),
        }
    }

    /// Sends until it is stopped, and then what is left, for a few seconds.
    pub async fn run(self, stop: CancellationToken) {
        let (mut is_silent, mut last) = (false, None);
        loop {
            let filled = self.exporter.0.filled.notified();
            let told = self.exporter.take();
            if told.is_empty() {
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = filled => {}
                }
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = sleep(DELAY) => {}
                }
                continue;
            }
            self.send(&told, (&stop, &mut last), &mut is_silent).await;
        }
    }

    /// Sends a batch, however often it takes within bounds, and counts what became of it.
    ///
    /// Once it is stopped, all that is left has a few seconds; `last` is when they are over.
    async fn send(
        &self,
        told: &[Spans],
        (stop, last): (&CancellationToken, &mut Option<Instant>),
        is_silent: &mut bool,
    ) {
        let count: usize = told.iter().map(|spans| spans.spans.len()).sum();
        let body = otlp::request(&self.collector.about, told).to_string();
        let body = Bytes::from(body);
        let tries = async {
            let mut tries = 1;
            loop {
                let (why, wait) = match self.exchange(body.clone()).await {
                    Ok(refused) => return Ok(refused),
                    Err(Untaken::Never(why)) => return Err(why),
                    Err(Untaken::Later(why, wait)) => (why, wait),
                };
                if tries >= TRIES || stop.is_cancelled() {
                    return Err(why);
                }
                let pause = Duration::from_secs(1 << tries.min(5)).min(PAUSE);
                tries += 1;
                tokio::select! {
                    // One more try, at once.
                    () = stop.cancelled() => {}
                    () = sleep(wait.unwrap_or(pause).min(PAUSE)) => {}
                }
            }
        };
        let ending = async {
            stop.cancelled().await;
            sleep_until(*last.get_or_insert_with(|| Instant::now() + LAST)).await;
        };
        let done = tokio::select! {
            done = tries => done,
            () = ending => Err("the time was over".to_owned()),
        };
        match done {
            Ok(refused) => {
                let refused = refused.min(count);
                let sent = u64::try_from(count - refused).unwrap_or(0);
                self.exporter.0.sent.fetch_add(sent, Ordering::Relaxed);
                self.exporter.dropped(refused);
                *is_silent = false;
            }
            Err(why) => {
                self.exporter.dropped(count);
                if !std::mem::replace(is_silent, true) {
                    tracing::warn!("the collector of traces has not taken {count} spans: {why}");
                }
            }
        }
    }

    /// Sends one request; returns how many of its spans were refused.
    async fn exchange(&self, body: Bytes) -> Result<usize, Untaken> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.collector.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("runner/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .map_err(|error| Untaken::Never(error.to_string()))?;
        for (name, value) in &self.collector.headers {
            request.headers_mut().insert(name.clone(), value.clone());
        }
        let exchange = async {
            let answer = self.client.request(request).await;
            let answer = answer.map_err(|error| Untaken::Later(self.said(&chain(&error)), None))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await;
            let text = body.map_or_else(|_| Bytes::new(), |body| body.to_bytes());
            self.judge(head.status, &head.headers, &text)
        };
        let limit = self.collector.timeout;
        timeout(limit, exchange).await.unwrap_or_else(|_| {
            let limit = humantime::format_duration(limit);
            let why = self.said(&format!("no answer came within {limit}"));
            Err(Untaken::Later(why, None))
        })
    }

    /// Says what an answer means.
    ///
    /// Source: OpenTelemetry, "OTLP Specification", OTLP/HTTP Response: what can be tried again, and
    /// partial success.
    fn judge(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        text: &[u8],
    ) -> Result<usize, Untaken> {
        if status.is_success() {
            let answer: serde_json::Value = serde_json::from_slice(text).unwrap_or_default();
            let refused = answer.pointer("/partialSuccess/rejectedSpans");
            let refused = refused.and_then(number);
            return Ok(refused.map_or(0, |count| usize::try_from(count).unwrap_or(usize::MAX)));
        }
        let why = self.said(&status.to_string());
        match status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                let wait = headers.get(RETRY_AFTER).and_then(|wait| wait.to_str().ok());
                let wait = wait.and_then(|wait| wait.trim().parse().ok());
                Err(Untaken::Later(why, wait.map(Duration::from_secs)))
            }
            _ => Err(Untaken::Never(why)),
        }
    }

    fn said(&self, what: &str) -> String {
        format!("{}: {what}", self.collector.url.host().unwrap_or_default())
    }
}

/// Reads a 64-bit number: it is a text in the JSON of OTLP, and not everybody knows.
fn number(value: &serde_json::Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_number_is_read_from_a_number_and_from_a_text() {
        for (value, read) in [
            (json!(7), Some(7)),
            (json!("7"), Some(7)),
            (json!("x"), None),
            (json!(null), None),
        ] {
            assert_eq!(number(&value), read, "{value}");
        }
    }
}
