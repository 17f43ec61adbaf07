//! A GitHub App: check runs with annotations and buttons, and what people ask for by them.

use serde_json::{Value, json};

use crate::support::app::{APP, AppKey};
use crate::support::github::{Fault, GitHub};
use crate::support::http;
use crate::support::server::{Server, WAIT_FOR_GO};

const SECRET: &str = "a-secret-for-the-app";

/// A server that speaks in the name of an App, with more lines of `[server]` and of its repository.
fn served(
    github: &GitHub,
    pem: &str,
    workflows: &[(&str, &str)],
    (more, repository): (&str, &str),
) -> Server {
    let server = Server::new(workflows)
        .configure(repository)
        .configure_server(&format!(
            "{more}\n[github-app]\nid = {APP}\nprivate-key = {{ file = \"app.pem\" }}\nwebhook-secrets = [{{ env = \"APP_TEST_SECRET\" }}]\napi = \"{}\"\n",
            github.url()
        ));
    server.write("app.pem", pem);
    server
}

/// A GitHub that knows an App, and the App's key.
fn github_of_app() -> (GitHub, String) {
    let key = AppKey::new();
    let pem = key.pem();
    (GitHub::of_app(key), pem)
}

fn start(server: &mut Server) -> String {
    server.start_with(&[("APP_TEST_SECRET", SECRET)]);
    server.address()
}

fn deliver(address: &str, event: &str, id: &str, payload: &Value) {
    let body = payload.to_string();
    let body = body.as_bytes();
    let answer = http::deliver(address, (event, id), &http::signature(SECRET, body), body);
    assert_eq!(answer.status, 202, "{answer:?}");
}

/// Delivers what happened to the pull request 5, whose newest commit is `head`.
fn deliver_pull(address: &str, id: &str, head: &str, action: &str) {
    deliver(address, "pull_request", id, &pull_payload(head, action));
}

/// Delivers that somebody pressed a button of a check run.
fn press(address: &str, id: &str, check: &Value, button: &str) {
    let payload = about(check, "requested_action", Some(button));
    deliver(address, "check_run", id, &payload);
}

/// Waits until a check run is as it should be, and returns it.
fn shown(server: &Server, github: &GitHub, name: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    server.wait_for(&format!("the check run {name}"), || {
        github.check(name).filter(&is_so)
    })
}

fn concluded(conclusion: &str) -> impl Fn(&Value) -> bool {
    move |check| check["status"] == "completed" && check["conclusion"] == conclusion
}

/// What GitHub delivers when somebody presses a button of a check run, or asks for it once more.
fn about(check: &Value, action: &str, button: Option<&str>) -> Value {
    let mut check = check.clone();
    check["app"] = json!({"id": APP});
    json!({"action": action, "check_run": check, "requested_action": {"identifier": button},
        "repository": {"full_name": "acme/demo"}, "sender": {"login": "tess"}})
}

fn labels(check: &Value) -> Vec<&str> {
    let buttons = check["actions"].as_array().unwrap();
    buttons
        .iter()
        .map(|button| button["label"].as_str().unwrap())
        .collect()
}

/// A job that finds much, one that fails while a file is missing, and one that is skipped.
const CI: &str = r##"name: CI
on: push
jobs:
  lint:
    runs-on: ubuntu-latest
    steps:
      - run: |
          for i in $(seq 9); do echo "::warning file=./src/a.rb,line=$i,col=2,title=Style::number $i"; done
          echo "::error::no place"
          echo "# Lint" >> "$GITHUB_STEP_SUMMARY"
      - run: for i in $(seq 9); do echo "::notice file=b.rb,line=$i,endLine=$((i+1)),col=3::n"; done
      - run: for i in $(seq 9); do echo "::notice file=b.rb,line=$i::n"; done
      - run: for i in $(seq 9); do echo "::notice file=b.rb,line=$i::n"; done
      - run: for i in $(seq 9); do echo "::notice file=b.rb,line=$i::n"; done
      - run: for i in $(seq 9); do echo "::notice file=b.rb,line=$i::n"; done
  test:
    runs-on: ubuntu-latest
    steps: [{ uses: actions/checkout@v4 }, { run: test -e "$HOLD/mended" }]
  after:
    needs: test
    runs-on: ubuntu-latest
    steps: [{ run: echo }]
"##;

