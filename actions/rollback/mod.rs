//! `runner/rollback`: back to an earlier release, as a transaction of its own.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::deploy::{self, Look, ReleaseFacts};
use crate::engine::{Action, ActionContext, ActionFuture, ActionResult, Fault};
use crate::release::{HostName, Kind, RoleName, Running};

use super::project::{self, ProcessEnv};
use super::transaction::{self, OpenDeploy, Telling};

/// The action.
#[derive(Debug)]
pub(super) struct Rollback {
    /// The environment of the process.
    pub(super) env: ProcessEnv,
}

impl Action for Rollback {
    fn manifest(&self) -> &'static str {
        include_str!("action.yml")
    }

    fn run<'a>(
        &'a self,
        context: &'a mut ActionContext<'_>,
    ) -> ActionFuture<'a, Result<ActionResult, Fault>> {
        Box::pin(async {
            let ended = Box::pin(roll_back(context, &self.env)).await;
            Ok(ended.unwrap_or_else(ActionResult::failure))
        })
    }
}

async fn roll_back(
    context: &mut ActionContext<'_>,
    env: &ProcessEnv,
) -> Result<ActionResult, String> {
    if context.slots.get::<OpenDeploy>().is_some() {
        return Err("a deploy is open in this job: a rollback inside it is refused".to_owned());
    }
    let project = project::read(context, env).await?;
    let settings = Arc::new(transaction::settings(context, &project).await?);
    // Any version will do to look at the hosts.
    let any = project.spec(&ReleaseFacts {
        version: "unknown".to_owned(),
        digest: None,
        driver: None,
    });
    let any = any.map_err(project::words)?;
    let look = deploy::look(&any, &settings).await;
    let primary_role = RoleName::new(&project.config.primary_role_name);
    let running = running(&look, &any.primary, &primary_role);
    let wanted = context.input("version");
    let spec = project
        .rollback_spec(look.history(&any.primary), running.as_ref(), wanted)
        .map_err(project::words)?;
    let version = spec.version.as_str().to_owned();
    context.say(&format!("rolling back to {version}\n"));
    let begin = transaction::begin(context, Kind::Rollback);
    let (told, token) = (Telling::new(context), context.token.clone());
    let opened = Box::pin(deploy::open(spec, begin, settings, told, &token));
    let opened = opened.await.map_err(project::words)?;
    let id = opened.journal().id.to_string();
    let (ending, error) = opened.finish(&token, &CancellationToken::new()).await;
    Ok(transaction::ended(context, &ending, error, true)
        .with_output("version", version)
        .with_output("transaction", id))
}

/// What runs on the primary host: the newest running container of the primary role.
fn running(look: &Look, primary: &HostName, role: &RoleName) -> Option<Running> {
    let containers = &look.observed.host(primary)?.containers;
    let newest = containers
        .iter()
        .filter(|found| found.ran && found.role.as_ref() == Some(role))
        .max_by_key(|found| found.created)?;
    Some(Running {
        release: newest.release.clone()?,
        digest: newest.image.clone(),
    })
}
