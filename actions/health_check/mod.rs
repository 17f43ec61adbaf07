//! `runner/health-check`: starts the release of the job's deploy beside the old one.

use crate::engine::{Action, ActionContext, ActionFuture, ActionResult, Fault};
use crate::release::Phase;

use super::transaction;

/// The action.
#[derive(Debug)]
pub(super) struct HealthCheck;

impl Action for HealthCheck {
    fn manifest(&self) -> &'static str {
        include_str!("action.yml")
    }

    fn run<'a>(
        &'a self,
        context: &'a mut ActionContext<'_>,
    ) -> ActionFuture<'a, Result<ActionResult, Fault>> {
        Box::pin(async { Ok(transaction::advance(context, Phase::Healthy).await) })
    }
}
