//! Images by workflow: built, pushed and refused, by the real program on a real daemon and registry.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use futures_util::TryStreamExt as _;
use runner::docker::{ContainerSpec, Engine};

use crate::support::{
    images::{BUSYBOX, engine, unique},
    process::is_running,
    registry::{PASSWORD, Registry},
};

/// A project in a git repository, as a team has it.
struct Project {
    folder: tempfile::TempDir,
    image: String,
    registry: String,
}

impl Project {
    /// Makes one with a Dockerfile, in a registry that nobody has to reach to build.
    fn new(dockerfile: &str) -> Self {
        Self::in_registry("127.0.0.1:9", dockerfile)
    }

    fn in_registry(registry: &str, dockerfile: &str) -> Self {
        let project = Self {
            folder: tempfile::tempdir().unwrap(),
            image: unique("app"),
            registry: registry.to_owned(),
        };
        project.configure("builder: { arch: amd64 }");
        project.write("Dockerfile", dockerfile);
        project.write(".gitignore", ".kamal/secrets\n*.local\n");
        project.git(&["init", "-q", "-b", "main"]);
        project.commit();
        project
    }

    /// Writes the configuration with more keys at its end.
    fn configure(&self, more: &str) {
        let (image, registry) = (&self.image, &self.registry);
        let text = format!(
            "service: tiny\nimage: {image}\nservers: [127.0.0.1]\n\
             registry: {{ server: \"{registry}\", username: deploy, password: [REGISTRY_PASSWORD] }}\n{more}\n"
        );
        self.write("config/deploy.yml", &text);
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Commits everything that git does not ignore, and returns the commit.
    fn commit(&self) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "state"]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn tag(&self, version: &str) -> String {
        format!("{}/{}:{version}", self.registry, self.image)
    }

    /// Runs a workflow with these steps after the checkout; the file is in no commit and outside.
    fn run(&self, steps: &str) -> Ran {
        let (workflow, mut command) = self.command(steps);
        let ran = Ran::of(&command.output().unwrap());
        drop(workflow);
        ran
    }

    fn command(&self, steps: &str) -> (tempfile::TempDir, Command) {
        let outside = tempfile::tempdir().unwrap();
        let file = outside.path().join("workflow.yml");
        let indented = steps.trim().replace('\n', "\n      ");
        let text = format!(
            "on: workflow_dispatch\njobs:\n  image:\n    runs-on: self-hosted\n    steps:\n      \
             - uses: actions/checkout@v4\n      {indented}\n"
        );
        fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
        command
            .args(["run", "--format", "text"])
            .arg(&file)
            .current_dir(self.folder.path())
            .env("RUNNER_WORK", outside.path().join("work"))
            .env_remove("VERSION")
            .stdin(Stdio::null());
        (outside, command)
    }
}

/// How a run ended, and all that it said.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    text: String,
}

impl Ran {
    fn of(output: &Output) -> Self {
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text += &String::from_utf8_lossy(&output.stderr);
        Self {
            code: output.status.code(),
            text,
        }
    }

    #[track_caller]
    fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.text);
        self
    }

    #[track_caller]
    fn failed_with(self, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(10), "{}", self.text);
        for words in words {
            assert!(
                self.text.contains(words),
                "`{words}` is not in: {}",
                self.text
            );
        }
        self
    }
}

async fn remove(engine: &Engine, image: &str) {
    assert!(engine.remove_image(image, true).await.unwrap());
}

