//! The forms in which a secret may be printed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Shorter pieces of Base64 stand in any text and give away two bytes at most.
const SHORTEST_BASE64: usize = 4;

/// Shorter parts of a value that PowerShell tears apart are left alone, as on GitHub.
const SHORTEST_SECTION: usize = 6;

/// Returns the value and every other form of it, some of them twice.
///
/// The list is that of GitHub's runner (`HostContext`, `ValueEncoders`), with what shells, Go and
/// Python print besides.
pub(super) fn forms(value: &str) -> Vec<String> {
    let mut forms = vec![
        value.to_owned(),
        // An argument in double quotes; a string in an expression.
        value.replace('"', "\\\""),
        value.replace('\'', "''"),
        // What `set -x` and `printf %q` print.
        value.replace('\'', "'\\''"),
        shell_words(value),
        xml(value),
        percent(value, b"-_.~"),
        percent(value, b"-_.~!'()*"),
        percent(value, b"-_.~").replace("%20", "+"),
        json(value, |c| matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}')),
        json(value, |c| !c.is_ascii() || c == '\u{7f}'),
        json(value, |c| {
            matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}')
        }),
    ];
    base64(value.as_bytes(), &mut forms);
    sections(value, &mut forms);
    forms.retain(|form| !form.is_empty());
    forms
}

/// Adds the Base64 of the value at each of the three places where it can begin in a longer text.
///
/// With the padding, without it, and without the last digit where that one also depends on the
/// byte that follows; in both alphabets.
fn base64(value: &[u8], forms: &mut Vec<String>) {
    for offset in 0..3 {
        let Some(rest) = value.get(offset..).filter(|rest| !rest.is_empty()) else {
            break;
        };
        let padded = STANDARD.encode(rest);
        let bare = padded.trim_end_matches('=');
        let whole_digits = rest.len() * 8 / 6;
        let certain = bare.get(..whole_digits).unwrap_or(bare);
        for form in [padded.as_str(), bare, certain] {
            if form.len() >= SHORTEST_BASE64 {
                forms.push(form.to_owned());
                forms.push(form.replace('+', "-").replace('/', "_"));
            }
        }
    }
}

/// Adds the parts that are printed alone: between quotes, and around the `&` where PowerShell
/// begins to colour a command that failed.
fn sections(value: &str, forms: &mut Vec<String>) {
    if value.chars().count() > 8
        && let Some(inner) = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'))
    {
        forms.push(inner.to_owned());
    }
    let parts = match value.split_once("&+") {
        // The first letter after the operator is coloured on its own.
        Some((before, after)) => {
            let mut rest = after.chars();
            rest.next();
            Some((format!("{before}&+"), rest.as_str()))
        }
        None => value
            .rsplit_once('&')
            .map(|(before, after)| (format!("{before}&"), after)),
    };
    if let Some((before, after)) = parts {
        for part in [before.as_str(), after] {
            if part.chars().count() >= SHORTEST_SECTION {
                forms.push(part.to_owned());
            }
        }
    }
}

/// Returns the value with a backslash before each character that a shell would take for itself.
fn shell_words(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        if c.is_ascii() && !c.is_ascii_alphanumeric() && !"@%_+=:,./-\n\r\t".contains(c) {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// Returns the value with the five characters of XML as entities.
fn xml(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            '\'' => text.push_str("&apos;"),
            '&' => text.push_str("&amp;"),
            other => text.push(other),
        }
    }
    text
}

/// Returns the value for a URL: letters, digits and `plain` stay, other bytes become `%XX`.
fn percent(value: &str, plain: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            for digit in [byte >> 4, byte & 0xf] {
                text.push(hex(u16::from(digit)).to_ascii_uppercase());
            }
        }
    }
    text
}

/// Returns the value as the inside of a JSON string, with `\u` and four digits for the characters
/// asked for.
fn json(value: &str, escaped: impl Fn(char) -> bool) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            c if c < ' ' || escaped(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    text.push_str("\\u");
                    for shift in [12, 8, 4, 0] {
                        text.push(hex((*unit >> shift) & 0xf));
                    }
                }
            }
            c => text.push(c),
        }
    }
    text
}

fn hex(digit: u16) -> char {
    char::from_digit(u32::from(digit), 16).unwrap_or('0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_word_has_few_forms() {
        let mut forms = forms("hunter2hunter2");
        forms.sort();
        forms.dedup();
        // Itself, and Base64 at three offsets with, without padding and without an unsure digit.
        assert!(forms.len() <= 9, "{forms:?}");
        assert!(forms.contains(&"hunter2hunter2".to_owned()));
        assert!(forms.contains(&"aHVudGVyMmh1bnRlcjI=".to_owned()));
        assert!(forms.contains(&"aHVudGVyMmh1bnRlcjI".to_owned()));
    }

    #[test]
    fn each_form_is_what_the_tool_prints() {
        for (value, form) in [
            ("a'b", "a''b"),
            ("a'b", "a'\\''b"),
            ("a\"b", "a\\\"b"),
            ("a b$", "a\\ b\\$"),
            ("<a&b>'\"", "&lt;a&amp;b&gt;&apos;&quot;"),
            ("a b/ü", "a%20b%2F%C3%BC"),
            ("a b/ü", "a+b%2F%C3%BC"),
            ("it's!", "it's!"),
            ("a\nb\u{1b}\\", "a\\nb\\u001b\\\\"),
            ("pässword", "p\\u00e4ssword"),
            ("a&b", "a\\u0026b"),
            ("😀", "\\ud83d\\ude00"),
            ("\"quoted-value\"", "quoted-value"),
            ("before&+Xafter-it", "before&+"),
            ("before&+Xafter-it", "after-it"),
            ("one&two&secret", "one&two&"),
            ("one&two&secret", "secret"),
        ] {
            assert!(forms(value).contains(&form.to_owned()), "{value} {form}");
        }
    }

    #[test]
    fn short_pieces_are_no_forms() {
        assert!(!forms("abc").iter().any(|form| form == "Yw" || form == "Y"));
        assert!(!forms("\"short\"").contains(&"short".to_owned()));
        assert!(!forms("a&b").contains(&"b".to_owned()));
    }
}
