//! A project with the stub application, deployed by the program itself.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{project::TOKEN, servers::Sandbox};

/// A project in a folder of its own.
pub(crate) struct StubProject {
    pub(crate) folder: TempDir,
    sandbox: &'static Sandbox,
    /// Held while the servers are this test's.
    _turn: fs::File,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) text: String,
}

impl Ended {
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}", self.text);
        self
    }

    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(
            self.text.contains(text),
            "`{text}` is not in:\n{}",
            self.text
        );
        self
    }
}

impl StubProject {
    /// Writes the project; only one test at a time has the servers.
    pub(crate) fn new(sandbox: &'static Sandbox, deploy_yml: &str) -> Self {
        Self::of_pool(sandbox, "runner-tests-servers", deploy_yml)
    }

    /// The same for the servers of a pool of its own.
    pub(crate) fn of_pool(sandbox: &'static Sandbox, pool: &str, deploy_yml: &str) -> Self {
        let turn = fs::File::create(std::env::temp_dir().join(pool)).unwrap();
        turn.lock().unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("config")).unwrap();
        fs::create_dir_all(folder.path().join(".kamal")).unwrap();
        let file = |name: &str| sandbox.value(name).to_owned();
        let secrets = format!(
            "TLS_CERTIFICATE=$(cat {})\nTLS_PRIVATE_KEY=$(cat {})\nREGISTRY_PASSWORD=$(cat {})\nTOKEN={TOKEN}\n",
            file("SANDBOX_TLS_CERTIFICATE"),
            file("SANDBOX_TLS_KEY"),
            file("SANDBOX_REGISTRY_PASSWORD_FILE"),
        );
        fs::write(folder.path().join(".kamal/secrets"), secrets).unwrap();
        fs::write(folder.path().join("config/deploy.yml"), deploy_yml).unwrap();
        Self {
            folder,
            sandbox,
            _turn: turn,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes another configuration.
    pub(crate) fn write(&self, deploy_yml: &str) {
        fs::write(self.path().join("config/deploy.yml"), deploy_yml).unwrap();
    }

    /// Writes another file.
    pub(crate) fn file(&self, path: &str, text: &str) {
        fs::write(self.path().join(path), text).unwrap();
    }

    /// Reads a file.
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path().join(path)).unwrap()
    }

    /// Makes the folder a repository whose one commit has everything but secrets and what runs leave.
    pub(crate) fn commit(&self) {
        self.file(".gitignore", ".kamal/secrets\n/workflow.yml\n/.work/\n");
        for arguments in [
            &["init", "-q", "-b", "main"][..],
            &["add", "-A"],
            &["commit", "-q", "--allow-empty", "-m", "state"],
        ] {
            let done = Command::new("git")
                .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
                .args(arguments)
                .current_dir(self.path())
                .output()
                .unwrap();
            assert!(done.status.success(), "{done:?}");
        }
    }

    /// `runner run` of a workflow with one job: the checkout, then these steps.
    pub(crate) fn workflow(&self, steps: &str) -> Command {
        let indented = steps.trim().replace('\n', "\n      ");
        let text = format!(
            "on: workflow_dispatch\njobs:\n  deploy:\n    runs-on: self-hosted\n    steps:\n      \
             - uses: actions/checkout@v4\n      {indented}\n"
        );
        self.file("workflow.yml", &text);
        let mut command = self.command(&["run", "workflow.yml"]);
        command.env("RUNNER_WORK", self.path().join(".work"));
        command
    }

    /// The program, ready to be started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.sandbox.value("SANDBOX_HOME"))
            .env("USER", "tests")
            .stdin(Stdio::null());
        command
    }

    /// A command in a process namespace of its own: to others it is of another machine, of whose
    /// processes nobody can say whether they live.
    pub(crate) fn elsewhere(command: &Command) -> Command {
        let mut moved = Command::new("unshare");
        moved
            .args(["--pid", "--fork", "--mount-proc", "--kill-child"])
            .arg(command.get_program())
            .args(command.get_args())
            .env_clear()
            .envs(
                command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdin(Stdio::null());
        if let Some(folder) = command.get_current_dir() {
            moved.current_dir(folder);
        }
        moved
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Self::ended(&mut self.command(arguments))
    }

    /// Runs the program to its end with further variables.
    pub(crate) fn run_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Ended {
        Self::ended(self.command(arguments).envs(variables.iter().copied()))
    }

    /// Runs a command to its end.
    pub(crate) fn ended(command: &mut Command) -> Ended {
        let output = command.output().unwrap();
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        assert!(!text.contains(TOKEN), "a secret was printed:\n{text}");
        Ended {
            code: output.status.code().unwrap_or(-1),
            text,
        }
    }

    /// Starts the program and waits until it says something.
    pub(crate) fn start_until(&self, arguments: &[&str], word: &str) -> Running {
        Self::started_until(&mut self.command(arguments), word)
    }

    /// Starts a command.
    pub(crate) fn started(command: &mut Command) -> Running {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let rest = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _read = stdout.read_to_end(&mut text);
            text
        });
        Running { child, rest }
    }

    /// Starts a command and waits until it says something.
    pub(crate) fn started_until(command: &mut Command, word: &str) -> Running {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = child.stdout.take().unwrap();
        let (mut text, mut byte) = (Vec::new(), [0_u8]);
        while !String::from_utf8_lossy(&text).contains(word) {
            let read = stdout.read(&mut byte).unwrap();
            assert!(
                read > 0,
                "it ended without `{word}`: {}",
                String::from_utf8_lossy(&text)
            );
            text.push(byte[0]);
        }
        let rest = std::thread::spawn(move || {
            let _read = stdout.read_to_end(&mut text);
            text
        });
        Running { child, rest }
    }
}

