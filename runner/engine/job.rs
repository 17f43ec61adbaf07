//! A whole job: set-up, steps, what comes after the last one, outputs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::action::{Fault, Slots};
use super::containers::{ContainerOrders, FarMachine, RunningContainers};
use super::context::{Frame, StepScope, env_context, text, text_map};
use super::environment;
use super::files::Folders;
use super::matching::Matchers;
use super::output::StepVoice;
use super::post::Post;
use super::step::minutes;
use super::{EngineOptions, JobOrder, JobReport};
use crate::executor::{HostSandbox, Sandbox};
use crate::expression::{Object, Value};
use crate::mask::Masker;
use crate::plan::JobPlan;
use crate::report::Recorder;
use crate::run::{Annotation, AnnotationLevel, Conclusion, DeployOutcome, JobEnd, RunEvent};
use crate::workflow::{JobBody, StepsJob};

use super::action::Voice as _;

/// How long a job may take where it does not say so.
///
/// Source: GitHub, `jobs.<job_id>.timeout-minutes`.
const DEFAULT_LIMIT: Duration = Duration::from_secs(360 * 60);

/// How long a cancelled job has for the steps that still run where it does not say so.
///
/// Source: GitHub, `cancel-timeout-minutes`.
const DEFAULT_CANCEL_LIMIT: Duration = Duration::from_secs(5 * 60);

/// The contexts that stay the same for all steps of a job.
#[derive(Debug)]
pub(super) struct Contexts {
    pub(super) github: Value,
    pub(super) inputs: Value,
    pub(super) vars: Value,
    pub(super) secrets: Value,
    pub(super) needs: Value,
    pub(super) strategy: Value,
    pub(super) matrix: Value,
    pub(super) runner: Value,
}

/// A job that runs.
#[derive(Debug)]
pub(super) struct JobRun {
    pub(super) plan: Box<JobPlan>,
    pub(super) options: Arc<EngineOptions>,
    pub(super) masker: Masker,
    pub(super) recorder: Recorder,
    pub(super) cancel: CancellationToken,
    pub(super) force: CancellationToken,
    pub(super) contexts: Contexts,
    pub(super) folders: Folders,
    pub(super) sandbox: Arc<dyn Sandbox>,
    pub(super) running: RunningContainers,
    /// Whether commands on another machine ran since the workspace was fetched from there.
    pub(super) is_workspace_stale: bool,
    /// `env` of workflow and job, with what `GITHUB_ENV` changed.
    pub(super) env: BTreeMap<String, String>,
    env_value: Option<Value>,
    pub(super) fixed_env: BTreeMap<String, String>,
    /// What `GITHUB_PATH` added, first one first.
    pub(super) path: Vec<String>,
    pub(super) is_failed: bool,
    /// The steps' share of a limit that stands above theirs, of a composite action's step.
    pub(super) deadline: Option<Instant>,
    pub(super) posts: Vec<Post>,
    /// What the `pre` of an action saved, by the place of its step in the file.
    pub(super) pre_state: BTreeMap<usize, BTreeMap<String, String>>,
    /// The problem matchers that steps have added.
    pub(super) matchers: Matchers,
    pub(super) slots: Slots,
    pub(super) deploy: Option<DeployOutcome>,
    steps: u32,
    files: usize,
}

/// Runs a job to its end and tells how it ended.
///
/// Never fails: a fault of ours or the machine's is the job's failure with its reason.
pub async fn run_job(order: JobOrder) -> JobReport {
    let began = Instant::now();
    let key = order.plan.key;
    let recorder = order.recorder.clone();
    let masker = order.masker.clone();
    recorder.record(&RunEvent::JobStarted { job: key });
    let mut report = match JobRun::set_up(order) {
        Ok(mut job) => {
            let report = job.run().await;
            job.folders.remove();
            report
        }
        Err(fault) => JobReport::failed(&fault, &masker),
    };
    if let Some(reason) = &report.end.reason {
        let voice = StepVoice {
            recorder: recorder.clone(),
            job: key,
            step: 0,
        };
        voice.annotate(Annotation::new(AnnotationLevel::Error, reason.clone()));
    }
    report.end.milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    recorder.record(&RunEvent::JobFinished {
        job: key,
        end: report.end.clone(),
    });
    report
}

