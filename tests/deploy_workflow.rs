//! Deploys by workflow: the steps of a job carry one transaction, and its end ends it.

use std::{fs, path::Path, process::Command};

use runner::{deploy, release::from_kamal};

use crate::support::{
    project::{TOKEN, X_RUNNER, config, deploy_yml, settings, spec},
    servers::Sandbox,
};

/// A server that no other test uses.
const SERVER: u8 = 5;
const ADDRESS: &str = "127.0.0.15";

/// Starts the proxy, as `runner setup` does.
async fn set_up(sandbox: &Sandbox) {
    sandbox.clean(SERVER);
    let settings = settings(sandbox);
    let config = config(&deploy_yml(&[SERVER], X_RUNNER));
    let look = deploy::look(&spec(&config, "v1"), &settings).await;
    for proxy in from_kamal::proxies(&config, None).unwrap() {
        let host = look.fleet.host(&proxy.container.host).unwrap();
        host.boot_proxy(&proxy, &settings, false).await.unwrap();
    }
}

fn git(folder: &Path, arguments: &[&str]) {
    let output = Command::new("git")
        .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// A repository with the stub's configuration; its secrets are in no commit.
fn project(sandbox: &Sandbox) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::create_dir_all(at.join("config")).unwrap();
    fs::create_dir_all(at.join(".kamal")).unwrap();
    fs::write(
        at.join("config/deploy.yml"),
        deploy_yml(&[SERVER], X_RUNNER),
    )
    .unwrap();
    fs::write(at.join(".gitignore"), ".kamal/secrets\n").unwrap();
    let cat = |name: &str| format!("$(cat {})", sandbox.value(name));
    let secrets = format!(
        "TLS_CERTIFICATE={}\nTLS_PRIVATE_KEY={}\nREGISTRY_PASSWORD={}\nTOKEN={TOKEN}\n",
        cat("SANDBOX_TLS_CERTIFICATE"),
        cat("SANDBOX_TLS_KEY"),
        cat("SANDBOX_REGISTRY_PASSWORD_FILE"),
    );
    fs::write(at.join(".kamal/secrets"), secrets).unwrap();
    git(at, &["init", "-q", "-b", "main"]);
    git(at, &["add", "-A"]);
    git(at, &["commit", "-q", "-m", "state"]);
    folder
}

/// Runs a workflow with these steps after the checkout, and returns its exit code and words.
fn run(sandbox: &Sandbox, project: &Path, steps: &str) -> (Option<i32>, String) {
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("workflow.yml");
    let indented = steps.trim().replace('\n', "\n      ");
    let text = format!(
        "on: workflow_dispatch\njobs:\n  deploy:\n    runs-on: self-hosted\n    steps:\n      \
         - uses: actions/checkout@v4\n      {indented}\n"
    );
    fs::write(&file, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_runner"))
        .arg("run")
        .arg(&file)
        .current_dir(project)
        .env("RUNNER_WORK", outside.path().join("work"))
        .env("HOME", sandbox.value("SANDBOX_HOME"))
        .env_remove("SSH_AUTH_SOCK")
        .env_remove("VERSION")
        .output()
        .unwrap();
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text += &String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains(TOKEN), "a secret is in the log: {text}");
    (output.status.code(), text)
}

fn deploy_of(version: &str, after: &str) -> String {
    format!(
        "- uses: runner/ssh-deploy@v1\n  with: {{ version: {version} }}\n- uses: runner/migrate@v1\n\
         - uses: runner/health-check@v1\n- uses: runner/promote@v1\n{after}"
    )
}

/// Which releases the web containers that run are of.
fn running(sandbox: &Sandbox) -> String {
    let list =
        "docker ps --filter label=service=stub --filter label=role=web --format '{{.Names}}'";
    sandbox.on(SERVER, list).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_deploys_puts_back_what_fails_and_goes_back() {
    let sandbox = Sandbox::up(&[SERVER]);
    set_up(sandbox).await;
    let project = project(sandbox);
    let go = |steps: &str| run(sandbox, project.path(), steps);
    let curl = format!("- run: curl -fsS -m 5 http://{ADDRESS}:3002/up\n");

    let (code, text) = go(&deploy_of("v1", &curl));
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(running(sandbox), "stub-web-v1", "{text}");

    let (code, text) = go(&deploy_of("v2", &format!("{curl}- run: exit 3\n")));
    assert_eq!(code, Some(20), "{text}");
    assert!(
        text.contains("the deploy is undone: a step of the job failed"),
        "{text}"
    );
    assert_eq!(running(sandbox), "stub-web-v1", "{text}");

    let (code, text) = go(
        "- uses: runner/ssh-deploy@v1\n  with: { version: v2 }\n- uses: runner/health-check@v1\n",
    );
    assert_eq!(code, Some(20), "{text}");
    assert!(
        text.contains("no step of the job promoted the release"),
        "{text}"
    );
    assert_eq!(running(sandbox), "stub-web-v1", "{text}");

    let (code, text) = go(&deploy_of("v2", &curl));
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(running(sandbox), "stub-web-v2", "{text}");

    let back = "- id: back\n  uses: runner/rollback@v1\n- run: echo \"runs <${{ steps.back.outputs.version }}>\"\n";
    let (code, text) = go(back);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("runs <v1>"), "{text}");
    assert_eq!(running(sandbox), "stub-web-v1", "{text}");
    let log = fs::read_dir(project.path()).unwrap().count();
    assert_eq!(log, 4, "something was left in the project");
}

#[test]
fn what_cannot_be_deployed_is_refused_before_a_server_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::create_dir_all(at.join("config")).unwrap();
    fs::write(
        at.join("config/deploy.yml"),
        deploy_yml(&[SERVER], X_RUNNER),
    )
    .unwrap();
    git(at, &["init", "-q", "-b", "main"]);
    git(at, &["add", "-A"]);
    git(at, &["commit", "-q", "-m", "state"]);
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("workflow.yml");
    let run = |step: &str| {
        let text = format!(
            "on: workflow_dispatch\njobs:\n  deploy:\n    runs-on: self-hosted\n    steps:\n      \
             - uses: actions/checkout@v4\n      {step}\n"
        );
        fs::write(&file, text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_runner"))
            .arg("run")
            .arg(&file)
            .current_dir(at)
            .env("RUNNER_WORK", outside.path().join("work"))
            .env_remove("VERSION")
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    for (step, words) in [
        (
            "- uses: runner/ssh-deploy@v1",
            "Secret 'REGISTRY_PASSWORD' not found, no secret files",
        ),
        (
            "- run: touch new\n      - uses: runner/ssh-deploy@v1",
            "1 file is not committed, so no commit would say what is in the image: `new`",
        ),
    ] {
        let (code, text) = run(step);
        assert!(code == Some(10) && text.contains(words), "{code:?} {text}");
    }
}
