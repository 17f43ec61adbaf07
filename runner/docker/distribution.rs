//! What a registry knows of an image, without pulling it.

use super::{Credentials, DockerError, Engine, engine::WORK};

impl Engine {
    /// Asks the registry, through the daemon, for the digest of an image; nothing is pulled.
    ///
    /// # Errors
    /// [`DockerError::NotFound`], [`DockerError::Unauthorized`].
    pub async fn digest_in_registry(
        &self,
        reference: &str,
        credentials: Option<&Credentials>,
    ) -> Result<String, DockerError> {
        let action = format!("find image `{reference}` in its registry");
        let credentials = credentials.map(Credentials::to_bollard);
        let ask = self.docker.inspect_registry_image(reference, credentials);
        let found = self.within(WORK, &action, ask).await?;
        found.descriptor.digest.ok_or_else(|| {
            DockerError::Answer(self.failure(&action, "the registry told no digest"))
        })
    }
}
