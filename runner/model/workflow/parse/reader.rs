//! Reads a YAML tree against the tables of `schema`: which keys, which kinds, which expressions.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use crate::diagnostic::{Diagnostic, Severity, Span, nearest};
use crate::expression::Names;
use crate::workflow::model::Condition;
use crate::workflow::schema::{ANY, Allowed, Definition, Shape};
use crate::workflow::token::{Token, TokenKind};
use crate::yaml::{Entry, Kind, Mapping, Node};

use super::keys::Keys;
use super::kinds::{expected, fits_text, literal, scalar_text, words};
use super::lines::Lines;

/// How deep lists and mappings may nest; GitHub's `MaxDepth`.
const MAX_DEPTH: usize = 50;

/// How many errors, and how many warnings, of one file are worth a person's time.
const MAX_FOUND: usize = 1000;

/// Reads values and collects what is wrong with them.
pub(in crate::workflow) struct Reader<'a> {
    lines: Lines<'a>,
    found: Vec<Diagnostic>,
    /// How many of them are errors.
    errors: usize,
    /// The conditions, by the byte where they begin.
    conditions: HashMap<usize, Condition>,
    /// What expressions may use, made once for each kind of place.
    pub(super) names: HashMap<Allowed, Rc<Names>>,
    depth: usize,
}

/// How messages call the place of a value.
#[derive(Clone, Copy)]
pub(in crate::workflow) enum Place<'a> {
    /// The file.
    File(&'static str),
    /// The value of a key whose name says enough.
    Key(&'a str),
    /// A named thing: job `build`.
    Named(&'static str, &'a str),
    /// A thing without a name: a step.
    Item(&'static str),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(what) => f.write_str(what),
            Self::Key(key) => write!(f, "`{key}`"),
            Self::Named(what, name) => write!(f, "{what} `{name}`"),
            Self::Item(what) => write!(f, "a {what}"),
        }
    }
}

impl<'a> Place<'a> {
    fn of_key(definition: &Definition, key: &'a str) -> Self {
        if definition.what.is_empty() {
            Self::Key(key)
        } else {
            Self::Named(definition.what, key)
        }
    }
}

impl<'a> Reader<'a> {
    pub(in crate::workflow) fn new(source: &'a str) -> Self {
        Self {
            lines: Lines::of(source),
            found: Vec::new(),
            errors: 0,
            conditions: HashMap::new(),
            names: HashMap::new(),
            depth: 0,
        }
    }

