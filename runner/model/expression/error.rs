//! What can be wrong with an expression: before it runs, and while it runs.

use std::ops::Range;

use thiserror::Error;

/// The most levels that the tree of an expression may have.
pub const MAX_DEPTH: usize = 50;
/// The most UTF-16 units that an expression may have.
pub const MAX_LENGTH: usize = 21_000;
/// The most bytes that evaluating one expression may use, by GitHub's way of counting.
pub const MAX_MEMORY: usize = 10 * 1024 * 1024;

/// Which part of reading refused the expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ParseErrorKind {
    /// Characters that form no word of the language, as an unclosed string.
    Lexing,
    /// A word at a place where it cannot stand.
    UnexpectedSymbol,
    /// The expression ends where more must follow.
    UnexpectedEnd,
    /// A function that is not offered here.
    UnrecognizedFunction,
    /// A context that is not offered here.
    UnrecognizedNamedValue,
    /// A function with too few arguments.
    TooFewParameters,
    /// A function with too many arguments.
    TooManyParameters,
    /// `case` with an even number of arguments.
    EvenParameters,
    /// A tree of more than [`MAX_DEPTH`] levels.
    TooDeep,
    /// More than [`MAX_LENGTH`] UTF-16 units.
    TooLong,
    /// Nothing between `${{` and `}}`, or an empty expression.
    ExpressionExpected,
    /// `${{` without its `}}`.
    Unclosed,
}

impl ParseErrorKind {
    /// Tells the class of the error, `lexing` or `parsing`.
    pub fn class(self) -> &'static str {
        match self {
            Self::Lexing => "lexing",
            _ => "parsing",
        }
    }

    fn description(self) -> String {
        match self {
            Self::Lexing | Self::UnexpectedSymbol => "Unexpected symbol".to_owned(),
            Self::UnexpectedEnd => "Unexpected end of expression".to_owned(),
            Self::UnrecognizedFunction => "Unrecognized function".to_owned(),
            Self::UnrecognizedNamedValue => "Unrecognized named-value".to_owned(),
            Self::TooFewParameters => "Too few parameters supplied".to_owned(),
            Self::TooManyParameters => "Too many parameters supplied".to_owned(),
            Self::EvenParameters => "Even number of parameters supplied, requires an odd number \
                                     of parameters"
                .to_owned(),
            Self::TooDeep => format!("Exceeded max expression depth {MAX_DEPTH}"),
            Self::TooLong => format!("Exceeded max expression length {MAX_LENGTH}"),
            Self::ExpressionExpected => "An expression was expected".to_owned(),
            Self::Unclosed => "The expression is not closed. An unescaped ${{ sequence was found, \
                               but the closing }} sequence was not found."
                .to_owned(),
        }
    }
}

/// An expression that cannot be read: the workflow's author's fault.
///
/// The text of the error is GitHub's own, with the place counted from 1 in UTF-16 units, since
/// people search for it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct ParseError {
    kind: ParseErrorKind,
    span: Range<usize>,
    summary: String,
    message: String,
}

impl ParseError {
    /// Makes an error about the whole text.
    pub(super) fn whole(kind: ParseErrorKind, length: usize) -> Self {
        let summary = kind.description();
        Self {
            kind,
            span: 0..length,
            message: summary.clone(),
            summary,
        }
    }

    /// Makes an error about one word of an expression.
    pub(super) fn at(kind: ParseErrorKind, expression: &str, span: Range<usize>) -> Self {
        let token = expression.get(span.clone()).unwrap_or_default();
        let position = expression
            .get(..span.start)
            .map_or(0, |before| before.encode_utf16().count())
            + 1;
        let summary = format!("{}: '{token}'", kind.description());
        Self {
            kind,
            message: format!(
                "{summary}. Located at position {position} within expression: {expression}"
            ),
            summary,
            span,
        }
    }

    /// Moves the place by the offset of the expression in a longer text.
    pub(super) fn shifted(mut self, offset: usize) -> Self {
        self.span = self.span.start + offset..self.span.end + offset;
        self
    }

    /// Tells what is wrong.
    pub fn kind(&self) -> ParseErrorKind {
        self.kind
    }

    /// Tells where: bytes of the text that was given to read.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Tells what is wrong without the place, as `Unexpected symbol: ')'`.
    pub fn summary(&self) -> &str {
        &self.summary
    }
}

/// An expression that could be read but has no value.
///
/// All variants are the workflow's author's fault, but for `Outside`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EvaluationError {
    /// A brace in a format string that stands alone.
    #[error("The following format string is invalid: {format}")]
    InvalidFormat {
        /// The format string.
        format: String,
    },
    /// A format string with a number beyond the arguments.
    #[error("The following format string references more arguments than were supplied: {format}")]
    TooFewFormatArguments {
        /// The format string.
        format: String,
    },
    /// A format string with `{0:…}`.
    #[error("The format specifiers '{specifiers}' are not valid for objects of type '{kind}'")]
    FormatSpecifiers {
        /// What follows the colon.
        specifiers: String,
        /// The kind of the argument.
        kind: &'static str,
    },
    /// A condition of `case` that is not a Boolean.
    #[error("case predicate must evaluate to a boolean value")]
    CasePredicate,
    /// Text that is no JSON.
    #[error("Error parsing fromJson: {problem}")]
    Json {
        /// What the reader of JSON says.
        problem: String,
    },
    /// More than [`MAX_MEMORY`] bytes.
    #[error(
        "The maximum allowed memory size was exceeded while evaluating the following \
         expression: {expression}"
    )]
    Memory {
        /// The expression.
        expression: String,
    },
    /// A context that the scope does not know.
    #[error("Unrecognized named-value: '{name}'")]
    UnrecognizedNamedValue {
        /// The context's name.
        name: String,
    },
    /// A function that nobody knows.
    #[error("Unrecognized function: '{name}'")]
    UnrecognizedFunction {
        /// The function's name.
        name: String,
    },
    /// A function with the wrong number of arguments.
    #[error("Wrong number of parameters supplied: '{name}'")]
    ParameterCount {
        /// The function's name.
        name: String,
    },
    /// A function that needs the outside world could not get it: the machine's fault, or the
    /// arguments'.
    #[error("{name} failed: {problem}")]
    Outside {
        /// The function's name.
        name: &'static str,
        /// What was wrong.
        problem: String,
    },
}
