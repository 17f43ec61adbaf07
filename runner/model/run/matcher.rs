//! Problem matchers: patterns by which lines of output become annotations.
//!
//! Source: `IssueMatcher` of GitHub's runner, for what a multi-line matcher remembers.

use regex::{Captures, Regex};
use serde_json::Value;

use super::AnnotationLevel;

/// A matcher, with what it remembers of the lines before.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// Whose it is; another one of the same owner takes its place.
    pub owner: String,
    severity: Option<String>,
    patterns: Vec<Pattern>,
    /// The match of each pattern but the last, while the lines after it may go on.
    running: Vec<Option<Parts>>,
}

/// One pattern, for one line.
#[derive(Debug, Clone)]
struct Pattern {
    regex: Regex,
    is_loop: bool,
    groups: Vec<(Part, usize)>,
}

/// What a group of a pattern holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    File,
    FromPath,
    Line,
    Column,
    Severity,
    Code,
    Message,
}

const PARTS: [(&str, Part); 7] = [
    ("file", Part::File),
    ("fromPath", Part::FromPath),
    ("line", Part::Line),
    ("column", Part::Column),
    ("severity", Part::Severity),
    ("code", Part::Code),
    ("message", Part::Message),
];

/// What matched so far; what was found first counts.
#[derive(Debug, Clone, Default)]
struct Parts(Vec<(Part, String)>);

impl Parts {
    fn get(&self, part: Part) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| *known == part);
        found.map(|(_, text)| text.as_str())
    }

    fn with(&self, pattern: &Pattern, captures: &Captures<'_>) -> Self {
        let mut all = self.clone();
        for (part, group) in &pattern.groups {
            let text = captures.get(*group).map_or("", |found| found.as_str());
            if !text.is_empty() && all.get(*part).is_none() {
                all.0.push((*part, text.to_owned()));
            }
        }
        all
    }
}

/// A problem that was found in the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How much it weighs.
    pub level: AnnotationLevel,
    /// What it is.
    pub message: String,
    /// Its code, as `E501`.
    pub code: Option<String>,
    /// The file, as the output names it.
    pub file: Option<String>,
    /// The file that the other one is relative to.
    pub from_path: Option<String>,
    /// The line, from 1.
    pub line: Option<u32>,
    /// The column, from 1.
    pub column: Option<u32>,
}

impl Matcher {
    /// Reads the file of `add-matcher`.
    ///
    /// Errors say in words what is wrong with it.
    pub fn read(text: &str) -> Result<Vec<Self>, String> {
        let file: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let list = file.get("problemMatcher").and_then(Value::as_array);
        let list = list.ok_or("it has no list `problemMatcher`")?;
        list.iter().map(Self::of).collect()
    }

    fn of(value: &Value) -> Result<Self, String> {
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        let owner = text("owner").ok_or("a matcher has no `owner`")?.to_owned();
        let pattern = value.get("pattern");
        let patterns = match pattern {
            Some(Value::Array(list)) => list.iter().map(Pattern::of).collect(),
            Some(one) => Pattern::of(one).map(|one| vec![one]),
            None => Err("it has no `pattern`".to_owned()),
        };
        let patterns = patterns.map_err(|reason| format!("matcher `{owner}`: {reason}"))?;
        let last = patterns.len().saturating_sub(1);
        let loops = |(at, pattern): (usize, &Pattern)| pattern.is_loop && (at < last || last == 0);
        let has_message = |pattern: &Pattern| {
            let mut groups = pattern.groups.iter();
            groups.any(|(part, _)| *part == Part::Message)
        };
        let wrong = if patterns.is_empty() {
            Some("it has no pattern")
        } else if patterns.iter().enumerate().any(loops) {
            Some("`loop` is for the last of several patterns")
        } else if !patterns.iter().any(has_message) {
            Some("no pattern has a `message`")
        } else {
            None
        };
        if let Some(reason) = wrong {
            return Err(format!("matcher `{owner}`: {reason}"));
        }
        Ok(Self {
            owner,
            severity: text("severity").map(str::to_owned),
            running: vec![None; last],
            patterns,
        })
    }

    /// Forgets the lines before.
    pub fn reset(&mut self) {
        self.running.fill(None);
    }

    /// Takes the next line; returns the problem that is whole with it.
    pub fn take(&mut self, line: &str) -> Option<Problem> {
        let last = self.patterns.len().checked_sub(1)?;
        for (at, pattern) in self.patterns.iter().enumerate().rev() {
            let before = match at.checked_sub(1) {
                None => Parts::default(),
                Some(previous) => match self.running.get(previous).cloned().flatten() {
                    Some(running) => running,
                    None => continue,
                },
            };
            let found = pattern.regex.captures(line);
            let parts = found.map(|captures| before.with(pattern, &captures));
            if at < last {
                if let Some(running) = self.running.get_mut(at) {
                    *running = parts;
                }
                continue;
            }
            let Some(parts) = parts else {
                if let Some(running) = self.running.last_mut() {
                    *running = None;
                }
                continue;
            };
            let goes_on = pattern.is_loop.then_some(before);
            self.running.fill(None);
            if let (Some(running), Some(before)) = (self.running.last_mut(), goes_on) {
                *running = Some(before);
            }
            return self.problem(&parts);
        }
        None
    }

