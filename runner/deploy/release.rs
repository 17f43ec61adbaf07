//! From a project to what a transaction needs: the release, and the way to its hosts.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{
    project::{Project, ProjectError},
    settings::{Reach, SecretTexts, Settings},
};
use crate::{
    docker::Credentials,
    kamal::{SecretValues, SshConfigFiles, SshKey, SshProxy},
    mask::Masker,
    release::{
        DatabaseRef, Digest, HistoryLine, ReleaseVersion, RollbackError, Running, Spec,
        from_kamal::{self, Facts, SpecError},
        rollback_target,
    },
    ssh::{HostAddress, HostKeys, Identity, Jump, Options},
};

/// Which release is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseFacts {
    /// Its version.
    pub version: String,
    /// The digest of its image, `sha256:...`; asked of the registry without one.
    pub digest: Option<String>,
    /// The proxy that was found on the hosts, for a configuration that names none.
    pub driver: Option<String>,
}

/// What the caller adds to a project's own way to its hosts.
#[derive(Debug, Clone)]
pub struct Access {
    /// A private key, tried before all others.
    pub key: Option<Identity>,
    /// More files of known hosts.
    pub known_hosts: Vec<PathBuf>,
    /// Who deploys, for the audit log.
    pub who: String,
    /// The run that the deploy belongs to.
    pub run: Option<String>,
    /// Gets every secret, and masks what hosts say.
    pub masker: Masker,
}

/// A project cannot be deployed as it is.
#[derive(Debug, Error)]
pub enum ReleaseError {
    /// The user's configuration cannot be carried out.
    #[error("the configuration cannot be deployed: {}", listed(.0))]
    Spec(
        /// What cannot.
        Vec<SpecError>,
    ),
    /// The user's configuration wants a way to the hosts that is not known here.
    #[error("`{key}` of the configuration cannot be followed: {reason}")]
    Unsupported {
        /// The key.
        key: &'static str,
        /// Why.
        reason: String,
    },
    /// The project's secrets.
    #[error(transparent)]
    Project(#[from] ProjectError),
    /// The command line or the history: there is no release to go back to.
    #[error(transparent)]
    Rollback(#[from] RollbackError),
}

/// The user's configuration has no database that is known here, or several.
#[derive(Debug, Error)]
#[error(
    "{} (accessories: {}); a PostgreSQL accessory is known by its image, and its user and database \
     must not be secrets",
    name.as_ref().map_or_else(
        || "no single accessory is the application's PostgreSQL".to_owned(),
        |name| format!("accessory `{name}` is no PostgreSQL that is known"),
    ),
    if accessories.is_empty() { "none".to_owned() } else { accessories.join(", ") }
)]
pub struct NoDatabase {
    /// The accessory that was named.
    pub name: Option<String>,
    /// The accessories that there are.
    pub accessories: Vec<String>,
}

fn listed(problems: &[SpecError]) -> String {
    let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
    all.join("; ")
}

impl Project {
    /// Returns what should run for a release.
    ///
    /// # Errors
    /// [`ReleaseError::Spec`], with everything that cannot be carried out.
    pub fn spec(&self, facts: &ReleaseFacts) -> Result<Spec, ReleaseError> {
        let facts = Facts {
            version: ReleaseVersion::new(&facts.version),
            digest: facts.digest.as_deref().map(Digest::new),
            driver: facts.driver.clone(),
            seed: uuid::Uuid::now_v7().simple().to_string(),
        };
        from_kamal::spec(&self.config, &facts).map_err(ReleaseError::Spec)
    }

    /// Returns what should run after going back to a release of the history; it never migrates.
    ///
    /// # Errors
    /// [`ReleaseError::Rollback`], [`ReleaseError::Spec`].
    pub fn rollback_spec(
        &self,
        history: &[HistoryLine],
        running: Option<&Running>,
        wanted: Option<&str>,
    ) -> Result<Spec, ReleaseError> {
        let wanted = wanted.map(ReleaseVersion::new);
        let line = rollback_target(history, running, wanted.as_ref())?;
        let spec = self.spec(&ReleaseFacts {
            version: line.release.as_str().to_owned(),
            digest: line
                .digest
                .as_ref()
                .map(|digest| digest.as_str().to_owned()),
            driver: None,
        })?;
        Ok(Spec {
            migrate: None,
            ..spec
        })
    }

    /// Returns everything else that a transaction needs; all secrets are told to the masker.
    ///
    /// Blocks: the secrets files are read.
    ///
    /// # Errors
    /// [`ReleaseError::Project`], [`ReleaseError::Unsupported`].
    pub fn settings(&self, access: Access) -> Result<Settings, ReleaseError> {
        let secrets = self.secrets()?;
        let login = self.credentials()?;
        self.settings_with(access, secrets, login)
    }

    /// Returns the same for somebody who only looks: what secrets cannot be read are left out.
    ///
    /// Blocks: the secrets files are read.
    ///
    /// # Errors
    /// [`ReleaseError::Unsupported`]; [`ReleaseError::Project`] where an SSH key is missing.
    pub fn settings_for_looking(&self, access: Access) -> Result<Settings, ReleaseError> {
        let nothing = SecretValues::default();
        let secrets = self.secrets().unwrap_or(&nothing);
        let login = self.credentials().ok().flatten();
        self.settings_with(access, secrets, login)
    }

