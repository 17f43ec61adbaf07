//! A job that calls another workflow.

use std::sync::Arc;

use super::job::{CallerContexts, SecretAccess, WorkflowFile};
use super::scope::PlanScope;
use crate::expression::{Object, Value};
use crate::workflow::{CallSecrets, Input, InputKind, Job, JobBody};

/// How deep calls may nest.
///
/// Source: GitHub, "Reusing workflows": ten levels, the caller's included.
pub(super) const MAX_DEPTH: usize = 9;

/// Finds the workflows that jobs call.
pub trait WorkflowLoader: Send {
    /// Returns the workflow that `uses` names, or why there is none, in words.
    fn load(&self, uses: &str) -> Result<Arc<WorkflowFile>, String>;
}

/// Returns what `uses` names, seen from nowhere in particular.
///
/// `./path` in a workflow that was itself named by `owner/repository/path@reference` is a file of
/// that repository at that reference.
pub(super) fn absolute(caller: &str, uses: &str) -> String {
    let inside = uses.strip_prefix("./").and_then(|path| {
        let (place, reference) = caller.rsplit_once('@')?;
        let mut parts = place.splitn(3, '/');
        let (owner, repository) = (parts.next()?, parts.next()?);
        Some(format!("{owner}/{repository}/{path}@{reference}"))
    });
    inside.unwrap_or_else(|| uses.to_owned())
}

/// A called workflow, ready to take part.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) file: Arc<WorkflowFile>,
    pub(super) inputs: Value,
    pub(super) secrets: SecretAccess,
}

/// Finds the workflow that a job calls and gives it its inputs and secrets.
pub(super) fn open(
    loader: &dyn WorkflowLoader,
    job: &Job,
    scope: &PlanScope,
    caller: &SecretAccess,
    (from, depth): (&WorkflowFile, usize),
) -> Result<Opened, String> {
    let JobBody::Call(call) = &job.body else {
        return Err("it calls nothing".to_owned());
    };
    let uses = absolute(&from.path, &call.uses.value);
    if depth >= MAX_DEPTH {
        return Err(format!(
            "`{uses}` is called more than {MAX_DEPTH} levels deep"
        ));
    }
    let file = loader.load(&uses)?;
    let Some(interface) = &file.workflow.on.call else {
        return Err(format!(
            "`{uses}` cannot be called: it has no `on: workflow_call`"
        ));
    };
    let mut given = Object::new();
    for (name, token) in &call.with {
        let value = token
            .evaluate(scope)
            .map_err(|error| format!("its input `{name}`: {error}"))?;
        given.insert(name.as_str(), value);
    }
    let inputs = inputs(&interface.inputs, &given, scope)?;
    let secrets = match &call.secrets {
        CallSecrets::Inherit => caller.clone(),
        CallSecrets::Named(names) => SecretAccess::Named {
            names: names
                .iter()
                .map(|(name, token)| (name.clone(), token.clone()))
                .collect(),
            contexts: Box::new(CallerContexts {
                inputs: scope.inputs.clone(),
                needs: scope.needs.clone(),
                matrix: scope.matrix.clone(),
                strategy: scope.strategy.clone(),
            }),
            caller: Arc::new(caller.clone()),
        },
    };
    Ok(Opened {
        file,
        inputs,
        secrets,
    })
}

/// Returns the context `inputs`: what is given, turned to the declared kinds, and the defaults.
///
/// Errors in words when a required input is missing or one does not fit its kind.
pub fn inputs(
    declared: &indexmap::IndexMap<String, Input>,
    given: &Object,
    scope: &dyn crate::expression::Scope,
) -> Result<Value, String> {
    for (name, _) in given.iter() {
        if !declared
            .keys()
            .any(|known| known.eq_ignore_ascii_case(name))
        {
            return Err(format!("input `{name}` is not declared"));
        }
    }
    let mut inputs = Object::new();
    for (name, input) in declared {
        let value = match given
            .get(name)
            .filter(|value| !matches!(value, Value::Null))
        {
            Some(value) => value.clone(),
            None if input.is_required && input.default.is_none() => {
                return Err(format!("input `{name}` is required"));
            }
            None => match &input.default {
                Some(default) => default.evaluate(scope).map_err(|error| error.to_string())?,
                None => Value::Null,
            },
        };
        inputs.insert(name.as_str(), typed(name, input, &value)?);
    }
    Ok(inputs.into())
}

/// Turns an input to its declared kind.
fn typed(name: &str, input: &Input, value: &Value) -> Result<Value, String> {
    let refused = |wanted: &str| {
        Err(format!(
            "input `{name}` must be {wanted}, not `{}`",
            value.to_display_string()
        ))
    };
    match input.kind {
        InputKind::Boolean => match value {
            Value::Boolean(_) => Ok(value.clone()),
            Value::Null => Ok(Value::Boolean(false)),
            _ => match value.to_display_string().as_str() {
                "true" => Ok(Value::Boolean(true)),
                "false" | "" => Ok(Value::Boolean(false)),
                _ => refused("`true` or `false`"),
            },
        },
        InputKind::Number => match value {
            Value::Null => Ok(Value::Number(0.0)),
            _ if value.to_number().is_nan() => refused("a number"),
            _ => Ok(Value::Number(value.to_number())),
        },
        InputKind::Choice => {
            let text = value.to_display_string();
            match input.options.first() {
                Some(first) if matches!(value, Value::Null) => Ok(first.as_str().into()),
                _ if input.options.contains(&text) || input.options.is_empty() => Ok(text.into()),
                _ => refused(&format!("one of {}", input.options.join(", "))),
            }
        }
        InputKind::String | InputKind::Environment => Ok(value.to_display_string().into()),
    }
}

/// Returns the outputs of a called workflow; one that cannot be evaluated is left out.
pub(super) fn outputs(file: &WorkflowFile, scope: &PlanScope) -> Object {
    let declared = file
        .workflow
        .on
        .call
        .iter()
        .flat_map(|interface| interface.outputs.iter());
    declared
        .filter_map(|(name, token)| {
            let value = token.evaluate(scope).ok()?.to_display_string();
            (!value.is_empty()).then(|| (name.as_str(), Value::from(value)))
        })
        .collect()
}
