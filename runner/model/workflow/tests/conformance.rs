//! How the readers fare on the files of the conformance data, where it lies beside the project.

use std::path::{Path, PathBuf};

use crate::diagnostic::has_errors;
use crate::workflow::{parse, parse_action};

/// Returns the folder of the data, or says that the test is skipped.
fn data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance");
    let root = option_env!("RUNNER_CONFORMANCE").map_or(beside, PathBuf::from);
    let root = root.is_dir().then_some(root);
    if root.is_none() {
        println!("skipped: the conformance data is not beside the project");
    }
    root
}

#[expect(clippy::disallowed_methods, reason = "the data of the test are files")]
fn text(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
}

/// One file with what is expected of it.
struct Case {
    file: String,
    expected: String,
    is_standalone: bool,
    is_action: bool,
    source: String,
    /// The lines that GitHub's own parsers name.
    lines: Vec<u32>,
}

fn cases(root: &Path, folder: &str) -> Vec<Case> {
    let folder = root.join(folder);
    let verdicts: serde_json::Value =
        serde_json::from_str(&text(&folder.join("verdicts.json"))).unwrap();
    let files = verdicts.get("files").unwrap_or(&verdicts);
    files
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let file = entry["file"].as_str().unwrap().to_owned();
            Case {
                source: text(&folder.join(&file)),
                expected: entry["expected"].as_str().unwrap().to_owned(),
                is_standalone: entry["standalone"] == true,
                is_action: entry["kind"] == "action",
                lines: lines(entry),
                file,
            }
        })
        .collect()
}

/// Returns the lines in the messages of GitHub's parsers, or else those of actionlint.
fn lines(entry: &serde_json::Value) -> Vec<u32> {
    let pattern = regex::Regex::new(r"\(Line: (\d+), Col|at line (\d+), column").unwrap();
    let verdicts = &entry["verdicts"];
    let words = format!(
        "{} {}",
        entry["errors"], verdicts["officialParser"]["errors"]
    );
    let mut lines: Vec<u32> = pattern
        .captures_iter(&words)
        .filter_map(|found| found.get(1).or(found.get(2))?.as_str().parse().ok())
        .collect();
    let service = verdicts["languageService"]["errors"].as_array();
    let linter = entry["actionlint"].as_array();
    let line = |problem: &serde_json::Value| u32::try_from(problem["line"].as_u64()?).ok();
    lines.extend(service.into_iter().flatten().filter_map(line));
    if lines.is_empty() {
        lines.extend(linter.into_iter().flatten().filter_map(line));
    }
    lines.retain(|line| *line > 0);
    lines
}

/// Counts the cases that end as they should and prints the others.
fn score(folder: &str, cases: &[Case], is_right: impl Fn(&Case, bool) -> bool) -> f64 {
    let mut right = 0_u32;
    for case in cases {
        let found = if case.is_action {
            parse_action(&case.source).1
        } else {
            parse(&case.source).1
        };
        if is_right(case, has_errors(&found)) {
            right += 1;
            continue;
        }
        let errors: Vec<String> = found
            .iter()
            .filter(|problem| problem.is_error())
            .take(3)
            .map(ToString::to_string)
            .collect();
        println!("{folder}/{}: {}", case.file, errors.join("; "));
    }
    let total = u32::try_from(cases.len()).unwrap();
    let share = 100.0 * f64::from(right) / f64::from(total);
    println!("{folder}: {right} / {total} ({share:.1} %)");
    share
}

#[test]
fn valid_workflows_are_accepted() {
    let Some(root) = data() else { return };
    let mut cases = cases(&root, "workflows-valid");
    cases.retain(|case| case.is_standalone);
    assert!(score("workflows-valid", &cases, |_, is_refused| !is_refused) >= 99.0);
}

#[test]
fn invalid_workflows_are_refused() {
    let Some(root) = data() else { return };
    let mut cases = cases(&root, "workflows-invalid");
    cases.retain(|case| case.is_standalone);
    assert!(score("workflows-invalid", &cases, |_, is_refused| is_refused) >= 97.0);
}

