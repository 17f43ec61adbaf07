//! How a project's image is built.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::project::{Project, ProjectError};
use crate::{
    docker::{BuildSpec, Builder, Credentials},
    kamal,
};

/// What is wanted of a build beside what the configuration says; what is empty changes nothing.
#[derive(Clone, Default)]
pub struct BuildWishes {
    /// Folder with the files, relative to the project's.
    pub context: Option<String>,
    /// The Dockerfile, relative to the project's folder.
    pub dockerfile: Option<String>,
    /// Stage to build.
    pub target: Option<String>,
    /// Build arguments, which stay readable in the image; over those of the configuration.
    pub args: Vec<(String, String)>,
    /// Values of secrets that the build sees, by id.
    pub secrets: BTreeMap<String, String>,
    /// Names of secrets of the secrets files that the build sees beside those of the configuration.
    pub secret_names: Vec<String>,
    /// More tags, without the repository.
    pub tags: Vec<String>,
    /// Who builds.
    pub builder: Builder,
    /// Whether every step runs again.
    pub no_cache: bool,
    /// Whether base images are looked up in their registries even if they are there.
    pub pull: bool,
}

impl std::fmt::Debug for BuildWishes {
    /// Shows names of secrets alone.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BuildWishes")
            .field("context", &self.context)
            .field("dockerfile", &self.dockerfile)
            .field("target", &self.target)
            .field("secrets", &self.secrets.keys())
            .field("tags", &self.tags)
            .field("builder", &self.builder)
            .finish_non_exhaustive()
    }
}

