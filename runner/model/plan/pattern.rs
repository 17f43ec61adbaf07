//! GitHub's language of filter patterns, as in `branches`, `tags` and `paths`.

use regex::{Regex, RegexBuilder};
use thiserror::Error;

use crate::diagnostic::Severity;

/// The characters that a backslash makes plain.
const SPECIAL: &str = "[]?*+!\\";

/// What a pattern is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatternKind {
    /// The name of a branch or a tag.
    Ref,
    /// The path of a file from the root of the repository.
    Path,
}

/// What is wrong in a pattern.
///
/// An error is what GitHub refuses. A warning is a pattern that no name can match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternProblem {
    /// How much it weighs.
    pub severity: Severity,
    /// The character of the pattern, from 1.
    pub column: usize,
    /// What is wrong, as a lowercase fragment.
    pub message: String,
}

/// A pattern could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PatternError {
    /// The workflow's author: the pattern breaks the rules of the language.
    #[error("pattern `{pattern}` is invalid at character {column}: {message}")]
    Invalid {
        /// The pattern as it was written.
        pattern: String,
        /// The character of the pattern, from 1.
        column: usize,
        /// What is wrong, as a lowercase fragment.
        message: String,
    },
    /// The workflow's author: the pattern is so large that it cannot be compiled.
    #[error("pattern `{pattern}` is too large")]
    TooLarge {
        /// The pattern as it was written.
        pattern: String,
    },
}

/// A pattern that is ready to be held against names.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    negative: bool,
    regex: Regex,
}

impl Pattern {
    /// Reads a pattern; a `!` at its start makes it negative.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let (pieces, problems) = read(text);
        if let Some(problem) = problems
            .into_iter()
            .find(|problem| problem.severity == Severity::Error)
        {
            return Err(PatternError::Invalid {
                pattern: text.to_owned(),
                column: problem.column,
                message: problem.message,
            });
        }
        let regex = RegexBuilder::new(&to_regex(&pieces))
            .dot_matches_new_line(true)
            .build()
            .map_err(|_| PatternError::TooLarge {
                pattern: text.to_owned(),
            })?;
        Ok(Self {
            text: text.to_owned(),
            negative: text.starts_with('!'),
            regex,
        })
    }

    /// Tells whether the pattern takes out what earlier ones let in.
    pub fn is_negative(&self) -> bool {
        self.negative
    }

    /// Tells whether the whole name fits the pattern; the `!` plays no part in it.
    pub fn matches(&self, name: &str) -> bool {
        self.regex.is_match(name)
    }

    /// Returns the pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The patterns of one filter, in order.
#[derive(Debug, Clone)]
pub struct PatternList(Vec<Pattern>);

