//! Runs a template: values are those of JSON.

use serde_json::{Map, Value};

use super::super::world::World;
use super::program::Node;
use super::ruby::{Expression, ExpressionKind, Segment};

/// A template that cannot be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// It says what Ruby would refuse, too: a variable is not set, a file is not there.
    Wrong { line: u32, message: String },
    /// It says something that only Ruby knows.
    Unsupported { line: u32, what: String },
}

type Evaluated = Result<Value, Failure>;

/// How often loops may go round in one template.
const MAX_ROUNDS: usize = 10_000;

pub(super) struct Evaluation<'a> {
    world: &'a dyn World,
    variables: Map<String, Value>,
    rounds: usize,
    text: String,
    lines: Vec<u32>,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(world: &'a dyn World) -> Self {
        Self {
            world,
            variables: Map::new(),
            rounds: 0,
            text: String::new(),
            lines: vec![1],
        }
    }

    /// Returns the rendered text and, for each of its lines, the line in the template.
    pub(super) fn into_text(self) -> (String, Vec<u32>) {
        (self.text, self.lines)
    }

    pub(super) fn run(&mut self, nodes: &[Node]) -> Result<(), Failure> {
        for node in nodes {
            match node {
                Node::Text { line, text } => self.write(text, *line, true),
                Node::Output(expression) => {
                    let value = self.value(expression)?;
                    let text = to_s(&value, expression.line)?;
                    self.write(&text, expression.line, false);
                }
                Node::Evaluate(expression) => drop(self.value(expression)?),
                Node::Assign(name, expression) => {
                    let value = self.value(expression)?;
                    self.variables.insert(name.clone(), value);
                }
                Node::Choose(branches) => {
                    for (condition, body) in branches {
                        let holds = match condition {
                            Some(condition) => is_true(&self.value(condition)?),
                            None => true,
                        };
                        if holds {
                            self.run(body)?;
                            break;
                        }
                    }
                }
                Node::Each {
                    list,
                    variable,
                    body,
                } => self.each(list, variable, body)?,
            }
        }
        Ok(())
    }

    fn each(&mut self, list: &Expression, variable: &str, body: &[Node]) -> Result<(), Failure> {
        let items = match self.value(list)? {
            Value::Array(items) => items,
            Value::Number(count) => {
                let count = count.as_u64().unwrap_or(0);
                (0..count.min(MAX_ROUNDS as u64 + 1))
                    .map(Value::from)
                    .collect()
            }
            _ => return Err(wrong(list.line, "a loop needs a list or a number")),
        };
        for item in items {
            self.rounds += 1;
            if self.rounds > MAX_ROUNDS {
                return Err(wrong(
                    list.line,
                    "the loops of the template go round too often",
                ));
            }
            self.variables.insert(variable.to_owned(), item);
            self.run(body)?;
        }
        self.variables.remove(variable);
        Ok(())
    }

    /// Writes text that stands in the template from `line` on, or was computed there.
    fn write(&mut self, text: &str, mut line: u32, is_copied: bool) {
        for character in text.chars() {
            if (self.text.is_empty() || self.text.ends_with('\n'))
                && let Some(last) = self.lines.last_mut()
            {
                *last = line;
            }
            self.text.push(character);
            if character == '\n' {
                line += u32::from(is_copied);
                self.lines.push(line);
            }
        }
    }

    fn value(&mut self, expression: &Expression) -> Evaluated {
        let line = expression.line;
        Ok(match &expression.kind {
            ExpressionKind::Nil => Value::Null,
            ExpressionKind::Boolean(value) => (*value).into(),
            ExpressionKind::Integer(value) => (*value).into(),
            ExpressionKind::Text(segments) => self.text_of(segments)?.into(),
            ExpressionKind::Command(segments) => {
                let command = self.text_of(segments)?;
                let output = self.world.run_template_command(&command);
                output
                    .map_err(|reason| wrong(line, &format!("the command failed: {reason}")))?
                    .into()
            }
            ExpressionKind::List(items) => {
                let items: Result<Vec<Value>, Failure> =
                    items.iter().map(|item| self.value(item)).collect();
                items?.into()
            }
            ExpressionKind::Variable(name) => self
                .variables
                .get(name)
                .cloned()
                .ok_or_else(|| unsupported(line, &format!("`{name}`")))?,
            ExpressionKind::Constant(name) => return Err(unsupported(line, &format!("`{name}`"))),
            ExpressionKind::Call {
                receiver,
                method,
                arguments,
                is_safe,
            } => return self.call(receiver, method, arguments, *is_safe),
            ExpressionKind::Index(receiver, index) => return self.index(receiver, index),
            ExpressionKind::Add(left, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                return add(left, right, line);
            }
            ExpressionKind::Compare(left, sign, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                return compare(&left, sign, &right, line);
            }
            ExpressionKind::Or(left, right) => match self.value(left)? {
                left if is_true(&left) => left,
                _ => self.value(right)?,
            },
            ExpressionKind::And(left, right) => match self.value(left)? {
                left if is_true(&left) => self.value(right)?,
                left => left,
            },
            ExpressionKind::Not(inner) => (!is_true(&self.value(inner)?)).into(),
            ExpressionKind::If(condition, yes, no) => {
                let holds = is_true(&self.value(condition)?);
                self.value(if holds { yes } else { no })?
            }
        })
    }

    fn text_of(&mut self, segments: &[Segment]) -> Result<String, Failure> {
        let mut text = String::new();
        for segment in segments {
            match segment {
                Segment::Text(part) => text.push_str(part),
                Segment::Ruby(expression) => {
                    let value = self.value(expression)?;
                    text.push_str(&to_s(&value, expression.line)?);
                }
            }
        }
        Ok(text)
    }

    fn index(&mut self, receiver: &Expression, index: &Expression) -> Evaluated {
        let line = receiver.line;
        let index_value = self.value(index)?;
        if matches!(&receiver.kind, ExpressionKind::Constant(name) if name == "ENV") {
            let name = to_s(&index_value, line)?;
            return Ok(self.world.env(&name).map_or(Value::Null, Value::String));
        }
        let receiver = self.value(receiver)?;
        super::methods::index(&receiver, &index_value)
            .ok_or_else(|| unsupported(line, "this `[…]`"))
    }

    fn call(
        &mut self,
        receiver: &Expression,
        method: &str,
        arguments: &[Expression],
        is_safe: bool,
    ) -> Evaluated {
        let line = receiver.line;
        if let ExpressionKind::Constant(constant) = &receiver.kind {
            return self.call_constant(constant, method, arguments, line);
        }
        let value = self.value(receiver)?;
        if is_safe && value.is_null() {
            return Ok(Value::Null);
        }
        let arguments: Result<Vec<Value>, Failure> = arguments
            .iter()
            .map(|argument| self.value(argument))
            .collect();
        super::methods::call(&value, method, &arguments?)
            .ok_or_else(|| unsupported(line, &format!("`.{method}` here")))
    }

    fn call_constant(
        &mut self,
        constant: &str,
        method: &str,
        arguments: &[Expression],
        line: u32,
    ) -> Evaluated {
        let Some(first) = arguments.first() else {
            return match (constant, method) {
                ("Kamal::Utils", "docker_arch") => Ok(self.world.docker_architecture().into()),
                _ => Err(unsupported(line, &format!("`{constant}.{method}`"))),
            };
        };
        let argument = self.value(first)?;
        let name = to_s(&argument, line)?;
        match (constant, method) {
            ("ENV", "fetch") => match (self.world.env(&name), arguments.get(1)) {
                (Some(value), _) => Ok(value.into()),
                (None, Some(default)) => self.value(default),
                (None, None) => {
                    let message = format!("environment variable `{name}` is not set");
                    Err(wrong(line, &message))
                }
            },
            ("ENV", "key?" | "has_key?" | "include?") => Ok(self.world.env(&name).is_some().into()),
            ("File", "exist?") => {
                let file = self.world.read_file(&name);
                Ok(file.is_ok_and(|file| file.is_some()).into())
            }
            ("File", "read") => match self.world.read_file(&name) {
                Ok(Some(text)) => Ok(text.into()),
                Ok(None) => Err(wrong(line, &format!("file `{name}` is not there"))),
                Err(reason) => {
                    let message = format!("file `{name}` cannot be read: {reason}");
                    Err(wrong(line, &message))
                }
            },
            ("File", "basename") => Ok(name.rsplit('/').next().unwrap_or(&name).to_owned().into()),
            ("JSON", "parse") => serde_json::from_str(&name)
                .map_err(|error| wrong(line, &format!("this is no JSON: {error}"))),
            _ => Err(unsupported(line, &format!("`{constant}.{method}`"))),
        }
    }
}

