//! A double of GitHub's API that keeps what it is told, and fails as it is told to.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

/// What a request is answered with instead of what it asks for.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// This status, with a message and maybe a `Retry-After`.
    Status(u16, &'static str, Option<u32>),
    /// Text that is no JSON.
    Garbage,
}

#[derive(Debug, Default)]
struct Kept {
    /// Each request that was taken: its path, and its body.
    told: Vec<(String, Value)>,
    faults: VecDeque<Fault>,
    deployments: Vec<Value>,
    refused: usize,
}

/// A GitHub of its own.
pub(crate) struct GitHub {
    address: SocketAddr,
    kept: Arc<Mutex<Kept>>,
    // Ends with the test.
    _runtime: tokio::runtime::Runtime,
}

/// The token that it knows.
pub(crate) const TOKEN: &str = "ghp_a-token-for-tests-alone";

impl GitHub {
    /// Starts one on a free port of this machine.
    pub(crate) fn start() -> Self {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let router = axum::Router::new()
            .route("/repos/{owner}/{name}/statuses/{sha}", post(status))
            .route(
                "/repos/{owner}/{name}/deployments",
                get(deployments).post(deployment),
            )
            .route(
                "/repos/{owner}/{name}/deployments/{id}/statuses",
                post(deployment_status),
            )
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

    /// Returns the lines of `runner.toml` that tell a repository's runs here.
    pub(crate) fn configuration(&self) -> String {
        format!(
            "api = \"http://{}\"\ntoken = {{ env = \"GITHUB_TEST_TOKEN\" }}\n",
            self.address
        )
    }

    /// Answers the next requests that change something with faults.
    pub(crate) fn fail(&self, faults: &[Fault]) {
        self.kept
            .lock()
            .unwrap()
            .faults
            .extend(faults.iter().cloned());
    }

    /// How many requests were answered with faults.
    pub(crate) fn refused(&self) -> usize {
        self.kept.lock().unwrap().refused
    }

    /// Returns the statuses of a commit in the order in which they came: context, state, description.
    pub(crate) fn statuses(&self, sha: &str) -> Vec<(String, String, String)> {
        let kept = self.kept.lock().unwrap();
        let text = |body: &Value, key: &str| body[key].as_str().unwrap_or_default().to_owned();
        kept.told
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
        let kept = self.kept.lock().unwrap();
        kept.told
            .iter()
            .filter_map(|(path, body)| {
                let id = path.strip_suffix("/statuses")?.rsplit('/').next()?;
                Some(format!("{id} {}", body["state"].as_str()?))
            })
            .collect()
    }

    /// Returns the deployments.
    pub(crate) fn deployments(&self) -> Vec<Value> {
        self.kept.lock().unwrap().deployments.clone()
    }
}

type Shared = State<Arc<Mutex<Kept>>>;

/// Takes a request that changes something, or answers why not.
fn take(
    kept: &mut Kept,
    path: String,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Value, Box<Response>> {
    let refuse = |status: StatusCode, message: &str| {
        Err(Box::new(
            (status, Json(json!({"message": message}))).into_response(),
        ))
    };
    if headers
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        != Some(&format!("Bearer {TOKEN}"))
    {
        return refuse(StatusCode::UNAUTHORIZED, "Bad credentials");
    }
    match kept.faults.pop_front() {
        None => {}
        Some(Fault::Garbage) => {
            kept.refused += 1;
            return Err(Box::new((StatusCode::CREATED, "<html>").into_response()));
        }
        Some(Fault::Status(status, message, wait)) => {
            kept.refused += 1;
            let status = StatusCode::from_u16(status).unwrap();
            let mut answer = (status, Json(json!({"message": message}))).into_response();
            if let Some(wait) = wait {
                answer
                    .headers_mut()
                    .insert("retry-after", HeaderValue::from(wait));
            }
            return Err(Box::new(answer));
        }
    }
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return refuse(StatusCode::BAD_REQUEST, "Problems parsing JSON");
    };
    kept.told.push((path, body.clone()));
    Ok(body)
}

fn is_one_of(body: &Value, key: &str, words: &[&str]) -> bool {
    body[key].as_str().is_some_and(|word| words.contains(&word))
}

fn invalid() -> Response {
    let body = Json(json!({"message": "Validation Failed"}));
    (StatusCode::UNPROCESSABLE_ENTITY, body).into_response()
}

async fn status(
    State(kept): Shared,
    Path((owner, name, sha)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = format!("/repos/{owner}/{name}/statuses/{sha}");
    match take(&mut kept.lock().unwrap(), path, &headers, &body) {
        Err(answer) => *answer,
        Ok(body)
            if !is_one_of(&body, "state", &["error", "failure", "pending", "success"])
                || body["description"]
                    .as_str()
                    .is_some_and(|text| text.chars().count() > 140) =>
        {
            invalid()
        }
        Ok(body) => (StatusCode::CREATED, Json(body)).into_response(),
    }
}

async fn deployments(State(kept): Shared) -> Json<Value> {
    Json(kept.lock().unwrap().deployments.clone().into())
}

async fn deployment(
    State(kept): Shared,
    Path((owner, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = format!("/repos/{owner}/{name}/deployments");
    let mut kept = kept.lock().unwrap();
    match take(&mut kept, path, &headers, &body) {
        Err(answer) => *answer,
        // GitHub waits for all statuses of the commit otherwise, and ours is one of them.
        Ok(body) if body["required_contexts"] != json!([]) || body["ref"].is_null() => invalid(),
        Ok(mut body) => {
            body["id"] = json!(kept.deployments.len() + 1);
            kept.deployments.push(body.clone());
            (StatusCode::CREATED, Json(body)).into_response()
        }
    }
}

async fn deployment_status(
    State(kept): Shared,
    Path((owner, name, id)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = format!("/repos/{owner}/{name}/deployments/{id}/statuses");
    let states = [
        "error",
        "failure",
        "inactive",
        "in_progress",
        "queued",
        "pending",
        "success",
    ];
    match take(&mut kept.lock().unwrap(), path, &headers, &body) {
        Err(answer) => *answer,
        Ok(body) if !is_one_of(&body, "state", &states) => invalid(),
        Ok(body) => (StatusCode::CREATED, Json(body)).into_response(),
    }
}
