//! Tokens evaluated: texts, mappings, `${{ insert }}`.

use super::{read, step};
use crate::expression::{EvaluationError, Object, Scope, StatusFunction, Value};
use crate::workflow::{JobBody, Token, TokenError};

/// A scope with one context, `vars`.
struct Vars(Value);

impl Scope for Vars {
    fn context(&self, name: &str) -> Option<Value> {
        name.eq_ignore_ascii_case("vars").then(|| self.0.clone())
    }

    fn status(&self, _: StatusFunction, _: &[Value]) -> Result<bool, EvaluationError> {
        Ok(true)
    }

    fn hash_files(&self, _: &[String]) -> Result<String, EvaluationError> {
        Ok(String::new())
    }
}

fn vars() -> Vars {
    let object = Object::new()
        .with("a", "one")
        .with("n", 2.5)
        .with("json", r#"{"X": "1", "Y": 2}"#);
    Vars(object.into())
}

fn env(written: &str) -> Token {
    let workflow = read(&step(&format!("run: a\nenv: {written}")));
    let JobBody::Steps(job) = &workflow.jobs["a"].body else {
        panic!()
    };
    job.steps[0].env.clone().unwrap()
}

fn evaluated(written: &str) -> Result<String, TokenError> {
    let texts = env(written).evaluate_texts(&vars())?;
    let pairs: Vec<String> = texts
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    Ok(pairs.join(" "))
}

#[test]
fn mappings_become_texts_by_their_keys() {
    for (written, expected) in [
        ("{A: b}", "A=b"),
        (
            "{A: '${{ vars.a }}', B: 'x ${{ vars.n }} y'}",
            "A=one B=x 2.5 y",
        ),
        ("{A: '${{ vars.missing }}'}", "A="),
        ("'${{ fromJSON(vars.json) }}'", "X=1 Y=2"),
        (
            "{A: b, '${{ insert }}': '${{ fromJSON(vars.json) }}', C: d}",
            "A=b X=1 Y=2 C=d",
        ),
        ("{'${{ vars.a }}': b}", "one=b"),
    ] {
        assert_eq!(evaluated(written).unwrap(), expected, "{written}");
    }
}

#[test]
fn what_is_no_text_is_an_error_with_its_place() {
    for (written, column) in [
        ("{A: '${{ fromJSON(vars.json) }}'}", 16),
        ("{'${{ insert }}': '${{ vars.a }}'}", 30),
        (
            "{A: b, '${{ insert }}': '${{ fromJSON(''{\"a\": 1}'') }}'}",
            19,
        ),
        ("{A: '${{ fromJSON(''{'') }}'}", 16),
        ("'${{ vars.a }}'", 12),
    ] {
        let error = evaluated(written).unwrap_err();
        assert_eq!(error.span().start.column, column, "{written}: {error}");
    }
}

#[test]
fn booleans_and_numbers_can_come_as_texts() {
    let token = env("{T: 'true', F: '${{ vars.a == ''two'' }}', N: '7', X: maybe}");
    let get = |key: &str| token.get(key).unwrap();
    assert!(get("T").evaluate_boolean(&vars()).unwrap());
    assert!(!get("F").evaluate_boolean(&vars()).unwrap());
    assert!((get("N").evaluate_number(&vars()).unwrap() - 7.0).abs() < f64::EPSILON);
    assert!(get("X").evaluate_boolean(&vars()).is_err());
    assert!(get("X").evaluate_number(&vars()).is_err());
}
