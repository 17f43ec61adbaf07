//! `runner.toml`: which repositories are watched, and how.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::super::error::{CliError, ErrorKind};
use super::super::labels::place_of;
use super::super::run::file_pairs;
use super::super::settings;
use super::arguments::ServerArguments;
use crate::engine::Labels;
use crate::scheduler::Repository;

/// How often a repository is looked at where the file does not say it.
const POLL: Duration = Duration::from_secs(30);

/// The API that is told of runs where the file does not say which.
const GITHUB_API: &str = "https://api.github.com";

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    data: Option<PathBuf>,
    database: Option<Value>,
    slots: Option<usize>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    server: Option<WrittenServer>,
    #[serde(default, rename = "repository")]
    repositories: Vec<WrittenRepository>,
}

/// What is answered by HTTP.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenServer {
    listen: SocketAddr,
    public_url: Option<String>,
    token: Option<Value>,
}

/// Whether pull requests from forks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Forks {
    /// They do not.
    Refuse,
    /// They run, without secrets.
    RunWithoutSecrets,
}

/// What becomes of a job that was lost with its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LostJobs {
    /// It fails.
    Fail,
    /// It is run again, once, unless it deploys.
    Rerun,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenRepository {
    name: String,
    url: String,
    poll: Option<String>,
    folder: Option<PathBuf>,
    default_branch: Option<String>,
    forks: Option<Forks>,
    lost_jobs: Option<LostJobs>,
    token: Option<Value>,
    #[serde(default)]
    webhook_secrets: Vec<Value>,
    api: Option<String>,
    report: Option<bool>,
    ssh_key: Option<PathBuf>,
    secrets_file: Option<PathBuf>,
    #[serde(default)]
    secrets: BTreeMap<String, Value>,
    #[serde(default)]
    vars: BTreeMap<String, String>,
}

/// A value that does not stand in the file: secrets do not belong there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Value {
    env: Option<String>,
    file: Option<PathBuf>,
}

/// What a server does.
#[derive(Debug)]
pub(in super::super) struct ServeConfig {
    /// Where everything is kept.
    pub(in super::super) data: PathBuf,
    /// The URL of the database, if it is not a file in there.
    pub(in super::super) database: Option<String>,
    /// The variable that it stands in, if the file names one.
    pub(in super::super) database_variable: Option<String>,
    /// How many jobs run at once.
    pub(in super::super) slots: usize,
    /// Labels that are served beside those of every machine.
    pub(in super::super) labels: Labels,
    /// The repositories, by name.
    pub(in super::super) repositories: HashMap<String, Watched>,
    /// What is answered by HTTP, if anything is.
    pub(in super::super) server: Option<ServerConfig>,
}

/// A repository that is watched, and how.
#[derive(Debug)]
pub(in super::super) struct Watched {
    /// The repository.
    pub(in super::super) repository: Repository,
    /// The time between two looks.
    pub(in super::super) poll: Duration,
    /// The secrets that sign its webhooks.
    pub(in super::super) webhook_secrets: Vec<String>,
    /// The API that is told of its runs, with a token.
    pub(in super::super) api: String,
}

/// What is answered by HTTP.
#[derive(Debug)]
pub(in super::super) struct ServerConfig {
    /// Where it listens.
    pub(in super::super) listen: SocketAddr,
    /// What its pages are asked with.
    pub(in super::super) token: Option<String>,
}

/// Whether the values of secrets are read: who only looks needs none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Values {
    /// They are, and one that is missing is an error.
    Read,
    /// They are not.
    Left,
}

impl ServeConfig {
    /// Reads the configuration that a command line names, which has the last word on the database.
    pub(in super::super) fn of(
        arguments: &ServerArguments,
        values: Values,
    ) -> Result<Self, CliError> {
        let mut config = Self::read(&arguments.config, values, arguments.database.is_some())?;
        if arguments.database.is_some() {
            config.database.clone_from(&arguments.database);
        }
        Ok(config)
    }

