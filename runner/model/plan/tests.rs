//! Tests of the room against the conformance tables.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::filter::{Decision, EventFacts, Filters, decide};
use super::matrix::{self, Cell};
use super::name;
use super::pattern::{self, PatternKind};
use crate::expression::{EvaluationError, Scope, StatusFunction, Template, Value};

#[expect(clippy::disallowed_methods, reason = "a test may read its cases")]
fn conformance(file: &str) -> Option<String> {
    let root = std::env::var("RUNNER_CONFORMANCE").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/conformance").to_owned()
    });
    let text = std::fs::read_to_string(format!("{root}/{file}")).ok();
    if text.is_none() {
        println!("skipped: no `{file}` in `{root}`");
    }
    text
}

fn cases(file: &str) -> Vec<Json> {
    conformance(file).map_or_else(Vec::new, |text| {
        let table: Json = serde_json::from_str(&text).unwrap();
        table["cases"].as_array().unwrap().clone()
    })
}

fn texts(list: &Json) -> Vec<&str> {
    let items = list.as_array().unwrap().iter();
    items.map(|item| item.as_str().unwrap()).collect()
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(boolean) => Json::from(*boolean),
        Value::Number(number) => Json::from(*number),
        Value::String(text) => Json::from(&**text),
        Value::Array(items) => items.iter().map(to_json).collect(),
        Value::Object(pairs) => pairs
            .iter()
            .map(|(key, value)| (key.to_owned(), to_json(value)))
            .collect(),
    }
}

/// Makes every number a double, as the expression language has no others.
fn doubles(json: &Json) -> Json {
    match json {
        Json::Number(number) => Json::from(number.as_f64().unwrap()),
        Json::Array(items) => items.iter().map(doubles).collect(),
        Json::Object(pairs) => pairs
            .iter()
            .map(|(key, value)| (key.clone(), doubles(value)))
            .collect(),
        other => other.clone(),
    }
}

fn cell_values(cell: &Cell) -> Json {
    let pairs = cell.values().iter();
    pairs
        .map(|(key, value)| (key.to_owned(), to_json(value)))
        .collect()
}

#[test]
fn matrices_expand_as_the_table_says() {
    for case in cases("tables/matrix.json") {
        let matrix: Value = serde_json::from_value(case["matrix"].clone()).unwrap();
        let cells = matrix::expand(&matrix).unwrap();
        let got: Vec<Json> = cells.iter().map(cell_values).collect();
        let expected = doubles(&case["expected"]);
        assert_eq!(&got, expected.as_array().unwrap(), "{}", case["id"]);
        if let Some(job) = case["jobName"].as_str() {
            let template = Template::parse(job).unwrap();
            let names: Vec<String> = cells
                .iter()
                .map(|cell| template.evaluate_to_string(&Within(cell)).unwrap())
                .collect();
            assert_eq!(names, texts(&case["expectedNames"]), "{}", case["id"]);
        }
    }
}

#[test]
fn filters_decide_as_the_table_says() {
    for case in cases("tables/filters.json") {
        let patterns = texts(&case["patterns"]);
        let changed = texts(&case["changed"]);
        let facts = EventFacts {
            event: "push",
            git_ref: Some("refs/heads/any"),
            changed_paths: Some(&changed),
            ..EventFacts::default()
        };
        let include = Filters {
            paths: Some(&patterns),
            ..Filters::default()
        };
        let ignore = Filters {
            paths_ignore: Some(&patterns),
            ..Filters::default()
        };
        for (filters, key) in [
            (include, "runsWithIncludeFilter"),
            (ignore, "runsWithIgnoreFilter"),
        ] {
            if let Some(expected) = case[key].as_bool() {
                let runs = decide(&filters, &facts).unwrap() == Decision::Run;
                assert_eq!(runs, expected, "{key} {case}");
            }
        }
        // A single name stands for a branch as well as for a path.
        if let [name] = changed.as_slice() {
            let git_ref = format!("refs/heads/{name}");
            let facts = EventFacts {
                event: "push",
                git_ref: Some(&git_ref),
                ..EventFacts::default()
            };
            let filters = Filters {
                branches: Some(&patterns),
                ..Filters::default()
            };
            let runs = decide(&filters, &facts).unwrap() == Decision::Run;
            assert_eq!(runs, case["runsWithIncludeFilter"], "branch {case}");
        }
    }
}