fn wrong(line: u32, message: &str) -> Failure {
    Failure::Wrong {
        line,
        message: message.to_owned(),
    }
}

fn unsupported(line: u32, what: &str) -> Failure {
    Failure::Unsupported {
        line,
        what: what.to_owned(),
    }
}

fn is_true(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false))
}

/// Writes a value as Ruby's `to_s`; lists and hashes are left to Ruby.
fn to_s(value: &Value, line: u32) -> Result<String, Failure> {
    super::methods::to_s(value).ok_or_else(|| unsupported(line, "the text of a list or hash"))
}

fn add(left: Value, right: Value, line: u32) -> Evaluated {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Ok((left + &right).into()),
        (Value::Array(mut left), Value::Array(right)) => {
            left.extend(right);
            Ok(left.into())
        }
        (left, right) => match (left.as_i64(), right.as_i64()) {
            (Some(left), Some(right)) => left
                .checked_add(right)
                .map(Value::from)
                .ok_or_else(|| unsupported(line, "a large number")),
            _ => Err(wrong(line, "`+` needs two texts, two numbers or two lists")),
        },
    }
}

fn compare(left: &Value, sign: &str, right: &Value, line: u32) -> Evaluated {
    let ordering = match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => left
            .as_i64()
            .zip(right.as_i64())
            .map(|(left, right)| left.cmp(&right)),
    };
    let holds = match (sign, ordering) {
        ("==", _) => left == right,
        ("!=", _) => left != right,
        (">", Some(ordering)) => ordering.is_gt(),
        ("<", Some(ordering)) => ordering.is_lt(),
        (">=", Some(ordering)) => ordering.is_ge(),
        ("<=", Some(ordering)) => ordering.is_le(),
        _ => {
            return Err(wrong(
                line,
                &format!("`{sign}` needs two texts or two numbers"),
            ));
        }
    };
    Ok(holds.into())
}
