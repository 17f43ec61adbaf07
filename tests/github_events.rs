//! What GitHub tells: deliveries that were missed, events beside pushes, workflows that filters shut
//! out; and runs that are started by hand.

use serde_json::{Value, json};

use crate::support::app::{APP, AppKey};
use crate::support::doubles::Emulate;
use crate::support::github::{Fault, GitHub, TOKEN};
use crate::support::process::Test;
use crate::support::server::Server;

const SECRET: &str = "a-secret-for-webhooks";

const CI: &str =
    "name: CI\non: push\njobs:\n  test: { runs-on: ubuntu-latest, steps: [{ run: echo }] }\n";

fn env() -> [(&'static str, &'static str); 2] {
    [
        ("GITHUB_TEST_TOKEN", TOKEN),
        ("WEBHOOK_TEST_SECRET", SECRET),
    ]
}

/// A server that hears of events by webhook alone, and asks all the time for those that it missed.
fn hooked(github: &GitHub, workflows: &[(&str, &str)], more: &str) -> Server {
    Server::new(workflows)
        .polls("1h")
        .configure(&github.configuration())
        .configure(&format!(
            "webhook-secrets = [{{ env = \"WEBHOOK_TEST_SECRET\" }}]\n{more}"
        ))
        .configure_server(
            "public-url = \"https://ci.example.com\"\nmissed-deliveries = \"100ms\"\n",
        )
}

/// Waits until deliveries were asked for once more, from the beginning.
fn asked_again(server: &Server, github: &GitHub) {
    let before = github.asked_for_deliveries();
    server.wait_for("another look at deliveries", || {
        (github.asked_for_deliveries() > before + 4).then_some(())
    });
}

fn push_payload(before: &str, after: &str) -> Value {
    json!({"ref": "refs/heads/main", "before": before, "after": after, "repository": {"full_name": "acme/demo"},
        "head_commit": {"id": after, "message": "a commit"}, "pusher": {"name": "Tess"}, "sender": {"login": "tess"}})
}

fn last_state(github: &GitHub, sha: &str) -> Option<String> {
    github.statuses(sha).last().map(|status| status.1.clone())
}

/// The story of a push whose delivery did not arrive, with all that a token is used for.
fn story(github: &GitHub) {
    let deploy = "name: Deploy\non: push\njobs:\n  deploy:\n    runs-on: ubuntu-latest\n    environment: { name: production, url: 'https://example.com' }\n    steps: [{ uses: actions/checkout@v4 }, { run: test ! -e red }]\n";
    github.add_hook("https://ci.example.com/webhooks/github");
    github.add_hook("https://elsewhere.example.com/");
    let before = push_payload("1", "2");
    github.add_delivery("before-the-server-was-there", "push", &before, 60);
    let mut server = hooked(github, &[("deploy.yml", deploy)], "");
    server.start_with(&env());
    asked_again(&server, github);
    let mut shas = Vec::new();
    for (number, name) in ["one", "two", "red"].into_iter().enumerate() {
        let before = server.git(&["rev-parse", "HEAD"]);
        server.write(&format!("tree/{name}"), "");
        let after = server.push(name);
        let guid = format!("guid-{number}");
        let payload = push_payload(&before, &after);
        // It was tried twice, and a look finds both; other deliveries lie on pages before it.
        for _ in 0..2 {
            github.add_delivery(&guid, "push", &payload, 0);
        }
        github.add_delivery(&format!("ping-{number}"), "ping", &payload, 0);
        server.ended(&(number + 1).to_string());
        shas.push(after);
    }
    for (sha, state) in shas.iter().zip(["success", "success", "failure"]) {
        server.wait_for("the states of the commits", || {
            (last_state(github, sha)? == state).then_some(())
        });
    }
    server.wait_for("the states of the deployments", || {
        let states = github.deployment_states();
        ["1 inactive", "2 success", "3 failure"]
            .iter()
            .all(|state| states.contains(&(*state).to_owned()))
            .then_some(())
    });
    asked_again(&server, github);
    server.stop();
    assert_eq!(server.ask(&["runs", "list"]).lines().count(), 3);
}

#[test]
fn a_delivery_that_did_not_arrive_is_fetched_and_runs_once() {
    story(&GitHub::start());
}

