//! Command files: what a step writes to `GITHUB_ENV`, `GITHUB_OUTPUT`, `GITHUB_STATE` and
//! `GITHUB_PATH`.

use indexmap::IndexMap;
use thiserror::Error;

/// Variables that no step may set for others: they would run code in every later action.
const REFUSED: [&str; 1] = ["NODE_OPTIONS"];

/// Which file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommandFile {
    /// `GITHUB_ENV`: variables for later steps.
    Env,
    /// `GITHUB_OUTPUT`: outputs of the step.
    Output,
    /// `GITHUB_STATE`: values for the same action's `post`.
    State,
}

/// What a step wrote to a command file.
///
/// Values that stand before an error count all the same, as on GitHub; the step fails.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct FileValues {
    /// Names and values in order; the last value of a name counts.
    pub values: IndexMap<String, String>,
    /// Names that were refused; each is an error annotation, and the step goes on.
    pub refused: Vec<String>,
    /// Why reading ended early.
    pub error: Option<CommandFileError>,
}

/// A command file breaks the rules; the step is at fault.
///
/// Holds no text of the file, since that may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CommandFileError {
    /// A line of neither form.
    #[error("invalid format at line {line}: neither `NAME=value` nor `NAME<<DELIMITER`")]
    Format {
        /// The line, from 1.
        line: usize,
    },
    /// Nothing before the `=` or the `<<`.
    #[error("invalid format at line {line}: name must not be empty")]
    NoName {
        /// The line, from 1.
        line: usize,
    },
    /// Nothing after the `<<`.
    #[error("invalid format at line {line}: delimiter must not be empty")]
    NoDelimiter {
        /// The line, from 1.
        line: usize,
    },
    /// The file ends within a value.
    #[error("invalid value at line {line}: matching delimiter not found")]
    DelimiterNotFound {
        /// The line where the value begins, from 1.
        line: usize,
    },
    /// The last line is part of a value, and has no end.
    #[error("invalid value at line {line}: EOF marker missing new line")]
    NoLineEnd {
        /// The line where the value begins, from 1.
        line: usize,
    },
}

/// Reads what a step wrote to one of the files with names and values.
///
/// `NAME=value` in one line, or `NAME<<DELIMITER`, the lines of the value, and the delimiter alone
/// in a line. Whichever of `=` and `<<` comes first decides. Values are not trimmed; lines end in
/// LF or CRLF; empty lines between entries do not count.
pub fn read(file: CommandFile, bytes: &[u8]) -> FileValues {
    let text = decode(bytes);
    let mut found = FileValues::default();
    let mut lines = Lines {
        text: &text,
        at: 0,
        number: 0,
    };
    while let Some(line) = lines.next() {
        if line.text.is_empty() {
            continue;
        }
        match entry(&line, &mut lines) {
            Ok((name, _)) if file == CommandFile::Env && is_refused(name) => {
                found.refused.push(name.to_owned());
            }
            Ok((name, value)) => {
                found.values.insert(name.to_owned(), value.to_owned());
            }
            Err(error) => {
                found.error = Some(error);
                break;
            }
        }
    }
    found
}

/// Reads the folders that a step wrote to `GITHUB_PATH`, one a line.
pub fn read_path(bytes: &[u8]) -> Vec<String> {
    decode(bytes)
        .split(['\n', '\r'])
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Adds folders to those that stand before `PATH`; the first of `folders` is looked at first.
///
/// The one that was added last comes first, and one that is there already moves.
pub fn prepend_path(folders: &mut Vec<String>, added: impl IntoIterator<Item = String>) {
    for folder in added {
        folders.retain(|known| *known != folder);
        folders.insert(0, folder);
    }
}

/// Tells whether no step may set a variable.
pub fn is_refused(name: &str) -> bool {
    REFUSED
        .iter()
        .any(|refused| refused.eq_ignore_ascii_case(name))
}

fn entry<'a>(
    line: &Line<'a>,
    lines: &mut Lines<'a>,
) -> Result<(&'a str, &'a str), CommandFileError> {
    let number = line.number;
    let plain = line.text.split_once('=');
    let heredoc = line.text.split_once("<<");
    match (plain, heredoc) {
        (Some((name, value)), heredoc)
            if heredoc.is_none_or(|(other, _)| name.len() < other.len()) =>
        {
            if name.is_empty() {
                return Err(CommandFileError::NoName { line: number });
            }
            Ok((name, value))
        }
        (_, Some((name, delimiter))) => {
            if name.is_empty() {
                return Err(CommandFileError::NoName { line: number });
            }
            if delimiter.is_empty() {
                return Err(CommandFileError::NoDelimiter { line: number });
            }
            Ok((name, lines.value(number, delimiter)?))
        }
        _ => Err(CommandFileError::Format { line: number }),
    }
}

/// A line without its end.
struct Line<'a> {
    text: &'a str,
    number: usize,
    /// Where the end of the line begins.
    end: usize,
    has_end: bool,
}