/// A command that still runs.
pub(crate) struct Running {
    child: Child,
    rest: JoinHandle<Vec<u8>>,
}

impl Running {
    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Ends it by Ctrl-C.
    pub(crate) fn interrupted(self) -> Ended {
        self.signal(nix::sys::signal::Signal::SIGINT);
        self.wait()
    }

    pub(crate) fn wait(mut self) -> Ended {
        let mut errors = String::new();
        let _read = self
            .child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut errors);
        let status = self.child.wait().unwrap();
        let mut text = String::from_utf8_lossy(&self.rest.join().unwrap()).into_owned();
        text.push_str(&errors);
        Ended {
            code: status.code().unwrap_or(-1),
            text,
        }
    }
}

/// Requests to a plain port, each on a connection of its own.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, Vec<String>)>,
}

impl Load {
    /// Begins to ask, 100 times a second.
    pub(crate) fn start(host: &str, port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ended, address) = (stop.clone(), format!("{host}:{port}"));
        let thread = std::thread::spawn(move || {
            let (mut sent, mut lost) = (0, Vec::new());
            let mut next = Instant::now();
            while !ended.load(Ordering::Relaxed) {
                sent += 1;
                if let Err(reason) = ask(&address, "/version") {
                    lost.push(reason);
                }
                next += Duration::from_millis(10);
                std::thread::park_timeout(next.saturating_duration_since(Instant::now()));
            }
            (sent, lost)
        });
        Self { stop, thread }
    }

    /// Ends, and returns how many requests were sent and what became of those that were lost.
    pub(crate) fn end(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Asks for a path and returns the body of an answer of 200.
pub(crate) fn ask(address: &str, path: &str) -> Result<String, String> {
    let words = |e: std::io::Error| e.to_string();
    let mut stream = TcpStream::connect(address).map_err(words)?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .map_err(words)?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: app.stub.test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(words)?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(words)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or("no answer")?;
    if !head.starts_with("HTTP/1.1 200 ") {
        return Err(head.lines().next().unwrap_or_default().to_owned());
    }
    Ok(body.trim().to_owned())
}
