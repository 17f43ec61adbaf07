//! The container and the services of a job: what the file says of them, and bringing them up.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::try_join_all;

use super::action::{Fault, Voice as _};
use super::context::Frame;
use super::job::JobRun;
use super::output::StepVoice;
use crate::diagnostic::chain;
use crate::docker::{DEFAULT_SOCKET, Engine};
use crate::executor::{
    ContainerError, ContainerOrder, ContainerParts, JobContainers, Mounts, OrderError, Service,
};
use crate::expression::{Object, Value};
use crate::run::{Annotation, AnnotationLevel, Stream};
use crate::workflow::StepsJob;

/// Where a container of a job sees the job's folders.
///
/// Source: GitHub's runner, `ContainerOperationProvider`.
const WORK: &str = "/__w";
const TEMP: &str = "/__w/_temp";
const COMMANDS: &str = "/__w/_temp/_runner_file_commands";
const ACTIONS: &str = "/__w/_actions";
const TOOLS: &str = "/__t";

/// Where every container sees them, a job's and an action's.
pub(super) const HOME: &str = "/github/home";
pub(super) const WORKFLOW: &str = "/github/workflow";

/// The containers that a job wants.
#[derive(Debug, Default)]
pub(super) struct ContainerOrders {
    /// In which its steps run.
    pub(super) job: Option<ContainerOrder>,
    /// By name.
    pub(super) services: Vec<(String, ContainerOrder)>,
}

/// The containers of a job that runs, as its contexts show them.
#[derive(Debug, Default)]
pub(super) struct RunningContainers {
    /// Closed after the last step; none until something needs Docker.
    pub(super) containers: Option<Arc<JobContainers>>,
    /// `job.container`.
    pub(super) container: Object,
    /// `job.services`.
    pub(super) services: Object,
    /// The machine that they are on, if it is another one.
    pub(super) far: Option<FarMachine>,
}

/// Another machine that a job runs on, as the context `runner` shows it.
#[derive(Debug)]
pub(super) struct FarMachine {
    pub(super) name: String,
    /// In Docker's words.
    pub(super) architecture: String,
}

impl JobRun {
    /// Evaluates `container` and `services`; the error says in words what is wrong.
    pub(super) fn container_orders(&mut self, body: &StepsJob) -> Result<ContainerOrders, String> {
        let image = self.options.labels.image(&self.plan.runs_on);
        let image = image.map(|image| Value::from(image.to_owned()));
        if body.container.is_none() && body.services.is_none() && image.is_none() {
            return Ok(ContainerOrders::default());
        }
        let frame = Frame::job();
        let env = self.env_value();
        let scope = self.scope(&frame, &env);
        let mut orders = ContainerOrders::default();
        if let Some(token) = &body.container {
            let value = token
                .evaluate(&scope)
                .map_err(|error| format!("`container`: {}", chain(&error)))?;
            orders.job = self
                .order(&value, ContainerOrder::of_job)
                .map_err(|error| format!("`container`: {error}"))?;
        }
        if let (None, Some(image)) = (&orders.job, &image) {
            orders.job = self
                .order(image, ContainerOrder::of_job)
                .map_err(|error| format!("the image of `runs-on`: {error}"))?;
        }
        if orders.job.is_none()
            && let Some(machine) = self.options.labels.machine(&self.plan.runs_on)
        {
            return Err(format!(
                "it runs in no container, and its label leads to another machine: give it a `container:`, or the label an image, as `{machine}?image=IMAGE`"
            ));
        }
        if let Some(token) = &body.services {
            let value = token
                .evaluate(&scope)
                .map_err(|error| format!("`services`: {}", chain(&error)))?;
            for (name, value) in value.as_object().into_iter().flat_map(Object::iter) {
                let order = self
                    .order(value, ContainerOrder::of_service)
                    .map_err(|error| format!("service `{name}`: {error}"))?;
                orders
                    .services
                    .extend(order.map(|order| (name.to_owned(), order)));
            }
        }
        Ok(orders)
    }

