//! How Kamal writes values for a shell and for Docker's env files.
//!
//! Both are built on Ruby's `String#dump`; text that is not ASCII is left alone.

use super::setting::Scalar;

/// Writes a value for the shell as Kamal does: in double quotes, with `${…}` left for the server.
pub fn shell_value(value: &str) -> String {
    by_runs(value, |run| {
        let dumped = dump(run).replace('`', "\\`");
        escape_dollars(&dumped)
    })
}

/// Writes one value for a Docker env file: line breaks become `\n`, backslashes double.
pub fn env_file_value(value: &str) -> String {
    by_runs(value, |run| {
        let dumped = dump(run);
        let inner = dumped
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .unwrap_or(&dumped);
        inner.replace("\\\"", "\"").replace("\\#", "#")
    })
}

/// Writes the text of a Docker env file; without any pair it is a single line break.
pub fn env_file<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (key, value) in pairs {
        text.push_str(key);
        text.push('=');
        text.push_str(&env_file_value(value));
        text.push('\n');
    }
    if text.is_empty() {
        text.push('\n');
    }
    text
}

/// Writes `--argument key="value"` for each pair: blank values leave only the key.
pub fn arguments<'a>(
    argument: &str,
    pairs: impl IntoIterator<Item = (&'a str, Option<&'a Scalar>)>,
) -> Vec<String> {
    let mut words = Vec::new();
    for (key, value) in pairs {
        words.push(argument.to_owned());
        words.push(match value {
            Some(Scalar::Boolean(false)) => format!("{key}=false"),
            Some(value) if !value.is_blank() => {
                format!("{key}={}", shell_value(&value.to_string()))
            }
            _ => key.to_owned(),
        });
    }
    words
}

/// Quotes a text for a POSIX shell so that it is one word again.
pub fn shell_word(text: &str) -> String {
    if text.is_empty() {
        return "''".to_owned();
    }
    let mut quoted = String::new();
    for character in text.chars() {
        if character == '\n' {
            quoted.push_str("'\n'");
            continue;
        }
        let plain = character.is_ascii_alphanumeric() || "_-.,:+/@".contains(character);
        if !plain && character.is_ascii() {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted
}

/// Writes each stretch of ASCII with `write` and leaves everything else alone.
fn by_runs(value: &str, write: impl Fn(&str) -> String) -> String {
    let mut text = String::new();
    let mut run = String::new();
    for character in value.chars() {
        if character.is_ascii() {
            run.push(character);
            continue;
        }
        if !run.is_empty() {
            text.push_str(&write(&std::mem::take(&mut run)));
        }
        text.push(character);
    }
    if !run.is_empty() {
        text.push_str(&write(&run));
    }
    text
}

/// Writes ASCII text as Ruby's `String#dump`: in double quotes, everything unprintable escaped.
fn dump(text: &str) -> String {
    let mut dumped = String::from("\"");
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' => dumped.push_str("\\\""),
            '\\' => dumped.push_str("\\\\"),
            '\n' => dumped.push_str("\\n"),
            '\r' => dumped.push_str("\\r"),
            '\t' => dumped.push_str("\\t"),
            '\u{c}' => dumped.push_str("\\f"),
            '\u{b}' => dumped.push_str("\\v"),
            '\u{8}' => dumped.push_str("\\b"),
            '\u{7}' => dumped.push_str("\\a"),
            '\u{1b}' => dumped.push_str("\\e"),
            '#' => {
                if matches!(characters.peek(), Some('{' | '$' | '@')) {
                    dumped.push('\\');
                }
                dumped.push('#');
            }
            _ if character.is_ascii_control() => {
                let code = u32::from(character);
                dumped.extend(format!("\\x{code:02X}").chars());
            }
            _ => dumped.push(character),
        }
    }
    dumped.push('"');
    dumped
}

/// Escapes every `$` that does not start a whole `${…}`.
fn escape_dollars(text: &str) -> String {
    let mut escaped = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        escaped.push_str(before);
        let after = from.strip_prefix('$').unwrap_or(from);
        let is_expansion = after
            .strip_prefix('{')
            .is_some_and(|inner| inner.contains('}'));
        if !is_expansion {
            escaped.push('\\');
        }
        escaped.push('$');
        rest = after;
    }
    escaped.push_str(rest);
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_for_the_shell_keep_only_whole_expansions() {
        for (value, expected) in [
            ("a b\"c$d'e", r#""a b\"c\$d'e""#),
            ("${HOST_TOKEN}", r#""${HOST_TOKEN}""#),
            ("$HOME ${X", r#""\$HOME \${X""#),
            ("Host(`h`)", r#""Host(\`h\`)""#),
            ("a\nb\\", r#""a\nb\\""#),
            ("#{x} #y", r##""\#{x} #y""##),
            ("é\u{1}", "é\"\\x01\""),
        ] {
            assert_eq!(shell_value(value), expected, "{value}");
        }
    }

    #[test]
    fn an_env_file_has_one_line_for_each_pair() {
        assert_eq!(env_file([]), "\n");
        assert_eq!(
            env_file([("A", "x\ny"), ("B", "q\"#{z}\\"), ("C", "ünïcode $HOME")]),
            "A=x\\ny\nB=q\"#{z}\\\\\nC=ünïcode $HOME\n"
        );
    }

    #[test]
    fn blank_values_leave_the_key_and_false_is_written_bare() {
        let (blank, no, text) = (
            Scalar::Text(" ".into()),
            Scalar::Boolean(false),
            Scalar::Integer(3),
        );
        let pairs = [
            ("A", Some(&blank)),
            ("B", Some(&no)),
            ("C", Some(&text)),
            ("D", None),
        ];
        assert_eq!(
            arguments("--env", pairs).join(" "),
            "--env A --env B=false --env C=\"3\" --env D"
        );
    }

    #[test]
    fn a_shell_word_survives_a_shell() {
        assert_eq!(shell_word(r#"{"a":"b c"}"#), r#"\{\"a\":\"b\ c\"\}"#);
        assert_eq!(shell_word(""), "''");
    }
}
