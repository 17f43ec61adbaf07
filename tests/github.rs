//! What GitHub is told, and what it tells: statuses, deployments, webhooks.

use std::fs;

use serde_json::{Value, json};

use crate::support::github::{Fault, GitHub, TOKEN};
use crate::support::http::{self, Answer, request};
use crate::support::server::{Server, WAIT_FOR_GO};

const SECRET: &str = "a-secret-for-webhooks";

const CI: &str = "name: CI\non: push\njobs:\n  test: { runs-on: ubuntu-latest, steps: [{ run: test ! -e red || exit 1 }, { uses: actions/checkout@v4 }, { run: test ! -e red }] }\n";

fn env() -> [(&'static str, &'static str); 2] {
    [
        ("GITHUB_TEST_TOKEN", TOKEN),
        ("WEBHOOK_TEST_SECRET", SECRET),
    ]
}

/// Waits until the last status of a commit has this state, and returns all of them.
fn told(server: &Server, github: &GitHub, sha: &str, state: &str) -> Vec<(String, String, String)> {
    server.wait_for(&format!("the status {state}"), || {
        let statuses = github.statuses(sha);
        let last = statuses.last()?;
        (last.1 == state).then_some(statuses)
    })
}

#[test]
fn a_commit_shows_pending_and_then_how_its_run_ended() {
    let github = GitHub::start();
    let mut server = Server::new(&[])
        .configure(&github.configuration())
        .configure_server("public-url = \"https://ci.example.com/\"\n");
    let held = format!(
        "name: CI\non: push\njobs:\n  test:\n    runs-on: ubuntu-latest\n    env: {{ HOLD: '{}' }}\n    steps:\n      - uses: actions/checkout@v4\n      - run: test ! -e red\n      - run: {WAIT_FOR_GO}\n",
        server.path().display()
    );
    server.write("tree/pipelines/ci.yml", &held);
    server.push("the workflow");
    server.start_with(&env());
    let good = server.push("good");
    told(&server, &github, &good, "pending");
    server.go();
    let statuses = told(&server, &github, &good, "success");
    assert!(statuses.iter().all(|status| status.0 == "CI (push)"));
    assert_eq!(statuses.last().unwrap().2, "Successful");
    server.write("tree/red", "");
    let bad = server.push("bad");
    let statuses = told(&server, &github, &bad, "failure");
    assert_eq!(statuses.last().unwrap().2, "Failed: test");
    server.stop();
    let kept = server.everything_kept();
    assert!(
        !kept
            .windows(TOKEN.len())
            .any(|window| window == TOKEN.as_bytes())
    );
}

#[test]
fn what_github_does_not_take_arrives_later_also_after_a_crash() {
    let github = GitHub::start();
    let mut server = Server::new(&[("ci.yml", CI)]).configure(&github.configuration());
    github.fail(&[
        Fault::Status(502, "Bad gateway", None),
        Fault::Garbage,
        Fault::Status(403, "You have exceeded a secondary rate limit", Some(1)),
        Fault::Status(500, "Oops", Some(3600)),
    ]);
    server.start_with(&env());
    let sha = server.push("good");
    server.ended("1");
    server.wait_for("four refusals", || (github.refused() == 4).then_some(()));
    // It would wait for an hour now; what it has to say is in the store.
    server.kill();
    forget_the_wait(&server);
    server.start_with(&env());
    told(&server, &github, &sha, "success");
    server.stop();
}

/// Makes every post due, as the hour that GitHub asked for would.
fn forget_the_wait(server: &Server) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let path = server.data().join("runner.db");
        let store = runner::store::Store::open_file(&path).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        for post in tx.waiting_posts("", 100).await.unwrap() {
            let now = Some(runner::run::Timestamp(0));
            tx.post_failed(&post, "forgotten", now).await.unwrap();
        }
        tx.commit().await.unwrap();
        store.close().await;
    });
}

