//! Jobs in containers, their services, and actions that are a container, on the machine's Docker.

use std::{
    fs,
    io::Read as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use runner::docker::Engine;
use tempfile::TempDir;

use crate::support::images::{BUSYBOX, engine};
use crate::support::server::Server;

const LONG: Duration = Duration::from_secs(90);

/// A repository with one workflow, and the runner's own folders.
struct Project {
    folder: TempDir,
    work: TempDir,
}

impl Project {
    fn new(workflow: &str) -> Self {
        let project = Self {
            folder: tempfile::tempdir().unwrap(),
            work: tempfile::tempdir().unwrap(),
        };
        project.write("w.yml", &workflow.replace("IMAGE", BUSYBOX));
        project
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.replace("IMAGE", BUSYBOX)).unwrap();
    }

    /// Makes a repository of it, for `actions/checkout`.
    fn commit(&self) {
        for words in [
            &["init", "-q", "-b", "main"][..],
            &["add", "."],
            &[
                "-c",
                "user.name=t",
                "-c",
                "user.email=t@t",
                "commit",
                "-q",
                "-m",
                "t",
            ],
        ] {
            let mut git = Command::new("git");
            let git = git.args(words).current_dir(self.folder.path());
            assert!(git.status().unwrap().success());
        }
    }

    fn start(&self) -> Child {
        self.start_with(&[])
    }

    fn start_with(&self, more: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_runner"))
            .args(["run", "w.yml"])
            .args(more)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.folder.path())
            .env("RUNNER_WORK", self.work.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs the workflow, and says what it printed when it did not end with this code.
    fn run(&self, code: i32) -> String {
        let output = self.start().wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{text}");
        text
    }
}

/// Returns what follows `name=` in the output.
fn said<'a>(text: &'a str, name: &str) -> &'a str {
    let start = format!("│ {name}=");
    let line = text.lines().find_map(|line| line.split_once(&start));
    line.unwrap_or_else(|| panic!("no `{name}=` in:\n{text}")).1
}

async fn is_gone(engine: &Engine, container: &str) -> bool {
    engine.container(container).await.unwrap().is_none()
}

