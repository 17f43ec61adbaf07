//! What the expressions of a running job can see.

use std::collections::BTreeMap;

use super::files::hash_files;
use super::job::JobRun;
use crate::expression::{EvaluationError, Object, Scope, StatusFunction, Value};
use crate::run::Conclusion;
use crate::workflow::Token;

/// A list of steps that share their contexts: a job's, or a composite action's.
#[derive(Debug)]
pub(super) struct Frame {
    /// The context `steps`.
    pub(super) steps: Value,
    /// The context `inputs` of a composite action; a job has the run's.
    pub(super) inputs: Option<Value>,
    /// Variables of the step that called the composite action: they stand above `GITHUB_ENV`.
    pub(super) env: BTreeMap<String, String>,
    /// Where the action lies and what it is called.
    pub(super) action: Option<ActionIdentity>,
    /// Whether one of the steps failed and was not forgiven.
    pub(super) is_failed: bool,
    /// How deep composite actions are nested; 0 is the job itself.
    pub(super) depth: usize,
    /// The number of the job's step that all this belongs to; 0 for the job itself.
    pub(super) step: u32,
    /// Whether these are clean-up steps after the last one.
    pub(super) is_post: bool,
}

/// Where an action lies and what it is called.
#[derive(Debug, Clone, Default)]
pub(super) struct ActionIdentity {
    /// Its folder as commands see it.
    pub(super) path: String,
    /// `owner/repository`, of actions that have one.
    pub(super) repository: String,
    /// The branch, tag or commit.
    pub(super) reference: String,
}

impl Frame {
    /// Returns the frame of a job's own steps.
    pub(super) fn job() -> Self {
        Self {
            steps: Object::new().into(),
            inputs: None,
            env: BTreeMap::new(),
            action: None,
            is_failed: false,
            depth: 0,
            step: 0,
            is_post: false,
        }
    }

    /// Returns what the conditions of an action's clean-up see: its inputs, and how the job stands.
    pub(super) fn of_inputs(inputs: &BTreeMap<String, String>) -> Self {
        let inputs = inputs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        Self {
            inputs: Some(inputs.collect::<Object>().into()),
            is_post: true,
            ..Self::job()
        }
    }

    /// Notes how a step ended, for `steps.<id>`.
    pub(super) fn record(
        &mut self,
        id: &str,
        outputs: &Object,
        outcome: Conclusion,
        conclusion: Conclusion,
    ) {
        let entry = Object::new()
            .with("outputs", Value::from(outputs.clone()))
            .with("outcome", outcome.as_str())
            .with("conclusion", conclusion.as_str());
        if let Value::Object(steps) = &mut self.steps {
            std::sync::Arc::make_mut(steps).insert(id, Value::from(entry));
        }
    }
}

/// The scope of one step: its job, its frame and its own variables.
#[derive(Debug)]
pub(super) struct StepScope<'a> {
    pub(super) job: &'a JobRun,
    pub(super) frame: &'a Frame,
    /// The context `env`.
    pub(super) env: &'a Value,
    /// The name by which `steps` knows the step.
    pub(super) step_name: &'a str,
    /// What `cancelled()` says in place of the truth: to ask what a condition would say.
    pub(super) as_cancelled: bool,
}

impl StepScope<'_> {
    fn is_cancelled(&self) -> bool {
        self.as_cancelled || self.job.is_cancelled()
    }

    fn is_failed(&self) -> bool {
        if self.frame.depth > 0 && !self.frame.is_post {
            self.frame.is_failed
        } else {
            self.job.is_failed
        }
    }

    fn github(&self) -> Value {
        let Value::Object(base) = &self.job.contexts.github else {
            return Value::Null;
        };
        let mut github = Object::clone(base);
        for (name, value) in self.job.action_facts(self.frame, self.step_name) {
            github.insert(name, value);
        }
        let status = if self.is_cancelled() {
            Conclusion::Cancelled
        } else if self.is_failed() {
            Conclusion::Failure
        } else {
            Conclusion::Success
        };
        github.insert("action_status", status.as_str());
        github.into()
    }
}

impl Scope for StepScope<'_> {
    fn context(&self, name: &str) -> Option<Value> {
        let contexts = &self.job.contexts;
        // A composite action has no secrets, variables or needs of its own.
        let is_job = self.frame.depth == 0;
        match name.to_ascii_lowercase().as_str() {
            "github" => Some(self.github()),
            "env" => Some(self.env.clone()),
            "steps" => Some(self.frame.steps.clone()),
            "inputs" => Some(
                self.frame
                    .inputs
                    .clone()
                    .unwrap_or_else(|| contexts.inputs.clone()),
            ),
            "job" => Some(self.job.job_context()),
            "runner" => Some(contexts.runner.clone()),
            "strategy" => Some(contexts.strategy.clone()),
            "matrix" => Some(contexts.matrix.clone()),
            "secrets" if is_job => Some(contexts.secrets.clone()),
            "vars" if is_job => Some(contexts.vars.clone()),
            "needs" if is_job => Some(contexts.needs.clone()),
            _ => None,
        }
    }

    fn status(
        &self,
        function: StatusFunction,
        _arguments: &[Value],
    ) -> Result<bool, EvaluationError> {
        Ok(match function {
            StatusFunction::Always => true,
            StatusFunction::Cancelled => self.is_cancelled(),
            StatusFunction::Success => !self.is_failed() && !self.is_cancelled(),
            StatusFunction::Failure => self.is_failed() && !self.is_cancelled(),
        })
    }

    fn hash_files(&self, patterns: &[String]) -> Result<String, EvaluationError> {
        if self.job.is_workspace_stale {
            return Err(EvaluationError::Outside {
                name: "hashFiles",
                problem: "the workspace could not be fetched from the machine where the job runs"
                    .to_owned(),
            });
        }
        hash_files(&self.job.folders.workspace, patterns)
    }
}

/// Evaluates a mapping of names and texts, as `env` and `with`; a value that fails is an error in
/// words with its name.
pub(super) fn text_map(token: &Token, scope: &dyn Scope) -> Result<Vec<(String, String)>, String> {
    let value = token.evaluate(scope).map_err(|error| error.to_string())?;
    match value.as_object() {
        Some(object) => Ok(object
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_display_string()))
            .collect()),
        None if matches!(value, Value::Null) => Ok(Vec::new()),
        None => Err(format!(
            "a mapping is expected, not a {}",
            value.kind().name()
        )),
    }
}

/// Evaluates a token to text.
pub(super) fn text(token: &Token, scope: &dyn Scope) -> Result<String, String> {
    token
        .evaluate(scope)
        .map(|value| value.to_display_string())
        .map_err(|error| error.to_string())
}

/// Returns variables as the context `env`, whose names differ by case on Linux.
pub(super) fn env_context<'a>(
    variables: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Value {
    let mut env = Object::case_sensitive();
    for (name, value) in variables {
        env.insert(name.as_str(), value.as_str());
    }
    env.into()
}
