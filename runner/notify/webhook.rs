//! Tells by a request: JSON, what a template makes, or what Slack and its like read.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;

use super::channel::{ChannelError, Undelivered};
use super::notice::Notice;
use super::template::Template;
use crate::diagnostic::chain;

/// How long a request may take.
const LIMIT: Duration = Duration::from_secs(30);

/// More of an answer is never read.
const MAX_ANSWER: usize = 64 * 1024;

/// What is sent.
#[derive(Debug, Clone)]
enum Body {
    /// All fields of a notice as JSON.
    Fields,
    /// What a template makes of them.
    Template(Box<Template>),
    /// `text` in the markup of Slack.
    Slack,
}

/// A webhook that is called; its address can be a secret.
#[derive(Clone)]
pub struct Webhook {
    url: Uri,
    content_type: HeaderValue,
    body: Body,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook")
            .field("host", &self.url.host())
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

impl Webhook {
    /// Returns one that sends all fields as JSON, or what a template makes of them.
    pub fn new(
        url: &str,
        template: Option<Template>,
        content_type: Option<&str>,
    ) -> Result<Self, ChannelError> {
        let body = match template {
            None => Body::Fields,
            Some(template) => Body::Template(Box::new(template)),
        };
        let content_type = HeaderValue::from_str(content_type.unwrap_or("application/json"))
            .map_err(|_| ChannelError("its `content-type` cannot be sent".to_owned()))?;
        Self::with(url, body, content_type)
    }

    /// Returns one of Slack, Mattermost, or what else takes `{"text": …}`.
    pub fn slack(url: &str) -> Result<Self, ChannelError> {
        Self::with(
            url,
            Body::Slack,
            HeaderValue::from_static("application/json"),
        )
    }

    fn with(url: &str, body: Body, content_type: HeaderValue) -> Result<Self, ChannelError> {
        let url: Uri = url
            .trim()
            .parse()
            .ok()
            .filter(|url: &Uri| {
                matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some()
            })
            .ok_or_else(|| ChannelError("its `url` is no address of HTTP".to_owned()))?;
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(
                tokio_rustls::rustls::crypto::aws_lc_rs::default_provider(),
            )
            .map_err(|error| {
                ChannelError(format!(
                    "the certificates of this machine cannot be read: {error}"
                ))
            })?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self {
            url,
            content_type,
            body,
            client: Client::builder(TokioExecutor::new())
                // A connection that is kept for days is broken when it is wanted.
                .pool_max_idle_per_host(0)
                .build(connector),
        })
    }

    /// Calls it once.
    pub(super) async fn tell(&self, notice: &Notice) -> Result<(), Undelivered> {
        let body = self.body(notice)?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.url.clone())
            .header(CONTENT_TYPE, self.content_type.clone())
            .header(USER_AGENT, "runner")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Undelivered::Never(error.to_string()))?;
        let exchange = async {
            let answer = self
                .client
                .request(request)
                .await
                .map_err(|error| Undelivered::Later(self.said(&chain(&error))))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
            let text = body.map_or(String::new(), |body| {
                String::from_utf8_lossy(&body.to_bytes()).into_owned()
            });
            self.judge(status, &text)
        };
        tokio::time::timeout(LIMIT, exchange)
            .await
            .unwrap_or_else(|_| {
                let limit = humantime::format_duration(LIMIT);
                Err(Undelivered::Later(
                    self.said(&format!("no answer came within {limit}")),
                ))
            })
    }

    fn body(&self, notice: &Notice) -> Result<String, Undelivered> {
        Ok(match &self.body {
            Body::Fields => json!({
                "subject": notice.subject(), "text": notice.text(), "notice": notice,
            })
            .to_string(),
            Body::Template(template) => template
                .fill(notice)
                .map_err(|error| Undelivered::Never(chain(&error)))?,
            Body::Slack => json!({"text": slack(notice)}).to_string(),
        })
    }

    fn judge(&self, status: StatusCode, text: &str) -> Result<(), Undelivered> {
        if status.is_success() {
            return Ok(());
        }
        let line: String = text
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(200)
            .collect();
        let why = self.said(&format!("{status} {line}"));
        // An address that is wrong or refused can be mended; what it calls malformed stays so.
        match status {
            StatusCode::BAD_REQUEST
            | StatusCode::GONE
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::UNPROCESSABLE_ENTITY => Err(Undelivered::Never(why)),
            _ => Err(Undelivered::Later(why)),
        }
    }

    fn said(&self, what: &str) -> String {
        format!("{}: {}", self.url.host().unwrap_or_default(), what.trim())
    }
}

/// Says it in Slack's markup, in which three characters mean something.
fn slack(notice: &Notice) -> String {
    let text = notice.text();
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    match text.split_once('\n') {
        Some((first, rest)) => format!("*{first}*\n{rest}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_slack_reads_as_markup_is_said_as_it_is() {
        let text = slack(&Notice::test(None));
        assert!(
            text.starts_with("*Test: owner/name (a workflow) on main*\n"),
            "{text}"
        );
        assert!(text.contains("&lt;notices&gt; &amp; their"), "{text}");
    }

    #[test]
    fn an_address_that_is_none_is_refused_and_not_repeated() {
        for url in ["", "ftp://example.com/secret", "/secret", "http:secret"] {
            let error = Webhook::slack(url).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        let webhook = Webhook::slack("https://hooks.example.com/services/secret").unwrap();
        assert!(!format!("{webhook:?}").contains("secret"));
        assert_eq!(
            webhook.judge(StatusCode::NOT_FOUND, "no_team\nmore"),
            Err(Undelivered::Later(
                "hooks.example.com: 404 Not Found no_team".to_owned()
            ))
        );
        assert!(matches!(
            webhook.judge(StatusCode::BAD_REQUEST, ""),
            Err(Undelivered::Never(_))
        ));
    }
}