#[test]
fn every_request_with_a_token_is_one_that_github_s_openapi_knows() {
    let Some(github) = GitHub::checked(None) else {
        return;
    };
    story(&github);
    by_hand(&github);
    let objections = github.objections();
    assert!(objections.is_empty(), "{objections:#?}");
    let told = github.told().len();
    assert!(told > 12, "{told}");
}

#[test]
fn what_github_s_openapi_does_not_know_is_really_seen() {
    let Some(github) = GitHub::checked(None) else {
        return;
    };
    let address = github.url().replace("http://", "");
    let headers = [("Authorization", format!("Bearer {TOKEN}"))];
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let ask = |body: &str| {
        let path = "/repos/acme/demo/statuses/abc";
        crate::support::http::request(&address, "POST", path, &headers, body.as_bytes()).status
    };
    assert_eq!(ask("{\"state\": \"success\"}"), 201);
    assert_eq!(ask("{\"state\": \"running\"}"), 422);
    let objections = github.objections();
    assert!(
        objections.len() == 1 && objections[0].contains("must be equal to one of"),
        "{objections:?}"
    );
}

#[test]
fn deliveries_of_an_app_s_webhook_are_fetched_in_its_own_name() {
    let key = AppKey::new();
    let pem = key.pem();
    let github = GitHub::of_app(key);
    let mut server = Server::new(&[("ci.yml", CI)])
        .polls("1h")
        .configure_server(&format!(
            "missed-deliveries = \"100ms\"\n[github-app]\nid = {APP}\nprivate-key = {{ file = \"app.pem\" }}\napi = \"{}\"\n",
            github.url()
        ));
    server.write("app.pem", &pem);
    server.start_with(&[]);
    asked_again(&server, &github);
    let before = server.git(&["rev-parse", "HEAD"]);
    let after = server.push("a commit");
    github.add_delivery("guid", "push", &push_payload(&before, &after), 0);
    assert_eq!(server.ended("1")["sha"], after.as_str());
    server.stop();
}

#[test]
fn each_event_runs_the_workflows_that_are_on_it_with_its_own_ref_and_commit() {
    let github = GitHub::start();
    github.add_hook("https://ci.example.com/webhooks/github");
    let text = |on: &str| {
        format!(
            "name: {on}\non: {on}\njobs:\n  test: {{ runs-on: ubuntu-latest, steps: [{{ run: 'echo \"<${{{{ github.ref }}}}> <${{{{ github.sha }}}}>\"' }}] }}\n"
        )
    };
    let names = [
        "release",
        "repository_dispatch",
        "merge_group",
        "deployment",
    ];
    let texts: Vec<(String, String)> = names
        .iter()
        .map(|name| (format!("{name}.yml"), text(name)))
        .collect();
    let workflows: Vec<(&str, &str)> = texts
        .iter()
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    let mut server = hooked(&github, &workflows, "");
    let old = server.git(&["rev-parse", "HEAD"]);
    server.git(&["tag", "v1"]);
    server.git(&["push", "-q", "origin", "v1"]);
    let queue = "gh-readonly-queue/main/pr-1";
    server.git(&["push", "-q", "origin", &format!("HEAD:refs/heads/{queue}")]);
    let new = server.push("newer");
    server.start_with(&env());
    asked_again(&server, &github);
    let with = |mut payload: Value| {
        payload["repository"] = json!({"full_name": "acme/demo"});
        payload["sender"] = json!({"login": "tess"});
        payload
    };
    let events = [
        (
            "release",
            json!({"action": "published", "release": {"tag_name": "v1"}}),
            "refs/tags/v1",
            &old,
        ),
        (
            "repository_dispatch",
            json!({"action": "rebuild", "branch": "main", "client_payload": {}}),
            "refs/heads/main",
            &new,
        ),
        (
            "merge_group",
            json!({"action": "checks_requested", "merge_group": {"head_sha": old,
                "head_ref": format!("refs/heads/{queue}"), "base_ref": "refs/heads/main"}}),
            "refs/heads/gh-readonly-queue/main/pr-1",
            &old,
        ),
        (
            "deployment",
            json!({"action": "created", "deployment": {"ref": "v1", "sha": old, "environment": "production"}}),
            "refs/tags/v1",
            &old,
        ),
    ];
    for (number, (name, payload, git_ref, sha)) in events.into_iter().enumerate() {
        github.add_delivery(&format!("guid {name}"), name, &with(payload), 0);
        let run = (number + 1).to_string();
        let state = server.ended(&run);
        assert_eq!(
            [
                &state["name"],
                &state["event"],
                &state["ref"],
                &state["sha"]
            ],
            [name, name, git_ref, sha]
        );
        let logs = server.ask(&["runs", "logs", &run]);
        assert!(logs.contains(&format!("<{git_ref}> <{sha}>")), "{logs}");
    }
    server.stop();
}

