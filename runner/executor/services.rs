//! The containers of one job: its own, its services, their network.
//!
//! Everything carries two labels: the job, by which [`JobContainers::close`] finds it, and the
//! process of the runner, by which the next job finds what a runner left behind that was killed.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use thiserror::Error;

use super::container::{ContainerSandbox, cleaner};
use super::mounts::Mounts;
use super::options::PullPolicy;
use super::order::ContainerOrder;
use super::owner::{self, JOB_LABEL, OWNER_LABEL};
use crate::docker::{DockerError, Engine, Found, Health, local_socket};

/// How long to wait between two looks at a service that is not ready: at first, and at most.
const LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How many of its last lines a service that failed is quoted with.
const LAST_LINES: usize = 20;

/// A container of a job could not be brought up.
#[derive(Debug, Error)]
pub enum ContainerError {
    /// The machine: Docker is away or refused.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// The machine's settings: job containers need a daemon that sees this machine's folders.
    #[error(
        "containers of jobs need the Docker daemon of this machine; DOCKER_HOST names `{0}`, which is no socket of it"
    )]
    Remote(String),
    /// The workflow or the registry: there is no such image to be had.
    #[error("the image `{image}` is not on this machine and could not be pulled")]
    Image {
        /// The image.
        image: String,
        /// What the registry or the daemon said.
        #[source]
        source: DockerError,
    },
    /// The workflow: the image is not here, and `--pull never` says that it is not to be fetched.
    #[error("the image `{0}` is not on this machine, and `--pull never` forbids to pull it")]
    NotHere(String),
    /// The service: its health check fails or it ended.
    #[error("service `{service}` {state}; its last lines:\n{lines}")]
    Service {
        /// Its name in the workflow.
        service: String,
        /// What became of it.
        state: String,
        /// What it said last.
        lines: String,
    },
}

/// A service of a job, as the job can see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name in the workflow.
    pub name: String,
    /// Id of its container.
    pub id: String,
    /// Ports of the container, and where each is reached on this host.
    pub ports: Vec<(String, String)>,
    /// What is odd about it.
    pub warning: Option<String>,
}

/// The containers of one job.
#[derive(Debug)]
pub struct JobContainers {
    pub(super) engine: Engine,
    tag: String,
    network: String,
    socket: String,
}

impl JobContainers {
    /// Connects to the daemon that `docker_host` names, clears away what dead runners left, and
    /// makes the network of a job; `tag` names the job on this machine.
    ///
    /// # Errors
    /// The daemon cannot be reached or is not this machine's.
    pub async fn open(docker_host: Option<&str>, tag: &str) -> Result<Self, ContainerError> {
        let socket = local_socket(docker_host)
            .ok_or_else(|| ContainerError::Remote(docker_host.unwrap_or_default().to_owned()))?;
        let containers = Self {
            engine: Engine::local(socket).await?,
            tag: tag.to_owned(),
            network: format!("runner_{tag}"),
            socket: socket.to_owned(),
        };
        containers.sweep().await;
        containers
            .engine
            .ensure_network(&containers.network, &containers.labels())
            .await?;
        Ok(containers)
    }

