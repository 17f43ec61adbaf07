//! One host: its SSH connection and its Docker daemon.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::sync::Mutex;

use super::{
    error::OpError,
    http::Kept,
    proxy::{Api, Door},
    settings::Reach,
    shell::Shell,
};
use crate::{
    docker::Engine,
    release::{ContainerId, ContainerName, HostName, TRANSACTION_LABEL, Target, TransactionId},
    ssh::{Connection, HostAddress, Options, Stream},
};

/// How long a script of small files may take.
const SCRIPT: Duration = Duration::from_secs(60);

/// Ids of containers by what they were made for.
type Made = HashMap<(TransactionId, ContainerName), ContainerId>;

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
    shell: Arc<Shell>,
    /// Containers that this process made and has not renamed, by transaction and name.
    made: Arc<std::sync::Mutex<Made>>,
    /// The way to the proxy's own API.
    pub(super) proxy_api: Arc<Mutex<Option<Api>>>,
    /// Connections to the host's real ports that were opened ahead of the proof of a switch.
    pub(super) doors: Arc<Mutex<HashMap<Door, Kept>>>,
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
        let shell = Shell::default();
        let asked = ("ask for the home folder", SCRIPT);
        let (engine, (home, _)) = tokio::try_join!(
            async { Ok::<_, OpError>(Engine::over_ssh(&ssh, &reach.socket).await?) },
            shell.run(&ssh, "pwd -P", asked),
        )?;
        let home = home.trim_end().to_owned();
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
            shell: Arc::new(shell),
            made: Arc::default(),
            proxy_api: Arc::default(),
            doors: Arc::default(),
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

    /// Runs a shell script that goes in by standard input, and returns both outputs as text; one
    /// script at a time.
    pub(super) async fn script(
        &self,
        text: String,
        what: &str,
    ) -> Result<(String, String), OpError> {
        self.shell.run(&self.ssh, &text, (what, SCRIPT)).await
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
        let key = (transaction.clone(), target.name.clone());
        if let Some(id) = self.with_made(|made| made.get(&key).cloned()) {
            return Ok(Some(id));
        }
        self.ours(&target.name, transaction).await
    }

    /// Remembers a container, so that later operations need not ask for its id.
    pub(super) fn remember(
        &self,
        transaction: &TransactionId,
        name: &ContainerName,
        id: &ContainerId,
    ) {
        let key = (transaction.clone(), name.clone());
        self.with_made(|made| made.insert(key, id.clone()));
    }

    /// Forgets a container that is renamed or removed.
    pub(super) fn forget(&self, id: &ContainerId) {
        self.with_made(|made| made.retain(|_, known| known != id));
    }

    fn with_made<T>(&self, act: impl FnOnce(&mut Made) -> T) -> T {
        act(&mut self.made.lock().unwrap_or_else(PoisonError::into_inner))
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
