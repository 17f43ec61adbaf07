//! `runner eval` as a process.

use crate::support::process::Test;

fn eval(arguments: &[&str]) -> crate::support::process::Answer {
    let arguments: Vec<&str> = ["eval"]
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    Test::new().args(&arguments).run()
}

#[test]
fn an_expression_is_evaluated_with_the_given_contexts() {
    eval(&[
        "github.ref == 'refs/heads/main' && inputs.n || 'x'",
        "--context",
        r#"{"github":{"ref":"refs/heads/MAIN"},"inputs":{"n":4}}"#,
    ])
    .code(0)
    .says("4");
}

#[test]
fn the_json_form_names_the_kind() {
    eval(&["--format", "json", "--", "-1"])
        .code(0)
        .says(r#"{"kind":"Number","value":-1"#);
}

#[test]
fn a_context_that_is_not_given_is_a_parsing_error() {
    let answer = eval(&["secrets.X", "--format", "json"]);
    let said: serde_json::Value = serde_json::from_str(&answer.code(3).out).unwrap();
    assert_eq!(said["error"]["kind"], "parsing");
}

#[test]
fn a_condition_has_the_implied_success() {
    let contexts = r#"{"job":{"status":"failure"}}"#;
    eval(&["true", "--as", "if", "--context", contexts])
        .code(0)
        .says("false");
    eval(&["always()", "--as", "if", "--context", contexts])
        .code(0)
        .says("true");
}
