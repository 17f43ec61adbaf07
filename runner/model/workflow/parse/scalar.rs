//! Texts with `${{ }}` in them, and conditions.

use std::ops::Range;
use std::rc::Rc;

use crate::diagnostic::{Diagnostic, Severity, nearest};
use crate::expression::{
    ConditionForm, Expression, Names, ParseError, ParseErrorKind, Template, condition_with,
};
use crate::workflow::model::Condition;
use crate::workflow::schema::Allowed;
use crate::workflow::token::TokenKind;
use crate::yaml::Node;

use super::kinds::scalar_text;
use super::lint;
use super::reader::{Place, Reader};

impl Reader<'_> {
    /// Reads a text with at least one `${{` in it.
    ///
    /// `None` means that it is wrong, which is reported.
    pub(super) fn text_with_expressions(
        &mut self,
        node: &Node,
        allowed: Allowed,
        place: Place<'_>,
    ) -> Option<TokenKind> {
        let segments = segments(&node.text);
        if let Some(text) = literal_alone(&node.text, &segments) {
            return Some(TokenKind::String(text));
        }
        if allowed == Allowed::NOTHING {
            let span = self.span_in(node, segments.first().map_or(0..0, Clone::clone));
            let message = format!("no expression is allowed in {place}");
            self.error("expression-place", &span, message);
            return None;
        }
        if let Some(directive) = self.directive(node, &segments, place) {
            return directive;
        }
        let names = self.names(allowed);
        match Template::parse_with(&node.text, &names) {
            Ok(template) => Some(TokenKind::Expression(template)),
            Err(first) => {
                self.expression_errors(node, &segments, &first, &names);
                None
            }
        }
    }

    /// Reports what is wrong in each expression of a text; `first` is the first of all.
    fn expression_errors(
        &mut self,
        node: &Node,
        segments: &[Range<usize>],
        first: &ParseError,
        names: &Names,
    ) {
        self.expression_error(node, 0, first, names);
        for range in segments {
            if self.is_full(Severity::Error) {
                return;
            }
            if range.contains(&first.span().start) {
                continue;
            }
            let raw = inside(&node.text, range);
            if let Err(error) = Expression::parse_with(raw.trim(), names) {
                let indent = raw.len() - raw.trim_start().len();
                self.expression_error(node, range.start + 3 + indent, &error, names);
            }
        }
    }

    /// Reads `insert`: `None` where there is none, `Some(None)` where it cannot stand.
    fn directive(
        &mut self,
        node: &Node,
        segments: &[Range<usize>],
        place: Place<'_>,
    ) -> Option<Option<TokenKind>> {
        let text = &node.text;
        let range = segments.iter().find(|range| {
            let mut words = inside(text, range).split_whitespace();
            words.next() == Some("insert")
        })?;
        if inside(text, range).trim() != "insert" {
            let span = self.span_in(node, range.clone());
            self.error("insert-place", &span, "`insert` takes no arguments");
            return Some(None);
        }
        if text.trim() == text.get(range.clone()).unwrap_or_default() {
            return Some(Some(TokenKind::Insert));
        }
        let span = self.span_in(node, range.clone());
        let message =
            format!("`insert` in {place} stands inside a text, but must be the whole of it");
        self.error("insert-place", &span, message);
        Some(None)
    }

    /// Reads an `if` and keeps it for the part that asks for it.
    pub(super) fn condition(&mut self, node: &Node, allowed: Allowed) {
        let text = scalar_text(node);
        let names = self.names(allowed);
        match condition_with(&text, &names) {
            Ok(read) => {
                if read.form() == ConditionForm::AlwaysTrue {
                    self.warn_of_text_around(node, &text);
                }
                let is_constant = read
                    .written()
                    .iter()
                    .all(|(_, one)| one.literal().is_some());
                if is_constant && !read.written().is_empty() {
                    self.report(lint::constant(&node.span));
                }
                self.keep_condition(Condition {
                    expression: read.expression().clone(),
                    text: read.text().to_owned(),
                    span: node.span.clone(),
                    is_written: true,
                });
            }
            Err(first) => self.expression_errors(node, &segments(&text), &first, &names),
        }
    }

    /// Returns what expressions at a place may use, in the words of the expression room.
    fn names(&mut self, allowed: Allowed) -> Rc<Names> {
        let made = self.names.entry(allowed);
        Rc::clone(made.or_insert_with(|| Rc::new(Names::new(allowed.entries()))))
    }

    fn warn_of_text_around(&mut self, node: &Node, text: &str) {
        let first = segments(text).into_iter().next().unwrap_or(0..text.len());
        let span = self.span_in(node, first);
        let problem = Diagnostic::warning(
            "if-always-true",
            &span,
            "this condition is a text with `${{ }}` in it, and a text is always true",
        );
        self.report(problem.with_hint("write the whole condition inside one `${{ }}`, or without"));
    }

    fn expression_error(&mut self, node: &Node, offset: usize, error: &ParseError, names: &Names) {
        let range = error.span();
        let range = range.start + offset..range.end + offset;
        let span = self.span_in(node, range.clone());
        let word = node.text.get(range).unwrap_or_default();
        let code = match error.kind() {
            ParseErrorKind::UnrecognizedNamedValue => "unknown-context",
            ParseErrorKind::UnrecognizedFunction => "unknown-function",
            ParseErrorKind::Unclosed => "expression-unclosed",
            _ => "expression-syntax",
        };
        let mut problem = Diagnostic::error(code, &span, error.summary());
        let contexts: Vec<&str> = names.contexts().collect();
        match error.kind() {
            ParseErrorKind::UnrecognizedNamedValue => {
                problem = problem.with_hint(match nearest(word, contexts.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("what can be used here: {}", contexts.join(", ")),
                });
            }
            ParseErrorKind::UnexpectedSymbol | ParseErrorKind::Lexing if word.contains('"') => {
                problem = problem.with_hint("texts in expressions stand in single quotes");
            }
            _ => {}
        }
        self.report(problem);
    }
}

/// Returns where each `${{ }}` of a text stands, as far as they are closed.
fn segments(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(start) = text.get(from..).and_then(|rest| rest.find("${{")) {
        let start = from + start;
        let Some(end) = end_of_segment(text, start + 3) else {
            break;
        };
        found.push(start..end);
        from = end;
    }
    found
}

/// Returns the byte behind the `}}` that closes an expression; one inside a string does not.
fn end_of_segment(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut in_string = false;
    let mut at = from;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\'' => in_string = !in_string,
            b'}' if !in_string && at > from && bytes.get(at - 1) == Some(&b'}') => {
                return Some(at + 1);
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Returns the expression of a segment.
fn inside<'t>(text: &'t str, range: &Range<usize>) -> &'t str {
    text.get(range.start + 3..range.end.saturating_sub(2))
        .unwrap_or_default()
}

/// Returns the string of a text that is nothing but `${{ 'string' }}`.
fn literal_alone(text: &str, segments: &[Range<usize>]) -> Option<String> {
    let [only] = segments else { return None };
    if only.len() != text.len() {
        return None;
    }
    let quoted = inside(text, only).trim();
    let content = quoted.strip_prefix('\'')?.strip_suffix('\'')?;
    let unescaped = content.replace("''", "");
    (quoted.len() >= 2 && !unescaped.contains('\'')).then(|| content.replace("''", "'"))
}
