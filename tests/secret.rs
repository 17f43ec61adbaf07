//! `runner secret`: values are sealed in the store, and reach only the jobs that they are for.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

use runner::run::Timestamp;
use runner::store::{SealingKey, SecretRow, SecretScope, Store};

use crate::support::server::{Server, WAIT_FOR_GO};

const VALUE: &str = "correct-horse-battery-staple";

/// Stores a secret as a person does: the value comes on standard input.
fn set(server: &Server, value: &str, arguments: &[&str]) -> Output {
    let mut child = server
        .command(&[&["secret", "set"], arguments].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Who refuses a command line does not wait for its input.
    drop(stdin.write_all(value.as_bytes()));
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn must_set(server: &Server, value: &str, arguments: &[&str]) -> String {
    let output = set(server, value, arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle.as_bytes())
}

/// A workflow with a job for each way in which a secret can be for it.
const SCOPES: &str = "name: scopes
on: [push, workflow_dispatch]
jobs:
  plain:
    runs-on: ubuntu-latest
    steps: [{ run: 'echo plain gets ${{ secrets.A == ''repository'' }} ${{ secrets.B == ''global'' }} ${{ secrets.C == '''' }} ${{ secrets.D == ''on-push'' }}' }]
  deploy:
    runs-on: ubuntu-latest
    environment: production
    steps: [{ run: 'echo deploy gets ${{ secrets.A == ''environment'' }} ${{ secrets.B == ''global'' }} ${{ secrets.C == ''production-only'' }}' }]
  called:
    uses: ./pipelines/called.yml
    secrets: { HANDED: '${{ secrets.A }}' }
";

const CALLED: &str = "on: { workflow_call: { secrets: { HANDED: { required: true } } } }
jobs:
  inner:
    runs-on: ubuntu-latest
    environment: production
    steps: [{ run: 'echo inner gets ${{ secrets.HANDED == ''repository'' }} ${{ secrets.C == ''production-only'' }} ${{ secrets.B == '''' }}' }]
";

#[test]
fn a_stored_secret_reaches_its_job_and_stands_nowhere_in_plain_text() {
    let mut server = Server::new(&[]);
    let text = format!(
        "on: push\njobs:\n  one:\n    runs-on: ubuntu-latest\n    env: {{ TOKEN: '${{{{ secrets.TOKEN }}}}' }}\n    steps:\n      - run: |\n          echo \"$TOKEN\"; printf %s \"${{TOKEN:0:9}}\"; echo \"${{TOKEN:9}}\"; test ${{#TOKEN}} = {}\n          touch {}/began\n          HOLD={}; {WAIT_FOR_GO}\n",
        VALUE.len(),
        server.path().display(),
        server.path().display(),
    );
    server.write("tree/pipelines/ci.yml", &text);
    server.push("the workflow");
    // The first secret can come while the server is up.
    server.start();
    let said = must_set(&server, &format!("{VALUE}\n"), &["token"]);
    assert!(said.contains("keep a copy"), "{said}");
    let key = server.path().join("data.key");
    let mode = fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    server.push("go");
    let began = server.path().join("began");
    server.wait_for("the step to begin", || began.exists().then_some(()));
    let ps = Command::new("ps").args(["-eo", "args"]).output().unwrap();
    assert!(contains(&ps.stdout, "runner job"), "the job runs now");
    assert!(!contains(&ps.stdout, VALUE));
    server.go();
    let state = server.ended("1");
    assert_eq!(state["conclusion"], "success", "{state}");
    assert!(server.ask(&["runs", "logs", "1"]).contains("***"));
    server.stop();
    let kept = server.everything_kept();
    assert!(contains(&kept, "TOKEN"), "the name is there");
    assert!(!contains(&kept, VALUE));
    assert!(!contains(server.log().as_bytes(), VALUE));
    let list = server.ask(&["secret", "list"]);
    assert!(
        list.contains("TOKEN") && list.contains("all repositories"),
        "{list}"
    );
    assert!(!list.contains(VALUE));
}

#[test]
fn the_secret_of_the_environment_goes_before_that_of_the_repository_and_that_of_all() {
    let mut server = Server::new(&[("scopes.yml", SCOPES), ("called.yml", CALLED)]);
    let production = ["--environment", "production"];
    let repository = ["--repository", "acme/demo"];
    must_set(&server, "global", &["A"]);
    must_set(&server, "repository", &[&["A"][..], &repository].concat());
    must_set(
        &server,
        "environment",
        &[&["A"][..], &repository, &production].concat(),
    );
    must_set(&server, "global", &["B"]);
    must_set(
        &server,
        "production-only",
        &[&["C"][..], &production].concat(),
    );
    must_set(&server, "on-push", &["D", "--event", "push"]);
    must_set(&server, "always", &["D"]);
    server.start();
    server.push("go");
    let state = server.ended("1");
    assert_eq!(state["conclusion"], "success", "{state}");
    let logs = server.ask(&["runs", "logs", "1"]);
    for line in [
        "plain gets true true true true",
        "deploy gets true true true",
        "inner gets true true true",
    ] {
        assert!(logs.contains(line), "{line}\n{logs}");
    }
    let run = server.ask(&["dispatch", "scopes"]);
    server.ended(run.trim());
    let logs = server.ask(&["runs", "logs", run.trim()]);
    assert!(logs.contains("plain gets true true true false"), "{logs}");
    server.stop();
}

#[test]
fn without_its_key_a_secret_is_not_taken_for_an_empty_one() {
    let mut server = Server::new(&[(
        "ci.yml",
        "on: push\njobs:\n  one: { runs-on: ubuntu-latest, steps: [{ run: 'echo the step ran' }] }\n",
    )]);
    must_set(&server, VALUE, &["TOKEN"]);
    let key = server.path().join("data.key");
    let text = fs::read_to_string(&key).unwrap();
    let refused = |expected: &str| {
        let output = server.run(&["serve"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(expected), "{said}");
        let own = text.lines().last().unwrap();
        assert!(!said.contains(own), "{said}");
    };
    fs::remove_file(&key).unwrap();
    refused("there is no key at");
    let output = set(&server, "other", &["OTHER"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(!key.exists());
    let write = |text: &str, mode: u32| {
        fs::write(&key, text).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
    };
    write(&SealingKey::generate().to_text(), 0o600);
    refused("cannot be opened with the key");
    let output = set(&server, "other", &["OTHER"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("nothing was stored"), "{said}");
    write(&text, 0o644);
    refused("can be read by others");
    write("nonsense", 0o600);
    refused("is no key");
    fs::remove_file(&key).unwrap();
    server.start_with(&[("RUNNER_SECRETS_KEY", &text)]);
    spoil_secret(&server);
    server.push("go");
    let state = server.ended("1");
    assert_eq!(state["conclusion"], "failure", "{state}");
    let reason = state["jobs"][0]["reason"].as_str().unwrap();
    assert!(
        reason.contains("SPOILED") && reason.contains("cannot be opened"),
        "{reason}"
    );
    assert!(!server.ask(&["runs", "logs", "1"]).contains("the step ran"));
    server.ask(&["secret", "remove", "SPOILED"]);
    server.ask(&["runs", "rerun", "1"]);
    server.wait_for("the second attempt", || {
        let state = server.state("1")?;
        (state["attempt"] == 2 && state["conclusion"] == "success").then_some(())
    });
    server.stop();
}

/// Stores what no key opens, as a hand that can write to the store might.
fn spoil_secret(server: &Server) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let path = server.data().join("runner.db");
        let store = Store::open_file(&path).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        let row = SecretRow {
            name: "SPOILED".to_owned(),
            scope: SecretScope::default(),
            sealed: "bm90aGluZw==".to_owned(),
            changed_at: Timestamp(0),
        };
        tx.set_secret(&row).await.unwrap();
        tx.commit().await.unwrap();
        store.close().await;
    });
}

#[test]
fn what_cannot_be_a_secret_is_refused_and_changes_nothing() {
    let server = Server::new(&[]);
    let long = "x".repeat(48 * 1024 + 1);
    for (value, arguments, expected) in [
        ("value", &["GITHUB_X"][..], "does not begin with `GITHUB_`"),
        ("value", &["1X"], "does not begin with a digit"),
        ("value", &["../X"], "letters, digits and `_` only"),
        ("", &["X"], "the value is empty"),
        (" \n", &["X"], "the value is empty"),
        (long.as_str(), &["X"], "longer than 48 KiB"),
        (
            "value",
            &["X", "--repository", "acme/other"],
            "is not watched",
        ),
        (
            "value",
            &["X", "--environment", ""],
            "--environment is empty",
        ),
    ] {
        let output = set(&server, value, arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{said}");
    }
    assert!(!server.path().join("data.key").exists());
    assert_eq!(server.ask(&["secret", "list"]), "");
    must_set(&server, "value", &["X", "--environment", "production"]);
    let absent = server.run(&["secret", "remove", "X"]);
    assert_eq!(absent.status.code(), Some(2));
    let said = String::from_utf8_lossy(&absent.stderr).into_owned();
    assert!(
        said.contains("stored for: environment production"),
        "{said}"
    );
    server.ask(&["secret", "remove", "x", "--environment", "production"]);
    assert_eq!(server.ask(&["secret", "list"]), "");
}
