//! The containers of one job: its own, its services, their network.
//!
//! Everything carries two labels: the job, by which [`JobContainers::close`] finds it, and the
//! process of the runner, by which the next job finds what a runner left behind that was killed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use thiserror::Error;

use super::clear::remove_labelled;
use super::container::{ContainerSandbox, cleaner};
use super::mounts::Mounts;
use super::options::PullPolicy;
use super::order::ContainerOrder;
use super::owner::{self, JOB_LABEL, MACHINE_LABEL, OWNER_LABEL};
use super::volumes::Volumes;
use crate::docker::{
    DEFAULT_SOCKET, DockerError, Engine, ExecSpec, Found, Health, Version, local_socket,
};
use crate::ssh::{Command, Connection, HostAddress, Options, SshError};

/// How long to wait between two looks at a service that is not ready: at first, and at most.
const LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// How long another machine may take to tell whether it has a socket.
const LOOK_LIMIT: Duration = Duration::from_secs(30);

/// How many of its last lines a service that failed is quoted with.
const LAST_LINES: usize = 20;

/// A container of a job could not be brought up.
#[derive(Debug, Error)]
pub enum ContainerError {
    /// The machine: Docker is away or refused.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// The machine that the job is to run on, or the way there.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// That machine is lost, or files could not be copied there.
    #[error("the files of the job could not be copied to `{host}`")]
    Files {
        /// The machine, as `user@host:port`.
        host: String,
        /// Why.
        #[source]
        source: Box<super::SandboxError>,
    },
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

/// Another machine whose daemon runs a job, and how it is reached.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Where it is.
    pub address: HostAddress,
    /// How to log in there, and which key of it is trusted.
    pub options: Options,
}

/// The way to another machine.
#[derive(Debug)]
struct Far {
    machine: Machine,
    connection: Connection,
}

/// The containers of one job.
#[derive(Debug)]
pub struct JobContainers {
    pub(super) engine: Engine,
    tag: String,
    marks: BTreeMap<String, String>,
    network: String,
    /// The daemon's socket on its machine, if it is there.
    socket: Option<String>,
    /// None where the daemon is this machine's.
    far: Option<Far>,
    /// The job's folders there.
    volumes: OnceLock<Arc<Volumes>>,
}

impl JobContainers {
    /// Connects to the daemon that `docker_host` names, clears away what dead runners left, and
    /// makes the network of a job; `tag` names the job on this machine, and `marks` are more labels
    /// for all that is made.
    ///
    /// # Errors
    /// The daemon cannot be reached or is not this machine's.
    pub async fn open(
        docker_host: Option<&str>,
        tag: &str,
        marks: &BTreeMap<String, String>,
    ) -> Result<Self, ContainerError> {
        let socket = local_socket(docker_host)
            .ok_or_else(|| ContainerError::Remote(docker_host.unwrap_or_default().to_owned()))?;
        let engine = Engine::local(socket).await?;
        let is_there = Path::new(socket).exists();
        Self::begin(
            engine,
            (tag, marks),
            is_there.then(|| socket.to_owned()),
            None,
        )
        .await
    }

    /// Connects to the daemon of another machine, clears away what dead runners of this one left
    /// there, and makes the network of a job.
    ///
    /// # Errors
    /// The machine or its daemon cannot be reached, or its key is not known.
    pub async fn open_on(
        machine: Machine,
        tag: &str,
        marks: &BTreeMap<String, String>,
    ) -> Result<Self, ContainerError> {
        let connection = Connection::connect(&machine.address, &machine.options).await?;
        let engine = Engine::over_ssh(&connection, DEFAULT_SOCKET).await?;
        let look = Command::new(format!("test -S {DEFAULT_SOCKET}")).limit(LOOK_LIMIT);
        let is_there = connection.exec(&look).await?.exit.is_success();
        let socket = is_there.then(|| DEFAULT_SOCKET.to_owned());
        let far = Far {
            machine,
            connection,
        };
        Self::begin(engine, (tag, marks), socket, Some(far)).await
    }

