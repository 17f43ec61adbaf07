//! `runner check` as a process.

use crate::support::process::Test;

const VALID: &str =
    "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: 'true'\n";

#[test]
fn a_valid_workflow_is_accepted() {
    Test::new()
        .workflow(VALID)
        .args(&["check", "w.yml"])
        .run()
        .code(0)
        .says("w.yml: valid");
}

#[test]
fn all_problems_are_told_at_once_with_place_and_hint() {
    let wrong = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    step: []\n  b:\n    needs: nobody\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo ${{ secret.X }}\n";
    Test::new()
        .workflow(wrong)
        .args(&["check", "w.yml"])
        .run()
        .code(3)
        .says("w.yml:5:5")
        .says("did you mean `steps`?")
        .says("nobody")
        .says("w.yml:10:");
}

#[test]
fn what_check_refuses_run_refuses_with_the_same_words() {
    let wrong = VALID.replace("runs-on", "run-on");
    let test = Test::new()
        .workflow(&wrong)
        .args(&["check", "w.yml", "--format", "json"]);
    let checked: serde_json::Value = serde_json::from_str(&test.run().code(3).out).unwrap();
    let message = checked["diagnostics"][0]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    test.args(&["run", "w.yml"])
        .run()
        .code(3)
        .complains(&message);
}

#[test]
fn the_json_form_holds_place_code_and_severity() {
    let answer = Test::new()
        .workflow("on: push\njobs: {}\n")
        .args(&["check", "w.yml", "--format", "json"])
        .run();
    let said: serde_json::Value = serde_json::from_str(&answer.code(3).out).unwrap();
    assert_eq!(said["file"], "w.yml");
    assert_eq!(said["valid"], false);
    let first = &said["diagnostics"][0];
    assert_eq!(first["severity"], "error");
    assert!(
        first["line"].as_u64().unwrap() >= 1 && first["column"].as_u64().unwrap() >= 1,
        "{first}"
    );
}

#[test]
fn a_folder_means_the_workflow_files_in_it() {
    Test::new()
        .file("pipelines/a.yml", VALID)
        .file("pipelines/b.yaml", VALID)
        .file("pipelines/c.txt", "no workflow")
        .args(&["check"])
        .run()
        .code(0)
        .says("pipelines/a.yml: valid")
        .says("pipelines/b.yaml: valid")
        .never_says("c.txt");
}

#[test]
fn a_file_that_is_not_there_is_a_mistake_on_the_command_line() {
    Test::new()
        .args(&["check", "nowhere.yml"])
        .run()
        .code(2)
        .complains("`nowhere.yml` could not be read");
}

#[test]
fn what_cannot_be_run_yet_is_a_warning_for_check_and_refused_by_run() {
    let workflow = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: sleep 1\n        id: s\n        background: true\n      - wait: s\n";
    let test = Test::new().workflow(workflow).args(&["check", "w.yml"]);
    test.run().code(0).says("cannot be run yet");
    test.args(&["run", "w.yml"])
        .run()
        .code(3)
        .complains("a background step cannot be run yet");
}

#[test]
fn called_workflows_and_actions_are_read_and_compared_with_their_calls() {
    let called = "on:\n  workflow_call:\n    inputs:\n      target: {type: string, required: true}\njobs:\n  j:\n    runs-on: ubuntu-latest\n    steps: [{run: 'true'}]\n";
    let action = "name: a\ndescription: a\ninputs:\n  colour: {required: true}\nruns:\n  using: composite\n  steps: []\n";
    let workflow = "on: push\njobs:\n  far:\n    uses: o/r/.github/workflows/c.yml@v1\n  near:\n    uses: ./.github/workflows/c.yml\n    with: {tagret: x, target: y}\n  steps:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: ./act\n        with: {color: red}\n      - uses: runner/checkout@v1\n        with: {patch: x}\n";
    let test = Test::new()
        .file("w.yml", workflow)
        .file("actions/o/r/.github/workflows/c.yml", called)
        .file(".github/workflows/c.yml", called)
        .file("act/action.yml", action)
        .commit();
    let arguments = ["check", "w.yml", "--actions-dir", "actions"];
    let answer = test.args(&arguments).run();
    answer
        .code(3)
        .says("input `target` of `o/r/.github/workflows/c.yml@v1` is required")
        .says("`./.github/workflows/c.yml` has no input `tagret`")
        .says("did you mean `target`?")
        .says("input `colour` of `./act` is required")
        .says("did you mean `colour`?")
        .says("did you mean `path`?")
        .says("w.yml: 2 errors, 3 warnings");
}

#[test]
fn a_graph_shows_stages_and_mermaid_draws_arrows() {
    let workflow = "on: push\njobs:\n  build:\n    runs-on: ubuntu-latest\n    strategy: {matrix: {a: [1, 2]}}\n    steps: [{run: x}]\n  lint:\n    runs-on: ubuntu-latest\n    steps: [{run: x}]\n  deploy:\n    needs: [build, lint]\n    uses: ./x.yml\n";
    let test = Test::new().workflow(workflow);
    let test = test.args(&["graph", "w.yml"]);
    let said = test.run();
    assert_eq!(
        said.code(0).out,
        "w.yml\n  1  build   matrix\n     lint\n  2  deploy  after build, lint; calls ./x.yml\n"
    );
    let said = test.args(&["graph", "w.yml", "--format", "mermaid"]).run();
    assert_eq!(
        said.code(0).out,
        "flowchart LR\n  j0[\"build<br>matrix\"]\n  j1[\"lint\"]\n  j2[\"deploy<br>calls ./x.yml\"]\n  j0 --> j2\n  j1 --> j2\n"
    );
}
