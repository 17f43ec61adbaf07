//! The secrets files: which are read, and the values in them.

use std::fmt;
use std::sync::OnceLock;

use indexmap::IndexMap;
use thiserror::Error;

use super::dotenv;
use super::world::{WithDestination, World};

/// The secrets of a project: read when the first one is asked for, and then once.
#[derive(Debug)]
pub struct Secrets {
    candidates: Vec<String>,
    kamal_1: String,
    destination: Option<String>,
    values: OnceLock<Result<SecretValues, SecretsError>>,
}

/// The secrets files cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SecretsError {
    /// The machine: a file is there and cannot be read.
    #[error("secrets file `{file}` cannot be read: {reason}")]
    Read {
        /// The file.
        file: String,
        /// The system's words.
        reason: String,
    },
    /// The user's file: a `$(command)` in it failed. The command is not shown, it may hold secrets.
    #[error("the command for secret `{name}` in `{file}` failed: {reason}")]
    Command {
        /// The file.
        file: String,
        /// The secret's name.
        name: String,
        /// What went wrong.
        reason: String,
    },
}

/// A secret that the configuration names and no file has: the user's files lack it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("Secret '{name}' not found{}", where_looked(files, candidates))]
pub struct MissingSecret {
    /// The secret's name.
    pub name: String,
    /// The files that were read.
    pub files: Vec<String>,
    /// The files that would have been read.
    pub candidates: Vec<String>,
}

fn where_looked(files: &[String], candidates: &[String]) -> String {
    if files.is_empty() {
        format!(", no secret files ({}) provided", candidates.join(", "))
    } else {
        format!(" in {}", files.join(", "))
    }
}

/// The values of the secrets files.
///
/// Its `Debug` shows names only.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct SecretValues {
    values: IndexMap<String, String>,
    files: Vec<String>,
    candidates: Vec<String>,
    is_from_kamal_1: bool,
}

impl fmt::Debug for SecretValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.values.keys().collect();
        f.debug_struct("SecretValues")
            .field("names", &names)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl SecretValues {
    /// Returns the value of a secret.
    pub fn get(&self, name: &str) -> Result<&str, MissingSecret> {
        self.values
            .get(name)
            .map(String::as_str)
            .ok_or_else(|| MissingSecret {
                name: name.to_owned(),
                files: self.files.clone(),
                candidates: self.candidates.clone(),
            })
    }

    /// Walks over names and values, in the order of the files.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns the files that were read.
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// Tells whether the values come from `.env`, as with Kamal 1.
    pub fn is_from_kamal_1(&self) -> bool {
        self.is_from_kamal_1
    }
}

impl Secrets {
    /// Names the files: `<path>-common`, then `<path>.<destination>` with a destination or
    /// `<path>` without one.
    ///
    /// Where none of them is there, Kamal 1's `.env.<destination>` or `.env` is read. The files can
    /// use the destination as `$KAMAL_DESTINATION`.
    pub fn new(secrets_path: &str, destination: Option<&str>) -> Self {
        let with_destination = |path: &str| match destination {
            Some(destination) => format!("{path}.{destination}"),
            None => path.to_owned(),
        };
        Self {
            candidates: vec![
                format!("{secrets_path}-common"),
                with_destination(secrets_path),
            ],
            kamal_1: with_destination(".env"),
            destination: destination.map(str::to_owned),
            values: OnceLock::new(),
        }
    }

    /// Reads the files the first time it is called, and runs the commands in them.
    pub fn load(&self, world: &dyn World) -> Result<&SecretValues, SecretsError> {
        self.values
            .get_or_init(|| self.read(world))
            .as_ref()
            .map_err(Clone::clone)
    }

    fn read(&self, world: &dyn World) -> Result<SecretValues, SecretsError> {
        let world = &WithDestination {
            world,
            destination: self.destination.as_deref(),
        };
        let mut secrets = SecretValues {
            candidates: self.candidates.clone(),
            ..SecretValues::default()
        };
        for file in &self.candidates {
            read_file(file, world, &mut secrets)?;
        }
        if secrets.files.is_empty() {
            read_file(&self.kamal_1, world, &mut secrets)?;
            secrets.is_from_kamal_1 = !secrets.files.is_empty();
        }
        Ok(secrets)
    }
}