/// An image cannot be built as the configuration says.
#[derive(Debug, Error)]
pub enum ImageError {
    /// The user's configuration wants what is not built here.
    #[error("`{key}` of the configuration cannot be followed: {reason}")]
    Unsupported {
        /// The key, as `builder.pack`.
        key: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// The user's files: a folder or a file is not there.
    #[error("`{path}` is not in the project's folder")]
    Missing {
        /// The path, as it was given.
        path: String,
    },
    /// The user's files: the Dockerfile lies where the build does not see it.
    #[error("the Dockerfile `{dockerfile}` does not lie in the build context `{context}`")]
    Outside {
        /// The Dockerfile.
        dockerfile: String,
        /// The folder.
        context: String,
    },
    /// The project's secrets.
    #[error(transparent)]
    Project(#[from] ProjectError),
}

impl Project {
    /// Returns how the image of a version is built on a daemon of an architecture, in Docker's
    /// words (`amd64`).
    ///
    /// The image gets the label `service`, without which Kamal refuses to run it.
    /// Blocks: the secrets files are read if the build sees a secret.
    ///
    /// # Errors
    /// [`ImageError`].
    pub fn build_spec(
        &self,
        version: &str,
        wishes: &BuildWishes,
        architecture: &str,
    ) -> Result<BuildSpec, ImageError> {
        let builder = &self.config.builder;
        refuse_unsupported(builder)?;
        let (context, dockerfile) = self.files(wishes)?;
        let repository = self.config.repository();
        let tags = std::iter::once(version)
            .chain(wishes.tags.iter().map(String::as_str))
            .map(|tag| format!("{repository}:{tag}"))
            .collect();
        // What another machine's processor needs is asked for; the daemon's own goes without saying,
        // so that base images without a platform can be used.
        let platform = builder
            .arches
            .first()
            .filter(|arch| *arch != architecture)
            .map(|arch| format!("linux/{arch}"));
        Ok(BuildSpec {
            context,
            dockerfile,
            tags,
            args: self.args(wishes),
            target: wishes.target.clone().or_else(|| builder.target.clone()),
            labels: [("service".to_owned(), self.config.service.clone())].into(),
            secrets: self.build_secrets(wishes)?,
            platform,
            no_cache: wishes.no_cache,
            pull: wishes.pull,
            credentials: Vec::new(),
            builder: wishes.builder,
        })
    }

    /// Returns what base images may be pulled with: the registry's credentials, or why there are
    /// none, which is no error as long as nobody asks for them.
    ///
    /// Blocks: the secrets files are read.
    pub fn base_image_credentials(&self) -> (Vec<Credentials>, Option<ProjectError>) {
        match self.credentials() {
            Ok(credentials) => (credentials.into_iter().collect(), None),
            Err(error) => (Vec::new(), Some(error)),
        }
    }

    fn files(&self, wishes: &BuildWishes) -> Result<(PathBuf, String), ImageError> {
        let builder = &self.config.builder;
        let context = wishes.context.as_deref().or(builder.context.as_deref());
        let context = context.unwrap_or(".");
        if context.contains("://") || context.starts_with("git@") {
            return Err(ImageError::Unsupported {
                key: "builder.context",
                reason: "only a folder of the project can be built from",
            });
        }
        let written = wishes.dockerfile.as_deref().unwrap_or(&builder.dockerfile);
        let missing = |path: &str| ImageError::Missing {
            path: path.to_owned(),
        };
        let folder = self
            .folder()
            .join(context)
            .canonicalize()
            .map_err(|_| missing(context))?;
        let file = self.folder().join(written);
        let (Some(parent), Some(name)) = (file.parent(), file.file_name()) else {
            return Err(missing(written));
        };
        let file = parent
            .canonicalize()
            .map_err(|_| missing(written))?
            .join(name);
        if !file.is_file() {
            return Err(missing(written));
        }
        match file.strip_prefix(&folder).ok().and_then(Path::to_str) {
            Some(dockerfile) => Ok((folder, dockerfile.to_owned())),
            None => Err(ImageError::Outside {
                dockerfile: written.to_owned(),
                context: context.to_owned(),
            }),
        }
    }

    /// A build argument without value is taken from the environment, as the `docker` command does.
    fn args(&self, wishes: &BuildWishes) -> BTreeMap<String, String> {
        let configured = self.config.builder.args.iter();
        let configured = configured.map(|(name, value)| (name.clone(), value.to_string()));
        configured
            .chain(wishes.args.iter().cloned())
            .filter_map(|(name, value)| {
                let value = if value.is_empty() {
                    self.env(&name)?
                } else {
                    value
                };
                Some((name, value))
            })
            .collect()
    }

    fn build_secrets(
        &self,
        wishes: &BuildWishes,
    ) -> Result<BTreeMap<String, Vec<u8>>, ProjectError> {
        let mut found: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let names = self.config.builder.secrets.iter();
        for name in names.chain(&wishes.secret_names) {
            if !wishes.secrets.contains_key(name) {
                let value = self.secrets()?.get(name)?;
                found.insert(name.clone(), value.as_bytes().to_vec());
            }
        }
        let given = wishes.secrets.iter();
        found.extend(given.map(|(id, value)| (id.clone(), value.as_bytes().to_vec())));
        Ok(found)
    }
}

/// Names the keys that would change the image and are not followed.
fn refuse_unsupported(builder: &kamal::Builder) -> Result<(), ImageError> {
    let is_on = |value: &Option<kamal::Scalar>| {
        value
            .as_ref()
            .is_some_and(|value| value.to_string() != "false")
    };
    let reasons = [
        (
            builder.pack.is_some(),
            "builder.pack",
            "images are built from a Dockerfile, not with buildpacks",
        ),
        (
            builder.remote.is_some(),
            "builder.remote",
            "images are built on this machine's daemon; start the run where they are to be built",
        ),
        (
            builder.arches.len() > 1,
            "builder.arch",
            "an image of several architectures needs a builder of its own; name one",
        ),
        (
            builder.ssh.is_some(),
            "builder.ssh",
            "no SSH agent is given to builds; use `builder.secrets`",
        ),
        (
            builder.driver.starts_with("cloud"),
            "builder.driver",
            "images are built on this machine's daemon",
        ),
        (
            is_on(&builder.provenance),
            "builder.provenance",
            "attestations need a builder of their own",
        ),
        (
            is_on(&builder.sbom),
            "builder.sbom",
            "attestations need a builder of their own",
        ),
    ];
    match reasons.into_iter().find(|(is_wanted, ..)| *is_wanted) {
        Some((_, key, reason)) => Err(ImageError::Unsupported { key, reason }),
        None => Ok(()),
    }
}
