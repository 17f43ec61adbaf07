//! What the actions of a deploy share: the job's open transaction, how it is opened and told of.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use crate::deploy::{
    Access, Begin, Ending, Event, PhaseError, Progress, Project, Settings, Transaction,
    ending_words,
};
use crate::engine::{ActionContext, ActionResult, Voice};
use crate::mask::Masker;
use crate::release::{HostName, Kind, Phase};
use crate::run::{DeployOutcome, DeployProgress};
use crate::ssh::Identity;

use super::project;

/// The job's open transaction, handed from step to step.
#[derive(Debug)]
pub(super) struct OpenDeploy {
    /// The transaction.
    pub(super) transaction: Transaction,
    /// Whether requests go to the new release by the wish of the workflow.
    pub(super) is_promoted: bool,
    /// Why no later step may carry it on.
    pub(super) failure: Option<String>,
}

/// Reads what a transaction needs beside the release.
pub(super) async fn settings(
    context: &ActionContext<'_>,
    project: &Arc<Project>,
) -> Result<Settings, String> {
    let of_github = |name: &str| {
        let value = context.github.get(name)?.to_display_string();
        Some(value).filter(|text| !text.is_empty())
    };
    let key = context.input("ssh-key").map(|text| {
        let _is_long_enough = context.masker.add(text);
        Identity::key("input `ssh-key`", format!("{text}\n"))
    });
    let access = Access {
        key,
        known_hosts: known_hosts(context)?,
        who: of_github("actor").unwrap_or_else(|| "runner".to_owned()),
        run: context
            .origin
            .map(str::to_owned)
            .or_else(|| of_github("run_id")),
        masker: context.masker.clone(),
    };
    let asking = Arc::clone(project);
    let settings = project::blocking(context, move || asking.settings(access));
    settings.await?.map_err(project::words)
}

/// Writes the input's lines to a file that ends with the job.
fn known_hosts(context: &ActionContext<'_>) -> Result<Vec<PathBuf>, String> {
    let Some(lines) = context.input("known-hosts") else {
        return Ok(Vec::new());
    };
    let name = format!("known_hosts_{}", uuid::Uuid::now_v7().simple());
    let path = context.temp.join(name);
    std::fs::write(&path, format!("{lines}\n"))
        .map_err(|error| format!("`{}` could not be written: {error}", path.display()))?;
    Ok(vec![path])
}

/// Returns how a transaction is to begin, by the inputs.
pub(super) fn begin(context: &ActionContext<'_>, kind: Kind) -> Begin {
    let abandon: BTreeSet<HostName> = project::list(context.input("abandon"))
        .iter()
        .map(HostName::new)
        .collect();
    Begin {
        abandon,
        ..Begin::new(kind)
    }
}

/// Carries the job's transaction on to a phase.
pub(super) async fn advance(context: &mut ActionContext<'_>, phase: Phase) -> ActionResult {
    let token = context.token.clone();
    let Some(deploy) = context.slots.get::<OpenDeploy>() else {
        return ActionResult::failure(
            "no deploy is open in this job: has `runner/ssh-deploy` run before this step?",
        );
    };
    if let Some(reason) = &deploy.failure {
        return ActionResult::failure(format!(
            "the deploy has failed and will be undone at the end of the job: {reason}"
        ));
    }
    if let Err(error) = deploy.transaction.advance_to(phase, &token).await {
        return ActionResult::failure(failed(deploy, error));
    }
    if phase >= Phase::Switched {
        deploy.is_promoted = true;
    }
    let reached = deploy.transaction.journal().phase;
    ActionResult::success().with_output("phase", reached.word())
}

/// Remembers why a transaction cannot be carried on.
pub(super) fn failed(deploy: &mut OpenDeploy, error: PhaseError) -> String {
    let reason = project::words(error);
    deploy.failure = Some(reason.clone());
    reason
}

/// Turns how a transaction ended into the end of a step; `error` is why it was not finished.
///
/// `is_wanted` is false where the ending is an undo that somebody caused before, so that the step
/// that carries it out has done its work.
pub(super) fn ended(
    context: &ActionContext<'_>,
    ending: &Ending,
    error: Option<PhaseError>,
    is_wanted: bool,
) -> ActionResult {
    let words = ending_words(ending);
    context.say(&format!("{words}\n"));
    let reason = error.map_or_else(
        || words.clone(),
        |error| format!("{}: {words}", project::words(error)),
    );
    let reason = context.masker.mask(&reason).as_str().to_owned();
    match ending {
        Ending::Succeeded => ActionResult::success(),
        Ending::Undone => ActionResult {
            failure: is_wanted.then_some(reason),
            deploy: Some(DeployOutcome::Undone),
            ..ActionResult::default()
        },
        Ending::Incomplete { .. } | Ending::Taken { .. } | Ending::Interrupted => ActionResult {
            failure: Some(reason),
            deploy: Some(DeployOutcome::UndoIncomplete),
            ..ActionResult::default()
        },
        Ending::Unfinished { .. } => ActionResult::failure(reason),
    }
}

/// Tells the log of a step what a transaction does.
#[derive(Debug)]
pub(super) struct Telling {
    voice: Arc<dyn Voice>,
    masker: Masker,
}

impl Telling {
    pub(super) fn new(context: &ActionContext<'_>) -> Arc<Self> {
        Arc::new(Self {
            voice: Arc::clone(&context.voice),
            masker: context.masker.clone(),
        })
    }

    fn say(&self, line: &str) {
        self.voice.say(self.masker.mask(&format!("{line}\n")));
    }

    fn progress(&self, phase: Phase, host: &HostName, text: &str, milliseconds: Option<u64>) {
        self.voice.deployment(DeployProgress {
            phase: self.masker.mask(phase.word()),
            host: Some(self.masker.mask(host.as_str())),
            text: self.masker.mask(text),
            milliseconds,
        });
    }
}

impl Progress for Telling {
    fn tell(&self, event: Event) {
        match event {
            Event::Opened { id } => self.say(&format!("transaction {id} is open")),
            Event::Began {
                host,
                phase,
                undoing,
            } => self.progress(phase, &host, direction(undoing, "begins"), None),
            Event::Did { op, took } => self.say(&format!("{op} ({} ms)", took.as_millis())),
            Event::Reached {
                host,
                phase,
                undoing,
                took,
                waits: _,
            } => {
                let milliseconds = u64::try_from(took.as_millis()).ok();
                self.progress(phase, &host, direction(undoing, "done"), milliseconds);
            }
            Event::Failed {
                op,
                reason,
                best_effort,
            } => {
                let weight = if best_effort { "warning" } else { "failed" };
                self.say(&format!("{weight}: {op}: {reason}"));
            }
            Event::Notice(text) => self.say(&text),
        }
    }
}

fn direction(undoing: bool, word: &'static str) -> &'static str {
    match (undoing, word) {
        (false, word) => word,
        (true, "begins") => "undo begins",
        (true, _) => "undone",
    }
}
