//! The only entrance of events: which workflows they start, and that they start each once.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value as Json;
use thiserror::Error;

use super::admission::{dispatch_inputs, is_due, skip_reason};
use super::context::{RunContext, github_context};
use super::document::RunDocument;
use super::ledger::{Ledger, LedgerError, NewRun, RefMove, SkippedWorkflow};
use super::post::context;
use super::repository::{Repository, WORKFLOW_FOLDERS};
use super::source::{ReadError, parse_workflow};
use crate::engine::unsupported;
use crate::event::TriggerEvent;
use crate::expression::{Object, Value};
use crate::git::MirrorError;
use crate::run::RunId;
use crate::store::EventRow;
use crate::workflow::Workflow;

/// An event that came in, with what makes it one.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// What happened.
    pub event: TriggerEvent,
    /// What makes it one, whatever way it came.
    pub key: String,
    /// The ref that it is about.
    pub git_ref: String,
    /// The commit that it is about: its workflow files count, and it is checked out.
    pub sha: String,
    /// Where the event says that a ref stands now; `None` in it where the ref is gone.
    pub moved: Option<(String, Option<String>)>,
    /// Where the store said that this ref stood when somebody looked; `None` for who did not look
    /// there.
    pub seen_from: Option<Option<String>>,
    /// Only this workflow: its path, its file's name, or its name.
    pub workflow: Option<String>,
    /// The inputs that a dispatch was given.
    pub inputs: Object,
    /// Whether it comes from a fork.
    pub is_fork: bool,
    /// Whether someone must let its runs begin.
    pub awaits_approval: bool,
}

impl Incoming {
    /// Returns the commit beside which runs are shown: of a pull request the newest of its own, not
    /// the one that a merge would make.
    fn shown_sha(&self) -> &str {
        let head = self.event.text(&["pull_request", "head", "sha"]);
        head.unwrap_or(&self.sha)
    }
}

/// An event could not be taken in.
#[derive(Debug, Error)]
pub enum SubmitError {
    /// The repository's copy cannot be read.
    #[error(transparent)]
    Repository(#[from] MirrorError),
    /// It cannot be recorded.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// What became of an event for one workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The workflow file.
    pub path: String,
    /// Why it does not run; none where it does.
    pub reason: Option<String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            None => write!(f, "{} runs", self.path),
            Some(reason) => write!(f, "{} does not run: {reason}", self.path),
        }
    }
}

/// What became of an event.
#[derive(Debug, Clone, Default)]
pub struct Submitted {
    /// The new runs.
    pub runs: Vec<RunId>,
    /// Of each workflow whether it runs, and why not.
    pub verdicts: Vec<Verdict>,
}

/// Takes in an event: every workflow of its commit that it starts becomes a run, once.
///
/// An event that was taken in before starts nothing. Workflow files that are not valid are told of
/// in the verdicts and hold up no others.
pub async fn submit(
    ledger: &Ledger,
    repository: &Repository,
    incoming: &Incoming,
) -> Result<Submitted, SubmitError> {
    let texts = match &incoming.moved {
        // A ref that is gone has no files; GitHub runs nothing but `delete` then.
        Some((_, None)) => BTreeMap::new(),
        _ => repository.workflow_texts(&incoming.sha)?,
    };
    let mut runs = Vec::new();
    let mut skipped = Vec::new();
    let mut verdicts = Vec::new();
    for path in texts.keys().filter(|path| is_workflow(path)) {
        match new_run((ledger, repository), incoming, path, &texts) {
            Ok(Some(run)) => {
                verdicts.push(Verdict {
                    path: path.clone(),
                    reason: None,
                });
                runs.push(run);
            }
            Ok(None) => {}
            Err(NoRun { reason, filtered }) => {
                if let Some(name) = filtered {
                    skipped.extend(skipped_workflow(
                        repository,
                        incoming,
                        (path, &name),
                        &reason,
                    ));
                }
                verdicts.push(Verdict {
                    path: path.clone(),
                    reason: Some(reason),
                });
            }
        }
    }
    let masker = repository.masker();
    let lines: Vec<String> = verdicts.iter().map(ToString::to_string).collect();
    let row = EventRow {
        repository: repository.name.clone(),
        event_key: incoming.key.clone(),
        event: incoming.event.name.clone(),
        git_ref: incoming.git_ref.clone(),
        sha: incoming.sha.clone(),
        outcome: masker.mask(&lines.join("\n")).as_str().to_owned(),
        at: ledger.now(),
    };
    let moved = incoming.moved.as_ref().map(|(name, after)| RefMove {
        name: name.clone(),
        after: after.clone(),
        seen_from: incoming.seen_from.clone(),
    });
    let added = ledger
        .take_in(&row, moved.as_ref(), &runs, &skipped)
        .await?;
    Ok(Submitted {
        runs: added,
        verdicts,
    })
}

/// Tells whether a file can be a workflow: the folders are not looked into deeper.
fn is_workflow(path: &str) -> bool {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    WORKFLOW_FOLDERS.contains(&folder)
}

/// Why an event starts no run of a workflow.
struct NoRun {
    /// In words.
    reason: String,
    /// The workflow's name, where it runs on such events and a filter shut this one out.
    filtered: Option<String>,
}

