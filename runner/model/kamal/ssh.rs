//! `ssh:` and `sshkit:`: how hosts are reached.

use std::time::Duration;

use super::fields::Fields;
use super::setting::{Scalar, Value};

/// How hosts are reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Ssh {
    /// The user, `root` by default.
    pub user: String,
    /// The port, 22 by default.
    pub port: u16,
    /// A way through another host.
    pub proxy: Option<SshProxy>,
    /// The words of OpenSSH for how much is logged, `fatal` by default.
    pub log_level: String,
    /// Whether only the configured keys are offered.
    pub keys_only: Option<bool>,
    /// Files of private keys.
    pub keys: Option<Vec<String>>,
    /// Private keys: names of secrets, or the key itself.
    pub key_data: Vec<SshKey>,
    /// Which OpenSSH configuration files are read.
    pub config: SshConfigFiles,
    /// Whether the local agent is forwarded.
    pub forward_agent: Option<bool>,
}

/// A way through another host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SshProxy {
    /// Jump hosts as `user@host`, with commas between several.
    Jump(String),
    /// A command whose input and output are the connection.
    Command(String),
}

/// A private key.
#[derive(Clone, PartialEq, Eq)]
pub enum SshKey {
    /// The name of the secret that holds it.
    Secret(String),
    /// The key itself, in PEM.
    Literal(String),
}

impl std::fmt::Debug for SshKey {
    /// Shows a secret's name and never a key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Literal(_) => f.write_str("Literal([REDACTED])"),
            Self::Secret(name) => f.debug_tuple("Secret").field(name).finish(),
        }
    }
}

/// Which OpenSSH configuration files are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SshConfigFiles {
    /// The user's and the machine's own.
    Default,
    /// None.
    None,
    /// These.
    Paths(Vec<String>),
}

const SSH_KEYS: [&str; 10] = [
    "user",
    "port",
    "proxy",
    "proxy_command",
    "log_level",
    "keys_only",
    "keys",
    "key_data",
    "config",
    "forward_agent",
];

impl Default for Ssh {
    fn default() -> Self {
        Self {
            user: "root".to_owned(),
            port: 22,
            proxy: None,
            log_level: "fatal".to_owned(),
            keys_only: None,
            keys: None,
            key_data: Vec::new(),
            config: SshConfigFiles::Default,
            forward_agent: None,
        }
    }
}

impl Ssh {
    pub(super) fn read(root: &Fields<'_>) -> Self {
        let defaults = Self::default();
        let Some(fields) = root.hash("ssh", &SSH_KEYS) else {
            return defaults;
        };
        let jump = fields.string("proxy").map(|proxy| {
            SshProxy::Jump(if proxy.contains('@') {
                proxy
            } else {
                format!("root@{proxy}")
            })
        });
        let command = fields.string("proxy_command").map(SshProxy::Command);
        let key_data = fields.strings("key_data").unwrap_or_default();
        Self {
            user: fields.string("user").unwrap_or(defaults.user),
            port: read_port(&fields).unwrap_or(defaults.port),
            proxy: jump.or(command),
            log_level: fields.string("log_level").unwrap_or(defaults.log_level),
            keys_only: fields.boolean("keys_only"),
            keys: fields.strings("keys"),
            key_data: key_data.into_iter().map(SshKey::parse).collect(),
            config: read_config(&fields),
            forward_agent: fields.boolean("forward_agent"),
        }
    }
}

impl SshKey {
    fn parse(text: String) -> Self {
        if text.contains("-----BEGIN") {
            Self::Literal(text)
        } else {
            Self::Secret(text)
        }
    }
}

/// Reads the port, which Kamal takes as a string and so as text too.
fn read_port(fields: &Fields<'_>) -> Option<u16> {
    let text = fields.string("port")?;
    let port = text.parse().ok().filter(|port| *port > 0);
    if port.is_none() {
        fields.invalid("port", "should be a port between 1 and 65535");
    }
    port
}

fn read_config(fields: &Fields<'_>) -> SshConfigFiles {
    let Some(setting) = fields.setting.get("config") else {
        return SshConfigFiles::Default;
    };
    match &setting.value {
        Value::Scalar(Scalar::Boolean(true)) => SshConfigFiles::Default,
        Value::Scalar(Scalar::Boolean(false)) => SshConfigFiles::None,
        Value::Scalar(Scalar::Text(path)) => SshConfigFiles::Paths(vec![path.clone()]),
        Value::List(_) => SshConfigFiles::Paths(fields.strings("config").unwrap_or_default()),
        _ => {
            let expected = "a boolean or a string or an array";
            fields.wrong_type(setting, &fields.path("config"), expected);
            SshConfigFiles::Default
        }
    }
}

/// Limits of connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sshkit {
    /// How many connections are opened at once.
    pub max_concurrent_starts: u64,
    /// How long an idle connection is kept.
    pub pool_idle_timeout: Duration,
    /// How often a name that cannot be resolved is tried again.
    pub dns_retries: u64,
}

impl Default for Sshkit {
    fn default() -> Self {
        Self {
            max_concurrent_starts: 30,
            pool_idle_timeout: Duration::from_secs(900),
            dns_retries: 3,
        }
    }
}

impl Sshkit {
    pub(super) fn read(root: &Fields<'_>) -> Self {
        let defaults = Self::default();
        let keys = ["max_concurrent_starts", "pool_idle_timeout", "dns_retries"];
        let Some(fields) = root.hash("sshkit", &keys) else {
            return defaults;
        };
        Self {
            max_concurrent_starts: fields
                .count("max_concurrent_starts")
                .unwrap_or(defaults.max_concurrent_starts),
            pool_idle_timeout: fields
                .seconds("pool_idle_timeout")
                .unwrap_or(defaults.pool_idle_timeout),
            dns_retries: fields.count("dns_retries").unwrap_or(defaults.dns_retries),
        }
    }
}
