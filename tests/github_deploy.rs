//! A webhook that is really signed deploys the real application to a server, and GitHub is told.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::collector::{Collector, Span, assert_tree};
use crate::support::doubles::Emulate;
use crate::support::github::{GitHub, TOKEN};
use crate::support::project::address;
use crate::support::server::Server;
use crate::support::servers::Sandbox;

/// A server that no other test uses.
const SERVER: u8 = 10;

const SECRET: &str = "a-secret-for-webhooks";

const URL: &str = "https://reportify.rs-development.net:8443";

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {text}");
    text.trim().to_owned()
}

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The application beside a server of ours, and two doubles of GitHub: one signs, one is told. A
/// collector is told of the runs.
struct Scene {
    sandbox: &'static Sandbox,
    server: Server,
    github: GitHub,
    emulate: Emulate,
    collector: Collector,
}

impl Scene {
    fn new(emulate: Emulate) -> Self {
        let sandbox = Sandbox::up(&[SERVER]);
        sandbox.clean(SERVER);
        let github = GitHub::start();
        let collector = Collector::start();
        let server = Server::new(&[]).polls("1h");
        let project = server.path().join("reportify");
        succeed(
            Command::new(fixture("fixtures/sandbox/project"))
                .arg(&project)
                .env("RUNNER_SANDBOX", sandbox.state()),
        );
        for name in ["config/deploy.sandbox.yml", ".kamal/secrets"] {
            let file = project.join(name);
            let text = fs::read_to_string(&file).unwrap();
            let text = text.replace("127.0.0.11", &address(SERVER));
            fs::write(&file, text.replace("srv1.test", "srv10.test")).unwrap();
        }
        let from = fixture("pipelines");
        fs::create_dir_all(project.join("pipelines")).unwrap();
        for file in fs::read_dir(from).unwrap().flatten() {
            fs::copy(
                file.path(),
                project.join("pipelines").join(file.file_name()),
            )
            .unwrap();
        }
        // Dumps go to the home folder, which must not be the sandbox's.
        let home = server.path().join("home");
        fs::create_dir(&home).unwrap();
        let keys = Path::new(sandbox.value("SANDBOX_HOME")).join(".ssh");
        succeed(Command::new("cp").arg("-a").arg(keys).arg(&home));
        let server = server
            .configure(&github.configuration())
            .configure(&format!(
                "webhook-secrets = [{{ env = \"WEBHOOK_TEST_SECRET\" }}]\nfolder = \"{}\"\n\
                 [repository.vars]\nDESTINATION = \"sandbox\"\nPOSTGRES_IMAGE = \"runner-sandbox/postgres:latest\"\n\
                 APPLICATION_URL = \"{URL}\"\nSMOKE_TEST_OPTIONS = \"--ca {} --address {}\"\n",
                project.display(),
                sandbox.value("SANDBOX_CA"),
                address(SERVER),
            ))
            .configure(&format!("[telemetry]\nendpoint = \"{}\"\n", collector.url()))
            .configure_server("public-url = \"https://ci.example.com\"\n");
        let scene = Self {
            sandbox,
            server,
            github,
            emulate,
            collector,
        };
        let bare = scene.server.path().join("bare.git");
        scene.git(&["remote", "add", "origin", &bare.display().to_string()]);
        for verb in [&["proxy", "boot"][..], &["accessory", "boot", "all"]] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
            command.args(verb).args(["-d", "sandbox"]);
            succeed(command.current_dir(&project).envs(scene.env()));
        }
        scene
    }

    fn env(&self) -> Vec<(&'static str, String)> {
        let home = self.server.path().join("home").display().to_string();
        let docker = self.sandbox.value("SANDBOX_DOCKER_CONFIG").to_owned();
        vec![
            ("HOME", home),
            ("DOCKER_CONFIG", docker),
            ("GITHUB_TEST_TOKEN", TOKEN.to_owned()),
            ("WEBHOOK_TEST_SECRET", SECRET.to_owned()),
        ]
    }

    fn project(&self) -> PathBuf {
        self.server.path().join("reportify")
    }

    fn git(&self, arguments: &[&str]) -> String {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=Tess", "-c", "user.email=t@example.com"]);
        succeed(git.args(arguments).current_dir(self.project()))
    }

    /// Commits everything and pushes it: our git server has it, and GitHub tells of it.
    fn push(&self, words: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", words]);
        self.git(&["push", "-q", "-f", "origin", "main"]);
        self.emulate.push(&self.project())
    }

    /// Waits for the end of a run, however long it takes, and returns how the watching ended.
    fn ended(&self, run: &str) -> (Option<i32>, String) {
        self.server.wait_for("the run", || self.server.state(run));
        let output = self.server.run(&["runs", "watch", run]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), text)
    }

    /// The states that a commit had, each once.
    fn states(&self, sha: &str, last: &str) -> Vec<String> {
        self.server.wait_for("the last state", || {
            let all = self.github.statuses(sha);
            (all.last()?.1 == last).then_some(())
        });
        let statuses = self.github.statuses(sha).into_iter();
        let mut states: Vec<String> = statuses.map(|status| status.1).collect();
        states.dedup();
        states
    }

    /// The last state of a deployment, once it is this one.
    fn deployed(&self, state: &str) {
        self.server.wait_for(state, || {
            let all = self.github.deployment_states();
            all.contains(&state.to_owned()).then_some(())
        });
    }

    /// Waits until a run is told of with its deploy, and returns its spans and those of the phases.
    fn traced(&self, run: &str) -> (Vec<Span>, Vec<Span>) {
        let spans = self.server.wait_for("the trace", || {
            let spans = self.collector.run(run)?;
            let is_told = |span: &Span| !span.text("runner.deploy.phase").is_empty();
            spans.iter().any(is_told).then_some(spans)
        });
        assert_tree(&spans);
        let mut phases = spans.clone();
        phases.retain(|span| !span.text("runner.deploy.phase").is_empty());
        for phase in &phases {
            assert_eq!(phase.text("server.address"), address(SERVER), "{phase:?}");
            // It lies in a step, and that in a job of the run.
            let above = |span: &Span| {
                let above = spans.iter().find(|of| Some(&of.id) == span.parent.as_ref());
                above.unwrap().clone()
            };
            let job = above(&above(phase));
            assert_eq!(job.text("cicd.pipeline.task.type"), "deploy", "{job:?}");
            assert!(above(&job).parent.is_none(), "{phase:?}");
        }
        (spans, phases)
    }

    fn serves(&self, release: &str) {
        succeed(
            Command::new(fixture("fixtures/reportify/bin/flows"))
                .arg(URL)
                .args(["--ca", self.sandbox.value("SANDBOX_CA")])
                .args(["--address", &address(SERVER), "--release", release]),
        );
    }
}

