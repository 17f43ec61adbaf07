//! One host: its SSH connection and its Docker daemon.

use std::time::Duration;

use super::{error::OpError, settings::Reach};
use crate::{
    docker::Engine,
    release::{ContainerId, ContainerName, HostName, TRANSACTION_LABEL, Target, TransactionId},
    ssh::{Command, Connection},
};

/// How long a script of small files may take.
const SCRIPT: Duration = Duration::from_secs(60);

/// A host that answered; clones share the connection.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name in the configuration.
    pub name: HostName,
    /// The SSH connection.
    pub ssh: Connection,
    /// Its Docker daemon.
    pub engine: Engine,
    /// The home folder of the SSH user there.
    pub home: String,
}

impl Host {
    /// Connects to a host and to its daemon.
    ///
    /// # Errors
    /// The host or its daemon is not reachable.
    pub async fn connect(name: &HostName, reach: &Reach) -> Result<Self, OpError> {
        let ssh = Connection::connect(&reach.address(name), &reach.options).await?;
        let asked = Command::new("pwd -P").limit(SCRIPT);
        let (engine, home) = tokio::try_join!(
            async { Ok::<_, OpError>(Engine::over_ssh(&ssh, &reach.socket).await?) },
            async { Ok(ssh.exec(&asked).await?) },
        )?;
        let home = String::from_utf8_lossy(&home.stdout).trim_end().to_owned();
        if !home.starts_with('/') {
            return Err(OpError::NotReady(format!(
                "`{name}` does not tell the home folder of its user"
            )));
        }
        Ok(Self {
            name: name.clone(),
            ssh,
            engine,
            home,
        })
    }

    /// Runs a shell script that goes in by standard input, and returns both outputs as text.
    pub(super) async fn script(
        &self,
        text: String,
        what: &str,
    ) -> Result<(String, String), OpError> {
        let command = Command::new("sh -s").named(what).stdin(text).limit(SCRIPT);
        let output = self.ssh.exec(&command).await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((text(&output.stdout), text(&output.stderr)))
    }

    /// Finds the id of a container that an operation means.
    ///
    /// One that is known by name alone must carry the transaction's label.
    pub(super) async fn find(
        &self,
        target: &Target,
        transaction: &TransactionId,
    ) -> Result<Option<ContainerId>, OpError> {
        if let Some(id) = &target.id {
            return Ok(Some(id.clone()));
        }
        self.ours(&target.name, transaction).await
    }

    /// The id of the container of this name, if this transaction made it.
    pub(super) async fn ours(
        &self,
        name: &ContainerName,
        transaction: &TransactionId,
    ) -> Result<Option<ContainerId>, OpError> {
        let found = self.engine.container(name.as_str()).await?;
        let ours = found.filter(|found| {
            found.labels.get(TRANSACTION_LABEL).map(String::as_str) == Some(transaction.as_str())
        });
        Ok(ours.map(|found| ContainerId::new(found.id)))
    }

    /// As [`Self::find`], for operations that need the container.
    pub(super) async fn need(
        &self,
        target: &Target,
        transaction: &TransactionId,
    ) -> Result<ContainerId, OpError> {
        let found = self.find(target, transaction).await?;
        found.ok_or_else(|| OpError::NoContainer(target.name.clone()))
    }
}
