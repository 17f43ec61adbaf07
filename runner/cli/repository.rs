//! The event and the context `github` of a run that a person starts.

use std::path::Path;

use serde_json::{Value as Json, json};

use super::error::{CliError, ErrorKind};
use super::settings;
use crate::event::TriggerEvent;
use crate::expression::Value;
use crate::git::WorkingTree;
use crate::scheduler::{NO_REPOSITORY, RunContext, github_context};
use crate::workflow::Workflow;

/// Returns the event that starts the run: the one that is named, else `workflow_dispatch` if the
/// workflow has it, else its first.
pub(super) fn event(
    workflow: &Workflow,
    tree: &WorkingTree,
    name: Option<&str>,
    file: Option<&Path>,
) -> Result<TriggerEvent, CliError> {
    let triggers = &workflow.on;
    let first = || {
        triggers
            .events
            .keys()
            .next()
            .map_or("workflow_dispatch", String::as_str)
    };
    let has_dispatch = triggers.events.contains_key("workflow_dispatch");
    let name = name.unwrap_or_else(|| {
        if has_dispatch {
            "workflow_dispatch"
        } else {
            first()
        }
    });
    let payload = match file {
        Some(file) => {
            let text = std::fs::read_to_string(file).map_err(|source| {
                CliError::new(
                    ErrorKind::Usage,
                    format!("`{}` could not be read", file.display()),
                )
                .because(source)
            })?;
            serde_json::from_str(&text).map_err(|source| {
                CliError::new(ErrorKind::Usage, format!("`{}` is no JSON", file.display()))
                    .because(source)
            })?
        }
        None => payload(name, tree),
    };
    Ok(TriggerEvent::new(name, payload))
}

/// Returns a payload made of the commit that is checked out.
fn payload(name: &str, tree: &WorkingTree) -> Json {
    let git_ref = tree
        .git_ref
        .clone()
        .unwrap_or_else(|| "refs/heads/main".to_owned());
    let branch = git_ref.trim_start_matches("refs/heads/").to_owned();
    let full_name = tree.repository.as_deref().unwrap_or(NO_REPOSITORY);
    let (owner, repository) = full_name.split_once('/').unwrap_or(("local", full_name));
    let commit = tree.commit.clone().unwrap_or_default();
    let user = tree.user.clone().unwrap_or_else(|| "local".to_owned());
    let mut payload = json!({
        "repository": {"name": repository, "full_name": full_name, "default_branch": branch, "owner": {"login": owner, "name": owner}},
        "sender": {"login": user},
    });
    let more = match name {
        "pull_request" | "pull_request_target" => json!({
            "action": "opened", "number": 1,
            "pull_request": {"number": 1, "head": {"ref": branch, "sha": commit}, "base": {"ref": branch, "sha": commit}},
        }),
        "push" => {
            let (author, email) = tree.author.clone().unwrap_or_default();
            json!({
                "ref": git_ref, "before": "0".repeat(40), "after": commit, "pusher": {"name": user},
                "head_commit": {"id": commit, "message": tree.message, "author": {"name": author, "email": email}},
            })
        }
        _ => json!({"ref": git_ref}),
    };
    if let (Json::Object(payload), Json::Object(more)) = (&mut payload, more) {
        payload.extend(more);
    }
    payload
}

/// Returns the context `github` of the run.
pub(super) fn github(
    workflow: &Workflow,
    path: &str,
    tree: &WorkingTree,
    event: &TriggerEvent,
    inputs: &Value,
) -> Value {
    github_context(&RunContext {
        workflow,
        path,
        event,
        inputs,
        repository: tree.repository.as_deref(),
        server_url: tree.server_url.as_deref(),
        git_ref: tree.git_ref.as_deref(),
        is_ref_certain: false,
        sha: tree.commit.as_deref(),
        actor: tree.user.as_deref(),
        run_id: &run_number(),
        run_number: 1,
        token: &settings::variable("GITHUB_TOKEN").unwrap_or_default(),
    })
}

/// Returns a number for the run that grows with time.
fn run_number() -> String {
    chrono::Utc::now().timestamp_millis().to_string()
}
