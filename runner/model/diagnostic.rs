//! What is wrong in a file that a person wrote, with its place and a hint.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A place in a text; line and column count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

impl Position {
    /// The first character of a text.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A stretch of a text, by positions for people and by bytes for drawing.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Span {
    /// Where it begins.
    pub start: Position,
    /// Where it ends; this position is no longer part of it.
    pub end: Position,
    /// The same in bytes of the text.
    pub bytes: Range<usize>,
}

impl Span {
    /// An empty stretch at the start of a text, for problems of the whole file.
    pub const START: Self = Self {
        start: Position::START,
        end: Position::START,
        bytes: 0..0,
    };

    /// Returns the stretch from the start of this one to the end of `other`.
    pub fn to(&self, other: &Self) -> Self {
        Self {
            start: self.start,
            end: other.end,
            bytes: self.bytes.start..other.bytes.end,
        }
    }
}

/// How much a diagnostic weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but something in it will surprise.
    Warning,
    /// Good to know.
    Info,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        })
    }
}

/// One problem in a file: what, where and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How much it weighs.
    pub severity: Severity,
    /// A short, stable name of the rule, as `unknown-key`.
    pub code: &'static str,
    /// What is wrong, as a lowercase fragment with names in backticks.
    pub message: String,
    /// Where it is.
    pub span: Span,
    /// What to do about it.
    pub hint: Option<String>,
    /// Another place that belongs to it, with the words to put there.
    pub related: Option<(Span, String)>,
}

impl Diagnostic {
    /// Returns an error without hint.
    pub fn error(code: &'static str, span: &Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            span: span.clone(),
            hint: None,
            related: None,
        }
    }

    /// Returns a warning without hint.
    pub fn warning(code: &'static str, span: &Span, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(code, span, message)
        }
    }

    /// Returns the same with what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Returns the same with another place that belongs to it.
    #[must_use]
    pub fn with_related(mut self, span: &Span, words: impl Into<String>) -> Self {
        self.related = Some((span.clone(), words.into()));
        self
    }

    /// Tells whether the file cannot be used because of this.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}[{}]: {}",
            self.span.start, self.severity, self.code, self.message
        )
    }
}

/// Tells whether any of the diagnostics is an error.
pub fn has_errors(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(Diagnostic::is_error)
}

/// Returns the known word that is nearest to a mistyped one, where one is near enough.
///
/// Near means an edit distance (with swaps of neighbours) of at most a third of the word's length.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let limit = (word.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| (edit_distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Counts the insertions, removals, replacements and swaps of neighbours between two words.
fn edit_distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut current = vec![i + 1];
        for (j, right) in b.iter().enumerate() {
            let at =
                |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
            let replaced = at(&previous, j) + usize::from(left != right);
            let mut best = replaced
                .min(at(&previous, j + 1) + 1)
                .min(at(&current, j) + 1);
            let swapped =
                i > 0 && j > 0 && a.get(i - 1) == Some(right) && b.get(j - 1) == Some(left);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut previous, current);
    }
    previous.last().copied().unwrap_or(0)
}

/// Returns an error with its causes as one line, a cause that says the same again left out.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_a_mistyped_word_and_nothing_far_away() {
        let known = ["steps", "needs", "runs-on", "strategy"];
        for (word, expected) in [
            ("step", Some("steps")),
            ("Steps", Some("steps")),
            ("nedes", Some("needs")),
            ("run-on", Some("runs-on")),
            ("startegy", Some("strategy")),
            ("banana", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }

    #[test]
    fn a_span_reaches_to_the_end_of_another() {
        let at = |line, column, byte| Span {
            start: Position { line, column },
            end: Position {
                line,
                column: column + 1,
            },
            bytes: byte..byte + 1,
        };
        let joined = at(1, 2, 1).to(&at(3, 4, 20));
        assert_eq!(joined.start, Position { line: 1, column: 2 });
        assert_eq!(joined.end, Position { line: 3, column: 5 });
        assert_eq!(joined.bytes, 1..21);
    }
}