    /// Ends the reading and returns what was found, in the order of the file.
    pub(in crate::workflow) fn into_found(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|problem| problem.span.start);
        self.found
    }

    /// Adds a problem.
    pub(in crate::workflow) fn report(&mut self, problem: Diagnostic) {
        if self.is_full(problem.severity) {
            return;
        }
        if problem.is_error() {
            self.errors += 1;
        }
        self.found.push(problem);
    }

    /// Tells whether no further problem of this severity is kept, so that none need be looked for.
    pub(in crate::workflow) fn is_full(&self, severity: Severity) -> bool {
        let count = match severity {
            Severity::Error => self.errors,
            Severity::Warning | Severity::Info => self.found.len() - self.errors,
        };
        count >= MAX_FOUND
    }

    /// Adds an error without hint.
    pub(in crate::workflow) fn error(
        &mut self,
        code: &'static str,
        span: &Span,
        message: impl Into<String>,
    ) {
        self.report(Diagnostic::error(code, span, message));
    }

    /// Takes the condition that stands at `span`, if one was read there.
    pub(in crate::workflow) fn condition_at(&self, span: &Span) -> Option<&Condition> {
        self.conditions.get(&span.bytes.start)
    }

    pub(super) fn keep_condition(&mut self, condition: Condition) {
        self.conditions
            .insert(condition.span.bytes.start, condition);
    }

    /// Returns where the bytes `range` of a scalar's text stand in the file.
    pub(in crate::workflow) fn span_in(&self, node: &Node, range: Range<usize>) -> Span {
        self.lines.span(node, range)
    }

    /// Reads a value that stands under `place`.
    ///
    /// Reports every problem in it and returns what could be read all the same.
    pub(in crate::workflow) fn read(
        &mut self,
        node: &Node,
        definition: &'static Definition,
        place: Place<'_>,
    ) -> Token {
        self.value(node, definition, Allowed::NOTHING, place)
    }

    fn value(
        &mut self,
        node: &Node,
        definition: &'static Definition,
        outer: Allowed,
        place: Place<'_>,
    ) -> Token {
        if matches!(definition.shape, Shape::Apart) {
            return token(&node.span, TokenKind::Null);
        }
        let allowed = outer.and(definition.allowed);
        if matches!(node.kind, Kind::Sequence(_) | Kind::Mapping(_)) {
            if self.depth >= MAX_DEPTH {
                let message = format!("lists and mappings nest deeper than {MAX_DEPTH} levels");
                self.error("too-deep", &node.span, message);
                return token(&node.span, TokenKind::Null);
            }
            self.depth += 1;
            let read = match &node.kind {
                Kind::Sequence(items) => self.sequence(node, items, definition, allowed, place),
                Kind::Mapping(mapping) => self.mapping(node, mapping, definition, allowed, place),
                _ => token(&node.span, TokenKind::Null),
            };
            self.depth -= 1;
            return read;
        }
        self.scalar(node, definition, allowed, place)
    }

    fn sequence(
        &mut self,
        node: &Node,
        items: &[Node],
        definition: &'static Definition,
        allowed: Allowed,
        place: Place<'_>,
    ) -> Token {
        let mut item_definition = None;
        let mut is_any = false;
        definition.any(&mut |choice| {
            match choice.shape {
                Shape::Sequence(item) => item_definition = Some(item),
                Shape::Any => is_any = true,
                _ => return false,
            }
            true
        });
        if is_any {
            item_definition = Some(definition);
        }
        let Some(item_definition) = item_definition else {
            let message = format!("{place} cannot be a list: {}", expected(definition));
            self.error("wrong-kind", &self.head(node), message);
            return token(&node.span, TokenKind::Null);
        };
        let item_place = if item_definition.what.is_empty() {
            place
        } else {
            Place::Item(item_definition.what)
        };
        let read = items
            .iter()
            .map(|item| self.value(item, item_definition, allowed, item_place))
            .collect();
        token(&node.span, TokenKind::Sequence(read))
    }

    fn mapping(
        &mut self,
        node: &Node,
        mapping: &Mapping,
        definition: &'static Definition,
        allowed: Allowed,
        place: Place<'_>,
    ) -> Token {
        let mut keys = Keys::of(definition);
        if keys.open.is_empty() {
            let message = format!("{place} cannot be a mapping: {}", expected(definition));
            self.error("wrong-kind", &self.head(node), message);
            return token(&node.span, TokenKind::Null);
        }
        let mut pairs = Vec::with_capacity(mapping.entries.len());
        for entry in mapping.iter() {
            let Some(key) = self.key(entry, allowed, place) else {
                continue;
            };
            let TokenKind::String(name) = &key.kind else {
                keys.has_expression = true;
                let any = keys.others_alone().unwrap_or(&ANY);
                let value = self.value(&entry.value, any, allowed, place);
                pairs.push((key, value));
                continue;
            };
            if let Some(property) = keys.take(name) {
                let inner = Place::of_key(property.definition, property.key);
                let value = self.value(&entry.value, property.definition, allowed, inner);
                pairs.push((key, value));
            } else if let Some(others) = keys.others() {
                let value = if name.is_empty() {
                    self.error("empty-key", &key.span, format!("a key in {place} is empty"));
                    token(&entry.value.span, TokenKind::Null)
                } else {
                    self.value(&entry.value, others, allowed, Place::of_key(others, name))
                };
                pairs.push((key, value));
            } else {
                let problem = keys.unknown(name, &key.span, place);
                self.report(problem);
            }
        }
        self.missing(&keys, &self.head(node), place);
        token(&node.span, TokenKind::Mapping(pairs))
    }

    /// Reads a key; text, an expression or `${{ insert }}`.
    fn key(&mut self, entry: &Entry, allowed: Allowed, place: Place<'_>) -> Option<Token> {
        let node = &entry.key;
        if !node.is_scalar() {
            let message = format!(
                "a key in {place} is a {}, but must be text",
                node.kind_name()
            );
            self.error("wrong-kind", &self.head(node), message);
            return None;
        }
        if node.kind == Kind::String && node.text.contains("${{") {
            let kind = self.text_with_expressions(node, allowed, place)?;
            return Some(token(&node.span, kind));
        }
        Some(token(&node.span, TokenKind::String(scalar_text(node))))
    }

    fn missing(&mut self, keys: &Keys, span: &Span, place: Place<'_>) {
        if keys.open.len() > 1 {
            let choices: Vec<String> = keys
                .open
                .iter()
                .filter_map(|open| open.properties.iter().find(|property| property.is_required))
                .map(|property| format!("`{}`", property.key))
                .collect();
            let message = format!("{place} has none of {}", choices.join(", "));
            self.error("missing-key", span, message);
            return;
        }
        if keys.has_expression {
            return;
        }
        for open in &keys.open {
            for property in open.properties {
                if property.is_required && !keys.seen.contains(&property.key) {
                    let message = format!("{place} lacks the required key `{}`", property.key);
                    self.error("missing-key", span, message);
                }
            }
        }
    }

    fn scalar(
        &mut self,
        node: &Node,
        definition: &'static Definition,
        allowed: Allowed,
        place: Place<'_>,
    ) -> Token {
        if matches!(definition.shape, Shape::Condition) {
            self.condition(node, allowed);
            return token(&node.span, TokenKind::String(scalar_text(node)));
        }
        if node.kind == Kind::String && node.text.contains("${{") {
            let Some(kind) = self.text_with_expressions(node, allowed, place) else {
                return token(&node.span, TokenKind::Null);
            };
            if let TokenKind::String(text) = &kind {
                self.check_literal(node, text, definition, place);
            } else if matches!(kind, TokenKind::Insert) {
                let message = format!("`insert` can only be a key, but stands as value of {place}");
                self.error("insert-place", &node.span, message);
            }
            return token(&node.span, kind);
        }
        let literal = literal(node);
        let fits = definition.any(&mut |choice| match (&choice.shape, &literal) {
            (Shape::Any, _)
            | (Shape::Null, TokenKind::Null)
            | (Shape::Boolean, TokenKind::Boolean(_))
            | (Shape::Number, TokenKind::Number(_)) => true,
            (shape, TokenKind::String(text)) => fits_text(shape, text),
            _ => false,
        });
        if fits {
            return token(&node.span, literal);
        }
        let text = scalar_text(node);
        self.check_literal(node, &text, definition, place);
        token(&node.span, TokenKind::String(text))
    }

    /// Reports a text that the definition does not take.
    fn check_literal(
        &mut self,
        node: &Node,
        text: &str,
        definition: &'static Definition,
        place: Place<'_>,
    ) {
        if definition.any(&mut |choice| fits_text(&choice.shape, text)) {
            return;
        }
        let expected = expected(definition);
        if text.is_empty() {
            let message = format!("{place} is empty: {expected}");
            self.error("empty-value", &node.span, message);
            return;
        }
        let mut problem = Diagnostic::error(
            "wrong-value",
            &node.span,
            format!("`{text}` is no value of {place}: {expected}"),
        );
        if let Some(word) = nearest(text, words(definition)) {
            problem = problem.with_hint(format!("did you mean `{word}`?"));
        }
        self.report(problem);
    }

    /// Returns where a text first stands inside a span.
    pub(in crate::workflow) fn find_in(&self, span: &Span, text: &str) -> Span {
        self.lines.find_in(span, text)
    }

    /// Returns the part of a span on its first line.
    pub(in crate::workflow) fn start(&self, span: &Span) -> Span {
        self.lines.cut(span)
    }

    /// Returns the span of a value cut at the end of its first line or key, for a caret.
    pub(in crate::workflow) fn head(&self, node: &Node) -> Span {
        match &node.kind {
            Kind::Mapping(mapping) => match mapping.entries.first() {
                Some(entry) if entry.key.is_scalar() => entry.key.span.clone(),
                _ => self.lines.cut(&node.span),
            },
            _ => self.lines.cut(&node.span),
        }
    }
}

pub(super) fn token(span: &Span, kind: TokenKind) -> Token {
    Token {
        span: span.clone(),
        kind,
    }
}