    /// Returns the name of the network.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// Returns the daemon's socket on this machine.
    pub fn socket(&self) -> &Path {
        Path::new(&self.socket)
    }

    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (JOB_LABEL.to_owned(), self.tag.clone()),
            (OWNER_LABEL.to_owned(), owner::current()),
        ])
    }

    /// Starts the container of the job, which then waits for commands.
    ///
    /// # Errors
    /// The image is not to be had, or Docker refused.
    pub async fn start_job(
        &self,
        order: &ContainerOrder,
        mounts: Mounts,
        workdir: &str,
        env: &[(&str, &str)],
    ) -> Result<ContainerSandbox, ContainerError> {
        self.provide_image(order).await?;
        let mut spec = order.spec.clone();
        spec.entrypoint = Some(vec!["tail".to_owned()]);
        spec.command = Some(vec!["-f".to_owned(), "/dev/null".to_owned()]);
        spec.workdir.get_or_insert_with(|| workdir.to_owned());
        spec.network = Some(self.network.clone());
        spec.labels.extend(self.labels());
        spec.volumes.extend(mounts.binds());
        for (name, value) in env {
            if !spec.env.0.iter().any(|(known, _)| known == name) {
                spec.env.0.push(((*name).to_owned(), (*value).to_owned()));
            }
        }
        let id = self.engine.create_container(&spec).await?;
        self.engine.start(&id).await?;
        let cleaner = cleaner(order.image(), self.labels(), &mounts);
        let engine = self.engine.clone();
        Ok(ContainerSandbox::new(engine, id, mounts, cleaner))
    }

    /// Starts a service, which other containers of the job reach by its name, and waits until its
    /// health check is content.
    ///
    /// If the future is dropped while it waits, the service stays until [`Self::close`].
    ///
    /// # Errors
    /// The image is not to be had, Docker refused, or the service does not get healthy.
    pub async fn start_service(
        &self,
        name: &str,
        order: &ContainerOrder,
    ) -> Result<Service, ContainerError> {
        self.provide_image(order).await?;
        let mut spec = order.spec.clone();
        spec.network = Some(self.network.clone());
        spec.aliases.push(name.to_owned());
        spec.labels.extend(self.labels());
        // Its last words are read after its end.
        spec.auto_remove = false;
        let id = self.engine.create_container(&spec).await?;
        self.engine.start(&id).await?;
        let (found, warning) = self.wait_ready(name, &id).await?;
        Ok(Service {
            name: name.to_owned(),
            id,
            ports: ports(&found),
            warning,
        })
    }

    async fn wait_ready(
        &self,
        name: &str,
        id: &str,
    ) -> Result<(Found, Option<String>), ContainerError> {
        let failed = |state: String, lines: String| ContainerError::Service {
            service: name.to_owned(),
            state,
            lines,
        };
        let mut pause = LOOK.0;
        let mut is_seen = false;
        loop {
            let Some(found) = self.engine.container(id).await? else {
                return Err(failed("is gone".to_owned(), String::new()));
            };
            let is_running = found.is_running();
            match found.health {
                Some(Health::Healthy) if is_running => return Ok((found, None)),
                Some(Health::Starting) if is_running => {}
                Some(Health::Unhealthy) if is_running => {
                    let output = found.health_output.trim();
                    let mut state = "is unhealthy".to_owned();
                    if !output.is_empty() {
                        state = format!("{state}: its health check said `{output}`");
                    }
                    return Err(failed(state, self.last_lines(id).await));
                }
                None if is_running && is_seen => return Ok((found, None)),
                // One that cannot work often ends at once: a second look finds it.
                None if is_running => is_seen = true,
                // Without a check nobody says that it has to go on running, as with GitHub.
                None if found.exit_code == Some(0) => {
                    let warning = format!("service `{name}` ended at once, with code 0");
                    return Ok((found, Some(warning)));
                }
                _ => {
                    let code = found.exit_code.unwrap_or_default();
                    let lines = self.last_lines(id).await;
                    return Err(failed(format!("ended with code {code}"), lines));
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK.1);
        }
    }

    async fn last_lines(&self, id: &str) -> String {
        match self.engine.last_lines(id, LAST_LINES).await {
            Ok(lines) if lines.trim().is_empty() => "(it said nothing)".to_owned(),
            Ok(lines) => lines.trim_end().to_owned(),
            Err(error) => format!("(they could not be read: {error})"),
        }
    }

    /// Makes sure that an image is on this machine.
    ///
    /// One that is here is taken without asking its registry, unless `--pull always` is among the
    /// options: a machine without a network works, and a rate limit is not used up by each job.
    pub(super) async fn provide_image(&self, order: &ContainerOrder) -> Result<(), ContainerError> {
        let image = order.image();
        let is_here = self.engine.image(image).await?.is_some();
        match order.pull {
            PullPolicy::Missing | PullPolicy::Never if is_here => return Ok(()),
            PullPolicy::Never => return Err(ContainerError::NotHere(image.to_owned())),
            PullPolicy::Missing | PullPolicy::Always => {}
        }
        let credentials = order.credentials.as_ref();
        let pulled = self.engine.pull(image, credentials, &mut |_| {}).await;
        pulled.map(drop).map_err(|source| ContainerError::Image {
            image: image.to_owned(),
            source,
        })
    }

    /// Removes all containers, images and networks of the job, and nameless volumes with them.
    ///
    /// Named volumes stay: a workflow names one to find it again.
    pub async fn close(&self) {
        self.remove_labelled(&[format!("{JOB_LABEL}={}", self.tag)], |_| true)
            .await;
    }

    /// Removes what runners of this machine left behind that are gone.
    async fn sweep(&self) {
        let is_left = |labels: &BTreeMap<String, String>| {
            labels
                .get(OWNER_LABEL)
                .is_some_and(|owner| owner::is_gone(owner))
        };
        self.remove_labelled(&[OWNER_LABEL.to_owned()], is_left)
            .await;
    }

    async fn remove_labelled(
        &self,
        labels: &[String],
        is_wanted: impl Fn(&BTreeMap<String, String>) -> bool,
    ) {
        let engine = &self.engine;
        let say = |error: &DockerError| tracing::warn!(%error, "something of a job stays behind");
        let containers = engine.containers(labels).await.unwrap_or_else(|error| {
            say(&error);
            Vec::new()
        });
        let removed = containers
            .iter()
            .filter(|container| is_wanted(&container.labels))
            .map(|container| engine.remove_container(&container.id, true, true));
        for error in join_all(removed)
            .await
            .iter()
            .filter_map(|r| r.as_ref().err())
        {
            say(error);
        }
        let networks = engine.networks(labels).await.unwrap_or_default();
        for network in networks.iter().filter(|found| is_wanted(&found.labels)) {
            if let Err(error) = engine.remove_network(&network.id).await {
                say(&error);
            }
        }
        let images = engine.images(labels).await.unwrap_or_default();
        for image in images.iter().filter(|found| is_wanted(&found.labels)) {
            if let Err(error) = engine.remove_image(&image.id, true).await {
                say(&error);
            }
        }
    }
}

/// Returns where each port of a container is reached, `5432` for `5432/tcp`.
fn ports(found: &Found) -> Vec<(String, String)> {
    let port = |port: &crate::docker::PublishedPort| {
        let container = port.container.trim_end_matches("/tcp").to_owned();
        (container, port.host_port.to_string())
    };
    found.ports.iter().map(port).collect()
}
