//! The tree of an expression, and what it uses.

use std::{ops::Range, sync::Arc};

use super::{
    error::{ParseError, ParseErrorKind},
    lexer::Operator,
    names::{Function, Names},
    parser,
    value::Value,
};

/// One place of the tree, with its bytes in the expression's text.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) kind: NodeKind,
    pub(super) span: Range<usize>,
}

#[derive(Debug, Clone)]
pub(super) enum NodeKind {
    Literal(Value),
    Context(Arc<str>),
    Call {
        name: Arc<str>,
        /// Bytes of the name alone.
        name_span: Range<usize>,
        /// `None` if nobody knows the function.
        function: Option<Function>,
        arguments: Vec<Node>,
    },
    Index {
        target: Box<Node>,
        index: Box<Node>,
    },
    /// `*` as an index.
    Wildcard,
    Not(Box<Node>),
    Compare {
        operator: Operator,
        left: Box<Node>,
        right: Box<Node>,
    },
    And(Vec<Node>),
    Or(Vec<Node>),
}

impl Node {
    fn children(&self) -> Vec<&Self> {
        match &self.kind {
            NodeKind::Literal(_) | NodeKind::Context(_) | NodeKind::Wildcard => Vec::new(),
            NodeKind::Call { arguments, .. } => arguments.iter().collect(),
            NodeKind::Index { target, index } => vec![target, index],
            NodeKind::Not(operand) => vec![operand],
            NodeKind::Compare { left, right, .. } => vec![left, right],
            NodeKind::And(operands) | NodeKind::Or(operands) => operands.iter().collect(),
        }
    }

    fn children_mut(&mut self) -> Vec<&mut Self> {
        match &mut self.kind {
            NodeKind::Literal(_) | NodeKind::Context(_) | NodeKind::Wildcard => Vec::new(),
            NodeKind::Call { arguments, .. } => arguments.iter_mut().collect(),
            NodeKind::Index { target, index } => vec![target, index],
            NodeKind::Not(operand) => vec![operand],
            NodeKind::Compare { left, right, .. } => vec![left, right],
            NodeKind::And(operands) | NodeKind::Or(operands) => operands.iter_mut().collect(),
        }
    }

    /// Moves all places of a tree whose text now begins later.
    fn shift(&mut self, by: usize) {
        self.span = self.span.start + by..self.span.end + by;
        if let NodeKind::Call { name_span, .. } = &mut self.kind {
            *name_span = name_span.start + by..name_span.end + by;
        }
        for child in self.children_mut() {
            child.shift(by);
        }
    }

    fn visit<'a>(&'a self, each: &mut impl FnMut(&'a Self)) {
        each(self);
        for child in self.children() {
            child.visit(each);
        }
    }
}

/// An expression that was read: text without `${{ }}` and its tree.
#[derive(Debug, Clone)]
pub struct Expression {
    text: Arc<str>,
    pub(super) root: Node,
}

/// One step of the way from a context to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// `.name`, `['name']` or `[0]`.
    Property(Arc<str>),
    /// `.*` or `[*]`.
    Wildcard,
    /// An index that only evaluation knows.
    Computed,
}

/// A use of a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The context, as written.
    pub context: Arc<str>,
    /// The bytes of the context's name in the expression's text.
    pub context_span: Range<usize>,
    /// What follows, as `outputs`, `version`.
    pub path: Vec<Step>,
    /// The bytes of the whole way.
    pub span: Range<usize>,
}

impl Reference {
    /// Tells whether the context has this name, without case.
    pub fn is_context(&self, name: &str) -> bool {
        super::fold::equal(&self.context, name)
    }

    /// Gives the name at a place of the path, if it is written out.
    pub fn property(&self, place: usize) -> Option<&str> {
        match self.path.get(place) {
            Some(Step::Property(name)) => Some(name),
            _ => None,
        }
    }
}

/// A use of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The function's name, as written.
    pub name: Arc<str>,
    /// The bytes of the name in the expression's text.
    pub span: Range<usize>,
    /// How many arguments it has.
    pub arguments: usize,
    /// Which function it is, if it is one of the language.
    pub function: Option<Function>,
}