#[test]
fn the_end_of_a_run_runs_what_waits_for_it_and_no_more_than_three_times_over() {
    let after = "name: After\non: { workflow_run: { workflows: [CI], types: [completed], branches: [main] } }\njobs:\n  test: { runs-on: ubuntu-latest, steps: [{ run: 'echo \"<${{ github.event.workflow_run.conclusion }}> <${{ github.event.workflow_run.id }}>\"' }] }\n";
    let again = "name: Again\non: { workflow_run: { workflows: [After, Again], types: [completed] } }\njobs:\n  test: { runs-on: ubuntu-latest, steps: [{ run: echo }] }\n";
    let never = "name: Never\non: { workflow_run: { workflows: [CI], types: [completed], branches: [other] } }\njobs:\n  test: { runs-on: ubuntu-latest, steps: [{ run: echo }] }\n";
    let mut server = Server::new(&[
        ("ci.yml", CI),
        ("after.yml", after),
        ("again.yml", again),
        ("never.yml", never),
    ]);
    server.start();
    server.push("a commit");
    assert_eq!(server.ended("2")["name"], "After");
    let logs = server.ask(&["runs", "logs", "2"]);
    assert!(logs.contains("<success> <1>"), "{logs}");
    assert_eq!(server.ended("3")["name"], "Again");
    assert_eq!(server.ended("4")["name"], "Again");
    // A push that comes later has the next number: nothing ran in between.
    server.push("another commit");
    assert_eq!(server.ended("5")["name"], "CI");
    server.stop();
}

#[test]
fn a_workflow_that_a_filter_shut_out_is_shown_as_successful_where_that_is_wanted() {
    let github = GitHub::start();
    let paths = "name: Docs\non: { push: { paths: [docs/**] } }\njobs:\n  test: { runs-on: ubuntu-latest, steps: [{ run: exit 1 }] }\n";
    let other = "name: Release\non: release\njobs:\n  test: { runs-on: ubuntu-latest, steps: [{ run: echo }] }\n";
    let workflows = [("docs.yml", paths), ("release.yml", other), ("ci.yml", CI)];
    for is_wanted in [true, false] {
        let mut server = Server::new(&workflows)
            .configure(&github.configuration())
            .configure(&format!("report-skipped = {is_wanted}\n"));
        server.start_with(&env());
        let sha = server.push(if is_wanted { "wanted" } else { "not wanted" });
        server.ended("1");
        server.wait_for("the status of CI", || {
            let all = github.statuses(&sha);
            all.iter()
                .any(|status| status.0 == "CI (push)" && status.1 == "success")
                .then_some(())
        });
        server.stop();
        let mut others = github.statuses(&sha);
        others.retain(|status| status.0 != "CI (push)");
        if is_wanted {
            let words = "Skipped: no changed file is let in by `paths`";
            let skipped = ("Docs (push)".to_owned(), "success".to_owned());
            assert_eq!(others.len(), 1, "{others:?}");
            assert_eq!((others[0].0.clone(), others[0].1.clone()), skipped);
            assert!(others[0].2.starts_with("Skipped: "), "{words} {others:?}");
        } else {
            assert_eq!(others, []);
        }
    }
}