impl PatternList {
    /// Reads the patterns of one filter.
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Self, PatternError> {
        patterns
            .iter()
            .map(|pattern| Pattern::new(pattern.as_ref()))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Tells whether the list lets a name in: the last pattern that fits it decides.
    pub fn includes(&self, name: &str) -> bool {
        self.0
            .iter()
            .rev()
            .find(|pattern| pattern.matches(name))
            .is_some_and(|pattern| !pattern.is_negative())
    }
}

/// Tells whether the patterns of `branches`, `tags` or `paths` let nothing in at all.
///
/// That is so where each of them only takes out, for which GitHub's documentation asks for another
/// one: the workflow never runs.
pub fn only_takes_out<S: AsRef<str>>(patterns: &[S]) -> bool {
    !patterns.is_empty()
        && patterns
            .iter()
            .all(|pattern| pattern.as_ref().starts_with('!'))
}

/// Finds everything that is wrong in a pattern.
pub fn check(text: &str, kind: PatternKind) -> Vec<PatternProblem> {
    let (pieces, mut problems) = read(text);
    for piece in &pieces {
        if let Token::Literal(c @ ('\n' | '\r')) = piece.token {
            let message = format!("no name has a line break {c:?} in it");
            problems.push(problem(Severity::Warning, piece.column, message));
        }
    }
    if kind == PatternKind::Ref {
        check_ref(&pieces, &mut problems);
    }
    problems.sort_by_key(|problem| problem.column);
    problems
}

/// Finds what git allows in no name of a branch or tag.
fn check_ref(pieces: &[Piece], problems: &mut Vec<PatternProblem>) {
    let mut warn = |piece: &Piece, words: &str, c: char| {
        let message = format!("the name of a branch or tag cannot {words} {c:?}");
        problems.push(problem(Severity::Warning, piece.column, message));
    };
    for piece in pieces {
        match piece.token {
            Token::Literal(c @ (' ' | '\t' | '~' | '^' | ':' | '[' | '?' | '*')) => {
                warn(piece, "contain", c);
            }
            Token::Literal('\\') if !piece.escaped => warn(piece, "contain", '\\'),
            _ => {}
        }
    }
    if let Some(first) = pieces.first()
        && first.token == Token::Literal('/')
    {
        warn(first, "begin with", '/');
    }
    if let Some(last) = pieces.last()
        && let Token::Literal(c @ ('/' | '.')) = last.token
    {
        warn(last, "end with", c);
    }
}

fn problem(severity: Severity, column: usize, message: impl Into<String>) -> PatternProblem {
    PatternProblem {
        severity,
        column,
        message: message.into(),
    }
}

/// One part of a pattern.
#[derive(Debug, PartialEq)]
struct Piece {
    column: usize,
    escaped: bool,
    token: Token,
}

#[derive(Debug, PartialEq)]
enum Token {
    Literal(char),
    /// `*`: anything but `/`.
    Star,
    /// `**`: anything.
    DoubleStar,
    /// `**/` at the start of a segment: any folders, or none.
    Folders,
    /// `?`: the piece before, or not.
    Optional,
    /// `+`: the piece before, once or more.
    Repeated,
    /// `[…]`: one of these characters.
    Class(Vec<(char, char)>),
}

/// Splits a pattern into its pieces, and finds what GitHub refuses.
fn read(text: &str) -> (Vec<Piece>, Vec<PatternProblem>) {
    let mut reader = Reader {
        rest: text,
        column: 1,
        pieces: Vec::new(),
        problems: Vec::new(),
    };
    if text.is_empty() {
        reader.fail(1, "a pattern cannot be empty");
    }
    if reader.eat('!') && reader.rest.is_empty() {
        reader.fail(1, "nothing follows the '!'");
    }
    while reader.piece() {}
    (reader.pieces, reader.problems)
}

struct Reader<'a> {
    rest: &'a str,
    column: usize,
    pieces: Vec<Piece>,
    problems: Vec<PatternProblem>,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next()?;
        self.rest = chars.as_str();
        self.column += 1;
        Some(c)
    }

    fn eat(&mut self, c: char) -> bool {
        self.rest.starts_with(c) && self.next().is_some()
    }

    fn fail(&mut self, column: usize, message: impl Into<String>) {
        self.problems
            .push(problem(Severity::Error, column, message));
    }

    /// Reads one piece; false at the end.
    fn piece(&mut self) -> bool {
        let column = self.column;
        let Some(c) = self.next() else { return false };
        let mut escaped = false;
        let token = match c {
            '*' if self.eat('*') => {
                let begins_segment = self
                    .pieces
                    .last()
                    .is_none_or(|before| before.token == Token::Literal('/'));
                if begins_segment && self.eat('/') {
                    Token::Folders
                } else {
                    Token::DoubleStar
                }
            }
            '*' => Token::Star,
            '?' | '+' => {
                let repeats = self.pieces.last().is_some_and(|before| {
                    matches!(before.token, Token::Literal(_) | Token::Class(_))
                });
                if !repeats {
                    let message = format!("{c:?} follows no character that it could count");
                    self.fail(column, message);
                }
                if c == '?' {
                    Token::Optional
                } else {
                    Token::Repeated
                }
            }
            '[' => self.class(column),
            '\\' => match self.rest.chars().next() {
                Some(special) if SPECIAL.contains(special) => {
                    self.next();
                    escaped = true;
                    Token::Literal(special)
                }
                _ => Token::Literal(c),
            },
            c => Token::Literal(c),
        };
        self.pieces.push(Piece {
            column,
            escaped,
            token,
        });
        true
    }

    /// Reads what stands between brackets.
    fn class(&mut self, start: usize) -> Token {
        let mut ranges = Vec::new();
        loop {
            let column = self.column;
            match self.next() {
                None => {
                    self.fail(start, "the ']' of this '[' is missing");
                    break;
                }
                Some(']') => {
                    if ranges.is_empty() {
                        self.fail(start, "no characters stand in '[]'");
                    }
                    break;
                }
                Some(first) => {
                    if !self.eat('-') {
                        ranges.push((first, first));
                        continue;
                    }
                    match self.rest.chars().next() {
                        None => {}
                        Some(']') => {
                            self.fail(column, format!("the range from {first:?} has no end"));
                            ranges.push((first, first));
                        }
                        Some(last) => {
                            self.next();
                            if first > last {
                                let message =
                                    format!("the range from {first:?} to {last:?} is upside down");
                                self.fail(column, message);
                            } else {
                                ranges.push((first, last));
                            }
                        }
                    }
                }
            }
        }
        Token::Class(ranges)
    }
}

