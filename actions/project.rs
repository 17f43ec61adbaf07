//! What the actions that build and deploy share: the project's inputs, and the job's image.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use crate::{
    deploy::{Project, ProjectPlace},
    docker::{DEFAULT_SOCKET, Engine},
    engine::{ActionContext, Fault},
};

/// The environment of the process, which project files may use as with Kamal.
pub(super) type ProcessEnv = Arc<BTreeMap<String, String>>;

/// The image of the job's release: what `build-image` built and `push-image` pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct JobImage {
    /// With the registry, without a tag.
    pub(super) repository: String,
    /// The tag.
    pub(super) version: String,
    /// The digest in the registry, once it is pushed.
    pub(super) digest: Option<String>,
}

/// Reads the project that the inputs name, and says what is to be said of its configuration.
///
/// The error is the step's failure, in words.
pub(super) async fn read(
    context: &ActionContext<'_>,
    process_env: &ProcessEnv,
) -> Result<Arc<Project>, String> {
    let own = context.input("working-directory").unwrap_or(".");
    let folder = context.workspace.join(own);
    let config_file = context.input("config").unwrap_or("config/deploy.yml");
    if !folder.join(config_file).exists() {
        return Err(format!(
            "`{config_file}` is not in the workspace: has `actions/checkout` run before this step?"
        ));
    }
    let place = ProjectPlace {
        folder,
        secrets_folder: context.secrets_folder.join(own),
        config_file: config_file.to_owned(),
        destination: context.input("destination").map(str::to_owned),
        env: environment(context, process_env),
    };
    let read = blocking(context, move || Project::read(place)).await?;
    let project = read.map_err(|error| error.to_string())?;
    for notice in &project.notices {
        context.warn(notice);
    }
    Ok(Arc::new(project))
}

/// The variables of the step over those of the process.
fn environment(context: &ActionContext<'_>, process_env: &ProcessEnv) -> ProcessEnv {
    let mut env = BTreeMap::clone(process_env);
    let own = context.env.iter();
    env.extend(own.map(|(name, value)| (name.clone(), value.clone())));
    Arc::new(env)
}

/// Does work that waits for files and commands on a thread that may wait.
pub(super) async fn blocking<T: Send + 'static>(
    context: &ActionContext<'_>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await;
    if context.token.is_cancelled() {
        return Err("it was cancelled".to_owned());
    }
    done.map_err(|error| format!("the work ended without a result: {error}"))
}

/// Returns the daemon of the machine where the job runs; of this machine, it is the one where `DOCKER_HOST` says, else at its usual place.
pub(super) async fn daemon(
    context: &ActionContext<'_>,
    process_env: &ProcessEnv,
) -> Result<Engine, String> {
    if let Some(engine) = &context.engine {
        return Ok(engine.clone());
    }
    let env = environment(context, process_env);
    let socket = match env.get("DOCKER_HOST").map(String::as_str) {
        None | Some("") => PathBuf::from(DEFAULT_SOCKET),
        Some(host) => match host.strip_prefix("unix://") {
            Some(path) => PathBuf::from(path),
            None => {
                return Err(format!(
                    "`DOCKER_HOST` is `{host}`: only a daemon on a socket of this machine (`unix://...`) is supported"
                ));
            }
        },
    };
    Engine::local(socket).await.map_err(words)
}

/// Returns an error and all its causes as one line.
pub(super) fn words(error: impl std::error::Error + Send + Sync + 'static) -> String {
    let text = error.to_string();
    match error.source() {
        None => text,
        Some(_) => {
            let chain = Fault::new(String::new(), error).chain();
            chain.trim_start_matches(": ").to_owned()
        }
    }
}

/// Splits a list at white space and commas.
pub(super) fn list(text: Option<&str>) -> Vec<String> {
    let parts = text.unwrap_or_default().split([',', ' ', '\t', '\n', '\r']);
    parts
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}
