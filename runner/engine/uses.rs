//! `uses:` steps: inputs, and the way to each kind of action.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::action::{Action, ActionContext, ActionResult, Fault, Slots};
use super::context::{Frame, text, text_map};
use super::job::JobRun;
use super::post::{Post, PostKind};
use super::resolve::{FoundAction, FoundKind};
use super::step::{StepCall, StepEnd};
use crate::expression::{Object, Value};
use crate::run::{Annotation, AnnotationLevel, Conclusion};
use crate::workflow::{ActionReference, ActionRuns, Token};

use super::action::Voice as _;

impl JobRun {
    /// Runs the action of a step.
    pub(super) async fn run_uses(
        &mut self,
        call: &StepCall<'_>,
        frame: &Frame,
        uses: &ActionReference,
        with: Option<&Token>,
    ) -> Result<StepEnd, Fault> {
        if let ActionReference::Docker(image) = uses {
            return self.run_image(call, frame, image, with).await;
        }
        let is_in_workspace = matches!(uses, ActionReference::Local(_));
        let fetched = match is_in_workspace {
            true => self.fetch_workspace().await,
            false => Ok(()),
        };
        let prepared = fetched
            .and_then(|()| self.find_action(uses, frame))
            .and_then(|found| {
                let inputs = self.action_inputs(call, frame, &found, with)?;
                Ok((found, inputs))
            });
        let (found, inputs) = match prepared {
            Ok(prepared) => prepared,
            Err(reason) => {
                call.fail(self, &reason);
                return Ok(StepEnd::bare(Conclusion::Failure));
            }
        };
        match (&found.kind, &found.manifest.runs) {
            (FoundKind::Native { name, action }, _) => {
                self.run_native(call, frame, (name, Arc::clone(action)), inputs)
                    .await
            }
            (FoundKind::Folder(_), ActionRuns::Composite { steps }) => {
                self.run_composite(call, frame, &found, steps, inputs).await
            }
            (FoundKind::Folder(folder), ActionRuns::Node { main, .. }) => {
                self.run_node_main(call, frame, (&found, folder), main, inputs)
                    .await
            }
            (FoundKind::Folder(_), ActionRuns::Docker { .. }) => {
                self.run_container_main(call, frame, &found, inputs).await
            }
            (FoundKind::Folder(_), ActionRuns::Native) => {
                call.fail(
                    self,
                    &format!("`{uses}` says `using: runner`, which only built-in actions can"),
                );
                Ok(StepEnd::bare(Conclusion::Failure))
            }
        }
    }

    /// Returns the inputs of an action, with defaults, by lowercase name.
    pub(super) fn action_inputs(
        &self,
        call: &StepCall<'_>,
        frame: &Frame,
        found: &FoundAction,
        with: Option<&Token>,
    ) -> Result<BTreeMap<String, String>, String> {
        let scope = call.scope(self, frame);
        let mut inputs = BTreeMap::new();
        for (name, input) in &found.manifest.inputs {
            let value = match &input.default {
                Some(default) => text(default, &scope)
                    .map_err(|error| format!("the default of input `{name}`: {error}"))?,
                None => String::new(),
            };
            inputs.insert(name.to_lowercase(), value);
        }
        let given = match with {
            Some(with) => text_map(with, &scope).map_err(|error| format!("`with`: {error}"))?,
            None => Vec::new(),
        };
        for (name, value) in given {
            let known = found
                .manifest
                .inputs
                .iter()
                .find(|(known, _)| known.eq_ignore_ascii_case(&name));
            let is_free = matches!(found.manifest.runs, ActionRuns::Docker { .. })
                && matches!(name.to_lowercase().as_str(), "args" | "entrypoint");
            match known {
                None if !is_free => {
                    let names: Vec<&str> =
                        found.manifest.inputs.keys().map(String::as_str).collect();
                    self.warn(
                        call,
                        &format!(
                            "the action has no input `{name}`; it has: {}",
                            names.join(", ")
                        ),
                    );
                }
                Some((_, input)) if input.deprecation.is_some() => {
                    let words = input.deprecation.as_deref().unwrap_or_default();
                    self.warn(call, &format!("input `{name}` is deprecated: {words}"));
                }
                _ => {}
            }
            inputs.insert(name.to_lowercase(), value);
        }
        Ok(inputs)
    }

