//! A double of GitHub's API that keeps what it is told, and fails as it is told to.
//!
//! It can stand in front of Prism, which then sees every request first: what GitHub's OpenAPI does
//! not know is refused, and remembered.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::app::AppKey;
use super::doubles::Prism;

/// What a request is answered with instead of what it asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// This status, with a message and maybe a `Retry-After`.
    Status(u16, &'static str, Option<u32>),
    /// Text that is no JSON.
    Garbage,
    /// It does what is asked, but its answer breaks off.
    HalfBody,
    /// It does what is asked, but so late that nobody waits any more.
    Slow(Duration),
}

/// How long a token of an installation is good, where a test does not say otherwise.
const HOUR: i64 = 3600;

#[derive(Default)]
struct Kept {
    /// Each request that was taken and changes something: its path, and its body.
    told: Vec<(String, Value)>,
    faults: VecDeque<Fault>,
    deployments: Vec<Value>,
    /// Check runs by number, as they stand.
    checks: BTreeMap<u64, Value>,
    /// Deliveries of webhooks, the newest first, each with its payload.
    deliveries: Vec<Value>,
    hooks: Vec<Value>,
    /// What asks for deliveries.
    asked_for_deliveries: usize,
    /// The tokens of installations, with when they end.
    tokens: Vec<(String, i64)>,
    token_seconds: Option<i64>,
    /// How many seconds its clock is beside ours.
    skew: i64,
    /// Whether its token may only read.
    is_read_only: bool,
    refused: usize,
    objections: Vec<String>,
}

struct Double {
    kept: Mutex<Kept>,
    prism: Option<Prism>,
    app: Option<AppKey>,
}

/// A GitHub of its own.
pub(crate) struct GitHub {
    address: SocketAddr,
    double: Arc<Double>,
    // Ends with the test.
    _runtime: tokio::runtime::Runtime,
}

/// The token that it knows.
pub(crate) const TOKEN: &str = "ghp_a-token-for-tests-alone";

/// The installation of the App that it knows.
const INSTALLATION: u64 = 77;

impl GitHub {
    /// Starts one on a free port of this machine.
    pub(crate) fn start() -> Self {
        Self::with(None, None)
    }

    /// Starts one that takes only what GitHub's OpenAPI knows; `None` where Prism cannot be had.
    pub(crate) fn checked(app: Option<AppKey>) -> Option<Self> {
        Some(Self::with(Some(Prism::start()?), app))
    }

    /// Starts one that knows an App.
    pub(crate) fn of_app(app: AppKey) -> Self {
        Self::with(None, Some(app))
    }

    fn with(prism: Option<Prism>, app: Option<AppKey>) -> Self {
        let double = Arc::new(Double {
            kept: Mutex::default(),
            prism,
            app,
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let router = axum::Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&double));
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            double,
            _runtime: runtime,
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.double.kept.lock().unwrap()
    }

    /// Returns its address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the lines of `runner.toml` that tell a repository's runs here.
    pub(crate) fn configuration(&self) -> String {
        format!(
            "api = \"{}\"\ntoken = {{ env = \"GITHUB_TEST_TOKEN\" }}\n",
            self.url()
        )
    }

    /// Answers the next requests that change something with faults.
    pub(crate) fn fail(&self, faults: &[Fault]) {
        self.kept().faults.extend(faults.iter().copied());
    }

    /// How many requests were answered with faults.
    pub(crate) fn refused(&self) -> usize {
        self.kept().refused
    }

    /// Returns what GitHub's OpenAPI says against the requests that were made.
    pub(crate) fn objections(&self) -> Vec<String> {
        self.kept().objections.clone()
    }

    /// Returns the paths and bodies of what was told, in the order in which it came.
    pub(crate) fn told(&self) -> Vec<(String, Value)> {
        self.kept().told.clone()
    }

    /// Returns the statuses of a commit in the order in which they came: context, state, description.
    pub(crate) fn statuses(&self, sha: &str) -> Vec<(String, String, String)> {
        let text = |body: &Value, key: &str| body[key].as_str().unwrap_or_default().to_owned();
        self.kept()
            .told
            .iter()
            .filter(|(path, _)| path.ends_with(&format!("/statuses/{sha}")))
            .map(|(_, body)| {
                (
                    text(body, "context"),
                    text(body, "state"),
                    text(body, "description"),
                )
            })
            .collect()
    }

    /// Returns the states of the deployments in the order in which they were told: number and state.
    pub(crate) fn deployment_states(&self) -> Vec<String> {
        self.kept()
            .told
            .iter()
            .filter_map(|(path, body)| {
                let id = path.strip_suffix("/statuses")?.rsplit('/').next()?;
                Some(format!("{id} {}", body["state"].as_str()?))
            })
            .collect()
    }

