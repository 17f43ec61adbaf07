//! Looks into what was delivered, and takes it in.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::delivery::{CommitSource, Described, describe};
use super::poll::PollError;
use crate::diagnostic::chain;
use crate::expression::Object;
use crate::scheduler::{Incoming, Ledger, Repository, submit};
use crate::store::DeliveryRow;

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
        let payload = serde_json::from_str(&delivery.payload).unwrap_or_default();
        let described = match describe(&delivery.event, &payload, &delivery.id) {
            Ok(described) => described,
            Err(reason) => return Ok(reason),
        };
        let refs = {
            let repository = repository.clone();
            tokio::task::spawn_blocking(move || repository.mirror.fetch(&repository.credentials))
        };
        let refs = refs.await.map_err(PollError::Lost)??;
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

    /// Finds the commit of an event; or says why there is none, in words.
    async fn located(
        &self,
        repository: &Repository,
        described: Described,
        refs: &BTreeMap<String, String>,
    ) -> Result<Result<Incoming, String>, PollError> {
        if described.is_fork && !repository.runs_forks {
            return Ok(Err(format!(
                "{} does not run: it comes from a fork, and `forks` of {} does not say that those run",
                described.event.name, repository.name
            )));
        }
        let default = format!("refs/heads/{}", repository.default_branch);
        let git_ref = described.git_ref.clone().unwrap_or_else(|| default.clone());
        let sha = match &described.commit {
            CommitSource::Known(sha) => Some(sha.clone()),
            CommitSource::Ref(name) if name.is_empty() => refs.get(&default).cloned(),
            CommitSource::Ref(name) => refs.get(name).cloned(),
            CommitSource::Fetched(names) => {
                let (repository, names) = (repository.clone(), names.clone());
                let found = tokio::task::spawn_blocking(move || {
                    let mirror = &repository.mirror;
                    names
                        .iter()
                        .find_map(|name| mirror.fetch_ref(name, &repository.credentials).ok())
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
        }))
    }
}
