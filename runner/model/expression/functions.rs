//! The functions of the expression language.

use std::sync::Arc;

use super::{
    error::{EvaluationError, MAX_MEMORY},
    evaluate::{Evaluation, text_cost},
    fold, json,
    names::{Function, StatusFunction},
    tree::Node,
    value::Value,
};

/// Calls a function.
pub(super) fn call(
    evaluation: &mut Evaluation<'_>,
    function: Function,
    name: &str,
    arguments: &[Node],
    level: usize,
) -> Result<Value, EvaluationError> {
    let mut call = Call {
        evaluation,
        name,
        arguments,
        level: level + 1,
        bytes: 0,
    };
    match function {
        Function::Case => call.case(),
        Function::Contains => call.contains(),
        Function::StartsWith => call.compare_texts(fold::starts_with),
        Function::EndsWith => call.compare_texts(fold::ends_with),
        Function::Format => call.format(),
        Function::Join => call.join(),
        Function::ToJson => call.write_json(),
        Function::FromJson => call.read_json(),
        Function::HashFiles => call.hash_files(),
        Function::Status(StatusFunction::Always) => Ok(Value::Boolean(true)),
        Function::Status(status) => {
            let arguments = call.all()?;
            call.evaluation
                .scope
                .status(status, &arguments)
                .map(Value::Boolean)
        }
    }
}

struct Call<'a, 'e> {
    evaluation: &'a mut Evaluation<'e>,
    name: &'a str,
    arguments: &'a [Node],
    level: usize,
    /// What the result costs so far.
    bytes: usize,
}

/// A part of a format string.
#[derive(Debug, PartialEq)]
enum Piece {
    Text(String),
    Argument { index: usize, specifiers: String },
}

impl Call<'_, '_> {
    /// Evaluates one argument.
    fn argument(&mut self, index: usize) -> Result<Value, EvaluationError> {
        let arguments = self.arguments;
        match arguments.get(index) {
            Some(node) => self.evaluation.node(node, self.level),
            None => Err(self.wrong_count()),
        }
    }

    fn wrong_count(&self) -> EvaluationError {
        EvaluationError::ParameterCount {
            name: self.name.to_owned(),
        }
    }

    fn all(&mut self) -> Result<Vec<Value>, EvaluationError> {
        (0..self.arguments.len())
            .map(|index| self.argument(index))
            .collect()
    }

    /// Counts a piece of the result, so that a result that is too large is never built.
    fn count(&mut self, piece: &str) -> Result<(), EvaluationError> {
        self.bytes += text_cost(piece);
        if self.bytes > MAX_MEMORY {
            return Err(self.evaluation.memory_error());
        }
        Ok(())
    }

    fn case(&mut self) -> Result<Value, EvaluationError> {
        let count = self.arguments.len();
        if count < 3 || count.is_multiple_of(2) {
            return Err(self.wrong_count());
        }
        for index in (0..count - 1).step_by(2) {
            match self.argument(index)? {
                Value::Boolean(true) => return self.argument(index + 1),
                Value::Boolean(false) => {}
                _ => return Err(EvaluationError::CasePredicate),
            }
        }
        self.argument(count - 1)
    }

    fn contains(&mut self) -> Result<Value, EvaluationError> {
        let search = self.argument(0)?;
        let found = match &search {
            Value::Array(items) if items.is_empty() => false,
            Value::Array(items) => {
                let item = self.argument(1)?;
                items.iter().any(|known| item.loosely_equals(known))
            }
            Value::Object(_) => false,
            _ => {
                let item = self.argument(1)?;
                item.is_primitive() && fold::contains(&search.to_text(), &item.to_text())
            }
        };
        Ok(Value::Boolean(found))
    }

    fn compare_texts(&mut self, holds: fn(&str, &str) -> bool) -> Result<Value, EvaluationError> {
        let search = self.argument(0)?;
        if !search.is_primitive() {
            return Ok(Value::Boolean(false));
        }
        let part = self.argument(1)?;
        let found = part.is_primitive() && holds(&search.to_text(), &part.to_text());
        Ok(Value::Boolean(found))
    }

