//! Actions that are a container: `docker://image`, or a Dockerfile in the action's folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use tokio::time::Instant;

use super::action::Fault;
use super::containers::{HOME, WORKFLOW};
use super::context::{Frame, StepScope, text, text_map};
use super::environment::input_variable;
use super::job::JobRun;
use super::post::{Post, PostKind};
use super::resolve::{FoundAction, FoundKind};
use super::step::{Program, StepCall, StepEnd};
use crate::docker::DEFAULT_SOCKET;
use crate::executor::{ActionSandbox, ContainerError, ContainerOrder, Mounts, split_arguments};
use crate::expression::Object;
use crate::run::{Conclusion, Stream};
use crate::workflow::{ActionRuns, Token};

/// Where the container of an action sees the job's folders.
///
/// Source: GitHub, "Dockerfile support", and `ContainerActionHandler` of its runner.
const WORKSPACE: &str = "/github/workspace";
const TEMP: &str = "/github/runner_temp";
const COMMANDS: &str = "/github/file_commands";

/// The stages of an action and what runs in each.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stage<'a> {
    /// `pre-entrypoint`.
    Pre(&'a str),
    /// `entrypoint`.
    Main,
    /// `post-entrypoint`.
    Post(&'a str),
}

/// What a container action needs for one of its stages.
#[derive(Debug, Clone)]
pub(super) struct ContainerCall {
    pub(super) found: FoundAction,
    pub(super) inputs: BTreeMap<String, String>,
    pub(super) state: BTreeMap<String, String>,
}

/// A container that is ready to be run.
struct Ready {
    image: String,
    entrypoint: Option<String>,
    arguments: Vec<String>,
    extra: BTreeMap<String, String>,
}

impl JobRun {
    /// Runs a step whose action is an image: `with` is its environment, its `args` and
    /// `entrypoint` what runs in it.
    pub(super) async fn run_image(
        &mut self,
        call: &StepCall<'_>,
        frame: &Frame,
        image: &str,
        with: Option<&Token>,
    ) -> Result<StepEnd, Fault> {
        let given = match with {
            Some(with) => text_map(with, &call.scope(self, frame)),
            None => Ok(Vec::new()),
        };
        let given = match given {
            Ok(given) => given,
            Err(error) => {
                call.fail(self, &format!("`with`: {error}"));
                return Ok(StepEnd::bare(Conclusion::Failure));
            }
        };
        let inputs: BTreeMap<String, String> = given
            .into_iter()
            .map(|(name, value)| (name.to_lowercase(), value))
            .collect();
        let ready = Ready {
            image: image.to_owned(),
            entrypoint: inputs.get("entrypoint").cloned(),
            arguments: split_arguments(inputs.get("args").map_or("", String::as_str)),
            extra: input_variables(&inputs),
        };
        Ok(self.run_ready(call, frame, ready).await?.0)
    }

    /// Runs the main stage of a container action; its `post` is due whatever comes of it.
    pub(super) async fn run_container_main(
        &mut self,
        call: &StepCall<'_>,
        frame: &Frame,
        found: &FoundAction,
        inputs: BTreeMap<String, String>,
    ) -> Result<StepEnd, Fault> {
        let mut container = ContainerCall {
            found: found.clone(),
            inputs,
            state: self
                .pre_state
                .remove(&call.step.span.bytes.start)
                .unwrap_or_default(),
        };
        let (end, state) = self
            .run_container(call, frame, &container, Stage::Main)
            .await?;
        if let ActionRuns::Docker {
            post: Some((entrypoint, condition)),
            ..
        } = &found.manifest.runs
        {
            container.state.extend(state);
            let name = format!("Post {}", call.step.context_name.trim_start_matches('_'));
            self.posts.push(Post {
                name,
                kind: PostKind::Container {
                    container,
                    entrypoint: entrypoint.clone(),
                    condition: condition.clone(),
                    env: self.own_env(call),
                },
            });
        }
        Ok(end)
    }

    /// Runs one stage of a container action; returns also what it saved for its `post`.
    pub(super) async fn run_container(
        &mut self,
        call: &StepCall<'_>,
        frame: &Frame,
        container: &ContainerCall,
        stage: Stage<'_>,
    ) -> Result<(StepEnd, BTreeMap<String, String>), Fault> {
        let mut ready = match self.evaluate_container(call, frame, container, stage) {
            Ok(ready) => ready,
            Err(reason) => {
                call.fail(self, &reason);
                return Ok((StepEnd::bare(Conclusion::Failure), BTreeMap::new()));
            }
        };
        if let (FoundKind::Folder(folder), None) =
            (&container.found.kind, ready.image.strip_prefix("docker://"))
        {
            let dockerfile = folder.join(&ready.image);
            match self.build_image(call, &dockerfile).await {
                Ok(Some(image)) => ready.image = image,
                Ok(None) => return Ok((self.interrupted(call), BTreeMap::new())),
                Err(error) => {
                    let fault = Fault::new("the image of the action could not be built", error);
                    call.fail(self, &fault.chain());
                    return Ok((StepEnd::bare(Conclusion::Failure), BTreeMap::new()));
                }
            }
        }
        self.run_ready(call, frame, ready).await
    }

    /// Evaluates what an action says of its container.
    ///
    /// What the action's file says stands above the step's `args` and `entrypoint`; its `env` does
    /// not change what is set already. Source: `ContainerActionHandler` of GitHub's runner.
    fn evaluate_container(
        &self,
        call: &StepCall<'_>,
        frame: &Frame,
        container: &ContainerCall,
        stage: Stage<'_>,
    ) -> Result<Ready, String> {
        let ContainerCall {
            found,
            inputs,
            state,
        } = container;
        let ActionRuns::Docker {
            image,
            entrypoint,
            arguments,
            env,
            ..
        } = &found.manifest.runs
        else {
            return Err("the action is no container".to_owned());
        };
        let inner = Frame {
            inputs: Some(
                inputs
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str()))
                    .collect::<Object>()
                    .into(),
            ),
            action: Some(found.identity.clone()),
            depth: frame.depth + 1,
            ..Frame::job()
        };
        let scope = StepScope {
            frame: &inner,
            ..call.scope(self, frame)
        };
        let own: Vec<String> = arguments
            .iter()
            .map(|token| text(token, &scope))
            .collect::<Result<_, _>>()
            .map_err(|error| format!("`args` of the action: {error}"))?;
        let mut extra = input_variables(inputs);
        for (name, token) in env {
            let value = text(token, &scope)
                .map_err(|error| format!("`env` of the action: `{name}`: {error}"))?;
            if !call.env.contains_key(name) {
                extra.insert(name.clone(), value);
            }
        }
        let saved = state.iter();
        extra.extend(saved.map(|(name, value)| (format!("STATE_{name}"), value.clone())));
        let identity = &found.identity;
        for (name, value) in [
            ("GITHUB_ACTION_PATH", &identity.path),
            ("GITHUB_ACTION_REPOSITORY", &identity.repository),
            ("GITHUB_ACTION_REF", &identity.reference),
        ] {
            extra.insert(name.to_owned(), value.clone());
        }
        let given = |name: &str| inputs.get(name).filter(|value| !value.is_empty());
        Ok(Ready {
            image: image.clone(),
            entrypoint: match stage {
                Stage::Pre(entrypoint) | Stage::Post(entrypoint) => Some(entrypoint.to_owned()),
                Stage::Main => entrypoint.as_ref().or(given("entrypoint")).cloned(),
            },
            arguments: if arguments.is_empty() {
                split_arguments(given("args").map_or("", String::as_str))
            } else {
                own
            },
            extra,
        })
    }

    /// Builds an action's image; none if the step was ended in the meantime.
    async fn build_image(
        &mut self,
        call: &StepCall<'_>,
        dockerfile: &Path,
    ) -> Result<Option<String>, ContainerError> {
        let containers = self.containers().await?;
        let (voice, masker) = (call.voice.clone(), self.masker.clone());
        let mut on_line = |line: &[u8]| {
            let line = String::from_utf8_lossy(line);
            voice.print(Stream::Runner, masker.mask(line.trim_end()));
        };
        let build = Box::pin(containers.build_action(dockerfile, &mut on_line));
        let token = self.force.child_token();
        let deadline = async {
            match call.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let work = async {
            tokio::select! {
                built = build => built.map(Some),
                () = token.cancelled() => Ok(None),
                () = deadline => Ok(None),
            }
        };
        self.watch_cancel(call, &token, work).await
    }

    fn interrupted(&self, call: &StepCall<'_>) -> StepEnd {
        let is_late = call
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline);
        if is_late {
            call.fail(self, "the step ran into its time limit and was ended");
            StepEnd::bare(Conclusion::Failure)
        } else {
            StepEnd::bare(Conclusion::Cancelled)
        }
    }

    /// Runs a container as the program of a step.
    async fn run_ready(
        &mut self,
        call: &StepCall<'_>,
        frame: &Frame,
        ready: Ready,
    ) -> Result<(StepEnd, BTreeMap<String, String>), Fault> {
        self.folders.open_to_containers()?;
        let containers = match self.containers().await {
            Ok(containers) => containers,
            Err(error) => {
                let fault = Fault::new("the action needs Docker", error);
                call.fail(self, &fault.chain());
                return Ok((StepEnd::bare(Conclusion::Failure), BTreeMap::new()));
            }
        };
        let folders = &self.folders;
        let mut mounts = Mounts::default()
            .with(&folders.workspace, WORKSPACE)
            .with(&folders.temp, TEMP)
            .with(&folders.commands, COMMANDS)
            .with(&folders.home(), HOME)
            .with_read_only(&folders.workflow(), WORKFLOW);
        if let Some(socket) = self.given_socket(&containers) {
            mounts = mounts.with_path_there(socket, DEFAULT_SOCKET);
        }
        let entrypoint = ready.entrypoint.filter(|entrypoint| !entrypoint.is_empty());
        let order = ContainerOrder::of_action(&ready.image, entrypoint.as_deref());
        let env = self.located_env(&|path| mounts.path_inside(path));
        let sandbox = Arc::new(ActionSandbox::new(containers, order, mounts));
        let mut extra = ready.extra;
        extra.insert("HOME".to_owned(), HOME.to_owned());
        let program = Program {
            argv: ready.arguments,
            directory: WORKSPACE.to_owned(),
            extra,
        };
        let env = std::mem::replace(&mut self.fixed_env, env);
        let sandbox = std::mem::replace(&mut self.sandbox, sandbox);
        let ended = self.run_program(call, frame, program).await;
        self.sandbox = sandbox;
        self.fixed_env = env;
        let ended = ended?;
        Ok((ended.end, ended.state))
    }
}

fn input_variables(inputs: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let variable = |(name, value): (&String, &String)| (input_variable(name), value.clone());
    inputs.iter().map(variable).collect()
}
