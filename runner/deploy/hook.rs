//! Kamal's hooks: programs of the project that run on this machine around a deploy.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::{
    machine,
    project::Project,
    settings::{SecretTexts, Settings},
};
use crate::{
    kamal::{HookOutput, HooksOutput},
    mask::{MaskStream, Masked, MaskedBytes, Masker},
    process::{self, OutputSink, ProcessSpec, StartError, Stop, StopReason},
};

/// The hooks that see the project's secrets.
const WITH_SECRETS: [&str; 3] = ["pre-connect", "pre-deploy", "post-deploy"];
/// How many lines of a hook that failed are shown.
const LINES: usize = 20;

/// The hooks of a project.
#[derive(Debug, Clone)]
pub struct Hooks {
    folder: PathBuf,
    directory: PathBuf,
    env: Arc<BTreeMap<String, String>>,
    secrets: Arc<SecretTexts>,
    masker: Masker,
    output: HooksOutput,
    who: String,
    service: String,
    destination: Option<String>,
}

/// What a hook is told; its variables are Kamal's.
#[derive(Debug, Clone, Default)]
pub struct HookFacts {
    /// The verb, as `deploy`.
    pub command: String,
    /// What the verb is asked for, as `boot` of `app boot`.
    pub subcommand: Option<String>,
    /// The release.
    pub version: String,
    /// The service with the release, as `app@abc1234`.
    pub service_version: String,
    /// The servers.
    pub hosts: Vec<String>,
    /// Whether the deploy lock is held.
    pub has_lock: bool,
    /// How long the deploy took, for `post-deploy`.
    pub runtime: Option<Duration>,
}

/// A hook did not let the deploy go on.
#[derive(Debug, Error)]
pub enum HookError {
    /// The user's hook: it ended with a code.
    #[error("hook `{hook}` ended with code {code}{lines}")]
    Failed {
        /// The hook.
        hook: String,
        /// Its exit code.
        code: i32,
        /// Its last lines, as an appendix.
        lines: String,
    },
    /// Somebody cancelled.
    #[error("hook `{hook}` was cancelled")]
    Cancelled {
        /// The hook.
        hook: String,
    },
    /// The user's file or the machine: it could not be started.
    #[error("hook `{hook}` could not be started: is it executable, and its first line right?")]
    Start {
        /// The hook.
        hook: String,
        /// Why.
        #[source]
        source: StartError,
    },
}

impl Hooks {
    /// The hooks of a project, for whom `settings` name.
    pub fn of(project: &Project, settings: &Settings) -> Self {
        Self {
            folder: project.folder().join(&project.config.hooks_path),
            directory: project.folder().to_owned(),
            env: project.whole_env(),
            secrets: Arc::clone(&settings.secrets),
            masker: settings.masker.clone(),
            output: project.config.hooks_output.clone(),
            who: settings.who.clone(),
            service: project.config.service.clone(),
            destination: project.config.destination.clone(),
        }
    }

    /// Tells whether the project has a hook.
    pub fn has(&self, hook: &str) -> bool {
        self.folder.join(hook).is_file()
    }

    /// Runs a hook to its end, if the project has it; returns how long it took.
    ///
    /// `say` gets its output, masked, where `hooks_output` or `is_verbose` wants it.
    ///
    /// # Errors
    /// It failed, was cancelled or could not be started.
    pub async fn run(
        &self,
        hook: &str,
        facts: &HookFacts,
        (is_verbose, say): (bool, &mut (dyn FnMut(&Masked) + Send)),
        cancel: &CancellationToken,
    ) -> Result<Option<Duration>, HookError> {
        if !self.has(hook) {
            return Ok(None);
        }
        let began = Instant::now();
        let is_shown = is_verbose || self.output.of(hook) == Some(HookOutput::Verbose);
        let mut sink = HookSink {
            stream: self.masker.stream(),
            masked: MaskedBytes::default(),
            kept: Vec::new(),
            say: is_shown.then_some(say),
        };
        let spec = ProcessSpec {
            program: self.folder.join(hook),
            arguments: Vec::new(),
            env: self.variables(hook, facts),
            directory: self.directory.clone(),
        };
        let stop = Stop {
            token: cancel.clone(),
            limit: None,
        };
        let exit = process::run(&spec, &mut sink, &stop).await;
        let hook = hook.to_owned();
        match exit {
            Err(source) => Err(HookError::Start { hook, source }),
            Ok(exit) if exit.stopped == Some(StopReason::Cancelled) => {
                Err(HookError::Cancelled { hook })
            }
            Ok(exit) if exit.code == 0 => Ok(Some(began.elapsed())),
            Ok(exit) => Err(HookError::Failed {
                hook,
                code: exit.code,
                lines: sink.last_lines(),
            }),
        }
    }

    fn variables(&self, hook: &str, facts: &HookFacts) -> Vec<(OsString, OsString)> {
        let mut env: BTreeMap<&str, String> = BTreeMap::new();
        for (name, value) in self.env.iter() {
            env.insert(name, value.clone());
        }
        if WITH_SECRETS.contains(&hook) {
            for (name, value) in self.secrets.iter() {
                env.insert(name, value.to_owned());
            }
        }
        for (name, value) in [
            ("KAMAL_RECORDED_AT", machine::now().to_string()),
            ("KAMAL_PERFORMER", self.who.clone()),
            ("KAMAL_VERSION", facts.version.clone()),
            ("KAMAL_SERVICE_VERSION", facts.service_version.clone()),
            ("KAMAL_SERVICE", self.service.clone()),
            ("KAMAL_HOSTS", facts.hosts.join(",")),
            ("KAMAL_COMMAND", facts.command.clone()),
            ("KAMAL_LOCK", facts.has_lock.to_string()),
        ] {
            env.insert(name, value);
        }
        let runtime = facts.runtime.map(|time| time.as_secs().to_string());
        for (name, value) in [
            ("KAMAL_SUBCOMMAND", facts.subcommand.clone()),
            ("KAMAL_DESTINATION", self.destination.clone()),
            ("KAMAL_RUNTIME", runtime),
        ] {
            match value {
                Some(value) => drop(env.insert(name, value)),
                None => drop(env.remove(name)),
            }
        }
        env.into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }
}

/// Masks what a hook says, shows it where that is wanted, and keeps its last lines.
struct HookSink<'a> {
    stream: MaskStream,
    masked: MaskedBytes,
    kept: Vec<String>,
    say: Option<&'a mut (dyn FnMut(&Masked) + Send)>,
}

impl HookSink<'_> {
    fn take(&mut self, text: &Masked) {
        if let Some(say) = self.say.as_mut() {
            say(text);
        }
        self.kept.extend(text.as_str().lines().map(str::to_owned));
        let surplus = self.kept.len().saturating_sub(LINES);
        self.kept.drain(..surplus);
    }

    fn last_lines(&self) -> String {
        if self.kept.is_empty() {
            return "; it said nothing".to_owned();
        }
        let lines = self.kept.iter().map(|line| format!("\n    {line}"));
        format!("; its last lines:{}", lines.collect::<String>())
    }
}

impl OutputSink for HookSink<'_> {
    fn push(&mut self, bytes: &[u8]) {
        self.stream.push(bytes, &mut self.masked);
        if let Some(lines) = self.masked.take_lines() {
            self.take(&lines.into_text());
        }
    }

    fn finish(&mut self) {
        self.stream.flush(&mut self.masked);
        if !self.masked.is_empty() {
            let rest = std::mem::take(&mut self.masked).into_text();
            self.take(&rest);
        }
    }
}
