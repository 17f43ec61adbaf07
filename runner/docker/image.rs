//! Images on the daemon's disk.

use std::collections::BTreeMap;

use bollard::{
    models::ImageInspect,
    query_parameters::{
        ListImagesOptionsBuilder, RemoveImageOptionsBuilder, TagImageOptionsBuilder,
    },
};

use super::{
    DockerError, Engine, ImageReference,
    engine::{QUICK, WORK},
    network::label_filter,
};

/// An image as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Image {
    /// Its id, `sha256:...`: the digest of its configuration.
    pub id: String,
    /// Names with tags.
    pub tags: Vec<String>,
    /// Names with digests, `repository@sha256:...`, as registries know them.
    pub digests: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// As `amd64`; empty in a listing.
    pub architecture: String,
    /// As `linux`; empty in a listing.
    pub os: String,
    /// Bytes on disk.
    pub size: u64,
    /// The command that runs unless another is given; empty in a listing.
    pub command: Vec<String>,
    /// The entrypoint; empty in a listing.
    pub entrypoint: Vec<String>,
    /// The user; empty in a listing and where it is root.
    pub user: String,
    /// Whether it has a HEALTHCHECK; `false` in a listing.
    pub has_health_check: bool,
}

impl Image {
    /// The digest under which the registry of `repository` knows the image.
    pub fn digest_in(&self, repository: &str) -> Option<&str> {
        self.digests.iter().find_map(|name| {
            name.strip_prefix(repository)
                .and_then(|rest| rest.strip_prefix('@'))
        })
    }

    fn of(found: ImageInspect) -> Self {
        let config = found.config.unwrap_or_default();
        let test = config
            .healthcheck
            .and_then(|health| health.test)
            .unwrap_or_default();
        Self {
            id: found.id.unwrap_or_default(),
            tags: found.repo_tags.unwrap_or_default(),
            digests: found.repo_digests.unwrap_or_default(),
            labels: config.labels.unwrap_or_default().into_iter().collect(),
            architecture: found.architecture.unwrap_or_default(),
            os: found.os.unwrap_or_default(),
            size: found
                .size
                .and_then(|size| size.try_into().ok())
                .unwrap_or_default(),
            command: config.cmd.unwrap_or_default(),
            entrypoint: config.entrypoint.unwrap_or_default(),
            user: config.user.unwrap_or_default(),
            has_health_check: test.first().is_some_and(|kind| kind != "NONE"),
        }
    }
}

impl Engine {
    /// Looks an image up by name, digest or id.
    ///
    /// # Errors
    /// The daemon could not be asked; an image that is not there is none.
    pub async fn image(&self, reference: &str) -> Result<Option<Image>, DockerError> {
        let action = format!("inspect image `{reference}`");
        match self
            .within(QUICK, &action, self.docker.inspect_image(reference))
            .await
        {
            Ok(found) => Ok(Some(Image::of(found))),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Lists images that carry all these labels, each `key` or `key=value`; all, without labels.
    ///
    /// # Errors
    /// The daemon could not be asked.
    pub async fn images(&self, labels: &[String]) -> Result<Vec<Image>, DockerError> {
        let mut options = ListImagesOptionsBuilder::default().digests(true);
        if !labels.is_empty() {
            options = options.filters(&label_filter(labels));
        }
        let list = self.docker.list_images(Some(options.build()));
        let found = self.within(QUICK, "list images", list).await?;
        let image = |summary: bollard::models::ImageSummary| Image {
            id: summary.id,
            tags: summary.repo_tags,
            digests: summary.repo_digests,
            labels: summary.labels.into_iter().collect(),
            size: summary.size.try_into().unwrap_or_default(),
            ..Image::default()
        };
        Ok(found.into_iter().map(image).collect())
    }

    /// Gives an image one more name.
    ///
    /// # Errors
    /// There is no such image.
    pub async fn tag(&self, source: &str, name: &str) -> Result<(), DockerError> {
        let action = format!("tag image `{source}` as `{name}`");
        let name = ImageReference::parse(name);
        let options = TagImageOptionsBuilder::default()
            .repo(&name.repository)
            .tag(name.tag.as_deref().unwrap_or("latest"))
            .build();
        self.within(QUICK, &action, self.docker.tag_image(source, Some(options)))
            .await
    }

    /// Removes a name of an image, and the image with its last one; `false` if there was none.
    ///
    /// # Errors
    /// [`DockerError::Conflict`]: a container uses it, and `force` does not help while it runs.
    pub async fn remove_image(&self, reference: &str, force: bool) -> Result<bool, DockerError> {
        let action = format!("remove image `{reference}`");
        let options = RemoveImageOptionsBuilder::default().force(force).build();
        let remove = self.docker.remove_image(reference, Some(options), None);
        match self.within(WORK, &action, remove).await {
            Ok(_) => Ok(true),
            Err(e) if e.is_not_found() => Ok(false),
            Err(e) => Err(e),
        }
    }
}
