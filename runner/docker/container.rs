//! The life of a container.

use std::{collections::BTreeMap, time::Duration};

use bollard::{
    errors::Error as BollardError,
    query_parameters::{
        CreateContainerOptionsBuilder, KillContainerOptionsBuilder, ListContainersOptionsBuilder,
        RemoveContainerOptionsBuilder, RenameContainerOptionsBuilder, StopContainerOptionsBuilder,
    },
};
use futures_util::StreamExt as _;

use super::{
    ContainerSpec, DockerError, Engine, Found, State,
    engine::{QUICK, WORK},
    network::label_filter,
};

/// A container as listings show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Full id.
    pub id: String,
    /// Its name, without a slash.
    pub name: String,
    /// The image as it was named at creation, or its id where that name has moved on.
    pub image: String,
    /// Id of the image.
    pub image_id: String,
    /// Whether it runs.
    pub state: State,
    /// The state in the daemon's words, as `Up 3 minutes (healthy)`.
    pub status: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Seconds since 1970, in the daemon's clock.
    pub created: i64,
}

impl Engine {
    /// Creates a container and returns its id; its image has to be there.
    ///
    /// # Errors
    /// [`DockerError::Conflict`]: the name is taken. [`DockerError::NotFound`]: no such image or
    /// network. If the future is dropped, the container may exist all the same.
    pub async fn create_container(&self, spec: &ContainerSpec) -> Result<String, DockerError> {
        let name = if spec.name.is_empty() {
            &spec.image
        } else {
            &spec.name
        };
        let action = format!("create container `{name}`");
        let mut options = CreateContainerOptionsBuilder::default();
        if !spec.name.is_empty() {
            options = options.name(&spec.name);
        }
        if let Some(platform) = &spec.platform {
            options = options.platform(platform);
        }
        let create = self
            .docker
            .create_container(Some(options.build()), spec.to_api());
        Ok(self.within(WORK, &action, create).await?.id)
    }

    /// Starts a container; one that runs already stays as it is.
    ///
    /// # Errors
    /// [`DockerError::Refused`]: a port is taken, the command is not there, and the like.
    pub async fn start(&self, container: &str) -> Result<(), DockerError> {
        let action = format!("start container `{container}`");
        self.within(WORK, &action, self.docker.start_container(container, None))
            .await
    }

    /// Asks a container to stop and kills it after `grace`; one that does not run stays as it is.
    ///
    /// # Errors
    /// There is no such container.
    pub async fn stop(&self, container: &str, grace: Duration) -> Result<(), DockerError> {
        let action = format!("stop container `{container}`");
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::default().t(seconds).build();
        let stop = self.docker.stop_container(container, Some(options));
        self.within(grace.saturating_add(WORK), &action, stop).await
    }

    /// Sends a signal, as `SIGUSR1`.
    ///
    /// # Errors
    /// [`DockerError::Conflict`]: it does not run.
    pub async fn kill(&self, container: &str, signal: &str) -> Result<(), DockerError> {
        let action = format!("send {signal} to container `{container}`");
        let options = KillContainerOptionsBuilder::default()
            .signal(signal)
            .build();
        self.within(
            QUICK,
            &action,
            self.docker.kill_container(container, Some(options)),
        )
        .await
    }

    /// Removes a container, `force` also one that runs, `volumes` with its nameless volumes;
    /// `false` if there was none.
    ///
    /// # Errors
    /// [`DockerError::Conflict`]: it runs.
    pub async fn remove_container(
        &self,
        container: &str,
        force: bool,
        volumes: bool,
    ) -> Result<bool, DockerError> {
        let action = format!("remove container `{container}`");
        let options = RemoveContainerOptionsBuilder::default()
            .force(force)
            .v(volumes)
            .build();
        let remove = self.docker.remove_container(container, Some(options));
        match self.within(WORK, &action, remove).await {
            Ok(()) => Ok(true),
            Err(e) if e.is_not_found() => Ok(false),
            // Two who remove one container agree.
            Err(DockerError::Conflict(failure))
                if failure.message.contains("is already in progress") =>
            {
                self.until_removed(container).await
            }
            Err(e) => Err(e),
        }
    }

