//! `proxy:`: how requests reach the containers.

use std::time::Duration;

use super::diagnostics::{Findings, in_context};
use super::docker_options::DockerOptions;
use super::fields::Fields;
use super::setting::{Scalar, Setting, Value};

/// How requests reach the containers of a role or an accessory.
#[derive(Debug, Clone, PartialEq)]
pub struct Proxy {
    /// The host names that are routed; without any, every request is.
    pub hosts: Vec<String>,
    /// The port that the application listens on in its container.
    pub app_port: u16,
    /// Whether and how TLS ends at the proxy.
    pub ssl: Ssl,
    /// Whether plain HTTP is redirected to HTTPS, where TLS is on; true by default.
    pub ssl_redirect: Option<bool>,
    /// Whether `X-Forwarded-*` of the request are passed on.
    pub forward_headers: Option<bool>,
    /// How long a request may take.
    pub response_timeout: Option<Duration>,
    /// Path prefixes that are routed; without any, all paths are.
    pub path_prefixes: Vec<String>,
    /// Whether the prefix is taken away before the application sees the path; true by default.
    pub strip_path_prefix: Option<bool>,
    /// The health check of the proxy.
    pub healthcheck: Healthcheck,
    /// Which bodies the proxy buffers.
    pub buffering: Buffering,
    /// Which headers the proxy logs.
    pub logging: ProxyLogging,
    /// How the proxy itself is run, where it is configured here.
    pub run: Option<ProxyRun>,
}

/// Whether and how TLS ends at the proxy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Ssl {
    /// Plain HTTP.
    #[default]
    Off,
    /// A certificate from Let's Encrypt.
    Automatic,
    /// A certificate from the secrets: their names, never their values.
    Certificate {
        /// The secret with the certificate and its chain, in PEM.
        certificate_pem: String,
        /// The secret with the private key, in PEM.
        private_key_pem: String,
    },
}

impl Ssl {
    /// Tells whether TLS ends at the proxy.
    pub fn is_on(&self) -> bool {
        *self != Self::Off
    }

    /// Tells whether the certificate comes from the secrets.
    pub fn is_custom(&self) -> bool {
        matches!(self, Self::Certificate { .. })
    }
}

/// The health check of the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healthcheck {
    /// The path that answers with 2xx, `/up` by default.
    pub path: String,
    /// The time between two checks.
    pub interval: Option<Duration>,
    /// The time for one answer.
    pub timeout: Option<Duration>,
}

impl Default for Healthcheck {
    fn default() -> Self {
        Self {
            path: "/up".to_owned(),
            interval: None,
            timeout: None,
        }
    }
}

/// Which bodies the proxy buffers, sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffering {
    /// Whether request bodies are buffered.
    pub requests: bool,
    /// Whether response bodies are buffered.
    pub responses: bool,
    /// How much of a body is kept in memory.
    pub memory: Option<u64>,
    /// The largest request body; 0 is no limit.
    pub max_request_body: Option<u64>,
    /// The largest response body; 0 is no limit.
    pub max_response_body: Option<u64>,
}

impl Default for Buffering {
    fn default() -> Self {
        Self {
            requests: true,
            responses: true,
            memory: None,
            max_request_body: None,
            max_response_body: None,
        }
    }
}

/// Which headers the proxy logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyLogging {
    /// Of requests.
    pub request_headers: Vec<String>,
    /// Of responses.
    pub response_headers: Vec<String>,
}

impl Default for ProxyLogging {
    fn default() -> Self {
        let headers = ["Cache-Control", "Last-Modified", "User-Agent"];
        Self {
            request_headers: headers.map(str::to_owned).to_vec(),
            response_headers: Vec::new(),
        }
    }
}

/// How the proxy itself is run on a host.
#[derive(Debug, Clone, PartialEq)]
pub struct ProxyRun {
    /// The port for HTTP on the host.
    pub http_port: u16,
    /// The port for HTTPS on the host.
    pub https_port: u16,
    /// A port for metrics.
    pub metrics_port: Option<u16>,
    /// Whether it logs in detail.
    pub debug: bool,
    /// How large its log may become, in Docker's words.
    pub log_max_size: String,
    /// Whether its ports are published on the host.
    pub publish: bool,
    /// The addresses that the ports are published on; all of them without any.
    pub bind_ips: Vec<String>,
    /// The registry of kamal-proxy's image.
    pub registry: Option<String>,
    /// The repository of kamal-proxy's image.
    pub repository: String,
    /// The version of kamal-proxy's image.
    pub version: String,
    /// Further options for `docker run`.
    pub options: DockerOptions,
}

