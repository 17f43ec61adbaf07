//! Deploys whose job is killed by force: what is recorded and told is what the servers tell, and
//! what was open there is ended.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use runner::{deploy, release::from_kamal};
use serde_json::Value;

use crate::support::github::{GitHub, TOKEN as GITHUB_TOKEN};
use crate::support::machines::Machines;
use crate::support::postgres::Postgres;
use crate::support::project::{TOKEN, X_RUNNER, address, config, deploy_yml, settings, spec};
use crate::support::server::Server;
use crate::support::servers::Sandbox;

/// Servers that no other test uses: each test here has one.
const SERVER: u8 = 11;
const OTHER: u8 = 12;

/// Longer than a release that is stopped takes that still answers a request.
const DRAIN: &str = "drain_timeout: 60";

/// `config/deploy.yml` for a server.
fn configuration(server: u8) -> String {
    deploy_yml(&[server], X_RUNNER).replace("drain_timeout: 10", DRAIN)
}

/// Starts the proxy, as `runner setup` does.
async fn set_up(sandbox: &Sandbox, server: u8) {
    sandbox.clean(server);
    let settings = settings(sandbox);
    let config = config(&configuration(server));
    let look = deploy::look(&spec(&config, "v1"), &settings).await;
    for proxy in from_kamal::proxies(&config, None).unwrap() {
        let host = look.fleet.host(&proxy.container.host).unwrap();
        host.boot_proxy(&proxy, &settings, false).await.unwrap();
    }
}

/// A workflow that deploys a version, and waits twice: before it promotes it and after that.
fn workflow(version: &str, on: &str, hold: &Path) -> String {
    let wait = |name: &str| {
        let file = hold.join(format!("go-{name}"));
        format!(
            "      - run: |\n          echo waits-{name}\n          for i in $(seq 1 1200); do if [ -e {} ]; then exit 0; fi; sleep 0.1; done; exit 9\n",
            file.display()
        )
    };
    format!(
        "name: deploy\non: {on}\nconcurrency: production\njobs:\n  deploy:\n    runs-on: ubuntu-latest\n    environment: production\n    steps:\n      - uses: actions/checkout@v4\n      - uses: runner/ssh-deploy@v1\n        with: {{ version: {version} }}\n      - uses: runner/health-check@v1\n{}      - uses: runner/promote@v1\n{}",
        wait("before"),
        wait("after"),
    )
}

/// Writes the secrets of the project into a folder that is in no commit.
fn write_secrets(sandbox: &Sandbox, folder: &Path) {
    fs::create_dir_all(folder.join(".kamal")).unwrap();
    let cat = |name: &str| format!("$(cat {})", sandbox.value(name));
    let secrets = format!(
        "TLS_CERTIFICATE={}\nTLS_PRIVATE_KEY={}\nREGISTRY_PASSWORD={}\nTOKEN={TOKEN}\n",
        cat("SANDBOX_TLS_CERTIFICATE"),
        cat("SANDBOX_TLS_KEY"),
        cat("SANDBOX_REGISTRY_PASSWORD_FILE"),
    );
    fs::write(folder.join(".kamal/secrets"), secrets).unwrap();
}

/// What a server says of its deploys.
struct Host {
    sandbox: &'static Sandbox,
    server: u8,
}

impl Host {
    /// Which releases run, and which one requests get.
    fn running(&self) -> String {
        let list =
            "docker ps --filter label=service=stub --filter label=role=web --format '{{.Names}}'";
        self.sandbox.on(self.server, list).trim().to_owned()
    }

    fn serves(&self) -> String {
        let curl = format!(
            "curl -fsS -m 10 http://{}:3002/version",
            address(self.server)
        );
        let done = std::process::Command::new("sh")
            .args(["-c", &curl])
            .output();
        String::from_utf8_lossy(&done.unwrap().stdout)
            .trim()
            .to_owned()
    }

    /// How far an open deploy came, if there is one.
    fn phase(&self) -> Option<String> {
        let text = self
            .sandbox
            .on(self.server, "cat .kamal/runner/stub/journal.json");
        let journal: Value = serde_json::from_str(&text).ok()?;
        Some(journal["phase"].as_str()?.to_owned())
    }

    /// The last line of the history.
    fn last(&self) -> Value {
        let tail = "tail -n 1 .kamal/runner/stub/history.jsonl";
        serde_json::from_str(&self.sandbox.on(self.server, tail)).unwrap()
    }

    /// Nothing is open, and nobody holds the lock.
    fn is_closed(&self) {
        assert_eq!(self.phase(), None);
        let lock = self.sandbox.on(self.server, "ls -d .kamal/lock-*");
        assert_eq!(lock, "");
    }
}

/// A watched repository that deploys to a server, and GitHub, which is told.
struct Scene {
    server: Server,
    github: GitHub,
    host: Host,
}

