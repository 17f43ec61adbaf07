//! The API under `/api`: JSON in and out, described by `/api/openapi.json`.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{DefaultBodyLimit, Extension, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use super::guard::{Asker, guard};
use super::log::{self, Place, log_of};
use super::problem::Problem;
use super::{Site, pages};
use crate::expression::{Object, Value};
use crate::run::{Attempt, Conclusion, RunId, Status};
use crate::scheduler::{
    AccessScope, Dispatch, Rerun, allowed_by, dispatch, iso_time, job_json, run_json,
};
use crate::store::{JobRow, RunFilter, RunRow};

/// The description, as it is served.
const OPENAPI: &str = include_str!("openapi.json");

/// The largest request.
///
/// Source: GitHub, "Create a workflow dispatch event": inputs are 65,535 characters at most.
const MAX_BODY: usize = 128 * 1024;

/// How many runs a page has where nobody says it.
const PAGE: u32 = 30;

/// How many it can have.
const MAX_PAGE: u32 = 100;

type Answered = Result<Response, Problem>;
type Segments<T> = Result<Path<T>, PathRejection>;
type Given = Result<Bytes, BytesRejection>;

/// A place of the API: how it is asked, and what for.
struct Route {
    method: MethodFilter,
    /// As in the description.
    path: &'static str,
    /// What a token must allow; anybody may ask where there is none.
    needs: Option<AccessScope>,
    answer: fn(MethodFilter) -> MethodRouter<Arc<Site>>,
}

/// Returns everything that can be asked; the description has the same places.
fn routes() -> impl Iterator<Item = Route> {
    looking().into_iter().chain(changing())
}

/// Returns what only tells something.
fn looking() -> Vec<Route> {
    use AccessScope::{Admin, Read};
    vec![
        Route {
            method: MethodFilter::GET,
            path: "/api/openapi.json",
            needs: None,
            answer: |method| on(method, openapi),
        },
        Route {
            method: MethodFilter::GET,
            path: "/api/v1/health",
            needs: None,
            answer: |method| on(method, health),
        },
        Route {
            method: MethodFilter::GET,
            path: "/api/v1/runs",
            needs: Some(Read),
            answer: |method| on(method, runs),
        },
        Route {
            method: MethodFilter::GET,
            path: "/api/v1/runs/{run}",
            needs: Some(Read),
            answer: |method| on(method, run),
        },
        Route {
            method: MethodFilter::GET,
            path: "/api/v1/runs/{run}/jobs",
            needs: Some(Read),
            answer: |method| on(method, jobs),
        },
        Route {
            method: MethodFilter::GET,
            path: "/api/v1/runs/{run}/jobs/{job}/log",
            needs: Some(Read),
            answer: |method| on(method, log_range),
        },
        Route {
            method: MethodFilter::GET,
            path: "/api/v1/runs/{run}/jobs/{job}/log.txt",
            needs: Some(Read),
            answer: |method| on(method, log_text),
        },
        Route {
            method: MethodFilter::GET,
            path: "/api/v1/runs/{run}/jobs/{job}/log/stream",
            needs: Some(Read),
            answer: |method| on(method, log_stream),
        },
        Route {
            method: MethodFilter::GET,
            path: "/api/v1/secrets",
            needs: Some(Admin),
            answer: |method| on(method, secrets),
        },
        Route {
            method: MethodFilter::GET,
            path: "/api/v1/tokens",
            needs: Some(Admin),
            answer: |method| on(method, tokens),
        },
    ]
}

