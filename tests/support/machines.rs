//! Several machines, each a `runner serve` with a folder of its own, on one PostgreSQL server.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::postgres::Postgres;
use super::server::{PATIENCE, Server, all_below, interrupt};

/// One machine.
struct Machine {
    folder: PathBuf,
    child: Option<Child>,
    database: String,
}

/// A repository, a database, and machines that share both.
pub(crate) struct Machines {
    repository: Server,
    database: String,
    configuration: String,
    machines: Vec<Machine>,
    // The servers go before the database that they talk to.
    pub(crate) postgres: Arc<Postgres>,
}

impl Machines {
    /// Returns so many machines, none of which runs, with the lines `more` for the repository.
    pub(crate) fn new(postgres: Arc<Postgres>, count: usize, more: &str) -> Self {
        let repository = Server::new(&[]);
        let database = postgres.database();
        let url = postgres.url(&database);
        let machine = |number: usize| Machine {
            folder: repository.path().join(format!("machine{number}")),
            child: None,
            database: url.clone(),
        };
        Self {
            machines: (0..count).map(machine).collect(),
            configuration: format!(
                "data = \"data\"\nslots = 2\n[[repository]]\nname = \"acme/demo\"\nurl = \"{}\"\npoll = \"100ms\"\n{more}",
                repository.path().join("bare.git").display()
            ),
            repository,
            database,
            postgres,
        }
    }

    /// Returns where everything lies.
    pub(crate) fn path(&self) -> &Path {
        self.repository.path()
    }

    /// Lets a machine reach the database by another port.
    pub(crate) fn reach_by(&mut self, number: usize, port: u16) {
        self.machines[number].database = self.postgres.url_by(port, &self.database);
    }

    /// Writes a workflow file.
    pub(crate) fn write(&self, name: &str, text: &str) {
        self.repository
            .write(&format!("tree/pipelines/{name}"), text);
    }

    /// Commits everything and pushes it.
    pub(crate) fn push(&self, message: &str) -> String {
        self.repository.push(message)
    }

    /// Adds lines to the configuration of one machine, which did not start yet.
    pub(crate) fn configure(&self, number: usize, more: &str) {
        let folder = &self.machines[number].folder;
        fs::create_dir_all(folder).unwrap();
        let text = format!("{}{more}", self.configuration);
        fs::write(folder.join("runner.toml"), text).unwrap();
    }

    /// Lets the jobs end that wait for it.
    pub(crate) fn go(&self) {
        self.repository.go();
    }

    /// Returns a command of the program with the configuration of a machine.
    pub(crate) fn command(&self, number: usize, arguments: &[&str]) -> Command {
        let machine = &self.machines[number];
        fs::create_dir_all(&machine.folder).unwrap();
        let file = machine.folder.join("runner.toml");
        if !file.exists() {
            fs::write(&file, &self.configuration).unwrap();
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_runner"));
        command
            .args(arguments)
            .current_dir(&machine.folder)
            .env_remove("GITHUB_TOKEN")
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// Starts a machine and waits until it is ready.
    pub(crate) fn start(&mut self, number: usize, env: &[(&str, &str)]) {
        self.spawn(number, env);
        self.wait_for("a machine to be ready", || {
            self.is_ready(number).then_some(())
        });
    }

    /// Starts a machine.
    pub(crate) fn spawn(&mut self, number: usize, env: &[(&str, &str)]) {
        let folder = &self.machines[number].folder;
        fs::create_dir_all(folder).unwrap();
        let log = fs::File::create(folder.join("serve.log")).unwrap();
        let child = self
            .command(number, &["serve"])
            .env("RUNNER_DATABASE", &self.machines[number].database)
            .env("RUNNER_LOG", "info")
            .envs(env.iter().copied())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.machines[number].child = Some(child);
    }

    /// Tells whether a machine that was started is ready.
    pub(crate) fn is_ready(&self, number: usize) -> bool {
        self.log(number).lines().any(|line| line == "ready")
    }

    /// Returns where a machine listens that was started with a table `[server]`.
    pub(crate) fn address(&self, number: usize) -> String {
        self.wait_for("a machine to listen", || {
            let log = self.log(number);
            let (_, address) = log.split_once("listening at http://")?;
            let (address, _) = address.split_once('\n')?;
            Some(address.to_owned())
        })
    }

    /// Tells whether a machine died by itself since it was started.
    pub(crate) fn has_died(&mut self, number: usize) -> bool {
        let child = self.machines[number].child.as_mut();
        let has_died = child.is_none_or(|child| child.try_wait().unwrap().is_some());
        if has_died {
            self.machines[number].child = None;
        }
        has_died
    }

    /// Kills the server of a machine; its jobs go on.
    pub(crate) fn kill(&mut self, number: usize) {
        if let Some(mut child) = self.machines[number].child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Kills the server of a machine and all its jobs, as a power cut would.
    pub(crate) fn lose(&mut self, number: usize) {
        self.kill(number);
        for job in self.jobs(number) {
            kill_session(job);
        }
    }

    /// Asks a machine to stop, and waits until it did.
    pub(crate) fn stop(&mut self, number: usize) {
        let mut child = self.machines[number].child.take().unwrap();
        interrupt(child.id());
        assert!(child.wait().unwrap().success(), "{}", self.log(number));
    }

    /// What the server of a machine said since it was started last.
    pub(crate) fn log(&self, number: usize) -> String {
        fs::read_to_string(self.machines[number].folder.join("serve.log")).unwrap_or_default()
    }

    /// Returns the processes of jobs that live on a machine.
    pub(crate) fn jobs(&self, number: usize) -> Vec<i32> {
        let spool = self.machines[number].folder.join("data/spool");
        let mut folders = vec![spool];
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                }
            }
            let pid = fs::read_to_string(folder.join("life")).unwrap_or_default();
            if let Ok(pid) = pid.parse::<i32>()
                && is_a_job(pid)
            {
                found.push(pid);
            }
        }
        found
    }

