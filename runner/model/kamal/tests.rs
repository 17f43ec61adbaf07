//! Tests of the reading as a whole.

use std::time::Duration;

use super::fake::Fake;
use super::*;
use crate::diagnostic::Severity;

const SMALL: &str = "service: shop\nimage: acme/shop\nservers: [10.0.0.1]\n\
                     registry: {username: bot, password: [PW]}\nbuilder: {arch: amd64}\n";

/// The owner's configuration, in full.
const REPORTIFY: &str = r#"
service: reportify-api
image: reportify-api
servers:
  web:
    hosts: [rs-development.net]
    options: { publish: "3002:3000", memory: 2g, cpus: 2 }
proxy:
  host: reportify.rs-development.net
  app_port: 3000
  ssl: { certificate_pem: TLS_CERTIFICATE, private_key_pem: TLS_PRIVATE_KEY }
  healthcheck: { path: /up, interval: 1, timeout: 5 }
  run: { http_port: 8080, https_port: 8443 }
registry: { server: registry.rs-development.net, username: deploy, password: [REGISTRY_PASSWORD] }
builder: { arch: amd64 }
ssh: { user: deploy, port: 2121 }
env:
  clear: { RAILS_ENV: production, DATABASE_HOST: reportify-api-db, PGSSLMODE: verify-ca, PGSSLROOTCERT: /rails/tmp/db-ca.crt, REDIS_URL: "redis://reportify-api-redis:6379/0" }
  secret: [SECRET_KEY_BASE, DATABASE_PASSWORD, JWT_SECRET, DATABASE_CA]
volumes: ["reportify_storage:/rails/storage"]
accessories:
  db:
    image: postgres:15
    host: rs-development.net
    port: "127.0.0.1:5433:5432"
    cmd: sh -c "exec postgres -c ssl=on"
    files: ["config/db/server.crt:/tls/server.crt", "config/db/server.key:/tls/server.key", "config/db/pg_hba.conf:/tls/pg_hba.conf"]
    env: { clear: { POSTGRES_USER: reportify, POSTGRES_DB: reportify_production }, secret: [POSTGRES_PASSWORD] }
    volumes: ["reportify_postgres_data:/var/lib/postgresql/data"]
  redis:
    image: redis:7
    host: rs-development.net
    port: "127.0.0.1:6380:6379"
    volumes: ["reportify_redis_data:/data"]
  sidekiq:
    image: registry.rs-development.net/reportify-api
    host: rs-development.net
    cmd: bundle exec sidekiq
    env:
      clear: { RAILS_ENV: production, DATABASE_HOST: reportify-api-db }
      secret: [SECRET_KEY_BASE, DATABASE_PASSWORD, JWT_SECRET, DATABASE_CA]
    volumes: ["reportify_storage:/rails/storage"]
x-runner:
  proxy: { driver: traefik, networks: [traefik] }
  migrate: { command: bin/rails db:migrate, timeout: 10m }
  bake: 10s
"#;

fn read_one(text: &str) -> Reading {
    let world = Fake::default().with_file("config/deploy.yml", text);
    read("config/deploy.yml", None, &world)
}

fn config(text: &str) -> Config {
    let reading = read_one(text);
    reading
        .config
        .unwrap_or_else(|| panic!("refused: {:?}", reading.diagnostics))
}

