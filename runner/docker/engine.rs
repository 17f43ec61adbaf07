//! The handle on one daemon.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use bollard::{API_DEFAULT_VERSION, BollardRequest, Docker, errors::Error as BollardError};
use http_body_util::BodyExt as _;
use hyper::{Method, Request, Response, body::Incoming};
use tokio::time::timeout;

use super::{
    DockerError, Failure,
    error::{broken, by_status, translate},
    transport::{Body, Pool, Way, whole},
};
use crate::ssh::{Command, Connection};

/// Where the daemon listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// Returns the socket of this machine that a `DOCKER_HOST` names; none where it names the daemon of
/// another one.
pub fn local_socket(docker_host: Option<&str>) -> Option<&str> {
    match docker_host.filter(|host| !host.is_empty()) {
        None => Some(DEFAULT_SOCKET),
        Some(host) => host.strip_prefix("unix://"),
    }
}

/// Limit of questions that a healthy daemon answers at once.
pub(super) const QUICK: Duration = Duration::from_secs(30);
/// Limit of works that the daemon may need disks for: creating, starting, removing.
pub(super) const WORK: Duration = Duration::from_secs(180);
/// bollard's own limit stands in the way of long requests; each operation here has its own.
const NO_LIMIT: u64 = 24 * 60 * 60;

/// A daemon; clones share its connections.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(super) docker: Docker,
    pool: Pool,
    name: Arc<str>,
    way: Way,
}

/// What a daemon says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Version of the engine, as `20.10.24`.
    pub engine: String,
    /// Version of the API that is spoken with it, as `1.41`.
    pub api: String,
    /// Operating system, as `linux`.
    pub os: String,
    /// Architecture in Docker's words, as `amd64`.
    pub architecture: String,
}

impl Engine {
    /// Connects to the daemon of this machine.
    ///
    /// # Errors
    /// [`DockerError::Unreachable`].
    pub async fn local(socket: impl Into<PathBuf>) -> Result<Self, DockerError> {
        Self::connect("this machine", Way::Local(Arc::new(socket.into()))).await
    }

    /// Connects to the daemon of a host, through its socket, or where sshd forbids that through
    /// `docker system dial-stdio`.
    ///
    /// # Errors
    /// [`DockerError::Unreachable`], with what the `docker` command on the host has to say.
    pub async fn over_ssh(connection: &Connection, socket: &str) -> Result<Self, DockerError> {
        let way = Way::Ssh {
            connection: connection.clone(),
            socket: socket.into(),
            dials: Arc::new(AtomicBool::new(false)),
        };
        let host = format!("`{}`", connection.host());
        match Self::connect(&host, way).await {
            Ok(engine) => Ok(engine),
            Err(e) => Err(Self::explain(connection, host, e).await),
        }
    }

    async fn connect(name: &str, way: Way) -> Result<Self, DockerError> {
        let pool = Pool::new(way.clone());
        let client = pool.clone();
        let transport = move |request: BollardRequest| {
            let client = client.clone();
            async move { client.send(request).await.map_err(BollardError::from) }
        };
        let address = Some("http://docker");
        let failed = |e| translate(name, "say its version", e);
        let connected = async {
            Docker::connect_with_custom_transport(
                transport,
                address,
                NO_LIMIT,
                API_DEFAULT_VERSION,
            )?
            .negotiate_version()
            .await
        };
        let docker = timeout(QUICK, connected)
            .await
            .map_err(|_| DockerError::Timeout {
                engine: name.to_owned(),
                action: "say its version".into(),
                limit: QUICK,
            })?;
        Ok(Self {
            docker: docker.map_err(failed)?,
            pool,
            name: name.into(),
            way,
        })
    }

