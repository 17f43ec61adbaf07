//! What was found wrong in the files, each with its file.

use std::cell::RefCell;
use std::fmt;

use super::setting::Place;
use crate::diagnostic::{Diagnostic, Severity, nearest};

/// A diagnostic and the file that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDiagnostic {
    /// The file, as its path was given.
    pub file: String,
    /// What is wrong there.
    pub diagnostic: Diagnostic,
}

impl FileDiagnostic {
    /// Returns it for JSON: file, severity, code, message, line, column and hint.
    pub fn to_json(&self) -> serde_json::Value {
        let diagnostic = &self.diagnostic;
        serde_json::json!({
            "file": self.file,
            "severity": diagnostic.severity,
            "code": diagnostic.code,
            "message": diagnostic.message,
            "line": diagnostic.span.start.line,
            "column": diagnostic.span.start.column,
            "hint": diagnostic.hint,
        })
    }
}

impl fmt::Display for FileDiagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.diagnostic)
    }
}

/// Collects everything that is found, so that all problems are told at once.
#[derive(Debug, Default)]
pub(super) struct Findings {
    list: RefCell<Vec<FileDiagnostic>>,
}

impl Findings {
    pub(super) fn add(&self, found: FileDiagnostic) {
        let mut list = self.list.borrow_mut();
        if !list.contains(&found) {
            list.push(found);
        }
    }

    pub(super) fn error(&self, code: &'static str, place: &Place, message: impl Into<String>) {
        self.add(FileDiagnostic {
            file: place.file.clone(),
            diagnostic: Diagnostic::error(code, &place.span, message),
        });
    }

    pub(super) fn error_with_hint(
        &self,
        code: &'static str,
        place: &Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.add(FileDiagnostic {
            file: place.file.clone(),
            diagnostic: Diagnostic::error(code, &place.span, message).with_hint(hint),
        });
    }

    pub(super) fn warning(&self, code: &'static str, place: &Place, message: impl Into<String>) {
        self.add(FileDiagnostic {
            file: place.file.clone(),
            diagnostic: Diagnostic::warning(code, &place.span, message),
        });
    }

    /// Adds something that is good to know.
    pub(super) fn notice(&self, code: &'static str, place: &Place, message: impl Into<String>) {
        let mut diagnostic = Diagnostic::warning(code, &place.span, message);
        diagnostic.severity = Severity::Info;
        self.add(FileDiagnostic {
            file: place.file.clone(),
            diagnostic,
        });
    }

    /// Adds one error for keys that are not known, with the nearest known word as a hint.
    pub(super) fn unknown_keys(&self, context: &str, keys: &[(&str, &Place)], known: &[&str]) {
        let Some((_, first)) = keys.first() else {
            return;
        };
        let names: Vec<&str> = keys.iter().map(|(key, _)| *key).collect();
        let word = if names.len() == 1 { "key" } else { "keys" };
        let message = in_context(context, &format!("unknown {word}: {}", names.join(", ")));
        let hints: Vec<String> = names
            .iter()
            .filter_map(|name| nearest(name, known.iter().copied()))
            .map(|near| format!("did you mean `{near}`?"))
            .collect();
        let mut diagnostic = Diagnostic::error("unknown-key", &first.span, message);
        if !hints.is_empty() {
            diagnostic = diagnostic.with_hint(hints.join(" "));
        }
        self.add(FileDiagnostic {
            file: first.file.clone(),
            diagnostic,
        });
    }

    pub(super) fn has_errors(&self) -> bool {
        self.list
            .borrow()
            .iter()
            .any(|found| found.diagnostic.is_error())
    }

    pub(super) fn into_list(self) -> Vec<FileDiagnostic> {
        self.list.into_inner()
    }
}

/// Puts Kamal's path of keys before a message: `servers/web/hosts/0: should be a string`.
pub(super) fn in_context(context: &str, message: &str) -> String {
    if context.is_empty() {
        message.to_owned()
    } else {
        format!("{context}: {message}")
    }
}

/// Appends a key to a path of keys.
pub(super) fn join(context: &str, key: &str) -> String {
    if context.is_empty() {
        key.to_owned()
    } else {
        format!("{context}/{key}")
    }
}
