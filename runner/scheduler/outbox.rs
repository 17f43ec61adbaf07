//! Sends what GitHub is to show: in order, the newest of each subject, until it arrives.

use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::ledger::{Ledger, LedgerError};
use super::post::Post;
use crate::diagnostic::chain;
use crate::github::{Failure, GitHub};
use crate::run::Timestamp;
use crate::store::PostRow;

/// How long a post is tried before it is given up.
const GIVE_UP: Duration = Duration::from_secs(72 * 60 * 60);

/// The longest time between two tries.
const MAX_PAUSE: Duration = Duration::from_secs(600);

/// How often the outbox is looked into when nothing hints that it should be.
const TICK: Duration = Duration::from_secs(1);

/// Sends the posts of one repository, one after the other.
#[derive(Debug, Clone)]
pub struct Outbox {
    /// Where the posts are.
    pub ledger: Ledger,
    /// Whose posts: `owner/name`.
    pub repository: String,
    /// The machine's name in the store.
    pub machine: String,
    /// For how long one of the machines that share a store sends for all of them.
    pub turn: Duration,
    /// Who sends them.
    pub github: GitHub,
    /// The least time between two requests that change something.
    ///
    /// Source: GitHub, "Best practices for using the REST API": at least one second.
    pub pause: Duration,
}

impl Outbox {
    /// Sends until it is stopped.
    pub async fn run(self, stop: CancellationToken) {
        let mut free_at = Instant::now();
        loop {
            let changed = self.ledger.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.send_due(&mut free_at, &stop).await {
                Ok(()) => {}
                Err(error) => {
                    tracing::error!(repository = self.repository, error = %chain(&error), "posts to GitHub wait");
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = &mut changed => {}
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    async fn send_due(
        &self,
        free_at: &mut Instant,
        stop: &CancellationToken,
    ) -> Result<(), LedgerError> {
        loop {
            let now = self.ledger.now();
            let waiting = self.ledger.waiting_posts(&self.repository).await?;
            let Some(post) = waiting.into_iter().find(|post| post.next_at <= now) else {
                return Ok(());
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = sleep_until(*free_at) => {}
            }
            // In order, and each once: of the machines that share the store one sends.
            let name = format!("outbox {}", self.repository);
            if !self.ledger.hold(&name, &self.machine, self.turn).await? {
                return Ok(());
            }
            match self.send(&post).await {
                Ok(remote_id) => {
                    *free_at = Instant::now() + self.pause;
                    self.ledger.post_sent(&post, remote_id.as_deref()).await?;
                }
                Err(Failure::Never(why)) => {
                    tracing::error!(subject = post.subject, "GitHub refuses it for good: {why}");
                    self.ledger.post_failed(&post, &why, None).await?;
                }
                Err(Failure::Later(wait, why)) => {
                    let pause = wait.unwrap_or_else(|| backoff(post.tries));
                    if post.tries == 0 {
                        tracing::warn!(subject = post.subject, "GitHub is told later: {why}");
                    }
                    // What GitHub says of one request counts for all of the same token.
                    *free_at = Instant::now() + wait.unwrap_or(self.pause);
                    let next = next_try(&post, now, pause);
                    self.ledger.post_failed(&post, &why, next).await?;
                }
            }
        }
    }

    /// Sends a post; returns GitHub's name for what it made.
    async fn send(&self, post: &PostRow) -> Result<Option<String>, Failure> {
        let body: Post = serde_json::from_str(&post.body)
            .map_err(|error| Failure::Never(format!("it cannot be read: {error}")))?;
        match body {
            Post::Status {
                sha,
                context,
                state,
                description,
                target_url,
                ..
            } => {
                let route = format!("/repos/{}/statuses/{sha}", self.repository);
                let mut body =
                    json!({"state": state, "context": context, "description": description});
                set(&mut body, "target_url", target_url);
                self.github.post(&route, &body).await?;
                Ok(None)
            }
            Post::Deployment {
                run,
                sha,
                environment,
                state,
                description,
                log_url,
                environment_url,
            } => {
                let id = match &post.remote_id {
                    Some(id) => id.clone(),
                    None => self.deployment(post, (&run.0, &sha, &environment)).await?,
                };
                let route = format!("/repos/{}/deployments/{id}/statuses", self.repository);
                // We say what is superseded, also in production, where GitHub would not.
                let mut body =
                    json!({"state": state, "description": description, "auto_inactive": false});
                set(&mut body, "log_url", log_url);
                set(&mut body, "environment_url", environment_url);
                self.github.post(&route, &body).await?;
                Ok(Some(id))
            }
        }
    }

    /// Makes the deployment of a post, or finds the one that an earlier try made.
    async fn deployment(
        &self,
        post: &PostRow,
        (run, sha, environment): (&str, &str, &str),
    ) -> Result<String, Failure> {
        let repository = &self.repository;
        let route = format!("/repos/{repository}/deployments");
        let encoded: String =
            url::form_urlencoded::byte_serialize(environment.as_bytes()).collect();
        let known = self
            .github
            .get(&format!("{route}?sha={sha}&environment={encoded}"))
            .await?;
        let same = known.as_array().into_iter().flatten().find(|deployment| {
            let payload = deployment.get("payload");
            payload
                .and_then(|payload| payload.get("subject"))
                .and_then(Json::as_str)
                == Some(&post.subject)
        });
        let made = match same {
            Some(known) => known.clone(),
            None => {
                let body = json!({
                    "ref": sha, "environment": environment, "auto_merge": false, "required_contexts": [],
                    "description": format!("Run {run}"), "payload": {"subject": post.subject},
                });
                self.github.post(&route, &body).await?
            }
        };
        made.get("id")
            .and_then(Json::as_u64)
            .map(|id| id.to_string())
            .ok_or_else(|| Failure::Later(None, "GitHub did not name the deployment".to_owned()))
    }
}

fn set(body: &mut Json, key: &str, value: Option<String>) {
    if let (Some(value), Json::Object(object)) = (value, body) {
        object.insert(key.to_owned(), value.into());
    }
}

/// Returns the time before the next try of something that was tried so often: 1 s, doubled.
fn backoff(tries: u64) -> Duration {
    let seconds = 1_u64 << tries.min(10);
    Duration::from_secs(seconds).min(MAX_PAUSE)
}

/// Returns when a post is tried again; none once it waited too long.
fn next_try(post: &PostRow, now: Timestamp, pause: Duration) -> Option<Timestamp> {
    let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 2);
    let next = Timestamp(now.0 + millis(pause));
    (next.0 - post.changed_at.0 < millis(GIVE_UP)).then_some(next)
}
