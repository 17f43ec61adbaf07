//! Draws diagnostics: the line, carets under the place, the hint.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::{Value, json};

use crate::diagnostic::{Diagnostic, Severity, has_errors};

/// Returns a diagnostic as a person reads it.
pub(super) fn render(path: &str, source: &str, problem: &Diagnostic) -> String {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Info => Level::INFO,
    };
    let range = range_of(source, problem);
    let hint = problem.hint.as_deref();
    let mut snippet = Snippet::source(source).path(path).annotation(
        AnnotationKind::Primary
            .span(range)
            .label(hint.unwrap_or_default()),
    );
    if let Some((span, words)) = &problem.related {
        let end = span.bytes.end.min(source.len());
        snippet = snippet.annotation(
            AnnotationKind::Context
                .span(span.bytes.start.min(end)..end)
                .label(words.as_str()),
        );
    }
    let title = level
        .primary_title(problem.message.as_str())
        .id(problem.code);
    let group: Group<'_> = title.element(snippet);
    Renderer::styled().render(&[group])
}

/// Returns the bytes of a diagnostic's place; some places are known by line and column only.
fn range_of(source: &str, problem: &Diagnostic) -> std::ops::Range<usize> {
    let bytes = &problem.span.bytes;
    if !bytes.is_empty() && source.get(bytes.clone()).is_some() {
        // A place of many lines is drawn by its first one.
        let text = source.get(bytes.clone()).unwrap_or_default();
        let first = text.lines().next().unwrap_or_default().len().max(1);
        return bytes.start..bytes.start + first.min(text.len());
    }
    let start = problem.span.start;
    let mut offset = 0;
    for (number, line) in (1..).zip(source.split_inclusive('\n')) {
        if number == start.line {
            let column = usize::try_from(start.column.saturating_sub(1)).unwrap_or(usize::MAX);
            let at = line
                .char_indices()
                .nth(column)
                .map_or(line.trim_end().len(), |(at, _)| at);
            let next = line
                .get(at..)
                .and_then(|rest| rest.chars().next())
                .map_or(0, char::len_utf8);
            return offset + at..offset + at + next;
        }
        offset += line.len();
    }
    source.len()..source.len()
}

/// Returns all diagnostics of a file as one object for programs.
pub(super) fn to_json(path: &str, problems: &[Diagnostic]) -> Value {
    let list: Vec<Value> = problems
        .iter()
        .map(|problem| {
            json!({
                "severity": problem.severity, "code": problem.code, "message": problem.message,
                "line": problem.span.start.line, "column": problem.span.start.column, "hint": problem.hint,
            })
        })
        .collect();
    json!({"file": path, "valid": !has_errors(problems), "diagnostics": list})
}