#[test]
fn what_github_refuses_for_good_is_given_up_and_holds_up_nothing() {
    let github = GitHub::start();
    let mut server = Server::new(&[("ci.yml", CI)]).configure(&github.configuration());
    server.start_with(&env());
    github.fail(&[Fault::Status(422, "Validation Failed", None)]);
    server.push("one");
    server.wait_for("the refusal", || (github.refused() == 1).then_some(()));
    let sha = server.push("two");
    told(&server, &github, &sha, "success");
    server.stop();
    assert!(
        server.log().contains("GitHub refuses it for good: 422"),
        "{}",
        server.log()
    );
}

#[test]
fn a_job_with_an_environment_is_a_deployment_and_supersedes_the_one_before() {
    let github = GitHub::start();
    let text = "name: Deploy\non: push\njobs:\n  deploy:\n    runs-on: ubuntu-latest\n    environment: { name: production, url: 'https://${{ github.ref_name }}.example.com' }\n    steps: [{ uses: actions/checkout@v4 }, { run: test ! -e red }]\n";
    let mut server = Server::new(&[("deploy.yml", text)]).configure(&github.configuration());
    server.start_with(&env());
    let first = server.push("one");
    server.wait_for("the first deployment", || {
        github
            .deployment_states()
            .contains(&"1 success".to_owned())
            .then_some(())
    });
    server.push("two");
    server.wait_for("the second deployment", || {
        github
            .deployment_states()
            .contains(&"1 inactive".to_owned())
            .then_some(())
    });
    server.write("tree/red", "");
    server.push("three");
    server.wait_for("the failed deployment", || {
        github
            .deployment_states()
            .contains(&"3 failure".to_owned())
            .then_some(())
    });
    let states = github.deployment_states();
    let last = |id: &str| {
        let mut of = states.iter().filter(|state| state.starts_with(id));
        of.next_back().unwrap().clone()
    };
    assert_eq!(
        [last("1"), last("2"), last("3")],
        ["1 inactive", "2 success", "3 failure"]
    );
    let made = github.deployments();
    assert_eq!(made.len(), 3);
    assert_eq!(made[0]["ref"], first.as_str());
    assert_eq!(made[0]["environment"], "production");
    server.stop();
}

/// A server that takes webhooks, and hardly ever looks by itself.
fn hooked(workflows: &[(&str, &str)], more: &str) -> Server {
    Server::new(workflows)
        .polls("1h")
        .configure(&format!(
            "webhook-secrets = [{{ env = \"ANOTHER_TEST_SECRET\" }}, {{ env = \"WEBHOOK_TEST_SECRET\" }}]\n{more}"
        ))
        .configure_server("")
}

fn start(server: &mut Server) -> String {
    let mut all = env().to_vec();
    all.push(("ANOTHER_TEST_SECRET", "an-older-secret"));
    server.start_with(&all);
    server.address()
}

fn deliver(address: &str, event: &str, id: &str, payload: &Value) -> Answer {
    let body = payload.to_string();
    let body = body.as_bytes();
    http::deliver(address, (event, id), &http::signature(SECRET, body), body)
}

fn push_payload(before: &str, after: &str) -> Value {
    json!({"ref": "refs/heads/main", "before": before, "after": after, "repository": {"full_name": "acme/demo"},
        "head_commit": {"id": after, "message": "a commit"}, "pusher": {"name": "Tess"}, "sender": {"login": "tess"}})
}