impl From<String> for NoRun {
    fn from(reason: String) -> Self {
        Self {
            reason,
            filtered: None,
        }
    }
}

/// Returns what GitHub is told of a workflow that a filter shut out; nothing where that is not
/// wanted.
fn skipped_workflow(
    repository: &Repository,
    incoming: &Incoming,
    (path, name): (&str, &str),
    reason: &str,
) -> Option<SkippedWorkflow> {
    if !repository.reports || !repository.reports_skipped {
        return None;
    }
    let masker = repository.masker();
    let masked = |text: &str| masker.mask(text).as_str().to_owned();
    Some(SkippedWorkflow {
        repository: repository.name.clone(),
        context: context(&masked(name), &incoming.event.name),
        reason: masked(reason),
        workflow: path.to_owned(),
        report: repository.report(incoming.shown_sha()),
    })
}

/// Returns the run that an event starts of a workflow; none where another one is wanted, or why
/// there is none, in words.
fn new_run(
    (ledger, repository): (&Ledger, &Repository),
    incoming: &Incoming,
    path: &str,
    texts: &BTreeMap<String, String>,
) -> Result<Option<NewRun>, NoRun> {
    let text = texts.get(path).cloned().unwrap_or_default();
    let named = |workflow: Option<&Workflow>| match &incoming.workflow {
        None => true,
        Some(wanted) => {
            let file = path.rsplit('/').next().unwrap_or(path);
            let name = workflow.and_then(|workflow| workflow.name.as_ref());
            wanted == path || wanted == file || name.is_some_and(|name| name.value == *wanted)
        }
    };
    let file = match parse_workflow(text, path) {
        Ok((file, _)) => file,
        Err(_) if !named(None) => return Ok(None),
        Err(ReadError::Invalid { diagnostics, .. }) => {
            let first = diagnostics.iter().find(|problem| problem.is_error());
            return Err(NoRun::from(format!(
                "the file is not valid: {}",
                first.map_or(String::new(), ToString::to_string)
            )));
        }
        Err(error @ ReadError::File { .. }) => return Err(NoRun::from(error.to_string())),
    };
    let workflow = &file.workflow;
    if !named(Some(workflow)) {
        return Ok(None);
    }
    if let Some(reason) = skip_reason(workflow, &incoming.event, repository.mirror.folder())
        .map_err(|error| format!("a filter cannot be used: {error}"))?
    {
        let name = workflow.name.as_ref();
        let name = name.map_or(path, |name| name.value.as_str()).to_owned();
        return Err(NoRun {
            reason,
            filtered: is_due(workflow, &incoming.event).then_some(name),
        });
    }
    let labels = (!ledger.is_shared()).then(|| ledger.labels());
    if let Some(problem) = unsupported(workflow, labels).first() {
        let reason = format!("it asks for what is not supported: {problem}");
        return Err(NoRun::from(reason));
    }
    let inputs = dispatch_inputs(workflow, &incoming.event, &incoming.inputs)
        .map_err(|error| format!("{error}; {}", error.hint))?;
    Ok(Some(described(
        repository,
        incoming,
        (workflow, path),
        &inputs,
        texts,
    )))
}

fn described(
    repository: &Repository,
    incoming: &Incoming,
    (workflow, path): (&Workflow, &str),
    inputs: &Value,
    texts: &BTreeMap<String, String>,
) -> NewRun {
    let github = github_context(&RunContext {
        workflow,
        path,
        event: &incoming.event,
        inputs,
        repository: Some(&repository.name),
        server_url: repository.server_url.as_deref(),
        git_ref: Some(&incoming.git_ref),
        is_ref_certain: true,
        sha: Some(&incoming.sha),
        actor: None,
        run_id: "0",
        run_number: 0,
        token: "",
    });
    let commit = repository.mirror.commit(&incoming.sha).unwrap_or_default();
    let title = incoming
        .event
        .text(&["pull_request", "title"])
        .unwrap_or_else(|| commit.message.lines().next().unwrap_or_default());
    let actor = incoming.event.actor().unwrap_or(&commit.author).to_owned();
    let masker = repository.masker();
    let masked = |text: &str| masker.mask(text).as_str().to_owned();
    let name = workflow
        .name
        .as_ref()
        .map_or(path, |name| name.value.as_str());
    let mut document = RunDocument::new(path, texts.clone());
    document.github = Json::from(&github);
    document.vars = Json::from(&repository.vars_value());
    document.inputs = Json::from(inputs);
    document.is_fork = incoming.is_fork;
    document.reruns_lost = repository.reruns_lost;
    // Of a pull request the base is named, but what fails is not in it.
    let default = format!("refs/heads/{}", repository.default_branch);
    let is_pull_request = incoming.event.name.starts_with("pull_request");
    document.is_default_branch = incoming.git_ref == default && !is_pull_request;
    document.report = repository
        .reports
        .then(|| repository.report(incoming.shown_sha()));
    NewRun {
        repository: repository.name.clone(),
        name: masked(name),
        event: incoming.event.name.clone(),
        event_key: incoming.key.clone(),
        git_ref: incoming.git_ref.clone(),
        sha: incoming.sha.clone(),
        actor: masked(&actor),
        title: masked(title),
        document,
        awaits_approval: incoming.awaits_approval,
    }
}
