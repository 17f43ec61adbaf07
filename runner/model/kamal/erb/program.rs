//! A template as a program: text, output, conditions and loops.

use super::lexer::{Token, Unread, Word, tokens};
use super::ruby::{Expression, Parser};
use super::template::{Piece, PieceKind};

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text {
        line: u32,
        text: String,
    },
    Output(Expression),
    /// Evaluated for what it does.
    Evaluate(Expression),
    Assign(String, Expression),
    /// The first branch whose condition holds; the last one may have none.
    Choose(Vec<(Option<Expression>, Vec<Self>)>),
    Each {
        list: Expression,
        variable: String,
        body: Vec<Self>,
    },
}

/// One statement, one output or one text.
#[derive(Debug)]
enum Item {
    Text(u32, String),
    Output(u32, Vec<Token>),
    Statement(u32, Vec<Token>),
}

#[derive(Debug)]
struct Builder {
    items: std::vec::IntoIter<Item>,
    line: u32,
}

/// How a body ended.
#[derive(Debug)]
enum Ending {
    File,
    End,
    Else,
    Elsif(Expression),
}

pub(super) fn build(pieces: Vec<Piece>) -> Result<Vec<Node>, Unread> {
    let mut items = Vec::new();
    for piece in pieces {
        match piece.kind {
            PieceKind::Text(text) => items.push(Item::Text(piece.line, text)),
            PieceKind::Output(code) => {
                items.push(Item::Output(piece.line, tokens(&code, piece.line)?));
            }
            PieceKind::Code(code) => {
                let words = tokens(&code, piece.line)?;
                let statements = words.split(|token| token.kind == Word::End);
                let statements = statements.filter(|words| !words.is_empty());
                items.extend(statements.map(|words| Item::Statement(piece.line, words.to_vec())));
            }
        }
    }
    let mut builder = Builder {
        items: items.into_iter(),
        line: 1,
    };
    let (nodes, ending) = builder.body()?;
    match ending {
        Ending::File => Ok(nodes),
        Ending::End | Ending::Else | Ending::Elsif(_) => Err(builder.unread("`end` or `else`")),
    }
}

impl Builder {
    fn unread(&self, what: &str) -> Unread {
        Unread {
            line: self.line,
            what: what.to_owned(),
        }
    }

    fn body(&mut self) -> Result<(Vec<Node>, Ending), Unread> {
        let mut nodes = Vec::new();
        while let Some(item) = self.items.next() {
            match item {
                Item::Text(line, text) => nodes.push(Node::Text { line, text }),
                Item::Output(line, words) => {
                    self.line = line;
                    nodes.push(Node::Output(Parser::whole(&words, line)?));
                }
                Item::Statement(line, words) => {
                    self.line = line;
                    match self.statement(&words)? {
                        Statement::Node(node) => nodes.push(node),
                        Statement::Nothing => {}
                        Statement::Ending(ending) => return Ok((nodes, ending)),
                    }
                }
            }
        }
        Ok((nodes, Ending::File))
    }

    fn statement(&mut self, words: &[Token]) -> Result<Statement, Unread> {
        let mut parser = Parser::new(words, self.line);
        if parser.take_name("end") {
            parser.end()?;
            return Ok(Statement::Ending(Ending::End));
        }
        if parser.take_name("else") {
            parser.end()?;
            return Ok(Statement::Ending(Ending::Else));
        }
        if parser.take_name("elsif") {
            let condition = parser.expression()?;
            parser.end()?;
            return Ok(Statement::Ending(Ending::Elsif(condition)));
        }
        if parser.take_name("require") {
            // What Ruby would load for JSON and the like is always there.
            return Ok(Statement::Nothing);
        }
        if parser.take_name("if") {
            let condition = parser.expression()?;
            parser.take_name("then");
            parser.end()?;
            return self.choose(condition).map(Statement::Node);
        }
        if parser.take_name("unless") {
            let condition = parser.expression()?;
            parser.end()?;
            let line = condition.line;
            let kind = super::ruby::ExpressionKind::Not(Box::new(condition));
            return self.choose(Expression { line, kind }).map(Statement::Node);
        }
        if let [
            Token {
                kind: Word::Name(name),
                ..
            },
            Token {
                kind: Word::Sign("="),
                ..
            },
            rest @ ..,
        ] = words
        {
            let value = Parser::whole(rest, self.line)?;
            return Ok(Statement::Node(Node::Assign(name.clone(), value)));
        }
        let value = parser.expression()?;
        if parser.is_at_end() {
            return Ok(Statement::Node(Node::Evaluate(value)));
        }
        self.each(value, &mut parser).map(Statement::Node)
    }

    /// Reads the branches of an `if` up to its `end`.
    fn choose(&mut self, condition: Expression) -> Result<Node, Unread> {
        let mut branches = Vec::new();
        let mut condition = Some(condition);
        loop {
            let (body, ending) = self.body()?;
            let is_last = condition.is_none();
            branches.push((condition.take(), body));
            match ending {
                Ending::End => return Ok(Node::Choose(branches)),
                Ending::Else if !is_last => {}
                Ending::Elsif(next) if !is_last => condition = Some(next),
                Ending::File | Ending::Else | Ending::Elsif(_) => {
                    return Err(self.unread("`if` without `end`"));
                }
            }
        }
    }

    /// Reads `.each do |x|` or `.times do |i|` behind a value, and the body up to `end`.
    fn each(&mut self, list: Expression, parser: &mut Parser<'_>) -> Result<Node, Unread> {
        parser.sign(".")?;
        if !parser.take_name("each") && !parser.take_name("times") {
            return Err(self.unread("this loop"));
        }
        if !parser.take_name("do") {
            return Err(self.unread("a loop without `do`"));
        }
        parser.sign("|")?;
        let variable = parser.variable()?;
        parser.sign("|")?;
        parser.end()?;
        let (body, ending) = self.body()?;
        match ending {
            Ending::End => Ok(Node::Each {
                list,
                variable,
                body,
            }),
            Ending::File | Ending::Else | Ending::Elsif(_) => {
                Err(self.unread("a loop without `end`"))
            }
        }
    }
}

#[derive(Debug)]
enum Statement {
    Node(Node),
    Nothing,
    Ending(Ending),
}
