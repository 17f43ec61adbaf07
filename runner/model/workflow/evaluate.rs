//! Tokens to values: expressions evaluated, `${{ insert }}` merged.

use indexmap::IndexMap;
use thiserror::Error;

use super::token::{Token, TokenKind};
use crate::diagnostic::Span;
use crate::expression::{EvaluationError, Object, Scope, Value};

/// A value of the workflow file could not be evaluated.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum TokenError {
    /// The workflow's: an expression failed.
    #[error("the expression failed")]
    Expression {
        /// Where it stands.
        span: Span,
        /// Why.
        #[source]
        source: EvaluationError,
    },
    /// The workflow's: the value of `${{ insert }}` has no pairs.
    #[error("`insert` needs an object, but got a value of kind `{kind}`")]
    Insert {
        /// Where the value stands.
        span: Span,
        /// What it is.
        kind: &'static str,
    },
    /// The workflow's: a key came twice, at least once out of an expression.
    #[error("key `{key}` is already defined")]
    DuplicateKey {
        /// Where the second one stands.
        span: Span,
        /// The key.
        key: String,
    },
    /// The workflow's: a value is of another kind than its place needs.
    #[error("expected {expected}, but got a value of kind `{kind}`")]
    Kind {
        /// Where the value stands.
        span: Span,
        /// What was expected.
        expected: &'static str,
        /// What it is.
        kind: &'static str,
    },
}

impl TokenError {
    /// Returns where the value stands.
    pub fn span(&self) -> &Span {
        match self {
            Self::Expression { span, .. }
            | Self::Insert { span, .. }
            | Self::DuplicateKey { span, .. }
            | Self::Kind { span, .. } => span,
        }
    }

    fn kind(token: &Token, expected: &'static str, value: &Value) -> Self {
        Self::Kind {
            span: token.span.clone(),
            expected,
            kind: value.kind().name(),
        }
    }
}

impl Token {
    /// Evaluates the token and all that is in it.
    ///
    /// Keys of a mapping are evaluated like values; the pairs of `${{ insert }}` stand where it
    /// stood. A key that comes twice is an error, as on GitHub.
    pub fn evaluate(&self, scope: &dyn Scope) -> Result<Value, TokenError> {
        match &self.kind {
            TokenKind::Null | TokenKind::Insert => Ok(Value::Null),
            TokenKind::Boolean(value) => Ok(Value::Boolean(*value)),
            TokenKind::Number(value) => Ok(Value::Number(*value)),
            TokenKind::String(text) => Ok(Value::String(text.as_str().into())),
            TokenKind::Expression(template) => {
                template
                    .evaluate(scope)
                    .map_err(|source| TokenError::Expression {
                        span: self.span.clone(),
                        source,
                    })
            }
            TokenKind::Sequence(items) => items
                .iter()
                .map(|item| item.evaluate(scope))
                .collect::<Result<_, _>>()
                .map(Value::array),
            TokenKind::Mapping(pairs) => {
                let mut object = Object::new();
                for (key, value) in pairs {
                    insert(&mut object, scope, key, value)?;
                }
                Ok(object.into())
            }
        }
    }

    /// Evaluates the token to text: nothing is empty, numbers and booleans as GitHub writes them.
    ///
    /// Lists and mappings are an error.
    pub fn evaluate_text(&self, scope: &dyn Scope) -> Result<String, TokenError> {
        let value = self.evaluate(scope)?;
        if value.is_primitive() {
            Ok(value.to_text().as_ref().to_owned())
        } else {
            Err(TokenError::kind(self, "text", &value))
        }
    }

    /// Evaluates the token to a boolean, as `continue-on-error` needs one.
    ///
    /// The texts `true` and `false` count, since an input of an action is always a text.
    pub fn evaluate_boolean(&self, scope: &dyn Scope) -> Result<bool, TokenError> {
        let value = self.evaluate(scope)?;
        match &value {
            Value::Boolean(boolean) => Ok(*boolean),
            Value::String(text) if &**text == "true" => Ok(true),
            Value::String(text) if &**text == "false" => Ok(false),
            _ => Err(TokenError::kind(self, "a boolean", &value)),
        }
    }

    /// Evaluates the token to a number, as `timeout-minutes` needs one.
    ///
    /// A text that is a number counts.
    pub fn evaluate_number(&self, scope: &dyn Scope) -> Result<f64, TokenError> {
        let value = self.evaluate(scope)?;
        let number = match &value {
            Value::Number(number) => *number,
            Value::String(text) if !text.trim().is_empty() => value.to_number(),
            _ => f64::NAN,
        };
        if number.is_nan() {
            Err(TokenError::kind(self, "a number", &value))
        } else {
            Ok(number)
        }
    }

    /// Evaluates the token to texts by their keys, as `env` and `with` need them.
    pub fn evaluate_texts(
        &self,
        scope: &dyn Scope,
    ) -> Result<IndexMap<String, String>, TokenError> {
        let value = self.evaluate(scope)?;
        let Value::Object(object) = &value else {
            return if matches!(value, Value::Null) {
                Ok(IndexMap::new())
            } else {
                Err(TokenError::kind(self, "a mapping", &value))
            };
        };
        object
            .iter()
            .map(|(key, value)| {
                if value.is_primitive() {
                    Ok((key.to_owned(), value.to_text().as_ref().to_owned()))
                } else {
                    Err(TokenError::kind(
                        self.get(key).unwrap_or(self),
                        "text",
                        value,
                    ))
                }
            })
            .collect()
    }
}

/// Adds one pair of a mapping, or all pairs that `${{ insert }}` brings.
fn insert(
    object: &mut Object,
    scope: &dyn Scope,
    key: &Token,
    value: &Token,
) -> Result<(), TokenError> {
    let mut add = |name: &str, added: Value| {
        if object.get(name).is_some() {
            return Err(TokenError::DuplicateKey {
                span: key.span.clone(),
                key: name.to_owned(),
            });
        }
        object.insert(name, added);
        Ok(())
    };
    if !matches!(key.kind, TokenKind::Insert) {
        return add(&key.evaluate_text(scope)?, value.evaluate(scope)?);
    }
    let merged = value.evaluate(scope)?;
    let Value::Object(pairs) = &merged else {
        return Err(TokenError::Insert {
            span: value.span.clone(),
            kind: merged.kind().name(),
        });
    };
    for (name, added) in pairs.iter() {
        add(name, added.clone())?;
    }
    Ok(())
}