/// The story of a commit whose test fails and is run again by the button.
fn story(github: &GitHub, pem: &str) {
    let held = CI.replace("$HOLD", "HELD");
    let mut server = served(
        github,
        pem,
        &[],
        ("public-url = \"https://ci.example.com\"\n", ""),
    );
    let text = held.replace("HELD", &server.path().display().to_string());
    server.write("tree/pipelines/ci.yml", &text);
    server.push("the workflow");
    let address = start(&mut server);
    let sha = server.push("a commit");
    let whole = shown(&server, github, "CI (push)", concluded("failure"));
    assert_eq!(whole["head_sha"], sha.as_str());
    assert_eq!(whole["details_url"], "https://ci.example.com/runs/1");
    assert_eq!(whole["output"]["title"], "Failed: test");
    assert_eq!(labels(&whole), ["Re-run failed"]);
    let lint = shown(&server, github, "CI / lint (push)", |check| {
        concluded("success")(check)
            && check["output"]["annotations"].as_array().unwrap().len() >= 55
    });
    assert_eq!(lint["output"]["summary"], "# Lint\n");
    let found = lint["output"]["annotations"].as_array().unwrap();
    assert_eq!(found.len(), 55);
    assert_eq!(
        found[0],
        json!({"path": "src/a.rb", "start_line": 1, "end_line": 1, "annotation_level": "warning",
            "message": "number 1", "title": "Style", "start_column": 2, "end_column": 2})
    );
    assert_eq!(found[9]["annotation_level"], "failure");
    assert_eq!(found[9]["path"], "pipelines/ci.yml");
    assert_eq!(found[10]["start_column"], Value::Null);
    let failed = shown(&server, github, "CI / test (push)", |check| {
        concluded("failure")(check) && !labels(check).is_empty()
    });
    shown(&server, github, "CI / after (push)", concluded("skipped"));

    server.write("mended", "");
    run_again(&server, github, (&address, &sha), &failed);
    server.stop();
    let mut secrets = github.tokens();
    secrets.push(pem.lines().nth(1).unwrap().to_owned());
    let kept = server.everything_kept();
    for secret in secrets {
        let has = |bytes: &[u8]| {
            bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes())
        };
        assert!(!has(&kept) && !has(server.log().as_bytes()));
    }
}

/// Asks for it once more in all the ways that there are.
fn run_again(server: &Server, github: &GitHub, (address, sha): (&str, &str), failed: &Value) {
    deliver(
        address,
        "check_run",
        "pressed",
        &about(failed, "requested_action", Some("rerun-failed")),
    );
    shown(server, github, "CI (push)", concluded("success"));
    let again = shown(server, github, "CI / test (push)", concluded("success"));
    assert_eq!(again["external_id"], "run 1 attempt 2 job 1");
    shown(server, github, "CI / after (push)", concluded("success"));
    // The button of an attempt that is over does nothing, and neither does one of another App.
    deliver(
        address,
        "check_run",
        "late",
        &about(failed, "requested_action", Some("rerun-failed")),
    );
    let mut other = about(&again, "rerequested", None);
    other["check_run"]["app"]["id"] = json!(1);
    deliver(address, "check_run", "other", &other);
    deliver(
        address,
        "check_run",
        "again",
        &about(&again, "rerequested", None),
    );
    server.wait_for("the third attempt", || {
        let state = server.state("1")?;
        (state["attempt"] == 3 && state["status"] == "completed").then_some(())
    });
    let suite = json!({"action": "rerequested", "check_suite": {"head_sha": sha, "app": {"id": APP}},
        "repository": {"full_name": "acme/demo"}, "sender": {"login": "tess"}});
    deliver(address, "check_suite", "suite", &suite);
    server.wait_for("the fourth attempt", || {
        let state = server.state("1")?;
        (state["attempt"] == 4 && state["status"] == "completed").then_some(())
    });
    shown(server, github, "CI / lint (push)", |check| {
        check["external_id"] == "run 1 attempt 4 job 0" && concluded("success")(check)
    });
}

#[test]
fn an_app_shows_a_check_run_for_each_job_and_runs_again_what_is_asked_for() {
    let (github, pem) = github_of_app();
    story(&github, &pem);
}

#[test]
fn every_request_of_an_app_is_one_that_github_s_openapi_knows() {
    let key = AppKey::new();
    let pem = key.pem();
    let Some(github) = GitHub::checked(Some(key)) else {
        return;
    };
    story(&github, &pem);
    let objections = github.objections();
    assert!(objections.is_empty(), "{objections:#?}");
    let told = github.told().len();
    assert!(told > 20, "{told}");
}

