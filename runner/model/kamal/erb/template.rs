//! A template's text, split into what is copied and what is Ruby.

use std::iter::Peekable;
use std::str::Chars;

/// A piece of a template with the line that it starts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) line: u32,
    pub(super) kind: PieceKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PieceKind {
    /// Text that is copied.
    Text(String),
    /// `<% … %>`.
    Code(String),
    /// `<%= … %>`.
    Output(String),
}

/// A tag that does not end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenTag {
    pub(super) line: u32,
}

struct Splitter<'a> {
    rest: Peekable<Chars<'a>>,
    line: u32,
    text: String,
    text_line: u32,
    pieces: Vec<Piece>,
}

/// Splits a template as Ruby's ERB with trim mode `-` does.
pub(super) fn split(template: &str) -> Result<Vec<Piece>, OpenTag> {
    let mut splitter = Splitter {
        rest: template.chars().peekable(),
        line: 1,
        text: String::new(),
        text_line: 1,
        pieces: Vec::new(),
    };
    while let Some(character) = splitter.next() {
        if character == '<' && splitter.rest.peek() == Some(&'%') {
            splitter.next();
            splitter.tag()?;
        } else {
            splitter.push(character);
        }
    }
    splitter.end_text();
    Ok(splitter.pieces)
}

impl Splitter<'_> {
    fn next(&mut self) -> Option<char> {
        let character = self.rest.next()?;
        if character == '\n' {
            self.line += 1;
        }
        Some(character)
    }

    fn take(&mut self, wanted: char) -> bool {
        let is_there = self.rest.peek() == Some(&wanted);
        if is_there {
            self.next();
        }
        is_there
    }

    fn push(&mut self, character: char) {
        if self.text.is_empty() {
            self.text_line = if character == '\n' {
                self.line - 1
            } else {
                self.line
            };
        }
        self.text.push(character);
    }

    fn end_text(&mut self) {
        if !self.text.is_empty() {
            self.pieces.push(Piece {
                line: self.text_line,
                kind: PieceKind::Text(std::mem::take(&mut self.text)),
            });
        }
    }

    /// Reads a tag behind its `<%`.
    fn tag(&mut self) -> Result<(), OpenTag> {
        let line = self.line;
        if self.take('%') {
            self.push('<');
            self.push('%');
            return Ok(());
        }
        let is_output = self.take('=');
        let is_comment = !is_output && self.take('#');
        if !is_output && !is_comment && self.take('-') {
            // `<%-` takes the spaces before it away.
            let kept = self.text.trim_end_matches([' ', '\t']).len();
            self.text.truncate(kept);
        }
        let code = self.code(line)?;
        let code = match code.strip_suffix('-') {
            Some(trimmed) => {
                self.take('\n');
                trimmed.to_owned()
            }
            None => code,
        };
        self.end_text();
        let kind = match (is_comment, is_output) {
            (true, _) => return Ok(()),
            (false, true) => PieceKind::Output(code),
            (false, false) => PieceKind::Code(code),
        };
        self.pieces.push(Piece { line, kind });
        Ok(())
    }

    /// Reads up to `%>`; `%%>` is a literal one.
    fn code(&mut self, line: u32) -> Result<String, OpenTag> {
        let mut code = String::new();
        while let Some(character) = self.next() {
            if character == '%' && self.rest.peek() == Some(&'>') {
                self.next();
                return Ok(code);
            }
            if character == '%' && self.rest.peek() == Some(&'%') {
                self.next();
                if self.take('>') {
                    code.push_str("%>");
                } else {
                    code.push_str("%%");
                }
                continue;
            }
            code.push(character);
        }
        Err(OpenTag { line })
    }
}
