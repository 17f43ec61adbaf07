//! `runner serve` on a bare repository of its own, as a user starts it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::http;

/// How long anything may take on a machine that has much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A folder with a working tree, a bare repository, a `runner.toml`, and maybe a server.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    child: Option<Child>,
    config: String,
    /// Lines before all tables of `runner.toml`.
    top: String,
    /// The table `[server]`, if there is one.
    http: Option<String>,
    poll: &'static str,
}

/// The jobs of these tests end at once where nothing holds them: a file `go` in this folder lets
/// those end that wait for it.
pub(crate) const WAIT_FOR_GO: &str =
    "for i in $(seq 1 600); do if [ -e \"$HOLD/go\" ]; then exit 0; fi; sleep 0.1; done; exit 9";

impl Server {
    /// Returns a repository with these workflow files, committed and pushed.
    pub(crate) fn new(workflows: &[(&str, &str)]) -> Self {
        let server = Self {
            folder: tempfile::tempdir().unwrap(),
            child: None,
            config: String::new(),
            top: String::new(),
            http: None,
            poll: "100ms",
        };
        server.git_in(".", &["init", "-q", "--bare", "-b", "main", "bare.git"]);
        server.git_in(".", &["init", "-q", "-b", "main", "tree"]);
        server.git(&["remote", "add", "origin", "../bare.git"]);
        for (name, text) in workflows {
            server.write(&format!("tree/pipelines/{name}"), text);
        }
        server.push("first");
        server
    }

    /// Adds lines to `runner.toml`, behind those of the one repository.
    pub(crate) fn configure(mut self, more: &str) -> Self {
        self.config.push_str(more);
        self
    }

    /// Adds lines to `runner.toml`, before all tables.
    pub(crate) fn before(mut self, more: &str) -> Self {
        self.top.push_str(more);
        self
    }

    /// Answers by HTTP, on a free port, with these lines more in `[server]`.
    pub(crate) fn configure_server(mut self, more: &str) -> Self {
        self.http = Some(format!("[server]\nlisten = \"127.0.0.1:0\"\n{more}"));
        self
    }

    /// Looks at the repository this often.
    pub(crate) fn polls(mut self, every: &'static str) -> Self {
        self.poll = every;
        self
    }

    /// Returns where the server listens that was started last.
    pub(crate) fn address(&self) -> String {
        self.wait_for("the server to listen", || {
            let log = self.log();
            let (_, address) = log.rsplit_once("listening at http://")?;
            let (address, _) = address.split_once('\n')?;
            Some(address.to_owned())
        })
    }

    /// Delivers a webhook as GitHub does, signed by this secret; it must be taken.
    pub(crate) fn deliver(&self, event: &str, secret: &str, payload: &serde_json::Value) {
        let body = payload.to_string();
        let body = body.as_bytes();
        let id = uuid::Uuid::now_v7().to_string();
        let signature = http::signature(secret, body);
        let answer = http::deliver(&self.address(), (event, &id), &signature, body);
        assert_eq!(answer.status, 202, "{answer:?}");
    }

    /// Returns where everything lies.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Returns where the server keeps what it must not forget.
    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Writes a file below the folder.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let file = self.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    fn git_in(&self, folder: &str, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=Tess", "-c", "user.email=t@example.com"])
            .args(arguments)
            .current_dir(self.path().join(folder))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "git {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Asks git in the working tree.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        self.git_in("tree", arguments)
    }

