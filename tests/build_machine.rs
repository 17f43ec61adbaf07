//! Jobs on a machine without a runner: its Docker Engine, reached by SSH.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::images::{BUSYBOX, engine};
use crate::support::servers::Sandbox;

/// The sandbox's server that is the build machine.
const SERVER: u8 = 9;

const LONG: Duration = Duration::from_secs(180);

/// What a job leaves on a machine: containers, volumes and networks of any runner.
const LEFT: &str = "docker ps -aq --no-trunc --filter label=runner.job; docker volume ls -q --filter label=runner.job; docker network ls -q --filter label=runner.job";

/// The build machine, with an image for jobs.
struct Machine {
    sandbox: &'static Sandbox,
    address: String,
}

impl Machine {
    async fn up() -> Self {
        engine().await;
        let machine = Self {
            sandbox: Sandbox::up(&[SERVER]),
            address: format!("ssh://deploy@127.0.0.1{SERVER}:2121"),
        };
        let copy = format!(
            "docker save {BUSYBOX} | docker exec -i runner-sandbox-srv{SERVER} docker load"
        );
        let copied = Command::new("sh").args(["-c", &copy]).output().unwrap();
        assert!(copied.status.success(), "{copied:?}");
        machine
            .sandbox
            .as_root(SERVER, &format!("docker rm -f $({LEFT})"));
        machine
    }

    fn on(&self, command: &str) -> String {
        self.sandbox.as_root(SERVER, command)
    }

    /// `LABEL=PLACE` of a label whose jobs run there in the test's image.
    fn place(&self) -> String {
        format!("build={}?image={BUSYBOX}", self.address)
    }

    fn has_nothing_left(&self) {
        assert_eq!(self.on(LEFT), "");
    }

    fn wait_for(&self, what: &str, command: &str, holds: impl Fn(&str) -> bool) {
        let end = Instant::now() + LONG;
        loop {
            let said = self.on(command);
            if holds(&said) {
                return;
            }
            assert!(Instant::now() < end, "{what} did not come: {said}");
            std::thread::park_timeout(Duration::from_millis(100));
        }
    }
}

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
        project.write("w.yml", workflow);
        project
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.replace("IMAGE", BUSYBOX)).unwrap();
    }

    fn commit(&self) {
        let author = ["-c", "user.name=t", "-c", "user.email=t@t"];
        let commit = [&author[..], &["commit", "-q", "-m", "t"]].concat();
        for words in [&["init", "-q", "-b", "main"][..], &["add", "."], &commit] {
            let mut git = Command::new("git");
            let git = git.args(words).current_dir(self.folder.path());
            assert!(git.status().unwrap().success());
        }
    }

    fn start(&self, home: &Path, on: &str, more: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_runner"))
            .args(["run", "w.yml", "--on", on])
            .args(more)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", home)
            .env("RUNNER_WORK", self.work.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Runs the workflow there, and says what it printed when it did not end with this code.
    fn run(&self, machine: &Machine, code: i32, more: &[&str]) -> String {
        let home = Path::new(machine.sandbox.value("SANDBOX_HOME"));
        let child = self.start(home, &machine.place(), more);
        self.ended(child, code)
    }

    fn ended(&self, child: Child, code: i32) -> String {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{text}");
        let left = fs::read_dir(self.work.path()).unwrap().count();
        assert_eq!(left, 0, "the job's folders are removed");
        text
    }
}

/// Returns what follows `name=` in the output.
fn said<'a>(text: &'a str, name: &str) -> &'a str {
    let start = format!("│ {name}=");
    let line = text.lines().find_map(|line| line.split_once(&start));
    line.unwrap_or_else(|| panic!("no `{name}=` in:\n{text}")).1
}

