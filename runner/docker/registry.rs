//! Images between the daemon and a registry.

use bollard::query_parameters::{CreateImageOptionsBuilder, PushImageOptionsBuilder};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::json;

use super::{Credentials, DockerError, Engine, Image, ImageReference};

impl Engine {
    /// Pulls an image by tag or digest; the credentials go with this request alone.
    ///
    /// `on_progress` gets lines as the daemon says them. If the future is dropped, the daemon may
    /// go on for a while; what it has got is kept for the next time.
    ///
    /// # Errors
    /// [`DockerError::NotFound`], [`DockerError::Unauthorized`], [`DockerError::Failed`].
    pub async fn pull(
        &self,
        reference: &str,
        credentials: Option<&Credentials>,
        on_progress: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Image, DockerError> {
        let action = format!("pull image `{reference}`");
        let parsed = ImageReference::parse(reference);
        let options = CreateImageOptionsBuilder::default()
            .from_image(&parsed.repository)
            .tag(parsed.version())
            .build();
        let credentials = credentials.map(Credentials::to_bollard);
        let mut stream = self
            .docker
            .create_image(Some(options), None, credentials)
            .boxed();
        while let Some(info) = stream
            .try_next()
            .await
            .map_err(|e| self.failed(&action, e))?
        {
            if let Some(message) = info.error_detail.and_then(|detail| detail.message) {
                return Err(super::error::by_words(self.failure(&action, message)));
            }
            // Progress within a layer comes many times a second: states alone are told.
            let counts = info
                .progress_detail
                .is_some_and(|detail| detail.current.is_some());
            if let (Some(status), false) = (info.status, counts) {
                on_progress(&with_id(info.id, &status));
            }
        }
        match self.image(reference).await? {
            Some(image) => Ok(image),
            None => {
                let message = "the daemon pulled it and does not have it";
                Err(DockerError::NotFound(self.failure(&action, message)))
            }
        }
    }

    /// Pushes an image and returns its digest in the registry, `sha256:...`.
    ///
    /// # Errors
    /// [`DockerError::NotFound`], [`DockerError::Unauthorized`], [`DockerError::Failed`].
    pub async fn push(
        &self,
        reference: &str,
        credentials: Option<&Credentials>,
        on_progress: &mut (dyn FnMut(&str) + Send),
    ) -> Result<String, DockerError> {
        let action = format!("push image `{reference}`");
        let parsed = ImageReference::parse(reference);
        let tag = parsed.tag.as_deref().unwrap_or("latest");
        let options = PushImageOptionsBuilder::default().tag(tag).build();
        // The API wants the header even where there is nothing to say.
        let credentials = Some(credentials.map(Credentials::to_bollard).unwrap_or_default());
        let mut stream = self
            .docker
            .push_image(&parsed.repository, Some(options), credentials)
            .boxed();
        let mut digest = None;
        while let Some(info) = stream
            .try_next()
            .await
            .map_err(|e| self.failed(&action, e))?
        {
            if let Some(message) = info.error_detail.and_then(|detail| detail.message) {
                return Err(super::error::by_words(self.failure(&action, message)));
            }
            let counts = info
                .progress_detail
                .is_some_and(|detail| detail.current.is_some());
            if let (Some(status), false) = (info.status, counts) {
                digest = digest_of(&status).or(digest);
                on_progress(&status);
            }
        }
        if let Some(digest) = digest {
            return Ok(digest);
        }
        let image = self.image(reference).await?;
        let known = image
            .as_ref()
            .and_then(|image| image.digest_in(&parsed.repository));
        known.map(str::to_owned).ok_or_else(|| {
            DockerError::Answer(self.failure(&action, "the registry told no digest"))
        })
    }

    /// Asks the registry, through the daemon, whether it accepts the credentials.
    ///
    /// # Errors
    /// [`DockerError::Unauthorized`], or the registry could not be reached from there.
    pub async fn check_credentials(&self, credentials: &Credentials) -> Result<(), DockerError> {
        let address = credentials.address();
        let action = format!("log in to registry `{address}`");
        let body = json!({
            "username": credentials.username,
            "password": credentials.password,
            "serveraddress": address,
        });
        self.post_json(&action, "/auth", &body).await.map(drop)
    }
}

fn with_id(id: Option<String>, status: &str) -> String {
    match id {
        Some(id) if !id.is_empty() => format!("{id}: {status}"),
        _ => status.to_owned(),
    }
}

/// The daemon ends a push with `v1: digest: sha256:... size: 528`.
fn digest_of(status: &str) -> Option<String> {
    let (_, rest) = status.split_once("digest: ")?;
    let digest = rest.split_whitespace().next()?;
    digest.starts_with("sha256:").then(|| digest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_from_the_last_line() {
        assert_eq!(
            digest_of("v1: digest: sha256:ab size: 528").as_deref(),
            Some("sha256:ab")
        );
        assert_eq!(digest_of("Pushed"), None);
    }
}
