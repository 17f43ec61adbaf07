//! The tree of an expression to its value.

use std::sync::Arc;

use super::{
    error::{EvaluationError, MAX_MEMORY},
    functions,
    lexer::Operator,
    names::StatusFunction,
    tree::{Expression, Node, NodeKind},
    value::{Array, Value},
};

/// What an expression can ask for.
///
/// Values are shared, so giving one out is cheap; a context is asked for only if evaluation
/// reaches it.
pub trait Scope {
    /// Gives a context by its name as written (so in any case), `None` if there is none.
    fn context(&self, name: &str) -> Option<Value>;

    /// Answers `success()`, `failure()` and `cancelled()`; `always()` is true without asking.
    ///
    /// At the level of jobs `success` and `failure` may name jobs in their arguments.
    fn status(
        &self,
        function: StatusFunction,
        arguments: &[Value],
    ) -> Result<bool, EvaluationError>;

    /// Answers `hashFiles()`: see [`HashFiles`](super::HashFiles) for what to do with the patterns.
    fn hash_files(&self, patterns: &[String]) -> Result<String, EvaluationError>;
}

impl Expression {
    /// Evaluates the expression.
    pub fn evaluate(&self, scope: &dyn Scope) -> Result<Value, EvaluationError> {
        let mut evaluation = Evaluation {
            expression: self,
            scope,
            memory: Memory::default(),
        };
        evaluation.node(&self.root, 0)
    }
}

/// One run of an expression.
pub(super) struct Evaluation<'a> {
    expression: &'a Expression,
    pub(super) scope: &'a dyn Scope,
    memory: Memory,
}

/// Counts memory as GitHub does: per level of the tree; a plain value frees what lay below it.
#[derive(Debug, Default)]
struct Memory {
    levels: Vec<usize>,
    total: usize,
}

/// What a text costs beside its characters.
const TEXT_OVERHEAD: usize = 26;
/// What any other value costs.
const PLAIN: usize = 24;
/// What a place in an array costs.
pub(super) const POINTER: usize = 8;

/// Tells what a text costs: two bytes for each UTF-16 unit, and a fixed part.
pub(super) fn text_cost(text: &str) -> usize {
    // Counting is worth its time only for long texts; a byte is never less than a unit.
    let units = if text.len() < 4096 || text.is_ascii() {
        text.len()
    } else {
        text.encode_utf16().count()
    };
    TEXT_OVERHEAD + 2 * units
}

impl Memory {
    fn add(&mut self, level: usize, bytes: usize, frees: bool) -> bool {
        if frees {
            for amount in self.levels.drain((level + 1).min(self.levels.len())..) {
                self.total -= amount;
            }
        }
        if self.levels.len() <= level {
            self.levels.resize(level + 1, 0);
        }
        if let Some(amount) = self.levels.get_mut(level) {
            *amount += bytes;
        }
        self.total += bytes;
        self.total <= MAX_MEMORY
    }
}

