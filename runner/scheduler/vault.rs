//! Opens the stored secrets of a job, and says which of several of a name is the one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;

use super::ledger::{Ledger, LedgerError};
use super::repository::Repository;
use crate::store::{SealError, SealingKey, SecretRow, SecretScope};

/// The longest value of a secret, in bytes.
///
/// Source: GitHub, "Secrets reference": secrets are up to 48 KB.
pub const MAX_SECRET: usize = 48 * 1024;

/// Why a job does not get its secrets; it is not started without them.
#[derive(Debug, Error)]
pub enum VaultError {
    /// The store could not be asked.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// There is a secret, and no key.
    #[error("the secret {name} ({scope}) cannot be opened: there is no key at {place}")]
    NoKey {
        /// The secret.
        name: String,
        /// For whom it is.
        scope: Box<SecretScope>,
        /// Where the key was looked for.
        place: String,
    },
    /// There is a key that cannot be used.
    #[error("the secret {name} cannot be opened: {why}")]
    Unusable {
        /// The secret.
        name: String,
        /// Why not, in words.
        why: String,
    },
    /// The key is not the one that it was sealed with.
    #[error("the secret {name} ({scope}) cannot be opened with the key at {place}")]
    Closed {
        /// The secret.
        name: String,
        /// For whom it is.
        scope: Box<SecretScope>,
        /// Where the key is from.
        place: String,
        /// Why not.
        #[source]
        source: Box<SealError>,
    },
}

/// The secrets of a job, opened.
#[derive(Default)]
pub struct OpenedSecrets {
    /// Those of its repository and of all.
    pub of_repository: BTreeMap<String, String>,
    /// Those of its environment, which a called workflow gets without being handed them.
    ///
    /// Source: GitHub, "Reuse workflows": environment secrets cannot be passed by the caller, the
    /// job with `environment` uses those of it.
    pub of_environment: BTreeMap<String, String>,
}

impl std::fmt::Debug for OpenedSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = |secrets: &BTreeMap<String, String>| {
            secrets.keys().cloned().collect::<Vec<_>>().join(", ")
        };
        f.debug_struct("OpenedSecrets")
            .field("of_repository", &names(&self.of_repository))
            .field("of_environment", &names(&self.of_environment))
            .finish()
    }
}

/// Looks for the key; says in words why one that is there cannot be used.
pub type KeyFinder = dyn Fn() -> Result<Option<SealingKey>, String> + Send + Sync;

/// Opens stored secrets with the key of this machine; cheap to clone.
#[derive(Clone)]
pub struct Vault {
    place: String,
    find: Arc<KeyFinder>,
    /// The key that was found last.
    key: Arc<Mutex<Option<Arc<SealingKey>>>>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Vault {
    /// Returns a vault whose key is at `place`, where `find` looks for it: once it is wanted, and
    /// again where it does not open something, since the first secret can be set while a server is up.
    pub fn new(place: impl Into<String>, find: Arc<KeyFinder>) -> Self {
        Self {
            place: place.into(),
            find,
            key: Arc::default(),
        }
    }

    /// Opens one secret.
    pub fn open(&self, secret: &SecretRow) -> Result<String, VaultError> {
        let known = self.known().clone();
        let opened = known.map(|key| key.open(&secret.name, &secret.scope, &secret.sealed));
        if let Some(Ok(value)) = opened {
            return Ok(value);
        }
        let found = (self.find)().map_err(|why| VaultError::Unusable {
            name: secret.name.clone(),
            why,
        })?;
        let Some(key) = found.map(Arc::new) else {
            return Err(VaultError::NoKey {
                name: secret.name.clone(),
                scope: Box::new(secret.scope.clone()),
                place: self.place.clone(),
            });
        };
        *self.known() = Some(Arc::clone(&key));
        key.open(&secret.name, &secret.scope, &secret.sealed)
            .map_err(|source| VaultError::Closed {
                name: secret.name.clone(),
                scope: Box::new(secret.scope.clone()),
                place: self.place.clone(),
                source: Box::new(source),
            })
    }

    fn known(&self) -> MutexGuard<'_, Option<Arc<SealingKey>>> {
        self.key.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens every secret that is stored, to see whether it can be done.
    pub async fn check(&self, ledger: &Ledger) -> Result<(), VaultError> {
        for secret in ledger.secrets().await? {
            self.open(&secret)?;
        }
        Ok(())
    }

    /// Returns the secrets that a job may see; none where its run comes from a fork.
    ///
    /// Of several of a name the one of the job's environment counts, then that of its repository,
    /// then that of all repositories; among equals the one of its event. What `runner.toml` names
    /// stands between the last two. One that cannot be opened is an error, and never an empty one.
    pub async fn secrets_of(
        &self,
        ledger: &Ledger,
        repository: &Repository,
        job: &SecretScope,
        is_fork: bool,
    ) -> Result<OpenedSecrets, VaultError> {
        if is_fork {
            return Ok(OpenedSecrets::default());
        }
        let mut rows = ledger.secrets_for(job).await?;
        rows.sort_by_key(|row| {
            let SecretScope {
                environment,
                repository,
                event,
            } = &row.scope;
            (environment.is_some(), repository.is_some(), event.is_some())
        });
        let configured = repository.secrets_of(is_fork);
        let mut secrets = OpenedSecrets::default();
        for row in &rows {
            let scope = &row.scope;
            let is_configured = configured
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case(&row.name));
            if scope.environment.is_none() && scope.repository.is_none() && is_configured {
                continue;
            }
            let value = self.open(row)?;
            let of = if scope.environment.is_some() {
                &mut secrets.of_environment
            } else {
                &mut secrets.of_repository
            };
            of.insert(row.name.clone(), value);
        }
        for (name, value) in configured.iter() {
            let is_stored = secrets
                .of_repository
                .keys()
                .any(|stored| stored.eq_ignore_ascii_case(name));
            if !is_stored {
                secrets
                    .of_repository
                    .insert(name.to_owned(), value.to_display_string());
            }
        }
        Ok(secrets)
    }
}

