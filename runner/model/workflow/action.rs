//! `action.yml`: what an action takes, gives and runs.

use indexmap::IndexMap;

use crate::diagnostic::{Diagnostic, nearest};
use crate::expression::Expression;
use crate::yaml::Node;

use super::model::{ActionInput, ActionManifest, ActionRuns, Condition};
use super::parse::reader::{Place, Reader};
use super::parse::{finish, lint, status, step, tree};
use super::schema::{self, Definition};
use super::token::{Token, TokenKind};

/// The versions of Node.js that `using` can name.
const NODES: [&str; 4] = ["node12", "node16", "node20", "node24"];

/// Reads an `action.yml`.
///
/// The manifest is there exactly when none of the diagnostics is an error. Like GitHub's runner it
/// passes over unknown keys beside `runs`.
pub fn parse_action(source: &str) -> (Option<ActionManifest>, Vec<Diagnostic>) {
    let root = match tree(source) {
        Ok(root) => root,
        Err(found) => return (None, found),
    };
    let mut reader = Reader::new(source);
    let manifest = manifest(&mut reader, &root);
    finish(reader, manifest)
}

fn manifest(reader: &mut Reader<'_>, root: &Node) -> Option<ActionManifest> {
    let token = reader.read(root, &schema::ACTION, Place::File("the action"));
    let mapping = root.as_mapping()?;
    for key in ["name", "description"] {
        if mapping.get(key).is_none_or(Node::is_null) {
            let message = format!("the action has no `{key}`, which GitHub's marketplace wants");
            reader.report(Diagnostic::warning(
                "missing-key",
                &reader.head(root),
                message,
            ));
        }
    }
    if let Some(branding) = mapping.get("branding") {
        check_branding(reader, branding);
    }
    let runs = mapping.get("runs").map(|node| runs(reader, node));
    let text = |key: &str| {
        token
            .get(key)
            .and_then(Token::as_literal)
            .map(str::to_owned)
    };
    let manifest = ActionManifest {
        name: text("name"),
        description: text("description"),
        inputs: entries(&token, "inputs", input),
        outputs: entries(&token, "outputs", |output| output.get("value").cloned()),
        runs: runs??,
    };
    lint::action(reader, &manifest);
    Some(manifest)
}

fn entries<T>(token: &Token, key: &str, read: impl Fn(&Token) -> T) -> IndexMap<String, T> {
    token
        .get(key)
        .and_then(Token::as_mapping)
        .unwrap_or_default()
        .iter()
        .filter_map(|(name, value)| Some((name.as_literal()?.to_owned(), read(value))))
        .collect()
}

fn input(token: &Token) -> ActionInput {
    let text = |key: &str| token.get(key).and_then(Token::as_literal);
    let required = token.get("required").map(|required| &required.kind);
    ActionInput {
        description: text("description").map(str::to_owned),
        is_required: match required {
            Some(TokenKind::Boolean(required)) => *required,
            Some(TokenKind::String(required)) => required.eq_ignore_ascii_case("true"),
            _ => false,
        },
        default: token.get("default").cloned(),
        deprecation: text("deprecationMessage").map(str::to_owned),
    }
}

fn check_branding(reader: &mut Reader<'_>, node: &Node) {
    let Some(mapping) = node.as_mapping() else {
        let message = format!(
            "`branding` is a {}, but must be a mapping",
            node.kind_name()
        );
        reader.error("wrong-kind", &node.span, message);
        return;
    };
    let icons: Vec<&str> = schema::ICONS.split_whitespace().collect();
    for (key, known) in [("icon", icons.as_slice()), ("color", schema::COLORS)] {
        let Some(value) = mapping.get(key) else {
            continue;
        };
        if known.contains(&value.text.as_str()) {
            continue;
        }
        let message = format!("`{}` is no {key} that GitHub's marketplace has", value.text);
        let problem = Diagnostic::error("branding", &value.span, message);
        reader.report(match nearest(&value.text, known.iter().copied()) {
            Some(near) => problem.with_hint(format!("did you mean `{near}`?")),
            None => problem,
        });
    }
}

