//! The text of an `if:`.

use super::{
    error::{EvaluationError, ParseError},
    evaluate::Scope,
    names::Names,
    template::{Part, Template},
    tree::Expression,
};

/// How a condition was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionForm {
    /// Nothing but space: `success()` is meant.
    Empty,
    /// An expression without `${{ }}`.
    Bare,
    /// One `${{ }}` with nothing around.
    Bracketed,
    /// `${{ }}` with text around, which makes a text that is never empty and so always true.
    AlwaysTrue,
}

/// A condition as GitHub understands it.
#[derive(Debug, Clone)]
pub struct Condition {
    expression: Expression,
    /// What the author wrote, each with its offset in the text of `if:`.
    written: Vec<(usize, Expression)>,
    form: ConditionForm,
    implies_success: bool,
}

/// Reads the text of an `if:`, with or without `${{ }}`; every name and every function is taken.
///
/// `success() && (…)` is put around it unless its tree calls `always`, `cancelled`, `failure` or
/// `success`; the words inside a string do not count. Nothing but space means `success()`. Text
/// around `${{ }}` makes the condition a `format(…)`, whose text is true whatever the values are.
/// Spans of errors are in the text of the `if:`.
pub fn condition(text: &str) -> Result<Condition, ParseError> {
    condition_with(text, &Names::any())
}

/// Reads the text of an `if:` in which only some names may appear.
pub fn condition_with(text: &str, names: &Names) -> Result<Condition, ParseError> {
    let (inner, written, form) = read(text, names)?;
    let Some(inner) = inner else {
        return Ok(Condition {
            expression: Expression::parse("success()")?,
            written,
            form,
            implies_success: true,
        });
    };
    let calls_status = written
        .iter()
        .any(|(_, expression)| expression.calls_status_function());
    let expression = if calls_status {
        inner
    } else {
        inner.under_success()
    };
    Ok(Condition {
        expression,
        written,
        form,
        implies_success: !calls_status,
    })
}

type Read = (Option<Expression>, Vec<(usize, Expression)>, ConditionForm);

fn read(text: &str, names: &Names) -> Result<Read, ParseError> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Ok((None, Vec::new(), ConditionForm::Empty));
    }
    if !Template::has_expression(text) {
        let offset = text.len() - text.trim_start().len();
        let expression =
            Expression::parse_with(trimmed, names).map_err(|error| error.shifted(offset))?;
        let written = vec![(offset, expression.clone())];
        return Ok((Some(expression), written, ConditionForm::Bare));
    }
    let template = Template::parse_with(text, names)?;
    let form = if template.is_single_expression() {
        ConditionForm::Bracketed
    } else {
        ConditionForm::AlwaysTrue
    };
    let expression = match template.single_expression() {
        Some(expression) => expression.clone(),
        None => Expression::parse(&template.to_expression_text())?,
    };
    let written = template
        .parts()
        .iter()
        .filter_map(|part| match part {
            Part::Text { .. } => None,
            Part::Expression {
                offset, expression, ..
            } => Some((*offset, expression.clone())),
        })
        .collect();
    Ok((Some(expression), written, form))
}

impl Condition {
    /// Gives the condition that is evaluated.
    pub fn expression(&self) -> &Expression {
        &self.expression
    }

    /// Gives the text of the condition that is evaluated, as `success() && (env.A)`.
    pub fn text(&self) -> &str {
        self.expression.text()
    }

    /// Gives the expressions that the author wrote, each with its offset in the text of the `if:`.
    pub fn written(&self) -> &[(usize, Expression)] {
        &self.written
    }

    /// Tells how the condition was written.
    pub fn form(&self) -> ConditionForm {
        self.form
    }

    /// Tells whether the `success()` in it is implied.
    pub fn implies_success(&self) -> bool {
        self.implies_success
    }

    /// Tells whether the condition that is evaluated differs from what the author wrote.
    pub fn is_rewritten(&self) -> bool {
        self.implies_success || self.form == ConditionForm::AlwaysTrue
    }

    /// Evaluates the condition.
    pub fn evaluate(&self, scope: &dyn Scope) -> Result<bool, EvaluationError> {
        self.expression
            .evaluate(scope)
            .map(|value| value.is_truthy())
    }
}
