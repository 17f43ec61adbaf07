//! Builds the tree from the parser's events.

use std::collections::{HashMap, HashSet};

use granit_parser::{Event, Parser, ScalarStyle, StrInput, Tag, options};

use super::node::{Entry, Kind, Mapping, Node, Style};
use super::{core12, psych};
use crate::diagnostic::{Diagnostic, Position, Span};

/// How deep collections may nest.
const MAX_DEPTH: usize = 100;

/// How many nodes a file may have, those that aliases repeat counted each time.
const MAX_NODES: usize = 200_000;

/// Which plain scalars mean what, and which extras are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// YAML 1.2's core schema, as GitHub reads workflows: `yes`, `on` and `012` stay text or
    /// decimal, `<<` is an ordinary key, a key may stand once (without case).
    Core12,
    /// Ruby's Psych, as Kamal reads its files: YAML 1.1's booleans and octals, `<<` merges, of
    /// keys that stand twice the last one counts.
    Psych,
}

/// Reads one document.
///
/// `Ok(None)` is an empty file. All duplicate keys are reported at once; a syntax error ends the
/// reading and comes alone.
pub fn parse(source: &str, schema: Schema) -> Result<Option<Node>, Vec<Diagnostic>> {
    let parser = Parser::new_from_str_with_options(
        source,
        options! { emit_comments: false, block_nesting_limit: MAX_DEPTH, flow_nesting_limit: MAX_DEPTH },
    );
    let mut builder = Builder {
        parser,
        schema,
        anchors: HashMap::new(),
        nodes: 0,
        found: Vec::new(),
    };
    let root = match builder.document() {
        Ok(root) => root,
        Err(problem) => return Err(vec![*problem]),
    };
    if builder.found.is_empty() {
        Ok(root)
    } else {
        Err(builder.found)
    }
}

struct Builder<'a> {
    parser: Parser<'a, StrInput<'a>>,
    schema: Schema,
    /// The node of each anchor, and how many nodes it has.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    found: Vec<Diagnostic>,
}

type Parsed<'a> = (Event<'a>, Span);