/// What a command in a container of the image prints.
async fn output_of(engine: &Engine, image: &str, script: &str) -> String {
    let spec = ContainerSpec {
        name: unique("look"),
        command: Some(vec!["sh".into(), "-c".into(), script.into()]),
        ..ContainerSpec::of_image(image)
    };
    let id = engine.create_container(&spec).await.unwrap();
    engine.start(&id).await.unwrap();
    engine.wait(&id).await.unwrap();
    let chunks: Vec<_> = engine
        .logs(&id, &runner::docker::LogOptions::default())
        .try_collect()
        .await
        .unwrap();
    engine.remove_container(&id, true, true).await.unwrap();
    let bytes: Vec<u8> = chunks
        .iter()
        .flat_map(|chunk| chunk.bytes.to_vec())
        .collect();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_image_of_a_commit_has_its_version_label_and_files() {
    let engine = engine().await;
    let dockerfile = format!(
        "FROM {BUSYBOX} AS base\nARG WHO\nRUN echo made by $WHO > /made\n\
         FROM base AS unused\nRUN exit 1\nFROM base\nCOPY . /app\n"
    );
    let project = Project::new(&dockerfile);
    project.write(".dockerignore", "secret-plans\nconfig\n.git\n");
    project.write("secret-plans", "x");
    project.write("kept", "x");
    project.write("notes.local", "ignored by git");
    project.configure("builder: { arch: amd64, args: { WHO: nobody } }");
    let commit = project.commit();
    let steps = "- id: build\n  uses: runner/build-image@v1\n  with:\n    build-args: |\n      WHO=a test\n\
        - run: echo \"told ${{ steps.build.outputs.image }} ${{ steps.build.outputs.version }} ${{ steps.build.outputs.id }}\"\n";
    let ran = project.run(steps).succeeded();
    let image = project.tag(&commit);
    let built = engine.image(&image).await.unwrap().expect(&image);
    let told = format!("told {image} {commit} {}", built.id);
    assert!(ran.text.contains(&told), "{told}: {}", ran.text);
    assert_eq!(built.labels["service"], "tiny");
    assert!(
        ran.text.contains("RUN echo made by a test > /made"),
        "{}",
        ran.text
    );
    let found = output_of(&engine, &image, "cat /made; cd /app; ls -A").await;
    assert_eq!(
        found,
        "made by a test\n.dockerignore\n.gitignore\nDockerfile\nkept\n"
    );
    remove(&engine, &image).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_in_no_commit_are_refused_by_name_unless_they_are_allowed() {
    let engine = engine().await;
    let project = Project::new(&format!("FROM {BUSYBOX}\nCOPY new /new\n"));
    let commit = project.git(&["rev-parse", "HEAD"]);
    project.write("new", "x");
    let build = "- uses: runner/build-image@v1\n";
    project.run(build).failed_with(&[
        "1 file is not committed",
        "`new`",
        "allow-uncommitted: true",
    ]);
    project.write(
        "Dockerfile",
        &format!("FROM {BUSYBOX}\nCOPY new /new\n# changed\n"),
    );
    project
        .run(build)
        .failed_with(&["2 files are not committed", "`Dockerfile`, `new`"]);
    let allowed = "- id: build\n  uses: runner/build-image@v1\n  with: { allow-uncommitted: true }\n\
        - run: echo \"<${{ steps.build.outputs.version }}>\"\n";
    let ran = project.run(allowed).succeeded();
    let start = format!("<{commit}_uncommitted_");
    let told = ran
        .text
        .lines()
        .find_map(|line| line.split_once(&start))
        .expect(&ran.text);
    let digits = told.1.split_once('>').unwrap().0;
    assert!(
        digits.len() == 16 && digits.bytes().all(|one| one.is_ascii_hexdigit()),
        "{digits}"
    );
    remove(
        &engine,
        &project.tag(&format!("{commit}_uncommitted_{digits}")),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_step_changes_in_the_workspace_is_not_in_the_commit_either() {
    let project = Project::new("FROM scratch\n");
    let steps = "- run: echo x > generated\n- uses: runner/build-image@v1\n";
    project
        .run(steps)
        .failed_with(&["1 file is not committed", "`generated`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_is_named_and_its_words_are_shown() {
    let project = Project::new(&format!(
        "FROM {BUSYBOX}\nRUN echo about to fail && exit 7\n"
    ));
    for builder in ["buildkit", "classic"] {
        let steps = format!("- uses: runner/build-image@v1\n  with: {{ builder: {builder} }}\n");
        let ran = project
            .run(&steps)
            .failed_with(&["step `RUN echo about to fail && exit 7` failed"]);
        let lines = ran
            .text
            .lines()
            .filter(|line| line.contains("about to fail"));
        assert!(
            lines.clone().any(|line| !line.contains("RUN")),
            "{builder}: {}",
            ran.text
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn build_secrets_come_from_the_secrets_file_and_stay_nowhere() {
    let engine = engine().await;
    let project = Project::new(&format!(
        "FROM {BUSYBOX}\nCOPY . /app\n\
         RUN --mount=type=secret,id=TOKEN --mount=type=secret,id=EXTRA \
         cat /run/secrets/TOKEN /run/secrets/EXTRA && wc -c < /run/secrets/TOKEN > /length\n"
    ));
    project.configure("builder: { arch: amd64, secrets: [TOKEN] }");
    let commit = project.commit();
    let (token, extra) = ("correct-horse-battery", "staple-of-a-workflow");
    project.write(
        ".kamal/secrets",
        &format!("TOKEN=$(echo {token})\nREGISTRY_PASSWORD=unused-password\n"),
    );
    let steps = "- id: build\n  uses: runner/build-image@v1\n  with: { secrets: 'EXTRA=${{ env.GIVEN }}' }\n  \
        env: { GIVEN: staple-of-a-workflow }\n- run: find . -path ./.git -prune -o -type f -print; cat .kamal/secrets || echo no secrets here\n";
    let ran = project.run(steps).succeeded();
    let image = project.tag(&commit);
    let kept = output_of(
        &engine,
        &image,
        "cat /length; test -e /app/.kamal || echo no secrets file",
    )
    .await;
    assert_eq!(kept, "21\nno secrets file\n");
    assert!(
        !ran.text.contains(token) && !ran.text.contains(extra),
        "{}",
        ran.text
    );
    assert!(
        ran.text.contains("***") && ran.text.contains("no secrets here"),
        "{}",
        ran.text
    );
    let saved = Command::new("docker")
        .args(["save", &image])
        .output()
        .unwrap();
    assert!(saved.status.success() && saved.stdout.len() > 100_000);
    let history = Command::new("docker")
        .args(["history", "--no-trunc", &image])
        .output()
        .unwrap();
    for secret in [token, extra, "unused-password"] {
        for place in [&saved.stdout, &history.stdout] {
            let bytes = secret.as_bytes();
            assert!(
                !place.windows(bytes.len()).any(|window| window == bytes),
                "{secret}"
            );
        }
    }
    remove(&engine, &image).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_no_file_has_is_named() {
    let project = Project::new("FROM scratch\nCOPY Dockerfile /\n");
    project.configure("builder: { arch: amd64, secrets: [TOKEN] }");
    project.commit();
    let build = "- uses: runner/build-image@v1\n";
    project.run(build).failed_with(&["Secret 'TOKEN' not found, no secret files (.kamal/secrets-common, .kamal/secrets) provided"]);
    project.write(".kamal/secrets", "OTHER=hunter2\n");
    project
        .run(build)
        .failed_with(&["Secret 'TOKEN' not found in .kamal/secrets"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pushed_image_comes_back_by_the_digest_that_was_told() {
    let Some(registry) = Registry::start() else {
        return;
    };
    let engine = engine().await;
    let project = Project::in_registry(&registry.server(), &format!("FROM {BUSYBOX}\nLABEL n=1\n"));
    let commit = project.git(&["rev-parse", "HEAD"]);
    project.write(".kamal/secrets", "REGISTRY_PASSWORD=$THE_PASSWORD\n");
    let steps = "- uses: runner/build-image@v1\n- id: push\n  uses: runner/push-image@v1\n  with: { tags: 'stable, v1' }\n\
        - run: echo \"told ${{ steps.push.outputs.image }}@${{ steps.push.outputs.digest }}.\"\n";
    let docker_config = tempfile::tempdir().unwrap();
    let (_workflow, mut command) = project.command(steps);
    command
        .env("THE_PASSWORD", PASSWORD)
        .env("DOCKER_CONFIG", docker_config.path());
    let ran = Ran::of(&command.output().unwrap()).succeeded();
    let start = format!("told {}@", project.tag(&commit));
    let told = ran
        .text
        .lines()
        .find_map(|line| line.split_once(&start))
        .expect(&ran.text);
    let digest = told.1.split_once('.').unwrap().0;
    assert!(!ran.text.contains(PASSWORD));
    assert_eq!(
        fs::read_dir(docker_config.path()).unwrap().count(),
        0,
        "somebody logged in"
    );
    for version in [commit.as_str(), "stable", "v1"] {
        remove(&engine, &project.tag(version)).await;
    }
    let name = format!("{}/{}@{digest}", registry.server(), project.image);
    let credentials = registry.credentials();
    let pulled = engine
        .pull(&name, Some(&credentials), &mut |_| {})
        .await
        .unwrap();
    assert_eq!(pulled.labels["service"], "tiny");
    let stable = engine
        .pull(&project.tag("stable"), Some(&credentials), &mut |_| {})
        .await
        .unwrap();
    assert_eq!(stable.id, pulled.id);
    remove(&engine, &stable.id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_names_the_registry_the_user_and_the_secret() {
    let Some(registry) = Registry::start() else {
        return;
    };
    let engine = engine().await;
    let project = Project::in_registry(&registry.server(), &format!("FROM {BUSYBOX}\nLABEL n=2\n"));
    let commit = project.git(&["rev-parse", "HEAD"]);
    let steps = "- uses: runner/build-image@v1\n- uses: runner/push-image@v1\n";
    project
        .run(steps)
        .failed_with(&["Secret 'REGISTRY_PASSWORD' not found"]);
    project.write(".kamal/secrets", "REGISTRY_PASSWORD=quite-wrong-password\n");
    let refused = format!(
        "registry `{}` refused user `deploy` with secret `REGISTRY_PASSWORD`",
        registry.server()
    );
    let ran = project.run(steps).failed_with(&[&refused]);
    assert!(!ran.text.contains("quite-wrong-password"), "{}", ran.text);
    remove(&engine, &project.tag(&commit)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_without_a_build_says_what_is_missing() {
    let project = Project::new("FROM scratch\n");
    project.write(".kamal/secrets", "REGISTRY_PASSWORD=any-password\n");
    let push = "- uses: runner/push-image@v1\n  with: { version: nothing }\n";
    project
        .run(push)
        .failed_with(&["is not on this machine: has `runner/build-image` run before this step?"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_configuration_wants_and_nobody_does_is_refused_by_name() {
    let project = Project::new("FROM scratch\n");
    let build = "- uses: runner/build-image@v1\n";
    for (builder, key) in [
        ("arch: [amd64, arm64]", "builder.arch"),
        ("arch: amd64, remote: ssh://a@b", "builder.remote"),
        ("arch: amd64, pack: { builder: x }", "builder.pack"),
        ("arch: amd64, provenance: mode=max", "builder.provenance"),
        (
            "arch: amd64, context: nowhere",
            "`nowhere` is not in the project's folder",
        ),
        (
            "arch: amd64, context: config",
            "does not lie in the build context `config`",
        ),
        ("arhc: amd64", "builder: unknown key: arhc"),
    ] {
        project.configure(&format!("builder: {{ {builder} }}"));
        project.commit();
        project.run(build).failed_with(&[key]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_ends_the_build_on_the_daemon() {
    let marker = unique("sleeping");
    let project = Project::new(&format!("FROM {BUSYBOX}\nRUN sleep 1234; echo {marker}\n"));
    let _base = engine().await;
    let (_workflow, mut command) = project.command("- uses: runner/build-image@v1\n");
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the build runs", || is_running(&marker));
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let ended = child.wait().unwrap();
    assert_eq!(ended.code(), Some(11));
    wait_until("the build has ended", || !is_running(&marker));
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "not so: {what}");
        std::thread::yield_now();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_destination_has_its_own_registry_and_secrets() {
    let Some(registry) = Registry::start() else {
        return;
    };
    let engine = engine().await;
    let project = Project::new(&format!("FROM {BUSYBOX}\nLABEL n=3\n"));
    let overlay = BTreeMap::from([(
        "registry",
        format!("{{ server: \"{}\" }}", registry.server()),
    )]);
    project.write(
        "config/deploy.staging.yml",
        &format!("registry: {}\n", overlay["registry"]),
    );
    project.write(".gitignore", ".kamal/secrets.staging\n");
    let commit = project.commit();
    project.write(
        ".kamal/secrets.staging",
        "REGISTRY_PASSWORD=$THE_PASSWORD\n",
    );
    let steps = "- uses: runner/build-image@v1\n  with: { destination: staging }\n- uses: runner/push-image@v1\n  with: { destination: staging }\n";
    let (_workflow, mut command) = project.command(steps);
    command.env("THE_PASSWORD", PASSWORD);
    Ran::of(&command.output().unwrap()).succeeded();
    remove(
        &engine,
        &format!("{}/{}:{commit}", registry.server(), project.image),
    )
    .await;
}

#[test]
fn a_workspace_without_a_configuration_says_so() {
    let project = Project::new("FROM scratch\n");
    let steps = "- uses: runner/build-image@v1\n  with: { working-directory: elsewhere }\n";
    project
        .run(steps)
        .failed_with(&["`config/deploy.yml` is not in the workspace"]);
    assert!(Path::new(project.folder.path()).exists());
}
