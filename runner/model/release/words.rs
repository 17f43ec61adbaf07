//! Command lines of the configuration as words, without any shell.
//!
//! Kamal gives a command to the server's shell, which takes the quotes away and would also expand
//! variables and obey `&&` or `|` on the server. No shell stands between here, so what only a shell
//! could do is refused instead of being passed on as plain text.

use thiserror::Error;

/// A command line that needs a shell, or is none: the user's file is at fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CommandError {
    /// A quote has no end.
    #[error("a quote does not end")]
    OpenQuote,
    /// The server's shell would take it for itself.
    #[error("`{0}` is for a shell; write `sh -c '…'` to have one in the container")]
    Operator(char),
    /// The server's shell would put something else in its place.
    #[error(
        "`{0}` would be expanded on the server, not in the container; put it in single quotes, for \
         a shell in the container"
    )]
    Expansion(String),
}

/// Splits a command line as the server's shell would.
pub fn command_words(line: &str) -> Result<Vec<String>, CommandError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut rest = line.trim();
    while let Some(character) = rest.chars().next() {
        let after = rest.get(character.len_utf8()..).unwrap_or_default();
        rest = match character {
            ' ' | '\t' => {
                words.extend(word.take());
                after
            }
            '\'' => {
                let (inner, behind) = after.split_once('\'').ok_or(CommandError::OpenQuote)?;
                word.get_or_insert_default().push_str(inner);
                behind
            }
            '"' => double_quoted(after, word.get_or_insert_default())?,
            '\\' => {
                let mut escaped = after.chars();
                match escaped.next() {
                    // A line that goes on in the next one.
                    Some('\n') | None => {}
                    Some(next) => word.get_or_insert_default().push(next),
                }
                escaped.as_str()
            }
            '|' | '&' | ';' | '<' | '>' | '(' | ')' | '\n' => {
                return Err(CommandError::Operator(character));
            }
            '#' | '~' if word.is_none() => return Err(CommandError::Operator(character)),
            '$' | '`' => {
                check_expansion(rest)?;
                word.get_or_insert_default().push(character);
                after
            }
            other => {
                word.get_or_insert_default().push(other);
                after
            }
        };
    }
    words.extend(word);
    Ok(words)
}

/// Reads up to the closing quote into `word` and returns what is behind it.
fn double_quoted<'a>(text: &'a str, word: &mut String) -> Result<&'a str, CommandError> {
    let mut rest = text;
    loop {
        let mut characters = rest.chars();
        match characters.next().ok_or(CommandError::OpenQuote)? {
            '"' => return Ok(characters.as_str()),
            '\\' => match characters.next().ok_or(CommandError::OpenQuote)? {
                '\n' => {}
                next => {
                    if !matches!(next, '"' | '\\' | '$' | '`') {
                        word.push('\\');
                    }
                    word.push(next);
                }
            },
            character => {
                if matches!(character, '$' | '`') {
                    check_expansion(rest)?;
                }
                word.push(character);
            }
        }
        rest = characters.as_str();
    }
}

/// Refuses `$NAME`, `${…}`, `$(…)`, `$1` and the like; a lone `$` is text.
fn check_expansion(rest: &str) -> Result<(), CommandError> {
    let after = rest.get(1..).unwrap_or_default();
    let is_expansion = rest.starts_with('`')
        || after
            .chars()
            .next()
            .is_some_and(|next| next.is_ascii_alphanumeric() || "_{(@*#?$!-".contains(next));
    if !is_expansion {
        return Ok(());
    }
    let end = after
        .find(|character: char| character.is_whitespace() || matches!(character, '"' | '\''))
        .unwrap_or(after.len());
    let shown = rest.get(..=end).unwrap_or(rest);
    Err(CommandError::Expansion(shown.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_a_shell() {
        for (line, words) in [
            ("bundle exec sidekiq", &["bundle", "exec", "sidekiq"][..]),
            (
                " a  'b c' \"d \\\"e\\\" \\n\" ",
                &["a", "b c", "d \"e\" \\n"],
            ),
            ("bash -c 'x && echo $Y'", &["bash", "-c", "x && echo $Y"]),
            ("bash -c \"x\n&& y\"", &["bash", "-c", "x\n&& y"]),
            ("a\\ b \"\" $ c$", &["a b", "", "$", "c$"]),
            ("\"\\$X \\`id\\`\" 'it'\\''s'", &["$X `id`", "it's"]),
            ("a#b é*", &["a#b", "é*"]),
            ("a \\\n b", &["a", "b"]),
            ("", &[]),
        ] {
            assert_eq!(command_words(line).unwrap(), words, "{line}");
        }
    }

    #[test]
    fn what_needs_a_shell_is_refused_with_its_reason() {
        for (line, reason) in [
            ("a && b", CommandError::Operator('&')),
            ("a | b", CommandError::Operator('|')),
            ("a\nb", CommandError::Operator('\n')),
            ("a # b", CommandError::Operator('#')),
            ("puma -p $PORT x", CommandError::Expansion("$PORT".into())),
            (
                "sh -c \"echo ${X}\"",
                CommandError::Expansion("${X}".into()),
            ),
            ("echo `id`", CommandError::Expansion("`id`".into())),
            ("a 'b", CommandError::OpenQuote),
            ("a \"b", CommandError::OpenQuote),
        ] {
            assert_eq!(command_words(line), Err(reason), "{line}");
        }
    }
}
