//! A value of a workflow file: literals, lists, mappings, and text with expressions in it.

use crate::diagnostic::Span;
use crate::expression::Template;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct Token {
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub kind: TokenKind,
}

/// The kind of a token, with its value.
#[derive(Debug, Clone)]
pub enum TokenKind {
    /// Nothing.
    Null,
    /// True or false.
    Boolean(bool),
    /// A number.
    Number(f64),
    /// Text without an expression.
    String(String),
    /// Text with at least one `${{ }}` in it.
    Expression(Template),
    /// A list.
    Sequence(Vec<Token>),
    /// Keys and values in the order written; a key can be `${{ insert }}`.
    Mapping(Vec<(Token, Token)>),
}

impl Token {
    /// Returns the text if it is a string without an expression.
    pub fn as_literal(&self) -> Option<&str> {
        match &self.kind {
            TokenKind::String(text) => Some(text),
            _ => None,
        }
    }
}
