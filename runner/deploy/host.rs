//! One host: its SSH connection and its Docker daemon.

use std::{sync::Arc, time::Duration};

use tokio::sync::Mutex;

use super::{error::OpError, settings::Reach};
use crate::{
    docker::Engine,
    release::{ContainerId, ContainerName, HostName, TRANSACTION_LABEL, Target, TransactionId},
    ssh::{Command, Connection, HostAddress, Options, Stream},
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
    side: Arc<Mutex<Option<Connection>>>,
    address: HostAddress,
    options: Options,
}

impl Host {
    /// Connects to a host and to its daemon.
    ///
    /// # Errors
    /// The host or its daemon is not reachable.
    pub async fn connect(name: &HostName, reach: &Reach) -> Result<Self, OpError> {
        let address = reach.address(name);
        let ssh = Connection::connect(&address, &reach.options).await?;
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
            side: Arc::default(),
            address,
            options: reach.options.clone(),
        })
    }

    /// A connection apart, for requests to containers that may never be answered: channels of one
    /// connection are opened one after the other, so such a request would hold up all the rest.
    pub(super) async fn side_way(&self) -> Result<Connection, OpError> {
        let mut side = self.side.lock().await;
        if let Some(side) = side.as_ref().filter(|side| side.failure().is_none()) {
            return Ok(side.clone());
        }
        let connection = Connection::connect(&self.address, &self.options).await?;
        *side = Some(connection.clone());
        Ok(connection)
    }

    /// Connects to a port of a container, or gives up after `limit` and leaves that connection.
    pub(super) async fn connect_container(
        &self,
        ip: &str,
        port: u16,
        limit: Duration,
    ) -> Result<Stream, OpError> {
        let way = self.side_way().await?;
        match tokio::time::timeout(limit, way.connect_tcp(ip, port)).await {
            Ok(stream) => Ok(stream?),
            Err(_) => {
                *self.side.lock().await = None;
                let what = format!("a connection to {ip}:{port}");
                Err(OpError::TooLong { what, limit })
            }
        }
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
