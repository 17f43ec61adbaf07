//! Sends what GitHub is to show: in order, the newest of each subject, until it arrives.

use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::check::{BATCH, Check, CheckId};
use super::findings::Findings;
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
pub(super) const TICK: Duration = Duration::from_secs(1);

/// In whose name a repository's posts are sent.
#[derive(Debug, Clone)]
pub struct Sender {
    /// `owner/name`.
    pub repository: String,
    /// Who sends them.
    pub github: GitHub,
}

/// Sends the posts of all repositories that GitHub counts together, one after the other.
#[derive(Debug, Clone)]
pub struct Outbox {
    /// Where the posts are.
    pub ledger: Ledger,
    /// Whose posts: what GitHub says of the requests of one counts for all.
    pub senders: Vec<Sender>,
    /// The machine's name in the store.
    pub machine: String,
    /// For how long one of the machines that share a store sends for all of them.
    pub turn: Duration,
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
                    tracing::error!(error = %chain(&error), "posts to GitHub wait");
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
        let repositories = self.senders.iter().map(|sender| sender.repository.as_str());
        loop {
            // First the wait and then the post, so that the newest is sent of what changed meanwhile.
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = sleep_until(*free_at) => {}
            }
            let Some(post) = self.ledger.due_post(repositories.clone()).await? else {
                return Ok(());
            };
            let sender = self
                .senders
                .iter()
                .find(|sender| sender.repository == post.repository);
            let Some(sender) = sender else {
                return Ok(());
            };
            // In order, and each once: of the machines that share the store one sends.
            let name = format!("outbox {}", sender.repository);
            if !self.ledger.hold(&name, &self.machine, self.turn).await? {
                return Ok(());
            }
            let sent = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                sent = self.send(sender, &post) => sent,
            };
            match sent {
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
                    let next = next_try(post.changed_at, self.ledger.now(), pause);
                    self.ledger.post_failed(&post, &why, next).await?;
                }
            }
        }
    }

    /// Sends a post; returns GitHub's name for what it made.
    async fn send(&self, sender: &Sender, post: &PostRow) -> Result<Option<String>, Failure> {
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
                let status = CommitStatus {
                    sha,
                    context,
                    state,
                    description,
                    target_url,
                };
                status.send(sender).await.map(|()| None)
            }
            Post::Check { check, .. } => {
                let findings = self.findings(&check).await?;
                let known = post.remote_id.as_deref();
                sender.send_check(&check, &findings, known).await.map(Some)
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
                    None => {
                        let of = (run.0.as_str(), sha.as_str(), environment.as_str());
                        sender.deployment(&post.subject, of).await?
                    }
                };
                let route = format!("/repos/{}/deployments/{id}/statuses", sender.repository);
                // We say what is superseded, also in production, where GitHub would not.
                let mut body =
                    json!({"state": state, "description": description, "auto_inactive": false});
                set(&mut body, "log_url", log_url);
                set(&mut body, "environment_url", environment_url);
                sender.github.post(&route, &body).await?;
                Ok(Some(id))
            }
        }
    }

    /// Returns what a check run shows beside what is in the post.
    async fn findings(&self, check: &Check) -> Result<Findings, Failure> {
        let Some(CheckId {
            run,
            attempt,
            job: Some(job),
        }) = CheckId::read(&check.external_id).filter(|_| check.status == "completed")
        else {
            return Ok(Findings::default());
        };
        let found = self.ledger.findings(&run, attempt, job).await;
        found.map_err(|error| Failure::Later(None, chain(&error)))
    }
}

/// The state of a commit in somebody's eyes.
#[derive(Debug, Clone)]
pub struct CommitStatus {
    /// The commit.
    pub sha: String,
    /// Whose eyes.
    pub context: String,
    /// `pending`, `success`, `failure` or `error`.
    pub state: String,
    /// What happened, in a few words.
    pub description: String,
    /// Where more is to be seen.
    pub target_url: Option<String>,
}

impl CommitStatus {
    /// Tells GitHub.
    pub async fn send(self, sender: &Sender) -> Result<(), Failure> {
        let route = format!("/repos/{}/statuses/{}", sender.repository, self.sha);
        let mut body =
            json!({"state": self.state, "context": self.context, "description": self.description});
        set(&mut body, "target_url", self.target_url);
        sender.github.post(&route, &body).await.map(drop)
    }
}

