//! Networks.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use bollard::{
    models::{EndpointSettings, NetworkConnectRequest, NetworkDisconnectRequest},
    query_parameters::ListNetworksOptionsBuilder,
};
use serde_json::json;

use super::{
    DockerError, Engine,
    engine::{QUICK, WORK},
};

/// How often a network is tried to be created beside others who do the same.
const CREATE_ATTEMPTS: u32 = 20;

/// A network as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Full id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// As `bridge`.
    pub driver: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Ids of the running containers in it.
    pub containers: Vec<String>,
}

impl Engine {
    /// Looks a network up by name or id.
    ///
    /// # Errors
    /// The daemon could not be asked; a network that is not there is none.
    pub async fn network(&self, name: &str) -> Result<Option<Network>, DockerError> {
        let action = format!("inspect network `{name}`");
        match self
            .within(QUICK, &action, self.docker.inspect_network(name, None))
            .await
        {
            Ok(found) => Ok(Some(Network {
                id: found.id.unwrap_or_default(),
                name: found.name.unwrap_or_default(),
                driver: found.driver.unwrap_or_default(),
                labels: found.labels.unwrap_or_default().into_iter().collect(),
                containers: found.containers.unwrap_or_default().into_keys().collect(),
            })),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Lists networks that carry all these labels, each `key` or `key=value`; who is in them is not
    /// told.
    ///
    /// # Errors
    /// The daemon could not be asked.
    pub async fn networks(&self, labels: &[String]) -> Result<Vec<Network>, DockerError> {
        let options = ListNetworksOptionsBuilder::default()
            .filters(&label_filter(labels))
            .build();
        let list = self.docker.list_networks(Some(options));
        let found = self.within(QUICK, "list networks", list).await?;
        let network = |found: bollard::models::Network| Network {
            id: found.id.unwrap_or_default(),
            name: found.name.unwrap_or_default(),
            driver: found.driver.unwrap_or_default(),
            labels: found.labels.unwrap_or_default().into_iter().collect(),
            containers: Vec::new(),
        };
        Ok(found.into_iter().map(network).collect())
    }

    /// Makes sure that a bridge network of this name exists; `true` if it was created.
    ///
    /// # Errors
    /// The daemon refused, or is gone.
    pub async fn ensure_network(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<bool, DockerError> {
        for _ in 0..CREATE_ATTEMPTS {
            if !self.networks_named(name).await?.is_empty() {
                return Ok(false);
            }
            let action = format!("create network `{name}`");
            // Without this wish, daemons before 25 make a second network of the same name; with
            // it, they do so only for calls that come at once.
            let body = json!({
                "Name": name, "Driver": "bridge", "CheckDuplicate": true, "Labels": labels,
            });
            let created = match self.post_json(&action, "/networks/create", &body).await {
                Ok(created) => created,
                Err(e) if e.is_conflict() => return Ok(false),
                Err(e) => return Err(e),
            };
            let id = created
                .get("Id")
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default();
            if self
                .networks_named(name)
                .await?
                .iter()
                .all(|other| other == id)
            {
                return Ok(true);
            }
            // Of several who created at once, at most one saw no other: the rest take theirs back
            // and look again, not at once again.
            self.remove_network(id).await?;
            tokio::time::sleep(pause()).await;
        }
        let message = "others create and remove it all the time";
        Err(DockerError::Conflict(
            self.failure(&format!("create network `{name}`"), message),
        ))
    }

    /// Ids of the networks of exactly this name.
    async fn networks_named(&self, name: &str) -> Result<Vec<String>, DockerError> {
        let filters = HashMap::from([("name".to_owned(), vec![name.to_owned()])]);
        let options = ListNetworksOptionsBuilder::default()
            .filters(&filters)
            .build();
        let list = self.docker.list_networks(Some(options));
        let found = self.within(QUICK, "list networks", list).await?;
        let named = found
            .into_iter()
            .filter(|network| network.name.as_deref() == Some(name));
        Ok(named.filter_map(|network| network.id).collect())
    }

    /// Joins a container to a network under more names; one that is in it already stays as it is.
    ///
    /// # Errors
    /// There is no such network or container.
    pub async fn connect_network(
        &self,
        network: &str,
        container: &str,
        aliases: &[String],
    ) -> Result<(), DockerError> {
        let action = format!("connect container `{container}` to network `{network}`");
        let endpoint = EndpointSettings {
            aliases: (!aliases.is_empty()).then(|| aliases.to_vec()),
            ..EndpointSettings::default()
        };
        let request = NetworkConnectRequest {
            container: container.to_owned(),
            endpoint_config: Some(endpoint),
        };
        match self
            .within(WORK, &action, self.docker.connect_network(network, request))
            .await
        {
            Err(DockerError::Refused { failure, .. } | DockerError::Conflict(failure))
                if failure.message.contains("already exists in network") =>
            {
                Ok(())
            }
            other => other,
        }
    }

    /// Takes a container out of a network.
    ///
    /// # Errors
    /// There is no such network or container, or it is not in it.
    pub async fn disconnect_network(
        &self,
        network: &str,
        container: &str,
    ) -> Result<(), DockerError> {
        let action = format!("disconnect container `{container}` from network `{network}`");
        let request = NetworkDisconnectRequest {
            container: container.to_owned(),
            force: Some(true),
        };
        self.within(
            WORK,
            &action,
            self.docker.disconnect_network(network, request),
        )
        .await
    }

    /// Removes a network; `false` if there was none.
    ///
    /// # Errors
    /// Containers are in it.
    pub async fn remove_network(&self, name: &str) -> Result<bool, DockerError> {
        let action = format!("remove network `{name}`");
        match self
            .within(WORK, &action, self.docker.remove_network(name))
            .await
        {
            Ok(()) => Ok(true),
            Err(e) if e.is_not_found() => Ok(false),
            Err(e) => Err(e),
        }
    }
}

/// A time between 10 and 265 ms that two processes do not share.
fn pause() -> Duration {
    let [.., last] = *uuid::Uuid::now_v7().as_bytes();
    Duration::from_millis(10 + u64::from(last))
}

/// Labels as the API filters by them: `key` or `key=value`.
pub(super) fn label_filter(labels: &[String]) -> HashMap<String, Vec<String>> {
    HashMap::from([("label".to_owned(), labels.to_vec())])
}
