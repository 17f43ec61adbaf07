//! Expression text to words.

use std::ops::Range;

use super::{number::parse_number, value::Value};

/// A word of an expression.
#[derive(Debug, Clone)]
pub(super) enum Token {
    Literal(Value),
    /// A name after `.`.
    Property,
    /// A name before `(`.
    Function,
    /// Any other name.
    NamedValue,
    Open,
    Close,
    OpenIndex,
    CloseIndex,
    Comma,
    Dot,
    Star,
    Not,
    Operator(Operator),
    /// Characters that form no word.
    Unexpected,
}

/// An operator between two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
    And,
    Or,
}

impl Operator {
    /// How strongly the operator binds.
    pub(super) fn strength(self) -> u8 {
        match self {
            Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual => 4,
            Self::Equal | Self::NotEqual => 3,
            Self::And => 2,
            Self::Or => 1,
        }
    }
}

/// What the reader waits for: the same characters mean other words at other places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Where an operand begins: at the start, after an operator, `(`, `[` or `,`.
    Operand,
    /// After `.`.
    Member,
    /// After anything else.
    Other,
}

/// Reads the words of an expression one by one.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    offset: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, offset: 0 }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.offset..).unwrap_or_default()
    }

    /// Reads the next word and tells its bytes; `None` at the end.
    pub(super) fn next(&mut self, place: Place) -> Option<(Token, Range<usize>)> {
        let rest = self.rest();
        self.offset += rest.len() - rest.trim_start().len();
        let rest = self.rest();
        let first = rest.chars().next()?;
        let start = self.offset;
        let (token, length) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '[' => (Token::OpenIndex, 1),
            ']' => (Token::CloseIndex, 1),
            ',' => (Token::Comma, 1),
            '*' => (Token::Star, 1),
            '\'' => string(rest),
            '!' | '>' | '<' | '=' | '&' | '|' => operator(rest),
            '.' if place != Place::Operand => (Token::Dot, 1),
            '.' | '-' | '+' | '0'..='9' => number(rest),
            _ => keyword(rest, place),
        };
        self.offset = start + length;
        Some((token, start..self.offset))
    }
}

/// Tells whether a character ends a name or a number.
fn is_boundary(c: char) -> bool {
    matches!(
        c,
        '(' | '[' | ')' | ']' | ',' | '.' | '!' | '>' | '<' | '=' | '&' | '|'
    ) || c.is_whitespace()
}

/// Counts the bytes up to the next boundary; the first character always belongs to the word.
fn word_length(rest: &str, also: Option<char>) -> usize {
    rest.char_indices()
        .skip(1)
        .find(|(_, c)| is_boundary(*c) && Some(*c) != also)
        .map_or(rest.len(), |(at, _)| at)
}

fn number(rest: &str) -> (Token, usize) {
    let length = word_length(rest, Some('.'));
    let number = parse_number(rest.get(..length).unwrap_or_default());
    if number.is_nan() {
        (Token::Unexpected, length)
    } else {
        (Token::Literal(Value::Number(number)), length)
    }
}

fn operator(rest: &str) -> (Token, usize) {
    let two = match rest.as_bytes() {
        [b'!', b'=', ..] => Some(Operator::NotEqual),
        [b'>', b'=', ..] => Some(Operator::GreaterOrEqual),
        [b'<', b'=', ..] => Some(Operator::LessOrEqual),
        [b'=', b'=', ..] => Some(Operator::Equal),
        [b'&', b'&', ..] => Some(Operator::And),
        [b'|', b'|', ..] => Some(Operator::Or),
        _ => None,
    };
    if let Some(operator) = two {
        return (Token::Operator(operator), 2);
    }
    match rest.as_bytes().first() {
        Some(b'!') => (Token::Not, 1),
        Some(b'>') => (Token::Operator(Operator::Greater), 1),
        Some(b'<') => (Token::Operator(Operator::Less), 1),
        _ => (Token::Unexpected, word_length(rest, None)),
    }
}

/// Reads a string, in which two quotes stand for one.
fn string(rest: &str) -> (Token, usize) {
    let mut text = String::new();
    let mut from = 1;
    while let Some(quote) = rest
        .get(from..)
        .and_then(|rest| rest.find('\''))
        .map(|at| from + at)
    {
        text.push_str(rest.get(from..quote).unwrap_or_default());
        if rest.as_bytes().get(quote + 1) != Some(&b'\'') {
            return (Token::Literal(Value::from(text)), quote + 1);
        }
        text.push('\'');
        from = quote + 2;
    }
    (Token::Unexpected, rest.len())
}

fn keyword(rest: &str, place: Place) -> (Token, usize) {
    let length = word_length(rest, None);
    let word = rest.get(..length).unwrap_or_default();
    if !is_name(word) {
        return (Token::Unexpected, length);
    }
    if place == Place::Member {
        return (Token::Property, length);
    }
    let token = match word {
        "null" => Token::Literal(Value::Null),
        "true" => Token::Literal(Value::Boolean(true)),
        "false" => Token::Literal(Value::Boolean(false)),
        "NaN" => Token::Literal(Value::Number(f64::NAN)),
        "Infinity" => Token::Literal(Value::Number(f64::INFINITY)),
        _ => {
            let after = rest.get(length..).unwrap_or_default().trim_start();
            if after.starts_with('(') {
                Token::Function
            } else {
                Token::NamedValue
            }
        }
    };
    (token, length)
}

/// Tells whether a text can follow `.`: a letter or `_`, then letters, digits, `_`, `-`.
pub(super) fn is_name(word: &str) -> bool {
    let mut bytes = word.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}