async fn until_gone(engine: &Engine, container: &str) {
    let deadline = Instant::now() + LONG;
    while !is_gone(engine, container).await {
        assert!(Instant::now() < deadline, "{container} is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_see_the_jobs_folders_where_github_has_them() {
    let engine = engine().await;
    let project = Project::new(
        r#"
on: push
env: { PLACE: "${{ github.workspace }}" }
jobs:
  a:
    runs-on: ubuntu-latest
    container: { image: IMAGE, env: { OF_CONTAINER: here }, options: --cpus 1 -e OF_OPTIONS=there }
    outputs: { value: "${{ steps.set.outputs.value }}" }
    steps:
      - id: set
        run: |
          test "$PWD" = "$GITHUB_WORKSPACE" && test "$PWD" = "$PLACE" || exit 1
          case $PWD in /__w/*/*) ;; *) exit 1 ;; esac
          test "$RUNNER_TEMP" = /__w/_temp -a "$RUNNER_TOOL_CACHE" = /__t -a "$HOME" = /github/home
          test -s /github/workflow/event.json -a "$GITHUB_EVENT_PATH" = /github/workflow/event.json
          echo "both=$OF_CONTAINER $OF_OPTIONS"
          echo one; echo two >&2; echo three
          echo value=7 >> "$GITHUB_OUTPUT"
          echo LATER=yes >> "$GITHUB_ENV"
          mkdir tools && printf '#!/bin/sh\necho tool=runs' > tools/tool && chmod +x tools/tool
          echo "$PWD/tools" >> "$GITHUB_PATH"
      - run: |
          tool
          echo "later=$LATER $PATH"
          echo "id=${{ job.container.id }}"
          echo "network=${{ job.container.network }}"
  b:
    needs: a
    runs-on: ubuntu-latest
    steps: [{ run: "echo output=${{ needs.a.outputs.value }}" }]
"#,
    );
    let text = project.run(0);
    assert_eq!(said(&text, "both"), "here there");
    assert_eq!(said(&text, "tool"), "runs");
    let later = said(&text, "later");
    assert!(
        later.starts_with("yes /__w/") && later.ends_with("/tools:/bin"),
        "{later}"
    );
    assert_eq!(said(&text, "output"), "7");
    let streams: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once("│ "))
        .map(|(_, line)| line)
        .filter(|line| ["one", "two", "three"].contains(line))
        .collect();
    assert_eq!(streams, ["one", "two", "three"], "both streams in order");
    assert!(is_gone(&engine, said(&text, "id")).await);
    let network = engine.network(said(&text, "network")).await.unwrap();
    assert_eq!(network, None);
    let left = fs::read_dir(project.work.path()).unwrap().count();
    assert_eq!(left, 0, "the job's folders are removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_of_another_user_can_set_outputs() {
    engine().await;
    let project = Project::new(
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    container: { image: IMAGE, options: --user 1000:1000 }\n    steps:\n      - id: s\n        run: id -u && echo v=$(id -u) >> $GITHUB_OUTPUT && touch here $RUNNER_TEMP/here $HOME/here\n      - run: echo user=${{ steps.s.outputs.v }}\n",
    );
    assert_eq!(said(&project.run(0), "user"), "1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn services_are_reached_by_name_and_by_published_port() {
    engine().await;
    let project = Project::new(
        r#"
on: push
jobs:
  inside:
    runs-on: ubuntu-latest
    container: IMAGE
    services: &services
      web:
        image: IMAGE
        env: { WORD: found-it }
        ports: [8080, "9/udp"]
        options: >-
          --entrypoint sh --health-cmd "test -e /ready" --health-interval 1s --health-retries 30
        command: -c "mkdir /www; echo $WORD > /www/word; touch /ready; exec httpd -f -p 8080 -h /www"
      absent: { image: "${{ github.nothing }}" }
    steps:
      - run: echo "inside=$(wget -qO- http://web:8080/word)"
  host:
    runs-on: ubuntu-latest
    services: *services
    steps:
      - run: |
          echo "port=${{ job.services.web.ports['8080'] }}"
          exec 3<> "/dev/tcp/127.0.0.1/${{ job.services.web.ports[8080] }}"
          printf 'GET /word HTTP/1.0\r\n\r\n' >&3
          echo "host=$(tail -n 1 <&3)"
        shell: bash
      - run: echo "services=${{ join(job.services.*.network) }} ${{ job.services.web.id != '' }}"
"#,
    );
    let text = project.run(0);
    assert_eq!(said(&text, "inside"), "found-it");
    assert_eq!(said(&text, "host"), "found-it");
    assert!(said(&text, "port").parse::<u16>().unwrap() > 1024);
    let services = said(&text, "services");
    assert!(
        services.starts_with("runner_") && services.ends_with(" true"),
        "{services}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_not_well_fails_the_job_with_its_last_lines() {
    engine().await;
    for (options, command, words) in [
        (
            "--health-cmd \"echo no; false\" --health-interval 1s --health-retries 1",
            "sh -c \"echo last-word; sleep 60\"",
            "service `db` is unhealthy: its health check said `no`",
        ),
        (
            "--health-cmd true --health-interval 30s",
            "sh -c \"echo last-word; exit 7\"",
            "service `db` ended with code 7",
        ),
    ] {
        let project = Project::new(&format!(
            "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    services:\n      db:\n        image: IMAGE\n        options: '{options}'\n        command: '{command}'\n    steps: [{{ run: echo step-ran }}]\n"
        ));
        let text = project.run(10);
        assert!(text.contains(words), "{words}\n{text}");
        assert!(text.contains("last-word"), "{text}");
        assert!(!text.contains("│ step-ran"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_obeyed_fails_the_job_by_name() {
    engine().await;
    for (container, words) in [
        (
            "{ image: IMAGE, options: --network host }",
            "`container`: the option `--network` is refused",
        ),
        (
            "{ image: IMAGE, options: --gpus all }",
            "`container`: the option `--gpus` is not supported",
        ),
        (
            "{ image: \"runner-test.invalid/nothing:1\" }",
            "the image `runner-test.invalid/nothing:1` is not on this machine and could not be pulled",
        ),
        (
            "{ image: runner-test-nothing, options: --pull never }",
            "`--pull never` forbids to pull it",
        ),
        (
            "{ image: IMAGE, credentials: { username: u, password: '${{ github.nothing }}' } }",
            "`container`: `credentials`: `password` is empty",
        ),
    ] {
        let project = Project::new(&format!(
            "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    container: {container}\n    steps: [{{ run: echo step-ran }}]\n"
        ));
        let text = project.run(10);
        assert!(text.contains(words), "{words}\n{text}");
        assert!(!text.contains("│ step-ran"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_limit_ends_all_processes_of_the_step_alone() {
    engine().await;
    let project = Project::new(
        r#"
on: push
jobs:
  a:
    runs-on: ubuntu-latest
    container: IMAGE
    steps:
      - run: sleep 4321 > /dev/null 2>&1 &
      - run: |
          env -i sleep 4322 &
          setsid env -i sleep 4323 &
          (sleep 4324 &)
          trap 'echo trapped=yes; exit 9' INT
          sleep 4325 & wait
        timeout-minutes: 0.02
        continue-on-error: true
      - run: |
          for number in 4321 4322 4323 4324 4325; do
            for file in /proc/[0-9]*/cmdline; do
              case $(tr '\0' ' ' < $file) in "sleep $number "*) echo "alive=$number" ;; esac
            done
          done
          echo "looked=yes"
"#,
    );
    let text = project.run(0);
    assert!(text.contains("ran into its time limit"), "{text}");
    assert_eq!(said(&text, "trapped"), "yes");
    assert_eq!(said(&text, "looked"), "yes");
    let alive: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once("│ alive="))
        .map(|(_, number)| number)
        .collect();
    assert_eq!(alive, ["4321"], "{text}");
}