    async fn begin(
        engine: Engine,
        (tag, marks): (&str, &BTreeMap<String, String>),
        socket: Option<String>,
        far: Option<Far>,
    ) -> Result<Self, ContainerError> {
        let containers = Self {
            engine,
            tag: tag.to_owned(),
            marks: marks.clone(),
            network: format!("runner_{tag}"),
            socket,
            far,
            volumes: OnceLock::new(),
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

    /// Returns the daemon's socket on its machine, if containers can be given it.
    pub fn socket(&self) -> Option<&str> {
        self.socket.as_deref()
    }

    /// Returns the daemon, where it is another machine's.
    pub fn far_engine(&self) -> Option<&Engine> {
        self.far.as_ref().map(|_| &self.engine)
    }

    /// Asks the daemon what it is.
    ///
    /// # Errors
    /// It is gone.
    pub async fn version(&self) -> Result<Version, ContainerError> {
        Ok(self.engine.version().await?)
    }

    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        let own = [
            (JOB_LABEL.to_owned(), self.tag.clone()),
            (OWNER_LABEL.to_owned(), owner::current()),
        ];
        let machine = self.far.as_ref().and_then(|_| owner::machine());
        let machine = machine.map(|name| (MACHINE_LABEL.to_owned(), name));
        let marks = self.marks.clone().into_iter();
        marks.chain(own).chain(machine).collect()
    }

    pub(super) fn volumes(&self) -> Option<&Arc<Volumes>> {
        self.volumes.get()
    }

    /// Starts the container of the job, which then waits for commands.
    ///
    /// On another machine the folders of `mounts` are copied there first. The container there ends
    /// with the connection, so that nothing of the job goes on that nobody hears of.
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
        if let Some(far) = &self.far {
            let way = (&self.engine, &far.connection);
            let names = (self.tag.as_str(), self.labels());
            let volumes = Volumes::create(way, names, order.image(), &mounts).await?;
            let _first = self.volumes.set(Arc::new(volumes));
        }
        let mut spec = order.spec.clone();
        let words: &[&str] = match &self.far {
            None => &["tail", "-f", "/dev/null"],
            Some(_) => &["cat"],
        };
        let mut words = words.iter().map(|word| (*word).to_owned());
        spec.entrypoint = words.next().map(|program| vec![program]);
        spec.command = Some(words.collect());
        spec.open_stdin = self.far.is_some();
        spec.workdir.get_or_insert_with(|| workdir.to_owned());
        spec.network = Some(self.network.clone());
        spec.labels.extend(self.labels());
        spec.volumes.extend(self.binds(&mounts));
        for (name, value) in env {
            if !spec.env.0.iter().any(|(known, _)| known == name) {
                spec.env.0.push(((*name).to_owned(), (*value).to_owned()));
            }
        }
        let id = self.engine.create_container(&spec).await?;
        let engine = self.engine.clone();
        match self.volumes() {
            None => {
                self.engine.start(&id).await?;
                let cleaner = cleaner(order.image(), self.labels(), &mounts);
                Ok(ContainerSandbox::new(engine, id, mounts, cleaner))
            }
            Some(volumes) => {
                let hold = self.engine.start_held(&id).await?;
                volumes.belong_to(self.user_of(&id).await?);
                volumes
                    .send_all()
                    .await
                    .map_err(|error| self.no_files(error))?;
                let far = (Arc::clone(volumes), hold);
                Ok(ContainerSandbox::on_another_machine(
                    engine, id, mounts, far,
                ))
            }
        }
    }

    /// Returns the mounts of a container as Docker takes them.
    pub(super) fn binds(&self, mounts: &Mounts) -> Vec<String> {
        mounts.binds(self.volumes().map(Arc::as_ref))
    }

    /// Asks who runs commands in a container; root where it cannot tell.
    async fn user_of(&self, container: &str) -> Result<(u64, u64), ContainerError> {
        let question = ExecSpec::of_words(["sh", "-c", "id -u && id -g"]);
        let answer = self.engine.exec_output(container, &question, None).await?;
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        let mut numbers = text.lines().map(|line| line.trim().parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Ok((next(), next()))
    }

    fn no_files(&self, error: super::SandboxError) -> ContainerError {
        let far = self.far.as_ref();
        ContainerError::Files {
            host: far.map_or_else(String::new, |far| far.connection.host().to_owned()),
            source: Box::new(error),
        }
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
    /// Named volumes stay: a workflow names one to find it again. Another machine is connected to
    /// once more where the connection was lost.
    pub async fn close(&self) {
        let labels = [format!("{JOB_LABEL}={}", self.tag)];
        let lost = self
            .far
            .as_ref()
            .filter(|far| far.connection.failure().is_some());
        let Some(far) = lost else {
            return self.remove(&self.engine, &labels, |_| true).await;
        };
        let again = async {
            let connection =
                Connection::connect(&far.machine.address, &far.machine.options).await?;
            Ok::<_, ContainerError>(Engine::over_ssh(&connection, DEFAULT_SOCKET).await?)
        };
        match again.await {
            Ok(engine) => self.remove(&engine, &labels, |_| true).await,
            Err(error) => {
                let host = far.connection.host();
                tracing::warn!(%error, "what the job left on `{host}` stays until the next job there");
            }
        }
    }

    /// Removes what runners of this machine left behind that are gone.
    async fn sweep(&self) {
        let is_far = self.far.is_some();
        let is_left = |labels: &BTreeMap<String, String>| {
            let owner = labels.get(OWNER_LABEL);
            match is_far {
                true => owner::is_left_by_us(labels),
                false => owner.is_some_and(|owner| owner::is_gone(owner)),
            }
        };
        self.remove(&self.engine, &[OWNER_LABEL.to_owned()], is_left)
            .await;
    }

    /// Removes what carries these labels, on another machine with the volumes of jobs.
    async fn remove(
        &self,
        engine: &Engine,
        labels: &[String],
        is_wanted: impl Fn(&BTreeMap<String, String>) -> bool,
    ) {
        let volumes = self.far.is_some();
        let (_, failures) = remove_labelled(engine, (labels, volumes), is_wanted).await;
        for error in failures {
            tracing::warn!(%error, "something of a job stays behind");
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