#[test]
fn a_push_that_is_delivered_many_times_and_seen_as_well_runs_once() {
    let mut server = hooked(&[("ci.yml", CI)], "");
    let address = start(&mut server);
    let before = server.git(&["rev-parse", "HEAD"]);
    let after = server.push("delivered");
    let payload = push_payload(&before, &after);
    std::thread::scope(|scope| {
        for copy in 0..10 {
            let (address, payload) = (&address, &payload);
            scope.spawn(move || {
                // The same delivery five times over, and five others of the same push.
                let id = if copy % 2 == 0 {
                    "same".to_owned()
                } else {
                    format!("other-{copy}")
                };
                assert_eq!(deliver(address, "push", &id, payload).status, 202);
            });
        }
    });
    let state = server.ended("1");
    assert_eq!(
        (&state["conclusion"], &state["actor"]),
        (&"success".into(), &"tess".into())
    );
    server.stop();
    // The next server looks at the repository all the time: it sees the same push, and one more.
    let mut server = server.polls("100ms");
    start(&mut server);
    let after = server.push("another");
    assert_eq!(server.ended("2")["sha"], after.as_str());
    server.stop();
    assert_eq!(server.ask(&["runs", "list"]).lines().count(), 2);
}

#[test]
fn what_is_not_signed_too_large_or_no_webhook_is_refused() {
    let mut server = hooked(&[("ci.yml", CI)], "");
    let address = start(&mut server);
    let body = push_payload("1", "2").to_string();
    let wrong = http::signature("wrong", body.as_bytes());
    for signature in ["", "sha256=00", &wrong] {
        let answer = http::deliver(&address, ("push", "1"), signature, body.as_bytes());
        assert_eq!(answer.status, 401);
    }
    let elsewhere = json!({"repository": {"full_name": "eve/other"}});
    assert_eq!(deliver(&address, "push", "1", &elsewhere).status, 401);
    assert_eq!(
        http::deliver(
            &address,
            ("push", "1"),
            &http::signature(SECRET, b"{"),
            b"{"
        )
        .status,
        401
    );
    let large = vec![b' '; 26 * 1024 * 1024];
    assert_eq!(
        http::deliver(&address, ("push", "1"), "sha256=00", &large).status,
        413
    );
    let headers = [("X-Hub-Signature-256", wrong.as_str())];
    let bare = request(&address, "POST", "/webhooks/github", &headers, b"{}");
    assert_eq!(bare.status, 400);
    assert_eq!(
        request(&address, "GET", "/runs/../../etc/passwd", &[], b"").status,
        404
    );
    assert_eq!(
        deliver(&address, "ping", "2", &push_payload("1", "2")).status,
        202
    );
    assert_eq!(request(&address, "GET", "/health", &[], b"").status, 200);
    server.stop();
    assert_eq!(server.ask(&["runs", "list"]), "");
}

const PULL: &str = "name: Checks\non: pull_request\njobs:\n  test:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@v4\n      - run: echo \"head ${{ github.head_ref }} ref ${{ github.ref }} secret [${{ secrets.TOKEN }}] file $(cat change)\"\n";

fn pull_payload(head: &str, fork: bool) -> Value {
    let from = if fork { "eve/demo" } else { "acme/demo" };
    json!({"action": "opened", "number": 5, "repository": {"full_name": "acme/demo"}, "sender": {"login": "tess"},
        "pull_request": {"number": 5, "title": "A change", "updated_at": "2026-01-01", "head": {"ref": "change", "sha": head,
            "repo": {"full_name": from}}, "base": {"ref": "main", "sha": "1", "repo": {"full_name": "acme/demo"}}}})
}

/// Pushes a branch as the pull request 5, and returns its commit.
fn pull_request(server: &Server) -> String {
    server.git(&["checkout", "-q", "-b", "change"]);
    server.write("tree/change", "hello");
    server.git(&["add", "-A"]);
    server.git(&["commit", "-q", "-m", "a change"]);
    server.git(&["push", "-q", "origin", "HEAD:refs/pull/5/head"]);
    server.git(&["rev-parse", "HEAD"])
}