#[test]
fn a_signed_webhook_deploys_a_release_and_a_broken_one_is_put_back() {
    let Some(emulate) = Emulate::start("acme/demo") else {
        return;
    };
    let mut scene = Scene::new(emulate);
    let env = scene.env();
    let env: Vec<(&str, &str)> = env
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    scene.server.start_with(&env);
    let hook = scene.server.address();
    scene.emulate.deliver_to(&hook, SECRET);

    let good = scene.push("the first release");
    let (code, text) = scene.ended("1");
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(scene.states(&good, "success"), ["pending", "success"]);
    scene.deployed("1 success");
    scene.serves(&good);
    let told = scene.github.told();
    let success = told
        .iter()
        .find(|(_, body)| body["state"] == "success" && body["environment_url"] == URL);
    let (_, success) = success.expect("a deployment status with the URL of the environment");
    assert_eq!(success["log_url"], "https://ci.example.com/runs/1");

    let (_, phases) = scene.traced("1");
    for phase in ["booted", "healthy", "switched", "finished"] {
        let is_it = |span: &Span| span.name == phase && span.error.is_none();
        assert!(phases.iter().any(is_it), "{phase}: {phases:#?}");
    }

    let flows = scene.project().join("bin/flows");
    let text = fs::read_to_string(&flows).unwrap();
    let red = text.replacen("ask 200 /stats\n", "ask 200 /stats\nask 200 /figures\n", 1);
    assert_ne!(red, text);
    fs::write(&flows, red).unwrap();
    let bad = scene.push("figures, but not yet");
    let (code, text) = scene.ended("2");
    assert_eq!(code, Some(20), "{text}");
    assert_eq!(scene.states(&bad, "failure"), ["pending", "failure"]);
    scene.deployed("2 failure");
    let states = scene.github.deployment_states();
    assert!(!states.contains(&"1 inactive".to_owned()), "{states:?}");
    let (spans, phases) = scene.traced("2");
    let root = spans.iter().find(|span| span.parent.is_none()).unwrap();
    assert_eq!(root.text("error.type"), "deploy_undone");
    assert!(
        phases.iter().any(|span| span.name.starts_with("undo ")),
        "{phases:#?}"
    );
    scene.serves(&good);
    scene.server.stop();
}
