//! What an address answers, before anything depends on it.

use std::time::Duration;

use octocrab::Octocrab;

use crate::diagnostic::chain;

/// How long it is waited for.
const LIMIT: Duration = Duration::from_secs(15);

/// What an address answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The header `Date`.
    pub date: Option<String>,
    /// What a classic token may do; none where it is another one, or none.
    pub scopes: Option<String>,
    /// The body.
    pub body: String,
}

/// Asks for `route` at `base`, as `https://api.github.com`, with a token or without.
///
/// Errors in words where nothing answers.
pub async fn ask(base: &str, route: &str, token: Option<&str>) -> Result<Answer, String> {
    let words = |error: octocrab::Error| {
        let text = chain(&error);
        text.lines().next().unwrap_or_default().to_owned()
    };
    let exchange = async {
        let mut builder = Octocrab::builder()
            .base_uri(base.trim_end_matches('/'))
            .map_err(words)?
            .set_connect_timeout(Some(LIMIT))
            .set_read_timeout(Some(LIMIT));
        if let Some(token) = token {
            builder = builder.personal_token(token.to_owned());
        }
        let crab = builder.build().map_err(words)?;
        let response = crab._get(route).await.map_err(words)?;
        let header = |name: &str| {
            let value = response.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let (status, date, scopes) = (
            response.status().as_u16(),
            header("date"),
            header("x-oauth-scopes"),
        );
        Ok(Answer {
            status,
            date,
            scopes,
            body: crab.body_to_string(response).await.unwrap_or_default(),
        })
    };
    tokio::time::timeout(LIMIT, exchange)
        .await
        .unwrap_or_else(|_| {
            let limit = humantime::format_duration(LIMIT);
            Err(format!("no answer came within {limit}"))
        })
}