    fn warn(&self, call: &StepCall<'_>, message: &str) {
        call.voice.annotate(Annotation::new(
            AnnotationLevel::Warning,
            self.masker.mask(message),
        ));
    }

    /// Returns what an action of this program sees, in its step and after the last one.
    pub(super) fn action_context<'a>(
        &'a self,
        call: &StepCall<'_>,
        name: &str,
        (inputs, env): (BTreeMap<String, String>, BTreeMap<String, String>),
        (state, slots): (&'a mut BTreeMap<String, String>, &'a mut Slots),
        token: &CancellationToken,
    ) -> ActionContext<'a> {
        ActionContext {
            origin: self.options.origin.as_deref(),
            inputs,
            env,
            secrets: &self.contexts.secrets,
            github: self.contexts.github.clone(),
            name: name.to_owned(),
            workspace: &self.folders.workspace,
            source: &self.options.source,
            secrets_folder: self
                .options
                .secrets_folder
                .as_ref()
                .unwrap_or(&self.options.source),
            temp: &self.folders.temp,
            engine: self.far_engine(),
            state,
            slots,
            job_status: self.status(),
            voice: Arc::new(call.voice.clone()),
            masker: self.masker.clone(),
            token: token.clone(),
        }
    }

    async fn run_native(
        &mut self,
        call: &StepCall<'_>,
        frame: &Frame,
        (name, action): (&str, Arc<dyn Action>),
        inputs: BTreeMap<String, String>,
    ) -> Result<StepEnd, Fault> {
        if let Err(reason) = self.fetch_workspace().await {
            call.fail(self, &reason);
            return Ok(StepEnd::bare(Conclusion::Failure));
        }
        let token = self.force.child_token();
        let mut state = BTreeMap::new();
        let mut slots = std::mem::take(&mut self.slots);
        let env = self.step_env(frame, &call.step.context_name, &call.env);
        let result = {
            let handed = (inputs.clone(), env);
            let kept = (&mut state, &mut slots);
            let mut context = self.action_context(call, name, handed, kept, &token);
            let work = action.run(&mut context);
            match call.deadline {
                None => self.watch_cancel(call, &token, work).await,
                Some(deadline) => {
                    self.watch_cancel(call, &token, limited(work, deadline, &token))
                        .await
                }
            }
        };
        self.slots = slots;
        let sent = match action.fills_workspace() {
            true => self.send_workspace().await,
            false => Ok(()),
        };
        if action.has_post() {
            self.posts.push(Post {
                name: format!("Post {name}"),
                kind: PostKind::Native {
                    name: name.to_owned(),
                    action,
                    inputs,
                    state,
                },
            });
        }
        let is_late = call
            .deadline
            .is_some_and(|deadline| tokio::time::Instant::now() >= deadline);
        let result = match (result, sent) {
            (Ok(result), Err(reason)) if result.failure.is_none() => {
                Ok(ActionResult::failure(reason))
            }
            (result, _) => result,
        };
        self.native_end(call, result, token.is_cancelled() && !is_late)
    }

    /// Turns what an action returned into the step's end.
    pub(super) fn native_end(
        &mut self,
        call: &StepCall<'_>,
        result: Result<ActionResult, Fault>,
        is_cancelled: bool,
    ) -> Result<StepEnd, Fault> {
        let result = match result {
            Ok(result) => result,
            Err(fault) => ActionResult::failure(fault.chain()),
        };
        self.deploy = result.deploy.or(self.deploy);
        let outputs: Object = result
            .outputs
            .into_iter()
            .map(|(name, value)| (name, Value::from(value)))
            .collect();
        let outcome = match &result.failure {
            None => Conclusion::Success,
            Some(_) if is_cancelled => Conclusion::Cancelled,
            Some(reason) => {
                call.fail(self, reason);
                Conclusion::Failure
            }
        };
        Ok(StepEnd { outcome, outputs })
    }
}

/// Cancels the work of an action at its time limit and lets it end in order.
async fn limited(
    work: impl Future<Output = Result<ActionResult, Fault>>,
    deadline: tokio::time::Instant,
    token: &CancellationToken,
) -> Result<ActionResult, Fault> {
    tokio::pin!(work);
    tokio::select! {
        result = &mut work => return result,
        () = tokio::time::sleep_until(deadline) => token.cancel(),
    }
    work.await
        .map(|_| ActionResult::failure("the step ran into its time limit and was ended"))
}