/// The time limits of a job.
#[derive(Debug, Default)]
struct Limits {
    whole: Option<Duration>,
    after_cancel: Option<Duration>,
}

impl JobReport {
    fn failed(fault: &Fault, masker: &Masker) -> Self {
        Self {
            end: JobEnd {
                conclusion: Conclusion::Failure,
                reason: Some(masker.mask(&fault.chain())),
                milliseconds: 0,
                deploy: None,
                is_timed_out: false,
            },
            outputs: Object::new(),
        }
    }
}

impl JobRun {
    fn set_up(order: JobOrder) -> Result<Self, Fault> {
        let JobOrder {
            plan,
            github,
            vars,
            secrets,
            masker,
            recorder,
            cancel,
            force,
            options,
        } = order;
        let repository = github
            .get("repository")
            .map(Value::to_display_string)
            .unwrap_or_default();
        let folders = Folders::create(&options.work, &repository)?;
        let tracking = format!("github_{}", uuid::Uuid::now_v7());
        let sandbox: Arc<dyn Sandbox> =
            Arc::new(HostSandbox::new(options.base_env.clone(), tracking));
        let locate = |path: &Path| sandbox.path_inside(path);
        let runner = runner_context(&options, (&folders, None), &locate);
        folders.write_event(&github)?;
        let github = github.as_object().cloned().unwrap_or_default();
        let github = github.with("job", plan.id.as_str()).into();
        let github = located_github(&github, &folders, &locate);
        let contexts = Contexts {
            inputs: plan.inputs.clone(),
            vars,
            secrets: secrets.into(),
            needs: plan.needs.clone(),
            strategy: plan.strategy.clone(),
            matrix: plan.matrix.clone(),
            runner,
            github,
        };
        let fixed_env = environment::fixed(&contexts.github, &contexts.runner);
        Ok(Self {
            plan,
            options,
            masker,
            recorder,
            cancel,
            force,
            contexts,
            folders,
            sandbox,
            running: RunningContainers::default(),
            is_workspace_stale: false,
            env: BTreeMap::new(),
            env_value: None,
            fixed_env,
            path: Vec::new(),
            is_failed: false,
            deadline: None,
            posts: Vec::new(),
            pre_state: BTreeMap::new(),
            matchers: Matchers::default(),
            slots: Slots::default(),
            deploy: None,
            steps: 0,
            files: 0,
        })
    }

    async fn run(&mut self) -> JobReport {
        let plan = self.plan.clone();
        let Some(JobBody::Steps(body)) = plan.job().map(|job| &job.body) else {
            return JobReport::failed(
                &Fault::new("the job has no steps", "it calls a workflow"),
                &self.masker,
            );
        };
        let (limits, orders) = match self.evaluate_all(body) {
            Ok(evaluated) => evaluated,
            Err(reason) => {
                self.is_failed = true;
                return self.report(Some(reason), false, Object::new());
            }
        };
        let whole = limits.whole.unwrap_or(DEFAULT_LIMIT);
        let after_cancel = limits.after_cancel.unwrap_or(DEFAULT_CANCEL_LIMIT);
        let (cancel, force) = (self.cancel.clone(), self.force.clone());
        let guard = CancellationToken::new();
        let watch = watch_limits(cancel, force, guard.clone(), (whole, after_cancel));
        let work = async {
            let result = match self.open_containers(&orders).await {
                Ok(()) => self.run_all(body).await,
                Err(fault) => Err(fault),
            };
            guard.cancel();
            result
        };
        let (result, is_timed_out) = tokio::join!(work, watch);
        let sandbox = Arc::clone(&self.sandbox);
        sandbox.close().await;
        self.close_containers().await;
        match result {
            Ok(outputs) => {
                let reason = is_timed_out.then(|| {
                    format!(
                        "the job ran into its time limit of {} and was cancelled",
                        humantime::format_duration(whole)
                    )
                });
                self.report(reason, is_timed_out, outputs)
            }
            Err(fault) => {
                self.is_failed = true;
                self.report(Some(fault.chain()), is_timed_out, Object::new())
            }
        }
    }

