//! What actions do before the first and after the last step.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use super::action::{Action, Fault};
use super::container_action::{ContainerCall, Stage};
use super::context::{Frame, env_context};
use super::job::JobRun;
use super::node::NodeCall;
use super::output::StepVoice;
use super::resolve::FoundAction;
use super::step::{StepCall, StepEnd};
use crate::diagnostic::Span;
use crate::expression::condition;
use crate::run::{Conclusion, RunEvent};
use crate::workflow::{ActionRuns, Condition, Step, StepBody, Token};

/// Something that an action wants done after the job's last step.
#[derive(Debug)]
pub(super) struct Post {
    /// The name of its line.
    pub(super) name: String,
    pub(super) kind: PostKind,
}

/// Whose it is.
#[derive(Debug)]
pub(super) enum PostKind {
    /// An action of this program.
    Native {
        name: String,
        action: Arc<dyn Action>,
        inputs: BTreeMap<String, String>,
        state: BTreeMap<String, String>,
    },
    /// A JavaScript action.
    Node {
        node: Box<NodeCall>,
        condition: Condition,
        env: BTreeMap<String, String>,
    },
    /// An action that is a container.
    Container {
        container: ContainerCall,
        entrypoint: String,
        condition: Condition,
        env: BTreeMap<String, String>,
    },
}

impl JobRun {
    /// Does what the actions want done, the last one first.
    pub(super) async fn run_posts(&mut self, frame: &mut Frame) -> Result<(), Fault> {
        frame.is_post = true;
        while let Some(post) = self.posts.pop() {
            let step = placeholder_step(&post.name)?;
            match post.kind {
                PostKind::Native {
                    name,
                    action,
                    inputs,
                    state,
                } => {
                    let call = self.begin_extra(&step, &post.name, None);
                    let end = self
                        .native_post(&call, (&name, &action), inputs, state)
                        .await?;
                    self.end_extra(frame, &call, &post.name, &end);
                }
                PostKind::Node {
                    node,
                    condition,
                    env,
                } => {
                    let call = self.begin_extra(&step, &post.name, Some(env));
                    let end = match self.post_refusal(&call, &condition, &node.inputs) {
                        Some(end) => end,
                        None => self.run_node(&call, frame, &node).await?.0,
                    };
                    self.end_extra(frame, &call, &post.name, &end);
                }
                PostKind::Container {
                    container,
                    entrypoint,
                    condition,
                    env,
                } => {
                    let call = self.begin_extra(&step, &post.name, Some(env));
                    let end = match self.post_refusal(&call, &condition, &container.inputs) {
                        Some(end) => end,
                        None => {
                            let stage = Stage::Post(&entrypoint);
                            self.run_container(&call, frame, &container, stage).await?.0
                        }
                    };
                    self.end_extra(frame, &call, &post.name, &end);
                }
            }
        }
        Ok(())
    }

    /// Returns how a clean-up ends that its condition does not want; none if it does.
    fn post_refusal(
        &self,
        call: &StepCall<'_>,
        condition: &Condition,
        inputs: &BTreeMap<String, String>,
    ) -> Option<StepEnd> {
        let own = Frame::of_inputs(inputs);
        let wanted = condition.expression.evaluate(&call.scope(self, &own));
        match wanted.map(|value| value.is_truthy()) {
            Ok(true) => None,
            Ok(false) => Some(StepEnd::bare(Conclusion::Skipped)),
            Err(error) => {
                call.fail(self, &format!("`post-if` could not be evaluated: {error}"));
                Some(StepEnd::bare(Conclusion::Failure))
            }
        }
    }

