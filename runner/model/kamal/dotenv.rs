//! The text of a secrets file to names and values.
//!
//! The rules are those of Ruby's dotenv 3.1: `export`, comments, three kinds of quotes, `$NAME` and
//! `${NAME}` from earlier lines or the environment, then `$(command)`.

use std::sync::LazyLock;

use indexmap::IndexMap;
use regex::Regex;

use super::escape::shell_word;
use super::world::World;

/// One `NAME=value` as it is written.
#[derive(Debug)]
struct Line<'a> {
    name: &'a str,
    value: &'a str,
}

/// A command in a secrets file failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommandFailure {
    /// The secret that needs it.
    pub(super) name: String,
    /// What went wrong, without the command.
    pub(super) reason: String,
}

/// Reads a file's text on top of `values`, which earlier files gave.
///
/// Names of earlier files are not seen by `$NAME`: each file is read by itself.
pub(super) fn read(
    text: &str,
    world: &dyn World,
    values: &mut IndexMap<String, String>,
) -> Result<(), CommandFailure> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut own: IndexMap<String, String> = IndexMap::new();
    for line in lines(&text) {
        let value = value_of(&line, &own, world)?;
        own.insert(line.name.to_owned(), value);
    }
    values.extend(own);
    Ok(())
}

/// The parts of a line, put together so that each alternative is tried as dotenv tries it: quoted
/// with an end of line behind, else everything up to a `#`.
static LINE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let start = r"(?m)^\s*(?:export\s+)?";
    let name = r"(?P<name>[A-Za-z0-9_.]+)";
    let separator = r"(?:\s*=\s*?|:\s+?)";
    let single = r"\s*'(?:\\'|[^'])*'";
    let double = r#"\s*"(?:\\"|[^"])*""#;
    let bare = r"[^#\r\n]+";
    let end = r"\s*(?:#.*)?$";
    let pattern = format!("{start}{name}{separator}(?P<value>{single}|{double}|{bare})?{end}");
    Regex::new(&pattern).ok()
});

fn lines(text: &str) -> Vec<Line<'_>> {
    let Some(pattern) = LINE.as_ref() else {
        return Vec::new();
    };
    pattern
        .captures_iter(text)
        .map(|found| Line {
            name: found.name("name").map_or("", |name| name.as_str()),
            value: found.name("value").map_or("", |value| value.as_str()),
        })
        .collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    None,
    Single,
    Double,
}

fn value_of(
    line: &Line<'_>,
    own: &IndexMap<String, String>,
    world: &dyn World,
) -> Result<String, CommandFailure> {
    let (quote, inner) = unquote(line.value.trim());
    let value = match quote {
        Quote::Single => return Ok(inner.to_owned()),
        // `\n` stays as it is written: a line break needs a real one.
        Quote::Double => unescape(&keep_breaks(inner)),
        Quote::None => unescape(inner),
    };
    let value = replace_variables(&value, &|name| {
        own.get(name).cloned().or_else(|| world.env(name))
    });
    replace_commands(&value, world).map_err(|reason| CommandFailure {
        name: line.name.to_owned(),
        reason,
    })
}

fn unquote(value: &str) -> (Quote, &str) {
    let between = |quote: char| {
        value
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote))
    };
    if let Some(inner) = between('\'') {
        (Quote::Single, inner)
    } else if let Some(inner) = between('"') {
        (Quote::Double, inner)
    } else {
        (Quote::None, value)
    }
}

/// Takes the backslash from every pair but `\$`.
fn unescape(value: &str) -> String {
    let mut text = String::new();
    let mut characters = value.chars().peekable();
    while let Some(character) = characters.next() {
        if character != '\\' {
            text.push(character);
            continue;
        }
        match characters.peek().copied() {
            Some('$') | None => text.push('\\'),
            Some(next) => {
                text.push(next);
                characters.next();
            }
        }
    }
    text
}

/// Doubles the backslash of `\n` and `\r`, so that they stay as they are written.
fn keep_breaks(value: &str) -> String {
    value.replace("\\n", "\\\\\\n").replace("\\r", "\\\\\\r")
}

