//! The API of a server: who may ask for what, and that it answers as it says of itself.

use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::support::http::{Answer, request};
use crate::support::server::{Server, WAIT_FOR_GO};

const CI: &str = "name: CI\non: [push, workflow_dispatch]\njobs:\n  test: { runs-on: ubuntu-latest, steps: [{ run: 'echo ::warning::careful; echo hello' }] }\n";

/// Makes a token as a person does.
fn token(server: &Server, name: &str, arguments: &[&str]) -> String {
    let made = server.ask(&[&["token", "create", name], arguments].concat());
    made.trim().to_owned()
}

fn ask(address: &str, method: &str, path: &str, token: &str, body: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let mut headers = Vec::new();
    if !token.is_empty() {
        headers.push(("Authorization", bearer.as_str()));
    }
    if !body.is_empty() {
        headers.push(("Content-Type", "application/json"));
    }
    request(address, method, path, &headers, body.as_bytes())
}

/// Returns the JSON of an answer that must be of this status.
fn json_of(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{answer:?}");
    serde_json::from_str(&answer.text).unwrap_or_else(|_| panic!("{answer:?}"))
}

/// Asserts that an answer is a problem of this status, and returns what it says.
fn problem(answer: &Answer, status: u16) -> String {
    let problem = json_of(answer, status);
    let head = answer.head.to_ascii_lowercase();
    assert!(head.contains("application/problem+json"), "{head}");
    assert_eq!(problem["status"], status);
    problem["detail"].as_str().unwrap().to_owned()
}

/// Tells what of a value is not as a schema of the description says.
fn misfit(document: &Value, schema: &Value, value: &Value) -> Option<String> {
    if let Some(pointer) = schema["$ref"].as_str() {
        let named = document.pointer(&pointer[1..]).unwrap();
        return misfit(document, named, value);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fits = |choice: &&Value| misfit(document, choice, value).is_none();
        let count = choices.iter().filter(fits).count();
        return (count != 1).then(|| format!("{value} fits {count} of {schema}"));
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is_allowed = match &schema["type"] {
        Value::String(only) => only == kind,
        Value::Array(kinds) => kinds.contains(&json!(kind)),
        _ => true,
    };
    let is_listed = schema["enum"]
        .as_array()
        .is_none_or(|list| list.contains(value));
    if !is_allowed || !is_listed {
        return Some(format!("{value} is not {schema}"));
    }
    if let Some(items) = value.as_array() {
        return items
            .iter()
            .find_map(|item| misfit(document, &schema["items"], item));
    }
    let object = value.as_object()?;
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    if let Some(name) = required
        .iter()
        .find(|name| !object.contains_key(name.as_str().unwrap()))
    {
        return Some(format!("{name} is not in {value}"));
    }
    object
        .iter()
        .find_map(|(name, part)| match schema["properties"].get(name) {
            Some(schema) => misfit(document, schema, part),
            None if schema["additionalProperties"] == false => Some(format!("{name} is not known")),
            None => None,
        })
}

#[test]
fn a_wrong_answer_is_seen() {
    let document = json!({"components": {"schemas": {"Word": {"type": "string", "enum": ["a"]}}}});
    let schema = json!({"type": "object", "required": ["x"], "additionalProperties": false,
        "properties": {"x": {"$ref": "#/components/schemas/Word"}, "y": {"type": ["integer", "null"]}}});
    let of = |value: Value| misfit(&document, &schema, &value);
    assert_eq!(of(json!({"x": "a", "y": null})), None);
    for wrong in [
        json!({}),
        json!({"x": "b"}),
        json!({"x": "a", "y": "1"}),
        json!({"x": "a", "z": 1}),
        json!([]),
    ] {
        assert!(of(wrong.clone()).is_some(), "{wrong}");
    }
}

#[test]
fn every_place_answers_as_the_description_says() {
    let mut server = Server::new(&[("ci.yml", CI)]).configure_server("");
    server.start();
    let address = server.address();
    let admin = token(&server, "me", &["--scope", "admin"]);
    let spare = token(&server, "spare", &[]);
    let spare_id = spare.split('_').nth(1).unwrap().to_owned();
    server.push("a title");
    server.ended("1");
    let document = json_of(&ask(&address, "GET", "/api/openapi.json", "", ""), 200);
    let bodies = [
        (
            "dispatchWorkflow",
            json!({"workflow": "ci.yml"}).to_string(),
        ),
        ("rerunRun", json!({"job": "test"}).to_string()),
    ];
    let mut asked = 0;
    let mut operations: Vec<(&str, &str, &Value)> = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if method != "parameters" {
                operations.push((method, path, operation));
            }
        }
    }
    // What changes something comes last; a run that ended cannot be cancelled or approved.
    operations.sort_by_key(|(method, ..)| *method != "get");
    for (method, path, operation) in operations {
        let id = operation["operationId"].as_str().unwrap();
        if id == "streamLog" {
            continue;
        }
        let full = path
            .replace("{run}", "1")
            .replace("{job}", "0")
            .replace("{owner}/{name}", "acme/demo")
            .replace("{token}", &spare_id);
        let body = bodies.iter().find(|(of, _)| *of == id);
        let body = body.map_or("", |(_, body)| body.as_str());
        let answer = ask(&address, &method.to_uppercase(), &full, &admin, body);
        let described = &operation["responses"][answer.status.to_string()];
        assert!(described.is_object(), "{id}: {answer:?}");
        let is_expected = answer.status < 300
            || (["cancelRun", "approveRun"].contains(&id) && answer.status == 409);
        assert!(is_expected, "{id}: {answer:?}");
        if answer.status < 300
            && let Some(schema) = described["content"]["application/json"].get("schema")
        {
            let value: Value = serde_json::from_str(&answer.text).unwrap();
            assert_eq!(misfit(&document, schema, &value), None, "{id}: {value}");
        }
        asked += 1;
        if operation["security"][0]["token"].is_array() {
            // Nobody may ask that without a token, since there is one of an administrator.
            let nobody = ask(&address, &method.to_uppercase(), &full, "", body);
            problem(&nobody, 401);
            assert!(
                nobody
                    .head
                    .to_lowercase()
                    .contains("www-authenticate: bearer")
            );
        }
    }
    assert_eq!(asked, 14);
    let shown = json_of(&ask(&address, "GET", "/api/v1/runs/1", &admin, ""), 200);
    assert_eq!(shown["title"], "a title");
    assert_eq!(shown["jobs"][0]["name"], "test");
    server.stop();
}