/// Returns a secret's name as it is stored, or what is wrong with it in words.
///
/// Source: GitHub, "Secrets reference", naming: letters, digits and `_`, no digit first, not
/// `GITHUB_`, and case does not matter.
pub fn secret_name(name: &str) -> Result<String, &'static str> {
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    if name.is_empty() || !name.chars().all(is_allowed) {
        return Err("has letters, digits and `_` only");
    }
    if name.starts_with(|letter: char| letter.is_ascii_digit()) {
        return Err("does not begin with a digit");
    }
    let name = name.to_ascii_uppercase();
    if name.starts_with("GITHUB_") {
        return Err("does not begin with `GITHUB_`");
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Labels;
    use crate::run::Timestamp;
    use crate::store::Store;

    fn of_repository(name: Option<&str>) -> SecretScope {
        SecretScope {
            repository: name.map(str::to_owned),
            ..SecretScope::default()
        }
    }

    async fn with_secrets(folder: &std::path::Path) -> (Ledger, Vault, Repository) {
        let store = Store::open_file(&folder.join("runner.db")).await.unwrap();
        let ledger = Ledger::new(store, Arc::new(|| Timestamp(0)), Labels::default());
        let key = SealingKey::generate();
        for (name, repository) in [("OF_ALL", None), ("BOTH", None), ("OWN", Some("a/b"))] {
            let scope = of_repository(repository);
            let row = SecretRow {
                name: name.to_owned(),
                sealed: key.seal(name, &scope, "stored").unwrap(),
                scope,
                changed_at: Timestamp(0),
            };
            ledger.set_secret(&row).await.unwrap();
        }
        let mut repository = Repository::new("a/b", "/nowhere", folder);
        for name in ["both", "OWN"] {
            repository
                .secrets
                .insert(name.to_owned(), "configured".to_owned());
        }
        repository.credentials.token.renew("a-token".to_owned());
        let text = key.to_text();
        let find = move || {
            let key = SealingKey::parse(&text).map_err(|error| error.to_string())?;
            Ok(Some(key))
        };
        (ledger, Vault::new("here", Arc::new(find)), repository)
    }

    #[tokio::test]
    async fn what_runner_toml_names_stands_between_the_stored_ones() {
        let folder = tempfile::tempdir().unwrap();
        let (ledger, vault, repository) = with_secrets(folder.path()).await;
        let job = of_repository(Some("a/b"));
        let opened = vault
            .secrets_of(&ledger, &repository, &job, false)
            .await
            .unwrap();
        let expected = [
            ("GITHUB_TOKEN", "a-token"),
            ("OF_ALL", "stored"),
            ("OWN", "stored"),
            ("both", "configured"),
        ];
        let shown: Vec<_> = opened
            .of_repository
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .collect();
        assert_eq!(shown, expected);
        assert!(!format!("{opened:?}").contains("stored"));
    }

    #[tokio::test]
    async fn a_run_of_a_fork_gets_nothing_and_another_repository_only_what_is_for_all() {
        let folder = tempfile::tempdir().unwrap();
        let (ledger, vault, repository) = with_secrets(folder.path()).await;
        let job = of_repository(Some("a/b"));
        let opened = vault
            .secrets_of(&ledger, &repository, &job, true)
            .await
            .unwrap();
        assert!(opened.of_repository.is_empty() && opened.of_environment.is_empty());
        let other = Repository::new("a/c", "/nowhere", folder.path());
        let job = of_repository(Some("a/c"));
        let opened = vault
            .secrets_of(&ledger, &other, &job, false)
            .await
            .unwrap();
        let names: Vec<_> = opened.of_repository.keys().collect();
        assert_eq!(names, ["BOTH", "OF_ALL"]);
    }
}
