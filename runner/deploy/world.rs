//! A project's folder as the reading of its configuration sees it.

use std::{collections::BTreeMap, fmt, io, path::PathBuf, sync::Arc};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::{
    kamal::World,
    process::{self, ProcessSpec, Stop, StopReason},
};

/// Runs what a variable holds: an argument list is public, and a command can hold secrets.
const SCRIPT: &str =
    "exec 2>/dev/null; command=$RUNNER_COMMAND; unset RUNNER_COMMAND; eval \"$command\"";

/// A folder and an environment; commands run on this machine.
///
/// Its methods block, so they belong on a thread that may wait. Cancelling the token ends a command
/// that runs.
#[derive(Clone)]
pub struct ProjectWorld {
    /// The project's folder.
    pub folder: PathBuf,
    /// The environment that templates, secrets files and their commands see.
    pub env: Arc<BTreeMap<String, String>>,
    /// Where commands run.
    pub runtime: Handle,
    /// Ends commands.
    pub token: CancellationToken,
}

impl fmt::Debug for ProjectWorld {
    /// Shows the names of variables alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProjectWorld")
            .field("folder", &self.folder)
            .field("env", &self.env.keys())
            .finish_non_exhaustive()
    }
}

impl World for ProjectWorld {
    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    fn read_file(&self, path: &str) -> Result<Option<String>, String> {
        match std::fs::read_to_string(self.folder.join(path)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn run_command(&self, command: &str) -> Result<String, String> {
        let mut env = BTreeMap::clone(&self.env);
        env.insert("RUNNER_COMMAND".to_owned(), command.to_owned());
        let spec = ProcessSpec {
            program: PathBuf::from("/bin/sh"),
            arguments: vec!["-c".into(), SCRIPT.into()],
            env: env
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            directory: self.folder.clone(),
        };
        let stop = Stop {
            token: self.token.clone(),
            limit: None,
        };
        let mut output = Vec::new();
        let exit = self
            .runtime
            .block_on(process::run(&spec, &mut output, &stop))
            .map_err(|error| error.to_string())?;
        match (exit.stopped, exit.code) {
            (Some(StopReason::Cancelled | StopReason::TimedOut), _) => {
                Err("it was cancelled".to_owned())
            }
            (None, 0) => String::from_utf8(output).map_err(|_| "it wrote no UTF-8".to_owned()),
            (None, code) => Err(format!("it ended with code {code}")),
        }
    }

    fn run_secrets_command(&self, arguments: &[String]) -> Result<String, String> {
        match arguments {
            [verb, rest @ ..] if verb == "extract" => extract(rest),
            [verb, ..] => Err(format!("`secrets {verb}` is not supported")),
            [] => Err("`secrets` needs a word after it".to_owned()),
        }
    }
}

/// Returns one value of what `secrets fetch` printed.
///
/// Source: Kamal takes the name itself, else the first key that ends in `/<name>`.
fn extract(arguments: &[String]) -> Result<String, String> {
    let words: Vec<&String> = arguments
        .iter()
        .filter(|word| !word.starts_with("--"))
        .collect();
    let [name, text] = words.as_slice() else {
        return Err("`secrets extract` needs a name and what `secrets fetch` printed".to_owned());
    };
    let values: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text)
        .map_err(|_| "what `secrets extract` got is no JSON object".to_owned())?;
    let ending = format!("/{name}");
    let value = values.get(name.as_str()).or_else(|| {
        let mut pairs = values.iter();
        pairs.find_map(|(key, value)| key.ends_with(&ending).then_some(value))
    });
    match value {
        Some(serde_json::Value::String(value)) => Ok(value.clone()),
        Some(value) => Ok(value.to_string()),
        None => Err(format!("could not find secret `{name}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(folder: &std::path::Path) -> (tokio::runtime::Runtime, ProjectWorld) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        let env = [("PATH", "/usr/bin:/bin"), ("GREETING", "hello")];
        let world = ProjectWorld {
            folder: folder.to_owned(),
            env: Arc::new(env.map(|(name, value)| (name.into(), value.into())).into()),
            runtime: runtime.handle().clone(),
            token: CancellationToken::new(),
        };
        (runtime, world)
    }

    #[test]
    fn commands_run_in_the_folder_and_their_words_are_in_no_argument_list() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "text").unwrap();
        let (_runtime, world) = world(folder.path());
        let told =
            world.run_command("echo lost >&2; cat file; echo \" $GREETING $RUNNER_COMMAND\"");
        assert_eq!(told.unwrap(), "text hello \n");
        let line = world.run_command("tr '\\0' ' ' < /proc/$$/cmdline # hunter2");
        assert!(!line.unwrap().contains("hunter2"));
        let failed = world.run_command("exit 3 # hunter2");
        assert_eq!(failed.unwrap_err(), "it ended with code 3");
    }

    #[test]
    fn a_file_that_is_not_there_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let (_runtime, world) = world(folder.path());
        assert_eq!(world.read_file("nothing"), Ok(None));
        assert!(world.read_file(".").is_err());
    }

    #[test]
    fn one_secret_is_taken_out_of_many() {
        let json = r#"{"A":"1","vault/item/B":"2","C":3}"#;
        for (name, expected) in [
            ("A", Some("1")),
            ("B", Some("2")),
            ("C", Some("3")),
            ("D", None),
        ] {
            let found = extract(&[name.to_owned(), json.to_owned()]);
            assert_eq!(found.ok().as_deref(), expected, "{name}");
        }
    }
}
