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
