//! What happened outside that can start a run.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An event as GitHub tells it: its name and its payload.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TriggerEvent {
    /// The event's name: `push`, `pull_request`.
    pub name: String,
    /// The payload, as in GitHub's webhook; `github.event` of expressions.
    pub payload: Value,
}

impl TriggerEvent {
    /// Returns an event.
    pub fn new(name: impl Into<String>, payload: Value) -> Self {
        Self {
            name: name.into(),
            payload,
        }
    }

    /// Returns the activity, as `opened`, of events that have one.
    pub fn action(&self) -> Option<&str> {
        self.text(&["action"])
    }

    /// Returns the ref that `github.ref` names, where the payload tells it.
    ///
    /// Source: GitHub's table of events (`GITHUB_REF` of each).
    pub fn git_ref(&self) -> Option<String> {
        match self.name.as_str() {
            "pull_request" | "pull_request_review" | "pull_request_review_comment" => {
                let number = self.payload.get("pull_request")?.get("number")?.as_u64()?;
                Some(format!("refs/pull/{number}/merge"))
            }
            "pull_request_target" => Some(format!(
                "refs/heads/{}",
                self.text(&["pull_request", "base", "ref"])?
            )),
            "release" => Some(format!(
                "refs/tags/{}",
                self.text(&["release", "tag_name"])?
            )),
            "deployment" | "deployment_status" => {
                let name = self.text(&["deployment", "ref"])?;
                Some(if name.starts_with("refs/") {
                    name.to_owned()
                } else {
                    format!("refs/heads/{name}")
                })
            }
            "merge_group" => self.text(&["merge_group", "head_ref"]).map(str::to_owned),
            _ => self.text(&["ref"]).map(str::to_owned),
        }
    }

    /// Returns the branch that a pull request wants to change.
    pub fn base_ref(&self) -> Option<&str> {
        self.text(&["pull_request", "base", "ref"])
            .or_else(|| self.text(&["merge_group", "base_ref"]))
    }

    /// Returns the branch that a pull request comes from.
    pub fn head_ref(&self) -> Option<&str> {
        self.text(&["pull_request", "head", "ref"])
    }

    /// Returns the commit that `github.sha` names, where the payload tells it.
    pub fn sha(&self) -> Option<&str> {
        self.text(&["after"])
            .or_else(|| self.text(&["pull_request", "merge_commit_sha"]))
            .or_else(|| self.text(&["pull_request", "head", "sha"]))
            .or_else(|| self.text(&["deployment", "sha"]))
            .or_else(|| self.text(&["merge_group", "head_sha"]))
    }

    /// Returns who did it.
    pub fn actor(&self) -> Option<&str> {
        self.text(&["sender", "login"])
            .or_else(|| self.text(&["pusher", "name"]))
    }

    /// Returns the paths that the payload's commits say were changed.
    pub fn changed_paths(&self) -> Option<Vec<String>> {
        let commits = self.payload.get("commits")?.as_array()?;
        let mut paths: Vec<String> = Vec::new();
        for commit in commits {
            for key in ["added", "modified", "removed"] {
                let listed = commit
                    .get(key)
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten();
                paths.extend(listed.filter_map(Value::as_str).map(str::to_owned));
            }
        }
        paths.sort_unstable();
        paths.dedup();
        Some(paths)
    }

    /// Returns the text at a path of keys in the payload.
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        path.iter()
            .try_fold(&self.payload, |value, key| value.get(key))?
            .as_str()
    }
}
