//! What a deploy needs besides its [`Spec`](crate::release::Spec): ways, secrets, names.

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc};

use super::error::OpError;
use crate::{
    docker::{Credentials, DEFAULT_SOCKET},
    mask::Masker,
    release::{HostName, ImageRef, SecretName},
    ssh::{HostAddress, Options},
};

/// How hosts are reached.
#[derive(Clone, Debug)]
pub struct Reach {
    /// The user to log in as.
    pub user: String,
    /// The port of the SSH servers.
    pub port: u16,
    /// Keys, known hosts and the way.
    pub options: Options,
    /// The daemon's socket on the hosts.
    pub socket: String,
}

impl Reach {
    /// A way to hosts, with the daemon at its usual place.
    pub fn new(user: impl Into<String>, port: u16, options: Options) -> Self {
        Self {
            user: user.into(),
            port,
            options,
            socket: DEFAULT_SOCKET.to_owned(),
        }
    }

    /// The address of a host: its name may carry user and port itself.
    pub fn address(&self, host: &HostName) -> HostAddress {
        if host.as_str().contains('@')
            && let Ok(address) = host.as_str().parse()
        {
            return address;
        }
        HostAddress::new(self.user.clone(), host.as_str()).with_port(self.port)
    }
}

/// The values of secrets by their names; shows names only.
#[derive(Clone, Default)]
pub struct SecretTexts(BTreeMap<String, String>);

impl SecretTexts {
    /// Looks a secret up.
    ///
    /// # Errors
    /// It has no value: the settings' fault.
    pub fn get(&self, name: &SecretName) -> Result<&str, OpError> {
        let found = self.0.get(name.as_str()).map(String::as_str);
        found.ok_or_else(|| OpError::NoSecret(name.clone()))
    }

    /// Walks over names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Walks over the values.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(String::as_str)
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for SecretTexts {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

impl fmt::Debug for SecretTexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Everything that carries a release out and is not part of it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How hosts are reached.
    pub reach: Reach,
    /// The values of secrets.
    pub secrets: Arc<SecretTexts>,
    /// Logins of registries; each goes with the requests that need it and stays nowhere.
    pub registries: Vec<Credentials>,
    /// Masks whatever hosts and containers say.
    pub masker: Masker,
    /// The person, as the audit log names them.
    pub who: String,
    /// The run that the deploy belongs to.
    pub run: Option<String>,
    /// Where dumps of databases are kept on this machine.
    pub backups: PathBuf,
}

impl Settings {
    /// The login for the registry of an image.
    pub fn credentials(&self, image: &ImageRef) -> Option<&Credentials> {
        let first = image.repository.split('/').next().unwrap_or_default();
        let named =
            image.repository.contains('/') && (first.contains(['.', ':']) || first == "localhost");
        let server = if named { first } else { "" };
        self.registries.iter().find(|login| {
            let hub = matches!(login.server.as_str(), "" | "docker.io" | "index.docker.io");
            login.server == server || (server.is_empty() && hub)
        })
    }
}
