//! Requests to GitHub's API, and whether one that failed is worth another try.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::{ACCEPT, LINK};
use octocrab::{
    DefaultOctocrabBuilderConfig, FromResponse as _, NoAuth, NoSvc, NotLayerReady, Octocrab,
    OctocrabBuilder,
};
use serde_json::Value as Json;
use thiserror::Error;

use super::app::Installation;
use crate::diagnostic::chain;

/// How long a request may take.
const LIMIT: Duration = Duration::from_secs(30);

/// How long to wait when GitHub limits us and does not say for how long.
///
/// Source: GitHub, "Rate limits for the REST API": at least one minute.
const LIMITED: Duration = Duration::from_secs(60);

/// How long to wait after an answer that a person has to mend: a token, a permission.
const REFUSED: Duration = Duration::from_secs(600);

/// A client could not be made.
#[derive(Debug, Error)]
#[error("the GitHub API at `{api}` cannot be used")]
pub struct GitHubError {
    api: String,
    #[source]
    source: Box<octocrab::Error>,
}

/// Why a request did not do what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It can succeed later: not before this time, if GitHub says one.
    Later(Option<Duration>, String),
    /// It never will: GitHub says that the request itself is wrong.
    Never(String),
}

impl Failure {
    /// Returns why, in words.
    pub fn words(&self) -> &str {
        match self {
            Self::Later(_, why) | Self::Never(why) => why,
        }
    }
}

/// A part of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// What is listed.
    pub items: Vec<Json>,
    /// The cursor of the next part, if there is one.
    pub next: Option<String>,
}

/// A client in somebody's name; cheap to clone.
#[derive(Debug, Clone)]
pub struct GitHub {
    who: Who,
}

/// In whose name requests are made.
#[derive(Debug, Clone)]
enum Who {
    /// Of who has a token, or of the App itself.
    Own(Arc<Octocrab>),
    /// Of an App where it is installed.
    Installation(Arc<Installation>),
}

/// A client that lacks only in whose name it is.
type Builder = OctocrabBuilder<NoSvc, DefaultOctocrabBuilderConfig, NoAuth, NotLayerReady>;

/// Returns a client of the API at `api`, with what all of them have in common.
pub(super) fn client(
    api: &str,
    finish: impl FnOnce(Builder) -> octocrab::Result<Octocrab>,
) -> Result<Octocrab, GitHubError> {
    let failed = |source| GitHubError {
        api: api.to_owned(),
        source: Box::new(source),
    };
    let builder = Octocrab::builder()
        .base_uri(api)
        .and_then(|builder| builder.upload_uri(api))
        .map_err(failed)?
        .add_header(ACCEPT, "application/vnd.github+json".to_owned())
        .add_header(
            http::HeaderName::from_static("x-github-api-version"),
            "2022-11-28".to_owned(),
        )
        .set_connect_timeout(Some(LIMIT))
        .set_read_timeout(Some(LIMIT));
    finish(builder).map_err(failed)
}

impl GitHub {
    /// Returns a client of the API at `api`, as `https://api.github.com`, for who has this token.
    ///
    /// It never tries a request again by itself: whoever keeps what is to be said does that.
    pub fn new(api: &str, token: &str) -> Result<Self, GitHubError> {
        let crab = client(api, |builder| {
            builder.personal_token(token.to_owned()).build()
        })?;
        Ok(Self::own(crab))
    }

    pub(super) fn own(crab: Octocrab) -> Self {
        Self {
            who: Who::Own(Arc::new(crab)),
        }
    }

    pub(super) fn installation(installation: Installation) -> Self {
        Self {
            who: Who::Installation(Arc::new(installation)),
        }
    }

    async fn crab(&self) -> Result<Arc<Octocrab>, Failure> {
        match &self.who {
            Who::Own(crab) => Ok(Arc::clone(crab)),
            Who::Installation(installation) => installation.crab().await,
        }
    }

    /// Creates something, and returns what GitHub says of it.
    pub async fn post(&self, route: &str, body: &Json) -> Result<Json, Failure> {
        let crab = self.crab().await?;
        in_time(crab.post::<_, Json>(route, Some(body))).await
    }

