//! The nodes of a tree and the ways to look at them.

use crate::diagnostic::{Position, Span};

/// How a scalar was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// In single quotes.
    SingleQuoted,
    /// In double quotes.
    DoubleQuoted,
    /// As a block behind `|`.
    Literal,
    /// As a block behind `>`.
    Folded,
}

/// One node of the tree.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it stands; of a block scalar, from its first content character on.
    pub span: Span,
    /// What it is.
    pub kind: Kind,
    /// How it was written, of scalars.
    pub style: Style,
    /// The scalar as it was written, after unquoting and folding; empty for collections.
    pub text: String,
    /// Whether the value was left out, as in `key:`.
    pub is_omitted: bool,
}

/// The kind of a node, with its value.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// Nothing.
    Null,
    /// True or false.
    Boolean(bool),
    /// A number without a fraction that fits.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// Text: see [`Node::text`].
    String,
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values in the order written.
    Mapping(Mapping),
}

/// Keys and values in the order written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mapping {
    /// The pairs.
    pub entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key, in workflows nearly always a string.
    pub key: Node,
    /// The value.
    pub value: Node,
}

impl Mapping {
    /// Returns the value whose key is written as `key`, with case.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// Returns the pair whose key is written as `key`, with case.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries
            .iter()
            .find(|entry| entry.key.is_scalar() && entry.key.text == key)
    }

    /// Walks over the pairs.
    pub fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.entries.iter()
    }
}

impl Node {
    /// Tells whether it is neither a list nor a mapping.
    pub fn is_scalar(&self) -> bool {
        !matches!(self.kind, Kind::Sequence(_) | Kind::Mapping(_))
    }

    /// Tells whether it is nothing: `~`, `null` or left out.
    pub fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null)
    }

    /// Returns the text if it is a string.
    pub fn as_str(&self) -> Option<&str> {
        matches!(self.kind, Kind::String).then_some(self.text.as_str())
    }

    /// Returns the list if it is one.
    pub fn as_sequence(&self) -> Option<&[Self]> {
        match &self.kind {
            Kind::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// Returns the mapping if it is one.
    pub fn as_mapping(&self) -> Option<&Mapping> {
        match &self.kind {
            Kind::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }

    /// Names the kind in the words of GitHub's documentation.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Null => "null",
            Kind::Boolean(_) => "boolean",
            Kind::Integer(_) | Kind::Float(_) => "number",
            Kind::String => "string",
            Kind::Sequence(_) => "sequence",
            Kind::Mapping(_) => "mapping",
        }
    }

    /// Returns where the byte `offset` of [`Node::text`] stands in the file.
    ///
    /// Exact for plain scalars on one line, quoted ones without escapes and literal blocks; else
    /// the line is right and the column may be a few characters off.
    pub fn position_of(&self, offset: usize) -> Position {
        let start = self.span.start;
        let before = self
            .text
            .get(..offset.min(self.text.len()))
            .unwrap_or(&self.text);
        let newlines = u32::try_from(before.matches('\n').count()).unwrap_or(u32::MAX);
        let tail = before.rsplit('\n').next().unwrap_or(before);
        let column = u32::try_from(tail.chars().count()).unwrap_or(u32::MAX);
        match self.style {
            Style::Literal => Position {
                line: start.line + newlines,
                column: start.column + column,
            },
            Style::Folded => Position {
                line: start.line + newlines,
                column: start.column,
            },
            Style::SingleQuoted | Style::DoubleQuoted if newlines == 0 => Position {
                line: start.line,
                column: start.column + 1 + column,
            },
            Style::Plain if newlines == 0 => Position {
                line: start.line,
                column: start.column + column,
            },
            Style::Plain | Style::SingleQuoted | Style::DoubleQuoted => start,
        }
    }

    /// Returns the stretch of bytes `range` of [`Node::text`] in the file, as near as
    /// [`Node::position_of`] can tell.
    ///
    /// `source` is the whole file that the tree was read from; its lines give the bytes.
    pub fn span_of(&self, range: std::ops::Range<usize>, source: &str) -> Span {
        let start = self.position_of(range.start);
        let end = self.position_of(range.end);
        let from = byte_of(source, start);
        let to = byte_of(source, end).max(from);
        Span {
            start,
            end: if end < start { start } else { end },
            bytes: from..to,
        }
    }
}

/// Returns the byte of `source` at `position`, or its nearest end.
fn byte_of(source: &str, position: Position) -> usize {
    let mut offset = 0;
    for (number, line) in (1..).zip(source.split_inclusive('\n')) {
        if number == position.line {
            let column = usize::try_from(position.column.saturating_sub(1)).unwrap_or(usize::MAX);
            return offset
                + line
                    .char_indices()
                    .nth(column)
                    .map_or(line.len(), |(at, _)| at);
        }
        offset += line.len();
    }
    source.len()
}
