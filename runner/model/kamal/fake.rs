//! A world in memory, for tests.

use std::collections::HashMap;

use super::World;

/// Files and variables in memory; a command's output is its own text.
#[derive(Debug, Default)]
pub(super) struct Fake {
    files: HashMap<String, String>,
    env: HashMap<String, String>,
}

impl Fake {
    pub(super) fn with_file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.to_owned(), text.to_owned());
        self
    }

    pub(super) fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }
}

impl World for Fake {
    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    fn read_file(&self, path: &str) -> Result<Option<String>, String> {
        Ok(self.files.get(path).cloned())
    }

    fn run_command(&self, command: &str) -> Result<String, String> {
        if command.starts_with("fail") {
            return Err("exit status 1".to_owned());
        }
        Ok(format!("ran: {command}\n"))
    }

    fn run_secrets_command(&self, arguments: &[String]) -> Result<String, String> {
        match arguments.first().map(String::as_str) {
            Some("fetch") => Ok("{\"a b\":\"c'd\"}\n".to_owned()),
            _ => Ok(arguments.join(" ")),
        }
    }

    fn docker_architecture(&self) -> String {
        "amd64".to_owned()
    }
}
