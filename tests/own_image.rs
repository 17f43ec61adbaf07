//! The image of this program: as a user without rights it runs a workflow and looks at a server.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::images::unique;
use crate::support::process::Answer;
use crate::support::project::{X_RUNNER, deploy_yml};
use crate::support::servers::Sandbox;

/// What the tests' images are made from; the sandbox makes it where no registry can be reached.
const BASE: &str = "debian:bookworm-slim";

/// An image that is removed when the test is over.
struct OwnImage(String);

impl Drop for OwnImage {
    fn drop(&mut self) {
        docker(&["rmi", "-f", &self.0]);
    }
}

fn docker(arguments: &[&str]) -> Answer {
    Answer::from(Command::new("docker").args(arguments).output().unwrap())
}

/// Builds the image with the program that is tested here.
///
/// The folder that is sent to Docker holds the Dockerfile and the binary, and nothing else.
fn build() -> OwnImage {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::copy(root.join("Dockerfile"), folder.path().join("Dockerfile")).unwrap();
    fs::copy(
        env!("CARGO_BIN_EXE_runner"),
        folder.path().join("runner-binary"),
    )
    .unwrap();
    let name = unique("own");
    let base = format!("BASE={BASE}");
    docker(&[
        "build",
        "-q",
        "--build-arg",
        &base,
        "--build-arg",
        "BINARY=runner-binary",
        "-t",
        &name,
        &folder.path().display().to_string(),
    ])
    .code(0);
    OwnImage(name)
}

/// A folder that the user of the image can read and that git knows.
fn project(files: &[(&str, String)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    for arguments in [
        &["init", "-q", "-b", "main"][..],
        &["add", "-A"],
        &[
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.com",
            "commit",
            "-q",
            "-m",
            "first",
        ],
    ] {
        let mut git = Command::new("git");
        let git = git.args(arguments).current_dir(folder.path());
        assert!(git.status().unwrap().success(), "git {arguments:?}");
    }
    open_to_all(folder.path());
    folder
}

fn open_to_all(folder: &Path) {
    let status = Command::new("chmod")
        .args(["-R", "a+rwX"])
        .arg(folder)
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn the_image_runs_a_workflow_as_a_user_without_rights() {
    let _sandbox = Sandbox::up(&[3]);
    let image = build();
    let workflow = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@v4\n      - run: echo \"user $(id -u) sees $(cat hello.txt)\"\n";
    let project = project(&[
        (".github/workflows/ci.yml", workflow.to_owned()),
        ("hello.txt", "the project".to_owned()),
    ]);
    let mount = format!("{}:/project", project.path().display());
    docker(&[
        "run",
        "--rm",
        "-v",
        &mount,
        "-w",
        "/project",
        &image.0,
        "run",
        ".github/workflows/ci.yml",
    ])
    .code(0)
    .says("user 1000 sees the project");
}

#[test]
fn the_image_says_what_a_deploy_would_do() {
    let sandbox = Sandbox::up(&[3]);
    let image = build();
    let secrets = format!(
        "REGISTRY_PASSWORD={}\nTOKEN=t0ken-that-nobody-sees\nTLS_CERTIFICATE=$(cat /keys/web.crt)\nTLS_PRIVATE_KEY=$(cat /keys/web.key)\n",
        sandbox.registry_password()
    );
    let project = project(&[
        ("config/deploy.yml", deploy_yml(&[3], X_RUNNER)),
        (".kamal/secrets", secrets),
    ]);
    let keys = tempfile::tempdir().unwrap();
    for (name, from) in [
        ("id_ed25519", "SANDBOX_SSH_KEY"),
        ("known_hosts", "SANDBOX_KNOWN_HOSTS"),
        ("web.crt", "SANDBOX_TLS_CERTIFICATE"),
        ("web.key", "SANDBOX_TLS_KEY"),
    ] {
        fs::write(keys.path().join(name), sandbox.file(from)).unwrap();
    }
    open_to_all(keys.path());
    let folder = |folder: &Path, at: &str| format!("{}:{at}", folder.display());
    let runner = |arguments: &[&str]| {
        let (project, ssh) = (
            folder(project.path(), "/project"),
            folder(keys.path(), "/home/runner/.ssh"),
        );
        let keys = folder(keys.path(), "/keys");
        // The servers of the sandbox are addresses of this machine.
        let fixed = ["run", "--rm", "--network", "host", "-w", "/project"];
        let mounts = ["-v", &project, "-v", &ssh, "-v", &keys, &image.0];
        docker(&[&fixed[..], &mounts, arguments].concat())
    };
    sandbox.clean(3);
    runner(&["proxy", "boot"]).code(0);
    runner(&["deploy", "--plan", "--version", "v1"])
        .code(0)
        .says("pulled:")
        .says("stub-web-v1")
        .never_says("t0ken-that-nobody-sees");
    sandbox.clean(3);
}

/// A container that is removed when the test is over.
struct Container(String);

impl Drop for Container {
    fn drop(&mut self) {
        docker(&["rm", "-f", "-v", &self.0]);
    }
}

#[test]
fn the_image_runs_a_server_that_stops_in_order() {
    let _sandbox = Sandbox::up(&[3]);
    let image = build();
    let workflow = "on: workflow_dispatch\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@v4\n      - run: echo \"user $(id -u) sees $(cat hello.txt)\"\n";
    let settings = "data = \"/data\"\n[[repository]]\nname = \"acme/demo\"\nurl = \"/project\"\n";
    let project = project(&[
        ("pipelines/ci.yml", workflow.to_owned()),
        ("hello.txt", "the server".to_owned()),
        ("runner.toml", settings.to_owned()),
    ]);
    let mount = format!("{}:/project", project.path().display());
    let container = Container(unique("serve"));
    let name = container.0.as_str();
    let fixed = ["run", "-d", "--name", name, "-v", &mount, "-w", "/project"];
    docker(&[&fixed[..], &[&image.0, "serve"]].concat()).code(0);
    let runner = |arguments: &[&str]| {
        let fixed = ["exec", name, "/usr/local/bin/runner"];
        docker(&[&fixed[..], arguments].concat())
    };
    runner(&["dispatch", "ci.yml"]).code(0).says("1");
    runner(&["runs", "watch", "1"])
        .code(0)
        .says("user 1000 sees the server");
    docker(&["stop", "--time", "60", name]).code(0);
    docker(&["logs", name]).code(0).complains("stopped;");
}
