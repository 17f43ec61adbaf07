//! `runner/ssh-deploy`: opens the job's deploy, and ends it after the job's last step.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::deploy::{self, Project, ReleaseFacts};
use crate::engine::{Action, ActionContext, ActionFuture, ActionResult, Fault};
use crate::release::{Kind, Phase};
use crate::run::Conclusion;

use super::project::{self, JobImage, ProcessEnv};
use super::transaction::{self, OpenDeploy, Telling};

/// The action.
#[derive(Debug)]
pub(super) struct SshDeploy {
    /// The environment of the process.
    pub(super) env: ProcessEnv,
}

impl Action for SshDeploy {
    fn manifest(&self) -> &'static str {
        include_str!("action.yml")
    }

    fn run<'a>(
        &'a self,
        context: &'a mut ActionContext<'_>,
    ) -> ActionFuture<'a, Result<ActionResult, Fault>> {
        Box::pin(async {
            let opened = Box::pin(open(context, &self.env)).await;
            Ok(opened.unwrap_or_else(ActionResult::failure))
        })
    }

    fn has_post(&self) -> bool {
        true
    }

    fn post<'a>(
        &'a self,
        context: &'a mut ActionContext<'_>,
    ) -> ActionFuture<'a, Result<ActionResult, Fault>> {
        Box::pin(async { Ok(end(context).await) })
    }
}

async fn open(context: &mut ActionContext<'_>, env: &ProcessEnv) -> Result<ActionResult, String> {
    if context.slots.get::<OpenDeploy>().is_some() {
        return Err("a deploy is open in this job already".to_owned());
    }
    let project = project::read(context, env).await?;
    let facts = facts(context, &project).await?;
    let spec = project.spec(&facts).map_err(project::words)?;
    let settings = transaction::settings(context, &project).await?;
    let begin = transaction::begin(context, Kind::Deploy);
    let (told, token) = (Telling::new(context), context.token.clone());
    let opened = Box::pin(deploy::open(
        spec,
        begin,
        Arc::new(settings),
        told,
        None,
        &token,
    ));
    let transaction = opened.await.map_err(project::words)?;
    let id = transaction.journal().id.to_string();
    context.slots.put(OpenDeploy {
        transaction,
        is_promoted: false,
        failure: None,
    });
    let pulled = transaction::advance(context, Phase::Pulled).await;
    match pulled.failure {
        Some(reason) => Err(reason),
        None => Ok(ActionResult::success()
            .with_output("version", facts.version)
            .with_output("transaction", id)),
    }
}

/// The inputs' release, else the one that the job built and pushed, else git's.
async fn facts(
    context: &mut ActionContext<'_>,
    project: &Arc<Project>,
) -> Result<ReleaseFacts, String> {
    let repository = project.config.repository();
    let image = context.slots.get::<JobImage>().cloned();
    let image = image.filter(|image| image.repository == repository);
    let asked = context.input("version").map(str::to_owned);
    let asked = asked.or_else(|| image.as_ref().map(|image| image.version.clone()));
    let allows_uncommitted = context.boolean("allow-uncommitted")?;
    let asking = Arc::clone(project);
    let version = project::blocking(context, move || {
        asking.version(asked.as_deref(), allows_uncommitted)
    });
    let version = version.await?.map_err(project::words)?;
    let pushed = image.filter(|image| image.version == version);
    let digest = context.input("digest").map(str::to_owned);
    Ok(ReleaseFacts {
        digest: digest.or_else(|| pushed.and_then(|image| image.digest)),
        driver: None,
        version,
    })
}

/// Finishes what was promoted in a green job; undoes everything else.
///
/// Runs under the runner's own token, so that a cancelled job is put back, too.
async fn end(context: &mut ActionContext<'_>) -> ActionResult {
    let Some(deploy) = context.slots.take::<OpenDeploy>() else {
        // It was never opened, and the step has said why.
        return ActionResult::success();
    };
    let force = context.token.clone();
    let reason = match (context.job_status, deploy.failure) {
        (_, Some(reason)) => Some(reason),
        (Conclusion::Cancelled, None) => Some("the job was cancelled".to_owned()),
        (Conclusion::Failure, None) => Some("a step of the job failed".to_owned()),
        (Conclusion::Success | Conclusion::Skipped, None) => None,
    };
    let is_green = reason.is_none();
    match reason {
        None if deploy.is_promoted => {
            let never = CancellationToken::new();
            let (ending, error) = deploy.transaction.finish(&never, &force).await;
            transaction::ended(context, &ending, error, true)
        }
        other => {
            let reason =
                other.unwrap_or_else(|| "no step of the job promoted the release".to_owned());
            context.say(&format!("the deploy is undone: {reason}\n"));
            let ending = deploy.transaction.undo(&reason, &force).await;
            let result = transaction::ended(context, &ending, None, is_green);
            match result.failure {
                Some(words) => ActionResult {
                    failure: Some(format!("{reason}: {words}")),
                    ..result
                },
                None => result,
            }
        }
    }
}