/// Returns what changes something.
fn changing() -> Vec<Route> {
    use AccessScope::{Admin, Run};
    vec![
        Route {
            method: MethodFilter::POST,
            path: "/api/v1/runs/{run}/approve",
            needs: Some(Run),
            answer: |method| on(method, approve),
        },
        Route {
            method: MethodFilter::POST,
            path: "/api/v1/runs/{run}/cancel",
            needs: Some(Run),
            answer: |method| on(method, cancel),
        },
        Route {
            method: MethodFilter::POST,
            path: "/api/v1/runs/{run}/rerun",
            needs: Some(Run),
            answer: |method| on(method, rerun),
        },
        Route {
            method: MethodFilter::POST,
            path: "/api/v1/repositories/{owner}/{name}/dispatches",
            needs: Some(Run),
            answer: |method| on(method, dispatched),
        },
        Route {
            method: MethodFilter::DELETE,
            path: "/api/v1/tokens/{token}",
            needs: Some(Admin),
            answer: |method| on(method, revoke),
        },
    ]
}

/// Returns the part of the server that answers below `/api`.
pub(super) fn router(site: &Arc<Site>) -> Router<Arc<Site>> {
    let mut router = Router::new();
    for route in routes() {
        let answer = (route.answer)(route.method);
        let answer = match route.needs {
            None => answer,
            Some(scope) => {
                let who = (Arc::clone(site), scope);
                answer.layer(axum::middleware::from_fn_with_state(who, guard))
            }
        };
        router = router.route(route.path, answer);
    }
    router
        .route("/api/{*rest}", axum::routing::any(nothing))
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY))
}

async fn nothing(uri: Uri) -> Problem {
    Problem::absent(format!(
        "there is nothing at {}; see /api/openapi.json",
        uri.path()
    ))
}

async fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this is not asked so; see /api/openapi.json",
    )
}

async fn openapi() -> Response {
    let json = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, json)], OPENAPI).into_response()
}

/// Whether the server can do its work.
async fn health(State(site): State<Arc<Site>>) -> Response {
    let health = pages::stands(&site).await;
    let detail = health.lack.as_deref().unwrap_or("all is well");
    let body = json!({ "status": health.word(), "detail": detail });
    (health.code, axum::Json(body)).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RunsQuery {
    repository: Option<String>,
    workflow: Option<String>,
    branch: Option<String>,
    event: Option<String>,
    status: Option<String>,
    conclusion: Option<String>,
    limit: Option<u32>,
    before: Option<String>,
}

impl RunsQuery {
    fn filter(&self) -> Result<RunFilter, Problem> {
        let limit = self.limit.unwrap_or(PAGE);
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(Problem::bad(format!("`limit` is 1 to {MAX_PAGE}")));
        }
        let before = match &self.before {
            None => None,
            Some(text) => Some(RunId(
                text.parse::<u32>()
                    .map_err(|_| Problem::bad("`before` is the number of a run"))?
                    .to_string(),
            )),
        };
        Ok(RunFilter {
            repository: self.repository.clone(),
            workflow: self.workflow.clone(),
            git_ref: self
                .branch
                .as_ref()
                .map(|branch| format!("refs/heads/{branch}")),
            event: self.event.clone(),
            status: word("status", self.status.as_ref(), Status::from_word)?,
            conclusion: word(
                "conclusion",
                self.conclusion.as_ref(),
                Conclusion::from_word,
            )?,
            // One more tells whether there is a next page.
            limit: Some(limit + 1),
            before,
        })
    }
}

/// Reads one of our words.
fn word<T>(
    name: &str,
    given: Option<&String>,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Problem> {
    given
        .map(|text| read(text).ok_or_else(|| Problem::bad(format!("`{name}` cannot be `{text}`"))))
        .transpose()
}

/// Reads what stands behind `?`; what nobody knows is refused, so that no filter is passed over.
fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Problem> {
    let Query(read) = Query::try_from_uri(uri)?;
    Ok(read)
}

fn segments<T>(given: Segments<T>) -> Result<T, Problem> {
    given
        .map(|Path(read)| read)
        .map_err(|_| Problem::absent("there is nothing at this address; see /api/openapi.json"))
}

/// Reads a request's JSON; where there is none all of it is left out.
fn body<T: DeserializeOwned + Default>(headers: &HeaderMap, given: Given) -> Result<T, Problem> {
    let bytes = given?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .and_then(|kind| kind.split(';').next());
    if !kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "`Content-Type: application/json` is wanted",
        ));
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| Problem::bad(format!("the body cannot be read: {error}")))
}

