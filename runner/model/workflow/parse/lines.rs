//! Where the lines of a file begin, to find places in it without walking over it each time.

use std::ops::Range;

use crate::diagnostic::{Position, Span};
use crate::yaml::Node;

/// The lines of a file.
pub(super) struct Lines<'a> {
    source: &'a str,
    /// The byte where each line begins.
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn of(source: &'a str) -> Self {
        let mut starts = vec![0];
        starts.extend(source.match_indices('\n').map(|(at, _)| at + 1));
        Self { source, starts }
    }

    /// Returns where the bytes `range` of a scalar's text stand in the file.
    pub(super) fn span(&self, node: &Node, range: Range<usize>) -> Span {
        if let Some(bytes) = self.find(node, &range) {
            return Span {
                start: self.position(bytes.start),
                end: self.position(bytes.end),
                bytes,
            };
        }
        let start = node.position_of(range.start);
        let end = node.position_of(range.end).max(start);
        let from = self.byte(start);
        Span {
            start,
            end,
            bytes: from..self.byte(end).max(from),
        }
    }

    /// Looks for the first word of the range in the scalar as it stands in the file, since folding
    /// and indentation make its text another one.
    fn find(&self, node: &Node, range: &Range<usize>) -> Option<Range<usize>> {
        let word = node.text.get(range.clone())?.split_whitespace().next()?;
        let before = node.text.get(..range.start)?.matches(word).count();
        let written = self.source.get(node.span.bytes.clone())?;
        let (at, _) = written.match_indices(word).nth(before)?;
        let start = node.span.bytes.start + at;
        Some(start..start + word.len())
    }

    /// Returns where a text first stands inside a span; the span's own first line if it does not.
    pub(super) fn find_in(&self, span: &Span, text: &str) -> Span {
        let written = self.source.get(span.bytes.clone()).unwrap_or_default();
        match written.find(text) {
            Some(at) if !text.is_empty() => {
                let start = span.bytes.start + at;
                Span {
                    start: self.position(start),
                    end: self.position(start + text.len()),
                    bytes: start..start + text.len(),
                }
            }
            _ => self.cut(span),
        }
    }

    /// Returns the place of a byte.
    fn position(&self, byte: usize) -> Position {
        let line = self.starts.partition_point(|start| *start <= byte).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let before = self.source.get(start..byte).unwrap_or_default();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Position {
            line: number(line),
            column: number(before.chars().count()).saturating_add(1),
        }
    }

    /// Returns the part of a span that lies on its first line.
    pub(super) fn cut(&self, span: &Span) -> Span {
        let line = self.line(span.start.line);
        let end = (self.byte(span.start) + 1)
            .max(line.end)
            .min(span.bytes.end.max(span.bytes.start));
        if span.end.line == span.start.line || end <= span.bytes.start {
            return span.clone();
        }
        let width = self
            .source
            .get(span.bytes.start..end)
            .map_or(0, |text| text.trim_end().chars().count());
        Span {
            start: span.start,
            end: Position {
                line: span.start.line,
                column: span.start.column + u32::try_from(width).unwrap_or(0),
            },
            bytes: span.bytes.start..end,
        }
    }

    fn line(&self, number: u32) -> Range<usize> {
        let index = usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
        let start = self.starts.get(index).copied();
        let end = self.starts.get(index.saturating_add(1)).copied();
        let length = self.source.len();
        start.unwrap_or(length)..end.unwrap_or(length)
    }

    fn byte(&self, position: Position) -> usize {
        let line = self.line(position.line);
        let column = usize::try_from(position.column.saturating_sub(1)).unwrap_or(usize::MAX);
        let text = self.source.get(line.clone()).unwrap_or_default();
        line.start
            + text
                .char_indices()
                .nth(column)
                .map_or(text.len(), |(at, _)| at)
    }
}
