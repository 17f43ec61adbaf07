//! Text with `${{ }}` in it.

use std::{ops::Range, sync::Arc};

use super::{
    error::{EvaluationError, MAX_MEMORY, ParseError, ParseErrorKind},
    evaluate::{Scope, text_cost},
    names::Names,
    tree::Expression,
    value::Value,
};

const OPEN: &str = "${{";

/// A part of a template.
#[derive(Debug, Clone)]
pub enum Part {
    /// Text that stands for itself.
    Text {
        /// Its bytes in the template.
        span: Range<usize>,
    },
    /// `${{ … }}`.
    Expression {
        /// Its bytes in the template, with the brackets.
        span: Range<usize>,
        /// Where the expression's own text begins in the template: add it to the spans that the
        /// expression gives.
        offset: usize,
        /// What is between the brackets.
        expression: Expression,
    },
}

/// Text in which `${{ … }}` stands for values.
#[derive(Debug, Clone)]
pub struct Template {
    text: Arc<str>,
    parts: Vec<Part>,
}

impl Template {
    /// Tells whether text holds an expression, so that reading it is worth the time.
    pub fn has_expression(text: &str) -> bool {
        text.contains(OPEN)
    }

    /// Reads a template; every name and every function is taken.
    ///
    /// The span of an error is in the template's text.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Self::parse_with(text, &Names::any())
    }

    /// Reads a template in which only some names may appear.
    pub fn parse_with(text: &str, names: &Names) -> Result<Self, ParseError> {
        let mut parts = Vec::new();
        let mut from = 0;
        while let Some(start) = find(text, from, OPEN) {
            if start > from {
                parts.push(Part::Text { span: from..start });
            }
            let inside = start + OPEN.len();
            let Some(close) = find_close(text, inside) else {
                let unclosed = start..text.len();
                return Err(ParseError::whole(ParseErrorKind::Unclosed, unclosed.len())
                    .shifted(unclosed.start));
            };
            let raw = text.get(inside..close).unwrap_or_default();
            let offset = inside + (raw.len() - raw.trim_start().len());
            let span = start..close + 2;
            let expression = Expression::parse_with(raw.trim(), names).map_err(|error| {
                if error.kind() == ParseErrorKind::ExpressionExpected {
                    ParseError::whole(ParseErrorKind::ExpressionExpected, span.len()).shifted(start)
                } else {
                    error.shifted(offset)
                }
            })?;
            from = span.end;
            parts.push(Part::Expression {
                span,
                offset,
                expression,
            });
        }
        if from < text.len() {
            parts.push(Part::Text {
                span: from..text.len(),
            });
        }
        Ok(Self {
            text: text.into(),
            parts,
        })
    }

    /// Gives the text that was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Gives the parts in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// Goes through the expressions and the offset of each in the template's text.
    pub fn expressions(&self) -> impl Iterator<Item = (usize, &Expression)> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text { .. } => None,
            Part::Expression {
                offset, expression, ..
            } => Some((*offset, expression)),
        })
    }

    /// Tells whether there is no expression at all.
    pub fn is_literal(&self) -> bool {
        self.expressions().next().is_none()
    }

    /// Tells whether the template is one `${{ … }}` with nothing around, not even a space.
    pub fn is_single_expression(&self) -> bool {
        self.single_expression().is_some()
    }

    /// Gives the expression of a template that is one `${{ … }}` with nothing around.
    pub fn single_expression(&self) -> Option<&Expression> {
        match self.parts.as_slice() {
            [Part::Expression { expression, .. }] => Some(expression),
            _ => None,
        }
    }

    /// Checks names and numbers of arguments; the error's span is in the template's text.
    pub fn check(&self, names: &Names) -> Result<(), ParseError> {
        for (offset, expression) in self.expressions() {
            expression
                .check(names)
                .map_err(|error| error.shifted(offset))?;
        }
        Ok(())
    }

    /// Evaluates the template: a lone `${{ … }}` gives its value as it is, anything else a String.
    pub fn evaluate(&self, scope: &dyn Scope) -> Result<Value, EvaluationError> {
        match self.single_expression() {
            Some(expression) => expression.evaluate(scope),
            None => self.evaluate_to_string(scope).map(Value::from),
        }
    }

    /// Evaluates the template to text.
    pub fn evaluate_to_string(&self, scope: &dyn Scope) -> Result<String, EvaluationError> {
        let mut result = String::with_capacity(self.text.len());
        let mut bytes = 0;
        for part in &self.parts {
            let value;
            let piece = match part {
                Part::Text { span } => self.text.get(span.clone()).unwrap_or_default(),
                Part::Expression { expression, .. } => {
                    value = expression.evaluate(scope)?.to_text();
                    &value
                }
            };
            bytes += text_cost(piece);
            if bytes > MAX_MEMORY {
                return Err(EvaluationError::Memory {
                    expression: self.text.as_ref().to_owned(),
                });
            }
            result.push_str(piece);
        }
        Ok(result)
    }

    /// Writes the template as one expression, as GitHub does: `a ${{ b }}` is `format('a {0}', b)`.
    pub fn to_expression_text(&self) -> String {
        if let Some(expression) = self.single_expression() {
            return expression.text().to_owned();
        }
        let mut format = String::new();
        let mut arguments = String::new();
        let mut index = 0_usize;
        for part in &self.parts {
            match part {
                Part::Text { span } => {
                    for c in self.text.get(span.clone()).unwrap_or_default().chars() {
                        format.push(c);
                        if matches!(c, '{' | '}' | '\'') {
                            format.push(c);
                        }
                    }
                }
                Part::Expression { expression, .. } => {
                    format.push('{');
                    format.push_str(&index.to_string());
                    format.push('}');
                    index += 1;
                    arguments.push_str(", ");
                    arguments.push_str(expression.text());
                }
            }
        }
        format!("format('{format}'{arguments})")
    }
}

fn find(text: &str, from: usize, what: &str) -> Option<usize> {
    text.get(from..)?.find(what).map(|at| from + at)
}

/// Finds the `}}` that ends an expression: not one inside a string.
fn find_close(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes().get(from..)?;
    let mut in_string = false;
    let mut before = 0_u8;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\'' => in_string = !in_string,
            b'}' if !in_string && before == b'}' => return Some(from + at - 1),
            _ => {}
        }
        before = *byte;
    }
    None
}
