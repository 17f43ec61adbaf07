//! The files of a job whose commands run on another machine: when they go there and come back.
//!
//! Scripts and command files go with each step and come back after it. The workspace is kept there;
//! this host's copy is for what this program itself reads: its own actions, actions that lie in the
//! workspace, and `hashFiles`. It is fetched when one of these needs it and commands ran since.

use super::action::Fault;
use super::files::CommandFiles;
use super::job::JobRun;
use crate::executor::SandboxError;
use crate::workflow::{Step, StepBody, Token, TokenKind};

impl JobRun {
    /// Makes this host's copy of the workspace what commands have made of it; the error is in words.
    pub(super) async fn fetch_workspace(&mut self) -> Result<(), String> {
        if !self.is_workspace_stale {
            return Ok(());
        }
        let fetched = self.sandbox.fetch(&self.folders.workspace).await;
        fetched.map_err(|error| {
            Fault::new(
                "the workspace could not be fetched from the machine where the job runs",
                error,
            )
            .chain()
        })?;
        self.is_workspace_stale = false;
        Ok(())
    }

    /// Lets commands see the workspace as this host has it; the error is in words.
    pub(super) async fn send_workspace(&mut self) -> Result<(), String> {
        let sent = self.sandbox.replace(&self.folders.workspace).await;
        sent.map_err(|error| {
            Fault::new(
                "the workspace could not be copied to the machine where the job runs",
                error,
            )
            .chain()
        })
    }

    /// Lets a step's command see its script and its command files.
    pub(super) async fn send_step(&self, files: &CommandFiles) -> Result<(), SandboxError> {
        self.sandbox.send(&[&files.folder]).await
    }

    /// Takes back what a step's command left in its command files.
    pub(super) async fn fetch_step(&mut self, files: &CommandFiles) -> Result<(), SandboxError> {
        self.is_workspace_stale |= !self.sandbox.shares_files();
        self.sandbox.fetch(&files.folder).await
    }
}

/// Tells whether an expression of a step can ask for files of the workspace.
pub(super) fn asks_for_files(step: &Step) -> bool {
    let of_body = match &step.body {
        StepBody::Run {
            script,
            shell,
            working_directory,
        } => vec![Some(script), shell.as_ref(), working_directory.as_ref()],
        StepBody::Uses { with, .. } => vec![with.as_ref()],
        _ => Vec::new(),
    };
    let own = [
        step.name.as_ref(),
        step.env.as_ref(),
        step.continue_on_error.as_ref(),
        step.timeout_minutes.as_ref(),
    ];
    names_it(&step.condition.text)
        || own
            .into_iter()
            .chain(of_body)
            .flatten()
            .any(token_asks_for_files)
}

fn token_asks_for_files(token: &Token) -> bool {
    match &token.kind {
        TokenKind::Expression(template) => names_it(template.text()),
        TokenKind::Sequence(items) => items.iter().any(token_asks_for_files),
        TokenKind::Mapping(pairs) => pairs
            .iter()
            .any(|(key, value)| token_asks_for_files(key) || token_asks_for_files(value)),
        _ => false,
    }
}

/// Names of functions are the same in any case; that a text speaks of one costs a copy at most.
fn names_it(text: &str) -> bool {
    text.to_ascii_lowercase().contains("hashfiles")
}
