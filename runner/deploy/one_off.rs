//! One-off containers: a command in a container like that of a role or an accessory.

use super::{container, error::OpError, host::Host, settings::Settings};
use crate::{
    docker::Chunk,
    release::{ContainerName, ContainerSpec},
};

impl Host {
    /// Runs a command in a new container like `like`, which is removed afterwards; returns its code.
    ///
    /// It has the environment, the volumes and the networks of `like`, but none of its ports and
    /// labels: whoever looks for the containers of a role does not find it. If the future is
    /// dropped, the container goes on until its command ends.
    ///
    /// # Errors
    /// The image is not to be had, the container cannot be made or started.
    pub async fn run_once(
        &self,
        (like, name): (&ContainerSpec, ContainerName),
        command: Vec<String>,
        settings: &Settings,
        on_output: &mut (dyn FnMut(Chunk) + Send),
    ) -> Result<i64, OpError> {
        let spec = ContainerSpec {
            name,
            boot_name: None,
            hostname: None,
            labels: indexmap::IndexMap::new(),
            publish: Vec::new(),
            command,
            health_check: None,
            restart: "no".to_owned(),
            ..like.clone()
        };
        let image = spec.image.exact();
        if self.engine.image(&image).await?.is_none() {
            self.pull(&spec.image, settings).await?;
        }
        let wanted = container::wanted(&spec, &self.home, &settings.secrets)?;
        let id = self.engine.create_container(&wanted).await?;
        let ran = self.attached(&id, &spec, on_output).await;
        self.engine.remove_container(&id, true, true).await?;
        ran
    }

    async fn attached(
        &self,
        id: &str,
        spec: &ContainerSpec,
        on_output: &mut (dyn FnMut(Chunk) + Send),
    ) -> Result<i64, OpError> {
        for network in spec.networks.iter().skip(1) {
            self.engine.connect_network(network, id, &[]).await?;
        }
        Ok(self.engine.run_attached(id, None, on_output).await?)
    }
}
