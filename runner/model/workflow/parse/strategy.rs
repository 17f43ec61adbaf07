//! `strategy`: the matrix and how its jobs run.

use crate::diagnostic::Diagnostic;
use crate::workflow::model::Strategy;
use crate::workflow::token::{Token, TokenKind};

use super::inputs::pairs;
use super::reader::Reader;

/// Reads `strategy`.
pub(super) fn read(reader: &mut Reader<'_>, token: &Token) -> Strategy {
    let strategy = Strategy {
        span: token.span.clone(),
        whole: matches!(token.kind, TokenKind::Expression(_)).then(|| token.clone()),
        matrix: token.get("matrix").cloned(),
        fail_fast: token.get("fail-fast").cloned(),
        max_parallel: token.get("max-parallel").cloned(),
    };
    if let Some(matrix) = &strategy.matrix {
        check_matrix(reader, matrix);
    }
    if let Some(token) = &strategy.max_parallel
        && matches!(token.kind, TokenKind::Number(value) if value < 1.0)
    {
        let message = "`max-parallel` below 1 sets no limit";
        reader.report(Diagnostic::warning("max-parallel", &token.span, message));
    }
    strategy
}

/// Reports a vector without values, and warns of what stops the job when it is expanded.
fn check_matrix(reader: &mut Reader<'_>, matrix: &Token) {
    let Some(entries) = matrix.as_mapping() else {
        return;
    };
    let mut has_vector = false;
    for (key, value) in entries {
        let Some(name) = key.as_literal() else {
            has_vector = true;
            continue;
        };
        match name {
            "include" => {
                let is_empty = value.as_sequence().is_some_and(<[Token]>::is_empty);
                has_vector |= !is_empty;
            }
            "exclude" => {}
            _ => {
                has_vector = true;
                if value.as_sequence().is_some_and(<[Token]>::is_empty) {
                    let message = format!("`{name}` in `matrix` has no values");
                    reader.error("matrix-vector", &value.span, message);
                }
            }
        }
    }
    if !has_vector {
        let message = "`matrix` names no values to run with";
        reader.report(Diagnostic::warning(
            "matrix-vector",
            &reader.start(&matrix.span),
            message,
        ));
    }
    let has_expression_key = entries.iter().any(|(key, _)| key.as_literal().is_none());
    if !has_expression_key {
        check_exclude(reader, matrix);
    }
}

/// Warns of rows of `exclude` that name a key which the matrix does not have.
fn check_exclude(reader: &mut Reader<'_>, matrix: &Token) {
    let rows = matrix.get("exclude").and_then(Token::as_sequence);
    for row in rows.unwrap_or_default() {
        for (key, _) in row.as_mapping().unwrap_or_default() {
            let Some(name) = key.as_literal() else {
                continue;
            };
            let is_vector = |known: &str| {
                known.eq_ignore_ascii_case(name) && known != "include" && known != "exclude"
            };
            if !pairs(matrix).any(|(known, _)| is_vector(known)) {
                let message = format!("`exclude` names `{name}`, which is no key of the matrix");
                reader.report(Diagnostic::warning("matrix-exclude", &key.span, message));
            }
        }
    }
}
