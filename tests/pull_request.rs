//! Pull requests that an independent GitHub tells of, tested by the project's own pipeline.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::support::doubles::{Emulate, OTHER};
use crate::support::github::{GitHub, TOKEN};
use crate::support::http::request;
use crate::support::server::Server;
use crate::support::servers::Sandbox;

/// A server that no other test uses at the same time; only the sandbox's images are wanted here.
const SERVER: u8 = 10;

const SECRET: &str = "a-secret-for-webhooks";

/// What a pull request that is curious adds to the pipeline.
const CURIOUS: &str = "      - run: 'echo \"secret [${{ secrets.DEPLOY_KEY }}] token [${{ secrets.GITHUB_TOKEN }}]\"'\n";

/// The only tests of most of these pull requests: the whole suite runs once.
const TEST: &str = "require \"test_helper\"\n\nclass ShortTest < ActiveSupport::TestCase\n  test \"short\" do\n    assert_equal 1, User.count + VALUE\n  end\nend\n";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {text}");
    text.trim().to_owned()
}

/// The application with its pipeline for pull requests, a server, and two doubles of GitHub.
struct Scene {
    server: Server,
    github: GitHub,
    emulate: Emulate,
    heads: Vec<String>,
}

impl Scene {
    fn new(emulate: Emulate) -> Self {
        let sandbox = Sandbox::up(&[SERVER]);
        let github = GitHub::start();
        let server = Server::new(&[]).polls("1h");
        let project = server.path().join("reportify");
        succeed(
            Command::new(root().join("fixtures/sandbox/project"))
                .arg(&project)
                .env("RUNNER_SANDBOX", sandbox.state()),
        );
        let pipelines = project.join("pipelines");
        fs::create_dir(&pipelines).unwrap();
        let file = "pull-request.yml";
        fs::copy(root().join("pipelines").join(file), pipelines.join(file)).unwrap();
        let server = server
            .configure(&github.configuration())
            .configure(
                "webhook-secrets = [{ env = \"WEBHOOK_TEST_SECRET\" }]\nforks = \"approve\"\nfork-image = \"host\"\n\
                 [repository.secrets]\nDEPLOY_KEY = { env = \"DEPLOY_TEST_KEY\" }\n\
                 [repository.vars]\nPOSTGRES_IMAGE = \"runner-sandbox/postgres:latest\"\n",
            )
            .configure_server("public-url = \"https://ci.example.com\"\n");
        let scene = Self {
            server,
            github,
            emulate,
            heads: Vec::new(),
        };
        let bare = scene.server.path().join("bare.git");
        scene.git(&["remote", "add", "origin", &bare.display().to_string()]);
        scene.commit("the application");
        scene.git(&["push", "-q", "-f", "origin", "main"]);
        scene.emulate.push(&scene.project());
        scene
    }

    fn project(&self) -> PathBuf {
        self.server.path().join("reportify")
    }

    fn git(&self, arguments: &[&str]) -> String {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=Tess", "-c", "user.email=t@example.com"]);
        succeed(git.args(arguments).current_dir(self.project()))
    }

    fn commit(&self, words: &str) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", words]);
    }

    /// Begins a branch of `main`.
    fn begin(&self, branch: &str) {
        self.git(&["checkout", "-q", "-b", branch, "main"]);
    }

    /// Leaves one test, which holds or does not.
    fn only_test(&self, holds: bool) {
        let tests = self.project().join("test");
        for entry in fs::read_dir(&tests).unwrap().flatten() {
            if entry.path().is_dir() {
                fs::remove_dir_all(entry.path()).unwrap();
            }
        }
        fs::create_dir(tests.join("models")).unwrap();
        let text = TEST.replace("VALUE", if holds { "1" } else { "2" });
        fs::write(tests.join("models/short_test.rb"), text).unwrap();
    }

    /// Adds a step to the pipeline that prints what it must not have.
    fn be_curious(&self) {
        let file = self.project().join("pipelines/pull-request.yml");
        let text = fs::read_to_string(&file).unwrap();
        let step = "      - run: bin/rails test\n";
        let curious = text.replacen(step, &format!("{CURIOUS}{step}"), 1);
        assert_ne!(curious, text);
        fs::write(file, curious).unwrap();
    }

    /// Gives the git server what GitHub has under the number of a pull request.
    fn push_head(&self, number: u64) {
        let head = format!("HEAD:refs/pull/{number}/head");
        self.git(&["push", "-q", "origin", &head]);
    }

    /// Opens a pull request of the branch that is checked out, and returns its commit.
    fn open(&mut self, number: u64, branch: &str) -> String {
        self.push_head(number);
        let sha = self.emulate.branch(&self.project(), branch);
        assert_eq!(self.emulate.pull_request(branch, branch), number);
        self.heads.push(sha.clone());
        sha
    }

    /// Waits for the end of a run, however long it takes.
    fn ended(&self, run: &str, code: i32) {
        self.server.wait_for("the run", || self.server.state(run));
        let output = self.server.run(&["runs", "watch", run]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
    }

    /// Waits until the last status of a commit is this one, and returns its states, each once.
    fn states(&self, sha: &str, last: &str) -> Vec<String> {
        let statuses = self.server.wait_for(last, || {
            let all = self.github.statuses(sha);
            (all.last()?.1 == last).then_some(all)
        });
        assert!(
            statuses
                .iter()
                .all(|status| status.0 == "Pull request (pull_request)"),
            "{statuses:?}"
        );
        let mut states: Vec<String> = statuses.into_iter().map(|status| status.1).collect();
        states.dedup();
        states
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for sha in &self.heads {
            let images = ["gems-", ""]
                .map(|begin| format!("registry.rs-development.net/reportify-api:{begin}{sha}"));
            drop(Command::new("docker").arg("rmi").args(images).output());
        }
    }
}

