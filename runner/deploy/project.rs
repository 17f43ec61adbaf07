//! A project that is to be deployed: its configuration, its version and its secrets.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use thiserror::Error;

use super::world::ProjectWorld;
use crate::{
    docker::Credentials,
    git::{self, GitError},
    kamal::{
        self, Config, Credential, MissingSecret, NoVersion, SecretValues, Secrets, SecretsError,
        World as _,
    },
};

/// How many files a refusal names.
const NAMED: usize = 10;

/// Where a project is.
#[derive(Debug, Clone)]
pub struct ProjectPlace {
    /// The folder with the files that are built and deployed.
    pub folder: PathBuf,
    /// The folder with the secrets files, which are in no checkout.
    pub secrets_folder: PathBuf,
    /// The configuration, relative to the folder.
    pub config_file: String,
    /// The destination, as `staging`.
    pub destination: Option<String>,
    /// The environment that templates and secrets files see.
    pub env: Arc<BTreeMap<String, String>>,
}

/// Whether a person waits at the terminal, whom commands of the project may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attendance {
    /// Commands may ask and complain there.
    Attended,
    /// Commands cannot ask, and what they complain of is dropped: nobody could mask it.
    Unattended,
}

/// A project whose configuration was read.
#[derive(Debug)]
pub struct Project {
    /// The configuration.
    pub config: Config,
    /// What the reading had to say, though nothing is wrong.
    pub notices: Vec<String>,
    place: ProjectPlace,
    secrets_world: ProjectWorld,
    secrets: Secrets,
}

/// A project cannot be used.
#[derive(Debug, Error)]
pub enum ProjectError {
    /// The user's files: the configuration is wrong.
    #[error("`{file}` is not a valid configuration:\n{}", problems.join("\n"))]
    Invalid {
        /// The file.
        file: String,
        /// What is wrong, with file, line and column.
        problems: Vec<String>,
    },
    /// The user's secrets file.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The user's secrets file lacks a secret that the configuration names.
    #[error(transparent)]
    Missing(#[from] MissingSecret),
}

/// What git says of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// The full id of the commit that is checked out.
    pub commit: String,
    /// Paths that differ from it, untracked ones included.
    pub uncommitted: Vec<String>,
}