#[test]
fn a_pull_request_runs_with_secrets_and_one_of_a_fork_does_not_run() {
    let github = GitHub::start();
    let more = format!(
        "{}[repository.secrets]\nTOKEN = {{ env = \"WEBHOOK_TEST_SECRET\" }}\n",
        github.configuration()
    );
    let mut server = hooked(&[("pull.yml", PULL)], &more);
    let address = start(&mut server);
    let head = pull_request(&server);
    assert_eq!(
        deliver(&address, "pull_request", "1", &pull_payload(&head, true)).status,
        202
    );
    assert_eq!(
        deliver(&address, "pull_request", "2", &pull_payload(&head, false)).status,
        202
    );
    let state = server.ended("1");
    assert_eq!(
        (&state["conclusion"], &state["title"]),
        (&"success".into(), &"A change".into())
    );
    let logs = server.ask(&["runs", "logs", "1"]);
    assert!(
        logs.contains("head change ref refs/pull/5/merge secret [***] file hello"),
        "{logs}"
    );
    // The status stands beside the commit that people see.
    told(&server, &github, &head, "success");
    server.stop();
    assert_eq!(server.ask(&["runs", "list"]).lines().count(), 1);
}

#[test]
fn forks_run_nowhere_unless_it_is_said_where() {
    let server = hooked(&[("pull.yml", PULL)], "forks = \"approve\"\n");
    let refused = server
        .command(&["serve"])
        .envs(env())
        .env("ANOTHER_TEST_SECRET", "an-older-secret")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("`fork-image` is not there"), "{said}");
}

#[test]
fn a_fork_that_may_run_gets_no_secret() {
    let more = "forks = \"run-without-secrets\"\nfork-image = \"host\"\nfolder = \"private\"\n[repository.secrets]\nTOKEN = { env = \"WEBHOOK_TEST_SECRET\" }\n";
    let mut server = hooked(&[("pull.yml", PULL)], more);
    let address = start(&mut server);
    let head = pull_request(&server);
    deliver(&address, "pull_request", "1", &pull_payload(&head, true));
    server.ended("1");
    let logs = server.ask(&["runs", "logs", "1"]);
    assert!(logs.contains("secret [] file hello"), "{logs}");
    server.stop();
}

#[test]
fn pages_show_runs_and_what_they_print_to_who_may_see_them() {
    let text = "name: '<b>CI</b>'\non: push\njobs:\n  test: { runs-on: ubuntu-latest, steps: [{ run: \"echo '<script>alert(1)</script>'\" }] }\n";
    let mut server = Server::new(&[("ci.yml", text)]).configure_server("");
    server.start();
    let address = server.address();
    let empty = request(&address, "GET", "/", &[], b"");
    assert!(empty.text.contains("Nothing has run yet"), "{}", empty.text);
    server.push("a <title>");
    server.ended("1");
    let list = request(&address, "GET", "/", &[], b"");
    assert!(
        list.text.contains("&lt;b&gt;CI&lt;") && list.text.contains("a &lt;title&gt;"),
        "{}",
        list.text
    );
    let page = request(&address, "GET", "/runs/1", &[], b"");
    assert!(
        page.text.contains("&lt;script&gt;alert(1)"),
        "{}",
        page.text
    );
    assert!(!page.text.contains("<script>"), "{}", page.text);
    assert_eq!(request(&address, "GET", "/runs/7", &[], b"").status, 404);
    let sent_on = request(
        &address,
        "GET",
        "/",
        &[("X-Forwarded-For", "192.0.2.1")],
        b"",
    );
    assert_eq!(sent_on.status, 403);
    server.stop();
    let mut server = Server::new(&[]).configure_server("token = { env = \"PAGES_TEST_TOKEN\" }\n");
    server.start_with(&[("PAGES_TEST_TOKEN", "open-sesame")]);
    let address = server.address();
    assert_eq!(request(&address, "GET", "/", &[], b"").status, 401);
    for (authorization, status) in [
        ("Bearer open-sesame", 200),
        ("Bearer open", 401),
        ("Basic eDpvcGVuLXNlc2FtZQ==", 200),
    ] {
        let answer = request(
            &address,
            "GET",
            "/",
            &[("Authorization", authorization)],
            b"",
        );
        assert_eq!(answer.status, status, "{authorization}");
    }
    server.stop();
    assert!(fs::metadata(server.data().join("runner.db")).is_ok());
}