/// Goes through the lines of a file.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    number: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Option<Line<'a>> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        self.number += 1;
        let start = self.at;
        let (text, has_end) = match rest.split_once('\n') {
            Some((text, _)) => {
                self.at += text.len() + 1;
                (text.strip_suffix('\r').unwrap_or(text), true)
            }
            None => {
                self.at = self.text.len();
                (rest, false)
            }
        };
        Some(Line {
            text,
            number: self.number,
            end: start + text.len(),
            has_end,
        })
    }

    /// Returns what stands before the delimiter, with the file's own line ends inside.
    fn value(&mut self, first: usize, delimiter: &str) -> Result<&'a str, CommandFileError> {
        let start = self.at;
        let mut end = start;
        loop {
            let line = self
                .next()
                .ok_or(CommandFileError::DelimiterNotFound { line: first })?;
            if line.text == delimiter {
                return Ok(self.text.get(start..end).unwrap_or_default());
            }
            if !line.has_end {
                return Err(CommandFileError::NoLineEnd { line: first });
            }
            end = line.end;
        }
    }
}

/// Reads the bytes as UTF-8, or as UTF-16 if they begin with its byte order mark, as some shells
/// write; what is broken becomes U+FFFD.
fn decode(bytes: &[u8]) -> String {
    let units = |bytes: &[u8], from: fn([u8; 2]) -> u16| {
        let (pairs, _) = bytes.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|pair| from(*pair)).collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest).into_owned(),
        [0xff, 0xfe, rest @ ..] => units(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => units(rest, u16::from_be_bytes),
        all => String::from_utf8_lossy(all).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(found: &FileValues) -> String {
        let values = found.values.iter();
        let mut parts: Vec<String> = values
            .map(|(name, value)| format!("{name}={value:?}"))
            .collect();
        parts.extend(found.error.map(|error| error.to_string()));
        parts.join(" ")
    }

    #[test]
    fn values_are_read_in_both_forms() {
        for (text, expected) in [
            ("A=b", r#"A="b""#),
            ("A= b \n", r#"A=" b ""#),
            ("A=b<<c\n", r#"A="b<<c""#),
            ("A<<=E\nx\n=E", r#"A="x""#),
            ("A<<E\n\n x\n\nE\nB=2", r#"A="\n x\n" B="2""#),
            ("A<<E\nE", r#"A="""#),
            ("A<<E\n\nE", r#"A="""#),
            ("A<<E\nx\nE \nE\n", r#"A="x\nE ""#),
            ("A=1\r\n\r\nB<<E\r\nx\r\ny\r\nE\r\n", r#"A="1" B="x\r\ny""#),
            ("A=1\nB=2\nA=3", r#"A="3" B="2""#),
            ("a b=1", r#"a b="1""#),
        ] {
            let found = read(CommandFile::Output, text.as_bytes());
            assert_eq!(written(&found), expected, "{text:?}");
        }
    }

    #[test]
    fn errors_name_the_line_and_keep_what_came_before() {
        for (text, expected) in [
            (
                "A=1\nhunter2\nB=2",
                "A=\"1\" invalid format at line 2: neither `NAME=value` nor `NAME<<DELIMITER`",
            ),
            ("=1", "invalid format at line 1: name must not be empty"),
            (
                "\n<<E\nE",
                "invalid format at line 2: name must not be empty",
            ),
            (
                "A<<\nx",
                "invalid format at line 1: delimiter must not be empty",
            ),
            (
                "A<<E\nx\n",
                "invalid value at line 1: matching delimiter not found",
            ),
            (
                "A<<E\nx",
                "invalid value at line 1: EOF marker missing new line",
            ),
            (
                "A<<E\nx\nE x",
                "invalid value at line 1: EOF marker missing new line",
            ),
        ] {
            let found = read(CommandFile::Env, text.as_bytes());
            assert_eq!(written(&found), expected, "{text:?}");
        }
    }

    #[test]
    fn node_options_are_refused_for_other_steps_only() {
        let text = b"node_options=--require x\nA=1";
        let found = read(CommandFile::Env, text);
        assert_eq!(found.refused, ["node_options"]);
        assert_eq!(written(&found), r#"A="1""#);
        assert_eq!(read(CommandFile::Output, text).values.len(), 2);
    }

    #[test]
    fn byte_order_marks_are_no_part_of_a_name() {
        let wide = |text: &str, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            format!("\u{feff}{text}")
                .encode_utf16()
                .flat_map(bytes)
                .collect()
        };
        for bytes in [
            b"\xef\xbb\xbfA=\xc3\xbc".to_vec(),
            wide("A=ü", u16::to_le_bytes),
            wide("A=ü", u16::to_be_bytes),
        ] {
            assert_eq!(written(&read(CommandFile::Env, &bytes)), r#"A="ü""#);
        }
    }

    #[test]
    fn the_folder_added_last_comes_first() {
        let mut folders = vec!["/b".to_owned(), "/a".to_owned()];
        prepend_path(&mut folders, read_path(b"\xef\xbb\xbf/c\r\n\r\n/a\n"));
        assert_eq!(folders, ["/a", "/c", "/b"]);
    }
}
