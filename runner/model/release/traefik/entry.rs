//! The static file: ports, Traefik's own API, certificates that it gets itself.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{OPS, RESOLVER, WEB, WEB_SECURE, plain_entry, tree};
use crate::release::{paths::DYNAMIC_INSIDE, time::Millis};

/// What the static file is made from; a change of it restarts Traefik.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticSettings {
    /// The port without TLS, `proxy.run.http_port`.
    pub http_port: u16,
    /// The port with TLS, `proxy.run.https_port`.
    pub https_port: u16,
    /// Whether the port without TLS redirects to the one with it.
    pub redirect: bool,
    /// Further ports without TLS and without redirect.
    #[serde(default)]
    pub plain_ports: Vec<u16>,
    /// Where Traefik's own API listens, `address:port`; must not be reachable from outside.
    pub ops_address: String,
    /// Addresses whose forwarded headers are believed.
    #[serde(default)]
    pub trusted: Vec<String>,
    /// Certificates that Traefik gets itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acme: Option<Acme>,
    /// How long requests may go on while Traefik stops.
    pub grace: Millis,
}

/// How certificates are got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acme {
    /// Whom the authority writes to.
    pub email: String,
    /// The authority's directory; `None` means Let's Encrypt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Certificates by which the authority itself is trusted, as paths inside.
    #[serde(default)]
    pub authorities: Vec<String>,
    /// How the name is proved.
    pub challenge: Challenge,
}

/// How a name is proved to the authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Challenge {
    /// By a request to port 80.
    Http,
    /// By a TLS connection to port 443.
    Tls,
}

/// Writes `traefik.yml`.
pub fn static_file(settings: &StaticSettings) -> String {
    let mut web = json!({ "address": format!(":{}", settings.http_port) });
    if settings.redirect {
        let to = json!({
            // The port is given, since it need not be 443.
            "to": format!(":{}", settings.https_port),
            "scheme": "https",
            "permanent": true,
        });
        set(
            &mut web,
            "http",
            json!({ "redirections": { "entryPoint": to } }),
        );
    }
    let mut entries = Map::new();
    entries.insert(WEB.to_owned(), web);
    let secure = json!({ "address": format!(":{}", settings.https_port) });
    entries.insert(WEB_SECURE.to_owned(), secure);
    for port in &settings.plain_ports {
        entries.insert(plain_entry(*port), json!({ "address": format!(":{port}") }));
    }
    for entry in entries.values_mut() {
        let life = json!({ "graceTimeOut": settings.grace.to_string() });
        set(entry, "transport", json!({ "lifeCycle": life }));
        if !settings.trusted.is_empty() {
            set(
                entry,
                "forwardedHeaders",
                json!({ "trustedIPs": settings.trusted }),
            );
        }
    }
    entries.insert(OPS.to_owned(), json!({ "address": settings.ops_address }));
    let mut file = json!({
        "entryPoints": entries,
        "ping": { "entryPoint": OPS },
        "api": { "dashboard": false, "insecure": false },
        "metrics": { "prometheus": { "entryPoint": OPS, "addServicesLabels": true } },
        "log": { "level": "INFO" },
        "global": { "checkNewVersion": false, "sendAnonymousUsage": false },
        "providers": {
            // Seen: without it a change shows after up to 2 s.
            "providersThrottleDuration": "100ms",
            "file": { "directory": DYNAMIC_INSIDE, "watch": true },
        },
    });
    if let Some(acme) = &settings.acme {
        set(
            &mut file,
            "certificatesResolvers",
            json!({ RESOLVER: { "acme": resolver(acme) } }),
        );
    }
    tree::write(&file)
}

fn resolver(acme: &Acme) -> Value {
    let mut resolver = json!({ "email": acme.email, "storage": "/acme/acme.json" });
    if let Some(server) = &acme.server {
        set(&mut resolver, "caServer", server.as_str().into());
    }
    if !acme.authorities.is_empty() {
        set(&mut resolver, "caCertificates", json!(acme.authorities));
    }
    match acme.challenge {
        Challenge::Http => set(&mut resolver, "httpChallenge", json!({ "entryPoint": WEB })),
        Challenge::Tls => set(&mut resolver, "tlsChallenge", json!({})),
    }
    resolver
}