#[test]
fn a_run_is_started_cancelled_and_run_again_by_who_may_do_it() {
    let mut server = Server::new(&[]).configure_server("");
    let text = format!(
        "on: workflow_dispatch\njobs:\n  wait:\n    runs-on: ubuntu-latest\n    env: {{ HOLD: '{}' }}\n    steps: [{{ run: '{WAIT_FOR_GO}' }}]\n",
        server.path().display()
    );
    server.write("tree/pipelines/held.yml", &text);
    server.push("the workflow");
    server.start();
    let address = server.address();
    let [reader, doer] = [("reader", "read"), ("doer", "run")]
        .map(|(name, scope)| token(&server, name, &["--scope", scope]));
    let dispatches = "/api/v1/repositories/Acme/Demo/dispatches";
    let wanted = json!({"workflow": "held.yml", "ref": "main"}).to_string();
    let said = problem(&ask(&address, "POST", dispatches, &reader, &wanted), 403);
    assert!(
        said.contains("allows `read`, and this wants `run`"),
        "{said}"
    );
    problem(&ask(&address, "POST", dispatches, "", &wanted), 401);
    // A password is what a browser sends by itself: enough to look, not to do.
    let basic = {
        use base64::Engine as _;
        let both = format!("x:{doer}");
        format!(
            "Basic {}",
            base64::engine::general_purpose::STANDARD.encode(both)
        )
    };
    let by_password = |method: &str, path: &str| {
        request(&address, method, path, &[("Authorization", &basic)], b"").status
    };
    assert_eq!(by_password("GET", "/api/v1/runs"), 200);
    assert_eq!(by_password("POST", dispatches), 401);
    assert_eq!(server.ask(&["runs", "list"]), "");
    let started = json_of(&ask(&address, "POST", dispatches, &doer, &wanted), 201);
    assert_eq!(started["runs"], json!(["1"]));
    server.reached("1", "in_progress");
    assert_eq!(server.state("1").unwrap()["actor"], "doer");
    assert_eq!(
        ask(&address, "POST", "/api/v1/runs/1/cancel", &doer, "").status,
        202
    );
    assert_eq!(server.ended("1")["conclusion"], "cancelled");
    let again = ask(&address, "POST", "/api/v1/runs/1/cancel", &doer, "");
    assert!(problem(&again, 409).contains("has ended"));
    server.go();
    let rerun = |body: Value| {
        ask(
            &address,
            "POST",
            "/api/v1/runs/1/rerun",
            &doer,
            &body.to_string(),
        )
    };
    assert!(problem(&rerun(json!({"job": "none"})), 409).contains("has no such job"));
    problem(&rerun(json!({"job": "wait", "failed": true})), 400);
    let started = json_of(&rerun(json!({"failed": true})), 202);
    assert_eq!(started["attempt"], 2);
    server.wait_for("the second attempt", || {
        let state = server.state("1")?;
        (state["conclusion"] == "success").then_some(())
    });
    refuses_wrong_dispatches(&address, &doer);
    server.stop();
}

