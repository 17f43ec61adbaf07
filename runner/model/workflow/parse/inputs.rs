//! What a workflow takes and gives: inputs of `workflow_dispatch`, interface of `workflow_call`.

use indexmap::IndexMap;

use crate::diagnostic::{Diagnostic, nearest};
use crate::workflow::model::{CallInterface, Input, InputKind};
use crate::workflow::schema;
use crate::workflow::token::{Token, TokenKind};
use crate::yaml::Node;

use super::reader::{Place, Reader};

/// GitHub's limit of inputs that a person can give.
const MAX_DISPATCH_INPUTS: usize = 25;

/// Reads `inputs` of `workflow_dispatch`.
pub(super) fn dispatch(reader: &mut Reader<'_>, node: &Node) -> IndexMap<String, Input> {
    if node.is_null() {
        return IndexMap::new();
    }
    let read = reader.read(node, &schema::DISPATCH_INPUTS, Place::Key("inputs"));
    let inputs = all(reader, &read);
    for (name, input) in &inputs {
        if let Some(token) = read.get(name) {
            check_options(reader, name, input, token);
        }
    }
    if inputs.len() > MAX_DISPATCH_INPUTS {
        let message = format!(
            "`workflow_dispatch` has {} inputs, but at most {MAX_DISPATCH_INPUTS} can be given",
            inputs.len()
        );
        reader.report(Diagnostic::warning("input-count", &node.span, message));
    }
    inputs
}

/// Reads one part of `workflow_call`.
pub(super) fn call(reader: &mut Reader<'_>, call: &mut CallInterface, key: &str, node: &Node) {
    match key {
        "inputs" => {
            let read = reader.read(node, &schema::CALL_INPUTS, Place::Key("inputs"));
            call.inputs = all(reader, &read);
        }
        "secrets" => {
            let read = reader.read(node, &schema::CALL_SECRETS, Place::Key("secrets"));
            for (name, secret) in pairs(&read) {
                let is_required = flag(secret, "required");
                call.secrets.insert(name.to_owned(), is_required);
            }
        }
        "outputs" => {
            let read = reader.read(node, &schema::CALL_OUTPUTS, Place::Key("outputs"));
            for (name, output) in pairs(&read) {
                if let Some(value) = output.get("value") {
                    call.outputs.insert(name.to_owned(), value.clone());
                }
            }
        }
        _ => {}
    }
}

/// Walks over the pairs of a mapping whose keys are text.
pub(super) fn pairs(token: &Token) -> impl Iterator<Item = (&str, &Token)> {
    token
        .as_mapping()
        .unwrap_or_default()
        .iter()
        .filter_map(|(key, value)| Some((key.as_literal()?, value)))
}

fn flag(token: &Token, key: &str) -> bool {
    matches!(
        token.get(key).map(|value| &value.kind),
        Some(TokenKind::Boolean(true))
    )
}

fn all(reader: &mut Reader<'_>, token: &Token) -> IndexMap<String, Input> {
    let mut inputs = IndexMap::new();
    for (key, value) in token.as_mapping().unwrap_or_default() {
        if let Some(name) = key.as_literal() {
            let input = one(key, value);
            check_default(reader, name, &input);
            inputs.insert(name.to_owned(), input);
        }
    }
    inputs
}

fn one(key: &Token, token: &Token) -> Input {
    let text = |key: &str| token.get(key).and_then(Token::as_literal);
    let kind = match text("type") {
        Some("boolean") => InputKind::Boolean,
        Some("number") => InputKind::Number,
        Some("choice") => InputKind::Choice,
        Some("environment") => InputKind::Environment,
        _ => InputKind::String,
    };
    let options: Vec<String> = token
        .get("options")
        .and_then(Token::as_sequence)
        .unwrap_or_default()
        .iter()
        .filter_map(|option| option.as_literal().map(str::to_owned))
        .collect();
    Input {
        span: key.span.clone(),
        description: text("description").map(str::to_owned),
        kind,
        is_required: flag(token, "required"),
        default: token.get("default").cloned(),
        options,
    }
}

fn check_options(reader: &mut Reader<'_>, name: &str, input: &Input, token: &Token) {
    if input.kind == InputKind::Choice {
        if input.options.is_empty() {
            let message = format!("input `{name}` is a choice without `options`");
            reader.error("input-options", &reader.start(&token.span), message);
        }
    } else if let Some(options) = token.get("options") {
        let message = format!("input `{name}` has `options`, but is no choice");
        reader.report(
            Diagnostic::error("input-options", &options.span, message)
                .with_hint("add `type: choice`"),
        );
    }
}

fn check_default(reader: &mut Reader<'_>, name: &str, input: &Input) {
    let Some(default) = &input.default else {
        return;
    };
    let is_expression = matches!(default.kind, TokenKind::Expression(_));
    let fits = match input.kind {
        InputKind::Boolean => matches!(default.kind, TokenKind::Boolean(_)),
        InputKind::Number => matches!(default.kind, TokenKind::Number(_)),
        InputKind::String | InputKind::Choice | InputKind::Environment => true,
    };
    if !fits && !is_expression {
        let expected = match input.kind {
            InputKind::Boolean => "`true` or `false` without quotes",
            _ => "a number without quotes",
        };
        let message = format!(
            "the default of input `{name}` is no {}: expected {expected}",
            input.kind
        );
        reader.error("input-default", &default.span, message);
    }
    if input.kind != InputKind::Choice || input.options.is_empty() {
        return;
    }
    if let Some(text) = default.as_literal()
        && !input.options.iter().any(|option| option == text)
    {
        let message = format!("the default `{text}` of input `{name}` is none of its options");
        let problem = Diagnostic::warning("input-default", &default.span, message);
        let options = input.options.iter().map(String::as_str);
        reader.report(match nearest(text, options) {
            Some(near) => problem.with_hint(format!("did you mean `{near}`?")),
            None => problem,
        });
    }
}
