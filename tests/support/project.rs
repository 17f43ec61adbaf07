//! A project with the stub application, as the library's own calls see it.

use std::{collections::HashMap, sync::Arc};

use runner::{
    deploy::{Reach, SecretTexts, Settings},
    kamal::{self, Config, World},
    mask::Masker,
    release::{
        Spec,
        from_kamal::{self, Facts},
    },
};

use super::servers::Sandbox;

/// Files in memory, and nothing else.
pub(crate) struct Files(pub(crate) HashMap<String, String>);

impl World for Files {
    fn env(&self, _: &str) -> Option<String> {
        None
    }

    fn read_file(&self, path: &str) -> Result<Option<String>, String> {
        Ok(self.0.get(path).cloned())
    }

    fn run_command(&self, _: &str) -> Result<String, String> {
        Err("no commands here".to_owned())
    }

    fn run_secrets_command(&self, _: &[String]) -> Result<String, String> {
        Err("no commands here".to_owned())
    }
}

/// The address of a server.
pub(crate) fn address(server: u8) -> String {
    format!("127.0.0.1{server}")
}

/// `config/deploy.yml` of the stub application; `more` is added at its end.
pub(crate) fn deploy_yml(web: &[u8], more: &str) -> String {
    let hosts: Vec<_> = web.iter().map(|server| address(*server)).collect();
    format!(
        r#"service: stub
image: stub
servers:
  web:
    hosts: [{hosts}]
    options: {{ publish: "3002:3000" }}
proxy:
  host: app.stub.test
  app_port: 3000
  ssl: {{ certificate_pem: TLS_CERTIFICATE, private_key_pem: TLS_PRIVATE_KEY }}
  healthcheck: {{ path: /up, interval: 1, timeout: 5 }}
  run: {{ http_port: 8080, https_port: 8443 }}
registry: {{ server: "127.0.0.1:5000", username: deploy, password: [REGISTRY_PASSWORD] }}
builder: {{ arch: amd64 }}
ssh: {{ user: deploy, port: 2121 }}
env:
  clear: {{ GREETING: hello }}
  secret: [TOKEN]
deploy_timeout: 8
drain_timeout: 10
readiness_delay: 1
{more}"#,
        hosts = hosts.join(", ")
    )
}

/// What `x-runner` of every test begins with.
pub(crate) const X_RUNNER: &str = "x-runner:\n  proxy: { driver: traefik, image: \"127.0.0.1:5000/traefik:v3.7\", networks: [traefik] }\n";

/// The same for a release that migrates a database in a volume.
pub(crate) const MIGRATES: &str = "volumes: [\"stub_data:/data\"]\nx-runner:\n  proxy: { driver: traefik, image: \"127.0.0.1:5000/traefik:v3.7\", networks: [traefik] }\n  migrate: { command: stub migrate, timeout: 60s }\n";

pub(crate) fn config(text: &str) -> Config {
    let files = Files([("config/deploy.yml".to_owned(), text.to_owned())].into());
    let reading = kamal::read("config/deploy.yml", None, &files);
    reading
        .config
        .unwrap_or_else(|| panic!("{:?}", reading.diagnostics))
}

pub(crate) fn spec(config: &Config, version: &str) -> Spec {
    let facts = Facts {
        version: version.into(),
        digest: None,
        driver: None,
        seed: version.to_owned(),
    };
    from_kamal::spec(config, &facts).unwrap_or_else(|problems| panic!("{problems:?}"))
}

pub(crate) const TOKEN: &str = "t0ken-that-nobody-sees";

pub(crate) fn settings(sandbox: &Sandbox) -> Arc<Settings> {
    let secrets: SecretTexts = [
        (
            "TLS_CERTIFICATE".to_owned(),
            sandbox.file("SANDBOX_TLS_CERTIFICATE"),
        ),
        (
            "TLS_PRIVATE_KEY".to_owned(),
            sandbox.file("SANDBOX_TLS_KEY"),
        ),
        ("REGISTRY_PASSWORD".to_owned(), sandbox.registry_password()),
        ("TOKEN".to_owned(), TOKEN.to_owned()),
    ]
    .into_iter()
    .collect();
    let masker = Masker::new();
    for secret in secrets.values() {
        masker.add(secret);
    }
    Arc::new(Settings {
        reach: Reach::new("deploy", 2121, sandbox.ssh()),
        secrets: Arc::new(secrets),
        registries: vec![sandbox.registry()],
        masker,
        who: "tests".to_owned(),
        run: None,
        backups: std::env::temp_dir().join("runner-tests-backups"),
    })
}
