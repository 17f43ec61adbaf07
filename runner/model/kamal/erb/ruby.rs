//! The small part of Ruby that templates use, as a tree.

use super::lexer::{Part, Token, Unread, Word};

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Expression {
    pub(super) line: u32,
    pub(super) kind: ExpressionKind,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum ExpressionKind {
    Nil,
    Boolean(bool),
    Integer(i64),
    Text(Vec<Segment>),
    Command(Vec<Segment>),
    List(Vec<Expression>),
    /// A local variable.
    Variable(String),
    /// A constant as `ENV` or `Kamal::Utils`.
    Constant(String),
    Call {
        receiver: Box<Expression>,
        method: String,
        arguments: Vec<Expression>,
        /// `&.`: nil stays nil.
        is_safe: bool,
    },
    Index(Box<Expression>, Box<Expression>),
    Add(Box<Expression>, Box<Expression>),
    Compare(Box<Expression>, &'static str, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Not(Box<Expression>),
    If(Box<Expression>, Box<Expression>, Box<Expression>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Segment {
    Text(String),
    Ruby(Expression),
}

/// The methods that can be called; anything else is left to Ruby.
const METHODS: [&str; 38] = [
    "strip",
    "chomp",
    "to_s",
    "to_i",
    "to_json",
    "inspect",
    "upcase",
    "downcase",
    "split",
    "lines",
    "gsub",
    "sub",
    "start_with?",
    "end_with?",
    "include?",
    "empty?",
    "nil?",
    "present?",
    "blank?",
    "presence",
    "length",
    "size",
    "first",
    "last",
    "join",
    "uniq",
    "reverse",
    "sort",
    "compact",
    "fetch",
    "dig",
    "key?",
    "has_key?",
    "read",
    "exist?",
    "parse",
    "docker_arch",
    "basename",
];

const CONSTANTS: [&str; 4] = ["ENV", "File", "JSON", "Kamal::Utils"];

/// Reads the words of one expression after another.
#[derive(Debug)]
pub(super) struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    line: u32,
}

type Parsed = Result<Expression, Unread>;

impl<'a> Parser<'a> {
    pub(super) fn new(tokens: &'a [Token], line: u32) -> Self {
        Self {
            tokens,
            at: 0,
            line,
        }
    }

    /// Reads one expression that is all of the words.
    pub(super) fn whole(tokens: &'a [Token], line: u32) -> Parsed {
        let mut parser = Self::new(tokens, line);
        let expression = parser.statement()?;
        parser.end()?;
        Ok(expression)
    }

    fn peek(&self) -> Option<&'a Word> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    fn next(&mut self) -> Option<&'a Word> {
        let token = self.tokens.get(self.at)?;
        self.at += 1;
        self.line = token.line;
        Some(&token.kind)
    }

    pub(super) fn take_sign(&mut self, sign: &str) -> bool {
        let is_there = matches!(self.peek(), Some(Word::Sign(found)) if *found == sign);
        self.at += usize::from(is_there);
        is_there
    }

    pub(super) fn take_name(&mut self, name: &str) -> bool {
        let is_there = matches!(self.peek(), Some(Word::Name(found)) if found == name);
        self.at += usize::from(is_there);
        is_there
    }

    /// Takes a variable's name.
    pub(super) fn variable(&mut self) -> Result<String, Unread> {
        match self.next() {
            Some(Word::Name(name)) => Ok(name.clone()),
            _ => Err(self.unread()),
        }
    }

    /// Expects a sign.
    pub(super) fn sign(&mut self, sign: &str) -> Result<(), Unread> {
        if self.take_sign(sign) {
            Ok(())
        } else {
            Err(self.unread())
        }
    }

    /// Expects that nothing follows.
    pub(super) fn end(&mut self) -> Result<(), Unread> {
        while matches!(self.peek(), Some(Word::End)) {
            self.at += 1;
        }
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unread()),
        }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.peek().is_none()
    }

    fn unread(&self) -> Unread {
        let what = match self.peek() {
            Some(Word::Name(name)) => format!("`{name}`"),
            Some(Word::Sign(sign)) => format!("`{sign}`"),
            Some(Word::Symbol(name)) => format!("`:{name}`"),
            Some(_) => "a value here".to_owned(),
            None => "code that ends here".to_owned(),
        };
        Unread {
            line: self
                .tokens
                .get(self.at)
                .map_or(self.line, |token| token.line),
            what,
        }
    }

    fn node(&self, kind: ExpressionKind) -> Expression {
        Expression {
            line: self.line,
            kind,
        }
    }

    /// Reads an expression that may have `if` or `unless` behind it.
    fn statement(&mut self) -> Parsed {
        while matches!(self.peek(), Some(Word::End)) {
            self.at += 1;
        }
        let value = self.expression()?;
        let nil = self.node(ExpressionKind::Nil);
        if self.take_name("if") {
            let condition = self.expression()?;
            return Ok(self.choice(condition, value, nil));
        }
        if self.take_name("unless") {
            let condition = self.expression()?;
            return Ok(self.choice(condition, nil, value));
        }
        Ok(value)
    }

    fn choice(&self, condition: Expression, yes: Expression, no: Expression) -> Expression {
        self.node(ExpressionKind::If(
            Box::new(condition),
            Box::new(yes),
            Box::new(no),
        ))
    }

    /// Reads an expression: `a ? b : c` binds least.
    pub(super) fn expression(&mut self) -> Parsed {
        let condition = self.or()?;
        if !self.take_sign("?") {
            return Ok(condition);
        }
        let yes = self.expression()?;
        self.sign(":")?;
        let no = self.expression()?;
        Ok(self.choice(condition, yes, no))
    }

    fn or(&mut self) -> Parsed {
        let mut left = self.and()?;
        while self.take_sign("||") || self.take_name("or") {
            let right = self.and()?;
            left = self.node(ExpressionKind::Or(Box::new(left), Box::new(right)));
        }
        Ok(left)
    }

    fn and(&mut self) -> Parsed {
        let mut left = self.comparison()?;
        while self.take_sign("&&") || self.take_name("and") {
            let right = self.comparison()?;
            left = self.node(ExpressionKind::And(Box::new(left), Box::new(right)));
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Parsed {
        let left = self.sum()?;
        for sign in ["==", "!=", ">=", "<=", ">", "<"] {
            if self.take_sign(sign) {
                let right = self.sum()?;
                let kind = ExpressionKind::Compare(Box::new(left), sign, Box::new(right));
                return Ok(self.node(kind));
            }
        }
        Ok(left)
    }

    fn sum(&mut self) -> Parsed {
        let mut left = self.not()?;
        while self.take_sign("+") {
            let right = self.not()?;
            left = self.node(ExpressionKind::Add(Box::new(left), Box::new(right)));
        }
        Ok(left)
    }

    fn not(&mut self) -> Parsed {
        if self.take_sign("!") || self.take_name("not") {
            let inner = self.not()?;
            return Ok(self.node(ExpressionKind::Not(Box::new(inner))));
        }
        self.postfix()
    }

    fn postfix(&mut self) -> Parsed {
        let mut value = self.primary()?;
        loop {
            if self.take_sign("[") {
                let index = self.expression()?;
                self.sign("]")?;
                value = self.node(ExpressionKind::Index(Box::new(value), Box::new(index)));
                continue;
            }
            let ahead = self.tokens.get(self.at + 1).map(|token| &token.kind);
            // `.each do |x|` and `.times do |i|` belong to the statement.
            if matches!(ahead, Some(Word::Name(name)) if name == "each" || name == "times") {
                return Ok(value);
            }
            let is_safe = self.take_sign("&.");
            if !is_safe && !self.take_sign(".") {
                return Ok(value);
            }
            value = self.call(value, is_safe)?;
        }
    }

    fn call(&mut self, receiver: Expression, is_safe: bool) -> Parsed {
        let known = |name: &str| METHODS.contains(&name);
        let method = match self.peek() {
            Some(Word::Name(name)) if known(name) => name.clone(),
            _ => return Err(self.unread()),
        };
        self.next();
        let mut arguments = Vec::new();
        if self.take_sign("(") {
            while !self.take_sign(")") {
                arguments.push(self.expression()?);
                if !self.take_sign(",") {
                    self.sign(")")?;
                    break;
                }
            }
        } else if matches!(self.peek(), Some(Word::Text(_))) {
            arguments.push(self.expression()?);
            while self.take_sign(",") {
                arguments.push(self.expression()?);
            }
        }
        if method == "fetch" && self.take_sign("{") {
            arguments.push(self.expression()?);
            self.sign("}")?;
        }
        Ok(self.node(ExpressionKind::Call {
            receiver: Box::new(receiver),
            method,
            arguments,
            is_safe,
        }))
    }

    fn primary(&mut self) -> Parsed {
        if self.take_sign("(") {
            let inner = self.expression()?;
            self.sign(")")?;
            return Ok(inner);
        }
        if self.take_sign("[") {
            let mut items = Vec::new();
            while !self.take_sign("]") {
                items.push(self.expression()?);
                if !self.take_sign(",") {
                    self.sign("]")?;
                    break;
                }
            }
            return Ok(self.node(ExpressionKind::List(items)));
        }
        let kind = match self.peek() {
            Some(Word::Integer(value)) => ExpressionKind::Integer(*value),
            Some(Word::Text(parts)) => ExpressionKind::Text(self.segments(parts)?),
            Some(Word::Command(parts)) => ExpressionKind::Command(self.segments(parts)?),
            Some(Word::Symbol(name)) => ExpressionKind::Text(vec![Segment::Text(name.clone())]),
            Some(Word::Words(words)) => {
                let text = |word: &String| {
                    self.node(ExpressionKind::Text(vec![Segment::Text(word.clone())]))
                };
                ExpressionKind::List(words.iter().map(text).collect())
            }
            Some(Word::Name(name)) => match name.as_str() {
                "nil" => ExpressionKind::Nil,
                "true" => ExpressionKind::Boolean(true),
                "false" => ExpressionKind::Boolean(false),
                constant if CONSTANTS.contains(&constant) => ExpressionKind::Constant(name.clone()),
                word if is_variable(word) => ExpressionKind::Variable(name.clone()),
                _ => return Err(self.unread()),
            },
            Some(Word::Sign(_) | Word::End) | None => return Err(self.unread()),
        };
        self.next();
        Ok(self.node(kind))
    }

    fn segments(&self, parts: &'a [Part]) -> Result<Vec<Segment>, Unread> {
        parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => Ok(Segment::Text(text.clone())),
                Part::Ruby(tokens) => Parser::whole(tokens, self.line).map(Segment::Ruby),
            })
            .collect()
    }
}

/// Tells whether a word can be a local variable: no keyword, no constant, no question.
fn is_variable(word: &str) -> bool {
    let keywords = [
        "if", "unless", "elsif", "else", "end", "do", "while", "until", "case", "when", "def",
        "class", "begin", "rescue", "then", "for", "in", "return", "yield", "require", "raise",
    ];
    let is_lower = word.starts_with(|first: char| first.is_lowercase() || first == '_');
    is_lower && !word.ends_with(['?', '!']) && !keywords.contains(&word)
}