    /// The `docker` command knows best why a daemon cannot be used.
    async fn explain(connection: &Connection, engine: String, error: DockerError) -> DockerError {
        if !matches!(
            error,
            DockerError::Unreachable { .. } | DockerError::Interrupted { .. }
        ) {
            return error;
        }
        let question = Command::new("docker version --format '{{.Server.Version}}'").limit(QUICK);
        let reason = match connection.exec(&question).await {
            Err(e) => {
                return DockerError::Unreachable {
                    engine,
                    reason: "its host does not run commands".into(),
                    source: Some(e.into()),
                };
            }
            Ok(output) if output.exit.code() == 127 => {
                "there is no `docker` command; install Docker there".into()
            }
            Ok(output) if output.exit.is_success() => return error,
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stderr);
                text.lines()
                    .next()
                    .unwrap_or("`docker version` failed")
                    .trim()
                    .to_owned()
            }
        };
        DockerError::Unreachable {
            engine,
            reason,
            source: None,
        }
    }

    /// Which daemon it is, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the daemon is reached by a command on its host in place of its socket.
    pub fn is_dialled(&self) -> bool {
        self.way.dials()
    }

    /// Asks for a sign of life.
    ///
    /// # Errors
    /// [`DockerError::Unreachable`], [`DockerError::Timeout`].
    pub async fn ping(&self) -> Result<(), DockerError> {
        self.within(QUICK, "answer", self.docker.ping())
            .await
            .map(drop)
    }

    /// Asks for versions.
    ///
    /// # Errors
    /// The daemon is gone.
    pub async fn version(&self) -> Result<Version, DockerError> {
        let version = self
            .within(QUICK, "say its version", self.docker.version())
            .await?;
        Ok(Version {
            engine: version.version.unwrap_or_default(),
            api: self.api(),
            os: version.os.unwrap_or_default(),
            architecture: version.arch.unwrap_or_default(),
        })
    }

    pub(super) fn api(&self) -> String {
        let version = self.docker.client_version();
        format!("{}.{}", version.major_version, version.minor_version)
    }

    /// Awaits a request with a limit, and translates its error.
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        action: &str,
        request: impl Future<Output = Result<T, BollardError>>,
    ) -> Result<T, DockerError> {
        match timeout(limit, request).await {
            Ok(outcome) => outcome.map_err(|e| self.failed(action, e)),
            Err(_) => Err(DockerError::Timeout {
                engine: self.name.to_string(),
                action: action.to_owned(),
                limit,
            }),
        }
    }

    /// Returns an error that says what was not done, and why, in a command's own words.
    pub fn refusal(&self, action: &str, message: &str) -> DockerError {
        DockerError::Failed(self.failure(action, message))
    }

    pub(super) fn failed(&self, action: &str, error: BollardError) -> DockerError {
        translate(&self.name, action, error)
    }

    pub(super) fn failure(&self, action: &str, message: impl Into<String>) -> Failure {
        Failure {
            engine: self.name.to_string(),
            action: action.to_owned(),
            message: message.into(),
        }
    }

    /// Sends a request that bollard has no words for; `path` starts after the API version.
    pub(super) async fn raw(
        &self,
        action: &str,
        path: &str,
        headers: &[(&str, String)],
        body: Body,
    ) -> Result<Response<Incoming>, DockerError> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://docker/v{}{path}", self.api()))
            .header("host", "docker");
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let request = request
            .body(body)
            .map_err(|e| DockerError::Answer(self.failure(action, e.to_string())))?;
        let sent = self.pool.send(request).await;
        sent.map_err(|e| broken(self.name.to_string(), action.to_owned(), e))
    }

    /// Sends JSON and expects success, and JSON if anything.
    pub(super) async fn post_json(
        &self,
        action: &str,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<serde_json::Value, DockerError> {
        let headers = [("content-type", "application/json".to_owned())];
        let post = async {
            let response = self
                .raw(action, path, &headers, whole(body.to_string()))
                .await?;
            let response = self.expect_success(action, response).await?;
            let bytes = self.collect(action, response).await?;
            Ok(serde_json::from_slice(&bytes).unwrap_or(serde_json::Value::Null))
        };
        timeout(QUICK, post).await.unwrap_or_else(|_| {
            Err(DockerError::Timeout {
                engine: self.name.to_string(),
                action: action.to_owned(),
                limit: QUICK,
            })
        })
    }

    pub(super) async fn expect_success(
        &self,
        action: &str,
        response: Response<Incoming>,
    ) -> Result<Response<Incoming>, DockerError> {
        let status = response.status();
        if status.is_success() || status.as_u16() == 101 {
            return Ok(response);
        }
        let bytes = self.collect(action, response).await?;
        let answer: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let message = match answer.get("message").and_then(serde_json::Value::as_str) {
            Some(message) => message.to_owned(),
            None => String::from_utf8_lossy(&bytes).trim().to_owned(),
        };
        Err(by_status(self.failure(action, message), status.as_u16()))
    }

    async fn collect(
        &self,
        action: &str,
        response: Response<Incoming>,
    ) -> Result<Vec<u8>, DockerError> {
        let collected = response.into_body().collect().await;
        collected
            .map(|body| body.to_bytes().to_vec())
            .map_err(|e| self.interrupted(action, e))
    }

    pub(super) fn interrupted(
        &self,
        action: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> DockerError {
        DockerError::Interrupted {
            engine: self.name.to_string(),
            action: action.to_owned(),
            source: source.into(),
        }
    }
}
