//! `runner eval`: an expression to its value.

use serde_json::json;

use super::arguments::{EvalArguments, EvalAs, Format};
use super::error::{CliError, ErrorKind, ExitCode};
use super::{write_line, write_note};
use crate::engine::hash_files;
use crate::expression::{
    EvaluationError, Expression, Names, Object, ParseError, Scope, StatusFunction, Template, Value,
    condition_with,
};

/// Evaluates an expression and prints its value.
pub(super) fn eval(arguments: &EvalArguments) -> Result<ExitCode, CliError> {
    let contexts = contexts(arguments.context.as_deref())?;
    let scope = GivenScope { contexts };
    let result = evaluate(&arguments.expression, arguments.mode, &scope);
    let is_json = arguments.format == Format::Json;
    Ok(match result {
        Ok(value) if is_json => {
            write_line(
                &json!({"kind": value.kind().name(), "value": serde_json::Value::from(&value)})
                    .to_string(),
            );
            ExitCode::Success
        }
        Ok(value) => {
            let text = if value.is_primitive() {
                value.to_display_string()
            } else {
                format!("{:#}", serde_json::Value::from(&value))
            };
            write_line(&text);
            ExitCode::Success
        }
        Err((kind, message)) if is_json => {
            write_line(&json!({"error": {"kind": kind, "message": message}}).to_string());
            ExitCode::Invalid
        }
        Err((_, message)) => {
            write_note(&format!("error: {message}"));
            ExitCode::Invalid
        }
    })
}

/// What is wrong: its kind by the contract, and the message.
type EvalError = (&'static str, String);

fn evaluate(text: &str, mode: EvalAs, scope: &GivenScope) -> Result<Value, EvalError> {
    let names = scope.names();
    let parsing = |error: ParseError| (error.kind().class(), error.to_string());
    let evaluation = |error: EvaluationError| ("evaluation", error.to_string());
    match mode {
        EvalAs::Syntax => Expression::parse(text)
            .map(|_| Value::Boolean(true))
            .map_err(parsing),
        EvalAs::Value => Expression::parse_with(text, &names)
            .map_err(parsing)?
            .evaluate(scope)
            .map_err(evaluation),
        EvalAs::If => {
            let condition = condition_with(text, &names).map_err(parsing)?;
            condition
                .evaluate(scope)
                .map(Value::Boolean)
                .map_err(evaluation)
        }
        EvalAs::Template => {
            let template = Template::parse_with(text, &names).map_err(parsing)?;
            template
                .evaluate_to_string(scope)
                .map(Value::from)
                .map_err(evaluation)
        }
    }
}

/// The contexts that the command line gives.
struct GivenScope {
    contexts: Object,
}

impl GivenScope {
    fn names(&self) -> Names {
        const FUNCTIONS: [&str; 5] = [
            "always(0,0)",
            "cancelled(0,0)",
            "failure(0,0)",
            "success(0,0)",
            "hashFiles(1,255)",
        ];
        let contexts = self.contexts.iter().map(|(name, _)| name);
        Names::new(contexts.chain(FUNCTIONS))
    }

    fn job_status(&self) -> String {
        let status = self.contexts.get("job").and_then(|job| job.get("status"));
        status.map_or_else(
            || "success".to_owned(),
            |status| status.to_display_string().to_lowercase(),
        )
    }
}

impl Scope for GivenScope {
    fn context(&self, name: &str) -> Option<Value> {
        self.contexts.get(name).cloned()
    }

    fn status(
        &self,
        function: StatusFunction,
        _arguments: &[Value],
    ) -> Result<bool, EvaluationError> {
        let status = self.job_status();
        Ok(match function {
            StatusFunction::Always => true,
            StatusFunction::Success => status == "success",
            StatusFunction::Failure => status == "failure",
            StatusFunction::Cancelled => status == "cancelled",
        })
    }

    fn hash_files(&self, patterns: &[String]) -> Result<String, EvaluationError> {
        let here = std::env::current_dir().map_err(|error| EvaluationError::Outside {
            name: "hashFiles",
            problem: error.to_string(),
        })?;
        hash_files(&here, patterns)
    }
}

fn contexts(given: Option<&str>) -> Result<Object, CliError> {
    let Some(given) = given else {
        return Ok(Object::new());
    };
    let text = match given.strip_prefix('@') {
        Some(file) => std::fs::read_to_string(file).map_err(|source| {
            CliError::new(ErrorKind::Usage, format!("`{file}` could not be read")).because(source)
        })?,
        None => given.to_owned(),
    };
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|source| {
        CliError::new(ErrorKind::Usage, "`--context` is no JSON").because(source)
    })?;
    match Value::from(&value) {
        Value::Object(object) => Ok(Object::clone(&object)),
        _ => Err(CliError::new(
            ErrorKind::Usage,
            "`--context` must be a JSON object whose keys are the contexts",
        )),
    }
}
