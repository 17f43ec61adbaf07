//! The environment that a job deploys to.

use super::scope::PlanScope;
use crate::expression::Value;
use crate::workflow::Token;

/// An environment, as GitHub shows deployments of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// Its name.
    pub name: String,
    /// Where it can be looked at, as far as that is known before the job runs.
    pub url: Option<String>,
}

/// Evaluates `environment`; none where there is none or its name is empty.
///
/// The error says in words what is wrong with it. A `url` that needs what the job's steps say is
/// left out.
pub(super) fn evaluate(
    token: Option<&Token>,
    scope: &PlanScope,
) -> Result<Option<Environment>, String> {
    let Some(token) = token else {
        return Ok(None);
    };
    let part = |key: &str| token.get(key);
    let name = part("name").unwrap_or(token);
    let name = name
        .evaluate(scope)
        .map_err(|error| format!("`environment`: {error}"))?;
    let url = part("url").and_then(|url| url.evaluate(scope).ok());
    let text = |value: &Value| {
        let text = value.to_display_string();
        (!text.is_empty()).then_some(text)
    };
    Ok(text(&name).map(|name| Environment {
        name,
        url: url.as_ref().and_then(text),
    }))
}
