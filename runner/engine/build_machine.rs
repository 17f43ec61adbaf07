//! A machine without a runner of its own whose Docker Engine runs jobs, reached by SSH.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::executor::Machine;
use crate::ssh::{Fingerprint, HostAddress, HostKeys, Identity, Options};

/// A build machine: `ssh://USER@HOST[:PORT][?image=IMAGE&fingerprint=SHA256:…&key=FILE]`.
///
/// Who logs in there may use its Docker Engine. `image` is the container of jobs that name none,
/// `fingerprint` the only host key that is accepted (else known hosts files say it), `key` the only
/// private key that is tried (else the agent and the keys of `~/.ssh`). Values are taken as they are
/// written, without escapes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BuildMachine {
    address: HostAddress,
    image: Option<String>,
    fingerprint: Option<Fingerprint>,
    key: Option<PathBuf>,
}

/// A text is no build machine: the user's fault.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BuildMachineError {
    /// Its first part.
    #[error("`{0}` is no address like `ssh://USER@HOST:PORT`")]
    Address(String),
    /// What follows `?`.
    #[error(
        "`{0}` is not known there: it is image=IMAGE, fingerprint=SHA256:…, key=FILE, joined by `&`"
    )]
    Setting(String),
    /// `fingerprint`.
    #[error(
        "`{0}` is no fingerprint: `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on that machine prints one"
    )]
    Fingerprint(String),
}

impl BuildMachine {
    /// Returns the image of jobs that name none.
    pub fn image(&self) -> Option<&str> {
        self.image.as_deref()
    }

    /// Returns how the machine is reached by a user with this environment.
    pub(super) fn machine(&self, env: &BTreeMap<String, String>) -> Machine {
        let home = env.get("HOME").map_or("/root", String::as_str);
        let agent = env.get("SSH_AUTH_SOCK").filter(|path| !path.is_empty());
        let mut options = Options::of_home(Path::new(home), agent.map(PathBuf::from));
        if let Some(key) = &self.key {
            let key = match key.strip_prefix("~") {
                Ok(inside) => Path::new(home).join(inside),
                Err(_) => key.clone(),
            };
            options.identities = vec![Identity::file(key)];
        }
        if let Some(fingerprint) = &self.fingerprint {
            options.host_keys = HostKeys {
                pinned: vec![fingerprint.clone()],
                ..options.host_keys
            };
        }
        Machine {
            address: self.address.clone(),
            options,
        }
    }
}

impl fmt::Display for BuildMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ssh://{}", self.address)?;
        let settings = [
            self.image.as_ref().map(|image| format!("image={image}")),
            self.fingerprint
                .as_ref()
                .map(|print| format!("fingerprint={print}")),
            self.key
                .as_ref()
                .map(|key| format!("key={}", key.display())),
        ];
        let settings: Vec<String> = settings.into_iter().flatten().collect();
        if settings.is_empty() {
            Ok(())
        } else {
            write!(f, "?{}", settings.join("&"))
        }
    }
}

impl FromStr for BuildMachine {
    type Err = BuildMachineError;

    fn from_str(text: &str) -> Result<Self, BuildMachineError> {
        let (address, settings) = text.split_once('?').unwrap_or((text, ""));
        let wrong = || BuildMachineError::Address(address.to_owned());
        if !address.starts_with("ssh://") {
            return Err(wrong());
        }
        let mut machine = Self {
            address: address.trim_end_matches('/').parse().map_err(|_| wrong())?,
            image: None,
            fingerprint: None,
            key: None,
        };
        for setting in settings.split('&').filter(|setting| !setting.is_empty()) {
            match setting.split_once('=') {
                Some((_, "")) | None => {
                    return Err(BuildMachineError::Setting(setting.to_owned()));
                }
                Some(("image", image)) => machine.image = Some(image.to_owned()),
                Some(("key", key)) => machine.key = Some(key.into()),
                Some(("fingerprint", print)) => {
                    let print = Fingerprint::parse(print)
                        .ok_or_else(|| BuildMachineError::Fingerprint(print.to_owned()))?;
                    machine.fingerprint = Some(print);
                }
                Some(_) => return Err(BuildMachineError::Setting(setting.to_owned())),
            }
        }
        Ok(machine)
    }
}

impl TryFrom<String> for BuildMachine {
    type Error = BuildMachineError;

    fn try_from(text: String) -> Result<Self, BuildMachineError> {
        text.parse()
    }
}

impl From<BuildMachine> for String {
    fn from(machine: BuildMachine) -> Self {
        machine.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINT: &str = "SHA256:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ";

    #[test]
    fn a_machine_is_read_and_written_the_same() {
        let whole = format!("ssh://ci@build:2121?image=r.net:5000/a:1&fingerprint={PRINT}&key=~/k");
        for text in ["ssh://ci@build", "ssh://ci@[::1]:2121", &whole] {
            let machine: BuildMachine = text.parse().unwrap();
            assert_eq!(machine.to_string(), text);
            let json = serde_json::to_string(&machine).unwrap();
            assert_eq!(
                serde_json::from_str::<BuildMachine>(&json).unwrap(),
                machine
            );
        }
    }

    #[test]
    fn what_is_no_machine_is_refused() {
        for text in [
            "ssh://build",
            "ci@build",
            "ssh://ci@build?image",
            "ssh://ci@build?image=",
            "ssh://ci@build?port=1",
            "ssh://ci@build?fingerprint=x",
        ] {
            assert!(text.parse::<BuildMachine>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_pinned_key_and_a_named_one_are_the_only_ones() {
        let env = BTreeMap::from([
            ("HOME".to_owned(), "/home/ci".to_owned()),
            ("SSH_AUTH_SOCK".to_owned(), "/agent".to_owned()),
        ]);
        let plain: BuildMachine = "ssh://ci@build".parse().unwrap();
        let options = plain.machine(&env).options;
        assert_eq!(options.identities.len(), 4);
        assert!(options.host_keys.pinned.is_empty());
        assert!(
            options
                .host_keys
                .files
                .contains(&PathBuf::from("/home/ci/.ssh/known_hosts"))
        );
        let text = format!("ssh://ci@build?key=~/.ssh/build&fingerprint={PRINT}");
        let options = text.parse::<BuildMachine>().unwrap().machine(&env).options;
        assert_eq!(options.identities, [Identity::file("/home/ci/.ssh/build")]);
        assert_eq!(options.host_keys.pinned.len(), 1);
    }
}
