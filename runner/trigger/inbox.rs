//! Looks into what was delivered, and takes it in.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::asked::{Asked, asked, is_own};
use super::delivery::{CommitSource, Described, describe};
use super::poll::PollError;
use crate::diagnostic::chain;
use crate::event::TriggerEvent;
use crate::expression::Object;
use crate::run::{Conclusion, RunId};
use crate::scheduler::{
    Button, CheckId, Forks, Incoming, Ledger, LedgerError, Repository, Rerun, submit,
};
use crate::store::{DeliveryRow, RunRow};

/// How often the inbox is looked into when nothing hints that it should be.
const TICK: Duration = Duration::from_secs(2);

/// How long to wait after something could not be taken in.
const PAUSE: Duration = Duration::from_secs(10);

/// Takes in what was delivered, in the order in which it came.
#[derive(Debug, Clone)]
pub struct Inbox {
    /// Where deliveries are and runs go.
    pub ledger: Ledger,
    /// The repositories that are watched, by name in lowercase.
    pub repositories: Arc<HashMap<String, Repository>>,
}

/// The workflow that goes back to an earlier release.
const ROLLBACK: &str = "pipelines/rollback.yml";

impl Inbox {
    /// Looks until it is stopped; what cannot be taken in now is tried again.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let changed = self.ledger.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let pause = match self.look().await {
                Ok(()) => TICK,
                Err(error) => {
                    tracing::error!(error = %chain(&error), "a delivery waits");
                    PAUSE
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = &mut changed, if pause == TICK => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Takes in everything that is there; the first thing that cannot be is the error.
    async fn look(&self) -> Result<(), PollError> {
        let mut failed = None;
        for delivery in self.ledger.new_deliveries().await? {
            match self.take(&delivery).await {
                Ok(note) => {
                    self.ledger
                        .end_delivery(&delivery.id, "done", &note)
                        .await?;
                }
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// Takes a delivery in; returns what became of it, in words.
    async fn take(&self, delivery: &DeliveryRow) -> Result<String, PollError> {
        let Some(repository) = self.repositories.get(&delivery.repository.to_lowercase()) else {
            return Ok(format!("{} is not watched", delivery.repository));
        };
        let payload: Json = serde_json::from_str(&delivery.payload).unwrap_or_default();
        let app = repository.app.unwrap_or(0);
        if is_own(&delivery.event, &payload, app) {
            // What we show starts no workflow, or one that is on check runs would never end.
            let Some(asked) = asked(&delivery.event, &payload, app) else {
                return Ok("it tells of a check run of our own".to_owned());
            };
            let actor = payload.pointer("/sender/login").and_then(Json::as_str);
            let actor = actor.unwrap_or("somebody on GitHub");
            return self.answer(repository, asked, (actor, &delivery.id)).await;
        }
        let described = match describe(&delivery.event, &payload, &delivery.id) {
            Ok(described) => described,
            Err(reason) => return Ok(reason),
        };
        let refs = fetched(repository).await?;
        let mut notes = Vec::new();
        for event in described {
            let incoming = match self.located(repository, event, &refs).await? {
                Ok(incoming) => incoming,
                Err(reason) => {
                    notes.push(reason);
                    continue;
                }
            };
            let submitted = submit(&self.ledger, repository, &incoming).await?;
            notes.extend(submitted.verdicts.iter().map(ToString::to_string));
        }
        Ok(repository
            .masker()
            .mask(&notes.join("\n"))
            .as_str()
            .to_owned())
    }

    /// Does what somebody asked for; returns what came of it, in words.
    ///
    /// A delivery that is read twice, since the server died in between, does nothing twice: whoever
    /// asks has seen an attempt, and of that there is one next.
    async fn answer(
        &self,
        repository: &Repository,
        asked: Asked,
        (actor, delivery): (&str, &str),
    ) -> Result<String, PollError> {
        match asked {
            Asked::Rerun(of) => self.rerun(repository, &of, None).await,
            Asked::RerunAll(sha) => {
                let mut notes = Vec::new();
                for run in self.ledger.runs_beside(&repository.name, &sha).await? {
                    notes.push(self.rerun_whole(repository, &run).await?);
                }
                Ok(notes.join("\n"))
            }
            Asked::Pressed { button, of, sha } => match button {
                Button::RerunFailed => self.rerun(repository, &of, Some(Rerun::Failed)).await,
                Button::Approve => {
                    if let Err(other) = self.run_of(repository, &of.run).await? {
                        return Ok(other);
                    }
                    let done = self.ledger.approve(&of.run, actor, Some(&sha)).await;
                    in_words(done, || format!("run {} was approved by {actor}", of.run))
                }
                Button::RollBack => self.roll_back(repository, &of.run, (actor, delivery)).await,
            },
        }
    }

    /// Returns a run of a repository; or says that there is none.
    async fn run_of(
        &self,
        repository: &Repository,
        id: &RunId,
    ) -> Result<Result<RunRow, String>, PollError> {
        match self.ledger.run(id, None).await {
            Ok((run, _)) if run.repository == repository.name => Ok(Ok(run)),
            Ok(_) => Ok(Err(format!("run {id} is of another repository"))),
            Err(LedgerError::NoRun(_)) => Ok(Err(format!("there is no run {id}"))),
            Err(error) => Err(error.into()),
        }
    }

    /// Runs again what a check run is of.
    async fn rerun(
        &self,
        repository: &Repository,
        of: &CheckId,
        which: Option<Rerun>,
    ) -> Result<String, PollError> {
        let (run, jobs) = match self.run_of(repository, &of.run).await? {
            Ok(_) => self.ledger.run(&of.run, Some(of.attempt)).await?,
            Err(other) => return Ok(other),
        };
        if run.attempt != of.attempt {
            return Ok(format!(
                "run {} is at attempt {} by now, and attempt {} was asked for",
                of.run, run.attempt.0, of.attempt.0
            ));
        }
        let job = of
            .job
            .and_then(|key| jobs.into_iter().find(|job| job.job == key));
        let which = match (which, job) {
            (Some(which), _) => which,
            (None, Some(job)) => Rerun::Job(job.name),
            (None, None) => again(&run),
        };
        let done = self.ledger.rerun(&of.run, &which).await;
        in_words(done, || format!("run {} runs once more", of.run))
    }

    async fn rerun_whole(&self, repository: &Repository, id: &RunId) -> Result<String, PollError> {
        let run = match self.run_of(repository, id).await? {
            Ok(run) => run,
            Err(other) => return Ok(other),
        };
        let done = self.ledger.rerun(id, &again(&run)).await;
        in_words(done, || format!("run {id} runs once more"))
    }

    /// Starts the workflow that goes back to an earlier release, where the run had deployed to.
    async fn roll_back(
        &self,
        repository: &Repository,
        id: &RunId,
        (actor, delivery): (&str, &str),
    ) -> Result<String, PollError> {
        let run = match self.run_of(repository, id).await? {
            Ok(run) => run,
            Err(other) => return Ok(other),
        };
        let git_ref = format!("refs/heads/{}", repository.default_branch);
        let refs = fetched(repository).await?;
        let Some(sha) = refs.get(&git_ref) else {
            return Ok(format!("{git_ref} is not in the repository"));
        };
        let mut inputs = Object::new();
        let document: Json = serde_json::from_str(&run.document).unwrap_or_default();
        let destination = document
            .pointer("/inputs/destination")
            .and_then(Json::as_str);
        if let Some(destination) = destination.filter(|text| !text.is_empty()) {
            inputs.insert("destination", destination);
        }
        let (owner, name) = repository.name.split_once('/').unwrap_or_default();
        let payload = json!({
            "ref": git_ref, "inputs": null,
            "repository": {"name": name, "full_name": repository.name, "owner": {"login": owner}},
            "sender": {"login": actor},
        });
        let incoming = Incoming {
            event: TriggerEvent::new("workflow_dispatch", payload),
            key: format!("workflow_dispatch {delivery}"),
            git_ref,
            sha: sha.clone(),
            moved: None,
            seen_from: None,
            workflow: Some(ROLLBACK.to_owned()),
            inputs,
            is_fork: false,
            awaits_approval: false,
        };
        let submitted = submit(&self.ledger, repository, &incoming).await?;
        let words: Vec<String> = submitted.verdicts.iter().map(ToString::to_string).collect();
        Ok(match words.as_slice() {
            [] => format!("there is no {ROLLBACK} on {}", repository.default_branch),
            words => words.join("\n"),
        })
    }

    /// Finds the commit of an event; or says why there is none, in words.
    async fn located(
        &self,
        repository: &Repository,
        described: Described,
        refs: &BTreeMap<String, String>,
    ) -> Result<Result<Incoming, String>, PollError> {
        if described.is_fork && repository.forks == Forks::Refuse {
            return Ok(Err(format!(
                "{} does not run: it comes from a fork, and `forks` of {} does not say that those run",
                described.event.name, repository.name
            )));
        }
        let default = format!("refs/heads/{}", repository.default_branch);
        let git_ref = described.git_ref.as_deref().unwrap_or(&default);
        let git_ref = existing(git_ref, refs);
        let sha = match &described.commit {
            CommitSource::Known(sha) => Some(sha.clone()),
            CommitSource::Ref(name) if name.is_empty() => refs.get(&default).cloned(),
            CommitSource::Ref(name) => refs.get(name).cloned(),
            CommitSource::Fetched(names, head) => {
                let (repository, names, head) = (repository.clone(), names.clone(), head.clone());
                let found = tokio::task::spawn_blocking(move || {
                    let mirror = &repository.mirror;
                    names.iter().find_map(|name| {
                        let sha = mirror.fetch_ref(name, &repository.credentials).ok()?;
                        // Nobody but GitHub writes the merge; a head may hold anything below it.
                        let is_merge = name.ends_with("/merge") && mirror.merges(&sha, &head);
                        (sha == head || is_merge).then_some(sha)
                    })
                });
                found.await.map_err(PollError::Lost)?
            }
        };
        let is_gone = matches!(&described.moved, Some((_, None)));
        let Some(sha) = sha.filter(|sha| is_gone || repository.mirror.has(sha)) else {
            return Ok(Err(format!(
                "{} does not run: its commit is not in the repository any more",
                described.event.name
            )));
        };
        Ok(Ok(Incoming {
            event: described.event,
            key: described.key,
            git_ref,
            sha,
            moved: described.moved,
            seen_from: None,
            workflow: None,
            inputs: Object::new(),
            is_fork: described.is_fork,
            awaits_approval: described.is_fork && repository.forks == Forks::Approve,
        }))
    }
}

/// Fetches a repository, and returns where its branches and tags stand.
async fn fetched(repository: &Repository) -> Result<BTreeMap<String, String>, PollError> {
    let repository = repository.clone();
    let fetch = move || repository.mirror.fetch(&repository.credentials);
    let fetched = tokio::task::spawn_blocking(fetch).await;
    Ok(fetched.map_err(PollError::Lost)??)
}

/// Returns what of a run is run again where nobody says it: what failed, or all.
fn again(run: &RunRow) -> Rerun {
    match run.conclusion {
        Some(Conclusion::Failure | Conclusion::Cancelled) => Rerun::Failed,
        _ => Rerun::All,
    }
}

/// Returns what came of something that was asked for; an error is what must be tried again.
fn in_words<T>(
    done: Result<T, LedgerError>,
    words: impl FnOnce() -> String,
) -> Result<String, PollError> {
    match done {
        Ok(_) => Ok(words()),
        Err(error @ (LedgerError::NoRun(_) | LedgerError::WrongState { .. })) => {
            Ok(error.to_string())
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns the ref that an event means: some name a branch or a tag and do not say which.
fn existing(name: &str, refs: &BTreeMap<String, String>) -> String {
    let tag = name
        .strip_prefix("refs/heads/")
        .map(|short| format!("refs/tags/{short}"));
    match tag {
        Some(tag) if !refs.contains_key(name) && refs.contains_key(&tag) => tag,
        _ => name.to_owned(),
    }
}