/// Reads what a child prints until a line holds `name=`, and returns all of it.
fn read_until(child: &mut Child, name: &str) -> String {
    let mut output = child.stdout.take().unwrap();
    let mut text = String::new();
    let start = format!("│ {name}=");
    let is_whole = |line: &str| line.contains(&start) && line.ends_with('\n');
    while !text.split_inclusive('\n').any(is_whole) {
        let mut bytes = [0; 4096];
        let length = output.read(&mut bytes).unwrap();
        assert!(length > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
    child.stdout = Some(output);
    text
}

const SLEEPS: &str = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    container: IMAGE\n    services: { db: { image: IMAGE, command: sleep 600 } }\n    steps:\n      - run: 'echo id=${{ job.container.id }}; echo db=${{ job.services.db.id }}; echo network=${{ job.container.network }}; exec sleep 600'\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_leaves_nothing_behind() {
    let engine = engine().await;
    let project = Project::new(SLEEPS);
    let mut child = project.start();
    let text = read_until(&mut child, "network");
    let id = said(&text, "id");
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(11));
    assert!(is_gone(&engine, id).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_job_removes_what_a_killed_runner_left() {
    let engine = engine().await;
    let killed = Project::new(SLEEPS);
    let mut child = killed.start();
    let text = read_until(&mut child, "network");
    let ids = ["id", "db", "network"].map(|name| said(&text, name));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!is_gone(&engine, ids[0]).await);

    Project::new(
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    container: IMAGE\n    steps: [{ run: 'true' }]\n",
    )
    .run(0);
    until_gone(&engine, ids[0]).await;
    until_gone(&engine, ids[1]).await;
    assert_eq!(engine.network(ids[2]).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_can_be_an_image() {
    engine().await;
    let project = Project::new(
        r#"
on: push
jobs:
  a:
    runs-on: ubuntu-latest
    env: { OF_JOB: 'yes' }
    services: { web: { image: IMAGE, command: httpd -f -p 80 -h /bin } }
    steps:
      - uses: docker://IMAGE
        with:
          entrypoint: sh
          args: -c "echo \"words=$PWD $OF_JOB $INPUT_SOME_KEY $HOME\"; wget -q -O /dev/null http://web/cat && echo found=web; echo x=y >> $GITHUB_ENV; touch $GITHUB_WORKSPACE/file"
          some key: value
      - run: test -e file && echo "host=$x"
      - uses: docker://IMAGE
        with: { args: sh -c "exit 4" }
        continue-on-error: true
      - uses: docker://runner-test-nothing:1
        continue-on-error: true
      - uses: docker://IMAGE
        with: { args: sh -c "trap exit INT; sleep 600 & wait" }
        timeout-minutes: 0.02
        continue-on-error: true
"#,
    );
    let text = project.run(0);
    assert_eq!(
        said(&text, "words"),
        "/github/workspace yes value /github/home"
    );
    assert_eq!(said(&text, "found"), "web");
    assert_eq!(said(&text, "host"), "y");
    assert!(text.contains("exit code 4"), "{text}");
    assert!(
        text.contains("`runner-test-nothing:1` is not on this machine"),
        "{text}"
    );
    assert!(text.contains("ran into its time limit"), "{text}");
}

const ACTION: &str = r#"
name: box
inputs:
  who: { description: who, default: nobody }
runs:
  using: docker
  image: Dockerfile
  pre-entrypoint: /stage
  post-entrypoint: /stage
  env: { STAGE_ENV: "${{ inputs.who }}", KEPT: changed }
  args: ["${{ inputs.who }}", "two words"]
"#;

const STAGE: &str = "#!/bin/sh\necho \"stage=${0##*/} $# $1 $2 $STAGE_ENV $KEPT $INPUT_WHO $STATE_seen\"\n\
    echo seen=$((STATE_seen + 1)) >> $GITHUB_STATE\necho \"out=$1\" >> $GITHUB_OUTPUT\n";

#[tokio::test(flavor = "multi_thread")]
async fn actions_can_be_built_from_their_dockerfile() {
    engine().await;
    let project = Project::new(
        r#"
on: push
jobs:
  a:
    runs-on: ubuntu-latest
    container: IMAGE
    steps:
      - uses: actions/checkout@v4
      - uses: ./action
        id: box
        with: { who: me }
        env: { KEPT: kept }
      - run: echo "output=${{ steps.box.outputs.out }}"
      - uses: ./bare
"#,
    );
    project.write("action/action.yml", ACTION);
    project.write("action/stage", STAGE);
    let dockerfile = "FROM IMAGE\nCOPY stage /stage\nRUN chmod +x /stage && cp /stage /main\nENTRYPOINT [\"/main\"]\n";
    project.write("action/Dockerfile", dockerfile);
    project.write(
        "bare/Dockerfile",
        "FROM IMAGE\nCMD [\"echo\", \"bare=yes\"]\n",
    );
    project.commit();
    let text = project.run(0);
    let stages: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once("│ stage="))
        .map(|(_, line)| line)
        .collect();
    assert_eq!(
        stages,
        [
            "main 2 me two words me kept me ",
            "stage 2 me two words me kept me 1"
        ],
        "a local action has no `pre`\n{text}"
    );
    assert_eq!(said(&text, "output"), "me");
    assert_eq!(said(&text, "bare"), "yes");
    let actions = tempfile::tempdir().unwrap();
    let copy = actions.path().join("o/r");
    fs::create_dir_all(&copy).unwrap();
    for (name, content) in [
        ("action.yml", ACTION),
        ("stage", STAGE),
        ("Dockerfile", dockerfile),
    ] {
        fs::write(copy.join(name), content.replace("IMAGE", BUSYBOX)).unwrap();
    }
    has_all_stages(actions.path());
}

/// An action that does not come with the workspace has its `pre` too, with a state of its own.
fn has_all_stages(actions: &Path) {
    let project = Project::new(
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps: [{ uses: o/r@v1 }]\n",
    );
    let output = Command::new(env!("CARGO_BIN_EXE_runner"))
        .args(["run", "w.yml", "--actions-dir"])
        .arg(actions)
        .current_dir(project.folder.path())
        .env("RUNNER_WORK", project.work.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let stages: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once("│ stage="))
        .map(|(_, line)| line)
        .collect();
    assert_eq!(
        stages,
        [
            "stage 2 nobody two words nobody changed nobody ",
            "main 2 nobody two words nobody changed nobody 1",
            "stage 2 nobody two words nobody changed nobody 2"
        ],
        "{text}"
    );
}

#[tokio::test]
async fn a_label_can_stand_for_an_image() {
    engine().await;
    let project = Project::new(
        "on: push\njobs:\n  j:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo \"busybox $(ls /bin/busybox), container ${{ job.container.id != '' }}\"\n        shell: sh\n",
    );
    let label = format!("ubuntu-latest=docker:{BUSYBOX}");
    let child = project.start_with(&["--on", &label]);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("busybox /bin/busybox, container true"),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_s_jobs_are_kept_in_containers_and_may_not_reach_out() {
    engine().await;
    let text = "name: Pull\non: pull_request\njobs:\n  inside: { runs-on: self-hosted, steps: [{ shell: sh, run: 'test -x /bin/busybox && test ! -e /etc/os-release && test ! -e /var/run/docker.sock' }] }\n  options: { runs-on: self-hosted, container: { image: IMAGE, options: --privileged }, steps: [{ run: echo reached }] }\n  volumes: { runs-on: self-hosted, container: { image: IMAGE, volumes: ['/:/host'] }, steps: [{ run: echo reached }] }\n  service: { runs-on: self-hosted, services: { db: { image: IMAGE, options: --privileged } }, steps: [{ run: echo reached }] }\n  action: { runs-on: self-hosted, steps: [{ uses: actions/checkout@v4 }, { uses: runner/build-image@v1 }, { shell: sh, run: echo reached }] }\n";
    let more = format!(
        "webhook-secrets = [{{ env = \"WEBHOOK_TEST_SECRET\" }}]\nforks = \"run-without-secrets\"\nfork-image = \"{BUSYBOX}\"\n"
    );
    let mut server = Server::new(&[("pull.yml", &text.replace("IMAGE", BUSYBOX))])
        .polls("1h")
        .configure(&more)
        .configure_server("");
    server.git(&["push", "-q", "origin", "HEAD:refs/pull/5/head"]);
    let head = server.git(&["rev-parse", "HEAD"]);
    server.start_with(&[("WEBHOOK_TEST_SECRET", "a-secret")]);
    let from = |name: &str| serde_json::json!({"full_name": name});
    let payload = serde_json::json!({"action": "opened", "repository": from("acme/demo"), "sender": {"login": "eve"},
        "pull_request": {"number": 5, "title": "x", "updated_at": "x", "head": {"ref": "x", "sha": head, "repo": from("eve/demo")},
            "base": {"ref": "main", "sha": head, "repo": from("acme/demo")}}});
    server.deliver("pull_request", "a-secret", &payload);
    let state = server.ended("1");
    let conclusion = |id: &str| {
        let jobs = state["jobs"].as_array().unwrap();
        let job = jobs.iter().find(|job| job["id"] == id).unwrap();
        job["conclusion"].as_str().unwrap().to_owned()
    };
    assert_eq!(conclusion("inside"), "success", "{state}");
    let logs = server.ask(&["runs", "logs", "1"]);
    assert!(!logs.contains("reached\n"), "{logs}");
    for id in ["options", "volumes", "service", "action"] {
        assert_eq!(conclusion(id), "failure", "{state}");
    }
    assert!(
        state
            .to_string()
            .contains("a job of a fork is kept in its containers")
            || logs.contains("a job of a fork is kept in its containers"),
        "{state} {logs}"
    );
    server.stop();
}