    /// Runs everything in order: the actions' `pre`, the steps, what comes after them, the outputs.
    async fn run_all(&mut self, body: &StepsJob) -> Result<Object, Fault> {
        let mut frame = Frame::job();
        if let Err(reason) = self.check_actions(&body.steps) {
            self.is_failed = true;
            return Err(Fault {
                what: reason,
                source: None,
            });
        }
        self.run_pre(&body.steps, &mut frame).await?;
        self.run_steps(&mut frame, &body.steps).await?;
        self.run_posts(&mut frame).await?;
        Ok(self.outputs(body, &frame))
    }

    /// Evaluates what a job says of itself before its first step; an error in words fails it.
    fn evaluate_all(&mut self, body: &StepsJob) -> Result<(Limits, ContainerOrders), String> {
        let limits = self.evaluate_set_up(body)?;
        let orders = self.container_orders(body)?;
        if orders.job.is_none() {
            return Ok((limits, orders));
        }
        // The steps run in the container, so `github.workspace` is a folder there, also in `env`.
        self.folders
            .open_to_containers()
            .map_err(|fault| fault.chain())?;
        let mounts = self.job_mounts();
        self.relocate(&|path| mounts.path_inside(path));
        self.env.clear();
        self.env_value = None;
        Ok((self.evaluate_set_up(body)?, orders))
    }

    fn evaluate_set_up(&mut self, body: &StepsJob) -> Result<Limits, String> {
        let plan = self.plan.clone();
        let workflow_env = plan.file.workflow.env.as_ref();
        for token in workflow_env.into_iter().chain(body.env.as_ref()) {
            let pairs = {
                let frame = Frame::job();
                let env = env_context(&BTreeMap::new());
                text_map(token, &self.scope(&frame, &env))
                    .map_err(|error| format!("`env`: {error}"))?
            };
            self.set_env(pairs);
        }
        let extra: Vec<_> = self
            .options
            .extra_env
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        self.set_env(extra);
        let frame = Frame::job();
        let env = self.env_value();
        let scope = self.scope(&frame, &env);
        let limit = |token: Option<&crate::workflow::Token>| match token {
            Some(token) => minutes(&text(token, &scope)?),
            None => Ok(None),
        };
        Ok(Limits {
            whole: limit(body.timeout_minutes.as_ref())?,
            after_cancel: limit(body.cancel_timeout_minutes.as_ref())?,
        })
    }

    /// Returns the job's outputs; one with a secret in it is left out with a warning.
    fn outputs(&self, body: &StepsJob, frame: &Frame) -> Object {
        let mut outputs = Object::new();
        let env = env_context(&self.env);
        let scope = self.scope(frame, &env);
        let voice = StepVoice {
            recorder: self.recorder.clone(),
            job: self.plan.key,
            step: 0,
        };
        for (name, token) in &body.outputs {
            let warn = |reason: &str| {
                let message = self.masker.mask(reason);
                voice.annotate(Annotation::new(AnnotationLevel::Warning, message));
            };
            match text(token, &scope) {
                Err(error) => warn(&format!("output `{name}` is left out: {error}")),
                Ok(value) if value.is_empty() => {}
                Ok(value) if self.masker.finds_secret_in(&value) => {
                    warn(&format!(
                        "output `{name}` is left out: it may contain a secret"
                    ));
                }
                Ok(value) => outputs.insert(name.as_str(), value),
            }
        }
        outputs
    }