/// Asserts that what cannot be started is refused with words that say why.
fn refuses_wrong_dispatches(address: &str, doer: &str) {
    let dispatches = "/api/v1/repositories/acme/demo/dispatches";
    let wanted = json!({"workflow": "held.yml"}).to_string();
    for (body, status, expected) in [
        (
            json!({"workflow": "none.yml"}),
            422,
            "no workflow `none.yml`",
        ),
        (
            json!({"workflow": "held.yml", "ref": "gone"}),
            422,
            "no branch or tag `gone`",
        ),
        (
            json!({"workflow": "held.yml", "inputs": {"x": "y"}}),
            422,
            "x",
        ),
        (
            json!({"workflow": "held.yml", "more": 1}),
            400,
            "unknown field `more`",
        ),
        (json!({}), 400, "`workflow` is wanted"),
    ] {
        let said = problem(
            &ask(address, "POST", dispatches, doer, &body.to_string()),
            status,
        );
        assert!(said.contains(expected), "{said}");
    }
    let elsewhere = "/api/v1/repositories/eve/other/dispatches";
    let said = problem(&ask(address, "POST", elsewhere, doer, &wanted), 404);
    assert!(said.contains("`eve/other` is not watched"), "{said}");
}

#[test]
fn runs_come_in_pages_and_by_what_they_are() {
    let mut server = Server::new(&[("ci.yml", CI)]).configure_server("");
    server.start();
    let address = server.address();
    server.push("one");
    server.ended("1");
    server.push("two");
    server.ended("2");
    server.git(&["push", "-q", "origin", "HEAD:refs/heads/other"]);
    server.ended("3");
    let runs = |filter: &str| {
        let answer = ask(&address, "GET", &format!("/api/v1/runs?{filter}"), "", "");
        let page = json_of(&answer, 200);
        let ids: Vec<String> = page["runs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|run| run["id"].as_str().unwrap().to_owned())
            .collect();
        (ids.join(" "), page["next"].clone())
    };
    assert_eq!(runs("limit=2"), ("3 2".to_owned(), json!("2")));
    assert_eq!(runs("limit=2&before=2"), ("1".to_owned(), Value::Null));
    assert_eq!(runs("limit=3"), ("3 2 1".to_owned(), Value::Null));
    for (filter, expected) in [
        ("branch=other", "3"),
        ("branch=main&conclusion=success", "2 1"),
        ("workflow=ci.yml&repository=acme%2Fdemo&event=push", "3 2 1"),
        ("workflow=CI", "3 2 1"),
        ("workflow=other", ""),
        ("status=queued", ""),
        ("conclusion=failure", ""),
        ("repository=acme%2Fother", ""),
    ] {
        assert_eq!(runs(filter).0, expected, "{filter}");
    }
    for (filter, expected) in [
        ("limit=0", "`limit` is 1 to 100"),
        ("limit=101", "`limit` is 1 to 100"),
        ("status=sad", "`status` cannot be `sad`"),
        ("colour=red", "unknown field `colour`"),
        ("before=x", "`before` is the number of a run"),
    ] {
        let answer = ask(&address, "GET", &format!("/api/v1/runs?{filter}"), "", "");
        let said = problem(&answer, 400);
        assert!(said.contains(expected), "{said}");
    }
    server.stop();
}

#[test]
fn tokens_count_until_they_end_and_stand_nowhere() {
    let mut server = Server::new(&[]).configure_server("");
    server.start();
    let address = server.address();
    let see = |token: &str| ask(&address, "GET", "/api/v1/runs", token, "").status;
    assert_eq!(
        see(""),
        200,
        "this machine may look as long as nobody is asked"
    );
    let admin = token(&server, "me", &["--scope", "admin", "--expires", "never"]);
    assert_eq!(see(""), 401);
    assert_eq!(see(&admin), 200);
    let short = token(&server, "short", &["--expires", "1ms"]);
    let long = token(&server, "long", &[]);
    assert_eq!(see(&short), 401);
    assert_eq!(see(&long), 200);
    for wrong in [
        format!("{long}0"),
        long[..long.len() - 1].to_owned(),
        long.replace("runner_", ""),
        "runner_x_y".to_owned(),
        "runner__".to_owned(),
    ] {
        assert_eq!(see(&wrong), 401, "{wrong}");
    }
    let list = server.ask(&["token", "list"]);
    let line = |name: &str| list.lines().find(|line| line.ends_with(name)).unwrap();
    assert!(line("short").contains("expired"), "{list}");
    assert!(
        line("long").contains("counts") && line("long").contains("read"),
        "{list}"
    );
    let twice = server.run(&["token", "create", "long"]);
    assert_eq!(twice.status.code(), Some(2), "{twice:?}");
    let wrong = server.run(&["token", "create", "x", "--expires", "soon"]);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    server.ask(&["token", "revoke", "long"]);
    assert_eq!(see(&long), 401);
    assert_eq!(
        server.run(&["token", "revoke", "long"]).status.code(),
        Some(2)
    );
    // The last administrator that goes opens nothing again.
    let id = admin.split('_').nth(1).unwrap();
    let path = format!("/api/v1/tokens/{id}");
    assert_eq!(ask(&address, "DELETE", &path, &admin, "").status, 204);
    assert_eq!(see(&admin), 401);
    assert_eq!(see(""), 401);
    server.stop();
    let kept = server.everything_kept();
    for token in [&admin, &short, &long] {
        let secret = token.rsplit('_').next().unwrap().as_bytes();
        assert!(!kept.windows(secret.len()).any(|window| window == secret));
    }
}

#[test]
fn nobody_else_can_ask_before_there_is_an_administrator() {
    let server = Server::new(&[("ci.yml", CI)]).configure_server("");
    drop(server.command(&[]));
    let config = std::fs::read_to_string(server.path().join("runner.toml")).unwrap();
    server.write("public.toml", &config.replace("127.0.0.1:0", "0.0.0.0:0"));
    let serve = ["serve", "--config", "public.toml"];
    let refused: Output = server.run(&serve);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("no token of an administrator"), "{said}");
    assert!(
        said.contains("runner token create NAME --scope admin"),
        "{said}"
    );
    token(&server, "reader", &["--scope", "run"]);
    assert_eq!(server.run(&serve).status.code(), Some(3));
    let admin = token(&server, "me", &["--scope", "admin"]);
    let log = std::fs::File::create(server.path().join("serve.log")).unwrap();
    let mut child = server
        .command(&serve)
        .stderr(log)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let address = server.address().replace("0.0.0.0", "127.0.0.1");
    let statuses = ["", &admin].map(|token| ask(&address, "GET", "/", token, "").status);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(statuses, [401, 200]);
}

