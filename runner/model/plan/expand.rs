//! A job of a file to the jobs that are run: matrix, names, labels.

use super::concurrency::{self, Concurrency};
use super::environment::{self, Environment};
use super::matrix::{self, Cell};
use super::name;
use super::scope::PlanScope;
use crate::expression::{Object, Value};
use crate::workflow::{Job, JobBody, Strategy, Token, TokenKind};

/// A job after matrix expansion.
#[derive(Debug, Clone)]
pub(super) struct Expansion {
    pub(super) name: String,
    pub(super) matrix: Value,
    pub(super) strategy: Value,
    pub(super) runs_on: Vec<String>,
    pub(super) concurrency: Option<Concurrency>,
    pub(super) environment: Option<Environment>,
    pub(super) is_fail_fast: bool,
    pub(super) max_parallel: Option<usize>,
    /// `continue-on-error`: its failure does not fail the run.
    pub(super) may_fail: bool,
    /// Whether it was told of.
    pub(super) is_announced: bool,
}

impl Expansion {
    /// Returns what stands for a job that ends before it is expanded.
    pub(super) fn unexpanded(job: &Job, id: &str, scope: &PlanScope) -> Self {
        Self {
            name: literal_name(job, scope).unwrap_or_else(|| id.to_owned()),
            matrix: Value::Null,
            strategy: Value::Null,
            runs_on: Vec::new(),
            concurrency: None,
            environment: None,
            is_fail_fast: false,
            max_parallel: None,
            may_fail: false,
            is_announced: false,
        }
    }

    /// Returns the job's scope with the contexts of this cell.
    pub(super) fn scope(&self, scope: &PlanScope) -> PlanScope {
        PlanScope {
            matrix: self.matrix.clone(),
            strategy: self.strategy.clone(),
            ..scope.clone()
        }
    }
}

/// Tells whether a cell has one of the values that are asked for, under every key that is asked for
/// and that it has.
pub(super) fn is_kept_cell(wanted: &[(String, String)], matrix: &Value) -> bool {
    wanted.iter().all(|(key, _)| {
        matrix.get(key).is_none_or(|value| {
            let value = value.to_display_string();
            wanted
                .iter()
                .any(|(other, wanted)| other == key && *wanted == value)
        })
    })
}

/// Expands a job; the error says in words why it cannot be.
pub(super) fn expand(job: &Job, id: &str, scope: &PlanScope) -> Result<Vec<Expansion>, String> {
    let settings = Settings::read(job.strategy.as_ref(), scope)?;
    let cells = match &settings.matrix {
        Value::Null => vec![None],
        value => {
            let cells = matrix::expand(value).map_err(|error| error.to_string())?;
            cells.into_iter().map(Some).collect()
        }
    };
    let total = cells.len();
    let made = cells.into_iter().enumerate();
    made.map(|(index, cell)| one(job, id, scope, (&settings, cell.as_ref(), index, total)))
        .collect()
}

fn one(
    job: &Job,
    id: &str,
    scope: &PlanScope,
    (settings, cell, index, total): (&Settings, Option<&Cell>, usize, usize),
) -> Result<Expansion, String> {
    let strategy: Value = Object::new()
        .with("fail-fast", settings.is_fail_fast)
        .with("job-index", number(index))
        .with("job-total", number(total))
        .with(
            "max-parallel",
            number(settings.max_parallel.unwrap_or(total)),
        )
        .into();
    let matrix = cell.map_or(Value::Null, |cell| cell.values().clone().into());
    let scope = PlanScope {
        matrix: matrix.clone(),
        strategy: strategy.clone(),
        ..scope.clone()
    };
    let (runs_on, may_fail) = match &job.body {
        JobBody::Steps(body) => {
            let may_fail = evaluated(body.continue_on_error.as_ref(), &scope, "continue-on-error")?;
            (
                labels(&body.runs_on, &scope)?,
                truth(&may_fail, "continue-on-error")?,
            )
        }
        JobBody::Call(_) => (Vec::new(), false),
    };
    Ok(Expansion {
        concurrency: concurrency::evaluate(job.concurrency.as_ref(), &scope)?,
        environment: environment_of(job, &scope)?,
        name: job_name(job, id, &scope, cell),
        matrix,
        strategy,
        runs_on,
        is_fail_fast: settings.is_fail_fast,
        max_parallel: settings.max_parallel,
        may_fail,
        is_announced: false,
    })
}