fn read_file(
    file: &str,
    world: &dyn World,
    secrets: &mut SecretValues,
) -> Result<(), SecretsError> {
    let text = world.read_file(file).map_err(|reason| SecretsError::Read {
        file: file.to_owned(),
        reason,
    })?;
    let Some(text) = text else {
        return Ok(());
    };
    secrets.files.push(file.to_owned());
    dotenv::read(&text, world, &mut secrets.values).map_err(|failure| SecretsError::Command {
        file: file.to_owned(),
        name: failure.name,
        reason: failure.reason,
    })
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    fn values(world: &Fake, destination: Option<&str>) -> IndexMap<String, String> {
        let secrets = Secrets::new(".kamal/secrets", destination);
        secrets.load(world).unwrap().values.clone()
    }

    #[test]
    fn lines_give_what_dotenv_gives() {
        let text = r#"
export A=1 # one
B: two words # two
C='raw $A \n'
D="x\ty \$A ${A} \n"
E=$A-${UNSET}-$HOME
F=a\ b\$c
G="first
second"
H=$(echo (nested) $A)
I=\$(kept)
J=$
K="unfinished
L='it\'s'
M=
"#
        .replace("\\\\", "\\");
        let world = Fake::default()
            .with_file(".kamal/secrets", &text)
            .with_env("HOME", "/root");
        let values = values(&world, None);
        for (name, expected) in [
            ("A", "1"),
            ("B", "two words"),
            ("C", "raw $A \\n"),
            ("D", "xty $A 1 \\n"),
            ("E", "1--/root"),
            ("F", "a b$c"),
            ("G", "first\nsecond"),
            ("H", "ran: echo (nested) 1"),
            ("I", "$(kept)"),
            ("J", "$"),
            ("K", "\"unfinished"),
            ("L", "it\\'s"),
            ("M", ""),
        ] {
            assert_eq!(
                values.get(name).map(String::as_str),
                Some(expected),
                "{name}"
            );
        }
    }

    #[test]
    fn secrets_commands_are_given_to_the_caller_and_fetch_answers_one_word() {
        let text = "ALL=$(kamal secrets fetch --adapter test A B)\n\
                    A=$(kamal secrets extract A $ALL)\nB=$(runner secrets extract B ${ALL})\n";
        let world = Fake::default().with_file(".kamal/secrets", text);
        let values = values(&world, None);
        assert_eq!(values["A"], "extract A {\"a b\":\"c'd\"}");
        assert_eq!(values["B"], "extract B {\"a b\":\"c'd\"}");
    }

    #[test]
    fn a_destination_reads_its_own_file_and_the_common_one() {
        let world = Fake::default()
            .with_file(".kamal/secrets-common", "A=common\nB=common")
            .with_file(".kamal/secrets", "A=plain")
            .with_file(".kamal/secrets.staging", "A=$KAMAL_DESTINATION");
        assert_eq!(values(&world, Some("staging"))["A"], "staging");
        assert_eq!(values(&world, None)["A"], "plain");
        assert_eq!(values(&world, Some("other"))["A"], "common");
    }

    #[test]
    fn kamal_1s_env_file_is_read_only_where_there_is_no_other() {
        let world = Fake::default().with_file(".env", "A=old");
        let secrets = Secrets::new(".kamal/secrets", None);
        let loaded = secrets.load(&world).unwrap();
        assert_eq!(
            (loaded.get("A"), loaded.is_from_kamal_1()),
            (Ok("old"), true)
        );
        let world = world.with_file(".kamal/secrets", "B=new");
        assert!(!values(&world, None).contains_key("A"));
    }

    #[test]
    fn a_missing_secret_names_the_files() {
        let world = Fake::default().with_file(".kamal/secrets", "A=1");
        let secrets = Secrets::new(".kamal/secrets", None);
        let missing = secrets.load(&world).unwrap().get("B").unwrap_err();
        assert_eq!(
            missing.to_string(),
            "Secret 'B' not found in .kamal/secrets"
        );
        let nothing = Secrets::new(".kamal/secrets", Some("x"));
        let missing = nothing
            .load(&Fake::default())
            .unwrap()
            .get("B")
            .unwrap_err();
        assert_eq!(
            missing.to_string(),
            "Secret 'B' not found, no secret files (.kamal/secrets-common, .kamal/secrets.x) provided"
        );
    }

    #[test]
    fn no_value_is_shown_in_debug_output_or_in_an_error() {
        let world = Fake::default().with_file(".kamal/secrets", "A=hunter2\nB=$(fail $A)");
        let secrets = Secrets::new(".kamal/secrets", None);
        let error = secrets.load(&world).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the command for secret `B` in `.kamal/secrets` failed: exit status 1"
        );
        let world = Fake::default().with_file(".kamal/secrets", "A=hunter2");
        let secrets = Secrets::new(".kamal/secrets", None);
        secrets.load(&world).unwrap();
        assert!(!format!("{secrets:?}").contains("hunter2"));
    }
}
