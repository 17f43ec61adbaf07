//! Named volumes.

use std::collections::BTreeMap;

use bollard::{
    models::VolumeCreateRequest,
    query_parameters::{ListVolumesOptionsBuilder, RemoveVolumeOptions},
};

use super::{
    DockerError, Engine,
    engine::{QUICK, WORK},
    network::label_filter,
};

/// A volume as listings show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

impl Engine {
    /// Makes a named volume on the daemon's disk; one that is there stays as it is, with its labels.
    ///
    /// # Errors
    /// The daemon refused.
    pub async fn create_volume(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), DockerError> {
        let action = format!("create volume `{name}`");
        let request = VolumeCreateRequest {
            name: Some(name.to_owned()),
            labels: Some(labels.clone().into_iter().collect()),
            ..VolumeCreateRequest::default()
        };
        let create = self.docker.create_volume(request);
        self.within(WORK, &action, create).await.map(drop)
    }

    /// Lists volumes that carry all these labels, each `key` or `key=value`.
    ///
    /// # Errors
    /// The daemon could not be asked.
    pub async fn volumes(&self, labels: &[String]) -> Result<Vec<Volume>, DockerError> {
        let options = ListVolumesOptionsBuilder::default()
            .filters(&label_filter(labels))
            .build();
        let list = self.docker.list_volumes(Some(options));
        let found = self.within(QUICK, "list volumes", list).await?;
        let volume = |found: bollard::models::Volume| Volume {
            name: found.name,
            labels: found.labels.into_iter().collect(),
        };
        Ok(found
            .volumes
            .unwrap_or_default()
            .into_iter()
            .map(volume)
            .collect())
    }

    /// Removes a named volume and all that is in it; `false` if there was none.
    ///
    /// # Errors
    /// [`DockerError::Conflict`]: a container uses it.
    pub async fn remove_volume(&self, name: &str) -> Result<bool, DockerError> {
        let action = format!("remove volume `{name}`");
        let remove = self.docker.remove_volume(name, None::<RemoveVolumeOptions>);
        match self.within(WORK, &action, remove).await {
            Ok(()) => Ok(true),
            Err(e) if e.is_not_found() => Ok(false),
            Err(e) => Err(e),
        }
    }
}