#[test]
fn a_check_run_whose_answer_is_lost_is_not_made_twice_and_has_each_annotation_once() {
    let (github, pem) = github_of_app();
    let text = "name: CI\non: push\njobs:\n  test: { runs-on: ubuntu-latest, steps: [{ run: 'echo ::error::once' }] }\n";
    let mut server = served(&github, &pem, &[("ci.yml", text)], ("", ""));
    start(&mut server);
    github.fail(&[Fault::HalfBody; 6]);
    server.push("a commit");
    shown(&server, &github, "CI (push)", concluded("success"));
    let job = shown(&server, &github, "CI / test (push)", concluded("success"));
    assert_eq!(github.checks().len(), 2, "{:#?}", github.checks());
    assert_eq!(job["output"]["annotations"].as_array().unwrap().len(), 1);
    server.stop();
}

#[test]
fn a_token_of_an_installation_is_renewed_before_it_ends() {
    let (github, pem) = github_of_app();
    github.tokens_end_after(31);
    let text = "name: CI\non: push\njobs:\n  test: { runs-on: ubuntu-latest, steps: [{ run: 'test -n \"${{ secrets.GITHUB_TOKEN }}\"' }] }\n";
    let mut server = served(&github, &pem, &[("ci.yml", text)], ("", ""));
    start(&mut server);
    server.push("a commit");
    shown(&server, &github, "CI (push)", concluded("success"));
    // Every request a second later finds that the token ends too soon, and asks for another one.
    server.push("another commit");
    server.wait_for("another token", || {
        (github.tokens().len() > 1).then_some(())
    });
    server.ended("2");
    server.stop();
}

#[test]
fn a_run_that_deployed_can_be_rolled_back_by_its_button() {
    let (github, pem) = github_of_app();
    let deploy = "name: Deploy\non: push\njobs:\n  deploy: { runs-on: ubuntu-latest, environment: production, steps: [{ run: echo }] }\n";
    let back = "name: Rollback\non: workflow_dispatch\njobs:\n  back: { runs-on: ubuntu-latest, steps: [{ run: echo }] }\n";
    let workflows = [("deploy.yml", deploy), ("rollback.yml", back)];
    let mut server = served(&github, &pem, &workflows, ("", ""));
    let address = start(&mut server);
    server.push("a commit");
    let whole = shown(&server, &github, "Deploy (push)", concluded("success"));
    assert_eq!(labels(&whole), ["Roll back"]);
    for _ in 0..2 {
        press(&address, "pressed", &whole, "roll-back");
    }
    let state = server.ended("2");
    assert_eq!(
        [&state["name"], &state["event"], &state["actor"]],
        ["Rollback", "workflow_dispatch", "tess"]
    );
    shown(
        &server,
        &github,
        "Rollback (workflow_dispatch)",
        concluded("success"),
    );
    server.stop();
    assert_eq!(server.ask(&["runs", "list"]).lines().count(), 2);
}

/// Forks run once somebody lets them.
const APPROVED: &str = "forks = \"approve\"\nfork-image = \"host\"\n";

const PULL: &str = "name: Checks\non: pull_request\nconcurrency: pull\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@v4\n      - run: echo \"secret [${{ secrets.GITHUB_TOKEN }}] file $(cat change)\"\n";

fn pull_payload(head: &str, action: &str) -> Value {
    json!({"action": action, "number": 5, "repository": {"full_name": "acme/demo"}, "sender": {"login": "eve"},
        "pull_request": {"number": 5, "title": "A change", "updated_at": head, "head": {"ref": "change", "sha": head,
            "repo": {"full_name": "eve/demo"}}, "base": {"ref": "main", "sha": "1", "repo": {"full_name": "acme/demo"}}}})
}

/// Pushes what the pull request 5 brings, and returns its commit.
fn propose(server: &Server, content: &str) -> String {
    server.git(&["checkout", "-q", "-B", "change"]);
    server.write("tree/change", content);
    server.git(&["add", "-A"]);
    server.git(&["commit", "-q", "-m", "a change"]);
    server.git(&["push", "-q", "-f", "origin", "HEAD:refs/pull/5/head"]);
    server.git(&["rev-parse", "HEAD"])
}

