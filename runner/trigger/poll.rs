//! Looks at a repository and takes in what was pushed: works with any git server, without webhooks.

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use super::pace::Pace;
use super::push::push_event;
use crate::diagnostic::chain;
use crate::git::MirrorError;
use crate::scheduler::{Ledger, LedgerError, Repository, SubmitError, Submitted, submit};

/// The longest time between two looks at a repository that cannot be reached.
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// A repository could not be looked at.
#[derive(Debug, Error)]
pub enum PollError {
    /// It could not be fetched.
    #[error(transparent)]
    Fetch(#[from] MirrorError),
    /// What happened there could not be taken in.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The store could not be asked.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Ours: the work was lost.
    #[error("the look at the repository ended without a result")]
    Lost(#[source] JoinError),
}

/// Looks at a repository again and again.
#[derive(Debug, Clone)]
pub struct Poll {
    /// Where runs go.
    pub ledger: Ledger,
    /// What is looked at.
    pub repository: Repository,
    /// The time between two looks.
    pub every: Duration,
}

impl Poll {
    /// Looks until it is stopped; what fails is said, and tried again later and later.
    pub async fn run(self, stop: CancellationToken) {
        let mut pace = Pace::new(self.every, MAX_PAUSE);
        loop {
            match look(&self.ledger, &self.repository).await {
                Ok(seen) => {
                    if pace.went_well() {
                        tracing::warn!(repository = self.repository.name, "it can be read again");
                    }
                    for submitted in seen {
                        for verdict in &submitted.verdicts {
                            tracing::info!(repository = self.repository.name, "{verdict}");
                        }
                    }
                }
                Err(error) => {
                    if pace.failed() {
                        let why = chain(&error);
                        tracing::error!(repository = self.repository.name, "{why}");
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pace.pause()) => {}
            }
        }
    }
}

/// Looks at a repository once: fetches it and takes in every branch and tag that moved.
///
/// The first look only remembers where everything stands: what was pushed before the repository was
/// watched starts nothing.
pub async fn look(ledger: &Ledger, repository: &Repository) -> Result<Vec<Submitted>, PollError> {
    // Before the fetch: what is fetched is then never older than what another machine recorded.
    let known = ledger.refs(&repository.name).await?;
    let fetched = {
        let repository = repository.clone();
        tokio::task::spawn_blocking(move || repository.mirror.fetch(&repository.credentials))
    };
    let refs = fetched.await.map_err(PollError::Lost)??;
    if known.is_empty() {
        ledger.first_refs(&repository.name, &refs).await?;
        return Ok(Vec::new());
    }
    let mut seen = Vec::new();
    for (name, before, after) in moved(&known, &refs) {
        let incoming = {
            let (repository, name) = (repository.clone(), name.to_owned());
            let (before, after) = (before.map(str::to_owned), after.map(str::to_owned));
            tokio::task::spawn_blocking(move || {
                push_event(&repository, &name, before.as_deref(), after.as_deref())
            })
        };
        let incoming = incoming.await.map_err(PollError::Lost)?;
        seen.push(submit(ledger, repository, &incoming).await?);
    }
    Ok(seen)
}

/// A ref that moved: its name, where it stood and where it stands.
type Moved<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

fn moved<'a>(
    known: &'a BTreeMap<String, String>,
    refs: &'a BTreeMap<String, String>,
) -> Vec<Moved<'a>> {
    let new = refs.iter().map(|(name, sha)| {
        (
            name.as_str(),
            known.get(name).map(String::as_str),
            Some(sha.as_str()),
        )
    });
    let gone = known
        .iter()
        .filter(|(name, _)| !refs.contains_key(*name))
        .map(|(name, sha)| (name.as_str(), Some(sha.as_str()), None));
    new.filter(|(_, before, after)| before != after)
        .chain(gone)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_that_moved_came_or_went_are_seen() {
        let refs = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let owned = pairs.iter();
            owned
                .map(|(name, sha)| ((*name).to_owned(), (*sha).to_owned()))
                .collect()
        };
        let known = refs(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let now = refs(&[("a", "1"), ("b", "2"), ("d", "1")]);
        assert_eq!(
            moved(&known, &now),
            [
                ("b", Some("1"), Some("2")),
                ("d", None, Some("1")),
                ("c", Some("1"), None)
            ]
        );
    }
}
