//! What expressions can see while a run is planned.

use crate::expression::{EvaluationError, Object, Scope, StatusFunction, Value};
use crate::run::Conclusion;

/// The contexts of a job that does not run yet.
#[derive(Debug, Clone, Default)]
pub(super) struct PlanScope {
    pub(super) github: Value,
    pub(super) inputs: Value,
    pub(super) vars: Value,
    pub(super) needs: Value,
    pub(super) strategy: Value,
    pub(super) matrix: Value,
    /// Of a called workflow's outputs.
    pub(super) jobs: Option<Value>,
    pub(super) chain: Chain,
    pub(super) is_cancelled: bool,
}

/// How everything ended that a job needs, directly or by others.
///
/// Source: GitHub's documentation of status check functions: `success()` and `failure()` of a job
/// look at all its ancestors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain {
    /// Everything went well; a skipped ancestor is not well.
    pub(super) is_success: bool,
    /// Something failed.
    pub(super) is_failure: bool,
}

impl Default for Chain {
    fn default() -> Self {
        Self {
            is_success: true,
            is_failure: false,
        }
    }
}

impl Chain {
    /// Adds what is needed.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            is_success: self.is_success && other.is_success,
            is_failure: self.is_failure || other.is_failure,
        }
    }

    /// Adds how a job itself ended.
    pub(super) fn with(self, conclusion: Conclusion) -> Self {
        self.and(Self {
            is_success: conclusion == Conclusion::Success,
            is_failure: conclusion == Conclusion::Failure,
        })
    }
}

impl Scope for PlanScope {
    fn context(&self, name: &str) -> Option<Value> {
        let value = match name.to_ascii_lowercase().as_str() {
            "github" => &self.github,
            "inputs" => &self.inputs,
            "vars" => &self.vars,
            "needs" => &self.needs,
            "strategy" => &self.strategy,
            "matrix" => &self.matrix,
            "jobs" => return self.jobs.clone(),
            _ => return None,
        };
        Some(value.clone())
    }

    fn status(
        &self,
        function: StatusFunction,
        arguments: &[Value],
    ) -> Result<bool, EvaluationError> {
        // With names of jobs: of those alone.
        let ended = |name: &Value, wanted: Conclusion| {
            let result = self
                .needs
                .get(&name.to_text())
                .and_then(|need| need.get("result"));
            result.and_then(Value::as_str) == Some(wanted.as_str())
        };
        Ok(match function {
            StatusFunction::Always => true,
            StatusFunction::Cancelled => self.is_cancelled,
            StatusFunction::Success if arguments.is_empty() => {
                self.chain.is_success && !self.is_cancelled
            }
            StatusFunction::Success => arguments
                .iter()
                .all(|name| ended(name, Conclusion::Success)),
            StatusFunction::Failure if arguments.is_empty() => self.chain.is_failure,
            StatusFunction::Failure => arguments
                .iter()
                .any(|name| ended(name, Conclusion::Failure)),
        })
    }

    fn hash_files(&self, _patterns: &[String]) -> Result<String, EvaluationError> {
        Ok(String::new())
    }
}

/// Returns the entry of a job in the contexts `needs` and `jobs`.
pub(super) fn result_entry(conclusion: Conclusion, outputs: &Object) -> Value {
    Object::new()
        .with("result", conclusion.as_str())
        .with("outputs", Value::from(outputs.clone()))
        .into()
}