    /// Reads the file, and the files and variables that it names.
    fn read(path: &Path, values: Values, has_database: bool) -> Result<Self, CliError> {
        let text = std::fs::read_to_string(path).map_err(|source| {
            CliError::new(
                ErrorKind::Usage,
                format!("`{}` could not be read", path.display()),
            )
            .because(source)
            .with_hint("make one: runner init")
        })?;
        let written: Written = toml::from_str(&text).map_err(|source| {
            let line = source
                .span()
                .and_then(|span| text.get(..span.start))
                .map_or(1, |before| before.matches('\n').count() + 1);
            CliError::new(
                ErrorKind::Invalid,
                format!("{}:{line}: {}", path.display(), source.message()),
            )
        })?;
        let folder = path
            .canonicalize()
            .ok()
            .and_then(|path| path.parent().map(Path::to_owned))
            .unwrap_or_default();
        let invalid =
            |what: String| CliError::new(ErrorKind::Invalid, format!("{}: {what}", path.display()));
        let data = folder.join(written.data.unwrap_or_else(|| PathBuf::from(".runner")));
        let mirrors = data.join("mirrors");
        let server = match written.server {
            Some(server) => Some(server.read(&folder, values)?),
            None => None,
        };
        let mut repositories = HashMap::new();
        for written in written.repositories {
            if written.name.split('/').count() != 2 || written.name.contains("..") {
                return Err(invalid(format!(
                    "the name of a repository is `owner/name`, not `{}`",
                    written.name
                )));
            }
            let poll = match &written.poll {
                None => POLL,
                Some(text) => humantime::parse_duration(text).map_err(|error| {
                    invalid(format!(
                        "`poll` of {}: {error}; write `30s` or `5m`",
                        written.name
                    ))
                })?,
            };
            let name = written.name.clone();
            let public_url = server.as_ref().and_then(|(_, url)| url.clone());
            let watched = watched(written, (&mirrors, &folder), (poll, public_url), values)?;
            if repositories.insert(name.clone(), watched).is_some() {
                return Err(invalid(format!("{name} is there twice")));
            }
        }
        let mut labels = Labels::default();
        for (label, place) in &written.labels {
            let shown = format!("labels.{label} = {place}");
            labels.serve(label, place_of(place, &shown)?);
        }
        let database = match &written.database {
            // Another one is named, so this one need not be there.
            Some(value) if !has_database => Some(value.read("database", &folder)?),
            _ => None,
        };
        Ok(Self {
            data,
            database,
            database_variable: written.database.and_then(|value| value.env),
            slots: written
                .slots
                .unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from)),
            labels,
            repositories,
            server: server.map(|(server, _)| server),
        })
    }

    /// Returns the repository of a name; the only one where none is named.
    pub(in super::super) fn repository(&self, name: Option<&str>) -> Result<&Repository, CliError> {
        let mut known: Vec<&str> = self.repositories.keys().map(String::as_str).collect();
        known.sort_unstable();
        let found = match name {
            Some(name) => self.repositories.get(name),
            None => match known.as_slice() {
                [only] => self.repositories.get(*only),
                _ => None,
            },
        };
        found.map(|watched| &watched.repository).ok_or_else(|| {
            CliError::new(
                ErrorKind::Usage,
                name.map_or_else(
                    || "a repository must be named".to_owned(),
                    |name| format!("the repository `{name}` is not watched"),
                ),
            )
            .with_hint(format!(
                "--repository NAME; watched are: {}",
                known.join(", ")
            ))
        })
    }
}

impl WrittenServer {
    /// Returns what is answered, and where that is seen from outside.
    fn read(
        self,
        folder: &Path,
        values: Values,
    ) -> Result<(ServerConfig, Option<String>), CliError> {
        let token = match &self.token {
            Some(token) if values == Values::Read => Some(token.read("server.token", folder)?),
            _ => None,
        };
        let server = ServerConfig {
            listen: self.listen,
            token,
        };
        Ok((server, self.public_url))
    }
}

fn watched(
    written: WrittenRepository,
    (mirrors, folder): (&Path, &Path),
    (poll, public_url): (Duration, Option<String>),
    values: Values,
) -> Result<Watched, CliError> {
    let mut repository = Repository::new(&written.name, &written.url, mirrors);
    repository.public_url = public_url;
    repository.runs_forks = written.forks == Some(Forks::RunWithoutSecrets);
    repository.reruns_lost = written.lost_jobs == Some(LostJobs::Rerun);
    // GitHub is told where it can be: by whoever has a token for it.
    repository.reports = written.report.unwrap_or(written.token.is_some());
    if let Some(branch) = &written.default_branch {
        repository.default_branch.clone_from(branch);
    }
    let api = written.api.clone().unwrap_or_else(|| GITHUB_API.to_owned());
    repository.vars = written.vars;
    repository.folder = written.folder.map(|path| folder.join(path));
    repository.credentials.ssh_key = written.ssh_key.map(|path| folder.join(path));
    if values == Values::Left {
        return Ok(Watched {
            repository,
            poll,
            webhook_secrets: Vec::new(),
            api,
        });
    }
    let what = |name: &str| format!("`{name}` of {}", written.name);
    if let Some(token) = &written.token {
        repository.credentials.token = Some(token.read(&what("token"), folder)?);
    }
    let mut webhook_secrets = Vec::new();
    for secret in &written.webhook_secrets {
        webhook_secrets.push(secret.read(&what("webhook-secrets"), folder)?);
    }
    let file = written.secrets_file.map(|path| folder.join(path));
    repository.secrets = file_pairs(file.as_deref())?.into_iter().collect();
    for (name, value) in &written.secrets {
        let text = value.read(&what(&format!("secrets.{name}")), folder)?;
        repository.secrets.insert(name.clone(), text);
    }
    Ok(Watched {
        repository,
        poll,
        webhook_secrets,
        api,
    })
}

impl Value {
    fn read(&self, what: &str, folder: &Path) -> Result<String, CliError> {
        match (&self.env, &self.file) {
            (Some(name), None) => settings::variable(name).ok_or_else(|| {
                CliError::new(
                    ErrorKind::Invalid,
                    format!("{what}: the variable `{name}` is not in the environment"),
                )
            }),
            (None, Some(path)) => {
                let path = folder.join(path);
                let text = std::fs::read_to_string(&path).map_err(|source| {
                    CliError::new(
                        ErrorKind::Invalid,
                        format!("{what}: `{}` could not be read", path.display()),
                    )
                    .because(source)
                })?;
                Ok(text.trim_end_matches(['\r', '\n']).to_owned())
            }
            _ => Err(CliError::new(
                ErrorKind::Invalid,
                format!("{what} wants one of `env` and `file`"),
            )
            .with_hint("{ env = \"NAME\" } or { file = \"/etc/runner/token\" }")),
        }
    }
}
