//! Which files of a folder stay out of a build: the rules of `.dockerignore`.

use regex::Regex;

/// The rules of one file, in order; the last one that matches decides.
#[derive(Debug, Clone, Default)]
pub struct DockerIgnore {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    pattern: Regex,
    keeps: bool,
}

impl DockerIgnore {
    /// Reads rules; a line whose pattern makes no sense matches nothing.
    pub fn parse(text: &str) -> Self {
        let text = text.trim_start_matches('\u{feff}');
        Self {
            rules: text.lines().filter_map(Rule::parse).collect(),
        }
    }

    /// Adds a rule that keeps a path, whatever the others say.
    pub(super) fn keep(&mut self, path: &str) {
        let pattern = format!("^{}$", regex::escape(path));
        self.rules
            .extend(Regex::new(&pattern).ok().map(|pattern| Rule {
                pattern,
                keeps: true,
            }));
    }

    /// Tells whether a path, relative and with `/`, stays out. A rule for a folder holds for
    /// everything in it.
    pub fn excludes(&self, path: &str) -> bool {
        let mut excluded = false;
        for rule in &self.rules {
            // A rule that would change nothing need not be asked.
            if rule.keeps == excluded && rule.matches(path) {
                excluded = !rule.keeps;
            }
        }
        excluded
    }

    /// Whether some rule may bring back what another one leaves out.
    pub(super) fn has_exceptions(&self) -> bool {
        self.rules.iter().any(|rule| rule.keeps)
    }
}

impl Rule {
    fn parse(line: &str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        let line = line.trim();
        let (keeps, pattern) = match line.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, line),
        };
        let pattern = clean(pattern);
        if pattern.is_empty() {
            return None;
        }
        Regex::new(&expression(&pattern))
            .ok()
            .map(|pattern| Self { pattern, keeps })
    }

    fn matches(&self, path: &str) -> bool {
        let parents = path
            .match_indices('/')
            .filter_map(|(end, _)| path.get(..end));
        parents
            .chain([path])
            .any(|path| self.pattern.is_match(path))
    }
}

/// Takes out what names no place: leading and doubled slashes, `.` and `..`.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// `*` and `?` stop at slashes, `**` does not; classes and escapes are as in file globs.
fn expression(pattern: &str) -> String {
    let mut expression = String::from("(?s)^");
    let mut chars = pattern.chars().peekable();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                if let Some(next) = chars.next() {
                    expression.push_str(&regex::escape(&next.to_string()));
                }
            }
            ']' if in_class => {
                in_class = false;
                expression.push(']');
            }
            '[' if in_class => expression.push_str("\\["),
            c if in_class => expression.push(c),
            '[' => {
                in_class = true;
                expression.push('[');
            }
            '*' if chars.next_if_eq(&'*').is_some() => {
                while chars.next_if_eq(&'*').is_some() {}
                let slash = chars.next_if_eq(&'/').is_some();
                let rest = if chars.peek().is_none() {
                    ".*"
                } else if slash {
                    "(?:.*/)?"
                } else {
                    ".*"
                };
                expression.push_str(rest);
            }
            '*' => expression.push_str("[^/]*"),
            '?' => expression.push_str("[^/]"),
            c => expression.push_str(&regex::escape(&c.to_string())),
        }
    }
    expression.push('$');
    expression
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_decide_as_docker_decides() {
        let table: [(&str, &[&str], &[&str]); 15] = [
            ("", &[], &["a", ".dockerignore"]),
            ("# all\n\n*.log", &["a.log"], &["dir/a.log", "log"]),
            ("*/*.log", &["dir/a.log"], &["a.log", "a/b/c.log"]),
            (
                "**/*.log",
                &["a.log", "dir/a.log", "a/b/c.log"],
                &["a.log2"],
            ),
            ("tmp", &["tmp", "tmp/a", "tmp/a/b"], &["tmpx", "a/tmp"]),
            ("/tmp/", &["tmp", "tmp/a"], &["a/tmp"]),
            ("./tmp", &["tmp/a"], &["x"]),
            ("a/../b", &["b"], &["a"]),
            (
                "tmp/*\n!tmp/keep",
                &["tmp/a", "tmp/keep2"],
                &["tmp", "tmp/keep", "tmp/keep/x"],
            ),
            (
                "*\n!src\nsrc/x",
                &["a", "src/x"],
                &["src", "src/y", "src/d/z"],
            ),
            (
                "*.md\n!README*.md\nREADME-secret.md",
                &["a.md", "README-secret.md"],
                &["README.md"],
            ),
            ("a?c", &["abc"], &["ac", "a/c", "abbc"]),
            ("[a-c].txt", &["b.txt"], &["d.txt"]),
            ("a\\*b", &["a*b"], &["axb"]),
            (
                "node_modules/**\n**/.git",
                &["node_modules/a/b", "x/.git", ".git/HEAD"],
                &["a"],
            ),
        ];
        for (text, out, kept) in table {
            let rules = DockerIgnore::parse(text);
            for path in out {
                assert!(rules.excludes(path), "{text:?} should leave out {path}");
            }
            for path in kept {
                assert!(!rules.excludes(path), "{text:?} should keep {path}");
            }
        }
    }

    #[test]
    fn a_kept_path_survives_every_rule() {
        let mut rules = DockerIgnore::parse("*\n**/Dockerfile");
        rules.keep("docker/Dockerfile");
        assert!(!rules.excludes("docker/Dockerfile"));
        assert!(rules.excludes("Dockerfile"));
    }
}
