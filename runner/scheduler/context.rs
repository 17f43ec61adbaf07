//! The context `github` of a run.

use serde_json::Value as Json;

use crate::event::TriggerEvent;
use crate::expression::{Object, Value};
use crate::github;
use crate::workflow::Workflow;

/// The repository's name where nobody tells one.
pub const NO_REPOSITORY: &str = "local/workspace";

/// Where the repository lies if nobody tells.
const GITHUB: &str = "https://github.com";

/// What the context `github` is made of; what is `None` comes from the event, or has a default.
#[derive(Debug)]
pub struct RunContext<'a> {
    /// The workflow.
    pub workflow: &'a Workflow,
    /// Its path in the repository.
    pub path: &'a str,
    /// The event.
    pub event: &'a TriggerEvent,
    /// The inputs of a dispatch.
    pub inputs: &'a Value,
    /// `owner/name`.
    pub repository: Option<&'a str>,
    /// The scheme and host of the repository's server.
    pub server_url: Option<&'a str>,
    /// The ref.
    pub git_ref: Option<&'a str>,
    /// Whether that is known better than the event tells it.
    pub is_ref_certain: bool,
    /// The commit.
    pub sha: Option<&'a str>,
    /// Who caused the run, where the event does not tell it.
    pub actor: Option<&'a str>,
    /// The run's number among all.
    pub run_id: &'a str,
    /// Its number among those of its workflow.
    pub run_number: u64,
    /// The token; empty where it is filled in later, since a store must not have it.
    pub token: &'a str,
}

/// Returns the context `github` of a run.
pub fn github_context(run: &RunContext<'_>) -> Value {
    let (workflow, event) = (run.workflow, run.event);
    let repository = event.text(&["repository", "full_name"]).map(str::to_owned);
    let repository = repository
        .or_else(|| run.repository.map(str::to_owned))
        .unwrap_or_else(|| NO_REPOSITORY.to_owned());
    let given = run.git_ref.map(str::to_owned);
    let told = event.git_ref();
    let git_ref = if run.is_ref_certain {
        given.or(told)
    } else {
        told.or(given)
    };
    let git_ref = git_ref.unwrap_or_default();
    let sha = run.sha.or_else(|| event.sha()).unwrap_or_default();
    let workflow_name = workflow
        .name
        .as_ref()
        .map_or(run.path, |name| name.value.as_str());
    let mut github = Object::new()
        .with(
            "event",
            Value::from(&payload_with_inputs(event, run.inputs)),
        )
        .with("event_name", event.name.as_str())
        .with("base_ref", event.base_ref().unwrap_or_default())
        .with("head_ref", event.head_ref().unwrap_or_default())
        .with("sha", sha)
        .with("workflow", workflow_name)
        .with(
            "workflow_ref",
            format!("{repository}/{}@{git_ref}", run.path),
        )
        .with("workflow_sha", sha)
        .with("retention_days", "90")
        .with("run_attempt", "1")
        .with("run_id", run.run_id)
        .with("run_number", run.run_number.to_string())
        .with("secret_source", "None")
        .with("token", run.token);
    add_ref(&mut github, &git_ref);
    add_repository(&mut github, &repository, run);
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

fn add_repository(github: &mut Object, repository: &str, run: &RunContext<'_>) {
    let event = run.event;
    let server = run.server_url.unwrap_or(GITHUB);
    let (api, graphql) = if server == GITHUB {
        (github::API.to_owned(), format!("{}/graphql", github::API))
    } else {
        (format!("{server}/api/v3"), format!("{server}/api/graphql"))
    };
    let actor = event.actor().or(run.actor).unwrap_or("local");
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
