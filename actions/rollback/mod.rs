//! `runner/rollback`: back to an earlier release, as a transaction of its own.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::deploy::{self, ReleaseFacts};
use crate::engine::{Action, ActionContext, ActionFuture, ActionResult, Fault};
use crate::release::{Kind, ReleaseVersion};

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
    let begin = transaction::begin(context, Kind::Rollback);
    let (told, token) = (Telling::new(context), context.token.clone());
    let settled = deploy::settle(&any, begin.clone(), settings.clone(), told, &token);
    let (look, ended) = Box::pin(settled).await.map_err(project::words)?;
    let wanted = context.input("version");
    let named = wanted.map(ReleaseVersion::from);
    if let Some(ended) = ended.filter(|ended| ended.is_rollback_to(named.as_ref())) {
        context.say(&format!("rolled back to {}\n", ended.version));
        return Ok(ActionResult::success().with_output("version", ended.version.to_string()));
    }
    let running = look.running(&any);
    let spec = project
        .rollback_spec(look.history(&any.primary), running.as_ref(), wanted)
        .map_err(project::words)?;
    let version = spec.version.as_str().to_owned();
    context.say(&format!("rolling back to {version}\n"));
    let told = Telling::new(context);
    let opened = Box::pin(deploy::open(
        spec,
        begin,
        settings,
        told,
        Some(look),
        &token,
    ));
    let opened = opened.await.map_err(project::words)?;
    let id = opened.journal().id.to_string();
    let (ending, error) = opened.finish(&token, &CancellationToken::new()).await;
    Ok(transaction::ended(context, &ending, error, true)
        .with_output("version", version)
        .with_output("transaction", id))
}