#[test]
fn pull_requests_are_tested_and_one_of_a_fork_gets_no_secret_and_waits_for_approval() {
    let Some(emulate) = Emulate::start("acme/demo") else {
        return;
    };
    let mut scene = Scene::new(emulate);
    scene.server.start_with(&[
        ("GITHUB_TEST_TOKEN", TOKEN),
        ("WEBHOOK_TEST_SECRET", SECRET),
        ("DEPLOY_TEST_KEY", "a-key-that-opens-everything"),
    ]);
    let address = scene.server.address();
    scene.emulate.deliver_to(&address, SECRET);

    scene.begin("green");
    scene.be_curious();
    scene.commit("a change");
    let green = scene.open(1, "green");
    scene.begin("red");
    scene.only_test(false);
    scene.commit("a change that is wrong");
    let red = scene.open(2, "red");
    scene.ended("1", 0);
    assert_eq!(scene.states(&green, "success"), ["pending", "success"]);
    // The same step sees them where the branch is the project's own.
    let log = scene.server.ask(&["runs", "logs", "1"]);
    assert!(log.contains("secret [***] token [***]"), "{log}");
    assert!(log.contains("0 failures, 0 errors"), "{log}");
    scene.ended("2", 10);
    assert_eq!(scene.states(&red, "failure"), ["pending", "failure"]);
    let last = scene.github.statuses(&red);
    assert_eq!(last.last().unwrap().2, "Failed: Test");

    of_a_fork(&mut scene, &address);
    scene.server.stop();
    assert_eq!(scene.server.ask(&["runs", "list"]).lines().count(), 3);
}

fn of_a_fork(scene: &mut Scene, address: &str) {
    let approver = scene
        .server
        .ask(&["token", "create", "approver", "--scope", "run"]);
    let approve = |commit: &str| {
        let bearer = format!("Bearer {}", approver.trim());
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
        ];
        let body = json!({ "commit": commit }).to_string();
        request(
            address,
            "POST",
            "/api/v1/runs/3/approve",
            &headers,
            body.as_bytes(),
        )
    };
    scene.begin("theirs");
    scene.be_curious();
    scene.only_test(true);
    scene.commit("a change of somebody else");
    scene.push_head(3);
    let project = scene.project();
    let head = scene
        .emulate
        .in_fork(|fork| fork.branch(&project, "theirs"));
    scene.heads.push(head.clone());
    let from = format!("{OTHER}:theirs");
    assert_eq!(scene.emulate.pull_request(&from, "theirs"), 3);
    scene.server.reached("3", "pending");
    let state = scene.server.state("3").unwrap();
    assert_eq!(state["awaits_approval"], true, "{state}");
    let elsewhere = approve("0123456789012345678901234567890123456789");
    assert_eq!(elsewhere.status, 409, "{elsewhere:?}");
    assert_eq!(scene.server.state("3").unwrap()["status"], "pending");
    assert_eq!(approve(&head).status, 202);
    scene.ended("3", 0);
    let state = scene.server.state("3").unwrap();
    assert_eq!(state["approved_by"], "approver", "{state}");
    assert_eq!(scene.states(&head, "success"), ["pending", "success"]);
    let log = scene.server.ask(&["runs", "logs", "3"]);
    assert!(log.contains("secret [] token []"), "{log}");
    assert!(log.contains("1 runs, 1 assertions, 0 failures"), "{log}");
}