#[test]
fn a_fork_s_commit_runs_once_it_is_approved_and_a_newer_one_needs_its_own_approval() {
    let (github, pem) = github_of_app();
    let workflows = [("pull.yml", PULL)];
    let mut server = served(&github, &pem, &workflows, ("", APPROVED));
    let address = start(&mut server);
    let first = propose(&server, "one");
    deliver_pull(&address, "1", &first, "opened");
    let waiting = shown(
        &server,
        &github,
        "Checks (pull_request)",
        concluded("action_required"),
    );
    assert_eq!(labels(&waiting), ["Approve"]);
    assert_eq!(waiting["head_sha"], first.as_str());
    assert_eq!(server.state("1").unwrap()["awaits_approval"], true);

    let second = propose(&server, "two");
    deliver_pull(&address, "2", &second, "synchronize");
    let newer = shown(&server, &github, "Checks (pull_request)", |check| {
        check["head_sha"] == second.as_str() && concluded("action_required")(check)
    });
    assert_eq!(server.ended("1")["conclusion"], "cancelled");
    // The approval of the first commit lets neither run begin, and nothing starts the first again.
    press(&address, "old", &waiting, "approve");
    let mut forged = about(&newer, "requested_action", Some("approve"));
    forged["check_run"]["head_sha"] = json!(first);
    deliver(&address, "check_run", "forged", &forged);
    assert!(!server.run(&["runs", "rerun", "1"]).status.success());
    let wrong = server.run(&["runs", "approve", "2", "--commit", &first]);
    assert_eq!(wrong.status.code(), Some(2));
    press(&address, "new", &newer, "approve");
    let state = server.ended("2");
    assert_eq!(
        [&state["conclusion"], &state["approved_by"]],
        ["success", "tess"]
    );
    let logs = server.ask(&["runs", "logs", "2"]);
    assert!(logs.contains("secret [] file two"), "{logs}");
    shown(
        &server,
        &github,
        "Checks (pull_request)",
        concluded("success"),
    );

    let third = propose(&server, "three");
    deliver_pull(&address, "3", &third, "synchronize");
    server.reached("3", "pending");
    let said = server.ask(&["runs", "show", "3"]);
    assert!(said.contains("runner runs approve 3"), "{said}");
    server.ask(&["runs", "approve", "3", "--commit", &third]);
    assert_eq!(server.ended("3")["conclusion"], "success");
    server.stop();
}

#[test]
fn a_run_is_approved_with_the_commit_that_the_event_named_or_not_at_all() {
    let (github, pem) = github_of_app();
    let workflows = [("pull.yml", PULL)];
    let mut server = served(&github, &pem, &workflows, ("", APPROVED));
    let address = start(&mut server);
    let named = propose(&server, "harmless");
    // It is pushed over before anybody looks.
    let pushed = propose(&server, "evil");
    deliver_pull(&address, "1", &named, "opened");
    deliver_pull(&address, "2", &pushed, "synchronize");
    server.reached("1", "pending");
    assert_eq!(server.state("1").unwrap()["sha"], pushed.as_str());
    server.stop();
    assert_eq!(server.ask(&["runs", "list"]).lines().count(), 1);
}

#[test]
fn nothing_is_left_pending_of_a_run_that_is_cancelled() {
    let (github, pem) = github_of_app();
    let mut server = served(&github, &pem, &[], ("", ""));
    let text = format!(
        "name: CI\non: push\njobs:\n  one:\n    runs-on: ubuntu-latest\n    env: {{ HOLD: '{}' }}\n    steps: [{{ run: '{}' }}]\n  two: {{ needs: one, runs-on: ubuntu-latest, steps: [{{ run: echo }}] }}\n",
        server.path().display(),
        WAIT_FOR_GO.replace('\'', "''")
    );
    server.write("tree/pipelines/ci.yml", &text);
    server.push("the workflow");
    start(&mut server);
    server.push("a commit");
    let is = |status: &'static str| move |check: &Value| check["status"] == status;
    shown(&server, &github, "CI / one (push)", is("in_progress"));
    shown(&server, &github, "CI (push)", is("in_progress"));
    server.ask(&["runs", "cancel", "1"]);
    for name in ["CI / one (push)", "CI (push)"] {
        shown(&server, &github, name, |check| {
            check["status"] == "completed"
                && ["cancelled", "skipped"]
                    .iter()
                    .any(|word| check["conclusion"] == *word)
        });
    }
    server.stop();
}