    fn settings_with(
        &self,
        access: Access,
        secrets: &SecretValues,
        login: Option<Credentials>,
    ) -> Result<Settings, ReleaseError> {
        for (_, value) in secrets.iter() {
            let _is_long_enough = access.masker.add(value);
        }
        if let Some(login) = &login {
            let _is_long_enough = access.masker.add(&login.password);
        }
        let ssh = &self.config.ssh;
        let options = self.ssh_options(&access, secrets)?;
        Ok(Settings {
            reach: Reach::new(ssh.user.clone(), ssh.port, options),
            secrets: secrets.iter().collect::<SecretTexts>().into(),
            registries: login.into_iter().collect(),
            masker: access.masker,
            who: access.who,
            run: access.run,
            backups: self.backups(),
        })
    }

    /// Returns the PostgreSQL accessory of this name, or without a name the application's.
    ///
    /// # Errors
    /// [`NoDatabase`].
    pub fn database(&self, spec: &Spec, name: Option<&str>) -> Result<DatabaseRef, NoDatabase> {
        from_kamal::database(&self.config, spec, name).ok_or_else(|| NoDatabase {
            name: name.map(str::to_owned),
            accessories: self
                .config
                .accessories
                .iter()
                .map(|one| one.name.clone())
                .collect(),
        })
    }

    /// Returns where dumps of the project's databases are kept on this machine: outside of the
    /// project, so that neither git nor an image takes them along.
    pub fn backups(&self) -> PathBuf {
        self.home()
            .join(".local/state/runner/backups")
            .join(self.config.service_and_destination())
    }

    fn home(&self) -> PathBuf {
        let home = self.env("HOME").map(PathBuf::from);
        home.unwrap_or_else(|| PathBuf::from("/root"))
    }

    /// Keys that are named go first and stand for those of default names; the agent is asked unless
    /// only the named keys may be offered.
    ///
    /// `ssh.forward_agent` needs nothing here: no command on a host logs in anywhere else.
    fn ssh_options(
        &self,
        access: &Access,
        secrets: &SecretValues,
    ) -> Result<Options, ReleaseError> {
        let ssh = &self.config.ssh;
        if let SshConfigFiles::Paths(_) = ssh.config {
            return Err(ReleaseError::Unsupported {
                key: "ssh.config",
                reason: "OpenSSH's configuration files are not read; name keys and proxy here"
                    .into(),
            });
        }
        let home = self.home();
        let agent = self.env("SSH_AUTH_SOCK").map(PathBuf::from);
        let mut options = Options::of_home(&home, agent);
        let mut named: Vec<Identity> = access.key.iter().cloned().collect();
        for key in &ssh.key_data {
            named.push(match key {
                SshKey::Literal(text) => Identity::key("a key of `ssh.key_data`", text),
                SshKey::Secret(name) => {
                    let text = secrets.get(name).map_err(ProjectError::from)?;
                    Identity::key(name, text)
                }
            });
        }
        for path in ssh.keys.iter().flatten() {
            named.push(Identity::file(match path.strip_prefix("~/") {
                Some(inside) => home.join(inside),
                None => self.secrets_folder().join(path),
            }));
        }
        let is_named_only = ssh.keys_only == Some(true);
        let others = std::mem::take(&mut options.identities);
        let has_named = !named.is_empty();
        options.identities = named;
        options
            .identities
            .extend(others.into_iter().filter(|other| match other {
                Identity::Agent { .. } => !is_named_only,
                Identity::File { .. } | Identity::Key { .. } => !has_named && !is_named_only,
            }));
        if !access.known_hosts.is_empty() {
            options.host_keys = HostKeys::files(
                access
                    .known_hosts
                    .iter()
                    .cloned()
                    .chain(known_hosts_of(&home)),
            );
        }
        self.with_jump(options)
    }

    /// Several jump hosts are gone through from the first to the last.
    fn with_jump(&self, options: Options) -> Result<Options, ReleaseError> {
        let hosts = match &self.config.ssh.proxy {
            None => return Ok(options),
            Some(SshProxy::Command(_)) => {
                return Err(ReleaseError::Unsupported {
                    key: "ssh.proxy_command",
                    reason: "use `ssh.proxy`, which names the host to go through".into(),
                });
            }
            Some(SshProxy::Jump(hosts)) => hosts,
        };
        let mut way = options.clone();
        way.jump = None;
        for host in hosts.split(',').map(str::trim) {
            // Kamal logs in to such a host as root.
            let of_root = format!("root@{host}");
            let full = if host.contains('@') { host } else { &of_root };
            let address: HostAddress = full.parse().map_err(|error| ReleaseError::Unsupported {
                key: "ssh.proxy",
                reason: format!("`{host}`: {error}"),
            })?;
            way = Options {
                jump: Some(Box::new(Jump {
                    address,
                    options: way,
                })),
                ..options.clone()
            };
        }
        Ok(way)
    }
}

fn known_hosts_of(home: &Path) -> [PathBuf; 3] {
    [
        home.join(".ssh/known_hosts"),
        home.join(".ssh/known_hosts2"),
        PathBuf::from("/etc/ssh/ssh_known_hosts"),
    ]
}
