//! One step: its condition, its variables, its time limit, and how its end counts.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::action::{Fault, Voice as _};
use super::context::{Frame, StepScope, env_context, text, text_map};
use super::files::{CommandFiles, CommandPath, MAX_SUMMARY};
use super::job::JobRun;
use super::matching::Matching;
use super::output::{CommandEffects, OutputSettings, StepOutput, StepVoice};
use super::syncing::asks_for_files;
use crate::executor::{CommandSpec, SandboxError};
use crate::expression::{Object, Value};
use crate::process::{LeftBehind, ProcessExit, StopReason};
use crate::run::command_file::{self, CommandFile};
use crate::run::{Annotation, AnnotationLevel, Conclusion, RunEvent, Stream};
use crate::workflow::{Step, StepBody};

/// The longest name of a step that is made of its script's first line.
const MAX_NAME: usize = 100;

/// What one step needs while it runs.
#[derive(Debug)]
pub(super) struct StepCall<'a> {
    pub(super) step: &'a Step,
    /// All its variables but `GITHUB_*` and `RUNNER_*`.
    pub(super) env: BTreeMap<String, String>,
    /// The same as the context `env`.
    pub(super) env_value: Value,
    /// Numbers its files.
    pub(super) file_number: usize,
    pub(super) voice: StepVoice,
    /// When it is to be ended.
    pub(super) deadline: Option<Instant>,
    /// Whether it goes on when the job is cancelled.
    pub(super) survives_cancel: bool,
    /// When it began.
    pub(super) began: Instant,
}

impl StepCall<'_> {
    pub(super) fn scope<'s>(&'s self, job: &'s JobRun, frame: &'s Frame) -> StepScope<'s> {
        StepScope {
            job,
            frame,
            env: &self.env_value,
            step_name: &self.step.context_name,
            as_cancelled: false,
        }
    }

    pub(super) fn fail(&self, job: &JobRun, reason: &str) {
        let message = job.masker.mask(reason);
        self.voice
            .annotate(Annotation::new(AnnotationLevel::Error, message));
    }
}

/// How a step ended, before `continue-on-error`.
#[derive(Debug)]
pub(super) struct StepEnd {
    pub(super) outcome: Conclusion,
    pub(super) outputs: Object,
}

impl StepEnd {
    pub(super) fn bare(outcome: Conclusion) -> Self {
        Self {
            outcome,
            outputs: Object::new(),
        }
    }
}

/// A program to be run for a step.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) argv: Vec<String>,
    pub(super) directory: String,
    /// Variables beside those of the step: inputs, state.
    pub(super) extra: BTreeMap<String, String>,
}

/// What a program left behind.
#[derive(Debug)]
pub(super) struct ProgramEnd {
    pub(super) end: StepEnd,
    /// What it saved for its `post`.
    pub(super) state: BTreeMap<String, String>,
    /// What it left running.
    pub(super) left: LeftBehind,
}

impl JobRun {
    /// Runs steps one after the other; a failed one does not stop the loop, since each later one
    /// decides by its own condition.
    pub(super) async fn run_steps(
        &mut self,
        frame: &mut Frame,
        steps: &[Step],
    ) -> Result<(), Fault> {
        for step in steps {
            self.run_step(frame, step).await?;
        }
        Ok(())
    }

    /// Runs one step, if its condition says so, and notes how it ended.
    pub(super) async fn run_step(&mut self, frame: &mut Frame, step: &Step) -> Result<(), Fault> {
        let is_top = frame.depth == 0;
        let number = if is_top { self.next_step() } else { frame.step };
        let mut call = self.call(frame, step, number);
        if asks_for_files(step)
            && let Err(reason) = self.fetch_workspace().await
        {
            // The function says so where it is called.
            tracing::debug!(reason, "no files for an expression");
        }

        let scope = call.scope(self, frame);
        let condition = step
            .condition
            .expression
            .evaluate(&scope)
            .map(|value| value.is_truthy());
        let name = self.step_name(step, &scope);
        if matches!(condition, Ok(false)) {
            self.finish_step(
                frame,
                &call,
                &name,
                (Conclusion::Skipped, Conclusion::Skipped),
            );
            frame.record(
                &step.context_name,
                &Object::new(),
                Conclusion::Skipped,
                Conclusion::Skipped,
            );
            return Ok(());
        }
        if is_top {
            let name = self.masker.mask(&name);
            self.recorder.record(&RunEvent::StepStarted {
                job: self.plan.key,
                step: number,
                name,
            });
        }
        let end = match condition {
            Err(error) => {
                call.fail(
                    self,
                    &format!(
                        "the condition `{}` could not be evaluated: {error}",
                        step.condition.text
                    ),
                );
                StepEnd::bare(Conclusion::Failure)
            }
            Ok(_) => match self.prepare(&mut call, frame) {
                Ok(()) => Box::pin(self.run_body(&call, frame)).await?,
                Err(reason) => {
                    call.fail(self, &reason);
                    StepEnd::bare(Conclusion::Failure)
                }
            },
        };
        let conclusion = self.conclude(&call, frame, end.outcome);
        if conclusion == Conclusion::Failure {
            frame.is_failed = true;
            self.is_failed |= is_top;
        }
        self.finish_step(frame, &call, &name, (end.outcome, conclusion));
        frame.record(&step.context_name, &end.outputs, end.outcome, conclusion);
        Ok(())
    }