#[test]
fn what_is_malformed_is_refused_and_nothing_outside_is_read() {
    let mut server = Server::new(&[("ci.yml", CI)]).configure_server("");
    server.start();
    let address = server.address();
    server.push("go");
    server.ended("1");
    let doer = token(&server, "doer", &["--scope", "run"]);
    for path in [
        "/api/v1/runs/..%2f..%2f..%2fetc%2fpasswd",
        "/api/v1/runs/%2e%2e/jobs/0/log",
        "/api/v1/runs/1/jobs/..%2f..%2f1/log.txt",
        "/api/v1/runs/1/jobs/9/log",
        "/api/v1/runs/1/jobs/-1/log",
        "/api/v1/runs/-1",
        "/api/v1/runs/99999999999999999999",
        "/api/v1/runs/%ff%fe",
        "/api/v1/nothing",
        "/api/v1/runs/1/../../../../etc/passwd",
    ] {
        let said = problem(&ask(&address, "GET", path, "", ""), 404);
        assert!(!said.contains("root:"), "{said}");
    }
    for path in [
        "/assets/..%2f..%2fetc%2fpasswd",
        "/assets/%2e%2e",
        "/runs/..%2f..%2fetc%2fpasswd",
        "/badges/acme/other/ci.yml/badge.svg",
    ] {
        let answer = ask(&address, "GET", path, "", "");
        assert_eq!(answer.status, 404, "{path}: {answer:?}");
        assert!(!answer.text.contains("root:"), "{path}");
    }
    for query in [
        "after=x",
        "after=1-",
        "after=1-99999999",
        "limit=0",
        "limit=x",
        "x=1",
    ] {
        let path = format!("/api/v1/runs/1/jobs/0/log?{query}");
        problem(&ask(&address, "GET", &path, "", ""), 400);
    }
    problem(&ask(&address, "PUT", "/api/v1/runs/1", &doer, "{}"), 405);
    let rerun = "/api/v1/runs/1/rerun";
    for (body, status) in [("{", 400), ("[1]", 400), ("{\"failed\": 3}", 400)] {
        problem(&ask(&address, "POST", rerun, &doer, body), status);
    }
    let bearer = format!("Bearer {doer}");
    let form = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "text/plain"),
    ];
    problem(&request(&address, "POST", rerun, &form, b"{}"), 415);
    let large = vec![b' '; 200 * 1024];
    let json = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
    ];
    problem(&request(&address, "POST", rerun, &json, &large), 413);
    // A page of somebody else that calls this machine by another name is not this machine.
    let foreign = [("X-Forwarded-For", "192.0.2.1")];
    problem(
        &request(&address, "GET", "/api/v1/runs", &foreign, b""),
        403,
    );
    let state = server.state("1").unwrap();
    assert_eq!(state["attempt"], 1, "{state}");
    server.stop();
}

