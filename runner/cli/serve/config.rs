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
use super::app::{AppConfig, WrittenApp};
use super::arguments::ServerArguments;
use super::keeping::{self, WrittenKeep};
use super::telling::{self, WrittenChannel};
use super::traces::WrittenTelemetry;
use crate::engine::Labels;
use crate::github;
use crate::notify::Channel;
use crate::scheduler::{Forks, Keep, Repository, Subscriptions};
use crate::telemetry::Collector;

/// How often a repository is looked at where the file does not say it.
const POLL: Duration = Duration::from_secs(30);

/// How long after its time a scheduled run that was missed still starts, where the file does not say it.
const CATCH_UP: Duration = Duration::from_secs(60 * 60);

/// What stands for an image where jobs of forks run on this host.
const HOST: &str = "host";

/// How often GitHub is asked for deliveries that were missed where the file does not say it.
const MISSED: Duration = Duration::from_secs(180);

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    data: Option<PathBuf>,
    database: Option<Value>,
    slots: Option<usize>,
    min_free: Option<String>,
    #[serde(default)]
    keep: WrittenKeep,
    #[serde(default, rename = "notify")]
    channels: Vec<WrittenChannel>,
    telemetry: Option<WrittenTelemetry>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    server: Option<WrittenServer>,
    github_app: Option<WrittenApp>,
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
    missed_deliveries: Option<String>,
    #[serde(default)]
    public_badges: bool,
}

/// Whether pull requests from forks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WrittenForks {
    /// They do not.
    Refuse,
    /// They run, without secrets, once someone lets their commit run.
    Approve,
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
    catch_up: Option<String>,
    folder: Option<PathBuf>,
    default_branch: Option<String>,
    forks: Option<WrittenForks>,
    fork_image: Option<String>,
    lost_jobs: Option<LostJobs>,
    token: Option<Value>,
    #[serde(default)]
    webhook_secrets: Vec<Value>,
    api: Option<String>,
    report: Option<bool>,
    report_skipped: Option<bool>,
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
pub(super) struct Value {
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
    /// What must be free on the disk for a job to begin, in bytes.
    pub(in super::super) min_free: u64,
    /// How long what is kept.
    pub(in super::super) keep: Keep,
    /// Who is told of what.
    pub(in super::super) subscriptions: Subscriptions,
    /// How they are told; none where the values of secrets are left alone.
    pub(in super::super) channels: Vec<Channel>,
    /// The collector that is told of runs, if one is.
    pub(in super::super) collector: Option<Collector>,
    /// Labels that are served beside those of every machine.
    pub(in super::super) labels: Labels,
    /// The repositories, by name.
    pub(in super::super) repositories: HashMap<String, Watched>,
    /// What is answered by HTTP, if anything is.
    pub(in super::super) server: Option<ServerConfig>,
    /// The App in whose name GitHub is spoken to, of repositories without a token.
    pub(in super::super) app: Option<AppConfig>,
    /// How often GitHub is asked for deliveries that were missed.
    pub(in super::super) missed_deliveries: Duration,
}

/// A repository that is watched, and how.
#[derive(Debug)]
pub(in super::super) struct Watched {
    /// The repository.
    pub(in super::super) repository: Repository,
    /// The time between two looks.
    pub(in super::super) poll: Duration,
    /// How long after its time a scheduled run that was missed still starts.
    pub(in super::super) catch_up: Duration,
    /// The secrets that sign its webhooks.
    pub(in super::super) webhook_secrets: Vec<String>,
    /// The API that is told of its runs, with a token.
    pub(in super::super) api: String,
    /// Whether it has a token of its own.
    has_token: bool,
    /// What the file says of whether GitHub is told of its runs.
    reports: Option<bool>,
}

