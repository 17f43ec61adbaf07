//! A real SSH server with keys of its own, on a free port of 127.0.0.1.

use std::{
    fmt::Write as _,
    fs,
    io::Read as _,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use runner::ssh::{HostAddress, HostKeys, Identity, KnownHosts, Options};
use tempfile::TempDir;

/// A running server; it ends with the value.
pub(crate) struct Sshd {
    pub(crate) folder: TempDir,
    pub(crate) port: u16,
    child: Child,
}

impl Sshd {
    /// Starts a server with host keys of ed25519, ecdsa and rsa.
    pub(crate) fn start() -> Self {
        Self::with("")
    }

    /// Starts a server with more lines of configuration, which win over the usual ones.
    pub(crate) fn with(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for kind in ["ed25519", "ecdsa", "rsa"] {
            keygen(&folder.path().join(format!("host_{kind}")), kind, "");
        }
        keygen(&folder.path().join("id"), "ed25519", "");
        fs::copy(
            folder.path().join("id.pub"),
            folder.path().join("authorized_keys"),
        )
        .unwrap();
        Self::serve(folder, settings)
    }

    fn serve(folder: TempDir, settings: &str) -> Self {
        let at = folder.path();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut keys = String::new();
        if !settings.contains("HostKey ") {
            for kind in ["ed25519", "ecdsa", "rsa"] {
                writeln!(keys, "HostKey {}/host_{kind}", at.display()).unwrap();
            }
        }
        let settings = settings.replace("FOLDER", &at.display().to_string());
        let config = format!(
            "{settings}\n{keys}ListenAddress 127.0.0.1:{port}\nAuthorizedKeysFile {}/authorized_keys\n\
             PidFile none\nUsePAM no\nStrictModes no\nPermitRootLogin yes\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nLogLevel VERBOSE\nMaxStartups 100\n",
            at.display(),
        );
        fs::write(at.join("sshd_config"), config).unwrap();
        fs::create_dir_all("/run/sshd").unwrap();
        let log = fs::File::create(at.join("log")).unwrap();
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(at.join("sshd_config"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("openssh-server is installed");
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port))
            .and_then(|mut tcp| tcp.read(&mut [0; 4]))
            .is_err()
        {
            let log = fs::read_to_string(at.join("log")).unwrap();
            assert!(Instant::now() < deadline, "sshd did not start: {log}");
            std::thread::yield_now();
        }
        Self {
            folder,
            port,
            child,
        }
    }

    /// Where it is.
    pub(crate) fn address(&self) -> HostAddress {
        HostAddress::new(user(), "127.0.0.1").with_port(self.port)
    }

    /// A file in its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The line that makes one of its host keys known.
    pub(crate) fn known_line(&self, kind: &str) -> String {
        let public = fs::read_to_string(self.path(&format!("host_{kind}.pub"))).unwrap();
        format!("[127.0.0.1]:{} {public}", self.port)
    }

    /// What a user needs who knows it and has its key.
    pub(crate) fn options(&self) -> Options {
        Options {
            identities: vec![Identity::file(self.path("id"))],
            host_keys: HostKeys {
                lines: Some(self.known_line("ed25519")),
                ..HostKeys::default()
            },
            ..Options::default()
        }
    }

    /// Ids of the server's processes that serve connections.
    pub(crate) fn sessions(&self) -> Vec<i32> {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        children
            .split_whitespace()
            .map(|id| id.parse().unwrap())
            .collect()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        for session in self.sessions() {
            let _gone = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(session),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Makes a key pair without a word.
pub(crate) fn keygen(path: &Path, kind: &str, passphrase: &str) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", kind, "-N", passphrase, "-f"])
        .arg(path)
        .status()
        .unwrap();
    assert!(made.success());
}

fn user() -> String {
    nix::unistd::User::from_uid(nix::unistd::getuid())
        .unwrap()
        .unwrap()
        .name
}

/// So that a test can judge lines by the room's own reader.
pub(crate) fn read_known(text: &str) -> KnownHosts {
    let mut hosts = KnownHosts::default();
    hosts.add("test", text);
    hosts
}