/// There is no version, or none that would say what is in the image.
#[derive(Debug, Error)]
pub enum VersionError {
    /// The user's working tree: a version is a commit, and these files are in none.
    #[error(
        "{} not committed, so no commit would say what is in the image: {}; commit them, or set \
         `allow-uncommitted: true`",
        count(files.len()),
        named(files)
    )]
    Uncommitted {
        /// The files.
        files: Vec<String>,
    },
    /// The user's folder: no version is given and there is no commit.
    #[error(transparent)]
    None(#[from] NoVersion),
    /// The machine, or a broken repository.
    #[error(transparent)]
    Git(#[from] GitError),
}

fn count(files: usize) -> String {
    match files {
        1 => "1 file is".to_owned(),
        many => format!("{many} files are"),
    }
}

fn named(files: &[String]) -> String {
    let first: Vec<String> = files
        .iter()
        .take(NAMED)
        .map(|file| format!("`{file}`"))
        .collect();
    let rest = files.len().saturating_sub(NAMED);
    let more = if rest > 0 {
        format!(" and {rest} more")
    } else {
        String::new()
    };
    format!("{}{more}", first.join(", "))
}

/// Returns what a registry is logged in to with; none where it has no user.
///
/// # Errors
/// The configuration names a secret that no file has.
pub fn login(
    server: Option<&str>,
    username: Option<&Credential>,
    password: Option<&Credential>,
    secrets: &SecretValues,
) -> Result<Option<Credentials>, MissingSecret> {
    let (Some(username), Some(password)) = (username, password) else {
        return Ok(None);
    };
    Ok(Some(Credentials {
        server: server.unwrap_or_default().to_owned(),
        username: username.resolve(secrets)?.to_owned(),
        password: password.resolve(secrets)?.to_owned(),
    }))
}

impl ProjectPlace {
    /// Returns this machine as the project sees it from one of its folders.
    pub fn world(&self, folder: &Path, attendance: Attendance) -> ProjectWorld {
        let destination = self.destination.as_deref();
        let world = ProjectWorld::new(folder, destination, Arc::clone(&self.env));
        match attendance {
            Attendance::Attended => world,
            Attendance::Unattended => world.unattended(),
        }
    }
}

impl Project {
    /// Reads the configuration where nobody watches; secrets are read when they are asked for.
    ///
    /// Blocks: commands in templates are run.
    ///
    /// # Errors
    /// [`ProjectError::Invalid`], with everything that is wrong.
    pub fn read(place: ProjectPlace) -> Result<Self, ProjectError> {
        let attendance = Attendance::Unattended;
        let world = place.world(&place.folder, attendance);
        let reading = kamal::read(&place.config_file, place.destination.as_deref(), &world);
        let said = |found: &kamal::FileDiagnostic| {
            let hint = found.diagnostic.hint.as_deref();
            hint.map_or_else(|| found.to_string(), |hint| format!("{found} ({hint})"))
        };
        let Some(config) = reading.config else {
            let errors = reading.diagnostics.iter();
            return Err(ProjectError::Invalid {
                file: place.config_file,
                problems: errors
                    .filter(|found| found.diagnostic.is_error())
                    .map(said)
                    .collect(),
            });
        };
        let notices = reading.diagnostics.iter().map(said).collect();
        Ok(Self {
            notices,
            ..Self::of_config(config, place, attendance)
        })
    }

    /// Makes a project of a configuration that somebody else has read and spoken about.
    pub fn of_config(config: Config, place: ProjectPlace, attendance: Attendance) -> Self {
        Self {
            notices: Vec::new(),
            secrets: Secrets::new(&config.secrets_path, place.destination.as_deref()),
            secrets_world: place.world(&place.secrets_folder, attendance),
            config,
            place,
        }
    }

    /// Returns this machine as the project's secrets files see it.
    pub fn world(&self) -> &ProjectWorld {
        &self.secrets_world
    }

    /// The folder with the files that are built and deployed.
    pub fn folder(&self) -> &Path {
        &self.place.folder
    }

    /// The folder with the secrets files and other files that are in no checkout.
    pub fn secrets_folder(&self) -> &Path {
        &self.place.secrets_folder
    }

    /// Reads the secrets files, once.
    ///
    /// Blocks: commands in them are run.
    ///
    /// # Errors
    /// [`ProjectError::Secrets`].
    pub fn secrets(&self) -> Result<&SecretValues, ProjectError> {
        Ok(self.secrets.load(&self.secrets_world)?)
    }

    /// Returns the whole environment that templates and secrets files see.
    pub fn whole_env(&self) -> Arc<BTreeMap<String, String>> {
        Arc::clone(&self.place.env)
    }

    /// Returns a variable of the environment.
    pub fn env(&self, name: &str) -> Option<String> {
        self.secrets_world.env(name)
    }

    /// Returns what the registry is logged in to with; none where the configuration has no user.
    ///
    /// Blocks: the secrets files are read.
    ///
    /// # Errors
    /// [`ProjectError::Secrets`], [`ProjectError::Missing`].
    pub fn credentials(&self) -> Result<Option<Credentials>, ProjectError> {
        let registry = &self.config.registry;
        let logins = [&registry.username, &registry.password];
        let is_secret = |one: &Option<Credential>| matches!(one, Some(Credential::Secret(_)));
        let nothing = SecretValues::default();
        let secrets = if logins.into_iter().any(is_secret) {
            self.secrets()?
        } else {
            &nothing
        };
        let server = registry.server.as_deref();
        let (username, password) = (registry.username.as_ref(), registry.password.as_ref());
        Ok(login(server, username, password, secrets)?)
    }

    /// Asks git what the files are; `None` where they are in no repository or before its first
    /// commit.
    ///
    /// # Errors
    /// [`VersionError::Git`].
    pub fn revision(&self) -> Result<Option<Revision>, VersionError> {
        let Some(tree) = git::working_tree(&self.place.folder) else {
            return Ok(None);
        };
        let Some(commit) = tree.commit else {
            return Ok(None);
        };
        Ok(Some(Revision {
            commit,
            uncommitted: git::uncommitted(&tree.root)?,
        }))
    }

    /// Decides the version of a release: what is asked for, else `VERSION`, else the commit.
    ///
    /// Changes that are not committed are refused unless they are allowed; then a version that git
    /// gives ends in `_uncommitted_` and 16 random digits, as with Kamal.
    ///
    /// # Errors
    /// [`VersionError::Uncommitted`], [`VersionError::None`], [`VersionError::Git`].
    pub fn version(
        &self,
        asked: Option<&str>,
        allows_uncommitted: bool,
    ) -> Result<String, VersionError> {
        let revision = self.revision()?;
        let uncommitted = revision
            .as_ref()
            .map_or(&[][..], |revision| &revision.uncommitted);
        if !uncommitted.is_empty() && !allows_uncommitted {
            return Err(VersionError::Uncommitted {
                files: uncommitted.to_vec(),
            });
        }
        let given = asked.map(str::to_owned).or_else(|| self.env("VERSION"));
        if let Some(version) = given.filter(|version| !version.is_empty()) {
            return Ok(version);
        }
        match &revision {
            None => Err(VersionError::None(NoVersion {
                folder: self.place.folder.display().to_string(),
            })),
            Some(revision) if uncommitted.is_empty() => Ok(revision.commit.clone()),
            Some(revision) => {
                // The second half of such an id is random.
                let (_, random) = uuid::Uuid::now_v7().as_u64_pair();
                Ok(format!("{}_uncommitted_{random:016x}", revision.commit))
            }
        }
    }
}
