//! Real servers: containers with sshd and a Docker daemon of their own, and a registry.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use runner::{
    docker::Credentials,
    ssh::{HostKeys, Identity, Options},
};

/// What the sandbox's own file says.
pub(crate) struct Sandbox {
    values: HashMap<String, String>,
    state: PathBuf,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The state folder: the one that is named, that of the sandbox that is up, else the project's.
fn state_folder() -> PathBuf {
    if let Some(named) = std::env::var_os("RUNNER_SANDBOX") {
        return named.into();
    }
    let owner = output("docker", &["ps", "-aq", "--filter", "label=runner-sandbox"]);
    let owner = owner.lines().next().map(|id| {
        output(
            "docker",
            &[
                "inspect",
                "-f",
                "{{index .Config.Labels \"runner-sandbox\"}}",
                id,
            ],
        )
    });
    let owner = owner
        .map(|text| PathBuf::from(text.trim()))
        .filter(|folder| folder.is_dir());
    owner.unwrap_or_else(|| root().join(".sandbox"))
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .expect(program);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Sandbox {
    /// Sees to it that registry and servers are up; Docker that is absent is a failure.
    pub(crate) fn up(servers: &[u8]) -> &'static Self {
        static UP: OnceLock<Sandbox> = OnceLock::new();
        UP.get_or_init(|| {
            let state = state_folder();
            let numbers: Vec<_> = servers.iter().map(ToString::to_string).collect();
            let done = Command::new(root().join("fixtures/sandbox/up"))
                .args(&numbers)
                .env("RUNNER_SANDBOX", &state)
                .output()
                .expect("fixtures/sandbox/up");
            let text = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success(), "the sandbox did not come up: {text}");
            let env = fs::read_to_string(state.join("env")).expect("the sandbox's env file");
            let pairs = env.lines().filter_map(|line| line.split_once('='));
            let values = pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            Self { values, state }
        })
    }

    /// The folder where the sandbox keeps its state.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    pub(crate) fn value(&self, name: &str) -> &str {
        &self.values[name]
    }

    pub(crate) fn file(&self, name: &str) -> String {
        fs::read_to_string(self.value(name)).expect(name)
    }

    pub(crate) fn ssh(&self) -> Options {
        Options {
            identities: vec![Identity::file(self.value("SANDBOX_SSH_KEY"))],
            host_keys: HostKeys::files([self.value("SANDBOX_KNOWN_HOSTS")]),
            ..Options::default()
        }
    }

    pub(crate) fn registry_password(&self) -> String {
        self.file("SANDBOX_REGISTRY_PASSWORD_FILE")
            .trim()
            .to_owned()
    }

    pub(crate) fn registry(&self) -> Credentials {
        Credentials {
            server: self.value("SANDBOX_REGISTRY").to_owned(),
            username: self.value("SANDBOX_REGISTRY_USER").to_owned(),
            password: self.registry_password(),
        }
    }

    /// Builds and pushes a version of the stub application that behaves as the pairs say.
    pub(crate) fn stub(&self, version: &str, behaviour: &[&str]) {
        let done = Command::new(root().join("fixtures/sandbox/stub"))
            .arg(version)
            .args(behaviour)
            .env("RUNNER_SANDBOX", &self.state)
            .output()
            .expect("fixtures/sandbox/stub");
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    }

    /// Runs a command on a server.
    pub(crate) fn on(&self, server: u8, command: &str) -> String {
        let name = format!("runner-sandbox-srv{server}");
        let done = Command::new("docker")
            .args([
                "exec",
                "-u",
                "deploy",
                "-w",
                "/home/deploy",
                &name,
                "sh",
                "-c",
                command,
            ])
            .output();
        let done = done.expect("docker exec");
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Runs a command on a server as root.
    pub(crate) fn as_root(&self, server: u8, command: &str) -> String {
        let name = format!("runner-sandbox-srv{server}");
        output("docker", &["exec", &name, "sh", "-c", command])
    }

    /// Takes everything away that deploys left on a server, but its images.
    pub(crate) fn clean(&self, server: u8) {
        self.as_root(
            server,
            "docker rm -fv $(docker ps -aq) >/dev/null 2>&1; docker volume prune -f >/dev/null; rm -rf /home/deploy/.kamal",
        );
    }

    /// What a deploy that was undone must leave as it was: containers, files, tags, networks.
    pub(crate) fn snapshot(&self, server: u8) -> String {
        self.as_root(
            server,
            "cd /home/deploy; docker ps -a --no-trunc --format '{{.ID}} {{.Names}} {{.State}}' | sort; \
             find .kamal -type f ! -name guard ! -name fence ! -name history.jsonl ! -name '*audit.log' | sort | xargs -r sha256sum; \
             docker images --no-trunc --format '{{.Repository}}:{{.Tag}} {{.ID}}' | grep ':latest' | sort; docker network ls --format '{{.Name}}' | sort",
        )
    }
}
