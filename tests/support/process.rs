//! Runs the program in a folder of its own and compares what it says.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Variables of whoever runs the tests that must not reach the program.
const SCRUBBED: &[&str] = &[
    "GITHUB_", "RUNNER_", "ACTIONS_", "INPUT_", "STATE_", "KAMAL_",
];

/// A call of the program: files, arguments, and what is expected of it.
#[derive(Debug)]
pub(crate) struct Test {
    folder: tempfile::TempDir,
    arguments: Vec<String>,
    env: Vec<(String, String)>,
}

impl Test {
    /// Returns a test in an empty folder.
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            arguments: Vec::new(),
            env: Vec::new(),
        }
    }

    /// Writes a file.
    pub(crate) fn file(self, path: &str, content: &str) -> Self {
        let file = self.folder.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, content).unwrap();
        if content.starts_with("#!") {
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        self
    }

    /// Writes the workflow `w.yml`.
    pub(crate) fn workflow(self, content: &str) -> Self {
        self.file("w.yml", content)
    }

    /// Commits everything that is there.
    pub(crate) fn commit(self) -> Self {
        for arguments in [
            &["init", "-q", "-b", "main"][..],
            &["add", "-A"],
            &["commit", "-q", "-m", "first"],
        ] {
            self.git(arguments);
        }
        self
    }

    /// Asks git, and returns what it says.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args([
                "-c",
                "user.name=t",
                "-c",
                "user.email=t@example.com",
                "-c",
                "commit.gpgsign=false",
            ])
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "git {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Sets the arguments.
    pub(crate) fn args(mut self, arguments: &[&str]) -> Self {
        self.arguments = arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect();
        self
    }

    /// Sets a variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Returns the folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the command, ready to be started.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
        command
            .args(&self.arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if SCRUBBED.iter().any(|prefix| name.starts_with(prefix))
                || matches!(name.as_str(), "CI" | "NO_COLOR")
            {
                command.env_remove(&name);
            }
        }
        let work = self.folder.path().join(".work");
        command
            .env("RUNNER_WORK", work)
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs the program.
    pub(crate) fn run(&self) -> Answer {
        Answer::from(self.command().output().unwrap())
    }
}

/// What the program said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) code: i32,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        Self {
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code().unwrap_or(-1),
        }
    }
}

impl Answer {
    /// Compares the exit code.
    #[track_caller]
    pub(crate) fn code(&self, expected: i32) -> &Self {
        assert_eq!(
            self.code, expected,
            "stdout:\n{}\nstderr:\n{}",
            self.out, self.err
        );
        self
    }

    /// Looks for words on standard output.
    #[track_caller]
    pub(crate) fn says(&self, words: &str) -> &Self {
        assert!(
            self.out.contains(words),
            "no {words:?} in stdout:\n{}\nstderr:\n{}",
            self.out,
            self.err
        );
        self
    }

    /// Looks for words that must not be on either output.
    #[track_caller]
    pub(crate) fn never_says(&self, words: &str) -> &Self {
        assert!(
            !self.out.contains(words) && !self.err.contains(words),
            "{words:?} in:\n{}\n{}",
            self.out,
            self.err
        );
        self
    }

    /// Looks for words on standard error.
    #[track_caller]
    pub(crate) fn complains(&self, words: &str) -> &Self {
        assert!(
            self.err.contains(words),
            "no {words:?} in stderr:\n{}\nstdout:\n{}",
            self.err,
            self.out
        );
        self
    }

    /// Returns the closing object of `--format json`.
    #[track_caller]
    pub(crate) fn result(&self) -> serde_json::Value {
        let last = self.out.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {last}\n{}", self.err))
    }

    /// Returns the lines of the log of `--format json`.
    pub(crate) fn log(&self) -> Vec<String> {
        let lines = self
            .out
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines
            .filter(|line| line["type"] == "log")
            .filter_map(|line| line["line"].as_str().map(str::to_owned))
            .collect()
    }
}

/// Waits until something is so; panics after `seconds`.
#[track_caller]
pub(crate) fn wait_until(seconds: u64, what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
    while !is_so() {
        assert!(
            std::time::Instant::now() < deadline,
            "{what}: not so after {seconds} s"
        );
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "polls a condition between two looks, in a test's own thread"
)]
fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(10));
}

/// Returns the folder with the conformance data, if it is there.
pub(crate) fn conformance() -> Option<PathBuf> {
    let given = std::env::var_os("RUNNER_CONFORMANCE").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance");
    given.or(Some(beside)).filter(|folder| folder.is_dir())
}

/// Whether some process has a word on its command line.
pub(crate) fn is_running(word: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes
        .filter_map(|process| fs::read(process.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).contains(word))
}
