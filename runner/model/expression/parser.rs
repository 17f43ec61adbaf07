//! Words to the tree of an expression.
//!
//! Operands and operators lie on two stacks, so that brackets and `!` nested without end cost
//! memory and not the thread's stack. A tree that is too deep is cut while it is built and
//! reported at the end, since an error of grammar comes first.

use std::ops::Range;

use super::{
    error::{MAX_DEPTH, MAX_LENGTH, ParseError, ParseErrorKind},
    lexer::{Lexer, Operator, Place, Token},
    names::{Function, Names},
    tree::{Node, NodeKind},
    value::Value,
};

/// What came last, as far as it decides what may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    /// Start, operator, `!`, `,` or `(` of a group: an operand must follow.
    Begin,
    /// `(` of a call: an operand or `)` must follow.
    OpenCall,
    /// `[`: an operand or `*` must follow.
    OpenIndex,
    /// `.`: a name or `*` must follow.
    Dot,
    /// A function's name: `(` must follow.
    Function,
    /// A literal, which has no members.
    Literal,
    /// Any other operand, which may have members.
    Operand,
}

impl Last {
    fn wants_operand(self) -> bool {
        matches!(self, Self::Begin | Self::OpenCall | Self::OpenIndex)
    }

    fn is_operand(self) -> bool {
        matches!(self, Self::Literal | Self::Operand)
    }

    fn place(self) -> Place {
        match self {
            Self::Begin | Self::OpenCall | Self::OpenIndex => Place::Operand,
            Self::Dot => Place::Member,
            _ => Place::Other,
        }
    }
}

#[derive(Debug)]
enum Pending {
    Group {
        open: usize,
    },
    Index,
    Call {
        name: Range<usize>,
        /// How many operands lay on the stack before the arguments.
        base: usize,
    },
    Not {
        at: usize,
    },
    Operator(Operator),
}

#[derive(Debug)]
struct Operand {
    node: Node,
    depth: usize,
    /// The node's bytes with the groups around it.
    outer: Range<usize>,
}

#[derive(Debug)]
struct Parser<'a> {
    text: &'a str,
    names: &'a Names,
    operands: Vec<Operand>,
    pending: Vec<Pending>,
    last: Last,
    last_span: Range<usize>,
    too_deep: bool,
}

/// Reads an expression.
pub(super) fn parse(text: &str, names: &Names) -> Result<Node, ParseError> {
    // Bytes are never fewer than UTF-16 units.
    if text.len() > MAX_LENGTH && text.encode_utf16().count() > MAX_LENGTH {
        return Err(ParseError::whole(ParseErrorKind::TooLong, text.len()));
    }
    let mut parser = Parser {
        text,
        names,
        operands: Vec::new(),
        pending: Vec::new(),
        last: Last::Begin,
        last_span: 0..0,
        too_deep: false,
    };
    let mut lexer = Lexer::new(text);
    let mut empty = true;
    while let Some((token, span)) = lexer.next(parser.last.place()) {
        empty = false;
        parser.last = parser.push(token, &span)?;
        parser.last_span = span;
    }
    if empty {
        return Err(ParseError::whole(
            ParseErrorKind::ExpressionExpected,
            text.len(),
        ));
    }
    parser.finish()
}

