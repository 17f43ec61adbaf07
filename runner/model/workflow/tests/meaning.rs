//! What the typed workflow holds.

use super::{job, read, step};
use crate::workflow::{
    ActionReference, ActionRuns, JobBody, Step, StepBody, TokenKind, parse_action,
};

fn steps(source: &str) -> Vec<Step> {
    let workflow = read(source);
    match &workflow.jobs[0].body {
        JobBody::Steps(job) => job.steps.clone(),
        JobBody::Call(_) => panic!("{source}"),
    }
}

#[test]
fn steps_without_an_id_get_githubs_names() {
    let lines = "\
- uses: actions/checkout@v2
- uses: Actions/Capitalized@v2
- uses: docker://alpine:latest
- run: a
- uses: ./local
- uses: actions/checkout@v2
- run: b
- {id: own, run: c}
- wait-all:
- parallel: [{run: d}]";
    let names: Vec<String> = steps(&job(&format!("runs-on: x\nsteps:\n{lines}")))
        .into_iter()
        .map(|step| step.context_name)
        .collect();
    assert_eq!(
        names,
        [
            "__actions_checkout",
            "__Actions_Capitalized",
            "__alpine_latest",
            "__run",
            "__self",
            "__actions_checkout_2",
            "__run_2",
            "own",
            "__wait-all",
            "__parallel",
        ]
    );
}

#[test]
fn conditions_have_githubs_implied_success() {
    for (written, expected) in [
        ("", "success()"),
        ("if:", "success()"),
        ("if: always()", "always()"),
        ("if: 123", "success() && (123)"),
        ("if: true", "success() && (true)"),
        ("if: ${{ env.A == 'b' }}", "success() && (env.A == 'b')"),
        ("if: env.A || failure()", "env.A || failure()"),
        (
            "if: true || 'success()'",
            "success() && (true || 'success()')",
        ),
    ] {
        let step = &steps(&step(&format!("run: a\n{written}")))[0];
        assert_eq!(step.condition.text, expected, "{written}");
        assert_eq!(step.condition.is_written, !written.is_empty(), "{written}");
    }
}

#[test]
fn numbers_and_booleans_are_text_where_text_is_wanted() {
    let source = step("run: a\nenv: {N: 1.10, B: true, H: 0x1F, E: , S: '${{ ''it''''s'' }}'}");
    let env = steps(&source)[0].env.clone().unwrap();
    for (key, expected) in [
        ("N", "1.1"),
        ("B", "true"),
        ("H", "31"),
        ("E", ""),
        ("S", "it's"),
    ] {
        assert_eq!(env.get(key).unwrap().as_literal(), Some(expected), "{key}");
    }
}

#[test]
fn expressions_and_literals_are_told_apart() {
    let source = job("runs-on: '${{ matrix.os }}'\ntimeout-minutes: 5\ncontinue-on-error: true");
    let workflow = read(&source);
    let JobBody::Steps(job) = &workflow.jobs["a"].body else {
        panic!()
    };
    assert!(matches!(job.runs_on.kind, TokenKind::Expression(_)));
    let minutes = job.timeout_minutes.as_ref().unwrap();
    assert!(matches!(minutes.kind, TokenKind::Number(5.0)));
    let flag = job.continue_on_error.as_ref().unwrap();
    assert!(matches!(flag.kind, TokenKind::Boolean(true)));
}

#[test]
fn triggers_keep_their_filters() {
    let source = "\
on:
  push: {branches: [main, 'v*'], paths-ignore: docs/**}
  schedule: [{cron: '0 4 * * 1', timezone: Europe/Berlin}]
  workflow_dispatch:
    inputs: {level: {type: choice, options: [a, b], default: b, required: true}}
  workflow_call: {secrets: {token: {required: true}}}
jobs:
  a: {runs-on: x}
";
    let on = read(source).on;
    let names: Vec<&str> = on.events.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["push", "schedule", "workflow_dispatch", "workflow_call"]
    );
    let push = &on.events["push"];
    let branches: Vec<&str> = push
        .branches
        .iter()
        .flatten()
        .map(|b| b.value.as_str())
        .collect();
    assert_eq!(branches, ["main", "v*"]);
    assert_eq!(push.paths_ignore.as_ref().unwrap()[0].value, "docs/**");
    assert!(push.tags.is_none());
    assert_eq!(on.schedule[0].cron.value, "0 4 * * 1");
    assert_eq!(
        on.schedule[0].timezone.as_ref().unwrap().value,
        "Europe/Berlin"
    );
    assert_eq!(on.dispatch_inputs["level"].options, ["a", "b"]);
    assert!(on.dispatch_inputs["level"].is_required);
    assert!(on.call.unwrap().secrets["token"]);
}

#[test]
fn action_references_are_taken_apart() {
    for (text, expected) in [
        ("a/b@c", Some(("a", "b", "", "c"))),
        ("a/b/c/d@e", Some(("a", "b", "c/d", "e"))),
        ("a/b@feature/x", Some(("a", "b", "", "feature/x"))),
        ("a/b@", None),
        ("a/b", None),
        ("b@c", None),
        ("a/b@c@d", None),
    ] {
        let expected =
            expected.map(
                |(owner, repository, path, reference)| ActionReference::Repository {
                    owner: owner.to_owned(),
                    repository: repository.to_owned(),
                    path: path.to_owned(),
                    reference: reference.to_owned(),
                },
            );
        let read = ActionReference::parse(text);
        assert_eq!(read, expected, "{text}");
        if let Some(read) = read {
            assert_eq!(read.to_string(), text);
        }
    }
}

#[test]
fn anchors_stand_for_what_they_name() {
    let source = job("runs-on: x\nsteps:\n- {run: a, env: &e {A: b}}\n- {run: c, env: *e}");
    let steps = steps(&source);
    let env = steps[1].env.as_ref().unwrap();
    assert_eq!(env.get("A").unwrap().as_literal(), Some("b"));
    assert!(
        matches!(&steps[1].body, StepBody::Run { script, .. } if script.as_literal() == Some("c"))
    );
}

#[test]
fn conditions_around_an_action_have_no_implied_success() {
    let source = "\
name: n
description: d
runs:
  using: node20
  main: m.js
  pre: p.js
  post: q.js
  post-if: success()
";
    let ActionRuns::Node { pre, post, .. } = parse_action(source).0.unwrap().runs else {
        panic!()
    };
    assert_eq!(pre.unwrap().1.text, "always()");
    assert_eq!(post.unwrap().1.text, "success()");
}