/// Writes the dynamic file that belongs to the proxy: its API, on its own entry point.
pub fn runner_file() -> String {
    let router = json!({
        "rule": "PathPrefix(`/api`)",
        "entryPoints": [OPS],
        "service": "api@internal",
    });
    tree::write(&json!({ "http": { "routers": { "runner-ops": router } } }))
}

fn set(object: &mut Value, key: &str, value: Value) {
    if let Value::Object(map) = object {
        map.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> StaticSettings {
        StaticSettings {
            http_port: 8080,
            https_port: 8443,
            redirect: true,
            plain_ports: vec![3002],
            ops_address: ":8082".to_owned(),
            trusted: Vec::new(),
            acme: None,
            grace: Millis::from_secs(30),
        }
    }

    #[test]
    fn the_static_file_redirects_to_the_port_with_tls() {
        let file = tree::read(&static_file(&settings())).unwrap();
        let at = |pointer: &str| file.pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(at("/entryPoints/web/address"), ":8080");
        assert_eq!(
            at("/entryPoints/web/http/redirections/entryPoint/to"),
            ":8443"
        );
        assert_eq!(at("/entryPoints/websecure/address"), ":8443");
        assert_eq!(at("/entryPoints/plain-3002/address"), ":3002");
        assert_eq!(at("/entryPoints/plain-3002/http"), Value::Null);
        assert_eq!(
            at("/entryPoints/websecure/transport/lifeCycle/graceTimeOut"),
            "30s"
        );
        assert_eq!(at("/entryPoints/ops"), json!({ "address": ":8082" }));
        assert_eq!(at("/providers/providersThrottleDuration"), "100ms");
        assert_eq!(at("/providers/file/directory"), "/etc/traefik/dynamic");
        assert_eq!(at("/entryPoints/web/forwardedHeaders"), Value::Null);
        assert_eq!(at("/certificatesResolvers"), Value::Null);
    }

    #[test]
    fn trusted_addresses_reach_every_port_but_our_own() {
        let settings = StaticSettings {
            trusted: vec!["10.0.0.7".to_owned()],
            ..settings()
        };
        let file = tree::read(&static_file(&settings)).unwrap();
        for entry in ["web", "websecure", "plain-3002"] {
            let pointer = format!("/entryPoints/{entry}/forwardedHeaders/trustedIPs/0");
            assert_eq!(file.pointer(&pointer), Some(&"10.0.0.7".into()), "{entry}");
        }
        assert_eq!(file.pointer("/entryPoints/ops/forwardedHeaders"), None);
    }

    #[test]
    fn the_resolver_has_what_a_local_authority_needs() {
        let acme = Acme {
            email: "ops@example.com".to_owned(),
            server: Some("https://pebble.test:14000/dir".to_owned()),
            authorities: vec!["/etc/traefik/certs/ca.crt".to_owned()],
            challenge: Challenge::Http,
        };
        let settings = StaticSettings {
            acme: Some(acme),
            ..settings()
        };
        let file = tree::read(&static_file(&settings)).unwrap();
        let expected = json!({
            "email": "ops@example.com",
            "storage": "/acme/acme.json",
            "caServer": "https://pebble.test:14000/dir",
            "caCertificates": ["/etc/traefik/certs/ca.crt"],
            "httpChallenge": { "entryPoint": "web" },
        });
        assert_eq!(
            file.pointer("/certificatesResolvers/le/acme"),
            Some(&expected)
        );
    }

    #[test]
    fn the_proxys_own_file_shows_the_api_on_its_own_port_alone() {
        let file = tree::read(&runner_file()).unwrap();
        let router = file.pointer("/http/routers/runner-ops").unwrap();
        assert_eq!(router["entryPoints"], json!(["ops"]));
        assert_eq!(router["service"], "api@internal");
    }
}