impl Parser<'_> {
    fn error(&self, kind: ParseErrorKind, span: &Range<usize>) -> ParseError {
        ParseError::at(kind, self.text, span.clone())
    }

    fn word(&self, span: &Range<usize>) -> &str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// Takes one word and tells what it was.
    fn push(&mut self, token: Token, span: &Range<usize>) -> Result<Last, ParseError> {
        let last = self.last;
        match token {
            Token::Unexpected => return Err(self.error(ParseErrorKind::Lexing, span)),
            Token::Literal(value) if last.wants_operand() => {
                self.add(NodeKind::Literal(value), span.clone(), 1);
                return Ok(Last::Literal);
            }
            Token::NamedValue if last.wants_operand() => return self.named_value(span),
            Token::Function if last.wants_operand() => {
                let name = self.word(span);
                if !self.names.has_function(name) {
                    return Err(self.error(ParseErrorKind::UnrecognizedFunction, span));
                }
                return Ok(Last::Function);
            }
            Token::Property if last == Last::Dot => {
                let name = Value::from(self.word(span));
                self.add(NodeKind::Literal(name), span.clone(), 1);
                self.index(span.end);
                return Ok(Last::Operand);
            }
            Token::Star if last == Last::Dot || last == Last::OpenIndex => {
                self.add(NodeKind::Wildcard, span.clone(), 1);
                if last == Last::Dot {
                    self.index(span.end);
                }
                return Ok(Last::Operand);
            }
            Token::Open if last == Last::Function => {
                self.pending.push(Pending::Call {
                    name: self.last_span.clone(),
                    base: self.operands.len(),
                });
                return Ok(Last::OpenCall);
            }
            Token::Open if last.wants_operand() => {
                self.pending.push(Pending::Group { open: span.start });
                return Ok(Last::Begin);
            }
            Token::Not if last.wants_operand() => {
                self.pending.push(Pending::Not { at: span.start });
                return Ok(Last::Begin);
            }
            Token::OpenIndex if last == Last::Operand => {
                self.pending.push(Pending::Index);
                return Ok(Last::OpenIndex);
            }
            Token::Dot if last == Last::Operand => return Ok(Last::Dot),
            Token::Operator(operator) if last.is_operand() => {
                self.reduce(operator.strength());
                self.pending.push(Pending::Operator(operator));
                return Ok(Last::Begin);
            }
            Token::Comma if last.is_operand() => {
                self.reduce(0);
                if matches!(self.pending.last(), Some(Pending::Call { .. })) {
                    return Ok(Last::Begin);
                }
            }
            Token::Close if last.is_operand() || last == Last::OpenCall => {
                self.reduce(0);
                if self.close(span)? {
                    return Ok(Last::Operand);
                }
            }
            Token::CloseIndex if last.is_operand() => {
                self.reduce(0);
                if matches!(self.pending.last(), Some(Pending::Index)) {
                    self.pending.pop();
                    self.index(span.end);
                    return Ok(Last::Operand);
                }
            }
            _ => {}
        }
        Err(self.error(ParseErrorKind::UnexpectedSymbol, span))
    }

    fn named_value(&mut self, span: &Range<usize>) -> Result<Last, ParseError> {
        let name = self.word(span);
        if !self.names.has_context(name) {
            return Err(self.error(ParseErrorKind::UnrecognizedNamedValue, span));
        }
        let kind = NodeKind::Context(name.into());
        self.add(kind, span.clone(), 1);
        Ok(Last::Operand)
    }

    fn add(&mut self, kind: NodeKind, span: Range<usize>, depth: usize) {
        let kind = if depth > MAX_DEPTH {
            self.too_deep = true;
            NodeKind::Wildcard
        } else {
            kind
        };
        let outer = span.clone();
        let node = Node { kind, span };
        self.operands.push(Operand { node, depth, outer });
    }

    fn pop(&mut self) -> Operand {
        // The grammar in `push` never takes more operands than it has put there.
        self.operands.pop().unwrap_or(Operand {
            node: Node {
                kind: NodeKind::Wildcard,
                span: 0..0,
            },
            depth: 0,
            outer: 0..0,
        })
    }

    /// Makes an index of the two topmost operands.
    fn index(&mut self, end: usize) {
        let index = self.pop();
        let target = self.pop();
        let span = target.outer.start..end;
        let depth = target.depth.max(index.depth) + 1;
        let kind = NodeKind::Index {
            target: Box::new(target.node),
            index: Box::new(index.node),
        };
        self.add(kind, span, depth);
    }

    /// Makes nodes of the operators that bind at least so strongly, back to the last bracket.
    fn reduce(&mut self, strength: u8) {
        loop {
            match self.pending.last() {
                Some(Pending::Not { at }) => {
                    let at = *at;
                    self.pending.pop();
                    let operand = self.pop();
                    let span = at..operand.outer.end;
                    let kind = NodeKind::Not(Box::new(operand.node));
                    self.add(kind, span, operand.depth + 1);
                }
                Some(Pending::Operator(operator)) if operator.strength() >= strength => {
                    let operator = *operator;
                    self.pending.pop();
                    self.binary(operator);
                }
                _ => return,
            }
        }
    }

    fn binary(&mut self, operator: Operator) {
        let right = self.pop();
        let left = self.pop();
        let span = left.outer.start..right.outer.end;
        let mut depth = left.depth.max(right.depth) + 1;
        let kind = match operator {
            Operator::And | Operator::Or => {
                let mut operands = Vec::new();
                depth = 0;
                for side in [left, right] {
                    // A chain of one operator is one node, so that it does not count as depth.
                    match (operator, side.node.kind) {
                        (Operator::And, NodeKind::And(inner))
                        | (Operator::Or, NodeKind::Or(inner)) => {
                            depth = depth.max(side.depth);
                            operands.extend(inner);
                        }
                        (_, kind) => {
                            depth = depth.max(side.depth + 1);
                            let span = side.node.span;
                            operands.push(Node { kind, span });
                        }
                    }
                }
                match operator {
                    Operator::And => NodeKind::And(operands),
                    _ => NodeKind::Or(operands),
                }
            }
            _ => NodeKind::Compare {
                operator,
                left: Box::new(left.node),
                right: Box::new(right.node),
            },
        };
        self.add(kind, span, depth);
    }

    /// Closes a group or a call; `false` if neither is open.
    fn close(&mut self, span: &Range<usize>) -> Result<bool, ParseError> {
        match self.pending.pop() {
            Some(Pending::Group { open }) if self.last != Last::OpenCall => {
                if let Some(operand) = self.operands.last_mut() {
                    operand.outer = open..span.end;
                }
                Ok(true)
            }
            Some(Pending::Call { name, base }) => {
                let arguments = self.operands.split_off(base.min(self.operands.len()));
                let depth = arguments.iter().map(|argument| argument.depth).max();
                let text = self.word(&name);
                if let Err(kind) = self.names.check_call(text, arguments.len()) {
                    return Err(self.error(kind, &name));
                }
                let kind = NodeKind::Call {
                    function: Function::by_name(text),
                    name: text.into(),
                    name_span: name.clone(),
                    arguments: arguments
                        .into_iter()
                        .map(|argument| argument.node)
                        .collect(),
                };
                self.add(kind, name.start..span.end, depth.unwrap_or(0) + 1);
                Ok(true)
            }
            other => {
                self.pending.extend(other);
                Ok(false)
            }
        }
    }

    fn finish(mut self) -> Result<Node, ParseError> {
        let unclosed = self
            .pending
            .iter()
            .any(|pending| !matches!(pending, Pending::Not { .. } | Pending::Operator(_)));
        if unclosed || !self.last.is_operand() {
            return Err(self.error(ParseErrorKind::UnexpectedEnd, &self.last_span.clone()));
        }
        self.reduce(0);
        if self.too_deep {
            return Err(ParseError::whole(ParseErrorKind::TooDeep, self.text.len()));
        }
        Ok(self.pop().node)
    }
}