impl Expression {
    /// Reads an expression without `${{ }}`; every name and every function is taken.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Self::parse_with(text, &Names::any())
    }

    /// Reads an expression in which only some names may appear.
    ///
    /// Of several errors the first one is reported, in GitHub's order.
    pub fn parse_with(text: &str, names: &Names) -> Result<Self, ParseError> {
        Ok(Self {
            text: text.into(),
            root: parser::parse(text, names)?,
        })
    }

    /// Gives the text that was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Checks the names and the numbers of arguments of an expression that was read before.
    pub fn check(&self, names: &Names) -> Result<(), ParseError> {
        match self.problems(names).into_iter().next() {
            Some(problem) => Err(problem),
            None => Ok(()),
        }
    }

    /// Lists all that [`check`](Self::check) has to say, in order.
    pub fn problems(&self, names: &Names) -> Vec<ParseError> {
        let mut problems = Vec::new();
        self.root.visit(&mut |node| match &node.kind {
            NodeKind::Context(name) if !names.has_context(name) => problems.push((
                node.span.start,
                self.problem(ParseErrorKind::UnrecognizedNamedValue, &node.span),
            )),
            NodeKind::Call {
                name,
                name_span,
                arguments,
                ..
            } => {
                if let Err(kind) = names.check_call(name, arguments.len()) {
                    let seen = match kind {
                        ParseErrorKind::UnrecognizedFunction => name_span.start,
                        _ => node.span.end,
                    };
                    problems.push((seen, self.problem(kind, name_span)));
                }
            }
            _ => {}
        });
        problems.sort_by_key(|(seen, _)| *seen);
        problems.into_iter().map(|(_, problem)| problem).collect()
    }

    /// Puts `success() && (…)` around the expression.
    ///
    /// The tree is taken as it is, so that the depth of what the author wrote alone is limited.
    pub(super) fn under_success(self) -> Self {
        let text: Arc<str> = format!("success() && ({})", self.text).into();
        let name = "success";
        let call = "success()".len();
        let success = Node {
            kind: NodeKind::Call {
                name: name.into(),
                name_span: 0..name.len(),
                function: Function::by_name(name),
                arguments: Vec::new(),
            },
            span: 0..call,
        };
        let mut condition = self.root;
        condition.shift("success() && (".len());
        let span = 0..text.len();
        let mut operands = vec![success];
        match condition.kind {
            NodeKind::And(inner) => operands.extend(inner),
            _ => operands.push(condition),
        }
        Self {
            text,
            root: Node {
                kind: NodeKind::And(operands),
                span,
            },
        }
    }

    fn problem(&self, kind: ParseErrorKind, span: &Range<usize>) -> ParseError {
        ParseError::at(kind, &self.text, span.clone())
    }

    /// Lists the contexts that the expression uses and the ways from them, in order.
    ///
    /// `steps.a.outputs.b` is one reference with three steps; an index in brackets is also looked
    /// into, so `needs[matrix.job].result` gives two.
    pub fn references(&self) -> Vec<Reference> {
        let mut references = Vec::new();
        collect_references(&self.root, &mut references);
        references.sort_by_key(|reference| reference.span.start);
        references
    }

    /// Lists the functions that the expression calls, in order.
    pub fn calls(&self) -> Vec<Call> {
        let mut calls = Vec::new();
        self.root.visit(&mut |node| {
            if let NodeKind::Call {
                name,
                name_span,
                function,
                arguments,
            } = &node.kind
            {
                calls.push(Call {
                    name: Arc::clone(name),
                    span: name_span.clone(),
                    arguments: arguments.len(),
                    function: *function,
                });
            }
        });
        calls
    }

    /// Tells whether the expression calls `always`, `cancelled`, `failure` or `success`.
    pub fn calls_status_function(&self) -> bool {
        let mut found = false;
        self.root.visit(&mut |node| {
            if let NodeKind::Call {
                function: Some(Function::Status(_)),
                ..
            } = node.kind
            {
                found = true;
            }
        });
        found
    }

    /// Gives the value of an expression that is one literal, as `true` or `'text'`.
    pub fn literal(&self) -> Option<&Value> {
        match &self.root.kind {
            NodeKind::Literal(value) => Some(value),
            _ => None,
        }
    }
}

fn collect_references(node: &Node, references: &mut Vec<Reference>) {
    let mut path = Vec::new();
    let mut way = node;
    while let NodeKind::Index { target, index } = &way.kind {
        path.push(match &index.kind {
            NodeKind::Literal(value) if value.is_primitive() => Step::Property(value.to_text()),
            NodeKind::Wildcard => Step::Wildcard,
            _ => {
                collect_references(index, references);
                Step::Computed
            }
        });
        way = target;
    }
    match &way.kind {
        NodeKind::Context(name) => {
            path.reverse();
            references.push(Reference {
                context: Arc::clone(name),
                context_span: way.span.clone(),
                path,
                span: node.span.clone(),
            });
        }
        _ => {
            for child in way.children() {
                collect_references(child, references);
            }
        }
    }
}