#[test]
fn invalid_workflows_are_refused_where_github_refuses_them() {
    let Some(root) = data() else { return };
    let mut cases = cases(&root, "workflows-invalid");
    cases.retain(|case| case.is_standalone && !case.lines.is_empty());
    let mut right = 0;
    for case in &cases {
        let found = parse(&case.source).1;
        let errors: Vec<String> = found
            .iter()
            .filter(|problem| problem.is_error())
            .map(ToString::to_string)
            .collect();
        let is_right = found
            .iter()
            .any(|problem| problem.is_error() && case.lines.contains(&problem.span.start.line));
        right += usize::from(is_right);
        if !is_right {
            println!("{}: expected lines {:?}: {errors:?}", case.file, case.lines);
        }
    }
    println!("workflows-invalid, right line: {right} / {}", cases.len());
    assert!(right * 100 >= cases.len() * 88);
}

#[test]
fn real_workflows_are_accepted() {
    let Some(root) = data() else { return };
    let mut cases = cases(&root, "real-world");
    cases.retain(|case| case.expected == "accept");
    assert!(score("real-world", &cases, |_, is_refused| !is_refused) >= 99.5);
}

#[test]
fn workflows_that_only_a_linter_dislikes_are_accepted() {
    let Some(root) = data() else { return };
    let cases = cases(&root, "workflows-lint");
    assert!(score("workflows-lint", &cases, |_, is_refused| !is_refused) >= 88.0);
    let told = cases
        .iter()
        .filter(|case| !parse(&case.source).1.is_empty());
    let told = told.count();
    println!("workflows-lint, warned: {told} / {}", cases.len());
    assert!(told * 100 >= cases.len() * 60);
}

#[test]
fn disputed_workflows_are_read_without_a_crash() {
    let Some(root) = data() else { return };
    let cases = cases(&root, "workflows-disputed");
    score("workflows-disputed", &cases, |_, _| true);
}

#[test]
fn action_manifests_are_accepted_and_refused() {
    let Some(root) = data() else { return };
    let cases = cases(&root, "action-manifests");
    let is_right = |case: &Case, is_refused: bool| is_refused == (case.expected == "reject");
    assert!(score("action-manifests", &cases, is_right) >= 97.0);
}

/// Returns the codes of the problems of a workflow with this `on`.
fn codes(on: &serde_json::Value) -> Vec<&'static str> {
    let source = serde_json::json!({"on": on, "jobs": {"a": {"runs-on": "x"}}}).to_string();
    parse(&source)
        .1
        .iter()
        .map(|problem| problem.code)
        .collect()
}

fn table(root: &Path, name: &str) -> Vec<serde_json::Value> {
    let table: serde_json::Value =
        serde_json::from_str(&text(&root.join("tables").join(name))).unwrap();
    table["cases"].as_array().unwrap().clone()
}

#[test]
fn crons_are_judged_as_in_the_table() {
    let Some(root) = data() else { return };
    for case in table(&root, "cron.json") {
        let codes = codes(&serde_json::json!({"schedule": [{"cron": case["cron"]}]}));
        if let Some(is_valid) = case["valid"].as_bool() {
            assert_eq!(!codes.contains(&"cron-syntax"), is_valid, "{case}");
        }
        if let Some(is_often) = case["moreOftenThanEvery5Minutes"].as_bool() {
            assert_eq!(codes.contains(&"cron-too-often"), is_often, "{case}");
        }
    }
}

#[test]
fn patterns_are_warned_of_as_in_the_table() {
    let Some(root) = data() else { return };
    for case in table(&root, "glob-validity.json") {
        for kind in case["kinds"].as_array().unwrap() {
            let key = if kind == "ref" { "branches" } else { "paths" };
            // A pattern with `!` alone matches nothing, which is another rule.
            let codes = codes(&serde_json::json!({"push": {key: ["x", case["pattern"]]}}));
            assert_eq!(
                codes.is_empty(),
                case["valid"] == true,
                "{key} {case}: {codes:?}"
            );
        }
    }
}
