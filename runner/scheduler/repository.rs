//! A repository that is watched: where it lies, what its runs may see, and what it says now.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::document::Report;
use crate::expression::{Object, Value};
use crate::git::{Credentials, Mirror, MirrorError, split_url};
use crate::mask::Masker;

/// The folders that hold workflow files.
pub const WORKFLOW_FOLDERS: [&str; 2] = ["pipelines", ".github/workflows"];

/// How workflow files end.
pub const WORKFLOW_ENDINGS: [&str; 2] = [".yml", ".yaml"];

/// What becomes of a pull request from a fork; whatever runs of it gets no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forks {
    /// It does not run.
    Refuse,
    /// It waits until someone lets its commit run.
    Approve,
    /// It runs.
    Run,
}

/// A repository that is watched.
#[derive(Debug, Clone)]
pub struct Repository {
    /// `owner/name`.
    pub name: String,
    /// Where its server is, as `https://github.com`.
    pub server_url: Option<String>,
    /// The copy of it on this machine.
    pub mirror: Mirror,
    /// How we prove to its server who we are.
    pub credentials: Credentials,
    /// The folder with `.kamal/secrets*` and the files that those read, which are in no commit.
    pub folder: Option<PathBuf>,
    /// The secrets of its runs.
    pub secrets: BTreeMap<String, String>,
    /// Its configuration variables.
    pub vars: BTreeMap<String, String>,
    /// The branch whose workflows count where an event names none.
    pub default_branch: String,
    /// Whether GitHub is told of its runs.
    pub reports: bool,
    /// Where this server's pages are seen from outside.
    pub public_url: Option<String>,
    /// Whether a job that was lost with its machine, and deploys nothing, is run again.
    pub reruns_lost: bool,
    /// The GitHub App in whose name check runs are shown; without one there are statuses.
    pub app: Option<u64>,
    /// Whether a workflow that a filter shut out is shown as successful, so that nobody waits for it.
    pub reports_skipped: bool,
    /// What becomes of pull requests from forks.
    pub forks: Forks,
    /// The image of the containers that their jobs are kept in; without one they run on this host.
    pub fork_image: Option<String>,
}

impl Repository {
    /// Returns a repository that is copied to a folder below `mirrors`.
    pub fn new(name: &str, url: &str, mirrors: &Path) -> Self {
        let folder = mirrors.join(format!("{}.git", name.replace('/', "__")));
        Self {
            name: name.to_owned(),
            server_url: split_url(url).map(|(server, _)| server),
            mirror: Mirror::new(folder, url.to_owned()),
            credentials: Credentials::default(),
            folder: None,
            secrets: BTreeMap::new(),
            vars: BTreeMap::new(),
            default_branch: "main".to_owned(),
            reports: false,
            public_url: None,
            reruns_lost: false,
            app: None,
            reports_skipped: false,
            forks: Forks::Refuse,
            fork_image: None,
        }
    }

    /// Fetches a commit that another machine took in, where it is not in the copy yet.
    ///
    /// Blocks until the server answered. A commit that it does not give any more is no error here.
    pub fn bring(&self, sha: &str, git_ref: &str) -> Result<(), MirrorError> {
        if self.mirror.has(sha) {
            return Ok(());
        }
        self.mirror.fetch(&self.credentials)?;
        if !self.mirror.has(sha) && git_ref.starts_with("refs/") {
            self.mirror.fetch_ref(git_ref, &self.credentials)?;
        }
        Ok(())
    }

    /// Returns the texts of the workflow files of a commit, by path.
    pub fn workflow_texts(&self, sha: &str) -> Result<BTreeMap<String, String>, MirrorError> {
        self.mirror.texts(sha, &WORKFLOW_FOLDERS, &WORKFLOW_ENDINGS)
    }

    /// Returns how GitHub is told of what happens to a commit.
    pub fn report(&self, sha: &str) -> Report {
        Report {
            sha: sha.to_owned(),
            public_url: self.public_url.clone(),
            is_app: self.app.is_some(),
        }
    }

    /// Returns a masker that knows the secrets of its runs.
    pub fn masker(&self) -> Masker {
        let masker = Masker::new();
        let token = self.credentials.token.current();
        for value in self.secrets.values().chain(&token) {
            masker.add(value);
        }
        masker
    }

    /// Returns the secrets that a run may see, with the token as GitHub gives it.
    pub fn secrets_of(&self, is_fork: bool) -> Object {
        if is_fork {
            return Object::new();
        }
        let own = self.secrets.iter();
        let mut secrets: Object = own
            .map(|(name, value)| (name.as_str(), Value::from(value.as_str())))
            .collect();
        if secrets.get("GITHUB_TOKEN").is_none()
            && let Some(token) = self.credentials.token.current()
        {
            secrets.insert("GITHUB_TOKEN", token);
        }
        secrets
    }

    /// Returns the context `vars`.
    pub fn vars_value(&self) -> Value {
        let own = self.vars.iter();
        own.map(|(name, value)| (name.as_str(), Value::from(value.as_str())))
            .collect::<Object>()
            .into()
    }
}
