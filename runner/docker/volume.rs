//! Named volumes.

use bollard::query_parameters::RemoveVolumeOptions;

use super::{DockerError, Engine, engine::WORK};

impl Engine {
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