/// Returns what was found, as `FILE:LINE:COLUMN: severity[code]: message`.
fn told(reading: &Reading) -> Vec<String> {
    reading
        .diagnostics
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn the_owners_configuration_reads_without_a_word() {
    let reading = read_one(REPORTIFY);
    assert_eq!(told(&reading), [""; 0]);
    let config = reading.config.unwrap();
    let web = config.role("web").unwrap();
    assert_eq!(web.options.get("publish"), ["3002:3000"]);
    assert_eq!(web.options.to_args()[2..4], ["--memory", "\"2g\""]);
    let proxy = web.proxy.as_ref().unwrap();
    assert!(proxy.ssl.is_custom());
    assert_eq!(
        config.proxy_run("rs-development.net").unwrap().https_port,
        8443
    );
    assert_eq!(config.ssh.port, 2121);
    assert_eq!(config.runner.proxy.driver, Some(ProxyDriver::Traefik));
    assert_eq!(config.runner.proxy.networks, ["traefik"]);
    let migrate = config.runner.migrate.as_ref().unwrap();
    assert_eq!(migrate.timeout, Duration::from_secs(600));
    assert_eq!(config.runner.bake, Some(Duration::from_secs(10)));
    assert_eq!(config.runner.gate.interval, Duration::from_millis(200));
    let db = config.accessory("db").unwrap();
    assert_eq!(
        db.all_volumes()[..2],
        [
            "reportify_postgres_data:/var/lib/postgresql/data",
            "$PWD/reportify-api-db/tls/server.crt:/tls/server.crt",
        ]
    );
    assert_eq!(
        config.latest_image(),
        "registry.rs-development.net/reportify-api:latest"
    );
    assert_eq!(
        config.role_env_file("web"),
        ".kamal/apps/reportify-api/env/roles/web.env"
    );
}

#[test]
fn all_problems_are_told_at_once_with_place_and_hint() {
    let text = "service: my shop\nimage: acme/shop\nserver: [10.0.0.1]\nservers: [10.0.0.1]\n\
                retain_containers: 0\nregistry: {username: bot}\nbuilder: {arch: amd64, dockerfle: x}\n";
    let reading = read_one(text);
    assert!(reading.config.is_none());
    assert_eq!(
        told(&reading),
        [
            "config/deploy.yml:3:1: error[unknown-key]: unknown key: server",
            "config/deploy.yml:1:10: error[invalid-value]: Service name can only include \
             alphanumeric characters, hyphens, and underscores",
            "config/deploy.yml:6:11: error[missing-key]: registry/password: is required",
            "config/deploy.yml:7:24: error[unknown-key]: builder: unknown key: dockerfle",
            "config/deploy.yml:5:20: error[invalid-value]: Must retain at least 1 container",
        ]
    );
    let hints: Vec<_> = reading
        .diagnostics
        .iter()
        .filter_map(|one| one.diagnostic.hint.as_deref())
        .collect();
    assert_eq!(
        hints,
        ["did you mean `servers`?", "did you mean `dockerfile`?"]
    );
}

#[test]
fn a_destination_is_laid_over_and_its_problems_name_its_file() {
    let base = format!("{SMALL}env: {{clear: {{A: base, B: base}}}}\n");
    let over = "servers: [10.9.9.9, 10.9.9.8]\nenv:\n  clear: {A: over}\n";
    let world = Fake::default()
        .with_file("config/deploy.yml", &base)
        .with_file("config/deploy.staging.yml", over);
    let config = read("config/deploy.yml", Some("staging"), &world)
        .config
        .unwrap();
    assert_eq!(config.all_hosts(), ["10.9.9.9", "10.9.9.8"]);
    let role = config.role("web").unwrap();
    let clear: Vec<String> = role.hosts[0].env.clear_arguments();
    assert_eq!(clear.join(" "), "--env A=\"over\" --env B=\"base\"");
    assert_eq!(role.container_name("v1"), "shop-web-staging-v1");
    assert_eq!(config.latest_image(), "acme/shop:latest-staging");

    let world = world.with_file("config/deploy.staging.yml", "env:\n  clear:\n    A: []\n");
    let reading = read("config/deploy.yml", Some("staging"), &world);
    assert_eq!(
        told(&reading),
        ["config/deploy.staging.yml:3:8: error[wrong-type]: env/clear/A: should be a string"]
    );
    let reading = read("config/deploy.yml", Some("none"), &world);
    assert_eq!(
        told(&reading),
        [
            "config/deploy.none.yml:1:1: error[missing-file]: Configuration file not found in \
          config/deploy.none.yml"
        ]
    );
}

#[test]
fn problems_in_rendered_text_name_the_line_of_the_template() {
    let text = format!(
        "<% 2.times do |i| -%>\n# <%= i %>\n<% end -%>\n{SMALL}ssh:\n  port: <%= [].join %>\n  usr: x\n"
    );
    let reading = read_one(&text);
    assert_eq!(
        told(&reading)[0],
        "config/deploy.yml:11:1: error[unknown-key]: ssh: unknown key: usr"
    );
}

#[test]
fn our_own_keys_are_checked_and_other_extensions_are_not() {
    assert!(
        read_one(&format!("{SMALL}x-other: {{a: [1, {{}}]}}\n"))
            .config
            .is_some()
    );
    let text = format!(
        "{SMALL}x-runner:\n  prox: {{}}\n  proxy: {{driver: nginx}}\n  bake: soon\n  \
         migrate: {{timeout: 5}}\n  gate: {{successes: 0}}\n  drain: maybe\n"
    );
    let messages: Vec<String> = read_one(&text)
        .diagnostics
        .into_iter()
        .map(|one| one.diagnostic.message)
        .collect();
    assert_eq!(
        messages,
        [
            "x-runner: unknown key: prox",
            "x-runner/proxy/driver: `nginx` is not one of traefik, kamal-proxy, caddy, none",
            "x-runner/migrate/command: is required",
            "x-runner/gate/successes: should be at least 1",
            "x-runner/bake: should be a time, as `200ms`, `10s`, `5m` or `1h`",
            "x-runner/drain: `maybe` is not one of signal, wait",
        ]
    );
}

#[test]
fn kamal_1_is_translated_with_notices() {
    let text = "service: shop\nimage: acme/shop\nregistry: {username: bot, password: [PW]}\n\
        servers:\n  web:\n    hosts: [10.0.0.1]\n    labels:\n      \
        traefik.http.routers.shop.rule: Host(`shop.example.com`) || Host(`www.example.com`)\n  \
        api:\n    hosts: [10.0.0.2]\n    traefik: true\n    healthcheck: {path: /api, port: 4000}\n\
        traefik: {host_port: 8080, image: traefik:v2.11}\n\
        healthcheck: {path: /health, interval: 3s, max_attempts: 7}\n\
        stop_wait_time: 20\nbuilder: {local: {arch: arm64}, remote: {arch: amd64, host: ssh://b@h}}\n";
    let reading = read_one(text);
    let severities: Vec<_> = reading
        .diagnostics
        .iter()
        .map(|one| one.diagnostic.severity)
        .collect();
    assert!(
        severities.iter().all(|one| *one == Severity::Info),
        "{:?}",
        told(&reading)
    );
    assert!(
        told(&reading)
            .iter()
            .any(|one| one.contains("`traefik.image` of Kamal 1 is not used"))
    );
    let config = reading.config.unwrap();
    assert!(config.is_from_kamal_1);
    let web = config.role("web").unwrap().proxy.as_ref().unwrap();
    assert_eq!(web.hosts, ["shop.example.com", "www.example.com"]);
    assert_eq!(
        (web.app_port, web.healthcheck.path.as_str()),
        (3000, "/health")
    );
    assert_eq!(web.healthcheck.interval, Some(Duration::from_secs(3)));
    assert_eq!(web.run.as_ref().unwrap().http_port, 8080);
    let api = config.role("api").unwrap().proxy.as_ref().unwrap();
    assert_eq!(
        (api.app_port, api.healthcheck.path.as_str()),
        (4000, "/api")
    );
    assert_eq!(config.builder.arches, ["arm64", "amd64"]);
    assert_eq!(config.builder.remote.as_deref(), Some("ssh://b@h"));
    assert_eq!(config.drain_timeout, Duration::from_secs(20));
    assert!(
        !config
            .role("web")
            .unwrap()
            .container_labels()
            .keys()
            .any(|key| key.starts_with("traefik"))
    );
    assert!(!self::config(SMALL).is_from_kamal_1);
}

#[test]
fn checks_across_the_configuration_see_the_merged_proxies() {
    for (more, expected) in [
        (
            "proxy: {host: a, ssl: true}\nservers: [h1, h2]\n",
            "SSL is only supported on a single server unless you provide custom certificates, \
             found 2 servers for role web",
        ),
        (
            "proxy: {host: a, ssl: true}\nservers: {web: [h1], api: {hosts: [h2], proxy: true}}\n",
            "Different roles can't share the same host for SSL: a",
        ),
        (
            "servers: {web: {hosts: [h1], proxy: {run: {http_port: 81}}}, \
             api: {hosts: [h1], proxy: {run: {http_port: 82}}}}\n",
            "Conflicting proxy run configurations for host h1",
        ),
        (
            "servers: {web: [h1], jobs: []}\n",
            "No servers specified for the jobs role. You can ignore this with \
             allow_empty_roles: true",
        ),
        (
            "minimum_version: 2.13\n",
            "Current version is 2.12.0, minimum required is 2.13",
        ),
        (
            "servers: {web: {hosts: [h1], options: {restart: never}}}\n",
            "servers/web/options/restart: should be no, always, unless-stopped, on-failure, \
             or on-failure:N",
        ),
        (
            "hooks_output: {pre-build: loud}\n",
            "Invalid hooks_output 'loud' for hook 'pre-build', must be one of: quiet, verbose",
        ),
        (
            "proxy: {run: {publish: false, http_port: 80}}\n",
            "proxy/run: Cannot set http_port, https_port or bind_ips when publish is false",
        ),
        (
            "aliases: {deploy: app logs}\n",
            "aliases/deploy: Alias 'deploy' conflicts with a built-in command.",
        ),
    ] {
        let reading = read_one(&format!("{SMALL}{more}"));
        let messages: Vec<_> = reading
            .diagnostics
            .iter()
            .map(|one| one.diagnostic.message.as_str())
            .collect();
        assert_eq!(messages, [expected], "{more}");
    }
}

#[test]
fn secrets_are_redacted_unless_they_are_revealed() {
    let config = config(&format!("{SMALL}env: {{secret: [A, \"B:OTHER\"]}}\n"));
    let world = Fake::default().with_file(".kamal/secrets", "PW=hunter2\nA=1\nOTHER=2");
    let secrets = Secrets::new(&config.secrets_path, None);
    let print = |reveals_secrets| {
        let context = JsonContext {
            version: "v1",
            folder: "/",
            secrets: secrets.load(&world).unwrap(),
            reveals_secrets,
        };
        let json = to_json(&config, &context);
        let host = &json["roles"][0]["perHost"]["10.0.0.1"];
        (
            json["registry"]["password"].clone(),
            host["envFile"].clone(),
        )
    };
    assert_eq!(print(true), ("hunter2".into(), "A=1\nB=2\n".into()));
    let hidden = "A=[REDACTED]\nB=[REDACTED]\n";
    assert_eq!(print(false), ("[REDACTED]".into(), hidden.into()));
    let literal = self::config(&SMALL.replace("[PW]", "hunter2"));
    assert!(!format!("{literal:?}").contains("hunter2"));
}

#[test]
fn versions_come_from_the_call_then_the_environment_then_git() {
    let clone = config(SMALL);
    let local = config(&SMALL.replace("arch: amd64", "arch: amd64, context: ."));
    let git = GitFacts {
        revision: "0123456789abcdef".to_owned(),
        is_dirty: true,
    };
    let sources = |asked, environment, git| VersionSources {
        asked,
        environment,
        git,
        folder: "/project",
        random: "ff",
    };
    let of = |config: &Config, sources: VersionSources<'_>| config.version(&sources);
    assert_eq!(
        of(&clone, sources(Some("v1"), Some("v2"), Some(&git))).unwrap(),
        "v1"
    );
    assert_eq!(
        of(&clone, sources(None, Some("v2"), Some(&git))).unwrap(),
        "v2"
    );
    assert_eq!(
        of(&clone, sources(None, None, Some(&git))).unwrap(),
        "0123456789abcdef"
    );
    let uncommitted = of(&local, sources(None, None, Some(&git))).unwrap();
    assert_eq!(uncommitted, "0123456789abcdef_uncommitted_ff");
    assert_eq!(abbreviated_version(&uncommitted), uncommitted);
    assert_eq!(abbreviated_version("0123456789abcdef"), "0123456");
    assert!(of(&clone, sources(None, None, None)).is_err());
}

#[test]
fn mutated_files_never_panic() {
    let seeds = [
        REPORTIFY,
        SMALL,
        "servers: {web: {hosts: [a: b], env: {tags: {}}}}\n<%= ENV['X'] %>",
    ];
    let mut state: u64 = 0x2545_F491_4F6C_DD1D;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let alphabet: Vec<char> = "\n\t :-[]{}&*!|>'\"%@`#,?~aé<=$()\\".chars().collect();
    for round in 0..1500 {
        let mut text: Vec<char> = seeds[round % seeds.len()].chars().collect();
        for _ in 0..=random(6) {
            let at = random(text.len());
            match random(3) {
                0 => drop(text.remove(at)),
                1 => text.insert(at, alphabet[random(alphabet.len())]),
                _ => text[at] = alphabet[random(alphabet.len())],
            }
        }
        let text: String = text.into_iter().collect();
        let world = Fake::default()
            .with_file("config/deploy.yml", &text)
            .with_file(".kamal/secrets", &text);
        let reading = read("config/deploy.yml", None, &world);
        assert!(reading.config.is_some() || !reading.diagnostics.is_empty());
        let secrets = Secrets::new(".kamal/secrets", None);
        assert!(
            secrets
                .load(&world)
                .is_ok_and(|read| read.files().len() == 1)
        );
    }
}