    /// Returns what was found; a weight that nobody knows is no problem.
    fn problem(&self, parts: &Parts) -> Option<Problem> {
        let severity = parts.get(Part::Severity).or(self.severity.as_deref());
        let level = match severity.unwrap_or_default().to_lowercase().as_str() {
            "" | "error" => AnnotationLevel::Error,
            "warning" => AnnotationLevel::Warning,
            "notice" => AnnotationLevel::Notice,
            _ => return None,
        };
        let text = |part: Part| parts.get(part).map(str::to_owned);
        let number = |part: Part| parts.get(part).and_then(|text| text.trim().parse().ok());
        Some(Problem {
            level,
            message: text(Part::Message)?,
            code: text(Part::Code),
            file: text(Part::File),
            from_path: text(Part::FromPath),
            line: number(Part::Line),
            column: number(Part::Column),
        })
    }
}

impl Pattern {
    fn of(value: &Value) -> Result<Self, String> {
        let text = value.get("regexp").and_then(Value::as_str);
        let text = text.ok_or("a pattern has no `regexp`")?;
        let regex = Regex::new(text)
            .map_err(|_| format!("`{text}` is no regular expression that is known here"))?;
        let mut groups = Vec::new();
        for (key, part) in PARTS {
            let Some(given) = value.get(key) else {
                continue;
            };
            let group = given.as_u64().and_then(|group| usize::try_from(group).ok());
            match group.filter(|group| *group < regex.captures_len()) {
                Some(group) => groups.push((part, group)),
                None => return Err(format!("`{key}` names no group of `{text}`")),
            }
        }
        Ok(Self {
            regex,
            is_loop: value.get("loop").and_then(Value::as_bool) == Some(true),
            groups,
        })
    }
}

/// Returns a line without the sequences by which terminals show colours.
pub fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut pieces = line.split("\u{1b}[");
    plain.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let rest =
            piece.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == ';');
        plain.push_str(rest.strip_prefix('m').unwrap_or(rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, lines: &[&str]) -> Vec<String> {
        let mut matchers = Matcher::read(file).unwrap();
        let mut all = Vec::new();
        for line in lines {
            for matcher in &mut matchers {
                if let Some(problem) = matcher.take(&without_colours(line)) {
                    let place = problem.file.unwrap_or_default();
                    let numbers = [problem.line, problem.column];
                    let numbers = numbers.map(|number| number.unwrap_or(0));
                    all.push(format!(
                        "{} {place}:{}:{} {}",
                        problem.level.as_str(),
                        numbers[0],
                        numbers[1],
                        problem.message
                    ));
                }
            }
        }
        all
    }

    #[test]
    fn one_line_holds_a_whole_problem() {
        let gcc = r#"{"problemMatcher":[{"owner":"gcc","pattern":[{"regexp":"^(.*):(\\d+):(\\d+):\\s+(warning|error|chatter):\\s+(.*)$","file":1,"line":2,"column":3,"severity":4,"message":5}]}]}"#;
        let lines = [
            "\u{1b}[1ma.c:3:7:\u{1b}[0m warning: odd",
            "nothing here",
            "b.c:1:2: error: wrong",
            "b.c:1:2: chatter: not a weight",
        ];
        assert_eq!(
            found(gcc, &lines),
            ["warning a.c:3:7 odd", "error b.c:1:2 wrong"]
        );
    }

    #[test]
    fn several_lines_make_a_problem_and_the_last_can_repeat() {
        let eslint = r#"{"problemMatcher":[{"owner":"eslint","severity":"warning","pattern":[
            {"regexp":"^([^\\s].*)$","file":1},
            {"regexp":"^\\s+(\\d+):(\\d+)\\s+(error|warning)?\\s*(.*)$","line":1,"column":2,"severity":3,"message":4,"loop":true}]}]}"#;
        let lines = [
            "a.js",
            "  1:2  error no",
            "  3:4  also",
            "",
            "  5:6  error lost",
        ];
        assert_eq!(
            found(eslint, &lines),
            ["error a.js:1:2 no", "warning a.js:3:4 also"]
        );
    }

    #[test]
    fn a_file_that_is_wrong_says_why() {
        for (file, expected) in [
            ("{", "EOF"),
            ("{}", "no list `problemMatcher`"),
            (r#"{"problemMatcher":[{}]}"#, "no `owner`"),
            (r#"{"problemMatcher":[{"owner":"x"}]}"#, "no `pattern`"),
            (
                r#"{"problemMatcher":[{"owner":"x","pattern":{"regexp":"(a)","message":2}}]}"#,
                "`message` names no group",
            ),
            (
                r#"{"problemMatcher":[{"owner":"x","pattern":{"regexp":"(a)","line":1}}]}"#,
                "no pattern has a `message`",
            ),
            (
                r#"{"problemMatcher":[{"owner":"x","pattern":{"regexp":"(?=a)","message":0}}]}"#,
                "no regular expression that is known here",
            ),
        ] {
            let error = Matcher::read(file).unwrap_err();
            assert!(error.contains(expected), "{file}: {error}");
        }
    }
}
