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
    /// `${{ insert }}`, only as a key: the pairs of its value stand here.
    Insert,
    /// A list.
    Sequence(Vec<Token>),
    /// Keys and values in the order written.
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

    /// Returns the list if it is one.
    pub fn as_sequence(&self) -> Option<&[Self]> {
        match &self.kind {
            TokenKind::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// Returns the pairs if it is a mapping.
    pub fn as_mapping(&self) -> Option<&[(Self, Self)]> {
        match &self.kind {
            TokenKind::Mapping(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// Returns the value of a literal key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let pair = |(name, _): &&(Self, Self)| name.as_literal() == Some(key);
        self.as_mapping()?.iter().find(pair).map(|(_, value)| value)
    }

    /// Returns where a literal key of a mapping stands.
    pub fn key_span(&self, key: &str) -> Option<&Span> {
        let pair = |(name, _): &&(Self, Self)| name.as_literal() == Some(key);
        self.as_mapping()?
            .iter()
            .find(pair)
            .map(|(name, _)| &name.span)
    }

    /// Tells whether it is an expression or one stands anywhere in it.
    pub fn has_expression(&self) -> bool {
        match &self.kind {
            TokenKind::Expression(_) | TokenKind::Insert => true,
            TokenKind::Sequence(items) => items.iter().any(Self::has_expression),
            TokenKind::Mapping(pairs) => pairs
                .iter()
                .any(|(key, value)| key.has_expression() || value.has_expression()),
            TokenKind::Null
            | TokenKind::Boolean(_)
            | TokenKind::Number(_)
            | TokenKind::String(_) => false,
        }
    }
}