    /// Returns the deployments.
    pub(crate) fn deployments(&self) -> Vec<Value> {
        self.kept().deployments.clone()
    }

    /// Returns the check runs as they stand.
    pub(crate) fn checks(&self) -> Vec<Value> {
        self.kept().checks.values().cloned().collect()
    }

    /// Returns a check run by its name, the newest of that name.
    pub(crate) fn check(&self, name: &str) -> Option<Value> {
        let kept = self.kept();
        let mut all = kept.checks.values().rev();
        all.find(|check| check["name"] == name).cloned()
    }

    /// Registers a webhook that leads to this address.
    pub(crate) fn add_hook(&self, url: &str) {
        let mut kept = self.kept();
        let id = kept.hooks.len() + 1;
        kept.hooks
            .push(json!({"id": id, "active": true, "config": {"url": url}}));
    }

    /// Remembers a delivery, made so many seconds ago, that may not have arrived.
    pub(crate) fn add_delivery(&self, guid: &str, event: &str, payload: &Value, ago: i64) {
        let at = chrono::Utc::now() - chrono::Duration::seconds(ago);
        let mut kept = self.kept();
        let id = kept.deliveries.len() + 1;
        kept.deliveries.insert(
            0,
            json!({
                "id": id, "guid": guid, "delivered_at": at.to_rfc3339(), "redelivery": false,
                "status": "failed to connect to host", "status_code": 0, "event": event, "action": payload["action"],
                "request": {"headers": {"X-GitHub-Event": event}, "payload": payload},
            }),
        );
    }

    /// How often deliveries were asked for.
    pub(crate) fn asked_for_deliveries(&self) -> usize {
        self.kept().asked_for_deliveries
    }

    /// Makes the tokens of installations end after so many seconds.
    pub(crate) fn tokens_end_after(&self, seconds: i64) {
        self.kept().token_seconds = Some(seconds);
    }

    /// Sets its clock so many seconds beside ours.
    pub(crate) fn runs_ahead(&self, seconds: i64) {
        self.kept().skew = seconds;
    }

    /// Lets its token only read from here on.
    pub(crate) fn allows_only_reading(&self) {
        self.kept().is_read_only = true;
    }

    /// Returns the tokens of installations that were handed out.
    pub(crate) fn tokens(&self) -> Vec<String> {
        let kept = self.kept();
        kept.tokens.iter().map(|(token, _)| token.clone()).collect()
    }
}

async fn answer(State(double): State<Arc<Double>>, request: Request) -> Response {
    let method = request.method().as_str().to_owned();
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned();
    let headers = request.headers().clone();
    let body = axum::body::to_bytes(request.into_body(), usize::MAX)
        .await
        .unwrap_or_default();
    if let Some(answer) = objected(&double, (&method, &path), &body).await {
        return answer;
    }
    if !double.lets_in(&path, &headers) {
        return refuse(StatusCode::UNAUTHORIZED, "Bad credentials");
    }
    // Tokens are asked for on the way; faults are meant for what is told.
    let is_told = method != "GET" && !path.ends_with("/access_tokens");
    let fault = if is_told {
        double.kept.lock().unwrap().faults.pop_front()
    } else {
        None
    };
    if fault.is_some() {
        double.kept.lock().unwrap().refused += 1;
    }
    match fault {
        None => double.carry_out(&method, &path, &body),
        Some(Fault::Garbage) => (StatusCode::CREATED, "<html>").into_response(),
        Some(Fault::Status(status, message, wait)) => {
            let mut answer = refuse(StatusCode::from_u16(status).unwrap(), message);
            if let Some(wait) = wait {
                let headers = answer.headers_mut();
                headers.insert("retry-after", HeaderValue::from(wait));
            }
            answer
        }
        Some(Fault::HalfBody) => {
            let done = double.carry_out(&method, &path, &body);
            let half = futures_util::stream::iter([
                Ok(Bytes::from_static(b"{\"id\": 1, \"st")),
                Err(std::io::Error::other("broken off")),
            ]);
            (done.status(), Body::from_stream(half)).into_response()
        }
        Some(Fault::Slow(time)) => {
            let done = double.carry_out(&method, &path, &body);
            tokio::time::sleep(time).await;
            done
        }
    }
}

/// Asks Prism; returns the refusal where it has something against the request.
async fn objected(
    double: &Arc<Double>,
    (method, path): (&str, &str),
    body: &Bytes,
) -> Option<Response> {
    let (asked, body) = (Arc::clone(double), body.clone());
    let (method, path) = (method.to_owned(), path.to_owned());
    let look = move || asked.prism.as_ref()?.objection(&method, &path, &body);
    let objection = match tokio::task::spawn_blocking(look).await {
        Ok(objection) => objection?,
        Err(error) => error.to_string(),
    };
    double.kept.lock().unwrap().objections.push(objection);
    Some(refuse(
        StatusCode::UNPROCESSABLE_ENTITY,
        "Validation Failed",
    ))
}