/// Replaces `$NAME` and `${NAME}`; `\$` gives a `$`, and `$(` is left for commands.
fn replace_variables(value: &str, lookup: &dyn Fn(&str) -> Option<String>) -> String {
    let mut text = String::new();
    let mut rest = value;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        let after = from.strip_prefix('$').unwrap_or(from);
        if after.starts_with('(') {
            text.push_str(before);
            text.push('$');
            rest = after;
            continue;
        }
        let inner = after.strip_prefix('{').unwrap_or(after);
        let length = inner
            .find(|character: char| !(character.is_ascii_alphanumeric() || character == '_'))
            .unwrap_or(inner.len());
        let (name, behind) = inner.split_at(length);
        let behind = behind.strip_prefix('}').unwrap_or(behind);
        let whole = from.get(..from.len() - behind.len()).unwrap_or(from);
        match before.strip_suffix('\\') {
            Some(unescaped) => {
                text.push_str(unescaped);
                text.push_str(whole);
            }
            None => {
                text.push_str(before);
                if name.is_empty() {
                    text.push_str(whole);
                } else {
                    text.push_str(&lookup(name).unwrap_or_default());
                }
            }
        }
        rest = behind;
    }
    text.push_str(rest);
    text
}

/// Replaces every `$(…)` with balanced parentheses by what the command wrote.
fn replace_commands(value: &str, world: &dyn World) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = value;
    while let Some(at) = rest.find("$(") {
        let (before, from) = rest.split_at(at);
        let Some((command, behind)) = balanced(from) else {
            text.push_str(before);
            text.push_str("$(");
            rest = from.strip_prefix("$(").unwrap_or("");
            continue;
        };
        match before.strip_suffix('\\') {
            Some(unescaped) => {
                text.push_str(unescaped);
                text.push_str(&format_command(command));
            }
            None => {
                text.push_str(before);
                text.push_str(&run(command, world)?);
            }
        }
        rest = behind;
    }
    text.push_str(rest);
    Ok(text)
}

fn format_command(command: &str) -> String {
    format!("$({command})")
}

/// Splits `$(command)rest` where the parentheses balance; an empty command is none.
fn balanced(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix("$(")?;
    let mut depth = 1usize;
    for (at, character) in inner.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            let (command, rest) = inner.split_at(at);
            return (!command.is_empty())
                .then(|| (command, rest.strip_prefix(')').unwrap_or(rest)));
        }
    }
    None
}

fn run(command: &str, world: &dyn World) -> Result<String, String> {
    let output = match secrets_call(command) {
        Some(arguments) => {
            let output = world.run_secrets_command(&arguments)?;
            // The answer of `fetch` is the next command's argument, so it must be one word.
            if arguments.first().is_some_and(|verb| verb == "fetch") {
                shell_word(output.trim_end_matches('\n'))
            } else {
                output
            }
        }
        None => world.run_command(command)?,
    };
    let chomped = output
        .strip_suffix("\r\n")
        .or_else(|| output.strip_suffix('\n'));
    Ok(chomped.unwrap_or(&output).to_owned())
}

/// Recognises `kamal secrets …` and `runner secrets …`, and returns the words after `secrets`.
fn secrets_call(command: &str) -> Option<Vec<String>> {
    let words = split_words(command)?;
    match words.as_slice() {
        [program, verb, arguments @ ..]
            if matches!(program.as_str(), "kamal" | "runner") && verb == "secrets" =>
        {
            Some(arguments.to_vec())
        }
        _ => None,
    }
}

/// Splits a command line into words as a POSIX shell does, without any expansion.
///
/// `None` is a quote that does not end.
pub fn split_words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\t' | '\n' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next()? {
                        '\'' => break,
                        inner => word.push(inner),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next()? {
                        '"' => break,
                        '\\' => {
                            let next = characters.next()?;
                            if !matches!(next, '"' | '\\' | '$' | '`' | '\n') {
                                word.push('\\');
                            }
                            word.push(next);
                        }
                        inner => word.push(inner),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(characters.next()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Some(words)
}
