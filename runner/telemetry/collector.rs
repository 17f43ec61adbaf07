//! Where a collector is: from a configuration, and from the variables that OpenTelemetry names.
//!
//! Source: OpenTelemetry, "OTLP Exporter Configuration" and "Environment Variable Specification".

use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use thiserror::Error;

/// How long an exchange may take where nobody says it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What is appended to an endpoint of all signals.
const TRACES: &str = "v1/traces";

/// A collector cannot be used as it is described; whose file or variable it is has to mend it.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct CollectorError(pub String);

/// A collector, and who tells it; its headers can be secrets.
#[derive(Clone)]
pub struct Collector {
    /// Where traces are sent to.
    pub(super) url: Uri,
    /// What proves who we are.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// How long an exchange may take.
    pub(super) timeout: Duration,
    /// What is known of who tells: `service.name` and others.
    pub(super) about: Vec<(String, String)>,
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collector")
            .field("host", &self.url.host())
            .field("timeout", &self.timeout)
            .field("about", &self.about)
            .finish_non_exhaustive()
    }
}

/// What a configuration says over the variables.
#[derive(Debug, Clone, Default)]
pub struct CollectorWishes {
    /// The endpoint of all signals.
    pub endpoint: Option<String>,
    /// Headers, with their values.
    pub headers: Vec<(String, String)>,
    /// `service.name`.
    pub service_name: Option<String>,
}

impl CollectorWishes {
    /// Returns the collector; none where the variables turn traces off.
    ///
    /// What is configured comes first, then the variables. Headers are those of one of both: a
    /// configured collector must not see what another one knows us by. Errors where there is no
    /// endpoint, or something cannot be used.
    pub fn collector(
        self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Collector>, CollectorError> {
        let given = |name: &str| variable(name).filter(|text| !text.trim().is_empty());
        let is_off = given("OTEL_SDK_DISABLED")
            .is_some_and(|text| text.eq_ignore_ascii_case("true"))
            || given("OTEL_TRACES_EXPORTER").is_some_and(|text| text.trim() == "none");
        if is_off {
            return Ok(None);
        }
        let of_traces = |name: &str| {
            given(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}"))
                .or_else(|| given(&format!("OTEL_EXPORTER_OTLP_{name}")))
        };
        let is_configured = self.endpoint.is_some();
        let url =
            match (self.endpoint, given("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")) {
                (Some(endpoint), _) => joined(&endpoint),
                (None, Some(whole)) => whole,
                (None, None) => joined(&given("OTEL_EXPORTER_OTLP_ENDPOINT").ok_or_else(|| {
                    CollectorError("no endpoint of a collector is named".to_owned())
                })?),
            };
        let url = address(&url)?;
        if !is_configured && of_traces("PROTOCOL").is_some_and(|text| text.trim() == "grpc") {
            return Err(CollectorError(
                "the protocol is `grpc`; traces are sent by HTTP alone, mostly to port 4318"
                    .to_owned(),
            ));
        }
        let mut headers = self.headers;
        if !is_configured && headers.is_empty() {
            headers = pairs(&of_traces("HEADERS").unwrap_or_default());
        }
        let mut about = pairs(&given("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default());
        let named = |(name, _): &(String, String)| name == "service.name";
        let service = self.service_name.or_else(|| given("OTEL_SERVICE_NAME"));
        if let Some(service) = service.or_else(|| {
            let is_named = about.iter().any(named);
            (!is_named).then(|| "runner".to_owned())
        }) {
            about.retain(|pair| !named(pair));
            about.push(("service.name".to_owned(), service));
        }
        about.push((
            "service.version".to_owned(),
            env!("CARGO_PKG_VERSION").to_owned(),
        ));
        let timeout = of_traces("TIMEOUT").and_then(|text| text.trim().parse().ok());
        Ok(Some(Collector {
            url,
            headers: read_headers(headers)?,
            timeout: timeout.map_or(TIMEOUT, Duration::from_millis),
            about,
        }))
    }
}

fn joined(endpoint: &str) -> String {
    format!("{}/{TRACES}", endpoint.trim().trim_end_matches('/'))
}

/// Reads an address; what is wrong with one is said without it, since it can hold a secret.
fn address(text: &str) -> Result<Uri, CollectorError> {
    let is_http =
        |url: &Uri| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some();
    let read = text.trim().parse().ok().filter(is_http);
    read.ok_or_else(|| CollectorError("its endpoint is no address of HTTP".to_owned()))
}

fn read_headers(
    given: Vec<(String, String)>,
) -> Result<Vec<(HeaderName, HeaderValue)>, CollectorError> {
    given
        .into_iter()
        .map(|(name, value)| {
            let wrong = || CollectorError(format!("its header `{name}` cannot be sent"));
            let mut sent = HeaderValue::from_str(value.trim()).map_err(|_| wrong())?;
            sent.set_sensitive(true);
            let name = name.parse::<HeaderName>().map_err(|_| wrong())?;
            Ok((name, sent))
        })
        .collect()
}

/// Reads `name=value,name=value`, in which values are percent-encoded, as in a `Baggage` header.
fn pairs(text: &str) -> Vec<(String, String)> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let name = name.trim();
        (!name.is_empty()).then(|| (name.to_owned(), decoded(value.trim())))
    };
    text.split(',').filter_map(pair).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = (*first == b'%')
            .then(|| hex::decode(after.get(..2)?).ok()?.first().copied())
            .flatten();
        match code {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        configured: CollectorWishes,
        variables: &[(&str, &str)],
    ) -> Result<Option<Collector>, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(of, _)| *of == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        configured
            .collector(variable)
            .map_err(|error| error.to_string())
    }