impl Evaluation<'_> {
    pub(super) fn memory_error(&self) -> EvaluationError {
        EvaluationError::Memory {
            expression: self.expression.text().to_owned(),
        }
    }

    /// Evaluates a node and counts what its value costs.
    pub(super) fn node(&mut self, node: &Node, level: usize) -> Result<Value, EvaluationError> {
        let value = self.value(node, level)?;
        let bytes = match &value {
            Value::String(text) => text_cost(text),
            Value::Array(items) if items.is_filtered() => PLAIN + POINTER * items.len(),
            _ => PLAIN,
        };
        if self.memory.add(level, bytes, value.is_primitive()) {
            Ok(value)
        } else {
            Err(self.memory_error())
        }
    }

    fn value(&mut self, node: &Node, level: usize) -> Result<Value, EvaluationError> {
        match &node.kind {
            NodeKind::Literal(value) => Ok(value.clone()),
            NodeKind::Context(name) => {
                self.scope
                    .context(name)
                    .ok_or_else(|| EvaluationError::UnrecognizedNamedValue {
                        name: name.as_ref().to_owned(),
                    })
            }
            NodeKind::Call {
                name,
                function,
                arguments,
                ..
            } => match function {
                Some(function) => functions::call(self, *function, name, arguments, level),
                None => Err(EvaluationError::UnrecognizedFunction {
                    name: name.as_ref().to_owned(),
                }),
            },
            NodeKind::Index { target, index } => self.index(target, index, level),
            NodeKind::Wildcard => Ok(Value::from("*")),
            NodeKind::Not(operand) => {
                let operand = self.node(operand, level + 1)?;
                Ok(Value::Boolean(!operand.is_truthy()))
            }
            NodeKind::Compare {
                operator,
                left,
                right,
            } => {
                let left = self.node(left, level + 1)?;
                let right = self.node(right, level + 1)?;
                Ok(Value::Boolean(compare(*operator, &left, &right)))
            }
            NodeKind::And(operands) => self.first(operands, level, |value| !value.is_truthy()),
            NodeKind::Or(operands) => self.first(operands, level, Value::is_truthy),
        }
    }

    /// Gives the first operand that decides, else the last; what follows is not evaluated.
    fn first(
        &mut self,
        operands: &[Node],
        level: usize,
        decides: impl Fn(&Value) -> bool,
    ) -> Result<Value, EvaluationError> {
        let mut result = Value::Null;
        for operand in operands {
            result = self.node(operand, level + 1)?;
            if decides(&result) {
                break;
            }
        }
        Ok(result)
    }

    fn index(
        &mut self,
        target: &Node,
        index: &Node,
        level: usize,
    ) -> Result<Value, EvaluationError> {
        let target = self.node(target, level + 1)?;
        let wildcard = matches!(index.kind, NodeKind::Wildcard);
        if target.is_primitive() {
            return Ok(if wildcard {
                Value::filtered_array(Vec::new())
            } else {
                Value::Null
            });
        }
        if let Value::Array(items) = &target
            && items.is_filtered()
        {
            return self.index_each(items, index, wildcard, level);
        }
        if wildcard {
            return Ok(Value::filtered_array(members(&target)));
        }
        let index = self.node(index, level + 1)?;
        Ok(member(&target, &index).cloned().unwrap_or_default())
    }

    /// Applies an index to each item of an array that `.*` made; what has no such member is left
    /// out.
    fn index_each(
        &mut self,
        items: &Arc<Array>,
        index: &Node,
        wildcard: bool,
        level: usize,
    ) -> Result<Value, EvaluationError> {
        let mut found = Vec::new();
        if wildcard {
            for item in items.iter() {
                found.extend(members(item));
                if found.len() * POINTER > MAX_MEMORY {
                    return Err(self.memory_error());
                }
            }
        } else {
            let index = self.node(index, level + 1)?;
            found.extend(
                items
                    .iter()
                    .filter_map(|item| member(item, &index))
                    .cloned(),
            );
        }
        Ok(Value::filtered_array(found))
    }
}

/// Gives all that lies in a collection, nothing for a plain value.
fn members(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items.to_vec(),
        Value::Object(object) => object.values().cloned().collect(),
        _ => Vec::new(),
    }
}

/// Looks up one member: in an array by a number from 0, in an object by text.
fn member<'a>(value: &'a Value, index: &Value) -> Option<&'a Value> {
    match value {
        Value::Array(items) => {
            let number = index.to_number().floor();
            // A comparison with NaN is false. 2^31 is where GitHub's own integers end.
            if !(0.0..2_147_483_648.0).contains(&number) {
                return None;
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "the range is checked above"
            )]
            items.get(number as usize)
        }
        Value::Object(object) => match index {
            Value::String(name) => object.get(name),
            _ if index.is_primitive() => object.get(&index.to_text()),
            _ => None,
        },
        _ => None,
    }
}

fn compare(operator: Operator, left: &Value, right: &Value) -> bool {
    let order = || left.loosely_compares(right);
    match operator {
        Operator::Equal => left.loosely_equals(right),
        Operator::NotEqual => !left.loosely_equals(right),
        Operator::Less => order().is_some_and(|order| order.is_lt()),
        Operator::LessOrEqual => {
            order().is_some_and(|order| order.is_lt()) || left.loosely_equals(right)
        }
        Operator::Greater => order().is_some_and(|order| order.is_gt()),
        Operator::GreaterOrEqual => {
            order().is_some_and(|order| order.is_gt()) || left.loosely_equals(right)
        }
        // These two are nodes of their own.
        Operator::And | Operator::Or => false,
    }
}