/// Reads what a child prints until a line holds `name=`, and returns all of it.
fn read_until(child: &mut Child, name: &str) -> String {
    let output = child.stdout.as_mut().unwrap();
    let mut text = String::new();
    let start = format!("│ {name}=");
    let is_whole = |line: &str| line.contains(&start) && line.ends_with('\n');
    while !text.split_inclusive('\n').any(is_whole) {
        let mut bytes = [0; 4096];
        let length = output.read(&mut bytes).unwrap();
        assert!(length > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
    text
}

const EVERYTHING: &str = r##"
on: push
env: { PLACE: "${{ github.workspace }}" }
jobs:
  far:
    runs-on: [self-hosted, build]
    services:
      web:
        image: IMAGE
        env: { WORD: found-it }
        options: --entrypoint sh --health-cmd "test -e /ready" --health-interval 1s --health-retries 60
        command: -c "mkdir /www; echo $WORD > /www/word; touch /ready; exec httpd -f -p 8080 -h /www"
    outputs: { value: "${{ steps.set.outputs.value }}" }
    steps:
      - uses: actions/checkout@v4
      - id: set
        run: |
          test "$PWD" = "$GITHUB_WORKSPACE" && test "$PWD" = "$PLACE" || exit 1
          test -s "$GITHUB_EVENT_PATH" && test -S /var/run/docker.sock || exit 1
          echo "host=$(cat /proc/sys/kernel/hostname) file=$(cat sub/file) mode=$(stat -c %a sub/run)"
          echo "link=$(readlink link) owner=$(stat -c %u sub/file)"
          echo value=7 >> "$GITHUB_OUTPUT"
          echo LATER=yes >> "$GITHUB_ENV"
          echo "# far" >> "$GITHUB_STEP_SUMMARY"
          mkdir tools && printf '#!/bin/sh\necho tool=runs' > tools/tool && chmod +x tools/tool
          echo "$PWD/tools" >> "$GITHUB_PATH"
          echo made > made; rm sub/gone; echo temp > $RUNNER_TEMP/temp
      - run: |
          tool
          echo "later=$LATER $(cat $RUNNER_TEMP/temp)"
          echo "id=${{ job.container.id }}"
          echo "hash=${{ hashFiles('made', 'sub/gone') }}"
          echo "inside=$(wget -qO- http://web:8080/word)"
          echo "secret=$SECRET"
          echo "runner=${{ runner.name }} ${{ runner.arch }}"
        env: { SECRET: "${{ secrets.WORD }}" }
      - uses: ./action
      - uses: docker://IMAGE
        with: { entrypoint: sh, args: -c "echo \"image=$(cat made) $PWD\"; echo OF_PLACE=set >> $GITHUB_ENV; touch of-image" }
      - run: test -e of-image && echo "of_image=$OF_PLACE"
      - uses: ./box
      - uses: actions/checkout@v4
      - run: test ! -e made && test -e sub/gone && echo "clean=yes"
  own:
    runs-on: build
    container: { image: IMAGE, options: --user 1000:1000 }
    steps:
      - uses: actions/checkout@v4
      - id: s
        run: echo v=$(id -u)-$(stat -c %u w.yml) >> $GITHUB_OUTPUT && touch here $RUNNER_TEMP/here $HOME/here
      - run: echo user=${{ steps.s.outputs.v }}
  here:
    needs: far
    runs-on: ubuntu-latest
    steps: [{ run: "echo output=${{ needs.far.outputs.value }}" }]
"##;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_on_another_machine_has_all_that_it_has_here() {
    let machine = Machine::up().await;
    let project = Project::new(EVERYTHING);
    project.write("sub/file", "content");
    project.write("sub/gone", "gone");
    project.write("sub/run", "#!/bin/sh\n");
    let path = |name: &str| project.folder.path().join(name);
    std::os::unix::fs::symlink("sub/file", path("link")).unwrap();
    let rights = std::os::unix::fs::PermissionsExt::from_mode(0o750);
    fs::set_permissions(path("sub/run"), rights).unwrap();
    project.write(
        "action/action.yml",
        "name: a\nruns:\n  using: composite\n  steps: [{ run: 'echo local=$(cat made)', shell: sh }]\n",
    );
    project.write(
        "box/Dockerfile",
        "FROM IMAGE\nCMD [\"sh\", \"-c\", \"echo box=$(cat made)\"]\n",
    );
    project.commit();
    let text = project.run(&machine, 0, &["--secret", "WORD=geheim-und-lang"]);
    assert!(
        said(&text, "host").ends_with("file=content mode=750"),
        "{text}"
    );
    assert_eq!(said(&text, "link"), "sub/file owner=0");
    assert_eq!(said(&text, "tool"), "runs");
    assert_eq!(said(&text, "later"), "yes temp");
    // SHA-256 of the SHA-256 of `made\n` alone: the other file is gone there.
    let expected = {
        use sha2::{Digest as _, Sha256};
        hex::encode(Sha256::digest(Sha256::digest("made\n")))
    };
    assert_eq!(said(&text, "hash"), expected);
    assert_eq!(said(&text, "inside"), "found-it");
    assert_eq!(said(&text, "secret"), "***");
    assert_eq!(said(&text, "runner"), "127.0.0.19 X64");
    assert_eq!(said(&text, "local"), "made");
    assert_eq!(said(&text, "image"), "made /github/workspace");
    assert_eq!(said(&text, "of_image"), "set");
    assert_eq!(said(&text, "box"), "made");
    assert_eq!(said(&text, "clean"), "yes");
    assert_eq!(said(&text, "user"), "1000-1000");
    assert_eq!(said(&text, "output"), "7");
    machine.has_nothing_left();
    let images = machine.on("docker images -q runner-action");
    assert_eq!(images, "", "an action's image goes with its job");
}

const SLEEPS: &str = "on: push\njobs:\n  a:\n    runs-on: build\n    services: { db: { image: IMAGE, command: sleep 600 } }\n    steps:\n      - run: '(setsid sleep 4711 &); echo id=${{ job.container.id }}; exec sleep 4712'\n      - if: always()\n        run: echo after\n";

/// Counts the processes that a step of [`SLEEPS`] started, as the machine sees them.
const SLEEPERS: &str = "for file in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $file 2>/dev/null; echo; done | grep -c '^sleep 471'";

fn start_sleeping(machine: &Machine, project: &Project) -> (Child, String) {
    let home = Path::new(machine.sandbox.value("SANDBOX_HOME"));
    let mut child = project.start(home, &machine.place(), &[]);
    let text = read_until(&mut child, "id");
    machine.wait_for("the step", SLEEPERS, |count| count.trim() == "2");
    (child, said(&text, "id").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_leaves_nothing_on_the_other_machine() {
    let machine = Machine::up().await;
    let project = Project::new(SLEEPS);
    let (child, _) = start_sleeping(&machine, &project);
    kill(
        Pid::from_raw(child.id().try_into().unwrap()),
        Signal::SIGINT,
    )
    .unwrap();
    project.ended(child, 11);
    machine.has_nothing_left();
    assert_eq!(machine.on(SLEEPERS).trim(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_runner_left_ends_by_itself_and_is_removed_by_the_next_job() {
    let machine = Machine::up().await;
    let project = Project::new(SLEEPS);
    let (mut child, id) = start_sleeping(&machine, &project);
    // What somebody else's runner left is not ours to remove.
    let other = machine.on("docker volume create --label runner.job=x --label runner.owner=a/b/1/2 --label runner.machine=other");
    child.kill().unwrap();
    child.wait().unwrap();
    machine.wait_for("the end of the step", SLEEPERS, |count| count.trim() == "0");
    let is_running = format!("docker inspect -f '{{{{.State.Running}}}}' {id}");
    machine.wait_for("the end of the container", &is_running, |said| {
        said.trim() == "false"
    });
    assert!(machine.on(LEFT).lines().count() > 3);

    let next = "on: push\njobs: { a: { runs-on: build, steps: [{ run: 'true' }] } }\n";
    Project::new(next).run(&machine, 0, &[]);
    assert_eq!(machine.on(LEFT), other);
    machine.on(&format!("docker volume rm {}", other.trim()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_fails_the_step_and_says_so() {
    let machine = Machine::up().await;
    let project = Project::new(SLEEPS);
    let (child, _) = start_sleeping(&machine, &project);
    // The processes of sshd that serve sessions of this user.
    let cut = "for file in /proc/[0-9]*/cmdline; do case $(tr '\\0' ' ' < $file 2>/dev/null) in 'sshd: deploy'*) number=${file#/proc/}; kill ${number%/cmdline} ;; esac; done";
    machine.on(cut);
    let text = project.ended(child, 10);
    let lost = format!(
        "the SSH connection to `deploy@127.0.0.1{SERVER}:2121`, where the job runs, is lost"
    );
    assert!(text.contains(&lost), "{text}");
    assert!(!text.contains("│ after"), "{text}");
    machine.has_nothing_left();
    assert_eq!(machine.on(SLEEPERS).trim(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_there_is_refused_before_anything_starts() {
    let machine = Machine::up().await;
    let plain = "on: push\njobs: { a: { runs-on: build, steps: [{ run: echo ran }] } }\n";
    let home = Path::new(machine.sandbox.value("SANDBOX_HOME"));
    let project = Project::new(plain);
    let bare = format!("build={}", machine.address);
    let text = project.ended(project.start(home, &bare, &[]), 3);
    assert!(
        text.contains("runs in no container, and its label leads to another machine"),
        "{text}"
    );
    let text = project.ended(project.start(home, "build=ssh://nobody", &[]), 2);
    assert!(text.contains("`ssh://nobody` is no address"), "{text}");

    // Nobody vouches for the machine's key; then a pinned one does, and another one does not.
    let stranger = tempfile::tempdir().unwrap();
    let key = machine.sandbox.value("SANDBOX_SSH_KEY");
    let with = |more: &str| format!("{}&key={key}{more}", machine.place());
    let text = project.ended(project.start(stranger.path(), &with(""), &[]), 10);
    assert!(text.contains("is in no known hosts file"), "{text}");
    assert!(!text.contains("│ ran"), "{text}");
    let keys = fs::read_to_string(machine.sandbox.value("SANDBOX_KNOWN_HOSTS")).unwrap();
    let line = keys
        .lines()
        .find(|line| line.contains("127.0.0.19"))
        .unwrap();
    let public = line.split_once(' ').unwrap().1;
    let print = runner::ssh::Fingerprint::parse(public).unwrap();
    let pinned = with(&format!("&fingerprint={print}"));
    let text = project.ended(project.start(stranger.path(), &pinned, &[]), 0);
    assert!(text.contains("│ ran"), "{text}");
    let wrong = with("&fingerprint=SHA256:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ");
    let text = project.ended(project.start(home, &wrong, &[]), 10);
    assert!(text.contains("is not the pinned one"), "{text}");
    machine.has_nothing_left();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_built_where_its_job_runs() {
    let machine = Machine::up().await;
    let project = Project::new(
        "on: push\njobs:\n  a:\n    runs-on: build\n    steps:\n      - uses: actions/checkout@v4\n      - run: echo made-there > made\n      - uses: runner/build-image@v1\n        id: image\n        with: { version: far-1, allow-uncommitted: true }\n      - run: echo \"image=${{ steps.image.outputs.image }}\"\n",
    );
    project.write(
        "Dockerfile",
        "FROM IMAGE\nCOPY made /made\nCMD [\"cat\", \"/made\"]\n",
    );
    project.write(
        "config/deploy.yml",
        "service: far\nimage: runner-test-far\nservers: [127.0.0.19]\nregistry: { server: \"127.0.0.1:5000\", username: deploy, password: [REGISTRY_PASSWORD] }\nbuilder: { arch: amd64 }\n",
    );
    project.write(".kamal/secrets", "REGISTRY_PASSWORD=not-needed\n");
    project.commit();
    let text = project.run(&machine, 0, &[]);
    let image = said(&text, "image");
    assert!(image.contains("/runner-test-far:far-1"), "{image}");
    let ran = machine.on(&format!(
        "docker run --rm --network none {image}; docker rmi -f {image} > /dev/null"
    ));
    assert_eq!(ran, "made-there\n");
    let here = engine().await.image(image).await.unwrap();
    assert!(here.is_none(), "it is not built on this machine");
    machine.has_nothing_left();
}