impl Default for ProxyRun {
    fn default() -> Self {
        Self {
            http_port: 80,
            https_port: 443,
            metrics_port: None,
            debug: false,
            log_max_size: "10m".to_owned(),
            publish: true,
            bind_ips: Vec::new(),
            registry: None,
            repository: "basecamp/kamal-proxy".to_owned(),
            version: "v0.9.2".to_owned(),
            options: DockerOptions::default(),
        }
    }
}

impl ProxyRun {
    /// Returns kamal-proxy's image.
    pub fn image(&self) -> String {
        let registry = self.registry.iter().map(|registry| format!("{registry}/"));
        let prefix: String = registry.collect();
        format!("{prefix}{}:{}", self.repository, self.version)
    }
}

const KEYS: [&str; 14] = [
    "host",
    "hosts",
    "app_port",
    "ssl",
    "ssl_redirect",
    "forward_headers",
    "response_timeout",
    "path_prefix",
    "path_prefixes",
    "strip_path_prefix",
    "healthcheck",
    "buffering",
    "logging",
    "run",
];

const RUN_KEYS: [&str; 11] = [
    "http_port",
    "https_port",
    "metrics_port",
    "debug",
    "log_max_size",
    "publish",
    "bind_ips",
    "registry",
    "repository",
    "version",
    "options",
];

impl Default for Proxy {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            app_port: 80,
            ssl: Ssl::Off,
            ssl_redirect: None,
            forward_headers: None,
            response_timeout: None,
            path_prefixes: Vec::new(),
            strip_path_prefix: None,
            healthcheck: Healthcheck::default(),
            buffering: Buffering::default(),
            logging: ProxyLogging::default(),
            run: None,
        }
    }
}

impl Proxy {
    /// Reads a proxy at `context` and checks that its parts fit together.
    pub(super) fn read(setting: &Setting, context: &str, found: &Findings) -> Self {
        let Some(fields) = Fields::open(setting, context, &KEYS, found) else {
            return Self::default();
        };
        let hosts = read_hosts(&fields);
        let prefixes = fields.strings("path_prefixes").or_else(|| {
            let prefix = fields.string("path_prefix")?;
            Some(split_at_commas(&prefix))
        });
        Self {
            ssl: read_ssl(&fields),
            app_port: fields.port("app_port").unwrap_or(80),
            ssl_redirect: fields.boolean("ssl_redirect"),
            forward_headers: fields.boolean("forward_headers"),
            response_timeout: fields.seconds("response_timeout"),
            path_prefixes: prefixes.unwrap_or_default(),
            strip_path_prefix: fields.boolean("strip_path_prefix"),
            healthcheck: read_healthcheck(&fields),
            buffering: read_buffering(&fields),
            logging: read_logging(&fields),
            run: fields.hash("run", &RUN_KEYS).map(|run| read_run(&run)),
            hosts,
        }
    }
}

fn split_at_commas(text: &str) -> Vec<String> {
    text.split(',')
        .map(|part| part.trim().to_owned())
        .filter(|part| !part.is_empty())
        .collect()
}

fn read_hosts(fields: &Fields<'_>) -> Vec<String> {
    let one = fields.string("host");
    let many = fields.strings("hosts");
    if let (Some(_), Some(second)) = (fields.setting.get("host"), fields.setting.pair("hosts")) {
        let message = "Specify one of 'host' or 'hosts', not both";
        let message = in_context(&fields.context, message);
        fields.found.error("conflict", &second.key_place, message);
    }
    let is_blank = |key| fields.setting.get(key).is_none_or(Setting::is_blank);
    let ssl = fields.setting.get("ssl");
    let wants_ssl = ssl.filter(|ssl| {
        !matches!(
            ssl.value,
            Value::Null | Value::Scalar(Scalar::Boolean(false))
        )
    });
    if let (Some(ssl), true) = (wants_ssl, is_blank("host") && is_blank("hosts")) {
        fields.found.error_with_hint(
            "missing-key",
            &ssl.place,
            in_context(&fields.context, "Must set a host to enable automatic SSL"),
            "add `host:` with the name that the certificate is for",
        );
    }
    many.or_else(|| one.map(|host| split_at_commas(&host)))
        .unwrap_or_default()
}