    fn by_variables(variables: &[(&str, &str)]) -> Result<Option<Collector>, String> {
        read(CollectorWishes::default(), variables)
    }

    #[test]
    fn the_variables_of_opentelemetry_say_where_the_collector_is() {
        let collector = by_variables(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1%2C2, b = x"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
            ("OTEL_SERVICE_NAME", "builds"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=no,team=web"),
        ]);
        let collector = collector.unwrap().unwrap();
        assert_eq!(collector.url, "http://localhost:4318/v1/traces");
        let headers: Vec<_> = collector
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        assert_eq!(headers, ["a: 1,2", "b: x"]);
        assert_eq!(collector.timeout, Duration::from_millis(1500));
        let about: Vec<_> = collector
            .about
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(about[..2], ["team=web", "service.name=builds"]);
        let whole = by_variables(&[
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://c/own/path"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://d"),
        ]);
        assert_eq!(whole.unwrap().unwrap().url, "https://c/own/path");
    }

    #[test]
    fn what_is_configured_comes_first_and_sends_no_headers_of_another_collector() {
        let configured = CollectorWishes {
            endpoint: Some("https://one".to_owned()),
            service_name: Some("ours".to_owned()),
            ..CollectorWishes::default()
        };
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://two"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=secret"),
            ("OTEL_SERVICE_NAME", "theirs"),
        ];
        let collector = read(configured, &variables).unwrap().unwrap();
        assert_eq!(collector.url, "https://one/v1/traces");
        assert!(collector.headers.is_empty());
        assert!(
            collector
                .about
                .contains(&("service.name".to_owned(), "ours".to_owned()))
        );
    }

    #[test]
    fn what_cannot_be_used_is_said_without_its_value_and_off_is_off() {
        for (variables, words) in [
            (&[][..], "no endpoint"),
            (
                &[("OTEL_EXPORTER_OTLP_ENDPOINT", "secret:4317")],
                "no address of HTTP",
            ),
            (
                &[
                    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317"),
                    ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
                ],
                "by HTTP alone",
            ),
            (
                &[
                    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"),
                    ("OTEL_EXPORTER_OTLP_HEADERS", "a=secret%0asecret"),
                ],
                "header `a`",
            ),
        ] {
            let said = by_variables(variables).unwrap_err();
            assert!(said.contains(words) && !said.contains("secret"), "{said}");
        }
        for off in [
            ("OTEL_SDK_DISABLED", "true"),
            ("OTEL_TRACES_EXPORTER", "none"),
        ] {
            let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"), off];
            assert!(by_variables(&variables).unwrap().is_none());
        }
    }
}