    /// Returns the name of a machine in the store.
    pub(crate) fn name(&self, number: usize) -> String {
        fs::read_to_string(self.machines[number].folder.join("data/machine")).unwrap()
    }

    /// Runs a command with the configuration of the first machine that must succeed; returns what it
    /// printed.
    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts a workflow, and returns its run.
    pub(crate) fn dispatch(&self, workflow: &str) -> String {
        self.ask(&["dispatch", workflow]).trim().to_owned()
    }

    /// Runs a command with the configuration of the first machine.
    pub(crate) fn output(&self, arguments: &[&str]) -> std::process::Output {
        self.command(0, arguments)
            .args(["--database", &self.url()])
            .output()
            .unwrap()
    }

    /// Returns the address of the database.
    pub(crate) fn url(&self) -> String {
        self.postgres.url(&self.database)
    }

    /// Asks the database itself; nothing where it does not answer.
    pub(crate) fn ask_database(&self, statement: &str) -> Option<String> {
        self.postgres.ask(&self.database, statement)
    }

    /// Waits until something is so that has to be looked for in the processes of the machines.
    pub(crate) fn wait_until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < end, "{what} did not come\n{}", self.log(0));
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// Returns the state of a run as JSON; none before it is there.
    pub(crate) fn state(&self, run: &str) -> Option<Value> {
        let output = self.output(&["runs", "show", run, "--format", "json"]);
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Waits until a run ended, and returns its state.
    pub(crate) fn ended(&self, run: &str) -> Value {
        self.wait_for(&format!("the end of run {run}"), || {
            self.state(run)
                .filter(|state| state["status"] == "completed")
        })
    }

    /// Waits for something, and fails with what the machines said where it does not come.
    pub(crate) fn wait_for<T>(&self, what: &str, look: impl FnMut() -> Option<T>) -> T {
        let logs = || {
            let numbers = 0..self.machines.len();
            let all = numbers.map(|number| format!("machine {number}:\n{}", self.log(number)));
            all.collect::<Vec<String>>().join("\n")
        };
        self.repository.wait_or(what, look, logs)
    }

    /// Returns the lines of a file that jobs write to.
    pub(crate) fn lines(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path().join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Returns all that the machines keep and said, in one.
    pub(crate) fn everything_kept(&self) -> Vec<u8> {
        let folders = self.machines.iter().map(|machine| machine.folder.clone());
        all_below(folders.collect())
    }
}

impl Drop for Machines {
    fn drop(&mut self) {
        self.go();
        for number in 0..self.machines.len() {
            self.lose(number);
        }
    }
}

/// Tells whether a process is that of a job: its number could be somebody else's by now.
fn is_a_job(pid: i32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.ends_with(b"\0job\0")
}

/// Kills all processes of a session.
fn kill_session(leader: i32) {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    for pid in pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name before it can hold anything but ends in the last bracket.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        if fields.split_whitespace().nth(3) == Some(&leader.to_string()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// Passes bytes on between a machine and the database, unless it is cut: nothing is closed then,
/// and what was sent meanwhile comes late.
pub(crate) struct Relay {
    port: u16,
    is_cut: Arc<AtomicBool>,
}

impl Relay {
    /// Passes on to a port of this machine until the test ends.
    pub(crate) fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let is_cut = Arc::new(AtomicBool::new(false));
        let cut = Arc::clone(&is_cut);
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(("127.0.0.1", target)) else {
                    continue;
                };
                let ends = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let (one, two) = (Arc::clone(&cut), Arc::clone(&cut));
                std::thread::spawn(move || pass_on(near, far, &one));
                std::thread::spawn(move || pass_on(ends.1, ends.0, &two));
            }
        });
        Self { port, is_cut }
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Passes nothing on any more, or again.
    pub(crate) fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::SeqCst);
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, is_cut: &AtomicBool) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        while is_cut.load(Ordering::SeqCst) {
            std::thread::park_timeout(Duration::from_millis(20));
        }
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    // The other direction ends with this one.
    drop(to.shutdown(Shutdown::Both));
}