#[test]
fn figures_and_badges_say_how_runs_ended() {
    let red = CI.replace("echo hello", "test ! -e red");
    let red = red.replace("steps: [", "steps: [{ uses: actions/checkout@v4 }, ");
    let mut server = Server::new(&[("ci.yml", &red)]).configure_server("public-badges = true\n");
    server.start();
    let address = server.address();
    let badge = |query: &str| {
        let path = format!("/badges/acme/demo/ci.yml/badge.svg{query}");
        let answer = ask(&address, "GET", &path, "", "");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.head.contains("image/svg+xml"), "{}", answer.head);
        answer.text
    };
    assert!(badge("").contains("ci.yml: no status"));
    server.push("good");
    server.ended("1");
    assert!(badge("").contains("CI: passing"));
    server.write("tree/red", "");
    server.push("bad");
    server.ended("2");
    assert!(badge("").contains("CI: failing"));
    assert!(badge("?branch=other").contains("no status"));
    let metrics = |token: &str| ask(&address, "GET", "/metrics", token, "");
    let figures = server.wait_for("the figures of both jobs", || {
        let text = metrics("").text;
        let line = "runner_job_seconds_count{repository=\"acme/demo\",conclusion=\"failure\"} 1";
        text.contains(line).then_some(text)
    });
    for line in [
        "# TYPE runner_runs gauge",
        "runner_runs{state=\"success\"} 1",
        "runner_runs{state=\"failure\"} 1",
        "# TYPE runner_job_seconds histogram",
        "runner_job_seconds_count{repository=\"acme/demo\",conclusion=\"success\"} 1",
        "runner_queue_length 0",
        "runner_leases_lapsed 0",
        "runner_outbox_age_seconds 0",
    ] {
        assert!(figures.contains(line), "{line}\n{figures}");
    }
    let admin = token(&server, "me", &["--scope", "admin"]);
    assert_eq!(metrics("").status, 401);
    assert_eq!(metrics(&admin).status, 200);
    assert!(badge("").contains("failing"), "everybody may see it");
    server.stop();
}
