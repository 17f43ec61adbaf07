//! `runner/migrate`: migrates the database of the job's deploy.

use crate::engine::{Action, ActionContext, ActionFuture, ActionResult, Fault};
use crate::release::Phase;

use super::transaction;

/// The action.
#[derive(Debug)]
pub(super) struct Migrate;

impl Action for Migrate {
    fn manifest(&self) -> &'static str {
        include_str!("action.yml")
    }

    fn run<'a>(
        &'a self,
        context: &'a mut ActionContext<'_>,
    ) -> ActionFuture<'a, Result<ActionResult, Fault>> {
        Box::pin(async { Ok(transaction::advance(context, Phase::Migrated).await) })
    }
}