impl Sender {
    /// Makes a check run or changes it, with all annotations once; returns its number.
    async fn send_check(
        &self,
        check: &Check,
        findings: &Findings,
        known: Option<&str>,
    ) -> Result<String, Failure> {
        let route = format!("/repos/{}/check-runs", self.repository);
        let mut parts = check.annotations(findings);
        let id = match known {
            Some(id) => Some(id.to_owned()),
            None => self.made_before(check).await?,
        };
        // An earlier try may have brought some of the annotations, and GitHub adds to them.
        if let Some(id) = id.as_ref().filter(|_| !parts.is_empty()) {
            let shown = self.github.get(&format!("{route}/{id}")).await?;
            let count = shown
                .pointer("/output/annotations_count")
                .and_then(Json::as_u64)
                .and_then(|count| usize::try_from(count).ok())
                .unwrap_or(0);
            let rest: Vec<Json> = parts.concat().into_iter().skip(count).collect();
            parts = rest.chunks(BATCH).map(<[Json]>::to_vec).collect();
        }
        let mut parts = parts.into_iter();
        let first = parts.next().unwrap_or_default();
        let body = check.body(findings, &first, id.is_none());
        let id = match id {
            Some(id) => {
                self.github.patch(&format!("{route}/{id}"), &body).await?;
                id
            }
            None => named(&self.github.post(&route, &body).await?, "the check run")?,
        };
        for part in parts {
            let body = json!({"output": check.output(findings, &part)});
            self.github.patch(&format!("{route}/{id}"), &body).await?;
        }
        Ok(id)
    }

    /// Finds the check run that an earlier try made, whose answer did not arrive.
    async fn made_before(&self, check: &Check) -> Result<Option<String>, Failure> {
        if check.external_id.is_empty() {
            return Ok(None);
        }
        let name: String = url::form_urlencoded::byte_serialize(check.name.as_bytes()).collect();
        let route = format!(
            "/repos/{}/commits/{}/check-runs?check_name={name}&filter=all&per_page=100",
            self.repository, check.sha
        );
        let found = self.github.get(&route).await?;
        let mut all = found
            .get("check_runs")
            .and_then(Json::as_array)
            .into_iter()
            .flatten();
        let same = all.find(|known| {
            known.get("external_id").and_then(Json::as_str) == Some(&check.external_id)
        });
        same.map(|known| named(known, "the check run")).transpose()
    }

    /// Makes the deployment of a post, or finds the one that an earlier try made.
    async fn deployment(
        &self,
        subject: &str,
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
                == Some(subject)
        });
        let made = match same {
            Some(known) => known.clone(),
            None => {
                let body = json!({
                    "ref": sha, "environment": environment, "auto_merge": false, "required_contexts": [],
                    "description": format!("Run {run}"), "payload": {"subject": subject},
                });
                self.github.post(&route, &body).await?
            }
        };
        named(&made, "the deployment")
    }
}

/// Returns GitHub's number of something.
fn named(made: &Json, what: &str) -> Result<String, Failure> {
    made.get("id")
        .and_then(Json::as_u64)
        .map(|id| id.to_string())
        .ok_or_else(|| Failure::Later(None, format!("GitHub did not name {what}")))
}

fn set(body: &mut Json, key: &str, value: Option<String>) {
    if let (Some(value), Json::Object(object)) = (value, body) {
        object.insert(key.to_owned(), value.into());
    }
}

/// Returns the time before the next try of something that was tried so often: 1 s, doubled.
pub(super) fn backoff(tries: u64) -> Duration {
    let seconds = 1_u64 << tries.min(10);
    Duration::from_secs(seconds).min(MAX_PAUSE)
}

/// Returns when something is tried again that waits `since` then; none once that is too long.
pub(super) fn next_try(since: Timestamp, now: Timestamp, pause: Duration) -> Option<Timestamp> {
    let next = Timestamp(now.0 + millis(pause));
    (next.0 - since.0 < millis(GIVE_UP)).then_some(next)
}

/// Returns a time in milliseconds.
fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 2)
}