    async fn until_removed(&self, container: &str) -> Result<bool, DockerError> {
        let gone = async {
            while self.container(container).await?.is_some() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok(true)
        };
        tokio::time::timeout(WORK, gone).await.unwrap_or_else(|_| {
            Err(DockerError::Timeout {
                engine: self.name().to_owned(),
                action: format!("remove container `{container}`"),
                limit: WORK,
            })
        })
    }

    /// Gives a container another name; a network then resolves the new one.
    ///
    /// # Errors
    /// [`DockerError::Conflict`]: the name is taken.
    pub async fn rename(&self, container: &str, name: &str) -> Result<(), DockerError> {
        let action = format!("rename container `{container}` to `{name}`");
        let options = RenameContainerOptionsBuilder::default().name(name).build();
        self.within(
            QUICK,
            &action,
            self.docker.rename_container(container, options),
        )
        .await
    }

    /// Looks a container up by name or id.
    ///
    /// # Errors
    /// The daemon could not be asked; a container that is not there is none.
    pub async fn container(&self, container: &str) -> Result<Option<Found>, DockerError> {
        let action = format!("inspect container `{container}`");
        match self
            .within(
                QUICK,
                &action,
                self.docker.inspect_container(container, None),
            )
            .await
        {
            Ok(found) => Ok(Some(Found::of(found))),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Lists containers that carry all these labels, each `key` or `key=value`, also those that do
    /// not run, the newest first.
    ///
    /// # Errors
    /// The daemon could not be asked.
    pub async fn containers(&self, labels: &[String]) -> Result<Vec<Listed>, DockerError> {
        let mut options = ListContainersOptionsBuilder::default().all(true);
        if !labels.is_empty() {
            options = options.filters(&label_filter(labels));
        }
        let list = self.docker.list_containers(Some(options.build()));
        let found = self.within(QUICK, "list containers", list).await?;
        let listed = |summary: bollard::models::ContainerSummary| Listed {
            id: summary.id.unwrap_or_default(),
            name: own_name(&summary.names.unwrap_or_default()),
            image: summary.image.unwrap_or_default(),
            image_id: summary.image_id.unwrap_or_default(),
            state: summary
                .state
                .map(|state| State::parse(state.as_ref()))
                .unwrap_or_default(),
            status: summary.status.unwrap_or_default(),
            labels: summary.labels.unwrap_or_default().into_iter().collect(),
            created: summary.created.unwrap_or_default(),
        };
        Ok(found.into_iter().map(listed).collect())
    }

    /// Waits until a container does not run, and returns its code.
    ///
    /// # Errors
    /// There is no such container, or the daemon is gone.
    pub async fn wait(&self, container: &str) -> Result<i64, DockerError> {
        let action = format!("wait for container `{container}`");
        let mut stream = self.docker.wait_container(container, None).boxed();
        match stream.next().await {
            Some(Ok(answer)) => Ok(answer.status_code),
            // bollard takes a code other than 0 for an error.
            Some(Err(BollardError::DockerContainerWaitError { error, code }))
                if error.is_empty() =>
            {
                Ok(code)
            }
            Some(Err(BollardError::DockerContainerWaitError { error, .. })) => {
                Err(DockerError::Failed(self.failure(&action, error)))
            }
            Some(Err(e)) => Err(self.failed(&action, e)),
            None => Err(self.interrupted(&action, "the answer ended early")),
        }
    }
}

/// Links give a container names of others, as `/web/db`.
fn own_name(names: &[String]) -> String {
    let mut names = names.iter().map(|name| name.trim_start_matches('/'));
    names
        .find(|name| !name.contains('/'))
        .unwrap_or_default()
        .to_owned()
}
