//! The choice of roles and hosts on the command line: `web*`, `{web,job}`.

use thiserror::Error;

/// A filter that nothing matches: the user's call.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("No --{kind} match for {filters}")]
pub struct NoMatch {
    /// What is filtered: `roles` or `hosts`.
    pub kind: &'static str,
    /// The filters, with commas between them.
    pub filters: String,
}

/// Returns the names that any filter matches, in the order of the filters, each once.
///
/// `*` stands for any text, `?` for one character, `{a,b}` for either.
pub fn select<'a>(
    kind: &'static str,
    filters: &[String],
    names: &[&'a str],
) -> Result<Vec<&'a str>, NoMatch> {
    let mut chosen: Vec<&str> = Vec::new();
    for filter in filters {
        let patterns = alternatives(filter);
        for name in names {
            let matches = patterns.iter().any(|pattern| is_match(pattern, name));
            if matches && !chosen.contains(name) {
                chosen.push(name);
            }
        }
    }
    if chosen.is_empty() {
        return Err(NoMatch {
            kind,
            filters: filters.join(","),
        });
    }
    Ok(chosen)
}

/// How many patterns one filter may stand for.
const MAX_ALTERNATIVES: usize = 1_000;

/// Writes `a{b,c}` as `ab` and `ac`.
fn alternatives(filter: &str) -> Vec<String> {
    let mut open = vec![filter.to_owned()];
    let mut done = Vec::new();
    while let Some(pattern) = open.pop() {
        let braces = pattern
            .split_once('{')
            .and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
        match braces {
            Some((before, (inner, after))) if open.len() + done.len() < MAX_ALTERNATIVES => {
                open.extend(inner.split(',').map(|one| format!("{before}{one}{after}")));
            }
            _ => done.push(pattern),
        }
    }
    done
}

fn is_match(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    // `reached[i]`: the first `i` characters of the pattern match the name so far.
    let mut reached = vec![false; pattern.len() + 1];
    let skip_stars = |reached: &mut Vec<bool>| {
        for (at, character) in pattern.iter().enumerate() {
            if *character == '*'
                && reached.get(at) == Some(&true)
                && let Some(next) = reached.get_mut(at + 1)
            {
                *next = true;
            }
        }
    };
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    skip_stars(&mut reached);
    for character in name.chars() {
        let mut next = vec![false; pattern.len() + 1];
        for (at, wanted) in pattern.iter().enumerate() {
            if reached.get(at) != Some(&true) {
                continue;
            }
            let target = match wanted {
                '*' => at,
                '?' => at + 1,
                _ if *wanted == character => at + 1,
                _ => continue,
            };
            if let Some(target) = next.get_mut(target) {
                *target = true;
            }
        }
        reached = next;
        skip_stars(&mut reached);
    }
    reached.last() == Some(&true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_choose_as_in_a_shell() {
        let names = ["web", "web_eu", "worker", "1.1.1.1"];
        for (filter, expected) in [
            ("web", vec!["web"]),
            ("web*", vec!["web", "web_eu"]),
            ("w*r", vec!["worker"]),
            ("{web,worker}", vec!["web", "worker"]),
            ("?.1.1.1", vec!["1.1.1.1"]),
            ("*", names.to_vec()),
        ] {
            let chosen = select("roles", &[filter.to_owned()], &names).unwrap();
            let mut sorted = chosen.clone();
            sorted.sort_by_key(|name| names.iter().position(|known| known == name));
            assert_eq!(sorted, expected, "{filter}");
        }
        let none = select("roles", &["x".to_owned()], &names).unwrap_err();
        assert_eq!(none.to_string(), "No --roles match for x");
    }
}
