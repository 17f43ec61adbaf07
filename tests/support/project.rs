//! The configuration of a project with the stub application.

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

pub(crate) const TOKEN: &str = "t0ken-that-nobody-sees";
