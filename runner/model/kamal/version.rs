//! The version of a release, and the names that contain it.

use indexmap::IndexMap;
use thiserror::Error;

use super::config::Config;
use super::role::Role;

/// What git says of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitFacts {
    /// The full id of the commit that is checked out.
    pub revision: String,
    /// Whether there are changes that are not committed.
    pub is_dirty: bool,
}

/// There is nothing to take a version from: the user's call or folder.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("Can't use commit hash as version, no git repository found in {folder}")]
pub struct NoVersion {
    /// The folder that is not in a repository.
    pub folder: String,
}

/// Where a version can come from, the first that is there counts.
#[derive(Debug, Clone, Copy)]
pub struct VersionSources<'a> {
    /// What was asked for on the command line.
    pub asked: Option<&'a str>,
    /// The environment variable `VERSION`.
    pub environment: Option<&'a str>,
    /// The repository.
    pub git: Option<&'a GitFacts>,
    /// The folder, for the error.
    pub folder: &'a str,
    /// Sixteen random hexadecimal digits, for a version that no commit has.
    pub random: &'a str,
}

impl Config {
    /// Decides the version of a release.
    ///
    /// Changes that are not committed count only where `builder.context` is set; without it the
    /// image is built from a clean clone.
    pub fn version(&self, sources: &VersionSources<'_>) -> Result<String, NoVersion> {
        let given = sources.asked.filter(|version| !version.is_empty());
        if let Some(version) = given.or(sources.environment) {
            return Ok(version.to_owned());
        }
        let Some(git) = sources.git else {
            return Err(NoVersion {
                folder: sources.folder.to_owned(),
            });
        };
        if git.is_dirty && self.builder.context.is_some() {
            Ok(format!("{}_uncommitted_{}", git.revision, sources.random))
        } else {
            Ok(git.revision.clone())
        }
    }

    /// Returns the image with its registry, without a tag.
    pub fn repository(&self) -> String {
        match &self.registry.server {
            Some(server) => format!("{server}/{}", self.image),
            None => self.image.clone(),
        }
    }

    /// Returns the image of a version.
    pub fn absolute_image(&self, version: &str) -> String {
        format!("{}:{version}", self.repository())
    }

    /// Returns the image with the tag that moves: `latest`, or `latest-<destination>`.
    pub fn latest_image(&self) -> String {
        match &self.destination {
            Some(destination) => format!("{}:latest-{destination}", self.repository()),
            None => format!("{}:latest", self.repository()),
        }
    }

    /// Returns `<service>-<version>`.
    pub fn service_with_version(&self, version: &str) -> String {
        format!("{}-{version}", self.service)
    }

    /// Returns `<service>[-<destination>]`, the name of our files and folders on the hosts.
    pub fn service_and_destination(&self) -> String {
        match &self.destination {
            Some(destination) => format!("{}-{destination}", self.service),
            None => self.service.clone(),
        }
    }

    /// Returns the variables that Kamal adds to the environment of an application's container.
    pub fn kamal_env(&self, role: &Role, host: &str, version: &str) -> IndexMap<String, String> {
        let mut env = IndexMap::from([
            (
                "KAMAL_CONTAINER_NAME".to_owned(),
                role.container_name(version),
            ),
            ("KAMAL_VERSION".to_owned(), version.to_owned()),
            ("KAMAL_HOST".to_owned(), host.to_owned()),
        ]);
        if let Some(destination) = &self.destination {
            env.insert("KAMAL_DESTINATION".to_owned(), destination.clone());
        }
        env
    }

    /// Returns the folder of the application's files, below the SSH user's home.
    pub fn app_directory(&self) -> String {
        format!(
            "{}/apps/{}",
            Self::RUN_DIRECTORY,
            self.service_and_destination()
        )
    }

    /// Returns the env file of a role on the hosts, below the SSH user's home.
    pub fn role_env_file(&self, role: &str) -> String {
        format!("{}/env/roles/{role}.env", self.app_directory())
    }

    /// Returns the env file of an accessory on the hosts, below the SSH user's home.
    pub fn accessory_env_file(&self, accessory: &str) -> String {
        format!("{}/env/accessories/{accessory}.env", self.app_directory())
    }

    /// Returns the folder of a role's assets on the hosts, of old and new containers alike.
    pub fn asset_volume_directory(&self, role: &str, version: &str) -> String {
        format!("{}/assets/volumes/{role}-{version}", self.app_directory())
    }

    /// Returns the lock's folder on the primary host, below the SSH user's home.
    pub fn lock_directory(&self) -> String {
        let name = self.service_and_destination();
        format!("{}/lock-{name}", Self::RUN_DIRECTORY)
    }

    /// Returns the audit log on the hosts, below the SSH user's home.
    pub fn audit_log(&self) -> String {
        let name = self.service_and_destination();
        format!("{}/{name}-audit.log", Self::RUN_DIRECTORY)
    }
}

/// Shortens a commit id to seven digits; a version with `_` is left alone.
pub fn abbreviated_version(version: &str) -> &str {
    if version.contains('_') {
        version
    } else {
        version.get(..7).unwrap_or(version)
    }
}
