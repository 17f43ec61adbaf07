//! Which group a run or a job belongs to, of which only one may run at a time.

use super::progress::Progress;
use super::scope::PlanScope;
use crate::expression::Value;
use crate::workflow::Token;

/// A concurrency group and what it asks for.
///
/// Source: GitHub, "Control the concurrency of workflows and jobs": of a group one runs and one
/// waits; who comes later takes the place of the one that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concurrency {
    /// Its name in lowercase, since names are compared without case in a repository.
    pub group: String,
    /// Whether who comes later cancels the one that runs: `cancel-in-progress`.
    pub cancels_in_progress: bool,
    /// Whether all that wait keep their place: `queue: max`.
    pub keeps_all: bool,
}

impl Progress {
    /// Returns the group that the whole run belongs to, if it belongs to one.
    ///
    /// The error says in words what is wrong with `concurrency` of the workflow.
    pub fn concurrency(&self) -> Result<Option<Concurrency>, String> {
        let (facts, _, root) = self.parts();
        let Some((file, inputs, _)) = root else {
            return Ok(None);
        };
        let scope = PlanScope {
            github: facts.github.clone(),
            vars: facts.vars.clone(),
            inputs,
            ..PlanScope::default()
        };
        evaluate(file.workflow.concurrency.as_ref(), &scope)
    }
}

/// Evaluates `concurrency`; none where there is none or its group is empty.
///
/// The error says in words what is wrong with it.
pub(super) fn evaluate(
    token: Option<&Token>,
    scope: &PlanScope,
) -> Result<Option<Concurrency>, String> {
    let Some(token) = token else {
        return Ok(None);
    };
    let value = token
        .evaluate(scope)
        .map_err(|error| format!("`concurrency`: {error}"))?;
    let part = |name: &str| value.get(name).cloned().unwrap_or_default();
    let group = match value.as_object() {
        Some(_) => part("group").to_display_string(),
        None => value.to_display_string(),
    };
    if group.is_empty() {
        return Ok(None);
    }
    let cancels_in_progress = match part("cancel-in-progress") {
        Value::Null => false,
        Value::Boolean(cancels) => cancels,
        other => match other.to_display_string().as_str() {
            "true" => true,
            "false" | "" => false,
            text => {
                return Err(format!(
                    "`concurrency.cancel-in-progress` must be `true` or `false`, not `{text}`"
                ));
            }
        },
    };
    let keeps_all = match part("queue").to_display_string().as_str() {
        "" | "single" => false,
        "max" => true,
        text => {
            return Err(format!(
                "`concurrency.queue` must be `single` or `max`, not `{text}`"
            ));
        }
    };
    Ok(Some(Concurrency {
        group: group.to_lowercase(),
        cancels_in_progress,
        keeps_all,
    }))
}
