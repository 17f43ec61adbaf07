//! GitHub's workflow and action files, read to typed values.
//!
//! The authority is GitHub's own converter (`src/Sdk/WorkflowParser` in `actions/runner`) and its
//! schema `workflow-v1.0.json`.

mod action;
mod cron;
mod deploy_steps;
mod evaluate;
mod model;
mod parse;
mod schema;
#[cfg(test)]
mod tests;
mod token;

pub use action::parse_action;
pub use cron::{Cron, WallTime};
pub use deploy_steps::{deploy_steps, has_deploy_steps, only_openings, opens};
pub use evaluate::TokenError;
pub use model::{
    ActionInput, ActionManifest, ActionReference, ActionRuns, CallInterface, CallJob, CallSecrets,
    Condition, Input, InputKind, Job, JobBody, Located, RunDefaults, Schedule, Step, StepBody,
    StepsJob, Strategy, Trigger, Triggers, Workflow,
};
pub use parse::parse;
pub use token::{Token, TokenKind};
