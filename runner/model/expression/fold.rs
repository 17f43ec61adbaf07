//! Text compared without case, as .NET's `OrdinalIgnoreCase` does it: by simple upper-case mapping.

use std::cmp::Ordering;

/// Folds one character to upper case, one to one.
///
/// Differs from [`char::to_uppercase`] where GitHub's implementation does: mappings to several
/// characters are not made, and `ı`, `ſ` stay themselves, so that no other letter becomes ASCII.
pub(super) fn fold_char(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_uppercase();
    }
    match c {
        'ı' | 'ſ' => c,
        // Greek letters with iota: their full mapping is two letters, their simple one is one.
        '\u{1F80}'..='\u{1F87}' | '\u{1F90}'..='\u{1F97}' | '\u{1FA0}'..='\u{1FA7}' => {
            char::from_u32(c as u32 + 8).unwrap_or(c)
        }
        '\u{1FB3}' => '\u{1FBC}',
        '\u{1FC3}' => '\u{1FCC}',
        '\u{1FF3}' => '\u{1FFC}',
        _ => {
            let mut upper = c.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(one), None) => one,
                _ => c,
            }
        }
    }
}

/// Folds a text to upper case, one character to one.
pub(super) fn fold(text: &str) -> String {
    text.chars().map(fold_char).collect()
}

/// Tells whether two texts are equal without case.
pub(super) fn equal(left: &str, right: &str) -> bool {
    if left.is_ascii() && right.is_ascii() {
        return left.eq_ignore_ascii_case(right);
    }
    left.chars().map(fold_char).eq(right.chars().map(fold_char))
}

/// Orders two texts without case, by UTF-16 units as .NET does.
pub(super) fn compare(left: &str, right: &str) -> Ordering {
    left.chars()
        .map(|c| unit_order(fold_char(c)))
        .cmp(right.chars().map(|c| unit_order(fold_char(c))))
}

/// A key that orders characters as their UTF-16 units: the surrogates of characters beyond the
/// basic plane lie below U+E000.
fn unit_order(c: char) -> (u16, u16) {
    let mut units = [0_u16; 2];
    match *c.encode_utf16(&mut units) {
        [one] => (one, 0),
        [high, low, ..] => (high, low),
        [] => (0, 0),
    }
}

/// Tells whether `needle` occurs in `text`, without case.
pub(super) fn contains(text: &str, needle: &str) -> bool {
    if needle.is_empty() {
        return true;
    }
    if text.is_ascii() && needle.is_ascii() {
        return text
            .as_bytes()
            .windows(needle.len())
            .any(|window| window.eq_ignore_ascii_case(needle.as_bytes()));
    }
    fold(text).contains(&fold(needle))
}

/// Tells whether `text` begins with `prefix`, without case.
pub(super) fn starts_with(text: &str, prefix: &str) -> bool {
    let mut rest = text.chars();
    prefix
        .chars()
        .all(|c| rest.next().is_some_and(|d| fold_char(c) == fold_char(d)))
}

/// Tells whether `text` ends with `suffix`, without case.
pub(super) fn ends_with(text: &str, suffix: &str) -> bool {
    let mut rest = text.chars().rev();
    suffix
        .chars()
        .rev()
        .all(|c| rest.next().is_some_and(|d| fold_char(c) == fold_char(d)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_would_become_ascii_or_several_letters_stay_themselves() {
        for (from, to) in [
            ('a', 'A'),
            ('z', 'Z'),
            ('[', '['),
            ('ς', 'Σ'),
            ('σ', 'Σ'),
            ('ü', 'Ü'),
            ('ı', 'ı'),
            ('İ', 'İ'),
            ('ſ', 'ſ'),
            ('ß', 'ß'),
            ('ŉ', 'ŉ'),
            ('ÿ', 'Ÿ'),
            ('\u{1F80}', '\u{1F88}'),
            ('\u{1FB3}', '\u{1FBC}'),
            ('𐐨', '𐐀'),
        ] {
            assert_eq!(fold_char(from), to, "{from}");
        }
    }

    #[test]
    fn order_is_by_utf16_units_of_the_upper_case() {
        assert_eq!(compare("a", "["), Ordering::Less);
        assert_eq!(compare("_", "a"), Ordering::Greater);
        assert_eq!(compare("abc", "ABCD"), Ordering::Less);
        assert_eq!(compare("", "a"), Ordering::Less);
        assert_eq!(compare("𐐨", "\u{FFFD}"), Ordering::Less);
        assert_eq!(compare("ÇA", "ça"), Ordering::Equal);
    }

    #[test]
    fn searching_is_without_case_and_an_empty_text_is_everywhere() {
        assert!(contains("Straßen-BAU", "bau"));
        assert!(contains("xÜy", "ü"));
        assert!(!contains("abc", "abcd"));
        assert!(contains("", ""));
        assert!(starts_with("ÜBER", "üb"));
        assert!(!starts_with("ab", "abc"));
        assert!(ends_with("README.MD", ".md"));
        assert!(!ends_with("d", ".md"));
        assert!(ends_with("x", ""));
    }
}
