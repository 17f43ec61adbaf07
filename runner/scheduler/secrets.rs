//! Which secrets a job gets.

use crate::expression::{EvaluationError, Object, Scope, StatusFunction, Value};
use crate::plan::{CallerContexts, RunFacts, SecretAccess};

/// Returns the secrets that a job may see: all of the run, or what its caller hands on.
///
/// A secret whose expression fails is left out, as one that is empty.
pub fn job_secrets(all: &Object, access: &SecretAccess, facts: &RunFacts) -> Object {
    match access {
        SecretAccess::All => all.clone(),
        SecretAccess::Named {
            names,
            contexts,
            caller,
        } => {
            let scope = CallerScope {
                secrets: job_secrets(all, caller, facts).into(),
                contexts,
                facts,
            };
            let named = names.iter().filter_map(|(name, token)| {
                let value = token.evaluate(&scope).ok()?.to_display_string();
                (!value.is_empty()).then(|| (name.as_str(), Value::from(value)))
            });
            let mut secrets: Object = named.collect();
            // GitHub hands its token to called workflows without being asked.
            if let Some(token) = all.get("GITHUB_TOKEN") {
                secrets.insert("GITHUB_TOKEN", token.clone());
            }
            secrets
        }
    }
}

struct CallerScope<'a> {
    secrets: Value,
    contexts: &'a CallerContexts,
    facts: &'a RunFacts,
}

impl Scope for CallerScope<'_> {
    fn context(&self, name: &str) -> Option<Value> {
        let value = match name.to_ascii_lowercase().as_str() {
            "secrets" => &self.secrets,
            "github" => &self.facts.github,
            "vars" => &self.facts.vars,
            "inputs" => &self.contexts.inputs,
            "needs" => &self.contexts.needs,
            "matrix" => &self.contexts.matrix,
            "strategy" => &self.contexts.strategy,
            _ => return None,
        };
        Some(value.clone())
    }

    fn status(
        &self,
        function: StatusFunction,
        _arguments: &[Value],
    ) -> Result<bool, EvaluationError> {
        Ok(matches!(function, StatusFunction::Success))
    }

    fn hash_files(&self, _patterns: &[String]) -> Result<String, EvaluationError> {
        Ok(String::new())
    }
}
