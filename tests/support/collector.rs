//! A collector of OpenTelemetry's traces that reads what it is told, strictly.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;

/// A span as it was told.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: Option<String>,
    pub(crate) name: String,
    pub(crate) kind: u64,
    pub(crate) start: u128,
    pub(crate) end: u128,
    pub(crate) attributes: BTreeMap<String, Value>,
    pub(crate) resource: BTreeMap<String, Value>,
    /// What it says of its failure, if it failed.
    pub(crate) error: Option<String>,
}

impl Span {
    /// Returns an attribute that is a text.
    pub(crate) fn text(&self, name: &str) -> &str {
        let value = self.attributes.get(name).or(self.resource.get(name));
        value.and_then(Value::as_str).unwrap_or_default()
    }
}

#[derive(Default)]
struct Kept {
    requests: Vec<(HeaderMap, String)>,
    /// What requests are answered with instead of being taken.
    refuses: Option<StatusCode>,
    refused: usize,
}

/// A collector of its own, on a free port of this machine.
pub(crate) struct Collector {
    address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
    // Ends with the test.
    _runtime: tokio::runtime::Runtime,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let kept = Arc::<Mutex<Kept>>::default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let router = axum::Router::new()
            .route("/v1/traces", axum::routing::post(take))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(Arc::clone(&kept));
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            kept,
            _runtime: runtime,
        }
    }

    /// Answers everything with this status from now on; takes it where there is none.
    pub(crate) fn refuse(&self, status: Option<u16>) {
        let status = status.map(|status| StatusCode::from_u16(status).unwrap());
        self.kept.lock().unwrap().refuses = status;
    }

    /// How many requests were refused.
    pub(crate) fn refused(&self) -> usize {
        self.kept.lock().unwrap().refused
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the values of a header, one for each request that was taken.
    pub(crate) fn headers(&self, name: &str) -> Vec<String> {
        let kept = self.kept.lock().unwrap();
        let values = kept.requests.iter().filter_map(|(headers, _)| {
            let value = headers.get(name)?;
            Some(value.to_str().unwrap().to_owned())
        });
        values.collect()
    }

    /// Returns all that was told, as it came.
    pub(crate) fn text(&self) -> String {
        let kept = self.kept.lock().unwrap();
        kept.requests
            .iter()
            .map(|(_, body)| body.as_str())
            .collect()
    }

    /// Returns all spans that were told.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let kept = self.kept.lock().unwrap();
        let mut spans = Vec::new();
        for (_, body) in &kept.requests {
            let body: Value = serde_json::from_str(body).unwrap();
            for of in body["resourceSpans"].as_array().unwrap() {
                let resource = attributes(&of["resource"]["attributes"]);
                for scope in of["scopeSpans"].as_array().unwrap() {
                    assert_eq!(scope["scope"]["name"], "runner");
                    let told = scope["spans"].as_array().unwrap();
                    spans.extend(told.iter().map(|told| span(told, &resource)));
                }
            }
        }
        spans
    }

    /// Returns the spans of the run of this number, once its own is there: whole, and in order of
    /// their times.
    pub(crate) fn run(&self, number: &str) -> Option<Vec<Span>> {
        let mut spans = self.spans();
        spans.retain(|span| span.text("cicd.pipeline.run.id") == number);
        spans.iter().find(|span| span.parent.is_none())?;
        spans.sort_by_key(|span| (span.start, std::cmp::Reverse(span.end)));
        Some(spans)
    }
}

async fn take(State(kept): State<Arc<Mutex<Kept>>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut kept = kept.lock().unwrap();
    if let Some(status) = kept.refuses {
        kept.refused += 1;
        return status;
    }
    assert_eq!(headers["content-type"], "application/json");
    let body = String::from_utf8(body.to_vec()).unwrap();
    kept.requests.push((headers, body));
    StatusCode::OK
}

fn attributes(list: &Value) -> BTreeMap<String, Value> {
    let mut read = BTreeMap::new();
    for attribute in list.as_array().unwrap() {
        let value = attribute["value"].as_object().unwrap();
        let (kind, value) = value.iter().next().unwrap();
        let value = match kind.as_str() {
            "stringValue" | "boolValue" => value.clone(),
            // 64-bit numbers are texts in the JSON of OTLP.
            "intValue" => value.as_str().unwrap().parse::<i64>().unwrap().into(),
            kind => panic!("{kind}"),
        };
        let key = attribute["key"].as_str().unwrap().to_owned();
        assert!(
            read.insert(key, value).is_none(),
            "{attribute} is there twice"
        );
    }
    read
}

fn span(told: &Value, resource: &BTreeMap<String, Value>) -> Span {
    let id = |key: &str, length: usize| {
        let id = told[key].as_str().unwrap();
        let is_hex = id.len() == length && id.chars().all(|c| c.is_ascii_hexdigit());
        assert!(is_hex, "{key}: {id}");
        id.to_owned()
    };
    let time = |key: &str| told[key].as_str().unwrap().parse::<u128>().unwrap();
    let (start, end) = (time("startTimeUnixNano"), time("endTimeUnixNano"));
    assert!(start <= end, "{told}");
    Span {
        trace: id("traceId", 32),
        id: id("spanId", 16),
        parent: told.get("parentSpanId").map(|_| id("parentSpanId", 16)),
        name: told["name"].as_str().unwrap().to_owned(),
        kind: told["kind"].as_u64().unwrap(),
        start,
        end,
        attributes: attributes(&told["attributes"]),
        resource: resource.clone(),
        error: (told["status"]["code"] == 2)
            .then(|| told["status"]["message"].as_str().unwrap().to_owned()),
    }
}

/// Asserts that spans are one tree: one root, every other below one of them and within its time.
pub(crate) fn assert_tree(spans: &[Span]) {
    let mut by_id: BTreeMap<&str, &Span> = BTreeMap::new();
    for span in spans {
        assert_eq!(span.trace, spans[0].trace);
        assert!(
            by_id.insert(&span.id, span).is_none(),
            "{span:?} is there twice"
        );
    }
    let roots = spans.iter().filter(|span| span.parent.is_none());
    assert_eq!(roots.count(), 1);
    for span in spans {
        let Some(parent) = &span.parent else { continue };
        let parent = by_id.get(parent.as_str());
        let parent = parent.unwrap_or_else(|| panic!("{span:?} is below nothing"));
        assert!(
            parent.start <= span.start && span.end <= parent.end,
            "{span:?} is not within {parent:?}"
        );
    }
}