/// `GET /api/v1/runs`: a page of them, the newest first.
async fn runs(State(site): State<Arc<Site>>, uri: Uri) -> Answered {
    let asked: RunsQuery = query(&uri)?;
    let filter = asked.filter()?;
    let limit = asked.limit.unwrap_or(PAGE);
    let mut rows = site.ledger.runs(&filter).await?;
    let has_more = rows.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    if has_more {
        rows.pop();
    }
    let next = rows.last().filter(|_| has_more).map(|run| run.id.clone());
    let rows: Vec<Json> = rows.iter().map(run_json).collect();
    Ok(axum::Json(json!({ "runs": rows, "next": next })).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AttemptQuery {
    attempt: Option<u32>,
}

/// Reads the attempt of a run that is asked for; without one it is the newest.
async fn attempt_of(
    site: &Site,
    run: Segments<String>,
    uri: &Uri,
) -> Result<(RunRow, Vec<JobRow>), Problem> {
    let asked: AttemptQuery = query(uri)?;
    let attempt = asked.attempt.map(Attempt);
    Ok(site.ledger.run(&RunId(segments(run)?), attempt).await?)
}

/// `GET /api/v1/runs/RUN`: a run with its jobs.
async fn run(State(site): State<Arc<Site>>, run: Segments<String>, uri: Uri) -> Answered {
    let (run, jobs) = attempt_of(&site, run, &uri).await?;
    let mut whole = run_json(&run);
    if let Json::Object(object) = &mut whole {
        let jobs: Vec<Json> = jobs.iter().map(job_json).collect();
        object.insert("jobs".to_owned(), jobs.into());
    }
    Ok(axum::Json(whole).into_response())
}

/// `GET /api/v1/runs/RUN/jobs`.
async fn jobs(State(site): State<Arc<Site>>, run: Segments<String>, uri: Uri) -> Answered {
    let (_, jobs) = attempt_of(&site, run, &uri).await?;
    let jobs: Vec<Json> = jobs.iter().map(job_json).collect();
    Ok(axum::Json(json!({ "jobs": jobs })).into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogQuery {
    attempt: Option<u32>,
    after: Option<String>,
    limit: Option<u64>,
}

/// `GET /api/v1/runs/RUN/jobs/JOB/log`: a range of it.
async fn log_range(
    State(site): State<Arc<Site>>,
    of: Segments<(String, String)>,
    uri: Uri,
) -> Answered {
    let (run, job) = segments(of)?;
    let asked: LogQuery = query(&uri)?;
    let after = asked.after.as_deref().map(str::parse).transpose()?;
    let most = asked.limit.unwrap_or(log::MOST);
    if !(1..=log::MOST).contains(&most) {
        return Err(Problem::bad(format!("`limit` is 1 to {}", log::MOST)));
    }
    let of = log_of(&site, &run, &job, asked.attempt).await?;
    log::range(&site, &of, after, most).await
}

/// `GET /api/v1/runs/RUN/jobs/JOB/log.txt`: all of it.
async fn log_text(
    State(site): State<Arc<Site>>,
    of: Segments<(String, String)>,
    uri: Uri,
) -> Answered {
    let (run, job) = segments(of)?;
    let asked: AttemptQuery = query(&uri)?;
    let of = log_of(&site, &run, &job, asked.attempt).await?;
    log::text(&site, &of).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamQuery {
    attempt: Option<u32>,
    after: Option<String>,
}

/// `GET /api/v1/runs/RUN/jobs/JOB/log/stream`: what is printed, as it comes.
async fn log_stream(
    State(site): State<Arc<Site>>,
    of: Segments<(String, String)>,
    headers: HeaderMap,
    uri: Uri,
) -> Answered {
    let (run, job) = segments(of)?;
    let asked: StreamQuery = query(&uri)?;
    // A reader that comes again tells how far it came, whatever it asked for first.
    let last = match headers.get("last-event-id") {
        None => asked.after,
        Some(id) => Some(id.to_str().unwrap_or("?").to_owned()),
    };
    let after: Option<Place> = last
        .filter(|id| !id.is_empty())
        .map(|id| id.parse())
        .transpose()?;
    let of = log_of(&site, &run, &job, asked.attempt).await?;
    log::live(&site, of, after).await
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ApproveBody {
    commit: Option<String>,
}

/// `POST /api/v1/runs/RUN/approve`.
async fn approve(
    State(site): State<Arc<Site>>,
    Extension(Asker(by)): Extension<Asker>,
    run: Segments<String>,
    headers: HeaderMap,
    given: Given,
) -> Answered {
    let run = RunId(segments(run)?);
    let asked: ApproveBody = body(&headers, given)?;
    site.ledger
        .approve(&run, &by, asked.commit.as_deref())
        .await?;
    Ok((StatusCode::ACCEPTED, axum::Json(json!({ "id": run }))).into_response())
}

/// `POST /api/v1/runs/RUN/cancel`.
async fn cancel(State(site): State<Arc<Site>>, run: Segments<String>) -> Answered {
    let run = RunId(segments(run)?);
    site.ledger.cancel(&run).await?;
    Ok((StatusCode::ACCEPTED, axum::Json(json!({ "id": run }))).into_response())
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RerunBody {
    #[serde(default)]
    failed: bool,
    job: Option<String>,
}

/// `POST /api/v1/runs/RUN/rerun`.
async fn rerun(
    State(site): State<Arc<Site>>,
    run: Segments<String>,
    headers: HeaderMap,
    given: Given,
) -> Answered {
    let run = RunId(segments(run)?);
    let asked: RerunBody = body(&headers, given)?;
    let which = match (asked.job, asked.failed) {
        (Some(_), true) => return Err(Problem::bad("`failed` and `job` exclude each other")),
        (Some(job), false) => Rerun::Job(job),
        (None, true) => Rerun::Failed,
        (None, false) => Rerun::All,
    };
    let attempt = site.ledger.rerun(&run, &which).await?;
    let answer = json!({ "id": run, "attempt": attempt });
    Ok((StatusCode::ACCEPTED, axum::Json(answer)).into_response())
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct DispatchBody {
    #[serde(default)]
    workflow: String,
    #[serde(rename = "ref")]
    git_ref: Option<String>,
    #[serde(default)]
    inputs: serde_json::Map<String, Json>,
}

/// `POST /api/v1/repositories/OWNER/NAME/dispatches`.
async fn dispatched(
    State(site): State<Arc<Site>>,
    Extension(Asker(actor)): Extension<Asker>,
    repository: Segments<(String, String)>,
    headers: HeaderMap,
    given: Given,
) -> Answered {
    let (owner, name) = segments(repository)?;
    let name = format!("{owner}/{name}");
    let asked: DispatchBody = body(&headers, given)?;
    if asked.workflow.is_empty() {
        return Err(Problem::bad(
            "`workflow` is wanted: its path, its file's name, or its name",
        ));
    }
    let repository = site
        .repositories
        .values()
        .find(|known| known.name.eq_ignore_ascii_case(&name))
        .ok_or_else(|| Problem::absent(format!("the repository `{name}` is not watched")))?;
    let inputs: Object = asked
        .inputs
        .iter()
        .map(|(name, value)| (name.as_str(), Value::from(value)))
        .collect();
    let wanted = Dispatch {
        workflow: asked.workflow,
        git_ref: asked
            .git_ref
            .unwrap_or_else(|| repository.default_branch.clone()),
        inputs,
        actor,
    };
    let submitted = dispatch(&site.ledger, repository, &wanted).await?;
    if submitted.runs.is_empty() {
        let reasons: Vec<String> = submitted.verdicts.iter().map(ToString::to_string).collect();
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            reasons.join("; "),
        ));
    }
    let answer = json!({ "runs": submitted.runs });
    Ok((StatusCode::CREATED, axum::Json(answer)).into_response())
}

/// `GET /api/v1/secrets`: which there are, never what they are.
async fn secrets(State(site): State<Arc<Site>>) -> Answered {
    let secrets: Vec<Json> = site
        .ledger
        .secrets()
        .await?
        .iter()
        .map(|secret| {
            let scope = &secret.scope;
            json!({
                "name": secret.name, "repository": scope.repository, "environment": scope.environment,
                "event": scope.event, "changed_at": iso_time(secret.changed_at),
            })
        })
        .collect();
    Ok(axum::Json(json!({ "secrets": secrets })).into_response())
}

/// `GET /api/v1/tokens`: which there are, never what they are.
async fn tokens(State(site): State<Arc<Site>>) -> Answered {
    let now = site.ledger.now();
    let tokens: Vec<Json> = site
        .ledger
        .tokens()
        .await?
        .iter()
        .map(|token| {
            json!({
                "id": token.id, "name": token.name, "scope": token.scope,
                "counts": allowed_by(token, now).is_some(), "created_at": iso_time(token.created_at),
                "expires_at": token.expires_at.map(iso_time), "revoked_at": token.revoked_at.map(iso_time),
            })
        })
        .collect();
    Ok(axum::Json(json!({ "tokens": tokens })).into_response())
}

/// `DELETE /api/v1/tokens/TOKEN`.
async fn revoke(State(site): State<Arc<Site>>, token: Segments<String>) -> Answered {
    let token = segments(token)?;
    if site.ledger.revoke_token(&token).await? {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Err(Problem::absent(format!(
        "there is no token `{token}` that is not revoked"
    )))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Returns the places of the description, each with what it needs.
    fn described() -> BTreeMap<(String, String), Option<String>> {
        let document: Json = serde_json::from_str(OPENAPI).unwrap();
        let mut found = BTreeMap::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                if method == "parameters" {
                    continue;
                }
                let needs = operation["security"][0]["token"][0]
                    .as_str()
                    .map(str::to_owned);
                found.insert((method.clone(), path.clone()), needs);
            }
        }
        found
    }

    #[test]
    fn the_description_has_the_places_that_are_answered_and_no_others() {
        let answered: BTreeMap<_, _> = routes()
            .map(|route| {
                let methods = [
                    ("get", MethodFilter::GET),
                    ("post", MethodFilter::POST),
                    ("delete", MethodFilter::DELETE),
                ];
                let known = methods.iter().find(|(_, method)| *method == route.method);
                let method = known.unwrap().0.to_owned();
                let place = (method, route.path.to_owned());
                (place, route.needs.map(|scope| scope.as_str().to_owned()))
            })
            .collect();
        assert_eq!(described(), answered);
    }

    #[test]
    fn every_part_of_the_description_that_is_named_is_there() {
        let document: Json = serde_json::from_str(OPENAPI).unwrap();
        let text = document.to_string();
        let mut names = 0;
        for (at, _) in text.match_indices("\"$ref\":\"#") {
            let rest = &text[at + 9..];
            let pointer = rest.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
            names += 1;
        }
        assert!(names > 10, "{names}");
        for ((method, path), _) in described() {
            let item = &document["paths"][&path];
            for name in path.split('/').filter_map(|part| part.strip_prefix('{')) {
                let name = name.trim_end_matches('}');
                let lists = [&item["parameters"], &item[&method]["parameters"]];
                let is_there = lists
                    .iter()
                    .filter_map(|list| list.as_array())
                    .flatten()
                    .filter_map(|parameter| {
                        let pointer = parameter["$ref"].as_str()?.strip_prefix('#')?;
                        document.pointer(pointer)
                    })
                    .any(|parameter| parameter["name"] == name && parameter["in"] == "path");
                assert!(is_there, "{method} {path}: {name}");
            }
        }
    }
}
