//! In place of `runner/ssh-deploy` and `runner/rollback` when the process of their job was lost: reads
//! from the hosts what became of the deploy, and ends it there where it is open.

use std::sync::Arc;
use std::time::Duration;

use crate::deploy::{self, Progress, ReleaseFacts, settle_lost};
use crate::engine::{Action, ActionContext, ActionFuture, ActionResult, Fault};
use crate::release::Kind;
use crate::run::{DeployOutcome, Fate, Fates};

use super::project::{self, ProcessEnv};
use super::transaction::{self, Telling};

/// For how long hosts that are away are waited for: as long as an undo may take. Meanwhile the job
/// is not over, and what waits for its concurrency group waits.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// The action.
#[derive(Debug)]
pub(super) struct LostDeploy {
    /// The environment of the process.
    pub(super) env: ProcessEnv,
    /// That of the action whose inputs it is given.
    pub(super) manifest: &'static str,
    /// Where it says what it found.
    pub(super) fates: Fates,
}

impl Action for LostDeploy {
    fn manifest(&self) -> &'static str {
        self.manifest
    }

    fn run<'a>(
        &'a self,
        context: &'a mut ActionContext<'_>,
    ) -> ActionFuture<'a, Result<ActionResult, Fault>> {
        Box::pin(async {
            let found = Box::pin(self.ask(context)).await;
            let (found, result) = match found {
                Ok(found) => (found, ActionResult::success()),
                Err(why) => {
                    let words = format!(
                        "what became of its deploy is not known: {why}; `runner history` tells it, and the next deploy ends what is open"
                    );
                    (
                        (Some(DeployOutcome::Unknown), false, words.clone()),
                        ActionResult::failure(words),
                    )
                }
            };
            let (outcome, was_green, words) = found;
            context.say(&format!("{words}\n"));
            self.fates.add(Fate {
                outcome,
                was_green,
                words: context.masker.mask(&words),
            });
            Ok(result)
        })
    }
}

/// What became of it, whether its job was green, and both in words.
type Found = (Option<DeployOutcome>, bool, String);

impl LostDeploy {
    async fn ask(&self, context: &mut ActionContext<'_>) -> Result<Found, String> {
        let run = context
            .origin
            .ok_or("the job has no name of its own")?
            .to_owned();
        let project = project::read(context, &self.env).await?;
        // Any version will do to look at the hosts.
        let any = project.spec(&ReleaseFacts {
            version: "unknown".to_owned(),
            digest: None,
            driver: None,
        });
        let any = any.map_err(project::words)?;
        let settings = Arc::new(transaction::settings(context, &project).await?);
        let progress: Arc<dyn Progress> = Telling::new(context);
        let token = context.token.clone();
        let asked = settle_lost(&run, &any, &settings, &progress, PATIENCE, &token);
        let fate = Box::pin(asked).await.map_err(project::words)?;
        Ok(found(fate))
    }
}

fn found(fate: deploy::Fate) -> Found {
    match fate {
        deploy::Fate::NeverOpened => (
            None,
            false,
            "it had not begun to deploy: nothing was changed on the servers".to_owned(),
        ),
        deploy::Fate::Stands {
            kind,
            version,
            unfinished,
        } => {
            let mut words = format!("its deploy was committed, and release `{version}` serves");
            if let Some(reason) = unfinished {
                words = format!(
                    "{words}; not all of its end could be done ({reason}): `runner deploy --resume` does it, as the next deploy does"
                );
            }
            // What follows a rollback in its job may not have run.
            let was_green = kind == Kind::Deploy;
            (Some(DeployOutcome::Stands), was_green, words)
        }
        deploy::Fate::Undone { version, reason } => {
            let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
            let words = format!(
                "its deploy of `{version}` was undone{reason}: everything is as it was found"
            );
            (Some(DeployOutcome::Undone), false, words)
        }
        deploy::Fate::Open { version, reason } => (
            Some(DeployOutcome::UndoIncomplete),
            false,
            format!(
                "its deploy of `{version}` is still open and could not be put back: {reason}; `runner deploy --undo` tries again, as the next deploy does"
            ),
        ),
    }
}
