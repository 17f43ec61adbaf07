//! `runner/push-image`: the job's image to its registry.

use std::sync::Arc;

use crate::deploy::Project;
use crate::docker::{Credentials, DockerError, Engine};
use crate::engine::{Action, ActionContext, ActionFuture, ActionResult, Fault};
use crate::kamal::{Credential, Registry};

use super::project::{self, JobImage, ProcessEnv};

/// The action.
#[derive(Debug)]
pub(super) struct PushImage {
    /// The environment of the process.
    pub(super) env: ProcessEnv,
}

impl Action for PushImage {
    fn manifest(&self) -> &'static str {
        include_str!("action.yml")
    }

    fn run<'a>(
        &'a self,
        context: &'a mut ActionContext<'_>,
    ) -> ActionFuture<'a, Result<ActionResult, Fault>> {
        Box::pin(async {
            let token = context.token.clone();
            let pushed = tokio::select! {
                pushed = push(context, &self.env) => pushed,
                () = token.cancelled() => Err("the push was cancelled".to_owned()),
            };
            Ok(pushed.unwrap_or_else(ActionResult::failure))
        })
    }
}

async fn push(context: &mut ActionContext<'_>, env: &ProcessEnv) -> Result<ActionResult, String> {
    let project = project::read(context, env).await?;
    let version = version(context, &project).await?;
    let credentials = credentials(context, &project).await?;
    let engine = project::daemon(context, env).await?;
    let repository = project.config.repository();
    let image = project.config.absolute_image(&version);
    let registry = &project.config.registry;
    let digest = push_one(context, (&engine, registry), &image, credentials.as_ref()).await?;
    for tag in project::list(context.input("tags")) {
        let other = project.config.absolute_image(&tag);
        engine.tag(&image, &other).await.map_err(project::words)?;
        push_one(context, (&engine, registry), &other, credentials.as_ref()).await?;
    }
    context.say(&format!("pushed {repository}@{digest}\n"));
    context.slots.put(JobImage {
        repository,
        version: version.clone(),
        digest: Some(digest.clone()),
    });
    Ok(ActionResult::success()
        .with_output("image", image)
        .with_output("version", version)
        .with_output("digest", digest))
}

/// The input's version, else the one that the job built, else git's.
async fn version(
    context: &mut ActionContext<'_>,
    project: &Arc<Project>,
) -> Result<String, String> {
    if let Some(asked) = context.input("version") {
        return Ok(asked.to_owned());
    }
    let repository = project.config.repository();
    let built = context.slots.get::<JobImage>();
    if let Some(built) = built.filter(|built| built.repository == repository) {
        return Ok(built.version.clone());
    }
    let allows_uncommitted = context.boolean("allow-uncommitted")?;
    let project = Arc::clone(project);
    let version = project::blocking(context, move || project.version(None, allows_uncommitted));
    version.await?.map_err(project::words)
}

async fn credentials(
    context: &ActionContext<'_>,
    project: &Arc<Project>,
) -> Result<Option<Credentials>, String> {
    let asking = Arc::clone(project);
    let found = project::blocking(context, move || asking.credentials());
    let credentials = found.await?.map_err(project::words)?;
    if let Some(credentials) = &credentials {
        let _is_long_enough = context.masker.add(&credentials.password);
    }
    Ok(credentials)
}

async fn push_one(
    context: &ActionContext<'_>,
    (engine, registry): (&Engine, &Registry),
    image: &str,
    credentials: Option<&Credentials>,
) -> Result<String, String> {
    context.say(&format!("pushing {image}\n"));
    let (voice, masker) = (Arc::clone(&context.voice), context.masker.clone());
    let mut on_line = move |line: &str| voice.say(masker.mask(&format!("{line}\n")));
    match engine.push(image, credentials, &mut on_line).await {
        Ok(digest) => Ok(digest),
        Err(DockerError::NotFound(_)) => Err(format!(
            "image `{image}` is not on this machine: has `runner/build-image` run before this step?"
        )),
        Err(error @ DockerError::Unauthorized(_)) => {
            let refused = refusal(registry, credentials);
            Err(format!("{refused}: {}", project::words(error)))
        }
        Err(error) => Err(project::words(error)),
    }
}

/// Says who was refused, and where the password came from.
fn refusal(registry: &Registry, credentials: Option<&Credentials>) -> String {
    let server = registry.server.as_deref().unwrap_or("docker.io");
    let Some(credentials) = credentials else {
        return format!(
            "registry `{server}` wants a user, and `registry` of the configuration has none"
        );
    };
    let source = match &registry.password {
        Some(Credential::Secret(name)) => format!("secret `{name}`"),
        Some(Credential::Literal(_)) | None => {
            "the password of the configuration's `registry`".to_owned()
        }
    };
    format!(
        "registry `{server}` refused user `{}` with {source}",
        credentials.username
    )
}
