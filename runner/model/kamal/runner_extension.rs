//! `x-runner:`: our own keys, which Kamal reads over.

use std::time::Duration;

use super::diagnostics::in_context;
use super::fields::Fields;
use super::setting::{Scalar, Value};

/// The keys below `x-runner`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunnerExtension {
    /// The proxy in front of the containers.
    pub proxy: RunnerProxy,
    /// The migration of the database; none without a command.
    pub migrate: Option<Migrate>,
    /// The gate that new containers pass before they get requests.
    pub gate: Gate,
    /// How long the new release is watched before the old one is stopped.
    pub bake: Option<Duration>,
    /// How old containers are told to end.
    pub drain: Drain,
}

/// The proxy in front of the containers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunnerProxy {
    /// Which proxy; what is found on the host without one.
    pub driver: Option<ProxyDriver>,
    /// The proxy's image.
    pub image: Option<String>,
    /// Docker networks that web containers join besides `kamal`.
    pub networks: Vec<String>,
    /// Addresses whose forwarded headers are trusted.
    pub trusted: Vec<String>,
    /// Certificates from Let's Encrypt.
    pub acme: Acme,
}

/// A proxy that can be driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProxyDriver {
    /// Traefik with its file provider.
    Traefik,
    /// Kamal's own.
    KamalProxy,
    /// Caddy.
    Caddy,
    /// No proxy.
    None,
}

impl ProxyDriver {
    const NAMES: [(&'static str, Self); 4] = [
        ("traefik", Self::Traefik),
        ("kamal-proxy", Self::KamalProxy),
        ("caddy", Self::Caddy),
        ("none", Self::None),
    ];

    /// Returns the name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Traefik => "traefik",
            Self::KamalProxy => "kamal-proxy",
            Self::Caddy => "caddy",
            Self::None => "none",
        }
    }
}

/// Certificates that the proxy gets itself, from Let's Encrypt or another authority.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Acme {
    /// The address that Let's Encrypt writes to.
    pub email: Option<String>,
    /// Whether ports 80 and 443 of the public address are forwarded to the proxy's ports.
    pub is_forwarded: bool,
    /// The directory of another authority than Let's Encrypt.
    pub server: Option<String>,
    /// The project's file with the certificate by which that authority itself is trusted.
    pub ca: Option<String>,
    /// How names are proved.
    pub challenge: AcmeChallenge,
}

/// How a name is proved to the authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AcmeChallenge {
    /// By a request to port 80.
    #[default]
    Http,
    /// By a TLS connection to port 443.
    Tls,
}

/// The migration of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrate {
    /// The command, run once in a container of the new image.
    pub command: String,
    /// How long it may take, 10 minutes by default.
    pub timeout: Duration,
    /// How long a statement may wait for a lock, 5 seconds by default.
    pub lock_timeout: Duration,
    /// Whether the database is dumped before.
    pub backup: bool,
}

/// The gate that new containers pass before they get requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// The time between two requests after the first answer.
    pub interval: Duration,
    /// How many good answers in a row open it.
    pub successes: u64,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            interval: Duration::from_millis(200),
            successes: 2,
        }
    }
}

/// How old containers are told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Drain {
    /// SIGTERM at once: the application finishes what it has.
    #[default]
    Signal,
    /// Wait first, then stop, for applications that drop requests on SIGTERM.
    Wait,
}

impl RunnerExtension {
    pub(super) fn read(root: &Fields<'_>) -> Self {
        let keys = ["proxy", "migrate", "gate", "bake", "drain"];
        let Some(fields) = root.hash("x-runner", &keys) else {
            return Self::default();
        };
        Self {
            proxy: read_proxy(&fields),
            migrate: read_migrate(&fields),
            gate: read_gate(&fields),
            bake: duration(&fields, "bake"),
            drain: read_drain(&fields),
        }
    }
}

