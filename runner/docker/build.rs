//! Building images.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use futures_util::TryStreamExt as _;
use http_body_util::BodyExt as _;
use hyper::{Response, body::Incoming, upgrade::Upgraded};
use serde_json::json;

use super::{
    Credentials, DockerError, Engine,
    build_context::BuildContext,
    build_progress::{BrokenStep, Progress},
    build_session::{self, METHODS},
    error::by_words,
    transport::streamed,
};

/// Who builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Builder {
    /// BuildKit, or the classic builder where the daemon has no BuildKit and no secret is given.
    #[default]
    Automatic,
    /// BuildKit.
    BuildKit,
    /// The classic builder, which knows no secrets and no mounts.
    Classic,
}

/// An image to be built.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct BuildSpec {
    /// Folder with the files.
    pub context: PathBuf,
    /// The Dockerfile, relative to the folder.
    pub dockerfile: String,
    /// Names of the image, with tags.
    pub tags: Vec<String>,
    /// Build arguments; they stay readable in the image's history, so none of them is a secret.
    pub args: BTreeMap<String, String>,
    /// Stage to build; the last, if none.
    pub target: Option<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Values for `RUN --mount=type=secret,id=...`; they are in no layer and no file.
    pub secrets: BTreeMap<String, Vec<u8>>,
    /// As `linux/arm64`; the daemon's own, if none.
    pub platform: Option<String>,
    /// Whether every step runs again.
    pub no_cache: bool,
    /// Whether base images are looked up in their registries even if they are there.
    pub pull: bool,
    /// For base images.
    pub credentials: Vec<Credentials>,
    /// Who builds.
    pub builder: Builder,
}

impl BuildSpec {
    /// The image of a folder with a `Dockerfile`.
    pub fn of_folder(context: impl Into<PathBuf>, tag: impl Into<String>) -> Self {
        Self {
            context: context.into(),
            dockerfile: "Dockerfile".into(),
            tags: vec![tag.into()],
            ..Self::default()
        }
    }
}

impl fmt::Debug for BuildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BuildSpec")
            .field("context", &self.context)
            .field("dockerfile", &self.dockerfile)
            .field("tags", &self.tags)
            .field("args", &self.args.keys())
            .field("target", &self.target)
            .field("secrets", &self.secrets.keys())
            .field("builder", &self.builder)
            .finish_non_exhaustive()
    }
}

/// An image that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// Its id, `sha256:...`.
    pub id: String,
    /// Whether BuildKit built it.
    pub by_buildkit: bool,
}