    /// Commits everything and pushes it; returns the commit.
    pub(crate) fn push(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["push", "-q", "origin", "HEAD"]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Returns a command of the program with the configuration of this server.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let config = format!(
            "data = \"data\"\nslots = 2\n{}{}[[repository]]\nname = \"acme/demo\"\nurl = \"{}\"\npoll = \"{}\"\n{}",
            self.top,
            self.http.as_deref().unwrap_or_default(),
            self.path().join("bare.git").display(),
            self.poll,
            self.config
        );
        // A server that starts meanwhile must not read half of it.
        if fs::read_to_string(self.path().join("runner.toml"))
            .ok()
            .as_ref()
            != Some(&config)
        {
            self.write("runner.toml", &config);
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_remove("GITHUB_TOKEN")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must succeed, and returns what it printed.
    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts the server and waits until it has looked at the repository once.
    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts the server with variables.
    pub(crate) fn start_with(&mut self, env: &[(&str, &str)]) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path().join("serve.log"))
            .unwrap();
        let child = self
            .command(&["serve"])
            .env("RUNNER_LOG", "info")
            .env("HOLD", self.path())
            .envs(env.iter().copied())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let mirror = self.data().join("mirrors/acme__demo.git/refs/heads/main");
        let packed = self.data().join("mirrors/acme__demo.git/packed-refs");
        self.wait_for("the first look", || {
            (mirror.exists() || packed.exists()).then_some(())
        });
        // The look is remembered once an event can be told from it: the store has the ref.
        self.wait_for("the refs to be remembered", || {
            let bytes = fs::read(self.data().join("runner.db-wal")).unwrap_or_default();
            let whole = [
                bytes,
                fs::read(self.data().join("runner.db")).unwrap_or_default(),
            ]
            .concat();
            let needle = b"refs/heads/main";
            whole
                .windows(needle.len())
                .any(|window| window == needle)
                .then_some(())
        });
    }

    /// Waits until the server died by itself or something is so; tells whether it died.
    pub(crate) fn died_or(&mut self, is_so: impl Fn(&Self) -> bool) -> bool {
        let mut child = self.child.take().unwrap();
        let has_died = self.wait_for("a death, or the end", || {
            if child.try_wait().unwrap().is_some() {
                return Some(true);
            }
            is_so(self).then_some(false)
        });
        if !has_died {
            self.child = Some(child);
        }
        has_died
    }

    /// Kills the server: nothing of it can clean up.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks the server to stop, waits until it did, and returns its log.
    pub(crate) fn stop(&mut self) -> String {
        let mut child = self.child.take().unwrap();
        interrupt(child.id());
        assert!(child.wait().unwrap().success(), "{}", self.log());
        self.log()
    }

    /// What the server said so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path().join("serve.log")).unwrap_or_default()
    }

    /// Lets the jobs end that wait for it.
    pub(crate) fn go(&self) {
        self.write("go", "");
    }

    /// Returns the state of a run as JSON; none before it is there.
    pub(crate) fn state(&self, run: &str) -> Option<serde_json::Value> {
        let output = self.run(&["runs", "show", run, "--format", "json"]);
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Waits until a run ended, and returns its state.
    pub(crate) fn ended(&self, run: &str) -> serde_json::Value {
        self.wait_for(&format!("the end of run {run}"), || {
            self.state(run)
                .filter(|state| state["status"] == "completed")
        })
    }

    /// Waits until a run has the status.
    pub(crate) fn reached(&self, run: &str, status: &str) {
        self.wait_for(&format!("run {run} to be {status}"), || {
            self.state(run)
                .filter(|state| state["status"] == status)
                .map(drop)
        });
    }

    /// Waits for something, and fails with the server's log where it does not come.
    pub(crate) fn wait_for<T>(&self, what: &str, look: impl FnMut() -> Option<T>) -> T {
        self.wait_or(what, look, || {
            let list = self.run(&["runs", "list"]);
            format!("{}\n{}", self.log(), String::from_utf8_lossy(&list.stdout))
        })
    }

    /// Waits for something, and fails with these words where it does not come.
    #[expect(
        clippy::disallowed_methods,
        reason = "a test that waits for another process has nothing else to do"
    )]
    pub(crate) fn wait_or<T>(
        &self,
        what: &str,
        mut look: impl FnMut() -> Option<T>,
        words: impl FnOnce() -> String,
    ) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(Instant::now() < end, "{what} did not come\n{}", words());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Returns all files that the server keeps, in one.
    pub(crate) fn everything_kept(&self) -> Vec<u8> {
        all_below(vec![self.data()])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.go();
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Returns all files below these folders, in one.
pub(crate) fn all_below(mut folders: Vec<PathBuf>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                bytes.extend(fs::read(entry.path()).unwrap_or_default());
            }
        }
    }
    bytes
}

/// Sends Ctrl-C to a process.
pub(crate) fn interrupt(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
}
