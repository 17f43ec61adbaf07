//! The patterns of the filters `branches`, `tags` and `paths`.

use crate::diagnostic::Diagnostic;
use crate::workflow::model::Located;

use super::reader::Reader;

/// Warns of patterns that cannot match what their author means.
///
/// GitHub takes them all, so none is an error.
pub(super) fn check(reader: &mut Reader<'_>, key: &str, patterns: &[Located<String>]) {
    let is_ref = !key.starts_with("paths");
    for pattern in patterns {
        if let Some(problem) = problem(&pattern.value, is_ref) {
            let message = format!("pattern `{}` in `{key}`: {problem}", pattern.value);
            reader.report(Diagnostic::warning("pattern", &pattern.span, message));
        }
    }
    let all_excluded = patterns
        .iter()
        .all(|pattern| pattern.value.starts_with('!'));
    if let (true, false, Some(first)) = (all_excluded, key.ends_with("-ignore"), patterns.first()) {
        reader.report(Diagnostic::warning(
            "pattern",
            &first.span,
            format!("`{key}` has only patterns with `!`, so nothing matches"),
        ));
    }
}

/// Says what is wrong with a pattern of a ref or a path.
fn problem(pattern: &str, is_ref: bool) -> Option<String> {
    let body = pattern.strip_prefix('!').unwrap_or(pattern);
    if body.is_empty() {
        return Some("it is empty".to_owned());
    }
    if let Some(c) = body.chars().find(|c| matches!(c, '\r' | '\n')) {
        return Some(format!("{c:?} cannot stand in it"));
    }
    if is_ref {
        let strange = |c: &char| c.is_whitespace() || matches!(c, '~' | '^' | ':');
        if let Some(c) = body.chars().find(strange) {
            return Some(format!("{c:?} cannot stand in the name of a branch or tag"));
        }
        if body.starts_with('/') || body.ends_with('/') || body.ends_with('.') {
            return Some("the name of a branch or tag neither begins nor ends so".to_owned());
        }
    }
    syntax(body)
}

/// Says what is wrong with the special characters of a pattern.
fn syntax(body: &str) -> Option<String> {
    let mut chars = body.chars();
    // Whether the character before can be repeated by `?` and `+`.
    let mut can_repeat = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
                can_repeat = true;
            }
            '?' | '+' if !can_repeat => {
                return Some(format!("nothing stands before `{c}` that it could repeat"));
            }
            '?' | '+' | '*' => can_repeat = false,
            '[' => {
                let rest = chars.as_str();
                let Some(end) = rest.find(']') else {
                    return Some("a `[` without its `]`".to_owned());
                };
                if end == 0 {
                    return Some("`[]` matches nothing".to_owned());
                }
                chars = rest.get(end + 1..).unwrap_or_default().chars();
                can_repeat = true;
            }
            _ => can_repeat = true,
        }
    }
    None
}
