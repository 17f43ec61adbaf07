//! GitHub Apps: who they are, and what they may do where they are installed.

use std::sync::Arc;
use std::time::Duration;

use octocrab::Octocrab;
use octocrab::models::{AppId, InstallationId};
use octocrab::secrecy::ExposeSecret as _;
use serde_json::Value as Json;
use tokio::sync::OnceCell;

use super::client::{Failure, GitHub, GitHubError, client, in_time};

/// A GitHub App; cheap to clone. Its key is in no text that it makes of itself.
#[derive(Debug, Clone)]
pub struct App {
    crab: Octocrab,
}

impl App {
    /// Returns the App of a number, with its private key in PEM.
    ///
    /// Errors where the key cannot be read.
    pub fn new(api: &str, id: u64, key: &str) -> Result<Self, GitHubError> {
        let crab = client(api, |builder| {
            builder.app_from_rsa_pem(AppId(id), key.as_bytes())?.build()
        })?;
        Ok(Self { crab })
    }

    /// Returns a client in the name of the App itself.
    pub fn itself(&self) -> GitHub {
        GitHub::own(self.crab.clone())
    }

    /// Returns a client in the name of the App where it is installed for a repository, `owner/name`.
    ///
    /// What it may do is limited to this repository. GitHub is asked for the installation at the
    /// first request, so that a server starts while GitHub is away.
    pub fn of(&self, repository: &str) -> GitHub {
        GitHub::installation(Installation {
            app: self.crab.clone(),
            repository: repository.to_owned(),
            found: OnceCell::new(),
        })
    }
}

/// An App where it is installed.
#[derive(Debug)]
pub(super) struct Installation {
    app: Octocrab,
    repository: String,
    found: OnceCell<Arc<Octocrab>>,
}

impl Installation {
    /// Returns the client; its token is asked for when it is needed, and again before it ends.
    ///
    /// All share the one client, since a copy would have a token of its own.
    pub(super) async fn crab(&self) -> Result<Arc<Octocrab>, Failure> {
        let find = || async {
            let route = format!("/repos/{}/installation", self.repository);
            let found: Json = in_time(self.app.get(route, None::<&()>)).await?;
            let id = found.get("id").and_then(Json::as_u64).ok_or_else(|| {
                Failure::Later(None, "GitHub did not name the installation".to_owned())
            })?;
            let (_, name) = self.repository.split_once('/').unwrap_or_default();
            self.app
                .installation_builder(InstallationId(id))
                .repositories(vec![name.to_owned()])
                .build()
                .map(Arc::new)
                .map_err(|error| Failure::Never(error.to_string()))
        };
        self.found.get_or_try_init(find).await.cloned()
    }

    /// Returns a token that is good for so long at least.
    pub(super) async fn token(&self, good_for: Duration) -> Result<String, Failure> {
        let crab = self.crab().await?;
        let buffer = chrono::Duration::from_std(good_for).unwrap_or_default();
        let token = in_time(crab.installation_token_with_buffer(buffer)).await?;
        Ok(token.expose_secret().to_owned())
    }
}