fn refuse(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"message": message}))).into_response()
}

fn invalid() -> Response {
    refuse(StatusCode::UNPROCESSABLE_ENTITY, "Validation Failed")
}

fn made(body: Value) -> Response {
    (StatusCode::CREATED, Json(body)).into_response()
}

fn is_one_of(body: &Value, key: &str, words: &[&str]) -> bool {
    body[key].as_str().is_some_and(|word| words.contains(&word))
}

fn is_too_long(body: &Value, key: &str, most: usize) -> bool {
    body[key]
        .as_str()
        .is_some_and(|text| text.chars().count() > most)
}

impl Double {
    /// Tells whether a request says rightly who it comes from.
    fn lets_in(&self, path: &str, headers: &HeaderMap) -> bool {
        let given = headers
            .get("authorization")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        let Some(given) = given else {
            return false;
        };
        let is_app = path.starts_with("/app") || path.ends_with("/installation");
        if is_app {
            return self.app.as_ref().is_some_and(|app| app.signed(given));
        }
        let now = chrono::Utc::now().timestamp();
        let kept = self.kept.lock().unwrap();
        let is_installation = kept
            .tokens
            .iter()
            .any(|(token, ends)| token == given && *ends > now);
        is_installation || (self.app.is_none() && given == TOKEN)
    }

    /// Does what a request asks.
    fn carry_out(&self, method: &str, path: &str, body: &Bytes) -> Response {
        let body: Value = if body.is_empty() {
            Value::Null
        } else if let Ok(body) = serde_json::from_slice(body) {
            body
        } else {
            return refuse(StatusCode::BAD_REQUEST, "Problems parsing JSON");
        };
        let (bare, query) = path.split_once('?').unwrap_or((path, ""));
        let parts: Vec<&str> = bare.trim_start_matches('/').split('/').collect();
        let mut kept = self.kept.lock().unwrap();
        let answer = match (method, parts.as_slice()) {
            ("GET", ["repos", _, _]) => repository(&kept),
            ("POST", ["repos", _, _, "statuses", _]) => status(&body),
            ("GET", ["repos", _, _, "deployments"]) => {
                Json(kept.deployments.clone()).into_response()
            }
            ("POST", ["repos", _, _, "deployments"]) => deployment(&mut kept, &body),
            ("POST", ["repos", _, _, "deployments", _, "statuses"]) => deployment_status(&body),
            ("GET", ["repos", _, _, "commits", sha, "check-runs"]) => checks_of(&kept, sha),
            ("POST", ["repos", _, _, "check-runs"]) => check(&mut kept, None, &body),
            ("GET", ["repos", _, _, "check-runs", id]) => one_check(&kept, id),
            ("PATCH", ["repos", _, _, "check-runs", id]) => {
                check(&mut kept, id.parse().ok(), &body)
            }
            ("GET", ["repos", _, _, "hooks"]) => Json(kept.hooks.clone()).into_response(),
            ("GET", ["app", "hook", "deliveries"] | ["repos", _, _, "hooks", _, "deliveries"]) => {
                kept.asked_for_deliveries += 1;
                deliveries(&kept, bare, query)
            }
            (
                "GET",
                ["app", "hook", "deliveries", id] | ["repos", _, _, "hooks", _, "deliveries", id],
            ) => delivery(&kept, id),
            ("GET", ["repos", _, _, "installation"]) => {
                Json(json!({"id": INSTALLATION})).into_response()
            }
            ("POST", ["app", "installations", id, "access_tokens"]) => {
                return token(&mut kept, id, &body);
            }
            _ => refuse(StatusCode::NOT_FOUND, "Not Found"),
        };
        if method != "GET" && answer.status().is_success() {
            kept.told.push((bare.to_owned(), body));
        }
        answer
    }
}

/// Answers with what the token may do, as it would be one of the classic kind, and with the time.
fn repository(kept: &Kept) -> Response {
    let body = json!({"full_name": "acme/demo", "permissions": {"pull": true, "push": !kept.is_read_only}});
    let at = chrono::Utc::now() + chrono::Duration::seconds(kept.skew);
    let date = at.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let mut answer = Json(body).into_response();
    let headers = answer.headers_mut();
    headers.insert("date", HeaderValue::from_str(&date).unwrap());
    headers.insert("x-oauth-scopes", HeaderValue::from_static("repo, workflow"));
    answer
}

fn status(body: &Value) -> Response {
    let states = ["error", "failure", "pending", "success"];
    if !is_one_of(body, "state", &states) || is_too_long(body, "description", 140) {
        return invalid();
    }
    made(body.clone())
}

