//! Whether an event runs a workflow, and with which inputs.

use std::path::Path;

use thiserror::Error;

use crate::event::TriggerEvent;
use crate::expression::{EvaluationError, Object, Scope, StatusFunction, Value};
use crate::git::changed_paths;
use crate::plan::filter::{Decision, EventFacts, Filters, decide};
use crate::plan::inputs;
use crate::plan::pattern::PatternError;
use crate::workflow::{Located, Trigger, Workflow};

/// The inputs of a dispatch do not fit what the workflow declares; the user's command line.
#[derive(Debug, Error)]
#[error("{reason}")]
pub struct InputsError {
    reason: String,
    /// What the workflow takes, in words.
    pub hint: String,
}

/// Returns why an event does not run a workflow, in words; none where it does.
///
/// `repository` is a folder with a repository that is asked for changed paths, where a filter wants
/// them. Errors when a filter of the workflow cannot be used.
pub fn skip_reason(
    workflow: &Workflow,
    event: &TriggerEvent,
    repository: &Path,
) -> Result<Option<String>, PatternError> {
    let Some((_, trigger)) = workflow
        .on
        .events
        .iter()
        .find(|(name, _)| **name == event.name)
    else {
        let known: Vec<&str> = workflow.on.events.keys().map(String::as_str).collect();
        return Ok(Some(format!(
            "it runs on {}, not on {}",
            known.join(", "),
            event.name
        )));
    };
    let has_path_filter = trigger.paths.is_some() || trigger.paths_ignore.is_some();
    let paths = has_path_filter
        .then(|| paths_of(event, repository))
        .flatten();
    let paths: Option<Vec<&str>> = paths
        .as_ref()
        .map(|paths| paths.iter().map(String::as_str).collect());
    let git_ref = event.git_ref();
    let facts = EventFacts {
        event: &event.name,
        action: event.action(),
        git_ref: git_ref.as_deref(),
        base_ref: event.base_ref(),
        head_branch: event.text(&["workflow_run", "head_branch"]),
        workflow: event.text(&["workflow_run", "name"]),
        message: event.text(&["head_commit", "message"]),
        deleted: event
            .payload
            .get("deleted")
            .and_then(serde_json::Value::as_bool)
            == Some(true),
        changed_paths: paths.as_deref(),
    };
    let decision = with_filters(trigger, |filters| decide(filters, &facts))?;
    Ok(match decision {
        Decision::Run => None,
        Decision::Skip(reason) => Some(reason),
    })
}

/// The events that commits are judged by.
const JUDGING: [&str; 4] = ["push", "pull_request", "pull_request_target", "merge_group"];

/// Tells whether somebody may wait for a workflow beside a commit: it runs on events of this kind and
/// activity, whatever its filters of branches and paths say.
pub(super) fn is_due(workflow: &Workflow, event: &TriggerEvent) -> bool {
    let is_tag = event.name == "push"
        && event
            .git_ref()
            .is_none_or(|git_ref| !git_ref.starts_with("refs/heads/"));
    if is_tag || !JUDGING.contains(&event.name.as_str()) {
        return false;
    }
    let mut triggers = workflow.on.events.iter();
    let Some((_, trigger)) = triggers.find(|(name, _)| **name == event.name) else {
        return false;
    };
    let facts = EventFacts {
        event: &event.name,
        action: event.action(),
        ..EventFacts::default()
    };
    let decision = with_filters(trigger, |filters| {
        let activity = Filters {
            types: filters.types,
            ..Filters::default()
        };
        decide(&activity, &facts)
    });
    matches!(decision, Ok(Decision::Run))
}

/// Returns the changed paths: by the repository if it has both commits, else by the payload.
fn paths_of(event: &TriggerEvent, repository: &Path) -> Option<Vec<String>> {
    let before = event
        .text(&["before"])
        .or_else(|| event.text(&["pull_request", "base", "sha"]))?;
    let after = event
        .text(&["after"])
        .or_else(|| event.text(&["pull_request", "head", "sha"]))?;
    changed_paths(repository, before, after).or_else(|| event.changed_paths())
}

fn with_filters<T>(trigger: &Trigger, use_them: impl FnOnce(&Filters<'_>) -> T) -> T {
    fn list(patterns: Option<&Vec<Located<String>>>) -> Option<Vec<&str>> {
        patterns.map(|patterns| {
            patterns
                .iter()
                .map(|pattern| pattern.value.as_str())
                .collect()
        })
    }
    let lists = [
        list(trigger.types.as_ref()),
        list(trigger.branches.as_ref()),
        list(trigger.branches_ignore.as_ref()),
        list(trigger.tags.as_ref()),
        list(trigger.tags_ignore.as_ref()),
        list(trigger.paths.as_ref()),
        list(trigger.paths_ignore.as_ref()),
        list(trigger.workflows.as_ref()),
    ];
    let [
        types,
        branches,
        branches_ignore,
        tags,
        tags_ignore,
        paths,
        paths_ignore,
        workflows,
    ] = lists.each_ref().map(Option::as_deref);
    use_them(&Filters {
        types,
        branches,
        branches_ignore,
        tags,
        tags_ignore,
        paths,
        paths_ignore,
        workflows,
    })
}

/// Returns the context `inputs`: of a dispatch what is given, typed, with defaults; else empty.
pub fn dispatch_inputs(
    workflow: &Workflow,
    event: &TriggerEvent,
    given: &Object,
) -> Result<Value, InputsError> {
    if event.name != "workflow_dispatch" {
        return Ok(Object::new().into());
    }
    let mut all = Object::new();
    let in_payload = event
        .payload
        .get("inputs")
        .and_then(serde_json::Value::as_object);
    for (name, value) in in_payload.into_iter().flatten() {
        all.insert(name.as_str(), Value::from(value));
    }
    for (name, value) in given.iter() {
        all.insert(name, value.clone());
    }
    inputs(&workflow.on.dispatch_inputs, &all, &NoContexts).map_err(|reason| {
        let known: Vec<&str> = workflow
            .on
            .dispatch_inputs
            .keys()
            .map(String::as_str)
            .collect();
        let hint = if known.is_empty() {
            "the workflow has no inputs".to_owned()
        } else {
            format!("its inputs are: {}", known.join(", "))
        };
        InputsError { reason, hint }
    })
}

/// Defaults of inputs see nothing.
struct NoContexts;

impl Scope for NoContexts {
    fn context(&self, _name: &str) -> Option<Value> {
        None
    }

    fn status(
        &self,
        _function: StatusFunction,
        _arguments: &[Value],
    ) -> Result<bool, EvaluationError> {
        Ok(false)
    }

    fn hash_files(&self, _patterns: &[String]) -> Result<String, EvaluationError> {
        Ok(String::new())
    }
}