    /// Reads one container; an empty image is none.
    fn order(
        &self,
        value: &Value,
        read: impl Fn(ContainerParts) -> Result<ContainerOrder, OrderError>,
    ) -> Result<Option<ContainerOrder>, String> {
        let part = |name: &str| value.get(name).filter(|part| !matches!(part, Value::Null));
        let text = |name: &str| part(name).map(Value::to_display_string);
        // Either can give the whole host away.
        let reaching = ["options", "volumes"].into_iter();
        if let Some(name) = reaching
            .filter(|_| self.options.labels.is_contained())
            .find(|name| part(name).is_some())
        {
            return Err(format!(
                "`{name}` is refused: a job of a fork is kept in its containers"
            ));
        }
        let list = |name: &str| {
            let items = value.get(name).and_then(Value::as_array);
            items
                .unwrap_or_default()
                .iter()
                .map(Value::to_display_string)
                .collect()
        };
        let parts = if value.is_primitive() {
            ContainerParts {
                image: value.to_display_string(),
                ..ContainerParts::default()
            }
        } else {
            let env = value.get("env").and_then(Value::as_object);
            let credentials = value.get("credentials").and_then(Value::as_object);
            let part = |object: &Object, name: &str| {
                let value = object.get(name);
                value.map(Value::to_display_string).unwrap_or_default()
            };
            ContainerParts {
                image: text("image").unwrap_or_default(),
                env: env
                    .into_iter()
                    .flat_map(Object::iter)
                    .map(|(name, value)| (name.to_owned(), value.to_display_string()))
                    .collect(),
                ports: list("ports"),
                volumes: list("volumes"),
                options: text("options").unwrap_or_default(),
                credentials: credentials
                    .map(|object| (part(object, "username"), part(object, "password"))),
                command: text("command"),
                entrypoint: text("entrypoint"),
            }
        };
        if let Some((_, password)) = &parts.credentials {
            self.masker.add(password);
        }
        let image = parts.image.trim();
        if image.is_empty() || image == "docker://" {
            return Ok(None);
        }
        read(parts).map(Some).map_err(|error| error.to_string())
    }

    /// Returns what the container of the job sees of this host.
    pub(super) fn job_mounts(&self) -> Mounts {
        let folders = &self.folders;
        let mounts = Mounts::default()
            .with(&folders.work, WORK)
            .with(&folders.temp, TEMP)
            .with(&folders.commands, COMMANDS)
            .with(&folders.tools, TOOLS)
            .with(&folders.home(), HOME)
            .with_read_only(&folders.workflow(), WORKFLOW);
        let mounts = match self.options.labels.machine(&self.plan.runs_on) {
            // A volume of its own: the containers of actions see it elsewhere.
            Some(_) => {
                let inside = mounts.path_inside(&folders.workspace);
                mounts.with(&folders.workspace, inside)
            }
            None => mounts,
        };
        match &self.options.actions_dir {
            Some(folder) => mounts.with_read_only(folder, ACTIONS),
            None => mounts,
        }
    }

    /// Brings up the services and the container of the job; ends early when the job is cancelled.
    pub(super) async fn open_containers(&mut self, orders: &ContainerOrders) -> Result<(), Fault> {
        if orders.job.is_none() && orders.services.is_empty() {
            return Ok(());
        }
        let cancel = self.cancel.clone();
        let opened = tokio::select! {
            opened = self.open_all(orders) => opened,
            () = cancel.cancelled() => return Err(Fault {
                what: "the job was cancelled while its containers were brought up".to_owned(),
                source: None,
            }),
        };
        opened.map_err(|error| Fault::new("the job's containers could not be brought up", error))
    }

    async fn open_all(&mut self, orders: &ContainerOrders) -> Result<(), ContainerError> {
        let containers = self.containers().await?;
        for (name, order) in &orders.services {
            self.say(&format!("service `{name}`: {}", order.image()));
        }
        let services = orders
            .services
            .iter()
            .map(|(name, order)| containers.start_service(name, order));
        let services = try_join_all(services).await?;
        let network = containers.network().to_owned();
        for service in services {
            self.note_service(&service, &network);
        }
        if let Some(order) = &orders.job {
            self.say(&format!("container: {}", order.image()));
            let mut mounts = self.job_mounts();
            if let Some(socket) = self.given_socket(&containers) {
                mounts = mounts.with_path_there(socket, DEFAULT_SOCKET);
            }
            if self.running.far.is_some() {
                let seen = self.job_mounts();
                self.relocate(&|path| seen.path_inside(path));
            }
            let workdir = mounts.path_inside(&self.folders.workspace);
            let env = [("HOME", HOME), ("GITHUB_ACTIONS", "true"), ("CI", "true")];
            let sandbox = containers.start_job(order, mounts, &workdir, &env).await?;
            self.running.container = Object::new()
                .with("id", sandbox.id())
                .with("network", network.as_str());
            self.sandbox = Arc::new(sandbox);
        }
        Ok(())
    }