    /// Runs the `pre` of an action: a file of a JavaScript action, or the entrypoint of a
    /// container.
    pub(super) async fn run_pre_step(
        &mut self,
        frame: &mut Frame,
        step: &Step,
        with: Option<&Token>,
        (found, file, condition, name): (&FoundAction, String, &Condition, &str),
    ) -> Result<(), Fault> {
        let call = self.begin_extra(step, name, None);
        let inputs = self.action_inputs(&call, frame, found, with);
        let wanted = {
            let own = Frame::of_inputs(inputs.as_ref().unwrap_or(&BTreeMap::new()));
            let value = condition.expression.evaluate(&call.scope(self, &own));
            value.map(|value| value.is_truthy())
        };
        let end = match (wanted, inputs) {
            (Ok(false), _) => StepEnd::bare(Conclusion::Skipped),
            (Err(error), _) => {
                call.fail(self, &format!("`pre-if` could not be evaluated: {error}"));
                StepEnd::bare(Conclusion::Failure)
            }
            (_, Err(reason)) => {
                call.fail(self, &reason);
                StepEnd::bare(Conclusion::Failure)
            }
            (Ok(true), Ok(inputs)) => {
                let (found, state) = (found.clone(), BTreeMap::new());
                let (end, state) = if matches!(found.manifest.runs, ActionRuns::Docker { .. }) {
                    let container = ContainerCall {
                        found,
                        inputs,
                        state,
                    };
                    let stage = Stage::Pre(&file);
                    self.run_container(&call, frame, &container, stage).await?
                } else {
                    let node = NodeCall {
                        file,
                        found,
                        inputs,
                        state,
                    };
                    self.run_node(&call, frame, &node).await?
                };
                self.pre_state.insert(step.span.bytes.start, state);
                end
            }
        };
        self.end_extra(frame, &call, name, &end);
        Ok(())
    }

    /// Runs the `post` of an action of this program: under the runner's token, also when the job
    /// was cancelled.
    async fn native_post(
        &mut self,
        call: &StepCall<'_>,
        (name, action): (&str, &Arc<dyn Action>),
        inputs: BTreeMap<String, String>,
        mut state: BTreeMap<String, String>,
    ) -> Result<StepEnd, Fault> {
        // Of clean-up only the runner itself is the master.
        let token = self.force.child_token();
        let mut slots = std::mem::take(&mut self.slots);
        let env = self.step_env(&Frame::job(), &call.step.context_name, &call.env);
        let result = {
            let kept = (&mut state, &mut slots);
            let mut context = self.action_context(call, name, (inputs, env), kept, &token);
            action.post(&mut context).await
        };
        self.slots = slots;
        self.native_end(call, result, token.is_cancelled())
    }

    fn begin_extra<'s>(
        &mut self,
        step: &'s Step,
        name: &str,
        env: Option<BTreeMap<String, String>>,
    ) -> StepCall<'s> {
        let number = self.next_step();
        let mut all = self.env.clone();
        all.extend(env.into_iter().flatten());
        let env = all;
        let voice = StepVoice {
            recorder: self.recorder.clone(),
            job: self.plan.key,
            step: number,
        };
        let name = self.masker.mask(name);
        self.recorder.record(&RunEvent::StepStarted {
            job: self.plan.key,
            step: number,
            name,
        });
        StepCall {
            step,
            env_value: env_context(&env),
            env,
            file_number: self.next_file(),
            voice,
            deadline: None,
            survives_cancel: true,
            began: Instant::now(),
        }
    }

    fn end_extra(&mut self, frame: &mut Frame, call: &StepCall<'_>, name: &str, end: &StepEnd) {
        if end.outcome == Conclusion::Failure {
            frame.is_failed = true;
            self.is_failed = true;
        }
        self.finish_step(frame, call, name, (end.outcome, end.outcome));
    }
}

/// Returns a step that stands for a clean-up, which has none in the file.
fn placeholder_step(name: &str) -> Result<Step, Fault> {
    let read =
        condition("always()").map_err(|error| Fault::new("`always()` cannot be read", error))?;
    let name = name.to_owned();
    Ok(Step {
        span: Span::START,
        id: None,
        context_name: name.clone(),
        name: None,
        condition: Condition {
            expression: read.expression().clone(),
            text: read.text().to_owned(),
            span: Span::START,
            is_written: false,
        },
        env: None,
        continue_on_error: None,
        timeout_minutes: None,
        is_background: false,
        body: StepBody::WaitAll,
    })
}
