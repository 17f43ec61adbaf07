//! The event and the context `github` of a run that a person starts.

use std::path::Path;

use serde_json::{Value as Json, json};

use super::error::{CliError, ErrorKind};
use super::settings;
use crate::event::TriggerEvent;
use crate::expression::{Object, Value};
use crate::git::WorkingTree;
use crate::workflow::Workflow;

/// The repository's name where `origin` does not tell one.
const NO_REPOSITORY: &str = "local/workspace";

/// Where the repository lies if `origin` does not tell.
const GITHUB: &str = "https://github.com";

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

/// Returns the context `github` of a run.
pub(super) fn github(
    workflow: &Workflow,
    path: &str,
    tree: &WorkingTree,
    event: &TriggerEvent,
    inputs: &Value,
) -> Value {
    let repository = event.text(&["repository", "full_name"]).map(str::to_owned);
    let repository = repository
        .or_else(|| tree.repository.clone())
        .unwrap_or_else(|| NO_REPOSITORY.to_owned());
    let git_ref = event
        .git_ref()
        .or_else(|| tree.git_ref.clone())
        .unwrap_or_default();
    let sha = tree
        .commit
        .as_deref()
        .or_else(|| event.sha())
        .unwrap_or_default();
    let workflow_name = workflow
        .name
        .as_ref()
        .map_or(path, |name| name.value.as_str());
    let mut github = Object::new()
        .with("event", Value::from(&payload_with_inputs(event, inputs)))
        .with("event_name", event.name.as_str())
        .with("base_ref", event.base_ref().unwrap_or_default())
        .with("head_ref", event.head_ref().unwrap_or_default())
        .with("sha", sha)
        .with("workflow", workflow_name)
        .with("workflow_ref", format!("{repository}/{path}@{git_ref}"))
        .with("workflow_sha", sha)
        .with("retention_days", "90")
        .with("run_attempt", "1")
        .with("run_id", run_number())
        .with("run_number", "1")
        .with("secret_source", "None")
        .with(
            "token",
            settings::variable("GITHUB_TOKEN").unwrap_or_default(),
        );
    add_ref(&mut github, &git_ref);
    add_repository(&mut github, &repository, tree, event);
    github.into()
}

/// Returns the payload; that of a dispatch holds the inputs as texts.
fn payload_with_inputs(event: &TriggerEvent, inputs: &Value) -> Json {
    let mut payload = event.payload.clone();
    let inputs = inputs.as_object().filter(|inputs| !inputs.is_empty());
    if let (Json::Object(payload), Some(inputs)) = (&mut payload, inputs) {
        let texts = inputs
            .iter()
            .map(|(name, value)| (name.to_owned(), Json::from(value.to_display_string())));
        payload.insert("inputs".to_owned(), Json::Object(texts.collect()));
    }
    payload
}

fn add_ref(github: &mut Object, git_ref: &str) {
    let (kind, name) = match git_ref.strip_prefix("refs/tags/") {
        Some(tag) => ("tag", tag),
        None => {
            let short = git_ref.strip_prefix("refs/heads/");
            (
                "branch",
                short
                    .or_else(|| git_ref.strip_prefix("refs/pull/"))
                    .unwrap_or(git_ref),
            )
        }
    };
    github.insert("ref", git_ref);
    github.insert("ref_name", name);
    github.insert("ref_protected", false);
    github.insert("ref_type", kind);
}

fn add_repository(github: &mut Object, repository: &str, tree: &WorkingTree, event: &TriggerEvent) {
    let server = tree.server_url.as_deref().unwrap_or(GITHUB);
    let (api, graphql) = if server == GITHUB {
        (
            "https://api.github.com".to_owned(),
            "https://api.github.com/graphql".to_owned(),
        )
    } else {
        (format!("{server}/api/v3"), format!("{server}/api/graphql"))
    };
    let actor = event.actor().or(tree.user.as_deref()).unwrap_or("local");
    let id = |path: &str| {
        event
            .payload
            .pointer(path)
            .map_or_else(|| "0".to_owned(), Json::to_string)
    };
    let owner = repository.split('/').next().unwrap_or_default();
    github.insert("actor", actor);
    github.insert("actor_id", id("/sender/id"));
    github.insert("triggering_actor", actor);
    github.insert("api_url", api);
    github.insert("graphql_url", graphql);
    github.insert("server_url", server);
    github.insert("repository", repository);
    github.insert("repository_id", id("/repository/id"));
    github.insert("repository_owner", owner);
    github.insert("repository_owner_id", id("/repository/owner/id"));
    github.insert(
        "repositoryUrl",
        format!("{}/{repository}.git", server.replacen("https", "git", 1)),
    );
}

/// Returns a number for the run that grows with time.
fn run_number() -> String {
    chrono::Utc::now().timestamp_millis().to_string()
}