    /// Returns the job's way to Docker, opened where nothing needed it before.
    pub(super) async fn containers(&mut self) -> Result<Arc<JobContainers>, ContainerError> {
        if let Some(containers) = &self.running.containers {
            return Ok(Arc::clone(containers));
        }
        let tag = uuid::Uuid::now_v7().simple().to_string();
        let (env, marks) = (&self.options.base_env, &self.options.marks);
        let containers = match self.options.labels.machine(&self.plan.runs_on) {
            None => {
                let host = env.get("DOCKER_HOST").map(String::as_str);
                JobContainers::open(host, &tag, marks).await?
            }
            Some(machine) => {
                let machine = machine.machine(env);
                self.say(&format!("machine: {}", machine.address));
                let name = machine.address.host.clone();
                let containers = JobContainers::open_on(machine, &tag, marks).await?;
                let architecture = containers.version().await?.architecture;
                self.running.far = Some(FarMachine { name, architecture });
                containers
            }
        };
        let containers = Arc::new(containers);
        self.running.containers = Some(Arc::clone(&containers));
        Ok(containers)
    }

    /// Returns the daemon's socket where the job's containers are given it.
    pub(super) fn given_socket<'c>(&self, containers: &'c JobContainers) -> Option<&'c str> {
        let is_given = !self.options.labels.is_contained();
        containers.socket().filter(|_| is_given)
    }

    /// Returns the daemon where the job runs, if that is another machine's.
    pub(super) fn far_engine(&self) -> Option<Engine> {
        let containers = self.running.containers.as_ref()?;
        containers.far_engine().cloned()
    }

    fn note_service(&mut self, service: &Service, network: &str) {
        if let Some(warning) = &service.warning {
            let message = self.masker.mask(warning);
            self.job_voice()
                .annotate(Annotation::new(AnnotationLevel::Warning, message));
        }
        let ports: Object = service
            .ports
            .iter()
            .map(|(port, host)| (port.as_str(), host.as_str()))
            .collect();
        let entry = Object::new()
            .with("id", service.id.as_str())
            .with("network", network)
            .with("ports", Value::from(ports));
        self.running
            .services
            .insert(service.name.as_str(), Value::from(entry));
    }

    /// Removes the job's containers and its network.
    pub(super) async fn close_containers(&self) {
        if let Some(containers) = &self.running.containers {
            containers.close().await;
        }
    }

    fn say(&self, text: &str) {
        self.job_voice()
            .print(Stream::Runner, self.masker.mask(text));
    }

    /// Returns the voice of the job itself.
    pub(super) fn job_voice(&self) -> StepVoice {
        StepVoice {
            recorder: self.recorder.clone(),
            job: self.plan.key,
            step: 0,
        }
    }

    /// Sets the contexts and the variables that tell where the job's files lie.
    pub(super) fn relocate(&mut self, locate: &dyn Fn(&Path) -> String) {
        let (github, runner) = self.located(locate);
        self.fixed_env = super::environment::fixed(&github, &runner);
        self.contexts.github = github;
        self.contexts.runner = runner;
    }

    /// Returns `github` and `runner` with paths as another place sees them.
    pub(super) fn located(&self, locate: &dyn Fn(&Path) -> String) -> (Value, Value) {
        let github = super::job::located_github(&self.contexts.github, &self.folders, locate);
        let around = (&self.folders, self.running.far.as_ref());
        let runner = super::job::runner_context(&self.options, around, locate);
        (github, runner)
    }

    /// Returns what variables name as `GITHUB_*` and `RUNNER_*` in another place.
    pub(super) fn located_env(&self, locate: &dyn Fn(&Path) -> String) -> BTreeMap<String, String> {
        let (github, runner) = self.located(locate);
        super::environment::fixed(&github, &runner)
    }
}
