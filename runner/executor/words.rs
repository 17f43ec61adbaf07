//! Command lines in a text, taken apart into words.

/// Which quotes keep words together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quotes {
    /// `"` alone, so that `It's` is a word: how GitHub's runner takes `args` apart.
    Double,
    /// `"` and `'`.
    Both,
}

/// Takes a text apart at blanks; a quote that is not closed goes to the end.
///
/// `\"` in double quotes is a quote, any other backslash stands for itself.
pub(super) fn split(text: &str, quotes: Quotes) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let is_quote = character == '"' || (character == '\'' && quotes == Quotes::Both);
        match quote {
            None if character.is_whitespace() => words.extend(word.take()),
            None if is_quote => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            Some(open) if character == open => quote = None,
            _ => {
                let escapes = character == '\\' && quote != Some('\'');
                let character = if escapes && characters.peek() == Some(&'"') {
                    characters.next().unwrap_or(character)
                } else {
                    character
                };
                word.get_or_insert_default().push(character);
            }
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_at_blanks_outside_of_quotes() {
        for (text, expected) in [
            ("", &[][..]),
            ("  a   b\n c ", &["a", "b", "c"]),
            (
                r#"--health-cmd "pg_isready -U x" -e A="#,
                &["--health-cmd", "pg_isready -U x", "-e", "A="],
            ),
            (r#"a"b c"d"#, &["ab cd"]),
            (r#""" x"#, &["", "x"]),
            (r#""say \"hi\"" \d"#, &[r#"say "hi""#, r"\d"]),
            (r#""open end"#, &["open end"]),
        ] {
            assert_eq!(split(text, Quotes::Both), expected, "{text}");
            assert_eq!(split(text, Quotes::Double), expected, "{text}");
        }
    }

    #[test]
    fn single_quotes_count_where_they_are_wanted() {
        assert_eq!(split("'a b' it", Quotes::Both), ["a b", "it"]);
        assert_eq!(split("It's a b's", Quotes::Double), ["It's", "a", "b's"]);
        assert_eq!(split(r#""sh -c 'x y'""#, Quotes::Both), ["sh -c 'x y'"]);
    }
}