impl<'a> Builder<'a> {
    fn document(&mut self) -> Result<Option<Node>, Box<Diagnostic>> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::DocumentStart(..) if root.is_some() => {
                    return fail(Diagnostic::error(
                        "yaml-documents",
                        &span,
                        "a second document begins here, but only one is read",
                    )
                    .with_hint(
                        "remove the line `---`, or put the second document in a file of its own",
                    ));
                }
                Event::DocumentStart(..) => {
                    let first = self.next()?;
                    root = Some(self.node(first)?);
                }
                Event::StreamEnd => break,
                _ => {}
            }
        }
        Ok(root.filter(|node| !(node.is_null() && node.is_omitted)))
    }

    fn next(&mut self) -> Result<Parsed<'a>, Box<Diagnostic>> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, span_from(&span))),
            Some(Err(error)) => {
                let marker = error.marker();
                let position = position(marker.line(), marker.col());
                let at = Span {
                    start: position,
                    end: position,
                    bytes: 0..0,
                };
                fail(Diagnostic::error(
                    "yaml-syntax",
                    &at,
                    format!("invalid YAML: {}", error.info()),
                ))
            }
            None => fail(Diagnostic::error(
                "yaml-syntax",
                &Span::START,
                "the file ends too early",
            )),
        }
    }

    fn node(&mut self, (event, span): Parsed<'a>) -> Result<Node, Box<Diagnostic>> {
        self.nodes += 1;
        self.check_budget(&span)?;
        let before = self.nodes;
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => (
                self.scalar(text.into_owned(), style, tag.as_deref(), span),
                anchor,
            ),
            Event::SequenceStart(_, anchor, _) => (self.sequence(&span)?, anchor),
            Event::MappingStart(_, anchor, _) => (self.mapping(&span)?, anchor),
            Event::Alias(id) => return self.alias(id, &span),
            _ => {
                return fail(Diagnostic::error(
                    "yaml-syntax",
                    &span,
                    "unexpected end of a collection",
                ));
            }
        };
        if anchor != 0 {
            self.anchors
                .insert(anchor, (node.clone(), self.nodes - before + 1));
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, span: &Span) -> Result<Node, Box<Diagnostic>> {
        let Some((node, size)) = self.anchors.get(&id) else {
            return fail(Diagnostic::error(
                "yaml-alias",
                span,
                "an alias stands inside its own anchor",
            ));
        };
        self.nodes += size;
        let node = node.clone();
        self.check_budget(span)?;
        Ok(node)
    }

    fn check_budget(&self, span: &Span) -> Result<(), Box<Diagnostic>> {
        if self.nodes <= MAX_NODES {
            return Ok(());
        }
        let message =
            format!("the file has more than {MAX_NODES} nodes (aliases counted each time)");
        fail(Diagnostic::error("yaml-size", span, message))
    }

    fn scalar(&self, text: String, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Node {
        let style = match style {
            ScalarStyle::SingleQuoted => Style::SingleQuoted,
            ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
            ScalarStyle::Literal => Style::Literal,
            ScalarStyle::Folded => Style::Folded,
            ScalarStyle::Plain => Style::Plain,
        };
        // A value that was left out comes as `~` with nothing written.
        let is_omitted = style == Style::Plain && span.bytes.is_empty();
        let kind = match tag {
            Some(tag) => core12::tagged(tag.suffix(), &text),
            None if style != Style::Plain => Kind::String,
            None => match self.schema {
                Schema::Core12 => core12::resolve(&text),
                Schema::Psych => psych::resolve(&text),
            },
        };
        let text = if is_omitted { String::new() } else { text };
        Node {
            span,
            kind,
            style,
            text,
            is_omitted,
        }
    }

    fn sequence(&mut self, span: &Span) -> Result<Node, Box<Diagnostic>> {
        let mut items = Vec::new();
        loop {
            let (event, at) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(collection(Kind::Sequence(items), span, &at));
            }
            items.push(self.node((event, at))?);
        }
    }

    fn mapping(&mut self, span: &Span) -> Result<Node, Box<Diagnostic>> {
        let mut mapping = Mapping::default();
        let mut merged: Vec<Entry> = Vec::new();
        let mut seen: HashSet<String> = HashSet::new();
        loop {
            let (event, at) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break self.merge(&mut mapping, merged);
            }
            let key = self.node((event, at))?;
            let value = self.next()?;
            let value = self.node(value)?;
            if self.schema == Schema::Psych && key.text == "<<" && key.style == Style::Plain {
                collect_merged(&value, &mut merged);
                continue;
            }
            let folded = key.text.to_uppercase();
            match self.schema {
                Schema::Core12 if key.is_scalar() && !seen.insert(folded.clone()) => {
                    self.report_duplicate(&mapping, &key, &folded);
                }
                Schema::Psych => mapping.entries.retain(|entry| !same_key(&entry.key, &key)),
                Schema::Core12 => {}
            }
            mapping.entries.push(Entry { key, value });
        }
        let end = mapping
            .entries
            .last()
            .map_or_else(|| span.clone(), |entry| entry.value.span.clone());
        Ok(collection(Kind::Mapping(mapping), span, &end))
    }

    fn report_duplicate(&mut self, mapping: &Mapping, key: &Node, folded: &str) {
        let message = format!("key `{}` is already defined", key.text);
        let mut problem = Diagnostic::error("duplicate-key", &key.span, message);
        let first = mapping
            .iter()
            .find(|entry| entry.key.text.to_uppercase() == *folded);
        if let Some(first) = first {
            problem = problem.with_related(&first.key.span, "first defined here");
        }
        self.found.push(problem);
    }

    /// Adds what `<<` brings: keys that stand in the mapping itself win, in the place of the brought.
    fn merge(&self, mapping: &mut Mapping, merged: Vec<Entry>) {
        let mut brought: Vec<Entry> = Vec::new();
        for entry in merged {
            let known = |known: &Entry| same_key(&known.key, &entry.key);
            if brought.iter().any(known) {
                continue;
            }
            match mapping.entries.iter().position(known) {
                Some(at) => brought.push(mapping.entries.remove(at)),
                None => brought.push(entry),
            }
        }
        brought.append(&mut mapping.entries);
        mapping.entries = brought;
    }
}

/// Boxed, since a diagnostic is large and every call of the builder can return one.
fn fail<T>(problem: Diagnostic) -> Result<T, Box<Diagnostic>> {
    Err(Box::new(problem))
}

fn same_key(a: &Node, b: &Node) -> bool {
    a.is_scalar() && b.is_scalar() && a.text == b.text && a.kind == b.kind
}

/// Collects the pairs of a merge key's value: a mapping, or a list of mappings.
fn collect_merged(value: &Node, into: &mut Vec<Entry>) {
    match &value.kind {
        Kind::Mapping(mapping) => into.extend(mapping.entries.iter().cloned()),
        Kind::Sequence(items) => items.iter().for_each(|item| collect_merged(item, into)),
        _ => {}
    }
}

fn collection(kind: Kind, start: &Span, end: &Span) -> Node {
    Node {
        span: start.to(end),
        kind,
        style: Style::Plain,
        text: String::new(),
        is_omitted: false,
    }
}

fn position(line: usize, column: usize) -> Position {
    Position {
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: u32::try_from(column).unwrap_or(u32::MAX).saturating_add(1),
    }
}

fn span_from(span: &granit_parser::Span) -> Span {
    Span {
        start: position(span.start.line(), span.start.col()),
        end: position(span.end.line(), span.end.col()),
        bytes: span.byte_range().unwrap_or(0..0),
    }
}
