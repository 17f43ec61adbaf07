//! The names under which people see jobs, and the ids that are made from values.

use std::collections::{HashMap, HashSet};

/// The longest name of a job that is shown, in UTF-16 units as GitHub counts.
const LONGEST_NAME: usize = 100;

/// The longest id.
pub const LONGEST_ID: usize = 100;

/// Returns the name of a cell of a matrix, as `test (3.3, postgres)`; a long one ends in `...`.
pub fn with_values(job: &str, values: &[impl AsRef<str>]) -> String {
    let values: Vec<&str> = values
        .iter()
        .map(AsRef::as_ref)
        .filter(|value| !value.is_empty())
        .collect();
    if values.is_empty() {
        return shown(job);
    }
    shown(&format!("{job} ({})", values.join(", ")))
}

/// Returns a job's name as it is shown: cut to 100 characters, the last three of them `...`.
pub fn shown(name: &str) -> String {
    if name.encode_utf16().count() <= LONGEST_NAME {
        return name.to_owned();
    }
    let mut units = 0;
    let mut text: String = name
        .chars()
        .take_while(|c| {
            units += c.len_utf16();
            units <= LONGEST_NAME - 3
        })
        .collect();
    text.push_str("...");
    text
}

/// Returns the name of a job of a called workflow, as `caller / job`.
pub fn called(caller: &str, job: &str) -> String {
    format!("{caller} / {job}")
}

/// Why an id cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The workflow's author: a character that no id may have, or too many of them.
    #[error(
        "an id has letters, digits, `_` and `-` only, starts with a letter or `_`, and is shorter than {LONGEST_ID} characters"
    )]
    Illegal,
    /// The workflow's author: the prefix of made ids.
    #[error("ids that start with `__` are reserved")]
    Reserved,
    /// The workflow's author: the same id twice, whatever the case of its letters.
    #[error("the id is used more than once")]
    Taken,
}

/// Ids that differ from one another, whatever the case of their letters.
#[derive(Debug, Clone, Default)]
pub struct Ids {
    /// In lower case.
    taken: HashSet<String>,
    /// The number to try next for a made id, so that many equal ones do not try them all.
    next: HashMap<String, u64>,
}

impl Ids {
    /// Returns a set without ids.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes an id that a person wrote.
    pub fn take(&mut self, id: &str) -> Result<(), IdError> {
        check_id(id)?;
        if self.taken.insert(id.to_ascii_lowercase()) {
            Ok(())
        } else {
            Err(IdError::Taken)
        }
    }

    /// Makes an id from values: joined with `_`, made legal, and unique by `_2`, `_3`, …
    ///
    /// `longest` is cut to, suffix included. Without values the id is `job`.
    pub fn make(&mut self, values: &[impl AsRef<str>], longest: usize) -> String {
        self.make_unique(&joined(values), longest, false)
    }

    /// Makes an id that a person cannot write, as `__run`, for a step without one.
    pub fn make_reserved(&mut self, word: &str) -> String {
        self.make_unique(&format!("__{}", joined(&[word])), LONGEST_ID, true)
    }

    fn make_unique(&mut self, id: &str, longest: usize, reserved: bool) -> String {
        let mut base = match id {
            "" => "job".to_owned(),
            id => id.to_owned(),
        };
        if !reserved && base.starts_with("__") {
            base = format!("_{}", base.trim_start_matches('_'));
        }
        // An id of one `_` would get the reserved prefix from the usual suffix.
        let separator = if base == "_" && !reserved { "" } else { "_" };
        let next = self.next.entry(base.to_ascii_lowercase()).or_insert(1);
        loop {
            let suffix = match *next {
                1 => String::new(),
                number => format!("{separator}{number}"),
            };
            *next += 1;
            let kept = longest.saturating_sub(suffix.len());
            // Made ids are ASCII, so that every byte is a character.
            let candidate = format!("{}{suffix}", base.get(..kept).unwrap_or(&base));
            if self.taken.insert(candidate.to_ascii_lowercase()) {
                return candidate;
            }
        }
    }
}

/// Tells why an id that a person wrote is not legal.
pub fn check_id(id: &str) -> Result<(), IdError> {
    let legal = id.len() < LONGEST_ID
        && id.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && id.chars().all(is_legal);
    if !legal {
        return Err(IdError::Illegal);
    }
    if id.starts_with("__") {
        return Err(IdError::Reserved);
    }
    Ok(())
}

fn is_legal(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// Joins values with `_` and puts `_` in place of what no id may have.
fn joined(values: &[impl AsRef<str>]) -> String {
    let mut id = String::new();
    for value in values.iter().map(AsRef::as_ref) {
        if value.is_empty() {
            continue;
        }
        // `_` is also what makes a digit or a dash legal as the first character.
        if !id.is_empty() || value.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            id.push('_');
        }
        // GitHub counts UTF-16 units here, too.
        for c in value.chars() {
            if is_legal(c) {
                id.push(c);
            } else {
                id.extend(std::iter::repeat_n('_', c.len_utf16()));
            }
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_to_100_characters() {
        let job = "x".repeat(97);
        assert_eq!(with_values(&job, &["1"]), format!("{job}..."));
        assert_eq!(shown(&"x".repeat(100)), "x".repeat(100));
        assert_eq!(shown(&"é".repeat(101)), format!("{}...", "é".repeat(97)));
        assert_eq!(shown(&"😀".repeat(51)), format!("{}...", "😀".repeat(48)));
        assert_eq!(with_values("test", &["", "a", "b"]), "test (a, b)");
        assert_eq!(with_values("test", &[""]), "test");
        assert_eq!(called("deploy", "build"), "deploy / build");
    }

    #[test]
    fn made_ids_are_legal_and_unique() {
        let mut ids = Ids::new();
        for (values, expected) in [
            (vec!["ubuntu-22.04", "3"], "ubuntu-22_04_3"),
            (vec!["ubuntu-22.04", "3"], "ubuntu-22_04_3_2"),
            (vec!["UBUNTU-22.04", "3"], "UBUNTU-22_04_3_3"),
            (vec!["1"], "_1"),
            (vec!["-x"], "_-x"),
            (vec!["__x"], "_x"),
            (vec!["ü"], "_"),
            (vec!["ö"], "_2"),
            (vec!["😀"], "_3"),
            (vec![], "job"),
            (vec![], "job_2"),
        ] {
            assert_eq!(ids.make(&values, LONGEST_ID), expected, "{values:?}");
        }
        assert_eq!(ids.make(&["abcdefgh"], 6), "abcdef");
        assert_eq!(ids.make(&["abcdefgh"], 6), "abcd_2");
        assert_eq!(ids.make_reserved("run"), "__run");
        assert_eq!(ids.make_reserved("run"), "__run_2");
    }

    #[test]
    fn written_ids_are_checked() {
        let mut ids = Ids::new();
        for (id, expected) in [
            ("build", Ok(())),
            ("Build", Err(IdError::Taken)),
            ("_a-1", Ok(())),
            ("1a", Err(IdError::Illegal)),
            ("-a", Err(IdError::Illegal)),
            ("a.b", Err(IdError::Illegal)),
            ("", Err(IdError::Illegal)),
            ("__a", Err(IdError::Reserved)),
        ] {
            assert_eq!(ids.take(id), expected, "{id}");
        }
        assert_eq!(ids.take(&"a".repeat(99)), Ok(()));
        assert_eq!(ids.take(&"b".repeat(100)), Err(IdError::Illegal));
        assert_eq!(ids.make(&["build"], LONGEST_ID), "build_2");
    }
}
