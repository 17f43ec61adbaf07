//! Starts a workflow by hand: from the command line, or by the API.

use serde_json::json;
use thiserror::Error;

use super::ledger::Ledger;
use super::repository::Repository;
use super::submit::{Incoming, SubmitError, Submitted, submit};
use crate::event::TriggerEvent;
use crate::expression::Object;
use crate::git::MirrorError;

/// What is to be started.
#[derive(Debug, Clone)]
pub struct Dispatch {
    /// The workflow: its path, its file's name, or its name.
    pub workflow: String,
    /// The branch or tag, short or whole.
    pub git_ref: String,
    /// Its inputs.
    pub inputs: Object,
    /// Who starts it.
    pub actor: String,
}

/// A workflow could not be started by hand.
#[derive(Debug, Error)]
pub enum DispatchError {
    /// The repository could not be looked at.
    #[error("{repository} could not be looked at")]
    Repository {
        /// Which.
        repository: String,
        /// Why.
        #[source]
        source: MirrorError,
    },
    /// The user's: there is no such branch or tag.
    #[error("{repository} has no branch or tag `{git_ref}`")]
    NoRef {
        /// Of which repository.
        repository: String,
        /// What was asked for.
        git_ref: String,
    },
    /// The user's: there is no such workflow.
    #[error("there is no workflow `{workflow}` at {git_ref}")]
    NoWorkflow {
        /// What was asked for.
        workflow: String,
        /// Where.
        git_ref: String,
    },
    /// Ours: the look at the repository ended without a result.
    #[error("the look at the repository broke off")]
    Broken(#[source] tokio::task::JoinError),
    /// It could not be taken in.
    #[error("the run could not be started")]
    Submit(#[from] SubmitError),
}

/// Fetches the repository and starts a workflow of a ref; what is returned says why it does not run
/// where it does not.
pub async fn dispatch(
    ledger: &Ledger,
    repository: &Repository,
    wanted: &Dispatch,
) -> Result<Submitted, DispatchError> {
    let fetching = repository.clone();
    let fetched =
        tokio::task::spawn_blocking(move || fetching.mirror.fetch(&fetching.credentials)).await;
    let refs =
        fetched
            .map_err(DispatchError::Broken)?
            .map_err(|source| DispatchError::Repository {
                repository: repository.name.clone(),
                source,
            })?;
    let git_ref = wanted.git_ref.as_str();
    let full = [
        git_ref.to_owned(),
        format!("refs/heads/{git_ref}"),
        format!("refs/tags/{git_ref}"),
    ];
    let (name, sha) = full
        .iter()
        .find_map(|name| refs.get_key_value(name))
        .ok_or_else(|| DispatchError::NoRef {
            repository: repository.name.clone(),
            git_ref: git_ref.to_owned(),
        })?;
    let (owner, short) = repository
        .name
        .split_once('/')
        .unwrap_or(("local", &repository.name));
    let payload = json!({
        "ref": name, "inputs": null,
        "repository": {"name": short, "full_name": repository.name, "owner": {"login": owner}},
        "sender": {"login": wanted.actor},
    });
    let incoming = Incoming {
        event: TriggerEvent::new("workflow_dispatch", payload),
        key: format!("workflow_dispatch {}", uuid::Uuid::now_v7()),
        git_ref: name.clone(),
        sha: sha.clone(),
        moved: None,
        seen_from: None,
        workflow: Some(wanted.workflow.clone()),
        inputs: wanted.inputs.clone(),
        is_fork: false,
        awaits_approval: false,
    };
    let submitted = submit(ledger, repository, &incoming).await?;
    if submitted.runs.is_empty() && submitted.verdicts.is_empty() {
        return Err(DispatchError::NoWorkflow {
            workflow: wanted.workflow.clone(),
            git_ref: name.clone(),
        });
    }
    Ok(submitted)
}