fn environment_of(job: &Job, scope: &PlanScope) -> Result<Option<Environment>, String> {
    match &job.body {
        JobBody::Steps(body) => environment::evaluate(body.environment.as_ref(), scope),
        JobBody::Call(_) => Ok(None),
    }
}

/// Returns the name on the checks page: a literal one, or the id, with the cell's values behind
/// it; one with expressions as it is evaluated.
fn job_name(job: &Job, id: &str, scope: &PlanScope, cell: Option<&Cell>) -> String {
    let has_expression = job
        .name
        .as_ref()
        .is_some_and(|name| matches!(name.kind, TokenKind::Expression(_)));
    let own = literal_name(job, scope);
    match (own, cell) {
        (Some(own), _) if has_expression => name::shown(&own),
        (own, Some(cell)) => cell.name(own.as_deref().unwrap_or(id)),
        (own, None) => name::shown(own.as_deref().unwrap_or(id)),
    }
}

fn literal_name(job: &Job, scope: &PlanScope) -> Option<String> {
    let value = job.name.as_ref()?.evaluate(scope).ok()?.to_display_string();
    (!value.is_empty()).then_some(value)
}

/// The parts of `strategy`.
struct Settings {
    matrix: Value,
    is_fail_fast: bool,
    max_parallel: Option<usize>,
}

impl Settings {
    fn read(strategy: Option<&Strategy>, scope: &PlanScope) -> Result<Self, String> {
        let Some(strategy) = strategy else {
            return Ok(Self {
                matrix: Value::Null,
                is_fail_fast: true,
                max_parallel: None,
            });
        };
        // The whole of `strategy` can be one expression.
        let whole = evaluated(strategy.whole.as_ref(), scope, "strategy")?;
        let part = |token: Option<&Token>, key: &str| match token {
            Some(_) => evaluated(token, scope, &format!("strategy.{key}")),
            None => Ok(whole.get(key).cloned().unwrap_or_default()),
        };
        let fail_fast = part(strategy.fail_fast.as_ref(), "fail-fast")?;
        let max_parallel =
            part(strategy.max_parallel.as_ref(), "max-parallel")?.to_display_string();
        let max_parallel = match max_parallel.as_str() {
            "" => None,
            text => Some(text.parse::<usize>().map_err(|_| {
                format!("`strategy.max-parallel` must be a whole number, not `{text}`")
            })?),
        };
        Ok(Self {
            matrix: part(strategy.matrix.as_ref(), "matrix")?,
            is_fail_fast: matches!(fail_fast, Value::Null)
                || truth(&fail_fast, "strategy.fail-fast")?,
            max_parallel: max_parallel.filter(|limit| *limit > 0),
        })
    }
}

fn evaluated(token: Option<&Token>, scope: &PlanScope, key: &str) -> Result<Value, String> {
    match token {
        Some(token) => token
            .evaluate(scope)
            .map_err(|error| format!("`{key}`: {}", error_text(&error))),
        None => Ok(Value::Null),
    }
}

/// Returns an error and its cause as one line.
fn error_text(error: &dyn std::error::Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

fn truth(value: &Value, key: &str) -> Result<bool, String> {
    match value.to_display_string().as_str() {
        "true" => Ok(true),
        "false" | "" => Ok(false),
        other => Err(format!("`{key}` must be `true` or `false`, not `{other}`")),
    }
}

/// Returns the labels of `runs-on`; a group as `group:NAME`.
fn labels(token: &Token, scope: &PlanScope) -> Result<Vec<String>, String> {
    let value = evaluated(Some(token), scope, "runs-on")?;
    let list = |value: &Value| match value.as_array() {
        Some(items) => items
            .iter()
            .map(Value::to_display_string)
            .collect::<Vec<_>>(),
        None => vec![value.to_display_string()],
    };
    let labels = if value.as_object().is_some() {
        let group = value
            .get("group")
            .map(|group| format!("group:{}", group.to_display_string()));
        value
            .get("labels")
            .map(list)
            .unwrap_or_default()
            .into_iter()
            .chain(group)
            .collect()
    } else {
        list(&value)
    };
    let labels: Vec<String> = labels
        .into_iter()
        .filter(|label| !label.is_empty())
        .collect();
    if labels.is_empty() {
        Err("`runs-on` names no runner".to_owned())
    } else {
        Ok(labels)
    }
}

fn number(count: usize) -> Value {
    Value::Number(u32::try_from(count).map_or(f64::INFINITY, f64::from))
}