fn read_proxy(fields: &Fields<'_>) -> RunnerProxy {
    let keys = ["driver", "image", "networks", "trusted", "acme"];
    let Some(own) = fields.hash("proxy", &keys) else {
        return RunnerProxy::default();
    };
    RunnerProxy {
        driver: read_driver(&own),
        image: own.string("image"),
        networks: own.strings("networks").unwrap_or_default(),
        trusted: own.strings("trusted").unwrap_or_default(),
        acme: read_acme(&own),
    }
}

fn read_acme(fields: &Fields<'_>) -> Acme {
    let keys = ["email", "forwarded", "server", "ca", "challenge"];
    let Some(own) = fields.hash("acme", &keys) else {
        return Acme::default();
    };
    let server = own.string("server");
    if server
        .as_ref()
        .is_some_and(|url| !url.starts_with("https://"))
    {
        own.invalid(
            "server",
            "should be the address of a directory, `https://...`",
        );
    }
    let challenge = match own.string("challenge").as_deref() {
        None | Some("http") => AcmeChallenge::Http,
        Some("tls") => AcmeChallenge::Tls,
        Some(other) => {
            own.invalid("challenge", &format!("`{other}` is not one of http, tls"));
            AcmeChallenge::Http
        }
    };
    Acme {
        email: own.string("email"),
        is_forwarded: own.boolean("forwarded").unwrap_or(false),
        server,
        ca: own.string("ca"),
        challenge,
    }
}

fn read_driver(fields: &Fields<'_>) -> Option<ProxyDriver> {
    let name = fields.string("driver")?;
    let known = ProxyDriver::NAMES.iter().find(|(known, _)| *known == name);
    if known.is_none() {
        let names = ProxyDriver::NAMES.map(|(name, _)| name).join(", ");
        fields.invalid("driver", &format!("`{name}` is not one of {names}"));
    }
    known.map(|(_, driver)| *driver)
}

fn read_migrate(fields: &Fields<'_>) -> Option<Migrate> {
    let keys = ["command", "timeout", "lock_timeout", "backup"];
    let own = fields.hash("migrate", &keys)?;
    let command = own
        .string("command")
        .filter(|command| !command.trim().is_empty());
    if command.is_none() {
        let message = in_context(&own.path("command"), "is required");
        own.found.error("missing-key", &own.setting.place, message);
    }
    Some(Migrate {
        command: command?,
        timeout: duration(&own, "timeout").unwrap_or(Duration::from_secs(600)),
        lock_timeout: duration(&own, "lock_timeout").unwrap_or(Duration::from_secs(5)),
        backup: own.boolean("backup").unwrap_or(false),
    })
}

fn read_gate(fields: &Fields<'_>) -> Gate {
    let defaults = Gate::default();
    let Some(own) = fields.hash("gate", &["interval", "successes"]) else {
        return defaults;
    };
    let successes = own.count("successes");
    if successes == Some(0) {
        own.invalid("successes", "should be at least 1");
    }
    Gate {
        interval: duration(&own, "interval").unwrap_or(defaults.interval),
        successes: successes.unwrap_or(defaults.successes),
    }
}

fn read_drain(fields: &Fields<'_>) -> Drain {
    match fields.string("drain").as_deref() {
        None | Some("signal") => Drain::Signal,
        Some("wait") => Drain::Wait,
        Some(other) => {
            fields.invalid("drain", &format!("`{other}` is not one of signal, wait"));
            Drain::Signal
        }
    }
}

/// Reads a time: a number of seconds, or a number with `ms`, `s`, `m` or `h`.
fn duration(fields: &Fields<'_>, key: &str) -> Option<Duration> {
    let setting = fields.setting.get(key)?;
    let duration = match &setting.value {
        Value::Scalar(Scalar::Integer(seconds)) => {
            u64::try_from(*seconds).ok().map(Duration::from_secs)
        }
        Value::Scalar(Scalar::Text(text)) => parse_duration(text),
        _ => None,
    };
    if duration.is_none() {
        fields.invalid(key, "should be a time, as `200ms`, `10s`, `5m` or `1h`");
    }
    duration
}

fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let unit = text.strip_prefix(digits)?.trim();
    let number: u64 = digits.trim().parse().ok()?;
    let milliseconds = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(milliseconds).map(Duration::from_millis)
}
