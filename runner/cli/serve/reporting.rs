//! Who speaks to GitHub of a server's repositories: outboxes, tokens, missed deliveries.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::super::error::{CliError, ErrorKind};
use super::config::{ServeConfig, Watched};
use crate::git::Token;
use crate::github::{App, GitHub};
use crate::scheduler::{Ledger, Outbox, Repository, Sender};
use crate::trigger::{HookSource, Missed};

/// How long a token must be good that is handed to jobs and to git.
///
/// Source: GitHub, "Generating an installation access token": it ends after one hour.
const GOOD_FOR: Duration = Duration::from_secs(30 * 60);

/// How often it is looked whether a token is still good for so long.
const RENEWAL: Duration = Duration::from_secs(60);

/// How long the first token is waited for before anything else begins.
const FIRST: Duration = Duration::from_secs(10);

/// Begins to speak to GitHub.
pub(super) async fn report(
    tasks: &mut JoinSet<()>,
    (config, machine, turn): (&ServeConfig, &str, Duration),
    ledger: &Ledger,
    stop: &CancellationToken,
) -> Result<(), CliError> {
    let app = match &config.app {
        Some(app) => Some(app.app()?),
        None => None,
    };
    let mut outboxes: BTreeMap<String, Outbox> = BTreeMap::new();
    let mut renewals = Vec::new();
    for watched in config.repositories.values() {
        let repository = &watched.repository;
        let Some((github, together)) = client(watched, app.as_ref())? else {
            continue;
        };
        if repository.app.is_some() {
            let renewal = Renewal {
                github: github.clone(),
                token: repository.credentials.token.clone(),
                repository: repository.name.clone(),
            };
            renewals.push(renewal);
        } else if config.server.is_some() && !watched.webhook_secrets.is_empty() {
            let missed = Missed {
                ledger: ledger.clone(),
                github: github.clone(),
                source: HookSource::Repository {
                    name: repository.name.clone(),
                    public_url: repository.public_url.clone(),
                },
                every: config.missed_deliveries,
            };
            tasks.spawn(missed.run(stop.clone()));
        }
        if repository.reports {
            let outbox = outboxes.entry(together).or_insert_with(|| Outbox {
                ledger: ledger.clone(),
                senders: Vec::new(),
                machine: machine.to_owned(),
                turn,
                pause: pause(&watched.api),
            });
            outbox.senders.push(Sender {
                repository: repository.name.clone(),
                github,
            });
        }
    }
    // All at once: a GitHub that is away holds up the start once, and not for each repository.
    let first = renewals
        .iter()
        .map(|renewal| tokio::time::timeout(FIRST, renewal.renew()));
    for (renewal, first) in renewals.iter().zip(join_all(first).await) {
        if !matches!(first, Ok(true)) {
            tracing::warn!(
                repository = renewal.repository,
                "there is no token for it yet"
            );
        }
    }
    for renewal in renewals {
        tasks.spawn(renewal.run(stop.clone()));
    }
    for outbox in outboxes.into_values() {
        tasks.spawn(outbox.run(stop.clone()));
    }
    if let Some(app) = app.filter(|_| config.server.is_some()) {
        let missed = Missed {
            ledger: ledger.clone(),
            github: app.itself(),
            source: HookSource::App,
            every: config.missed_deliveries,
        };
        tasks.spawn(missed.run(stop.clone()));
    }
    Ok(())
}

/// Gets a token for a repository that an App speaks of, for who needs one now.
pub(super) async fn get_token(
    config: &ServeConfig,
    repository: &Repository,
) -> Result<(), CliError> {
    let Some(app) = config.app.as_ref().filter(|_| repository.app.is_some()) else {
        return Ok(());
    };
    let github = app.app()?.of(&repository.name);
    let token = github.installation_token(Duration::from_secs(60)).await;
    let token = token.map_err(|failure| {
        CliError::new(
            ErrorKind::Environment,
            format!(
                "the App gets no token for {}: {}",
                repository.name,
                failure.words()
            ),
        )
    })?;
    if let Some(token) = token {
        repository.credentials.token.renew(token);
    }
    Ok(())
}

/// Returns who speaks of a repository, and under which name GitHub counts its requests: those of a
/// token, or of an installation, which an owner has one of.
fn client(watched: &Watched, app: Option<&App>) -> Result<Option<(GitHub, String)>, CliError> {
    let repository = &watched.repository;
    if let Some(app) = app.filter(|_| repository.app.is_some()) {
        let (owner, _) = repository.name.split_once('/').unwrap_or_default();
        let together = format!("app {} {}", watched.api, owner.to_lowercase());
        return Ok(Some((app.of(&repository.name), together)));
    }
    let Some(token) = repository.credentials.token.current() else {
        return Ok(None);
    };
    let github = GitHub::new(&watched.api, &token).map_err(|source| {
        CliError::new(
            ErrorKind::Invalid,
            format!("`api` of {} cannot be used", repository.name),
        )
        .because(source)
    })?;
    Ok(Some((github, format!("token {} {token}", watched.api))))
}

fn pause(api: &str) -> Duration {
    if api.starts_with("https://") {
        Duration::from_secs(1)
    } else {
        Duration::ZERO
    }
}

/// Keeps the token of an installation good: git and the jobs use it.
struct Renewal {
    github: GitHub,
    token: Token,
    repository: String,
}

impl Renewal {
    async fn run(self, stop: CancellationToken) {
        let mut is_told = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RENEWAL) => {}
            }
            let has_token = self.renew().await;
            if !has_token && !std::mem::replace(&mut is_told, true) {
                tracing::error!(
                    repository = self.repository,
                    "its token could not be renewed"
                );
            }
            is_told &= !has_token;
        }
    }

    /// Renews the token where that is due; tells whether there is a good one.
    async fn renew(&self) -> bool {
        match self.github.installation_token(GOOD_FOR).await {
            Ok(Some(token)) => {
                self.token.renew(token);
                true
            }
            Ok(None) => false,
            Err(failure) => {
                tracing::debug!(repository = self.repository, "{}", failure.words());
                false
            }
        }
    }
}
