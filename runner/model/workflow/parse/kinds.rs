//! What a scalar is, and whether a definition takes it.

use crate::expression::format_number;
use crate::workflow::schema::{Definition, Shape};
use crate::workflow::token::TokenKind;
use crate::yaml::{Kind, Node};

/// Returns the value of a scalar without an expression.
pub(super) fn literal(node: &Node) -> TokenKind {
    match node.kind {
        Kind::Boolean(value) => TokenKind::Boolean(value),
        Kind::Integer(_) | Kind::Float(_) => TokenKind::Number(number(node)),
        Kind::String => TokenKind::String(node.text.clone()),
        Kind::Null | Kind::Sequence(_) | Kind::Mapping(_) => TokenKind::Null,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "GitHub's numbers are doubles, also those written without a fraction"
)]
fn number(node: &Node) -> f64 {
    match node.kind {
        Kind::Integer(value) => value as f64,
        Kind::Float(value) => value,
        _ => 0.0,
    }
}

/// Returns a scalar as the text that GitHub makes of it.
pub(super) fn scalar_text(node: &Node) -> String {
    match node.kind {
        Kind::Boolean(value) => value.to_string(),
        Kind::Integer(_) | Kind::Float(_) => format_number(number(node)),
        Kind::String => node.text.clone(),
        Kind::Null | Kind::Sequence(_) | Kind::Mapping(_) => String::new(),
    }
}

/// Tells whether a text may stand where a value has this shape.
pub(super) fn fits_text(shape: &Shape, text: &str) -> bool {
    match shape {
        Shape::Any | Shape::Text => true,
        Shape::Filled => !text.is_empty(),
        Shape::Words(words) => words.contains(&text),
        _ => false,
    }
}

/// Lists the words that a definition takes.
pub(super) fn words(definition: &'static Definition) -> Vec<&'static str> {
    let mut words = Vec::new();
    definition.any(&mut |choice| {
        if let Shape::Words(some) = choice.shape {
            words.extend(some);
        }
        false
    });
    words
}

/// Says what a definition takes, as `expected text or a list`.
pub(super) fn expected(definition: &'static Definition) -> String {
    let mut kinds: Vec<String> = Vec::new();
    definition.any(&mut |choice| {
        let kind = match &choice.shape {
            Shape::Any | Shape::Apart => "any value".to_owned(),
            Shape::Null => "nothing".to_owned(),
            Shape::Boolean => "`true` or `false`".to_owned(),
            Shape::Number => "a number".to_owned(),
            Shape::Text | Shape::Filled | Shape::Condition => "text".to_owned(),
            Shape::Words(words) => words
                .iter()
                .map(|word| format!("`{word}`"))
                .collect::<Vec<_>>()
                .join(", "),
            Shape::Sequence(_) => "a list".to_owned(),
            Shape::Mapping { .. } => "a mapping".to_owned(),
            Shape::OneOf(_) => return false,
        };
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
        false
    });
    format!("expected {}", kinds.join(" or "))
}
