//! Jobs: with steps, or calling another workflow.

use indexmap::IndexMap;

use crate::workflow::model::{
    CallJob, CallSecrets, Condition, Job, JobBody, Located, RunDefaults, StepsJob,
};
use crate::workflow::token::{Token, TokenKind};

use super::inputs::pairs;
use super::names::Names;
use super::reader::Reader;
use super::{container, needs, reference, step, strategy, triggers};

/// Reads `jobs`; leaves out those that are wrong, which is reported.
pub(super) fn all(
    reader: &mut Reader<'_>,
    token: &Token,
    always: &Condition,
) -> IndexMap<String, Job> {
    let mut names = Names::default();
    let mut jobs = IndexMap::new();
    let mut graph = Vec::new();
    for (key, value) in token.as_mapping().unwrap_or_default() {
        let Some(id) = key.as_literal() else { continue };
        if id.is_empty() {
            continue;
        }
        if let Err(refusal) = names.take(id) {
            let message = format!("job id `{id}` {}", refusal.reason());
            reader.error("job-id", &key.span, message);
        }
        let id = Located {
            value: id.to_owned(),
            span: key.span.clone(),
        };
        let needed = value.get("needs").map(triggers::located_texts);
        graph.push(needs::Node {
            id: id.clone(),
            needs: needed.unwrap_or_default(),
        });
        if let Some(job) = one(reader, id, value, always) {
            jobs.insert(job.id.value.clone(), job);
        }
    }
    if token.as_mapping().is_some() {
        needs::check(reader, &graph, &token.span);
    }
    jobs
}

fn one(
    reader: &mut Reader<'_>,
    id: Located<String>,
    token: &Token,
    always: &Condition,
) -> Option<Job> {
    token.as_mapping()?;
    let condition = step::condition(reader, token, always);
    let strategy = token
        .get("strategy")
        .map(|strategy| strategy::read(reader, strategy));
    if let Some(concurrency) = token.get("concurrency") {
        container::check_concurrency(reader, concurrency);
    }
    let body = if let Some(uses) = token.get("uses") {
        JobBody::Call(call(reader, token, uses)?)
    } else {
        let steps = step::all_of(reader, token.get("steps"), always);
        JobBody::Steps(Box::new(with_steps(reader, token, steps)?))
    };
    Some(Job {
        id,
        name: token.get("name").cloned(),
        needs: token
            .get("needs")
            .map(triggers::located_texts)
            .unwrap_or_default(),
        condition,
        strategy,
        concurrency: token.get("concurrency").cloned(),
        permissions: token.get("permissions").cloned(),
        body,
    })
}

fn with_steps(
    reader: &mut Reader<'_>,
    token: &Token,
    steps: Vec<crate::workflow::model::Step>,
) -> Option<StepsJob> {
    step::warn_of_fraction(reader, token.get("timeout-minutes"));
    step::warn_of_fraction(reader, token.get("cancel-timeout-minutes"));
    if let Some(container) = token.get("container") {
        container::check(reader, container, false);
    }
    if let Some(services) = token.get("services") {
        container::check_services(reader, services);
    }
    if let Some(snapshot) = token.get("snapshot") {
        container::check_snapshot(reader, snapshot);
    }
    let runs_on = token.get("runs-on")?;
    container::check_runs_on(reader, runs_on);
    let of = |key: &str| token.get(key).cloned();
    Some(StepsJob {
        runs_on: runs_on.clone(),
        env: of("env"),
        defaults: defaults(reader, token),
        timeout_minutes: of("timeout-minutes"),
        cancel_timeout_minutes: of("cancel-timeout-minutes"),
        continue_on_error: of("continue-on-error"),
        outputs: token.get("outputs").map(named).unwrap_or_default(),
        container: of("container"),
        services: of("services"),
        environment: of("environment"),
        snapshot: of("snapshot"),
        steps,
    })
}

fn call(reader: &mut Reader<'_>, token: &Token, uses: &Token) -> Option<CallJob> {
    let secrets = match token.get("secrets") {
        Some(secrets) if secrets.as_literal() == Some("inherit") => CallSecrets::Inherit,
        Some(secrets) => CallSecrets::Named(named(secrets)),
        None => CallSecrets::Named(IndexMap::new()),
    };
    Some(CallJob {
        uses: reference::workflow(reader, uses)?,
        with: token.get("with").map(named).unwrap_or_default(),
        secrets,
    })
}

/// Returns the values of a mapping by their keys.
fn named(token: &Token) -> IndexMap<String, Token> {
    pairs(token)
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .collect()
}

/// Returns `defaults.run` of a workflow or a job.
pub(super) fn defaults(reader: &mut Reader<'_>, token: &Token) -> RunDefaults {
    let Some(run) = token
        .get("defaults")
        .and_then(|defaults| defaults.get("run"))
    else {
        return RunDefaults::default();
    };
    let whole = matches!(run.kind, TokenKind::Expression(_)).then(|| run.clone());
    step::warn_of_shell(reader, run.get("shell"));
    RunDefaults {
        whole,
        shell: run.get("shell").cloned(),
        working_directory: run.get("working-directory").cloned(),
    }
}