    fn report(&self, reason: Option<String>, is_timed_out: bool, outputs: Object) -> JobReport {
        let conclusion = if self.is_cancelled() {
            Conclusion::Cancelled
        } else if self.is_failed {
            Conclusion::Failure
        } else {
            Conclusion::Success
        };
        JobReport {
            end: JobEnd {
                conclusion,
                reason: reason.map(|reason| self.masker.mask(&reason)),
                milliseconds: 0,
                deploy: self.deploy,
                is_timed_out,
            },
            outputs,
        }
    }

    pub(super) fn scope<'s>(&'s self, frame: &'s Frame, env: &'s Value) -> StepScope<'s> {
        StepScope {
            job: self,
            frame,
            env,
            step_name: "",
            as_cancelled: false,
        }
    }

    /// Tells whether someone or something ended the job.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Returns how the job stands.
    pub(super) fn status(&self) -> Conclusion {
        if self.is_cancelled() {
            Conclusion::Cancelled
        } else if self.is_failed {
            Conclusion::Failure
        } else {
            Conclusion::Success
        }
    }

    /// Returns the context `job`.
    pub(super) fn job_context(&self) -> Value {
        Object::new()
            .with("status", self.status().as_str())
            .with("container", Value::from(self.running.container.clone()))
            .with("services", Value::from(self.running.services.clone()))
            .into()
    }

    /// Returns the context `env` where no step adds to it.
    pub(super) fn env_value(&mut self) -> Value {
        let env = &self.env;
        self.env_value
            .get_or_insert_with(|| env_context(env))
            .clone()
    }

    /// Sets variables for the steps that follow.
    pub(super) fn set_env(&mut self, variables: Vec<(String, String)>) {
        if !variables.is_empty() {
            self.env.extend(variables);
            self.env_value = None;
        }
    }

    pub(super) fn next_step(&mut self) -> u32 {
        self.steps += 1;
        self.steps
    }

    pub(super) fn next_file(&mut self) -> usize {
        self.files += 1;
        self.files
    }
}

/// Cancels a job at its time limit, and ends a cancelled one that does not end; tells whether the
/// limit was why.
async fn watch_limits(
    cancel: CancellationToken,
    force: CancellationToken,
    done: CancellationToken,
    (whole, after_cancel): (Duration, Duration),
) -> bool {
    let is_timed_out = tokio::select! {
        () = done.cancelled() => return false,
        () = cancel.cancelled() => false,
        () = tokio::time::sleep(whole) => {
            cancel.cancel();
            true
        }
    };
    tokio::select! {
        () = done.cancelled() => {}
        () = tokio::time::sleep(after_cancel) => force.cancel(),
    }
    is_timed_out
}

/// Returns the context `runner`.
pub(super) fn runner_context(
    options: &EngineOptions,
    (folders, far): (&Folders, Option<&FarMachine>),
    locate: &dyn Fn(&Path) -> String,
) -> Value {
    let arch = match far.map_or(std::env::consts::ARCH, |far| &far.architecture) {
        "x86_64" | "amd64" => "X64",
        "aarch64" | "arm64" => "ARM64",
        "arm" => "ARM",
        "x86" | "386" => "X86",
        other => other,
    };
    let workspace = folders.workspace.parent().unwrap_or(&folders.workspace);
    let runner = Object::new()
        .with("name", far.map_or_else(host_name, |far| far.name.clone()))
        .with("os", "Linux")
        .with("arch", arch)
        .with("environment", "self-hosted")
        .with("temp", locate(&folders.temp))
        .with("tool_cache", locate(&folders.tools))
        .with("workspace", locate(workspace));
    if options.is_debug {
        runner.with("debug", "1").into()
    } else {
        runner.into()
    }
}

/// Returns this machine's name, as the kernel tells it.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// Returns the context `github` with the places of this job's files.
pub(super) fn located_github(
    github: &Value,
    folders: &Folders,
    locate: &dyn Fn(&Path) -> String,
) -> Value {
    let github = github.as_object().cloned().unwrap_or_default();
    github
        .with("workspace", locate(&folders.workspace))
        .with("event_path", locate(&folders.event()))
        .into()
}