    fn format(&mut self) -> Result<Value, EvaluationError> {
        let format = self.argument(0)?.to_text();
        let pieces = split_format(&format).ok_or_else(|| EvaluationError::InvalidFormat {
            format: format.as_ref().to_owned(),
        })?;
        let supplied = self.arguments.len() - 1;
        let beyond =
            |piece: &Piece| matches!(piece, Piece::Argument { index, .. } if *index >= supplied);
        if pieces.iter().any(beyond) {
            return Err(EvaluationError::TooFewFormatArguments {
                format: format.as_ref().to_owned(),
            });
        }
        let mut result = String::with_capacity(format.len());
        let mut known: Vec<Option<Arc<str>>> = vec![None; supplied];
        for piece in pieces {
            match piece {
                Piece::Text(text) => {
                    self.count(&text)?;
                    result.push_str(&text);
                }
                Piece::Argument { index, specifiers } => {
                    // An argument is evaluated when the text asks for it, and once.
                    let text = match known.get(index).cloned().flatten() {
                        Some(text) if specifiers.is_empty() => text,
                        _ => {
                            let value = self.argument(index + 1)?;
                            if !specifiers.is_empty() {
                                return Err(EvaluationError::FormatSpecifiers {
                                    specifiers,
                                    kind: value.kind().name(),
                                });
                            }
                            value.to_text()
                        }
                    };
                    self.count(&text)?;
                    result.push_str(&text);
                    if let Some(slot) = known.get_mut(index) {
                        *slot = Some(text);
                    }
                }
            }
        }
        Ok(Value::from(result))
    }

    fn join(&mut self) -> Result<Value, EvaluationError> {
        let items = match self.argument(0)? {
            Value::Array(items) => items,
            Value::Object(_) => return Ok(Value::from("")),
            plain => return Ok(Value::String(plain.to_text())),
        };
        let mut separator: Arc<str> = Arc::from(",");
        if items.len() > 1 && self.arguments.len() > 1 {
            let value = self.argument(1)?;
            if value.is_primitive() {
                separator = value.to_text();
            }
        }
        let mut result = String::new();
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.count(&separator)?;
                result.push_str(&separator);
            }
            let text = item.to_text();
            self.count(&text)?;
            result.push_str(&text);
        }
        Ok(Value::from(result))
    }

    fn write_json(&mut self) -> Result<Value, EvaluationError> {
        let value = self.argument(0)?;
        json::write(&value, &mut |piece| self.count(piece)).map(Value::from)
    }

    fn read_json(&mut self) -> Result<Value, EvaluationError> {
        let text = self.argument(0)?.to_text();
        serde_json::from_str(&text).map_err(|error| EvaluationError::Json {
            problem: error.to_string(),
        })
    }

    fn hash_files(&mut self) -> Result<Value, EvaluationError> {
        let patterns: Vec<String> = self.all()?.iter().map(Value::to_display_string).collect();
        self.evaluation.scope.hash_files(&patterns).map(Value::from)
    }
}

/// Splits a format string at its braces; `None` if one stands alone.
///
/// `{{` and `}}` stand for one brace, `{0}` for an argument, `{0:x}` for one with specifiers.
fn split_format(format: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = format;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        if let Some(after) = from.strip_prefix("{{") {
            text.push('{');
            rest = after;
        } else if let Some(after) = from.strip_prefix("}}") {
            text.push('}');
            rest = after;
        } else {
            let (piece, after) = split_argument(from.strip_prefix('{')?)?;
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(piece);
            rest = after;
        }
    }
    text.push_str(rest);
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Some(pieces)
}

/// Reads what follows `{` up to its `}`: a number up to 255 and perhaps `:` with specifiers.
fn split_argument(from: &str) -> Option<(Piece, &str)> {
    let digits = from
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(from.len());
    let (number, mut rest) = from.split_at(digits);
    let index = usize::from(number.parse::<u8>().ok()?);
    let mut specifiers = String::new();
    if let Some(after) = rest.strip_prefix(':') {
        rest = after;
        loop {
            let at = rest.find('}')?;
            let (before, from) = rest.split_at(at);
            specifiers.push_str(before);
            match from.strip_prefix("}}") {
                Some(after) => {
                    specifiers.push('}');
                    rest = after;
                }
                None => {
                    rest = from;
                    break;
                }
            }
        }
    }
    let rest = rest.strip_prefix('}')?;
    Some((Piece::Argument { index, specifiers }, rest))
}
