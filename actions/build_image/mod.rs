//! `runner/build-image`: the image of the project's configuration, on this machine's daemon.

use std::sync::Arc;

use crate::deploy::{BuildWishes, Project};
use crate::docker::{BuildSpec, Builder};
use crate::engine::{Action, ActionContext, ActionFuture, ActionResult, Fault};

use super::project::{self, JobImage, ProcessEnv};

/// The action.
#[derive(Debug)]
pub(super) struct BuildImage {
    /// The environment of the process.
    pub(super) env: ProcessEnv,
}

impl Action for BuildImage {
    fn manifest(&self) -> &'static str {
        include_str!("action.yml")
    }

    fn run<'a>(
        &'a self,
        context: &'a mut ActionContext<'_>,
    ) -> ActionFuture<'a, Result<ActionResult, Fault>> {
        Box::pin(async {
            let token = context.token.clone();
            let built = tokio::select! {
                built = build(context, &self.env) => built,
                () = token.cancelled() => Err("the build was cancelled".to_owned()),
            };
            Ok(built.unwrap_or_else(ActionResult::failure))
        })
    }
}

async fn build(context: &mut ActionContext<'_>, env: &ProcessEnv) -> Result<ActionResult, String> {
    let wishes = wishes(context)?;
    let project = project::read(context, env).await?;
    let allows_uncommitted = context.boolean("allow-uncommitted")?;
    let asked = context.input("version").map(str::to_owned);
    let asking = Arc::clone(&project);
    let version = project::blocking(context, move || {
        asking.version(asked.as_deref(), allows_uncommitted)
    });
    let version = version.await?.map_err(project::words)?;
    let engine = project::daemon(context, env).await?;
    let architecture = engine.version().await.map_err(project::words)?.architecture;
    let spec = spec(context, &project, (version.clone(), wishes, architecture)).await?;
    let image = project.config.absolute_image(&version);
    context.say(&format!("building {image}\n"));

    let (voice, masker) = (Arc::clone(&context.voice), context.masker.clone());
    let mut on_line = move |line: &[u8]| {
        let line = String::from_utf8_lossy(line);
        voice.say(masker.mask(&format!("{}\n", line.trim_end())));
    };
    let built = engine.build(&spec, &mut on_line).await;
    let built = built.map_err(project::words)?;
    let builder = if built.by_buildkit {
        "BuildKit"
    } else {
        "the classic builder"
    };
    context.say(&format!("{image} is {} (by {builder})\n", built.id));
    context.slots.put(JobImage {
        repository: project.config.repository(),
        version: version.clone(),
        digest: None,
    });
    Ok(ActionResult::success()
        .with_output("image", image)
        .with_output("version", version)
        .with_output("id", built.id))
}

async fn spec(
    context: &ActionContext<'_>,
    project: &Arc<Project>,
    (version, wishes, architecture): (String, BuildWishes, String),
) -> Result<BuildSpec, String> {
    for value in wishes.secrets.values() {
        let _is_long_enough = context.masker.add(value);
    }
    let cache = &project.config.builder.cache;
    if cache.is_some() {
        context.warn("`builder.cache` is not used: the daemon's own cache is");
    }
    let asking = Arc::clone(project);
    let made = project::blocking(context, move || {
        let spec = asking.build_spec(&version, &wishes, &architecture);
        (spec, asking.base_image_credentials())
    });
    let (spec, (credentials, problem)) = made.await?;
    let spec = spec.map_err(project::words)?;
    if let Some(problem) = problem {
        context.say(&format!(
            "base images are pulled without credentials: {problem}\n"
        ));
    }
    for credentials in &credentials {
        let _is_long_enough = context.masker.add(&credentials.password);
    }
    for value in spec.secrets.values() {
        let _is_long_enough = context.masker.add(&String::from_utf8_lossy(value));
    }
    Ok(BuildSpec {
        credentials,
        ..spec
    })
}

fn wishes(context: &ActionContext<'_>) -> Result<BuildWishes, String> {
    let text = |name: &str| context.input(name).map(str::to_owned);
    let mut wishes = BuildWishes {
        context: text("context"),
        dockerfile: text("dockerfile"),
        target: text("target"),
        tags: project::list(context.input("tags")),
        builder: match context.input("builder") {
            None | Some("auto") => Builder::Automatic,
            Some("buildkit") => Builder::BuildKit,
            Some("classic") => Builder::Classic,
            Some(other) => {
                return Err(format!(
                    "input `builder` must be `auto`, `buildkit` or `classic`, not `{other}`"
                ));
            }
        },
        no_cache: context.boolean("no-cache")?,
        pull: context.boolean("pull")?,
        ..BuildWishes::default()
    };
    for line in lines(context, "build-args") {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        wishes.args.push((name.to_owned(), value.to_owned()));
    }
    for line in lines(context, "secrets") {
        match line.split_once('=') {
            Some((id, value)) => {
                wishes.secrets.insert(id.to_owned(), value.to_owned());
            }
            None => wishes.secret_names.push(line.to_owned()),
        }
    }
    Ok(wishes)
}

fn lines<'a>(context: &'a ActionContext<'_>, name: &str) -> impl Iterator<Item = &'a str> {
    let text = context.input(name).unwrap_or_default();
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}
