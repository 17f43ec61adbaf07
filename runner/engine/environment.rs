//! The variables of a step.
//!
//! Order, later ones win: the machine's, `env` of workflow and job, `GITHUB_ENV`, the step's `env`,
//! then `GITHUB_*` and `RUNNER_*`, which nobody can change. `CI` is set where nobody else did.
//! Source: GitHub, "Variables reference", and `ScriptHandler` of its runner.

use std::collections::BTreeMap;

use super::context::Frame;
use super::job::JobRun;
use super::step::StepCall;
use crate::expression::Value;

/// The keys of `github` that steps see as `GITHUB_*`.
///
/// Source: the list in `GitHubContext` of GitHub's runner.
const GITHUB_KEYS: &[&str] = &[
    "action",
    "action_path",
    "action_ref",
    "action_repository",
    "actor",
    "actor_id",
    "api_url",
    "base_ref",
    "event_name",
    "event_path",
    "graphql_url",
    "head_ref",
    "job",
    "ref",
    "ref_name",
    "ref_protected",
    "ref_type",
    "repository",
    "repository_id",
    "repository_owner",
    "repository_owner_id",
    "retention_days",
    "run_attempt",
    "run_id",
    "run_number",
    "server_url",
    "sha",
    "triggering_actor",
    "workflow",
    "workflow_ref",
    "workflow_sha",
    "workspace",
];

/// Returns the `GITHUB_*` and `RUNNER_*` variables that are the same for all steps of a job.
pub(super) fn fixed(github: &Value, runner: &Value) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for key in GITHUB_KEYS {
        let value = github
            .get(key)
            .map(Value::to_display_string)
            .unwrap_or_default();
        if !(key.starts_with("action") && value.is_empty()) {
            env.insert(format!("GITHUB_{}", key.to_uppercase()), value);
        }
    }
    for (key, value) in runner
        .as_object()
        .into_iter()
        .flat_map(|runner| runner.iter())
    {
        if !matches!(value, Value::Null) {
            env.insert(
                format!("RUNNER_{}", key.to_uppercase()),
                value.to_display_string(),
            );
        }
    }
    env.insert("GITHUB_ACTIONS".to_owned(), "true".to_owned());
    env
}

impl JobRun {
    /// Returns the variables of a step, without the command files and without `PATH`.
    pub(super) fn step_env(
        &self,
        frame: &Frame,
        step_name: &str,
        own: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let mut env = own.clone();
        env.entry("CI".to_owned())
            .or_insert_with(|| "true".to_owned());
        env.extend(
            self.fixed_env
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        for (name, value) in self.action_facts(frame, step_name) {
            env.insert(format!("GITHUB_{}", name.to_uppercase()), value);
        }
        env
    }

    /// Returns the variables that a step has beside the job's.
    pub(super) fn own_env(&self, call: &StepCall<'_>) -> BTreeMap<String, String> {
        let is_own = |(name, value): &(&String, &String)| self.env.get(*name) != Some(*value);
        let own = call.env.iter().filter(is_own);
        own.map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    /// Returns the keys of `github` that tell of the action that runs.
    pub(super) fn action_facts(
        &self,
        frame: &Frame,
        step_name: &str,
    ) -> Vec<(&'static str, String)> {
        let mut facts = vec![("action", step_name.to_owned())];
        if let Some(action) = &frame.action {
            facts.push(("action_path", action.path.clone()));
            facts.push(("action_repository", action.repository.clone()));
            facts.push(("action_ref", action.reference.clone()));
        }
        facts
    }
}

/// Returns the variable by which an action sees an input.
///
/// Source: GitHub, "Metadata syntax": upper case, spaces become `_`, hyphens stay.
pub(super) fn input_variable(name: &str) -> String {
    format!("INPUT_{}", name.replace(' ', "_").to_uppercase())
}