    /// Changes something, and returns what GitHub says of it.
    pub async fn patch(&self, route: &str, body: &Json) -> Result<Json, Failure> {
        let crab = self.crab().await?;
        in_time(crab.patch::<Json, _, _>(route, Some(body))).await
    }

    /// Asks for something.
    pub async fn get(&self, route: &str) -> Result<Json, Failure> {
        let crab = self.crab().await?;
        in_time(crab.get::<Json, _, ()>(route, None)).await
    }

    /// Asks for a part of a list that goes on by cursors.
    pub async fn page(&self, route: &str) -> Result<Page, Failure> {
        let crab = self.crab().await?;
        in_time(async {
            let response = octocrab::map_github_error(crab._get(route).await?).await?;
            let links = response.headers().get(LINK);
            let next = links
                .and_then(|links| links.to_str().ok())
                .and_then(next_cursor);
            let items = Vec::<Json>::from_response(response).await?;
            Ok(Page { items, next })
        })
        .await
    }

    /// Returns a token of an installation that is good for so long at least; none where the client is
    /// not an App's.
    pub async fn installation_token(&self, good_for: Duration) -> Result<Option<String>, Failure> {
        match &self.who {
            Who::Own(_) => Ok(None),
            Who::Installation(installation) => installation.token(good_for).await.map(Some),
        }
    }
}

/// Returns the cursor of the link that leads on.
fn next_cursor(links: &str) -> Option<String> {
    let next = links
        .split(',')
        .find(|link| link.contains("rel=\"next\""))?;
    let (_, rest) = next.split_once('<')?;
    let (address, _) = rest.split_once('>')?;
    let address = url::Url::parse(address).ok()?;
    let mut pairs = address.query_pairs();
    pairs
        .find(|(name, _)| name == "cursor")
        .map(|(_, cursor)| cursor.into_owned())
}

/// Waits for an answer, but not for ever, and says what its failure means.
pub(super) async fn in_time<T>(
    request: impl Future<Output = Result<T, octocrab::Error>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(LIMIT, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(octocrab::Error::GitHub { source, .. })) => Err(failure(&source)),
        Ok(Err(error)) => Err(Failure::Later(None, first_line(&chain(&error)))),
        Err(_) => Err(Failure::Later(
            None,
            format!(
                "GitHub did not answer within {}",
                humantime::format_duration(LIMIT)
            ),
        )),
    }
}

/// Errors of the library print where they were made; a person needs none of that.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn failure(error: &octocrab::GitHubError) -> Failure {
    let status = error.status_code;
    let why = format!("{}: {}", status.as_u16(), first_line(&error.message));
    let header = |name: &str| {
        let value = error.headers.as_ref()?.get(name)?;
        value.to_str().ok()?.parse::<u64>().ok()
    };
    let wait = header("retry-after").map(Duration::from_secs).or_else(|| {
        let is_spent = header("x-ratelimit-remaining") == Some(0);
        let reset = error.rate_limit_reset_at().filter(|_| is_spent)?;
        let wait = reset - chrono::Utc::now();
        Some(wait.to_std().unwrap_or(Duration::from_secs(1)))
    });
    let is_limit = error.message.to_lowercase().contains("rate limit");
    match status {
        StatusCode::TOO_MANY_REQUESTS => Failure::Later(Some(wait.unwrap_or(LIMITED)), why),
        StatusCode::FORBIDDEN if wait.is_some() || is_limit => {
            Failure::Later(Some(wait.unwrap_or(LIMITED)), why)
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
            Failure::Later(Some(REFUSED), why)
        }
        status if status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT => {
            Failure::Never(why)
        }
        _ => Failure::Later(wait, why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_of_the_next_part_is_read_whatever_the_address_before_it() {
        for (links, cursor) in [
            (
                "<https://api.github.com/repositories/1/hooks/1/deliveries?per_page=1&cursor=v1_177%3D>; rel=\"next\"",
                Some("v1_177="),
            ),
            (
                "<https://ghe.example.com/api/v3/app/hook/deliveries?cursor=a>; rel=\"prev\", <https://x/?cursor=b>; rel=\"next\"",
                Some("b"),
            ),
            ("<https://x/?cursor=a>; rel=\"prev\"", None),
            ("", None),
        ] {
            assert_eq!(next_cursor(links).as_deref(), cursor, "{links}");
        }
    }
}
