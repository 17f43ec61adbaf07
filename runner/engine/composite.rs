//! Composite actions: steps with contexts of their own.

use std::collections::BTreeMap;

use super::action::Fault;
use super::context::{Frame, StepScope, text};
use super::job::JobRun;
use super::resolve::FoundAction;
use super::step::{StepCall, StepEnd};
use crate::expression::{Object, Value};
use crate::run::Conclusion;
use crate::workflow::Step;

impl JobRun {
    /// Runs the steps of a composite action and evaluates its outputs.
    ///
    /// Its steps see its inputs and one another, not the job's steps, secrets or needs; the
    /// variables of the calling step stand above what `GITHUB_ENV` sets inside.
    pub(super) async fn run_composite(
        &mut self,
        call: &StepCall<'_>,
        outer: &Frame,
        found: &FoundAction,
        steps: &[Step],
        inputs: BTreeMap<String, String>,
    ) -> Result<StepEnd, Fault> {
        let mut inner = Frame {
            steps: Object::new().into(),
            inputs: Some(
                inputs
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str()))
                    .collect::<Object>()
                    .into(),
            ),
            env: self.own_env(call),
            action: Some(found.identity.clone()),
            is_failed: false,
            depth: outer.depth + 1,
            step: call.voice.step,
            is_post: outer.is_post,
        };
        let before = std::mem::replace(&mut self.deadline, call.deadline);
        let result = Box::pin(self.run_steps(&mut inner, steps)).await;
        self.deadline = before;
        result?;

        let mut outputs = Object::new();
        {
            let scope = StepScope {
                job: self,
                frame: &inner,
                env: &call.env_value,
                step_name: &call.step.context_name,
                as_cancelled: false,
            };
            for (name, token) in &found.manifest.outputs {
                let Some(token) = token else { continue };
                match text(token, &scope) {
                    Ok(value) => outputs.insert(name.as_str(), Value::from(value)),
                    Err(error) => call.fail(self, &format!("output `{name}`: {error}")),
                }
            }
        }
        let outcome = if inner.is_failed {
            Conclusion::Failure
        } else if self.is_cancelled() && !call.survives_cancel {
            Conclusion::Cancelled
        } else {
            Conclusion::Success
        };
        Ok(StepEnd { outcome, outputs })
    }
}
