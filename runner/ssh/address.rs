//! Where a host is: user, name and port.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// The port of SSH where none is named.
const DEFAULT_PORT: u16 = 22;

/// A host as SSH reaches it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostAddress {
    /// Name or IP address, an IPv6 address without brackets.
    pub host: String,
    /// TCP port of the SSH server.
    pub port: u16,
    /// User to log in as.
    pub user: String,
}

impl HostAddress {
    /// Makes an address on port 22.
    pub fn new(user: impl Into<String>, host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port: DEFAULT_PORT,
            user: user.into(),
        }
    }

    /// Returns the same host on another port.
    #[must_use]
    pub fn with_port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// The name under which known hosts files list this host: `host`, or `[host]:port` where the
    /// port is not 22.
    pub fn known_hosts_name(&self) -> String {
        if self.port == DEFAULT_PORT {
            self.host.clone()
        } else {
            format!("[{}]:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, user } = self;
        match (host.contains(':'), *port) {
            (true, _) => write!(f, "{user}@[{host}]:{port}"),
            (false, DEFAULT_PORT) => write!(f, "{user}@{host}"),
            (false, _) => write!(f, "{user}@{host}:{port}"),
        }
    }
}

/// A text is no SSH address: the user's fault.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{text}` is not an SSH address like `user@host` or `ssh://user@host:2121`")]
pub struct AddressError {
    /// What was given.
    pub text: String,
}

impl FromStr for HostAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = || AddressError {
            text: text.to_owned(),
        };
        let rest = text.strip_prefix("ssh://").unwrap_or(text);
        let (user, rest) = rest.split_once('@').ok_or_else(wrong)?;
        let (host, port) = match rest.strip_prefix('[') {
            Some(inner) => {
                let (host, after) = inner.split_once(']').ok_or_else(wrong)?;
                (
                    host,
                    after
                        .strip_prefix(':')
                        .or(after.is_empty().then_some(""))
                        .ok_or_else(wrong)?,
                )
            }
            None if rest.matches(':').count() > 1 => (rest, ""),
            None => rest.split_once(':').unwrap_or((rest, "")),
        };
        let port = match port {
            "" if rest.ends_with(':') => return Err(wrong()),
            "" => DEFAULT_PORT,
            digits => digits.parse().map_err(|_| wrong())?,
        };
        let odd =
            |s: &str| s.is_empty() || s.starts_with('-') || s.contains(['/', ' ', '\0', '\n']);
        if odd(user) || odd(host) || port == 0 {
            return Err(wrong());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            user: user.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_users_hosts_and_ports() {
        for (text, user, host, port) in [
            ("deploy@example.net", "deploy", "example.net", 22),
            ("deploy@example.net:2121", "deploy", "example.net", 2121),
            ("ssh://root@10.0.0.1:22", "root", "10.0.0.1", 22),
            ("a@::1", "a", "::1", 22),
            ("a@[fe80::1]:2121", "a", "fe80::1", 2121),
            ("a@[fe80::1]", "a", "fe80::1", 22),
        ] {
            let address: HostAddress = text.parse().unwrap();
            assert_eq!(
                address,
                HostAddress::new(user, host).with_port(port),
                "{text}"
            );
            assert_eq!(address.to_string().parse(), Ok(address), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_address() {
        for text in [
            "example.net",
            "@host",
            "a@",
            "a@host:",
            "a@host:x",
            "a@host:70000",
            "a@-o",
            "a@[::1",
            "a@h:0",
        ] {
            assert!(text.parse::<HostAddress>().is_err(), "{text}");
        }
    }
}