fn deployment(kept: &mut Kept, body: &Value) -> Response {
    // GitHub waits for all statuses of the commit otherwise, and ours is one of them.
    if body["required_contexts"] != json!([]) || body["ref"].is_null() {
        return invalid();
    }
    let mut body = body.clone();
    body["id"] = json!(kept.deployments.len() + 1);
    kept.deployments.push(body.clone());
    made(body)
}

fn deployment_status(body: &Value) -> Response {
    let states = [
        "error",
        "failure",
        "inactive",
        "in_progress",
        "queued",
        "pending",
        "success",
    ];
    if is_one_of(body, "state", &states) {
        made(body.clone())
    } else {
        invalid()
    }
}

/// Makes a check run, or changes one: annotations are added to those that it has.
fn check(kept: &mut Kept, id: Option<u64>, body: &Value) -> Response {
    let no_annotations = Vec::new();
    let annotations = body["output"]["annotations"].as_array();
    let annotations = annotations.unwrap_or(&no_annotations).clone();
    let actions = body["actions"].as_array().cloned().unwrap_or_default();
    let is_wrong = annotations.len() > 50
        || is_too_long(&body["output"], "summary", 65_535)
        || actions.len() > 3
        || actions.iter().any(|action| {
            is_too_long(action, "label", 20)
                || is_too_long(action, "description", 40)
                || is_too_long(action, "identifier", 20)
        });
    if is_wrong {
        return invalid();
    }
    let next = u64::try_from(kept.checks.len()).unwrap() + 1;
    let known = id.is_none() || id.is_some_and(|id| kept.checks.contains_key(&id));
    if !known {
        return refuse(StatusCode::NOT_FOUND, "Not Found");
    }
    let id = id.unwrap_or(next);
    let check = kept.checks.entry(id).or_insert_with(|| json!({"id": id}));
    let mut all = check["output"]["annotations"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    all.extend(annotations);
    for (key, value) in body.as_object().unwrap() {
        check[key] = value.clone();
    }
    check["output"]["annotations"] = all.into();
    made(check.clone())
}

fn one_check(kept: &Kept, id: &str) -> Response {
    let id = id.parse().unwrap_or(0);
    let Some(mut check) = kept.checks.get(&id).cloned() else {
        return refuse(StatusCode::NOT_FOUND, "Not Found");
    };
    let count = check["output"]["annotations"]
        .as_array()
        .map_or(0, Vec::len);
    check["output"]["annotations_count"] = count.into();
    Json(check).into_response()
}

fn checks_of(kept: &Kept, sha: &str) -> Response {
    let checks: Vec<&Value> = kept
        .checks
        .values()
        .filter(|check| check["head_sha"] == sha)
        .collect();
    Json(json!({"total_count": checks.len(), "check_runs": checks})).into_response()
}

/// Lists deliveries, two at a time, so that whoever asks must turn the page.
fn deliveries(kept: &Kept, path: &str, query: &str) -> Response {
    let cursor = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("cursor="))
        .and_then(|cursor| cursor.parse().ok())
        .unwrap_or(0);
    let listed: Vec<Value> = kept
        .deliveries
        .iter()
        .skip(cursor)
        .take(2)
        .map(|delivery| {
            let mut delivery = delivery.clone();
            delivery.as_object_mut().unwrap().remove("request");
            delivery
        })
        .collect();
    let mut answer = Json(listed).into_response();
    if kept.deliveries.len() > cursor + 2 {
        let next = format!(
            "<https://api.github.com{path}?per_page=2&cursor={}>; rel=\"next\"",
            cursor + 2
        );
        let headers = answer.headers_mut();
        headers.insert("link", HeaderValue::from_str(&next).unwrap());
    }
    answer
}

fn delivery(kept: &Kept, id: &str) -> Response {
    let mut all = kept.deliveries.iter();
    match all.find(|delivery| delivery["id"].as_u64() == id.parse().ok()) {
        Some(delivery) => Json(delivery.clone()).into_response(),
        None => refuse(StatusCode::NOT_FOUND, "Not Found"),
    }
}

fn token(kept: &mut Kept, installation: &str, body: &Value) -> Response {
    if installation != INSTALLATION.to_string() || body["repositories"] != json!(["demo"]) {
        return refuse(StatusCode::NOT_FOUND, "Not Found");
    }
    let token = format!("ghs_an-installation-token-{}", kept.tokens.len() + 1);
    let ends = chrono::Utc::now() + chrono::Duration::seconds(kept.token_seconds.unwrap_or(HOUR));
    kept.tokens.push((token.clone(), ends.timestamp()));
    made(json!({
        "token": token, "expires_at": ends.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "permissions": {"checks": "write"}, "repository_selection": "selected",
    }))
}
