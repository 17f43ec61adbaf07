//! Requests to GitHub's API, and whether one that failed is worth another try.

use std::time::Duration;

use http::StatusCode;
use http::header::ACCEPT;
use octocrab::Octocrab;
use serde_json::Value as Json;
use thiserror::Error;

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

/// A client for one token; cheap to clone.
#[derive(Debug, Clone)]
pub struct GitHub {
    crab: Octocrab,
}

impl GitHub {
    /// Returns a client of the API at `api`, as `https://api.github.com`.
    ///
    /// It never tries a request again by itself: whoever keeps what is to be said does that.
    pub fn new(api: &str, token: &str) -> Result<Self, GitHubError> {
        let failed = |source| GitHubError {
            api: api.to_owned(),
            source: Box::new(source),
        };
        let crab = Octocrab::builder()
            .base_uri(api)
            .and_then(|builder| builder.upload_uri(api))
            .map_err(failed)?
            .add_header(ACCEPT, "application/vnd.github+json".to_owned())
            .add_header(
                http::HeaderName::from_static("x-github-api-version"),
                "2022-11-28".to_owned(),
            )
            .set_connect_timeout(Some(LIMIT))
            .set_read_timeout(Some(LIMIT))
            .personal_token(token.to_owned())
            .build()
            .map_err(failed)?;
        Ok(Self { crab })
    }

    /// Creates something, and returns what GitHub says of it.
    pub async fn post(&self, route: &str, body: &Json) -> Result<Json, Failure> {
        answer(self.crab.post::<_, Json>(route, Some(body))).await
    }

    /// Asks for something.
    pub async fn get(&self, route: &str) -> Result<Json, Failure> {
        answer(self.crab.get::<Json, _, ()>(route, None)).await
    }
}

async fn answer(
    request: impl Future<Output = Result<Json, octocrab::Error>>,
) -> Result<Json, Failure> {
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