/// Reads `runs` by what `using` says.
fn runs(reader: &mut Reader<'_>, node: &Node) -> Option<ActionRuns> {
    let place = Place::Key("runs");
    let using = node.as_mapping().and_then(|mapping| mapping.get("using"));
    let Some(using) = using else {
        let message = if node.as_mapping().is_some() {
            "`runs` lacks the required key `using`"
        } else {
            "`runs` must be a mapping with the key `using`"
        };
        reader.error("missing-key", &reader.head(node), message);
        return None;
    };
    let word = using.text.to_lowercase();
    let mut read = |definition: &'static Definition| reader.read(node, definition, place);
    match word.as_str() {
        "docker" => {
            let token = read(&schema::CONTAINER_RUNS);
            docker(reader, &token)
        }
        "composite" => {
            let token = read(&schema::COMPOSITE_RUNS);
            let always = status(&node.span, "")?;
            Some(ActionRuns::Composite {
                steps: step::all(reader, token.get("steps")?, &always),
            })
        }
        "runner" => {
            read(&schema::NATIVE_RUNS);
            Some(ActionRuns::Native)
        }
        _ if NODES.contains(&word.as_str()) => {
            let token = read(&schema::NODE_RUNS);
            Some(ActionRuns::Node {
                main: text(&token, "main")?,
                pre: stage(reader, &token, "pre", "pre-if"),
                post: stage(reader, &token, "post", "post-if"),
                using: word,
            })
        }
        _ => {
            let known = ["composite", "docker"].into_iter().chain(NODES);
            let message = format!("`using` names no known way to run: `{}`", using.text);
            let problem = Diagnostic::error("unknown-using", &using.span, message);
            reader.report(match nearest(&word, known.clone()) {
                Some(near) => problem.with_hint(format!("did you mean `{near}`?")),
                None => {
                    problem.with_hint(format!("one of {}", known.collect::<Vec<_>>().join(", ")))
                }
            });
            None
        }
    }
}

fn docker(reader: &mut Reader<'_>, token: &Token) -> Option<ActionRuns> {
    let arguments = token.get("args").and_then(Token::as_sequence);
    Some(ActionRuns::Docker {
        image: text(token, "image")?,
        entrypoint: text(token, "entrypoint"),
        arguments: arguments.unwrap_or_default().to_vec(),
        env: entries(token, "env", Token::clone),
        pre: stage(reader, token, "pre-entrypoint", "pre-if"),
        post: stage(reader, token, "post-entrypoint", "post-if"),
    })
}

/// Returns a script that runs before or after, with its condition: `always()` where none is given.
///
/// Unlike the `if` of a step it has no implied `success()`, and GitHub looks at the names in it
/// only when it runs.
fn stage(
    reader: &mut Reader<'_>,
    token: &Token,
    key: &str,
    condition_key: &str,
) -> Option<(String, Condition)> {
    let script = token.get(key)?;
    let written = token.get(condition_key);
    let text = match written.map(|written| &written.kind) {
        Some(TokenKind::String(text)) => text.as_str(),
        Some(TokenKind::Expression(template)) => template
            .single_expression()
            .map_or(template.text(), Expression::text),
        _ => "always()",
    };
    let span = written.map_or(&script.span, |condition| &condition.span);
    match Expression::parse(text) {
        Ok(expression) => Some((
            script.as_literal()?.to_owned(),
            Condition {
                expression,
                text: text.to_owned(),
                span: span.clone(),
                is_written: written.is_some(),
            },
        )),
        Err(error) => {
            reader.error("expression-syntax", span, error.summary());
            None
        }
    }
}

fn text(token: &Token, key: &str) -> Option<String> {
    token.get(key)?.as_literal().map(str::to_owned)
}
