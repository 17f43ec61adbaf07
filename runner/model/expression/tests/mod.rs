//! Tables for the whole room, distilled from GitHub's rules.

mod conditions;
mod conformance;
mod hash_files;
mod limits;
mod reading;
mod values;

use super::{EvaluationError, Expression, Object, Scope, StatusFunction, Value};

/// A scope with fixed contexts and a job that succeeded so far.
struct Fixed(Object);

impl Fixed {
    /// Takes contexts as a JSON object.
    fn new(contexts: &str) -> Self {
        let value: Value = serde_json::from_str(contexts).unwrap();
        Self(value.as_object().cloned().unwrap())
    }
}

impl Scope for Fixed {
    fn context(&self, name: &str) -> Option<Value> {
        self.0.get(name).cloned()
    }

    fn status(
        &self,
        function: StatusFunction,
        arguments: &[Value],
    ) -> Result<bool, EvaluationError> {
        // An argument names the state that it asks for, so that a test sees it arrive.
        let asked = arguments.first().map(Value::to_display_string);
        Ok(function == StatusFunction::Success && asked.is_none_or(|name| name == "done"))
    }

    fn hash_files(&self, patterns: &[String]) -> Result<String, EvaluationError> {
        Ok(patterns.join("+"))
    }
}

/// Evaluates to JSON text, or to the error's text.
fn evaluate(text: &str, scope: &dyn Scope) -> String {
    match Expression::parse(text).unwrap().evaluate(scope) {
        Ok(value) => serde_json::Value::from(&value).to_string(),
        Err(error) => format!("error: {error}"),
    }
}
