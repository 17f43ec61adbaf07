//! A real registry with a password, on a free port of 127.0.0.1.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use runner::docker::Credentials;
use tempfile::TempDir;

/// A running registry; it ends with the value.
pub(crate) struct Registry {
    pub(crate) port: u16,
    child: Child,
    _folder: TempDir,
}

/// Symbols that differ between the two kinds of base64, quotes, and letters beyond ASCII.
pub(crate) const PASSWORD: &str = "~~~???>>>\u{fc}\"\\ $x>?~";

impl Registry {
    /// Starts one, or says that it is not installed.
    pub(crate) fn start() -> Option<Self> {
        if !Path::new("/usr/bin/docker-registry").exists() {
            println!("skipped: docker-registry is not installed");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        let hash = Command::new("htpasswd")
            .args(["-nbB", "deploy", PASSWORD])
            .output()
            .unwrap();
        fs::write(folder.path().join("htpasswd"), hash.stdout).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {at}/data}}\n\
             http: {{addr: \"127.0.0.1:{port}\"}}\nauth:\n  htpasswd: {{realm: test, path: {at}/htpasswd}}\n"
        );
        fs::write(folder.path().join("config.yml"), config).unwrap();
        let child = Command::new("/usr/bin/docker-registry")
            .arg("serve")
            .arg(folder.path().join("config.yml"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "the registry did not start");
            std::thread::yield_now();
        }
        Some(Self {
            port,
            child,
            _folder: folder,
        })
    }

    /// The registry as images are named.
    pub(crate) fn server(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What it accepts.
    pub(crate) fn credentials(&self) -> Credentials {
        self.with_password(PASSWORD)
    }

    /// Credentials with another password.
    pub(crate) fn with_password(&self, password: &str) -> Credentials {
        Credentials {
            server: self.server(),
            username: "deploy".into(),
            password: password.into(),
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}
