//! The words of the small part of Ruby that templates use.

use std::iter::Peekable;
use std::str::Chars;

/// A word with its line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) line: u32,
    pub(super) kind: Word,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    Integer(i64),
    /// A string, with the parts that are Ruby.
    Text(Vec<Part>),
    /// A command in backticks or `%x()`.
    Command(Vec<Part>),
    /// `%w[…]`.
    Words(Vec<String>),
    /// A name, a constant with `::`, or a keyword.
    Name(String),
    /// `:name`.
    Symbol(String),
    Sign(&'static str),
    /// A line break or `;`.
    End,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    Text(String),
    Ruby(Vec<Token>),
}

/// Something that is not in the part of Ruby that is read here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unread {
    pub(super) line: u32,
    pub(super) what: String,
}

const SIGNS: [&str; 27] = [
    "||=", "<=>", "===", "||", "&&", "==", "!=", ">=", "<=", "&.", "=>", "=", "(", ")", "[", "]",
    "{", "}", ",", ".", "+", "?", ":", "|", "!", ">", "<",
];

pub(super) fn tokens(code: &str, line: u32) -> Result<Vec<Token>, Unread> {
    let mut lexer = Lexer {
        rest: code.chars().peekable(),
        line,
        tokens: Vec::new(),
    };
    while let Some(character) = lexer.rest.peek().copied() {
        lexer.word(character)?;
    }
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    rest: Peekable<Chars<'a>>,
    line: u32,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn next(&mut self) -> Option<char> {
        let character = self.rest.next()?;
        if character == '\n' {
            self.line += 1;
        }
        Some(character)
    }

    fn push(&mut self, kind: Word) {
        let line = self.line;
        self.tokens.push(Token { line, kind });
    }

    fn unread(&self, what: impl Into<String>) -> Unread {
        Unread {
            line: self.line,
            what: what.into(),
        }
    }

    fn word(&mut self, first: char) -> Result<(), Unread> {
        match first {
            '\n' | ';' => {
                self.push(Word::End);
                self.next();
            }
            _ if first.is_whitespace() => {
                self.next();
            }
            '#' => {
                while self.rest.peek().is_some_and(|next| *next != '\n') {
                    self.next();
                }
            }
            '0'..='9' => self.integer()?,
            '\'' => {
                self.next();
                let text = self.single_quoted()?;
                self.push(Word::Text(vec![Part::Text(text)]));
            }
            '"' => {
                self.next();
                let parts = self.parts(None, '"')?;
                self.push(Word::Text(parts));
            }
            '`' => {
                self.next();
                let parts = self.parts(None, '`')?;
                self.push(Word::Command(parts));
            }
            '%' => self.percent()?,
            _ if first.is_alphabetic() || first == '_' => self.name(),
            _ => self.sign()?,
        }
        Ok(())
    }

    fn integer(&mut self) -> Result<(), Unread> {
        let mut digits = String::new();
        while let Some(next) = self.rest.peek().copied() {
            match next {
                '0'..='9' => digits.push(next),
                '_' => {}
                _ => break,
            }
            self.next();
        }
        let value = digits.parse().map_err(|_| self.unread("a large number"))?;
        self.push(Word::Integer(value));
        Ok(())
    }

    fn single_quoted(&mut self) -> Result<String, Unread> {
        let mut text = String::new();
        loop {
            match self.next() {
                Some('\'') => return Ok(text),
                Some('\\') if matches!(self.rest.peek(), Some('\'' | '\\')) => {
                    text.extend(self.next());
                }
                Some(other) => text.push(other),
                None => return Err(self.unread("a string that does not end")),
            }
        }
    }

    /// Reads a string with escapes and `#{…}` up to `close`; `open` nests.
    fn parts(&mut self, open: Option<char>, close: char) -> Result<Vec<Part>, Unread> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut depth = 0usize;
        loop {
            let Some(character) = self.next() else {
                return Err(self.unread("a string that does not end"));
            };
            match character {
                _ if character == close && depth == 0 => break,
                _ if character == close => {
                    depth -= 1;
                    text.push(character);
                }
                _ if Some(character) == open => {
                    depth += 1;
                    text.push(character);
                }
                '\\' => match self.next() {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('s') => text.push(' '),
                    Some('e') => text.push('\u{1b}'),
                    Some('\n') => {}
                    Some(other) => text.push(other),
                    None => return Err(self.unread("a string that does not end")),
                },
                '#' if self.rest.peek() == Some(&'{') => {
                    self.next();
                    let line = self.line;
                    let code = self.interpolation()?;
                    parts.push(Part::Text(std::mem::take(&mut text)));
                    parts.push(Part::Ruby(tokens(&code, line)?));
                }
                other => text.push(other),
            }
        }
        parts.push(Part::Text(text));
        Ok(parts)
    }

    /// Reads the code of `#{…}`, whose braces balance.
    fn interpolation(&mut self) -> Result<String, Unread> {
        let mut code = String::new();
        let mut depth = 1usize;
        while let Some(character) = self.next() {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Ok(code);
            }
            code.push(character);
        }
        Err(self.unread("a string that does not end"))
    }

    fn percent(&mut self) -> Result<(), Unread> {
        self.next();
        let kind = self.next();
        let open = self.next();
        let close = match open {
            Some('(') => ')',
            Some('[') => ']',
            Some('{') => '}',
            Some('<') => '>',
            Some(other) if other.is_ascii_punctuation() => other,
            _ => return Err(self.unread("`%`")),
        };
        let nests = open.filter(|open| *open != close);
        match kind {
            Some('x') => {
                let parts = self.parts(nests, close)?;
                self.push(Word::Command(parts));
            }
            Some('q' | 'Q') => {
                let parts = self.parts(nests, close)?;
                self.push(Word::Text(parts));
            }
            Some('w') => {
                let parts = self.parts(nests, close)?;
                let [Part::Text(text)] = parts.as_slice() else {
                    return Err(self.unread("`%w` with Ruby in it"));
                };
                let words = text.split_whitespace().map(str::to_owned).collect();
                self.push(Word::Words(words));
            }
            _ => return Err(self.unread("`%`")),
        }
        Ok(())
    }

    /// Reads a name; `?` or `!` at its end and `::` between constants belong to it.
    fn name(&mut self) {
        let mut name = String::new();
        loop {
            match self.rest.peek().copied() {
                Some(next) if next.is_alphanumeric() || next == '_' => {
                    name.push(next);
                    self.next();
                }
                Some(':') => {
                    let mut ahead = self.rest.clone();
                    ahead.next();
                    if ahead.next() != Some(':') {
                        break;
                    }
                    self.next();
                    self.next();
                    name.push_str("::");
                }
                Some(mark @ ('?' | '!')) => {
                    let mut ahead = self.rest.clone();
                    ahead.next();
                    // `a != b` and `a ? b : c` are signs; `empty?` is a name.
                    let after = ahead.next();
                    let is_sign = after == Some('=') || after == Some(' ') && !self.is_method();
                    if !is_sign {
                        name.push(mark);
                        self.next();
                    }
                    break;
                }
                _ => break,
            }
        }
        self.push(Word::Name(name));
    }

    /// Tells whether a name is being read behind a dot.
    fn is_method(&self) -> bool {
        matches!(
            self.tokens.last().map(|token| &token.kind),
            Some(Word::Sign("." | "&."))
        )
    }

    fn sign(&mut self) -> Result<(), Unread> {
        let ahead: String = self.rest.clone().take(3).collect();
        let symbol = ahead
            .strip_prefix(':')
            .and_then(|rest| rest.chars().next())
            .filter(|next| next.is_alphabetic());
        if symbol.is_some() {
            self.next();
            self.name();
            if let Some(token) = self.tokens.last_mut()
                && let Word::Name(name) = &token.kind
            {
                token.kind = Word::Symbol(name.clone());
            }
            return Ok(());
        }
        let Some(sign) = SIGNS.iter().find(|sign| ahead.starts_with(**sign)) else {
            let first: String = ahead.chars().take(1).collect();
            return Err(self.unread(format!("`{first}`")));
        };
        for _ in sign.chars() {
            self.next();
        }
        self.push(Word::Sign(sign));
        Ok(())
    }
}
