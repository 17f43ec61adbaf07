//! JavaScript actions: the machine's `node` runs their files.

use std::collections::BTreeMap;
use std::path::Path;

use super::action::Fault;
use super::context::Frame;
use super::environment::input_variable;
use super::job::JobRun;
use super::post::{Post, PostKind};
use super::resolve::{FoundAction, FoundKind};
use super::step::{Program, StepCall, StepEnd};
use crate::run::Conclusion;
use crate::workflow::{ActionReference, ActionRuns, Step, StepBody};

/// What a JavaScript action needs to run one of its files.
#[derive(Debug, Clone)]
pub(super) struct NodeCall {
    pub(super) file: String,
    pub(super) found: FoundAction,
    pub(super) inputs: BTreeMap<String, String>,
    pub(super) state: BTreeMap<String, String>,
}

impl JobRun {
    /// Runs the main file of a JavaScript action; its `post` is due whatever comes of it.
    pub(super) async fn run_node_main(
        &mut self,
        call: &StepCall<'_>,
        frame: &Frame,
        (found, folder): (&FoundAction, &Path),
        main: &str,
        inputs: BTreeMap<String, String>,
    ) -> Result<StepEnd, Fault> {
        let node = NodeCall {
            file: self.sandbox.path_inside(&folder.join(main)),
            found: found.clone(),
            inputs,
            state: self
                .pre_state
                .remove(&call.step.span.bytes.start)
                .unwrap_or_default(),
        };
        let (end, state) = self.run_node(call, frame, &node).await?;
        if let ActionRuns::Node {
            post: Some((file, condition)),
            ..
        } = &found.manifest.runs
        {
            let file = self.sandbox.path_inside(&folder.join(file));
            let mut node = NodeCall { file, ..node };
            node.state.extend(state);
            let name = format!("Post {}", call.step.context_name.trim_start_matches('_'));
            let env = self.own_env(call);
            self.posts.push(Post {
                name,
                kind: PostKind::Node {
                    node: Box::new(node),
                    condition: condition.clone(),
                    env,
                },
            });
        }
        Ok(end)
    }

    /// Runs one file of a JavaScript action; returns also what it saved for its `post`.
    pub(super) async fn run_node(
        &mut self,
        call: &StepCall<'_>,
        frame: &Frame,
        node: &NodeCall,
    ) -> Result<(StepEnd, BTreeMap<String, String>), Fault> {
        if !self.sandbox.has_program("node").await {
            call.fail(
                self,
                if self.sandbox.is_container() {
                    "the action needs `node`, which the job's container has not: take an image with Node.js 20 or newer"
                } else {
                    "the action needs `node`, which is not in PATH: install Node.js 20 or newer"
                },
            );
            return Ok((StepEnd::bare(Conclusion::Failure), BTreeMap::new()));
        }
        let mut extra: BTreeMap<String, String> = node
            .inputs
            .iter()
            .map(|(name, value)| (input_variable(name), value.clone()))
            .collect();
        extra.extend(
            node.state
                .iter()
                .map(|(name, value)| (format!("STATE_{name}"), value.clone())),
        );
        let identity = &node.found.identity;
        extra.insert("GITHUB_ACTION_PATH".to_owned(), identity.path.clone());
        extra.insert(
            "GITHUB_ACTION_REPOSITORY".to_owned(),
            identity.repository.clone(),
        );
        extra.insert("GITHUB_ACTION_REF".to_owned(), identity.reference.clone());
        let program = Program {
            argv: vec!["node".to_owned(), node.file.clone()],
            directory: self.sandbox.path_inside(&self.folders.workspace),
            extra,
        };
        let ended = self.run_program(call, frame, program).await?;
        Ok((ended.end, ended.state))
    }

    /// Runs the `pre` of all actions that have one, before the first step. Local actions have none:
    /// the workspace is still empty.
    pub(super) async fn run_pre(&mut self, steps: &[Step], frame: &mut Frame) -> Result<(), Fault> {
        for step in steps {
            let StepBody::Uses { uses, with } = &step.body else {
                continue;
            };
            if !matches!(uses.value, ActionReference::Repository { .. }) {
                continue;
            }
            let Ok(found) = self.find_action(&uses.value, frame) else {
                continue;
            };
            let FoundKind::Folder(folder) = &found.kind else {
                continue;
            };
            let (file, condition) = match &found.manifest.runs {
                ActionRuns::Node {
                    pre: Some((file, condition)),
                    ..
                } => (self.sandbox.path_inside(&folder.join(file)), condition),
                ActionRuns::Docker {
                    pre: Some((entrypoint, condition)),
                    ..
                } => (entrypoint.clone(), condition),
                _ => continue,
            };
            let name = format!("Pre {}", uses.value);
            self.run_pre_step(frame, step, with.as_ref(), (&found, file, condition, &name))
                .await?;
        }
        Ok(())
    }
}
