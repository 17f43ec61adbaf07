//! `runner/backup`: dumps the application's database to this machine.

use std::sync::Arc;

use crate::deploy::{self, BackupFacts, ReleaseFacts};
use crate::engine::{Action, ActionContext, ActionFuture, ActionResult, Fault};

use super::project::{self, ProcessEnv};
use super::transaction;

/// The action.
#[derive(Debug)]
pub(super) struct Backup {
    /// The environment of the process.
    pub(super) env: ProcessEnv,
}

impl Action for Backup {
    fn manifest(&self) -> &'static str {
        include_str!("action.yml")
    }

    fn run<'a>(
        &'a self,
        context: &'a mut ActionContext<'_>,
    ) -> ActionFuture<'a, Result<ActionResult, Fault>> {
        Box::pin(async {
            let ended = Box::pin(back_up(context, &self.env)).await;
            Ok(ended.unwrap_or_else(ActionResult::failure))
        })
    }
}

async fn back_up(
    context: &mut ActionContext<'_>,
    env: &ProcessEnv,
) -> Result<ActionResult, String> {
    let project = project::read(context, env).await?;
    let settings = Arc::new(transaction::settings(context, &project).await?);
    // Any version will do to look at the hosts.
    let any = project.spec(&ReleaseFacts {
        version: "unknown".to_owned(),
        digest: None,
        driver: None,
    });
    let any = any.map_err(project::words)?;
    let database = project.database(&any, context.input("accessory"));
    let database = database.map_err(project::words)?;
    let mut look = deploy::look(&any, &settings).await;
    let wanted = std::slice::from_ref(&database.host);
    let away = look.fleet.connect(wanted).await;
    let Some(host) = look.fleet.host(&database.host) else {
        let why = away.into_iter().next();
        let why = why.map_or_else(String::new, |(_, error)| error.chain());
        return Err(format!("`{}` is not reachable: {why}", database.host));
    };
    let facts = BackupFacts {
        service: any.service.clone(),
        destination: any.destination.clone(),
        release: look.running(&any).map(|running| running.release),
    };
    let kept = deploy::back_up(host, &database, facts, &settings, &context.token).await;
    let kept = kept.map_err(project::words)?;
    let path = kept.path.display().to_string();
    context.say(&format!(
        "dumped database `{}` to {path}\n",
        database.database
    ));
    let mut result = ActionResult::success()
        .with_output("name", kept.name)
        .with_output("path", path);
    if let Some(about) = kept.manifest {
        let release = about.release.map(|one| one.as_str().to_owned());
        result = result
            .with_output("size", about.size.to_string())
            .with_output("sha256", about.sha256)
            .with_output("release", release.unwrap_or_default())
            .with_output("schema", about.schema.unwrap_or_default());
    }
    Ok(result)
}