#[test]
fn patterns_are_checked_as_the_table_says() {
    for case in cases("tables/glob-validity.json") {
        let text = case["pattern"].as_str().unwrap();
        for kind in texts(&case["kinds"]) {
            let kind = match kind {
                "ref" => PatternKind::Ref,
                _ => PatternKind::Path,
            };
            let problems = pattern::check(text, kind);
            assert_eq!(
                problems.is_empty(),
                case["valid"].as_bool().unwrap(),
                "{kind:?} {case} {problems:?}"
            );
        }
    }
}

/// The part of a job that the expansion decides: its name, and its cell of the matrix.
#[test]
fn jobs_expand_as_the_documents_say() {
    for file in [
        "empty_step",
        "has_needs",
        "has_with",
        "job_name_with_matrix",
        "multiple_jobs",
    ] {
        let (Some(given), Some(expected)) = (
            conformance(&format!("tables/job-expansion/{file}.in.yaml")),
            conformance(&format!("tables/job-expansion/{file}.out.yaml")),
        ) else {
            return;
        };
        let mut got = BTreeSet::new();
        for (id, name, matrix) in jobs(&given) {
            let name = name.unwrap_or_else(|| id.clone());
            let Some(matrix) = matrix else {
                got.insert((id, name));
                continue;
            };
            for cell in matrix::expand(&matrix).unwrap() {
                let template = Template::parse(&name).unwrap();
                let shown = if template.is_literal() {
                    cell.name(&name)
                } else {
                    name::shown(&template.evaluate_to_string(&Within(&cell)).unwrap())
                };
                got.insert((id.clone(), shown));
            }
        }
        let expected: BTreeSet<(String, String)> = expected
            .split("\n---\n")
            .flat_map(jobs)
            .map(|(id, name, _)| (id, name.unwrap()))
            .collect();
        assert_eq!(got, expected, "{file}");
    }
}

/// The `matrix` context of a cell and nothing else.
struct Within<'a>(&'a Cell);

impl Scope for Within<'_> {
    fn context(&self, name: &str) -> Option<Value> {
        (name == "matrix").then(|| Value::from(self.0.values().clone()))
    }

    fn status(&self, _: StatusFunction, _: &[Value]) -> Result<bool, EvaluationError> {
        panic!("no name asks for a status")
    }

    fn hash_files(&self, _: &[String]) -> Result<String, EvaluationError> {
        panic!("no name hashes files")
    }
}

type Job = (String, Option<String>, Option<Value>);

/// Reads ids, names and matrices out of a document of the table, which writes them one a line.
fn jobs(text: &str) -> Vec<Job> {
    let mut jobs: Vec<Job> = Vec::new();
    let mut vectors: Option<Vec<(String, Value)>> = None;
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let Some((key, value)) = line.trim().split_once(':') else {
            continue;
        };
        let value = value.trim();
        match (indent, key) {
            (2, id) => {
                jobs.push((id.to_owned(), None, None));
                vectors = None;
            }
            (4, "name") => jobs.last_mut().unwrap().1 = Some(value.to_owned()),
            (6, "matrix") => vectors = Some(Vec::new()),
            (8, key) if vectors.is_some() && value.starts_with('[') => {
                let items = value.trim_matches(['[', ']']).split(',').map(str::trim);
                let items = items.map(|item| match item.parse::<f64>() {
                    Ok(number) => Value::from(number),
                    Err(_) => Value::from(item),
                });
                let vectors = vectors.as_mut().unwrap();
                vectors.push((key.to_owned(), Value::from(items.collect::<Vec<_>>())));
                let object = vectors
                    .iter()
                    .cloned()
                    .collect::<crate::expression::Object>();
                jobs.last_mut().unwrap().2 = Some(Value::from(object));
            }
            _ => {}
        }
    }
    jobs
}