/// What is answered by HTTP.
#[derive(Debug)]
pub(in super::super) struct ServerConfig {
    /// Where it listens.
    pub(in super::super) listen: SocketAddr,
    /// A token that allows everything.
    pub(in super::super) token: Option<String>,
    /// Whether everybody may see badges.
    pub(in super::super) has_public_badges: bool,
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
        let written = Written::read(path)?;
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
        let app = match &written.github_app {
            Some(app) => Some(app.read(&folder, values)?),
            None => None,
        };
        let public_url = server.as_ref().and_then(|server| server.url.clone());
        let mut repositories = HashMap::new();
        for written in written.repositories {
            let times = written.times().map_err(invalid)?;
            let name = written.name.clone();
            let mut watched = watched(written, (&mirrors, &folder), times, values)?;
            watched.repository.public_url.clone_from(&public_url);
            if let Some(app) = app.as_ref().filter(|_| !watched.has_token) {
                watched.speak_as(app);
            }
            if repositories.insert(name.clone(), watched).is_some() {
                return Err(invalid(format!("{name} is there twice")));
            }
        }
        let subscriptions = Subscriptions {
            all: written
                .channels
                .iter()
                .map(WrittenChannel::subscription)
                .collect(),
            public_url,
        };
        let names: Vec<&str> = repositories.keys().map(String::as_str).collect();
        telling::check(&subscriptions, &names).map_err(invalid)?;
        let mut channels = Vec::new();
        for channel in &written.channels {
            channels.extend(channel.channel(&folder, values)?);
        }
        let collector = telemetry(written.telemetry.as_ref(), &folder, values)?;
        let missed = server.as_ref().and_then(|server| server.missed.as_ref());
        let missed_deliveries =
            duration("`server.missed-deliveries`", missed, MISSED).map_err(invalid)?;
        let keep = written.keep.read().map_err(invalid)?;
        let min_free = match &written.min_free {
            None => keeping::MIN_FREE,
            Some(text) => keeping::size("min-free", text).map_err(invalid)?,
        };
        let labels = labels(&written.labels)?;
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
            min_free,
            keep,
            subscriptions,
            channels,
            collector,
            labels,
            repositories,
            server: server.map(|server| server.config),
            app,
            missed_deliveries,
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

impl Written {
    fn read(path: &Path) -> Result<Self, CliError> {
        let text = std::fs::read_to_string(path).map_err(|source| {
            CliError::new(
                ErrorKind::Usage,
                format!("`{}` could not be read", path.display()),
            )
            .because(source)
            .with_hint("make one: runner init")
        })?;
        toml::from_str(&text).map_err(|source| {
            let line = source
                .span()
                .and_then(|span| text.get(..span.start))
                .map_or(1, |before| before.matches('\n').count() + 1);
            CliError::new(
                ErrorKind::Invalid,
                format!("{}:{line}: {}", path.display(), source.message()),
            )
        })
    }
}

/// Returns the collector that is told of runs, if one is.
fn telemetry(
    written: Option<&WrittenTelemetry>,
    folder: &Path,
    values: Values,
) -> Result<Option<Collector>, CliError> {
    written.map_or(Ok(None), |telemetry| telemetry.read(folder, values))
}

/// Reads a time; errors in words.
fn duration(what: &str, text: Option<&String>, unsaid: Duration) -> Result<Duration, String> {
    match text {
        None => Ok(unsaid),
        Some(text) => humantime::parse_duration(text)
            .map_err(|error| format!("{what}: {error}; write `30s` or `5m`")),
    }
}

impl WrittenRepository {
    /// Returns the time between two looks and how late a scheduled run may start; errors in words, also
    /// where the repository has no name that can be used.
    fn times(&self) -> Result<(Duration, Duration), String> {
        if self.name.split('/').count() != 2 || self.name.contains("..") {
            return Err(format!(
                "the name of a repository is `owner/name`, not `{}`",
                self.name
            ));
        }
        let of = |key: &str| format!("`{key}` of {}", self.name);
        Ok((
            duration(&of("poll"), self.poll.as_ref(), POLL)?,
            duration(&of("catch-up"), self.catch_up.as_ref(), CATCH_UP)?,
        ))
    }
}

impl WrittenServer {
    /// Reads the token that it names.
    fn read(self, folder: &Path, values: Values) -> Result<ReadServer, CliError> {
        let token = match &self.token {
            Some(token) if values == Values::Read => Some(token.read("server.token", folder)?),
            _ => None,
        };
        Ok(ReadServer {
            config: ServerConfig {
                listen: self.listen,
                token,
                has_public_badges: self.public_badges,
            },
            url: self.public_url,
            missed: self.missed_deliveries,
        })
    }
}

/// What `[server]` says.
struct ReadServer {
    config: ServerConfig,
    /// Where it is seen from outside.
    url: Option<String>,
    /// How often GitHub is asked for deliveries that were missed.
    missed: Option<String>,
}

impl Watched {
    /// Has an App speak of the repository.
    fn speak_as(&mut self, app: &AppConfig) {
        self.api.clone_from(&app.api);
        self.repository.app = Some(app.id);
        self.repository.reports = self.reports != Some(false);
        self.webhook_secrets
            .extend(app.webhook_secrets.iter().cloned());
    }
}

fn labels(written: &BTreeMap<String, String>) -> Result<Labels, CliError> {
    let mut labels = Labels::default();
    for (label, place) in written {
        let shown = format!("labels.{label} = {place}");
        labels.serve(label, place_of(place, &shown)?);
    }
    Ok(labels)
}

/// The image of the containers that jobs of forks are kept in; none where they run on this host.
fn fork_image(
    forks: Forks,
    written: Option<String>,
    repository: &str,
) -> Result<Option<String>, CliError> {
    match (forks, written) {
        (Forks::Refuse, image) => Ok(image),
        (_, Some(image)) if image == HOST => Ok(None),
        (_, Some(image)) => Ok(Some(image)),
        (_, None) => {
            let message =
                format!("`forks` of {repository} lets them run, and `fork-image` is not there");
            Err(CliError::new(ErrorKind::Invalid, message).with_hint(
                "name the image of the containers that their jobs are kept in, or \"host\" if they may see and do all that this server may",
            ))
        }
    }
}

fn watched(
    written: WrittenRepository,
    (mirrors, folder): (&Path, &Path),
    (poll, catch_up): (Duration, Duration),
    values: Values,
) -> Result<Watched, CliError> {
    let mut repository = Repository::new(&written.name, &written.url, mirrors);
    repository.forks = match written.forks {
        None | Some(WrittenForks::Refuse) => Forks::Refuse,
        Some(WrittenForks::Approve) => Forks::Approve,
        Some(WrittenForks::RunWithoutSecrets) => Forks::Run,
    };
    repository.fork_image = fork_image(repository.forks, written.fork_image, &written.name)?;
    repository.reports_skipped = written.report_skipped.unwrap_or(false);
    repository.reruns_lost = written.lost_jobs == Some(LostJobs::Rerun);
    // GitHub is told where it can be: by whoever has a token for it.
    repository.reports = written.report.unwrap_or(written.token.is_some());
    if let Some(branch) = &written.default_branch {
        repository.default_branch.clone_from(branch);
    }
    let (has_token, reports) = (written.token.is_some(), written.report);
    let api = written
        .api
        .clone()
        .unwrap_or_else(|| github::API.to_owned());
    repository.vars = written.vars;
    repository.folder = written.folder.map(|path| folder.join(path));
    repository.credentials.ssh_key = written.ssh_key.map(|path| folder.join(path));
    if values == Values::Left {
        return Ok(Watched {
            repository,
            poll,
            catch_up,
            webhook_secrets: Vec::new(),
            api,
            has_token,
            reports,
        });
    }
    let what = |name: &str| format!("`{name}` of {}", written.name);
    if let Some(token) = &written.token {
        let token = token.read(&what("token"), folder)?;
        repository.credentials.token.renew(token);
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
        catch_up,
        webhook_secrets,
        api,
        has_token,
        reports,
    })
}

impl Value {
    pub(super) fn read(&self, what: &str, folder: &Path) -> Result<String, CliError> {
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