fn to_regex(pieces: &[Piece]) -> String {
    let mut regex = String::from(r"\A");
    for piece in pieces {
        match &piece.token {
            Token::Literal(c) => regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
            Token::Star => regex.push_str("[^/]*"),
            Token::DoubleStar => regex.push_str(".*"),
            Token::Folders => regex.push_str("(?:.+/)?"),
            Token::Optional => regex.push('?'),
            Token::Repeated => regex.push('+'),
            Token::Class(ranges) => {
                regex.push('[');
                for (first, last) in ranges {
                    for part in [r"\x{", &hex(*first), r"}-\x{", &hex(*last), "}"] {
                        regex.push_str(part);
                    }
                }
                regex.push(']');
            }
        }
    }
    regex.push_str(r"\z");
    regex
}

fn hex(c: char) -> String {
    format!("{:x}", u32::from(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_the_cheat_sheet_says() {
        for (pattern, name, expected) in [
            ("*", "main", true),
            ("*", "a/b", false),
            ("**", "a/b", true),
            ("feature/*", "feature/a", true),
            ("feature/*", "feature/a/b", false),
            ("feature/**", "feature/a/b", true),
            ("**/docs/**", "docs/a.md", true),
            ("**/docs/**", "x/docs/a.md", true),
            ("**/docs/**", "x/mydocs/a.md", false),
            ("a**/b", "a/b", true),
            ("a**/b", "ab", false),
            ("docs/**/*.md", "docs/a.md", true),
            ("*.jsx?", "page.js", true),
            ("*.jsx?", "page.jsx", true),
            ("*.jsx?", "page.jsxx", false),
            ("v[12].[0-9]+.[0-9]+", "v2.10.0", true),
            ("v[12].[0-9]+.[0-9]+", "v3.1.0", false),
            ("v[12].[0-9]+.[0-9]+", "v1.x.0", false),
            ("[^a]", "^", true),
            ("[^a]", "b", false),
            ("a.b", "axb", false),
            ("(a|b)", "a", false),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("a\\d", "a\\d", true),
            ("Main", "main", false),
            ("grün", "grün", true),
            ("!main", "main", true),
        ] {
            let compiled = Pattern::new(pattern).unwrap();
            assert_eq!(compiled.matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn the_last_pattern_that_fits_decides() {
        for (patterns, name, expected) in [
            (
                vec!["releases/**", "!releases/**-alpha"],
                "releases/10",
                true,
            ),
            (
                vec!["releases/**", "!releases/**-alpha"],
                "releases/10-alpha",
                false,
            ),
            (
                vec!["!releases/**-alpha", "releases/**"],
                "releases/10-alpha",
                true,
            ),
            (vec!["!main"], "other", false),
            (vec![], "main", false),
        ] {
            let list = PatternList::new(&patterns).unwrap();
            assert_eq!(list.includes(name), expected, "{patterns:?} {name}");
        }
    }

    #[test]
    fn a_list_of_negative_patterns_lets_nothing_in() {
        assert!(only_takes_out(&["!main", "!dev"]));
        assert!(!only_takes_out(&["!main", "**"]));
        assert!(!only_takes_out::<&str>(&[]));
    }

    #[test]
    fn problems_have_a_place_and_a_weight() {
        use Severity::{Error, Warning};
        for (pattern, kind, expected) in [
            ("", PatternKind::Ref, vec![(Error, 1)]),
            ("!", PatternKind::Path, vec![(Error, 1)]),
            ("ab*?", PatternKind::Path, vec![(Error, 4)]),
            ("!+", PatternKind::Ref, vec![(Error, 2)]),
            ("a++", PatternKind::Ref, vec![(Error, 3)]),
            ("x[a-", PatternKind::Ref, vec![(Error, 2)]),
            ("[z-a]", PatternKind::Path, vec![(Error, 2), (Error, 1)]),
            ("é[a-]", PatternKind::Path, vec![(Error, 3)]),
            ("a b/", PatternKind::Ref, vec![(Warning, 2), (Warning, 4)]),
            ("a b/", PatternKind::Path, vec![]),
            ("/a", PatternKind::Ref, vec![(Warning, 1)]),
            ("a\\[b", PatternKind::Ref, vec![(Warning, 2)]),
            ("a\\b", PatternKind::Ref, vec![(Warning, 2)]),
            ("a\nb", PatternKind::Path, vec![(Warning, 2)]),
        ] {
            let problems = check(pattern, kind);
            let mut got: Vec<_> = problems
                .iter()
                .map(|problem| (problem.severity, problem.column))
                .collect();
            let mut expected = expected;
            got.sort();
            expected.sort();
            assert_eq!(got, expected, "{pattern:?} {problems:?}");
            let refused = expected.iter().any(|(severity, _)| *severity == Error);
            assert_eq!(Pattern::new(pattern).is_err(), refused, "{pattern:?}");
        }
    }
}