/// A run that is started by hand, and shown beside its commit.
fn by_hand(github: &GitHub) {
    let text = "name: CI\non: push\njobs:\n  test: { runs-on: ubuntu-latest, steps: [{ run: 'test \"$RED\" != yes' }] }\n";
    let test = Test::new().workflow(text).commit();
    let origin = "https://github.com/acme/demo.git";
    test.git(&["remote", "add", "origin", origin]);
    let sha = test.git(&["rev-parse", "HEAD"]);
    let url = github.url();
    let run = |more: &[&str]| {
        let mut command = test.command();
        command
            .args(["run", "w.yml", "--report", "github"])
            .args(more)
            .env("GITHUB_TOKEN", TOKEN)
            .env("GITHUB_API_URL", &url);
        command.output().unwrap()
    };
    assert_eq!(run(&[]).status.code(), Some(0));
    assert_eq!(run(&["--env", "RED=yes"]).status.code(), Some(10));
    let states: Vec<String> = github
        .statuses(&sha)
        .into_iter()
        .map(|(context, state, description)| format!("{context} {state} {description}"))
        .collect();
    assert_eq!(
        states,
        [
            "CI (push) pending In progress",
            "CI (push) success Successful",
            "CI (push) pending In progress",
            "CI (push) failure Failed"
        ]
    );
    // GitHub that does not answer fails nothing, and it is said.
    github.fail(&[Fault::Status(401, "Bad credentials", None), Fault::Garbage]);
    let output = run(&[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains("warning: GitHub does not show how the run ended: 401: Bad credentials"),
        "{said}"
    );
    let without = test
        .command()
        .args(["run", "w.yml", "--report", "github"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&without.stderr).into_owned();
    assert_eq!(without.status.code(), Some(2), "{said}");
    assert!(said.contains("there is no `GITHUB_TOKEN`"), "{said}");
}

#[test]
fn a_run_that_is_started_by_hand_is_shown_beside_its_commit() {
    by_hand(&GitHub::start());
}

#[test]
fn whatever_github_answers_no_post_is_lost_and_none_is_left_pending() {
    let github = GitHub::start();
    let text = "name: CI\non: push\njobs:\n  test: { runs-on: ubuntu-latest, environment: production, steps: [{ run: echo }] }\n";
    let mut server = Server::new(&[("ci.yml", text)]).configure(&github.configuration());
    server.start_with(&env());
    github.fail(&[
        Fault::Status(500, "Oops", None),
        Fault::HalfBody,
        Fault::Status(502, "<html>Bad gateway</html>", None),
        Fault::Garbage,
        Fault::HalfBody,
        Fault::Status(403, "API rate limit exceeded", Some(1)),
        Fault::Slow(std::time::Duration::from_secs(2)),
        Fault::Status(429, "Too many requests", Some(1)),
        Fault::HalfBody,
    ]);
    let mut shas = Vec::new();
    for run in 1..=3 {
        shas.push(server.push("a commit"));
        server.ended(&run.to_string());
    }
    for sha in &shas {
        server.wait_for("the state of a commit", || {
            (last_state(&github, sha)? == "success").then_some(())
        });
    }
    server.wait_for("the states of the deployments", || {
        let states = github.deployment_states();
        // The deployment of an earlier run may be made after that of a later one.
        let last = |run: usize| {
            let all = github.deployments();
            let words = format!("Run {run}");
            let made = all.iter().find(|made| made["description"] == words)?;
            let of = format!("{} ", made["id"]);
            let mut states = states.iter().filter_map(|state| state.strip_prefix(&of));
            states.next_back()
        };
        ([last(1)?, last(2)?, last(3)?] == ["inactive", "inactive", "success"]).then_some(())
    });
    // An answer that was lost is no reason to make another deployment.
    assert_eq!(github.deployments().len(), 3);
    assert!(github.refused() >= 8, "{}", github.refused());
    server.stop();
}

#[test]
fn webhooks_that_an_independent_github_signs_run_what_was_pushed_and_released() {
    let Some(emulate) = Emulate::start("acme/demo") else {
        return;
    };
    let github = GitHub::start();
    let release = "name: Release\non: release\njobs:\n  test: { runs-on: ubuntu-latest, steps: [{ run: echo }] }\n";
    let mut server = Server::new(&[("ci.yml", CI), ("release.yml", release)])
        .polls("1h")
        .configure(&github.configuration())
        .configure("webhook-secrets = [{ env = \"WEBHOOK_TEST_SECRET\" }]\n")
        .configure_server("");
    server.start_with(&env());
    emulate.deliver_to(&server.address(), SECRET);
    server.push("a commit");
    let sha = emulate.push(&server.path().join("tree"));
    let state = server.ended("1");
    assert_eq!(
        [&state["name"], &state["sha"], &state["actor"]],
        ["CI", sha.as_str(), "acme"]
    );
    server.wait_for("the status", || {
        (last_state(&github, &sha)? == "success").then_some(())
    });
    server.git(&["tag", "v1"]);
    server.git(&["push", "-q", "origin", "v1"]);
    emulate.release("v1");
    let state = server.ended("2");
    assert_eq!(
        [&state["name"], &state["ref"], &state["sha"]],
        ["Release", "refs/tags/v1", sha.as_str()]
    );
    server.stop();
    assert_eq!(server.ask(&["runs", "list"]).lines().count(), 2);
}