impl Scene {
    fn new(sandbox: &'static Sandbox) -> Self {
        let server = Server::new(&[]);
        let secrets = server.path().join("secrets");
        write_secrets(sandbox, &secrets);
        let github = GitHub::start();
        let folder = format!("folder = \"{}\"\n", secrets.display());
        let mut server = server
            .configure(&github.configuration())
            .configure(&folder)
            .configure_server("public-url = \"https://ci.example.com\"\n");
        server.write("tree/config/deploy.yml", &configuration(SERVER));
        server.push("the configuration");
        server.start_with(&[
            ("HOME", sandbox.value("SANDBOX_HOME")),
            ("GITHUB_TEST_TOKEN", GITHUB_TOKEN),
        ]);
        Self {
            server,
            github,
            host: Host {
                sandbox,
                server: SERVER,
            },
        }
    }

    /// Pushes a version to be deployed, and holds it at these two places.
    fn push(&self, version: &str, holds: &[&str]) -> String {
        for name in ["before", "after"] {
            if holds.contains(&name) {
                drop(fs::remove_file(
                    self.server.path().join(format!("go-{name}")),
                ));
            } else {
                self.go(name);
            }
        }
        let text = workflow(version, "push", self.server.path());
        self.server.write("tree/pipelines/deploy.yml", &text);
        self.server.push(&format!("deploy {version}"))
    }

    fn go(&self, name: &str) {
        self.server.write(&format!("go-{name}"), "");
    }

    /// Waits until the job of a run waits at a place.
    fn waits(&self, run: &str, name: &str) {
        let line = format!("│ waits-{name}");
        self.server.wait_for(&line, || {
            let output = self.server.run(&["runs", "logs", run]);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.contains(&line).then_some(())
        });
    }

    /// Kills the job of a run by force, and returns how the run ended.
    fn kill(&self, run: &str) -> Value {
        let began = Instant::now();
        self.kill_now(run);
        let state = self.server.ended(run);
        println!(
            "what became of run {run} was recorded after {} ms",
            began.elapsed().as_millis()
        );
        state
    }

    /// The same at a moment when its deploy is committed, and the old release still answers.
    fn kill_once_committed(&self, run: &str) -> Value {
        self.waits(run, "before");
        let mut slow = TcpStream::connect((address(SERVER), 3002)).unwrap();
        slow.write_all(b"GET /slow?seconds=55 HTTP/1.1\r\nhost: app.stub.test\r\n\r\n")
            .unwrap();
        self.go("before");
        self.server.wait_for("the commit", || {
            (self.host.phase()? == "committed").then_some(())
        });
        self.kill_now(run);
        // Nobody waits for the answer any more.
        drop(slow);
        self.server.ended(run)
    }

    fn kill_now(&self, run: &str) {
        let life = self.server.data().join(format!("spool/{run}/1/0-1/life"));
        let pid: i32 = fs::read_to_string(life).unwrap().parse().unwrap();
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }

    /// The state of a run's deployment at GitHub, once it is this one.
    fn told(&self, deployment: &str) {
        self.server.wait_for(deployment, || {
            let all = self.github.deployment_states();
            all.iter().any(|state| state == deployment).then_some(())
        });
    }

    /// The last state of a commit at GitHub, once it is no more pending, with its description.
    fn status(&self, sha: &str) -> (String, String) {
        self.server.wait_for("the state of the commit", || {
            let (_, state, description) = self.github.statuses(sha).into_iter().last()?;
            (state != "pending").then_some((state, description))
        })
    }
}

fn job_of(state: &Value) -> &Value {
    &state["jobs"][0]
}

/// How a run and its job are recorded, with the reason of the job.
fn recorded(state: &Value) -> (String, String, String) {
    let job = job_of(state);
    assert_eq!(state["conclusion"], job["conclusion"], "{state}");
    assert_eq!(state["deploy"], job["deploy"], "{state}");
    let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
    (
        text(&job["conclusion"]),
        text(&job["deploy"]),
        text(&job["reason"]),
    )
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}

