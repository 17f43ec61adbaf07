//! Kamal's hooks around the verbs: which runs when, what it is told, and what is said of it.

use std::time::Duration;

use super::{release::Stop, show::seconds, site::Site, stop};
use crate::{
    cli::{
        error::{CliError, ErrorKind},
        write_line, write_raw,
    },
    deploy::{HookError, HookFacts, Hooks},
    kamal::{World as _, abbreviated_version},
    mask::Masked,
};

/// Hooks of Kamal that have no place in these verbs: `deploy` does not build.
const ELSEWHERE: &str = "pre-build";

/// Which verb was called, as hooks are told it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Called {
    /// As `app`.
    pub(super) command: &'static str,
    /// As `boot` of `app boot`.
    pub(super) subcommand: Option<&'static str>,
}

impl Called {
    /// A verb of one word.
    pub(super) const fn verb(command: &'static str) -> Self {
        Self {
            command,
            subcommand: None,
        }
    }

    /// A verb of two words.
    pub(super) const fn sub(command: &'static str, subcommand: &'static str) -> Self {
        Self {
            command,
            subcommand: Some(subcommand),
        }
    }
}

/// What is known when a hook runs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moment<'a> {
    /// The release, where there is one.
    pub(super) version: Option<&'a str>,
    /// Whether the lock is held.
    pub(super) has_lock: bool,
    /// How long the deploy took.
    pub(super) runtime: Option<Duration>,
}

impl Site {
    /// Tells whether a hook would run.
    pub(super) fn has_hook(&self, hook: &str) -> bool {
        !self.skips_hooks && Hooks::of(&self.project, &self.settings).has(hook)
    }

    /// Runs a hook, if the project has it and nobody said that hooks are to be skipped.
    pub(super) async fn hook(
        &self,
        hook: &str,
        moment: Moment<'_>,
        stop: &Stop,
    ) -> Result<(), HookError> {
        if !self.has_hook(hook) {
            return Ok(());
        }
        let config = &self.project.config;
        let given = self.project.world().env("VERSION");
        let version = moment.version.map(str::to_owned).or(given);
        let version = version.unwrap_or_else(|| "unknown".to_owned());
        let spec = self.spec_of(&version, None, None);
        let hosts = spec.map(|spec| spec.hosts()).unwrap_or_default();
        let facts = HookFacts {
            command: self.called.command.to_owned(),
            subcommand: self.called.subcommand.map(str::to_owned),
            service_version: format!("{}@{}", config.service, abbreviated_version(&version)),
            version,
            hosts: hosts.iter().map(ToString::to_string).collect(),
            has_lock: moment.has_lock,
            runtime: moment.runtime,
        };
        let mut say = |text: &Masked| write_raw(text.as_str());
        let output: (bool, &mut (dyn FnMut(&Masked) + Send)) = (self.is_verbose, &mut say);
        let hooks = Hooks::of(&self.project, &self.settings);
        let took = hooks.run(hook, &facts, output, &stop.cancel).await?;
        if let Some(took) = took {
            let text = format!("hook {hook}");
            write_line(&format!("  {text:<35} {:>8}", seconds(took)));
        }
        Ok(())
    }

    /// Runs a hook where nothing was changed yet; one that fails ends the command.
    pub(super) async fn hook_before(&self, hook: &str) -> Result<(), CliError> {
        let stop = Stop::default();
        let moment = Moment::default();
        let ran = stop::with_signals(&stop, self.hook(hook, moment, &stop)).await;
        ran.map_err(|error| {
            CliError::new(ErrorKind::Environment, "nothing was done").because(error)
        })
    }

    /// Says which hook does not run here, though Kamal would run it.
    pub(super) fn name_elsewhere(&self) {
        if self.has_hook(ELSEWHERE) {
            crate::cli::write_note(&format!(
                "note: `{ELSEWHERE}` is not run: `deploy` does not build; call it as a step before `runner/build-image`"
            ));
        }
    }
}
