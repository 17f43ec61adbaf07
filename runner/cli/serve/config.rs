//! `runner.toml`: which repositories are watched, and how.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::super::error::{CliError, ErrorKind};
use super::super::labels::place_of;
use super::super::run::file_pairs;
use super::super::settings;
use crate::engine::Labels;
use crate::scheduler::Repository;

/// How often a repository is looked at where the file does not say it.
const POLL: Duration = Duration::from_secs(30);

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    data: Option<PathBuf>,
    database: Option<Value>,
    slots: Option<usize>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default, rename = "repository")]
    repositories: Vec<WrittenRepository>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenRepository {
    name: String,
    url: String,
    poll: Option<String>,
    folder: Option<PathBuf>,
    token: Option<Value>,
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
    /// How many jobs run at once.
    pub(in super::super) slots: usize,
    /// Labels that are served beside those of every machine.
    pub(in super::super) labels: Labels,
    /// The repositories, by name, each with the time between two looks.
    pub(in super::super) repositories: HashMap<String, (Repository, Duration)>,
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
    /// Reads the file, and the files and variables that it names.
    pub(in super::super) fn read(path: &Path, values: Values) -> Result<Self, CliError> {
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
            let repository = repository(written, &mirrors, &folder, values)?;
            if repositories
                .insert(name.clone(), (repository, poll))
                .is_some()
            {
                return Err(invalid(format!("{name} is there twice")));
            }
        }
        let mut labels = Labels::default();
        for (label, place) in &written.labels {
            let shown = format!("labels.{label} = {place}");
            labels.serve(label, place_of(place, &shown)?);
        }
        let database = match &written.database {
            Some(value) => Some(value.read("database", &folder)?),
            None => None,
        };
        Ok(Self {
            data,
            database,
            slots: written
                .slots
                .unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from)),
            labels,
            repositories,
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
        found.map(|(repository, _)| repository).ok_or_else(|| {
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

fn repository(
    written: WrittenRepository,
    mirrors: &Path,
    folder: &Path,
    values: Values,
) -> Result<Repository, CliError> {
    let mut repository = Repository::new(&written.name, &written.url, mirrors);
    repository.vars = written.vars;
    repository.folder = written.folder.map(|path| folder.join(path));
    repository.credentials.ssh_key = written.ssh_key.map(|path| folder.join(path));
    if values == Values::Left {
        return Ok(repository);
    }
    let what = |name: &str| format!("`{name}` of {}", written.name);
    if let Some(token) = &written.token {
        repository.credentials.token = Some(token.read(&what("token"), folder)?);
    }
    let file = written.secrets_file.map(|path| folder.join(path));
    repository.secrets = file_pairs(file.as_deref())?.into_iter().collect();
    for (name, value) in &written.secrets {
        let text = value.read(&what(&format!("secrets.{name}")), folder)?;
        repository.secrets.insert(name.clone(), text);
    }
    Ok(repository)
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