fn read_ssl(fields: &Fields<'_>) -> Ssl {
    let Some(setting) = fields.setting.get("ssl") else {
        return Ssl::Off;
    };
    match &setting.value {
        Value::Scalar(Scalar::Boolean(true)) => Ssl::Automatic,
        Value::Scalar(Scalar::Boolean(false)) => Ssl::Off,
        Value::Hash(pairs) => {
            let keys = ["certificate_pem", "private_key_pem"];
            for pair in pairs {
                if !keys.contains(&pair.key.as_str()) {
                    let message = format!("{}/ssl: unknown key: {}", fields.context, pair.key);
                    fields
                        .found
                        .warning("unknown-key", &pair.key_place, message);
                }
            }
            certificate(fields, setting)
        }
        _ => {
            fields.wrong_type(setting, &fields.path("ssl"), "a boolean or a hash");
            Ssl::Off
        }
    }
}

fn certificate(fields: &Fields<'_>, setting: &Setting) -> Ssl {
    let inner = Fields {
        context: fields.path("ssl"),
        setting,
        found: fields.found,
    };
    let name = |key| inner.string(key).filter(|name| !name.trim().is_empty());
    let missing = |absent: &str, present: &str| {
        let message = format!("Missing {absent} setting (required when {present} is present)");
        let message = in_context(&fields.context, &message);
        fields.found.error("missing-key", &setting.place, message);
    };
    match (name("certificate_pem"), name("private_key_pem")) {
        (Some(certificate_pem), Some(private_key_pem)) => Ssl::Certificate {
            certificate_pem,
            private_key_pem,
        },
        (Some(_), None) => {
            missing("private_key_pem", "certificate_pem");
            Ssl::Off
        }
        (None, Some(_)) => {
            missing("certificate_pem", "private_key_pem");
            Ssl::Off
        }
        (None, None) => Ssl::Automatic,
    }
}

fn read_healthcheck(fields: &Fields<'_>) -> Healthcheck {
    let defaults = Healthcheck::default();
    let keys = ["interval", "path", "timeout"];
    let Some(own) = fields.hash("healthcheck", &keys) else {
        return defaults;
    };
    Healthcheck {
        path: own.string("path").unwrap_or(defaults.path),
        interval: own.seconds("interval"),
        timeout: own.seconds("timeout"),
    }
}

fn read_buffering(fields: &Fields<'_>) -> Buffering {
    let keys = [
        "requests",
        "responses",
        "memory",
        "max_request_body",
        "max_response_body",
    ];
    let Some(own) = fields.hash("buffering", &keys) else {
        return Buffering::default();
    };
    Buffering {
        requests: own.boolean("requests").unwrap_or(true),
        responses: own.boolean("responses").unwrap_or(true),
        memory: own.count("memory"),
        max_request_body: own.count("max_request_body"),
        max_response_body: own.count("max_response_body"),
    }
}

fn read_logging(fields: &Fields<'_>) -> ProxyLogging {
    let defaults = ProxyLogging::default();
    let keys = ["request_headers", "response_headers"];
    let Some(own) = fields.hash("logging", &keys) else {
        return defaults;
    };
    ProxyLogging {
        request_headers: own
            .strings("request_headers")
            .unwrap_or(defaults.request_headers),
        response_headers: own.strings("response_headers").unwrap_or_default(),
    }
}

fn read_run(run: &Fields<'_>) -> ProxyRun {
    let defaults = ProxyRun::default();
    let publish = run.boolean("publish").unwrap_or(true);
    let has_port =
        run.setting.get("http_port").is_some() || run.setting.get("https_port").is_some();
    if !publish && has_port {
        let message = "Cannot set http_port, https_port or bind_ips when publish is false";
        run.error("conflict", "publish", message);
    }
    ProxyRun {
        http_port: run.port("http_port").unwrap_or(defaults.http_port),
        https_port: run.port("https_port").unwrap_or(defaults.https_port),
        metrics_port: run.port("metrics_port"),
        debug: run.boolean("debug").unwrap_or(false),
        log_max_size: run.string("log_max_size").unwrap_or(defaults.log_max_size),
        publish,
        bind_ips: run.strings("bind_ips").unwrap_or_default(),
        registry: run.string("registry"),
        repository: run.string("repository").unwrap_or(defaults.repository),
        version: run.string("version").unwrap_or(defaults.version),
        options: DockerOptions::read(run, false),
    }
}