impl Engine {
    /// Builds an image; `on_line` gets what the build says, line by line.
    ///
    /// Dropping the future cancels the build. A Dockerfile that `.dockerignore` leaves out is used
    /// all the same; BuildKit then also sees it in the context.
    ///
    /// # Errors
    /// [`DockerError::BuildStep`] names the instruction that failed; [`DockerError::Context`];
    /// the daemon's refusals.
    pub async fn build(
        &self,
        spec: &BuildSpec,
        on_line: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<Built, DockerError> {
        let (folder, dockerfile) = (spec.context.clone(), spec.dockerfile.clone());
        let listed = tokio::task::spawn_blocking(move || BuildContext::list(&folder, &dockerfile));
        let context = listed
            .await
            .map_err(|e| self.interrupted("list the build context", e))??;
        let session = match spec.builder {
            Builder::Classic => None,
            Builder::BuildKit => Some(self.open_session().await?),
            Builder::Automatic if !spec.secrets.is_empty() => Some(self.open_session().await?),
            Builder::Automatic => match self.open_session().await {
                Ok(session) => Some(session),
                Err(DockerError::NotFound(_) | DockerError::Refused { .. }) => None,
                Err(e) => return Err(e),
            },
        };
        let Some((id, connection)) = session else {
            if !spec.secrets.is_empty() {
                let message = "the classic builder knows no secrets";
                return Err(DockerError::Failed(
                    self.failure("build the image", message),
                ));
            }
            return self.follow(spec, context, None, on_line).await;
        };
        let answer =
            build_session::serve(connection, spec.secrets.clone(), spec.credentials.clone());
        let build = self.follow(spec, context, Some(&id), on_line);
        tokio::pin!(answer, build);
        // The session ends with the build; if it ends before, the build says what it misses.
        tokio::select! {
            built = &mut build => built,
            _ended = &mut answer => build.await,
        }
    }

    async fn open_session(&self) -> Result<(String, Upgraded), DockerError> {
        let action = "open a session for BuildKit";
        let id = uuid::Uuid::now_v7().simple().to_string();
        let mut headers = vec![
            ("connection", "Upgrade".to_owned()),
            ("upgrade", "h2c".to_owned()),
            ("x-docker-expose-session-uuid", id.clone()),
        ];
        headers.extend(METHODS.map(|m| ("x-docker-expose-session-grpc-method", m.to_owned())));
        let empty = super::transport::whole(Vec::new());
        let response = self.raw(action, "/session", &headers, empty).await?;
        let response = self.expect_success(action, response).await?;
        let upgraded = hyper::upgrade::on(response).await;
        upgraded
            .map(|connection| (id, connection))
            .map_err(|e| self.interrupted(action, e))
    }

    async fn follow(
        &self,
        spec: &BuildSpec,
        context: BuildContext,
        session: Option<&str>,
        on_line: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<Built, DockerError> {
        let name = spec.tags.first().map_or("", String::as_str);
        let action = format!("build image `{name}`");
        let mut headers = vec![("content-type", "application/x-tar".to_owned())];
        if session.is_none() && !spec.credentials.is_empty() {
            headers.push(("x-registry-config", registry_config(&spec.credentials)));
        }
        let path = format!("/build?{}", query(spec, session));
        let response = self
            .raw(&action, &path, &headers, streamed(context.stream()))
            .await?;
        let response = self.expect_success(&action, response).await?;
        let mut progress = Progress::default();
        let outcome = self.read(&action, response, &mut progress, on_line).await?;
        if let Err(BrokenStep { step, message }) = outcome {
            return Err(match step {
                Some(step) => DockerError::BuildStep {
                    engine: self.name().to_owned(),
                    step,
                    message,
                },
                None => by_words(self.failure(&action, message)),
            });
        }
        let id = match progress.image {
            Some(id) => id,
            None => self
                .image(name)
                .await?
                .map(|image| image.id)
                .ok_or_else(|| {
                    DockerError::Answer(self.failure(&action, "the daemon told no image"))
                })?,
        };
        Ok(Built {
            id,
            by_buildkit: session.is_some(),
        })
    }

    async fn read(
        &self,
        action: &str,
        response: Response<Incoming>,
        progress: &mut Progress,
        on_line: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<Result<(), BrokenStep>, DockerError> {
        let mut body = response.into_body().into_data_stream();
        let mut broken = None;
        while let Some(bytes) = body
            .try_next()
            .await
            .map_err(|e| self.interrupted(action, e))?
        {
            // What follows the error belongs to it, as the rest of the step's output.
            if let Err(step) = progress.take(&bytes, on_line) {
                broken.get_or_insert(step);
            }
        }
        if let Err(step) = progress.finish(on_line) {
            broken.get_or_insert(step);
        }
        Ok(broken.map_or(Ok(()), Err))
    }
}

fn query(spec: &BuildSpec, session: Option<&str>) -> String {
    let mut pairs: Vec<(&str, String)> = vec![
        ("dockerfile", spec.dockerfile.clone()),
        ("rm", "1".into()),
        ("forcerm", "1".into()),
        ("buildargs", json!(spec.args).to_string()),
        ("labels", json!(spec.labels).to_string()),
    ];
    pairs.extend(spec.tags.iter().map(|tag| ("t", tag.clone())));
    pairs.extend(spec.target.iter().map(|target| ("target", target.clone())));
    pairs.extend(
        spec.platform
            .iter()
            .map(|platform| ("platform", platform.clone())),
    );
    for (name, wanted) in [("nocache", spec.no_cache), ("pull", spec.pull)] {
        if wanted {
            pairs.push((name, "1".into()));
        }
    }
    if let Some(session) = session {
        pairs.push(("version", "2".into()));
        pairs.push(("session", session.to_owned()));
        pairs.push(("buildid", session.to_owned()));
    }
    let encoded: Vec<_> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", percent(value)))
        .collect();
    encoded.join("&")
}

fn percent(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push_str(&hex::encode_upper([byte]));
        }
    }
    encoded
}

fn registry_config(credentials: &[Credentials]) -> String {
    let servers: serde_json::Map<_, _> = credentials
        .iter()
        .map(|one| {
            let login = json!({ "username": one.username, "password": one.password });
            (one.address(), login)
        })
        .collect();
    URL_SAFE.encode(json!(servers).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_holds_every_wish_and_no_secret() {
        let mut spec = BuildSpec::of_folder("/x", "app:1");
        spec.args.insert("A".into(), "b c&d".into());
        spec.target = Some("final".into());
        spec.secrets.insert("token".into(), b"s3cret".to_vec());
        let text = query(&spec, Some("id"));
        for part in [
            "t=app%3A1",
            "target=final",
            "version=2",
            "session=id",
            "b%20c%26d",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("s3cret") && !format!("{spec:?}").contains("s3cret"));
    }
}