    fn call<'s>(&mut self, frame: &Frame, step: &'s Step, number: u32) -> StepCall<'s> {
        let mut env = self.env.clone();
        let env_value = if frame.env.is_empty() {
            self.env_value()
        } else {
            env.extend(
                frame
                    .env
                    .iter()
                    .map(|(name, value)| (name.clone(), value.clone())),
            );
            env_context(&env)
        };
        let voice = StepVoice {
            recorder: self.recorder.clone(),
            job: self.plan.key,
            step: number,
        };
        StepCall {
            step,
            env,
            env_value,
            file_number: self.next_file(),
            voice,
            deadline: self.deadline,
            survives_cancel: false,
            began: Instant::now(),
        }
    }

    /// Evaluates what a step says of itself before it runs; an error in words fails it.
    fn prepare(&self, call: &mut StepCall<'_>, frame: &Frame) -> Result<(), String> {
        let step = call.step;
        let scope = call.scope(self, frame);
        let survives_cancel = {
            let scope = StepScope {
                as_cancelled: true,
                ..call.scope(self, frame)
            };
            step.condition
                .expression
                .evaluate(&scope)
                .is_ok_and(|value| value.is_truthy())
        };
        let limit = match &step.timeout_minutes {
            Some(token) => minutes(
                &text(token, &scope).map_err(|error| format!("`timeout-minutes`: {error}"))?,
            )?,
            None => None,
        };
        let own = match &step.env {
            // Its entries do not see one another: all are evaluated before one counts.
            Some(token) => text_map(token, &scope).map_err(|error| format!("`env`: {error}"))?,
            None => Vec::new(),
        };
        if !own.is_empty() {
            call.env.extend(own);
            call.env_value = env_context(&call.env);
        }
        call.survives_cancel = survives_cancel;
        if let Some(limit) = limit {
            let deadline = Instant::now() + limit;
            call.deadline = Some(call.deadline.map_or(deadline, |outer| outer.min(deadline)));
        }
        Ok(())
    }

    async fn run_body(&mut self, call: &StepCall<'_>, frame: &Frame) -> Result<StepEnd, Fault> {
        match &call.step.body {
            StepBody::Run {
                script,
                shell,
                working_directory,
            } => {
                let parts = (script, shell.as_ref(), working_directory.as_ref());
                match self.script_program(call, frame, parts).await? {
                    Ok((program, script)) => {
                        let done = self.run_program(call, frame, program).await?;
                        self.folders.take_back_script(script, done.left);
                        Ok(done.end)
                    }
                    Err(reason) => {
                        call.fail(self, &reason);
                        Ok(StepEnd::bare(Conclusion::Failure))
                    }
                }
            }
            StepBody::Uses { uses, with } => {
                self.run_uses(call, frame, &uses.value, with.as_ref()).await
            }
            StepBody::Wait(_) | StepBody::WaitAll | StepBody::Cancel(_) | StepBody::Parallel(_) => {
                call.fail(self, "background steps are not supported");
                Ok(StepEnd::bare(Conclusion::Failure))
            }
        }
    }

    /// Runs a program for a step and takes in what it said by commands and command files.
    ///
    /// What it left in its files counts also when it failed.
    pub(super) async fn run_program(
        &mut self,
        call: &StepCall<'_>,
        frame: &Frame,
        program: Program,
    ) -> Result<ProgramEnd, Fault> {
        let for_container = self.sandbox.is_container();
        let files = self
            .folders
            .command_files(call.file_number, for_container)
            .map_err(|source| {
                Fault::new("the command files of the step could not be made", source)
            })?;
        let mut env = self.step_env(frame, &call.step.context_name, &call.env);
        env.extend(program.extra);
        for (name, path) in files.variables() {
            env.insert(name.to_owned(), self.sandbox.path_inside(path));
        }
        let is_set = |name: &str| env.get(name).is_some_and(|value| value == "true");
        let settings = OutputSettings {
            is_debug: self.options.is_debug,
            allows_unsecure: is_set("ACTIONS_ALLOW_UNSECURE_COMMANDS"),
            allows_any_token: is_set("ACTIONS_ALLOW_UNSECURE_STOPCOMMAND_TOKENS"),
        };
        let (mut sink, effects) = StepOutput::new(
            call.voice.clone(),
            &self.masker,
            settings,
            Matching::new(
                &self.matchers,
                std::sync::Arc::clone(&self.sandbox),
                &self.folders.workspace,
            ),
        );
        let command = CommandSpec {
            argv: program.argv,
            env,
            path: self.path.clone(),
            directory: program.directory,
        };
        let sandbox = std::sync::Arc::clone(&self.sandbox);
        let token = self.force.child_token();
        let stop = crate::process::Stop {
            token: token.clone(),
            limit: call
                .deadline
                .map(|deadline| deadline.saturating_duration_since(Instant::now())),
        };
        let mut exit = match self.send_step(&files).await {
            Ok(()) => {
                let run = sandbox.run(&command, &mut sink, &stop);
                self.watch_cancel(call, &token, run).await
            }
            Err(error) => Err(error),
        };
        if exit.is_ok()
            && let Err(error) = self.fetch_step(&files).await
        {
            exit = Err(error);
        }
        let mut effects =
            std::mem::take(&mut *effects.lock().unwrap_or_else(PoisonError::into_inner));
        let problem = self.take_files(&files, call, &mut effects);
        let left = match &exit {
            // Who writes to a copy does not write to the file.
            _ if !sandbox.shares_files() => LeftBehind::Something,
            Ok(exit) => exit.left,
            Err(_) => LeftBehind::NothingSeen,
        };
        self.folders.take_back(files, left);
        let outcome = self.program_outcome(call, exit, problem.or(effects.failure).as_deref());
        let outputs = effects.outputs.into_iter().collect();
        Ok(ProgramEnd {
            end: StepEnd { outcome, outputs },
            state: effects.state,
            left,
        })
    }

    /// Awaits the work of a step and cancels `token` with the job, unless its condition says that
    /// the step goes on.
    pub(super) async fn watch_cancel<T>(
        &self,
        call: &StepCall<'_>,
        token: &CancellationToken,
        work: impl Future<Output = T>,
    ) -> T {
        tokio::pin!(work);
        if call.survives_cancel {
            return work.await;
        }
        tokio::select! {
            result = &mut work => return result,
            () = self.cancel.cancelled() => token.cancel(),
        }
        work.await
    }

    fn program_outcome(
        &self,
        call: &StepCall<'_>,
        exit: Result<ProcessExit, SandboxError>,
        problem: Option<&str>,
    ) -> Conclusion {
        let exit = match exit {
            Ok(exit) => exit,
            Err(error @ SandboxError::Lost { .. }) => {
                call.fail(self, &error.to_string());
                return Conclusion::Failure;
            }
            Err(error) => {
                // The program is the user's choice, so this is the step's failure.
                call.fail(
                    self,
                    &Fault::new("the step could not be started", error).chain(),
                );
                return Conclusion::Failure;
            }
        };
        match exit.stopped {
            Some(StopReason::Cancelled) => {
                self.print_runner(call, "the step was cancelled");
                return Conclusion::Cancelled;
            }
            Some(StopReason::TimedOut) => {
                call.fail(self, "the step ran into its time limit and was ended");
                return Conclusion::Failure;
            }
            None => {}
        }
        if exit.code != 0 {
            call.fail(
                self,
                &format!("Process completed with exit code {}.", exit.code),
            );
        }
        if let Some(problem) = problem {
            call.fail(self, problem);
        }
        if exit.code == 0 && problem.is_none() {
            Conclusion::Success
        } else {
            Conclusion::Failure
        }
    }

    /// Takes in the command files; returns what is wrong with them.
    fn take_files(
        &mut self,
        files: &CommandFiles,
        call: &StepCall<'_>,
        effects: &mut CommandEffects,
    ) -> Option<String> {
        let mut problem = None;
        let mut values = |path: &CommandPath, file: CommandFile| {
            let Some(bytes) = path.read() else {
                return Vec::new();
            };
            let found = command_file::read(file, &bytes);
            for name in &found.refused {
                call.fail(
                    self,
                    &format!(
                        "`{name}` cannot be set by GITHUB_ENV: it would run code in later steps"
                    ),
                );
            }
            if let Some(error) = found.error {
                problem.get_or_insert(error.to_string());
            }
            found.values.into_iter().collect()
        };
        let mut variables = std::mem::take(&mut effects.env);
        variables.extend(values(&files.env, CommandFile::Env));
        effects
            .outputs
            .extend(values(&files.output, CommandFile::Output));
        effects
            .state
            .extend(values(&files.state, CommandFile::State));
        if let Some(bytes) = files.path.read() {
            effects.path.extend(command_file::read_path(&bytes));
        }
        self.set_env(variables);
        command_file::prepend_path(&mut self.path, effects.path.drain(..));
        self.take_summary(files, call);
        problem
    }

    fn take_summary(&self, files: &CommandFiles, call: &StepCall<'_>) {
        let size = files.summary.size();
        if size > MAX_SUMMARY {
            call.fail(
                self,
                &format!(
                    "the summary has {size} bytes; the most is {MAX_SUMMARY}, so it is left out"
                ),
            );
            return;
        }
        if let Some(bytes) = files.summary.read() {
            let text = self.masker.mask(&String::from_utf8_lossy(&bytes));
            self.recorder.record(&RunEvent::Summary {
                job: self.plan.key,
                step: call.voice.step,
                text,
            });
        }
    }

    /// Applies `continue-on-error`, which is asked only of a failed step.
    fn conclude(&self, call: &StepCall<'_>, frame: &Frame, outcome: Conclusion) -> Conclusion {
        let (Conclusion::Failure, Some(token)) = (outcome, &call.step.continue_on_error) else {
            return outcome;
        };
        match token.evaluate(&call.scope(self, frame)) {
            Ok(value) if value.is_truthy() => Conclusion::Success,
            Ok(_) => outcome,
            Err(error) => {
                call.fail(self, &format!("`continue-on-error`: {error}"));
                outcome
            }
        }
    }

    /// Tells how a step of the job itself ended.
    pub(super) fn finish_step(
        &self,
        frame: &Frame,
        call: &StepCall<'_>,
        name: &str,
        (outcome, conclusion): (Conclusion, Conclusion),
    ) {
        if frame.depth > 0 {
            return;
        }
        self.recorder.record(&RunEvent::StepFinished {
            job: self.plan.key,
            step: call.voice.step,
            name: self.masker.mask(name),
            outcome,
            conclusion,
            milliseconds: u64::try_from(call.began.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
    }

    fn print_runner(&self, call: &StepCall<'_>, text: &str) {
        call.voice.print(Stream::Runner, self.masker.mask(text));
    }

    fn step_name(&self, step: &Step, scope: &StepScope<'_>) -> String {
        let own = step.name.as_ref().and_then(|name| text(name, scope).ok());
        own.filter(|name| !name.is_empty())
            .unwrap_or_else(|| match &step.body {
                StepBody::Run { script, .. } => {
                    let script = text(script, scope).unwrap_or_default();
                    let line = script
                        .lines()
                        .find(|line| !line.trim().is_empty())
                        .unwrap_or_default();
                    format!(
                        "Run {}",
                        line.trim().chars().take(MAX_NAME).collect::<String>()
                    )
                }
                StepBody::Uses { uses, .. } => format!("Run {}", uses.value),
                StepBody::Wait(_) | StepBody::WaitAll => "Wait".to_owned(),
                StepBody::Cancel(_) => "Cancel".to_owned(),
                StepBody::Parallel(_) => "Parallel".to_owned(),
            })
    }
}

/// Reads minutes, also with a fraction; none where they are 0 or left out.
pub(super) fn minutes(text: &str) -> Result<Option<Duration>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let minutes: f64 = text
        .parse()
        .map_err(|_| format!("`timeout-minutes` must be a number, not `{text}`"))?;
    let limit = Duration::try_from_secs_f64(minutes * 60.0)
        .map_err(|_| format!("`timeout-minutes` must be a number of minutes, not `{text}`"))?;
    Ok((!limit.is_zero()).then_some(limit))
}
