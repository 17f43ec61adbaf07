//! A PostgreSQL server of its own: Debian's, on a free port of this machine, under a user without
//! rights, gone with the test.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User};

/// The password of the one user: it must appear nowhere.
pub(crate) const PASSWORD: &str = "pw-of-the-database-7261";

/// How long the server may take to start on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that runs, unless it was killed.
pub(crate) struct Postgres {
    folder: tempfile::TempDir,
    programs: PathBuf,
    port: u16,
    child: Mutex<Option<Child>>,
    databases: AtomicU32,
}

impl Postgres {
    /// Makes and starts a server.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let server = Self {
            programs: programs(),
            folder,
            port,
            child: Mutex::new(None),
            databases: AtomicU32::new(0),
        };
        server.give(server.folder.path());
        let password = server.folder.path().join("password");
        fs::write(&password, PASSWORD).unwrap();
        server.give(&password);
        let made = server
            .command("initdb")
            .args(["-U", "runner", "-A", "scram-sha-256", "-E", "UTF8"])
            .args(["--locale=C", "--no-sync", "--no-instructions", "--pwfile"])
            .arg(&password)
            .arg("-D")
            .arg(server.data())
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        server.go();
        server
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Gives a file to the user that the server runs as.
    fn give(&self, path: &Path) {
        if let Some(user) = other_user() {
            chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        }
    }

    /// Returns one of its programs, which ends when this test does.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "QUIT"]);
        if let Some(user) = other_user() {
            command.arg(format!("--reuid={}", user.uid));
            command.arg(format!("--regid={}", user.gid));
            command.arg("--clear-groups");
        }
        command
            .arg(self.programs.join(program))
            .current_dir(self.folder.path())
            .env("PGPASSWORD", PASSWORD)
            .stdin(Stdio::null());
        command
    }

    /// Starts the server that was killed, and waits until it answers.
    pub(crate) fn go(&self) {
        let end = Instant::now() + PATIENCE;
        while self.ask("postgres", "SELECT 1").is_none() {
            assert!(Instant::now() < end, "{}", self.log());
            let mut child = self.child.lock().unwrap();
            let is_running = child
                .as_mut()
                .is_some_and(|child| child.try_wait().unwrap().is_none());
            // What a killed one left behind can hold its memory for a moment.
            if !is_running {
                *child = Some(self.spawn());
            }
            drop(child);
            pause();
        }
    }

    fn spawn(&self) -> Child {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .unwrap();
        self.command("postgres")
            .arg("-D")
            .arg(self.data())
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", &format!("port={}", self.port)])
            .args(["-c", "unix_socket_directories="])
            // A death of processes loses nothing without it, only one of the machine would.
            .args(["-c", "fsync=off", "-c", "shared_buffers=16MB"])
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Kills the server and all that it started: nothing of it can clean up.
    pub(crate) fn kill(&self) {
        let mut child = self.child.lock().unwrap().take().unwrap();
        let server = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let children = format!("/proc/{server}/task/{server}/children");
        let children = fs::read_to_string(children).unwrap_or_default();
        kill(server, Signal::SIGKILL).unwrap();
        for pid in children.split_whitespace() {
            // One that ended with its server needs no signal.
            let _ = kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL);
        }
        child.wait().unwrap();
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the address of a database.
    pub(crate) fn url(&self, database: &str) -> String {
        self.url_by(self.port, database)
    }

    /// The same by another port, behind which something passes on to the server.
    pub(crate) fn url_by(&self, port: u16, database: &str) -> String {
        format!("postgres://runner:{PASSWORD}@127.0.0.1:{port}/{database}")
    }

    /// Makes a database and returns its name.
    pub(crate) fn database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::SeqCst);
        let name = format!("test{number}");
        self.ask("postgres", &format!("CREATE DATABASE {name}"))
            .expect("a new database");
        name
    }

    /// Asks a database by a statement; nothing where it does not answer.
    pub(crate) fn ask(&self, database: &str, statement: &str) -> Option<String> {
        let output = self
            .command("psql")
            .args(["-h", "127.0.0.1", "-U", "runner", "-At", "-p"])
            .arg(self.port.to_string())
            .args(["-d", database, "-c", statement])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(text)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            let server = Pid::from_raw(i32::try_from(child.id()).unwrap());
            let _ = kill(server, Signal::SIGQUIT);
            drop(child.wait());
        }
    }
}

/// Returns the user that the server runs as: it refuses to run as root.
fn other_user() -> Option<User> {
    if !Uid::effective().is_root() {
        return None;
    }
    let user = User::from_name("postgres").unwrap();
    Some(user.expect("the user postgres is missing: ./dev setup installs postgresql"))
}

/// Returns the folder of Debian's programs of the newest version that is installed.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let newest = versions
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|folder| folder.join("initdb").exists())
        .max();
    newest.expect("PostgreSQL is missing: ./dev setup installs postgresql")
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test that waits for another process has nothing else to do"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}
