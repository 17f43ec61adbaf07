//! The real application, deployed by the program to real servers: Rails, PostgreSQL, Redis, Sidekiq.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use runner_load::{Load, Paths, Target};
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::support::{project::address, servers::Sandbox};

/// The servers of these tests; those of the configuration are replaced by them.
const ONE: u8 = 8;
const TWO: u8 = 9;
const NAME: &str = "reportify.rs-development.net";
/// How long something may take that usually takes seconds.
const PATIENCE: Duration = Duration::from_secs(180);
/// In a one-server deploy.
const DATABASE: &str = "docker exec reportify-api-db psql -U reportify -d reportify_production -At";

/// Reportify in a repository of its own, with the sandbox's keys.
struct Reportify {
    sandbox: &'static Sandbox,
    folder: TempDir,
    arguments: [&'static str; 2],
}

fn words(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = words(&output);
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(path)
}

impl Reportify {
    /// Writes the project, with `changes` in its configuration `file`, and cleans the servers.
    fn new(file: &str, arguments: [&'static str; 2], changes: &[(&str, &str)]) -> Self {
        let sandbox = Sandbox::up(&[ONE, TWO]);
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("reportify");
        succeed(
            Command::new(fixture("sandbox/project"))
                .arg(&project)
                .env("RUNNER_SANDBOX", sandbox.state()),
        );
        // Dumps go to the home folder, which must not be the sandbox's.
        let home = folder.path().join("home");
        fs::create_dir(&home).unwrap();
        let keys = Path::new(sandbox.value("SANDBOX_HOME")).join(".ssh");
        std::os::unix::fs::symlink(keys, home.join(".ssh")).unwrap();
        for name in [file, ".kamal/secrets"] {
            let path = project.join(name);
            let mut text = fs::read_to_string(&path).unwrap();
            let all = [
                ("127.0.0.11", "127.0.0.18"),
                ("127.0.0.12", "127.0.0.19"),
                ("srv1.test", "srv8.test"),
            ];
            for (from, to) in all.iter().chain(changes) {
                text = text.replace(from, to);
            }
            fs::write(&path, text).unwrap();
        }
        for server in [ONE, TWO] {
            sandbox.clean(server);
        }
        Self {
            sandbox,
            folder,
            arguments,
        }
    }

    fn command(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
        command
            .args(verb)
            .args(self.arguments)
            .current_dir(self.folder.path().join("reportify"))
            .env("HOME", self.folder.path().join("home"))
            .env_remove("SSH_AUTH_SOCK")
            .env_remove("VERSION")
            .stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn run(&self, code: i32, verb: &[&str]) -> String {
        let output = self.command(verb).output().unwrap();
        let text = words(&output);
        assert_eq!(output.status.code(), Some(code), "{text}");
        text
    }

    /// What users do, all of it by this release; the job by its worker.
    #[track_caller]
    fn flows(&self, server: u8, release: &str) {
        succeed(
            Command::new(fixture("reportify/bin/flows"))
                .arg(format!("https://{NAME}:8443"))
                .args(["--ca", self.sandbox.value("SANDBOX_CA")])
                .args(["--address", &address(server), "--release", release]),
        );
    }

    /// Pushes a release that is made of another one by these lines of a Dockerfile.
    fn push(&self, version: &str, lines: &str) {
        let image = format!("127.0.0.1:5000/reportify-api:{version}");
        let context = self.folder.path().join(version);
        fs::create_dir(&context).unwrap();
        let text = format!("FROM 127.0.0.1:5000/reportify-api:v2\n{lines}\n");
        fs::write(context.join("Dockerfile"), text).unwrap();
        let docker = || {
            let mut docker = Command::new("docker");
            docker.env("DOCKER_CONFIG", self.sandbox.value("SANDBOX_DOCKER_CONFIG"));
            // Where a client needs a plugin for BuildKit, the older builder does.
            docker.env("DOCKER_BUILDKIT", "0");
            docker
        };
        succeed(docker().args(["build", "-q", "-t", &image]).arg(&context));
        succeed(docker().args(["push", "-q", &image]));
    }

    fn load(&self, server: u8, rate: f64) -> Load {
        let ca = PathBuf::from(self.sandbox.value("SANDBOX_CA"));
        let paths = Paths {
            post: Some(("/login".to_owned(), 401)),
            ..Paths::default()
        };
        let urls = [
            format!("https://{NAME}:8443/up"),
            format!("http://{NAME}:3002/up"),
        ];
        let target =
            |url: &String| Target::new(url, &address(server), Some(&ca), paths.clone()).unwrap();
        Load::start(urls.iter().map(target).collect(), rate)
    }

    /// Asks the database, and returns the answer without spaces around it.
    fn query(&self, sql: &str) -> String {
        let answer = self.sandbox.on(ONE, &format!("{DATABASE} -c \"{sql}\""));
        answer.trim().to_owned()
    }
}

fn interrupt(child: &Child) {
    kill(
        Pid::from_raw(child.id().try_into().unwrap()),
        Signal::SIGINT,
    )
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn reportify_changes_its_release_with_a_dump_and_without_a_lost_request() {
    let overlay = "x-runner:\n  migrate: { backup: true }\n  bake: 2s\n";
    let reportify = Reportify::new(
        "config/deploy.sandbox.yml",
        ["-d", "sandbox"],
        &[("x-runner:\n", overlay)],
    );
    reportify.run(0, &["setup", "--version", "v1"]);
    reportify.flows(ONE, "v1");

    let load = reportify.load(ONE, 20.0);
    reportify.run(0, &["deploy", "--version", "v2"]);
    let report = load.end().await.unwrap();
    println!("{report}");
    assert!(report.failed() == 0 && report.changed(1), "{report}");
    reportify.flows(ONE, "v2");

    // Every session that came over the network is encrypted, and others are refused.
    let sessions =
        "from pg_stat_activity join pg_stat_ssl using (pid) where client_addr is not null";
    let (all, plain) = (
        reportify.query(&format!("select count(*) > 0 {sessions}")),
        reportify.query(&format!("select count(*) {sessions} and not ssl")),
    );
    assert_eq!((all.as_str(), plain.as_str()), ("t", "0"));
    let refused = reportify.sandbox.on(
        ONE,
        "docker exec -e PGPASSWORD=any reportify-api-db sh -c \
         'psql \"host=$(hostname -i) user=reportify dbname=reportify_production sslmode=disable\" 2>&1'",
    );
    assert!(
        refused.contains("no pg_hba.conf entry") && refused.contains("no encryption"),
        "{refused}"
    );

    the_dump_is_put_back(&reportify);
    a_migration_that_hangs_is_ended(&reportify);
    reportify.flows(ONE, "v2");
    reportify.run(0, &["rollback", "v1"]);
    reportify.flows(ONE, "v1");
}

/// The dump of the second deploy holds the users and tables of the first release, and takes the
/// place of what is there with web container and worker stopped.
fn the_dump_is_put_back(reportify: &Reportify) {
    let said = reportify.run(0, &["backup", "list", "--format", "json"]);
    let line = said.lines().find(|line| line.starts_with('{')).unwrap();
    let listed: Json = serde_json::from_str(line).unwrap();
    let all = listed["backups"].as_array().unwrap();
    let of_v2 = all.iter().find(|kept| {
        let name = kept["name"].as_str().unwrap_or_default();
        name.contains("-v2-") && kept["manifest"]["cause"] == "migration"
    });
    let of_v2 = of_v2.unwrap_or_else(|| panic!("no dump before the migration: {said}"));
    assert_eq!(of_v2["damage"], Json::Null);
    assert_eq!(of_v2["manifest"]["release"], "v1");

    reportify.query("create table after_the_dump (x int)");
    let name = of_v2["name"].as_str().unwrap();
    let text = reportify.run(0, &["backup", "restore", name, "--yes"]);
    assert!(text.contains("started reportify-api-sidekiq"), "{text}");
    let gone = "select to_regclass('after_the_dump') is null";
    assert_eq!(reportify.query(gone), "t");
    let schema = reportify.query("select max(version) from schema_migrations");
    assert_eq!(of_v2["manifest"]["schema"], schema.as_str());
    reportify.flows(ONE, "v2");
}

/// Neither the one-off container nor its session in the database outlives the deploy.
fn a_migration_that_hangs_is_ended(reportify: &Reportify) {
    reportify.push(
        "hangs",
        "RUN printf 'class Hang < ActiveRecord::Migration[6.1]\\n  def up\\n    execute \"select pg_sleep(3600)\"\\n  end\\nend\\n' \
         > db/migrate/20990101000000_hang.rb",
    );
    let before = reportify.sandbox.snapshot(ONE);
    let child = reportify
        .command(&["deploy", "--version", "hangs"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let sleeping = "select count(*) from pg_stat_activity where application_name like 'runner-%' \
                    and query like 'select pg_sleep%'";
    let deadline = Instant::now() + PATIENCE;
    while reportify.query(sleeping) != "1" {
        assert!(Instant::now() < deadline, "the migration never began");
    }
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    let text = words(&output);
    assert_eq!(output.status.code(), Some(11), "{text}");
    assert!(text.contains("everything is as it was found"), "{text}");
    assert_eq!(reportify.query(sleeping), "0");
    assert_eq!(reportify.sandbox.snapshot(ONE), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_with_workers_changes_its_release_everywhere_or_nowhere() {
    let reportify = Reportify::new(
        "config/fleet.yml",
        ["-c", "config/fleet.yml"],
        &[("bake: 10s", "bake: 2s")],
    );
    let snapshots = || [ONE, TWO].map(|server| reportify.sandbox.snapshot(server));
    let running = |server: u8| {
        let list = "docker ps --filter label=service=reportify-api --filter label=role --format '{{.Names}}' | sort | xargs";
        reportify.sandbox.on(server, list).trim().to_owned()
    };
    reportify.run(0, &["setup", "--version", "v1"]);
    for server in [ONE, TWO] {
        reportify.flows(server, "v1");
        assert_eq!(
            running(server),
            "reportify-api-web-v1 reportify-api-worker-v1"
        );
    }

    reportify.push("broken", "RUN rm app/controllers/status_controller.rb");
    let before = snapshots();
    let load = reportify.load(TWO, 20.0);
    let text = reportify.run(20, &["deploy", "--version", "broken"]);
    assert!(text.contains("everything is as it was found"), "{text}");
    assert_eq!(snapshots(), before);
    for server in [ONE, TWO] {
        reportify.flows(server, "v1");
    }
    reportify.run(0, &["deploy", "--version", "v2"]);
    let report = load.end().await.unwrap();
    println!("{report}");
    assert!(report.failed() == 0 && report.changed(1), "{report}");
    for server in [ONE, TWO] {
        reportify.flows(server, "v2");
        assert_eq!(
            running(server),
            "reportify-api-web-v2 reportify-api-worker-v2"
        );
    }
}