#[test]
fn what_became_of_the_deploy_of_a_killed_job_is_what_its_servers_tell() {
    let sandbox = Sandbox::up(&[SERVER]);
    for version in ["lost1", "lost2"] {
        sandbox.stub(version, &[]);
    }
    block_on(set_up(sandbox, SERVER));
    let mut scene = Scene::new(sandbox);
    scene.push("lost1", &[]);
    let state = scene.server.ended("1");
    assert_eq!(recorded(&state).0, "success", "{state}");
    assert_eq!(scene.host.running(), "stub-web-lost1");
    scene.told("1 success");

    // Before it is promoted: both releases run then, and one serves.
    let sha = scene.push("lost2", &["before"]);
    scene.waits("2", "before");
    let state = scene.kill("2");
    let (conclusion, outcome, reason) = recorded(&state);
    assert_eq!((&*conclusion, &*outcome), ("failure", "undone"), "{state}");
    assert!(
        reason.starts_with("its process was killed or died")
            && reason.contains("its deploy of `lost2` was undone"),
        "{reason}"
    );
    scene.host.is_closed();
    assert_eq!(scene.host.running(), "stub-web-lost1");
    let line = scene.host.last();
    assert_eq!(line["outcome"], "undone", "{line}");
    let run = line["run"].as_str().unwrap();
    assert!(
        run.starts_with("acme/demo run 2 attempt 1 job 0 of "),
        "{run}"
    );
    scene.told("2 failure");
    let (told, words) = scene.status(&sha);
    assert_eq!(told, "failure");
    assert!(words.contains("the deploy was undone"), "{words}");
    let log = scene.server.ask(&["runs", "logs", "2"]);
    assert!(
        log.contains("waits-before")
            && log.contains("its servers are asked what became of its deploy")
            && log.contains("everything is as it was found"),
        "{log}"
    );

    // Promoted, and not committed: requests get the new release, and the old one again.
    scene.push("lost2", &["after"]);
    scene.waits("3", "after");
    assert_eq!(scene.host.serves(), "lost2");
    let state = scene.kill("3");
    let (conclusion, outcome, _) = recorded(&state);
    assert_eq!((&*conclusion, &*outcome), ("failure", "undone"), "{state}");
    scene.host.is_closed();
    assert_eq!(scene.host.running(), "stub-web-lost1");
    assert_eq!(scene.host.serves(), "lost1");
    scene.told("3 failure");

    // Committed, and not finished: the old release answers its last request when the job dies.
    scene.push("lost2", &["before"]);
    let state = scene.kill_once_committed("4");
    let (conclusion, outcome, reason) = recorded(&state);
    assert_eq!((&*conclusion, &*outcome), ("success", "stands"), "{state}");
    assert!(
        reason.contains("its deploy was committed, and release `lost2` serves"),
        "{reason}"
    );
    scene.host.is_closed();
    assert_eq!(scene.host.running(), "stub-web-lost2");
    assert_eq!(scene.host.serves(), "lost2");
    assert_eq!(scene.host.last()["outcome"], "succeeded");
    scene.told("4 success");
    scene.told("1 inactive");

    // And what is pushed next is deployed as ever.
    scene.push("lost1", &[]);
    let state = scene.server.ended("5");
    assert_eq!(recorded(&state).0, "success", "{state}");
    assert_eq!(scene.host.running(), "stub-web-lost1");
    scene.told("4 inactive");
    let kept = scene.server.everything_kept();
    let secret = TOKEN.as_bytes();
    assert!(!kept.windows(secret.len()).any(|window| window == secret));
    scene.server.stop();
}

#[test]
fn what_a_lost_machine_deployed_is_found_out_by_another_one() {
    let sandbox = Sandbox::up(&[OTHER]);
    for version in ["gone1", "gone2"] {
        sandbox.stub(version, &[]);
    }
    block_on(set_up(sandbox, OTHER));
    let host = Host {
        sandbox,
        server: OTHER,
    };
    let folder = tempfile::tempdir().unwrap();
    write_secrets(sandbox, folder.path());
    let more = format!("folder = \"{}\"\n", folder.path().display());
    let mut machines = Machines::new(Arc::new(Postgres::start()), 2, &more);
    machines.write("../config/deploy.yml", &configuration(OTHER));
    for version in ["gone1", "gone2"] {
        let text = workflow(version, "workflow_dispatch", folder.path());
        machines.write(&format!("{version}.yml"), &text);
    }
    machines.push("the workflows");
    let env = [
        ("RUNNER_LEASE", "12s"),
        ("HOME", sandbox.value("SANDBOX_HOME")),
    ];
    machines.start(0, &env);
    for name in ["before", "after"] {
        fs::write(folder.path().join(format!("go-{name}")), "").unwrap();
    }
    let run = machines.dispatch("gone1.yml");
    let state = machines.ended(&run);
    assert_eq!(recorded(&state).0, "success", "{state}");

    fs::remove_file(folder.path().join("go-after")).unwrap();
    let run = machines.dispatch("gone2.yml");
    machines.wait_for("the switch", || (host.serves() == "gone2").then_some(()));
    let lost = machines.name(0);
    machines.lose(0);
    machines.start(1, &env);
    let state = machines.ended(&run);
    let (conclusion, outcome, reason) = recorded(&state);
    assert_eq!((&*conclusion, &*outcome), ("failure", "undone"), "{state}");
    assert!(
        reason.starts_with(&format!("the machine `{lost}` lost communication"))
            && reason.contains("its deploy of `gone2` was undone"),
        "{reason}"
    );
    assert_eq!(job_of(&state)["machine"], machines.name(1).as_str());
    host.is_closed();
    assert_eq!(host.running(), "stub-web-gone1");
    assert_eq!(host.serves(), "gone1");
    machines.stop(1);
}
