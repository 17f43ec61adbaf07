//! Tests of the conversion as a whole.

use indexmap::IndexMap;

use super::*;
use crate::kamal::{World, read};
use crate::release::{ContainerSpec, Duty, HealthCheck, LogSettings, Tls};

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
  clear: { RAILS_ENV: production, DATABASE_HOST: reportify-api-db, REDIS_URL: "redis://reportify-api-redis:6379/0" }
  secret: [SECRET_KEY_BASE, DATABASE_PASSWORD, JWT_SECRET, "CA:DATABASE_CA"]
volumes: ["reportify_storage:/rails/storage"]
accessories:
  db:
    image: postgres:15
    host: rs-development.net
    port: "127.0.0.1:5433:5432"
    cmd: >-
      bash -c "install -m 600 /tls/server.key /var/lib/postgresql/server.key
      && exec docker-entrypoint.sh postgres -c ssl=on"
    files: ["config/db/server.key:/tls/server.key", "config/db/pg_hba.conf:/tls/pg_hba.conf:ro"]
    directories: ["data:/data"]
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

const FLEET: &str = r#"
service: shop
image: acme/shop
servers:
  worker:
    hosts: [srv1, srv2]
    cmd: bundle exec sidekiq
    stop_timeout: 60
    options: { memory: 512m, health-cmd: "test -f /ok", health-interval: 2s, health-retries: 2 }
  web:
    hosts: [srv1: blue, srv2: [blue, green]]
    options: { publish: ["3002:3000", "127.0.0.1:3003:3000"], init: true, cap-add: [A, B] }
proxy: { hosts: [a.example.com, b.example.com], app_port: 3000 }
registry: { username: bot, password: [PW] }
builder: { arch: amd64 }
env:
  clear: { COLOR: none, BLANK: "" }
  secret: [KEY, "REDIS_URL:FLEET_REDIS_URL"]
  tags:
    blue: { COLOR: blue, LEVEL: 1 }
    green: { clear: { COLOR: green }, secret: [GREEN] }
accessories:
  db: { image: "postgres:15", roles: [web], port: "5433:5432" }
"#;

/// One file in memory.
struct File(String);

impl World for File {
    fn env(&self, _: &str) -> Option<String> {
        None
    }

    fn read_file(&self, path: &str) -> Result<Option<String>, String> {
        Ok(match path {
            "config/deploy.yml" => Some(self.0.clone()),
            _ => Some("env: {}\n".to_owned()),
        })
    }

    fn run_command(&self, _: &str) -> Result<String, String> {
        Err("not here".to_owned())
    }

    fn run_secrets_command(&self, _: &[String]) -> Result<String, String> {
        Err("not here".to_owned())
    }
}

fn config(text: &str, destination: Option<&str>) -> Config {
    let reading = read("config/deploy.yml", destination, &File(text.to_owned()));
    let found = reading.diagnostics;
    reading.config.unwrap_or_else(|| panic!("{found:?}"))
}

/// A small configuration; `more` are further lines at the root.
fn small(more: &str) -> Config {
    let text = format!(
        "service: shop\nimage: acme/shop\nregistry: {{username: bot, password: [PW]}}\n\
         builder: {{arch: amd64}}\n{more}"
    );
    config(&text, None)
}

fn facts() -> Facts {
    Facts {
        version: "v1".into(),
        digest: Some(Digest::new("sha256:12")),
        driver: None,
        seed: "t1".to_owned(),
    }
}

fn errors(config: &Config) -> Vec<String> {
    let errors = spec(config, &facts()).unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}

fn map(pairs: &[(&str, &str)]) -> IndexMap<String, String> {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(pair).collect()
}

fn container<'a>(spec: &'a Spec, host: &str, role: &str) -> &'a ContainerSpec {
    let mut containers = spec.containers.iter();
    containers
        .find(|one| one.host.as_str() == host && one.role.as_str() == role)
        .unwrap()
}

#[test]
fn the_owners_web_container_is_kamals_but_for_its_port() {
    let spec = spec(&config(REPORTIFY, None), &facts()).unwrap();
    let web = container(&spec, "rs-development.net", "web");
    assert_eq!(web.duty, Duty::Web);
    assert_eq!(web.name.as_str(), "reportify-api-web-v1");
    assert_eq!(
        web.image.to_string(),
        "registry.rs-development.net/reportify-api:v1@sha256:12"
    );
    let labels = [
        ("service", "reportify-api"),
        ("role", "web"),
        ("destination", ""),
    ];
    assert_eq!(web.labels, map(&labels));
    assert_eq!(
        web.env,
        map(&[
            ("KAMAL_CONTAINER_NAME", "reportify-api-web-v1"),
            ("KAMAL_VERSION", "v1"),
            ("KAMAL_HOST", "rs-development.net"),
            ("RAILS_ENV", "production"),
            ("DATABASE_HOST", "reportify-api-db"),
            ("REDIS_URL", "redis://reportify-api-redis:6379/0"),
            ("SKIP_DB_PREPARE", "1"),
        ])
    );
    assert_eq!(web.secrets["CA"].as_str(), "DATABASE_CA");
    assert_eq!(web.secrets.len(), 4);
    let env_file = ".kamal/apps/reportify-api/env/roles/web.env";
    assert_eq!(web.env_file.as_deref(), Some(env_file));
    assert_eq!(web.volumes, ["reportify_storage:/rails/storage"]);
    assert_eq!(web.networks, ["kamal", "traefik"]);
    assert!(web.publish.is_empty(), "the proxy holds 3002");
    assert_eq!(web.memory_bytes().unwrap(), Some(2 << 30));
    assert_eq!(web.nano_cpus().unwrap(), Some(2_000_000_000));
    assert_eq!(web.restart, "unless-stopped");
    assert_eq!(web.stop_timeout, Millis::from_secs(30));
    let logging = LogSettings {
        driver: None,
        options: map(&[("max-size", "10m")]),
    };
    assert_eq!(web.logging, logging);
    assert!(
        web.hostname
            .as_ref()
            .unwrap()
            .starts_with("rs-development.net-")
    );
    assert!(web.command.is_empty());
}

#[test]
fn the_owners_port_is_an_entry_point_and_tls_has_its_secrets() {
    let spec = spec(&config(REPORTIFY, None), &facts()).unwrap();
    let [route] = spec.routes.as_slice() else {
        panic!("{:?}", spec.routes)
    };
    assert_eq!(route.app, "reportify-api-web");
    assert_eq!(route.hosts, ["reportify.rs-development.net"]);
    assert_eq!(
        (route.app_port, route.plain_ports.as_slice()),
        (3000, &[3002][..])
    );
    let tls = Tls::Given {
        certificate: "TLS_CERTIFICATE".into(),
        key: "TLS_PRIVATE_KEY".into(),
    };
    assert_eq!(route.tls, Some(tls));
    assert_eq!(route.health.path, "/up");
    assert_eq!(route.health.timeout, Millis::from_secs(5));
    let proxy = spec.proxy.unwrap();
    assert_eq!(
        (proxy.driver.as_str(), proxy.container.as_str()),
        ("traefik", "traefik")
    );
    assert_eq!(proxy.ports, [3002, 8080, 8443]);
}

#[test]
fn the_owners_sidekiq_is_a_worker_and_the_rest_are_accessories() {
    let spec = spec(&config(REPORTIFY, None), &facts()).unwrap();
    let worker = container(&spec, "rs-development.net", "sidekiq");
    assert_eq!(worker.duty, Duty::WorkerAccessory);
    assert_eq!(worker.name.as_str(), "reportify-api-sidekiq");
    assert_eq!(worker.image, spec.image);
    assert_eq!(worker.command, ["bundle", "exec", "sidekiq"]);
    assert_eq!(
        worker.labels,
        map(&[
            ("service", "reportify-api-sidekiq"),
            ("runner.application", "reportify-api"),
            ("runner.accessory", "sidekiq"),
        ])
    );
    assert_eq!(worker.env["KAMAL_HOST"], "rs-development.net");
    assert_eq!(worker.env["SKIP_DB_PREPARE"], "1");
    let env_file = ".kamal/apps/reportify-api/env/accessories/sidekiq.env";
    assert_eq!(worker.env_file.as_deref(), Some(env_file));
    assert_eq!(worker.networks, ["kamal"]);
    let names: Vec<&str> = spec
        .accessories
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    assert_eq!(names, ["db", "redis"]);
    assert_eq!(spec.accessories[0].port, Some(5432));
    assert_eq!(spec.accessories[0].container.as_str(), "reportify-api-db");
}

#[test]
fn an_accessory_on_another_tag_stays_an_accessory() {
    let accessory = |image: &str| {
        let more =
            format!("servers: [h1]\naccessories: {{jobs: {{image: '{image}', host: h1}}}}\n");
        let spec = spec(&small(&more), &facts()).unwrap();
        spec.accessories.is_empty()
    };
    for (image, is_worker) in [
        ("acme/shop", true),
        ("acme/shop:latest", true),
        ("docker.io/acme/shop", true),
        ("acme/shop:v7", false),
        ("acme/shop:latest-staging", false),
        ("acme/shop-jobs", false),
        ("other.example.com/acme/shop", false),
    ] {
        assert_eq!(accessory(image), is_worker, "{image}");
    }
}

#[test]
fn the_migration_is_a_container_of_the_primary_role() {
    let spec = spec(&config(REPORTIFY, None), &facts()).unwrap();
    let migrate = spec.migrate.unwrap();
    let one_off = &migrate.container;
    assert_eq!(one_off.duty, Duty::Migration);
    assert_eq!(one_off.name.as_str(), "reportify-api-migrate");
    assert_eq!(one_off.command, ["bin/rails", "db:migrate"]);
    assert_eq!(one_off.env["PGOPTIONS"], "-c lock_timeout=5s");
    assert_eq!(one_off.restart, "no");
    assert!(!one_off.labels.contains_key("role"));
    assert_eq!(one_off.labels["runner.purpose"], "migrate");
    assert_eq!(one_off.secrets.len(), 4);
    assert_eq!(migrate.limit, Millis::from_secs(600));
    let database = migrate.database.unwrap();
    assert_eq!(database.container.as_str(), "reportify-api-db");
    assert_eq!(
        (database.user.as_str(), database.database.as_str()),
        ("reportify", "reportify_production")
    );
}

#[test]
fn a_fleet_has_every_role_on_every_server_web_first() {
    let spec = spec(&config(FLEET, None), &facts()).unwrap();
    let names: Vec<String> = spec
        .containers
        .iter()
        .map(|one| format!("{}@{}", one.name, one.host))
        .collect();
    assert_eq!(
        names,
        [
            "shop-web-v1@srv1",
            "shop-web-v1@srv2",
            "shop-worker-v1@srv1",
            "shop-worker-v1@srv2"
        ]
    );
    assert_eq!(spec.primary.as_str(), "srv1");
    let worker = container(&spec, "srv2", "worker");
    assert_eq!(worker.duty, Duty::Worker);
    assert_eq!(worker.stop_timeout, Millis::from_secs(60));
    assert_eq!(worker.networks, ["kamal"]);
    let check = HealthCheck {
        command: "test -f /ok".to_owned(),
        interval: Millis::from_secs(2),
        retries: 2,
        ..HealthCheck::default()
    };
    assert_eq!(worker.health_check, Some(check));
    let web = container(&spec, "srv1", "web");
    let options = web.run_options().unwrap();
    assert_eq!((options.init, options.cap_add.len()), (Some(true), 2));
    assert_eq!(spec.routes.len(), 2);
    assert_eq!(spec.routes[1].plain_ports, [3002, 3003]);
    assert_eq!(spec.routes[1].tls, None);
    assert_eq!(spec.proxy.as_ref().unwrap().ports, [80, 443, 3002, 3003]);
    assert!(spec.migrate.is_none());
    assert!(
        !web.env.contains_key("SKIP_DB_PREPARE"),
        "nobody else would prepare it"
    );
}

#[test]
fn tags_of_a_host_add_to_its_environment() {
    let spec = spec(&config(FLEET, None), &facts()).unwrap();
    let (first, second) = (
        container(&spec, "srv1", "web"),
        container(&spec, "srv2", "web"),
    );
    assert_eq!(
        (first.env["COLOR"].as_str(), first.env["LEVEL"].as_str()),
        ("blue", "1")
    );
    assert_eq!(second.env["COLOR"], "green");
    assert_eq!(first.secrets.len(), 2);
    assert_eq!(second.secrets["REDIS_URL"].as_str(), "FLEET_REDIS_URL");
    assert!(second.secrets.contains_key("GREEN"));
    assert!(
        !first.env.contains_key("BLANK"),
        "Kamal leaves blank values out"
    );
    assert_eq!(container(&spec, "srv1", "worker").env["COLOR"], "none");
}

#[test]
fn a_destination_is_part_of_names_labels_and_paths() {
    let spec = spec(&config(REPORTIFY, Some("sandbox")), &facts()).unwrap();
    let web = container(&spec, "rs-development.net", "web");
    assert_eq!(web.name.as_str(), "reportify-api-web-sandbox-v1");
    assert_eq!(web.labels["destination"], "sandbox");
    assert_eq!(web.env["KAMAL_DESTINATION"], "sandbox");
    let env_file = ".kamal/apps/reportify-api-sandbox/env/roles/web.env";
    assert_eq!(web.env_file.as_deref(), Some(env_file));
    assert_eq!(spec.routes[0].app, "reportify-api-web-sandbox");
    assert_eq!(spec.latest_tag(), "latest-sandbox");
    let worker = container(&spec, "rs-development.net", "sidekiq");
    assert_eq!(worker.labels["runner.application"], "reportify-api-sandbox");
    let migrate = spec.migrate.unwrap();
    assert_eq!(
        migrate.container.name.as_str(),
        "reportify-api-sandbox-migrate"
    );
}

#[test]
fn what_cannot_be_carried_out_is_told_at_once_with_its_path() {
    let config = small(
        "servers:\n  web:\n    hosts: [h1, h2]\n    cmd: 'a && b'\n    options: {memory: lots, cidfile: /x, network: host, publish: ['9394:9394', '80:80']}\n    env: {A: '${HOST}'}\n    asset_path: /assets\nvolumes: ['$OTHER:/x']\n",
    );
    assert_eq!(
        errors(&config),
        [
            "servers/web/options/memory: `lots` is no value for option `memory`",
            "servers/web/options/cidfile: option `cidfile` of `docker run` is not supported",
            "servers/web/options/network: is not supported: a container of the application is on \
             network `kamal`, which this excludes",
            "servers/web/asset_path: is not supported: assets are not shared between releases yet",
            "servers/web/env/A: `${HOST}` would be expanded on the server, not in the container; \
             put it in single quotes, for a shell in the container",
            "volumes: `$OTHER:/x` would be expanded on the server, not in the container; put it in \
             single quotes, for a shell in the container",
            "servers/web/cmd: `&` is for a shell; write `sh -c '…'` to have one in the container",
            "servers/web/options/publish: `9394:9394` cannot be held by the proxy, which leads to \
             port 80 in the container; two releases cannot both hold it",
            "servers/web/options/publish: port 80 is the proxy's own, see `proxy/run`",
        ]
    );
}

#[test]
fn two_roles_cannot_take_the_same_port_of_a_server() {
    let config = small(
        "servers:\n  web: {hosts: [h1], options: {publish: '3002:80'}}\n  api: {hosts: [h1], proxy: {host: a.example.com}, options: {publish: '3002:80'}}\n",
    );
    let expected = "servers/api/options/publish: port 3002 of `h1` is role `web`'s, too";
    assert_eq!(errors(&config), [expected]);
}

#[test]
fn without_a_server_there_is_nothing_to_deploy() {
    let config = small("accessories: {db: {image: 'postgres:15', host: h1}}\n");
    assert_eq!(errors(&config), ["servers/web: has no server"]);
    assert_eq!(accessories(&config).unwrap().len(), 1);
    assert_eq!(proxies(&config, None).unwrap(), []);
}

#[test]
fn a_certificate_from_lets_encrypt_is_for_one_server() {
    let text = "service: shop\nimage: shop\nservers: [h1, h2]\nproxy: {ssl: true, host: a.b}\n\
                registry: {username: bot, password: [PW]}\nbuilder: {arch: amd64}\n";
    let reading = read("config/deploy.yml", None, &File(text.to_owned()));
    assert!(reading.config.is_none());
    let told = &reading.diagnostics[0].diagnostic.message;
    assert!(
        told.contains("SSL is only supported on a single server"),
        "{told}"
    );
}

#[test]
fn lets_encrypt_needs_ports_80_and_443_or_a_word_that_they_lead_here() {
    let on = |run: &str, acme: &str| {
        small(&format!(
            "servers: [h1]\nproxy: {{ssl: true, host: a.b, run: {run}}}\nx-runner: {{proxy: {{acme: {acme}}}}}\n"
        ))
    };
    let other_ports = "{http_port: 8080, https_port: 8443}";
    let error = &proxies(&on(other_ports, "{}"), None).unwrap_err()[0];
    assert!(error.to_string().contains("acme.forwarded"), "{error}");
    assert!(proxies(&on("{}", "{}"), None).is_ok());
    let specs = proxies(&on(other_ports, "{forwarded: true, email: a@b.c}"), None).unwrap();
    assert_eq!(specs[0].settings.acme.as_ref().unwrap().email, "a@b.c");
    assert!(specs[0].files[0].text.contains("acme.json"));
    let labels = &specs[0].container.labels;
    let directory = "https://acme-v02.api.letsencrypt.org/directory";
    assert_eq!(labels["runner.proxy.authority"], directory);
}

#[test]
fn another_authority_is_trusted_by_a_file_of_the_project() {
    let server = "https://ca.example.com/dir";
    let config = small(&format!(
        "servers: [h1]\nproxy: {{ssl: true, host: a.b}}\n\
         x-runner: {{proxy: {{acme: {{server: '{server}', ca: config/ca.crt, challenge: tls}}}}}}\n"
    ));
    let specs = proxies(&config, None).unwrap();
    let acme = specs[0].settings.acme.as_ref().unwrap();
    assert_eq!(acme.server.as_deref(), Some(server));
    assert_eq!(acme.authorities, ["/etc/traefik/certs/authority.crt"]);
    assert!(specs[0].files[0].text.contains("tlsChallenge"));
    let copied: Vec<_> = specs[0]
        .files
        .iter()
        .filter_map(|file| Some((file.path.as_str(), file.local.as_deref()?)))
        .collect();
    let expected = (".kamal/proxy/traefik/certs/authority.crt", "config/ca.crt");
    assert_eq!(copied, [expected]);
    let wish = spec(&config, &facts()).unwrap().proxy.unwrap();
    assert_eq!(wish.authority.as_deref(), Some(server));
}

#[test]
fn a_driver_that_is_not_built_is_refused_by_name() {
    let named = small("servers: [h1]\nx-runner: {proxy: {driver: caddy}}\n");
    let expected = "x-runner/proxy/driver: proxy `caddy` cannot be driven yet, only `traefik`";
    assert_eq!(errors(&named), [expected]);
    let unnamed = small("servers: [h1]\n");
    let found = Facts {
        driver: Some("kamal-proxy".to_owned()),
        ..facts()
    };
    assert!(spec(&unnamed, &found).is_err());
    let none =
        small("servers: {web: {hosts: [h1], proxy: false, options: {publish: '3002:80'}}}\n");
    let spec = spec(&none, &found).unwrap();
    assert_eq!((spec.proxy, spec.routes.len()), (None, 0));
    assert_eq!(spec.containers[0].publish, ["3002:80"]);
    assert_eq!(spec.containers[0].duty, Duty::Worker);
}

#[test]
fn the_owners_database_is_made_as_kamal_makes_it() {
    let specs = accessories(&config(REPORTIFY, None)).unwrap();
    let [db, redis] = specs.as_slice() else {
        panic!("{specs:?}")
    };
    let container = &db.container;
    assert_eq!(container.duty, Duty::Accessory);
    assert_eq!(container.image.to_string(), "postgres:15");
    let script = "install -m 600 /tls/server.key /var/lib/postgresql/server.key && exec \
                  docker-entrypoint.sh postgres -c ssl=on";
    assert_eq!(container.command, ["bash", "-c", script]);
    assert_eq!(container.publish, ["127.0.0.1:5433:5432"]);
    assert_eq!(container.labels, map(&[("service", "reportify-api-db")]));
    assert_eq!(container.networks, ["kamal"]);
    assert_eq!(
        container.env,
        map(&[
            ("KAMAL_HOST", "rs-development.net"),
            ("POSTGRES_USER", "reportify"),
            ("POSTGRES_DB", "reportify_production"),
        ])
    );
    assert_eq!(
        container.mounts("/home/deploy").binds,
        [
            "reportify_postgres_data:/var/lib/postgresql/data",
            "/home/deploy/reportify-api-db/tls/server.key:/tls/server.key",
            "/home/deploy/reportify-api-db/tls/pg_hba.conf:/tls/pg_hba.conf:ro",
            "/home/deploy/reportify-api-db/data:/data",
        ]
    );
    assert_eq!(db.files[0].local, "config/db/server.key");
    assert_eq!(db.files[0].remote, "reportify-api-db/tls/server.key");
    assert_eq!(
        (db.files[0].mode.as_str(), db.files[0].is_template),
        ("755", false)
    );
    assert_eq!(db.directories[0].path, "reportify-api-db/data");
    let ready = [
        "pg_isready",
        "-q",
        "-h",
        "127.0.0.1",
        "-U",
        "reportify",
        "-d",
        "reportify_production",
    ];
    assert_eq!(
        db.readiness,
        Readiness::Command(ready.map(str::to_owned).to_vec())
    );
    assert_eq!(redis.readiness, Readiness::Port(6379));
}

#[test]
fn the_owners_proxy_holds_all_ports_and_its_api_only_for_the_server() {
    let specs = proxies(&config(REPORTIFY, None), None).unwrap();
    let [proxy] = specs.as_slice() else {
        panic!("{specs:?}")
    };
    let container = &proxy.container;
    assert_eq!(
        (container.name.as_str(), container.duty),
        ("traefik", Duty::Proxy)
    );
    assert_eq!(
        container.publish,
        ["127.0.0.1:8082:8082", "8080:8080", "8443:8443", "3002:3002"]
    );
    assert_eq!(container.networks, ["kamal", "traefik"]);
    assert_eq!(container.labels, map(&[("runner.proxy", "traefik")]));
    let binds = container.mounts("/home/deploy").binds;
    let dynamic = "/home/deploy/.kamal/proxy/traefik/dynamic:/etc/traefik/dynamic:ro";
    assert!(binds.iter().any(|bind| bind == dynamic), "{binds:?}");
    assert!(proxy.settings.redirect);
    assert_eq!(proxy.settings.plain_ports, [3002]);
    let text = &proxy.files[0].text;
    assert!(
        text.contains(":8443") && text.contains("plain-3002"),
        "{text}"
    );
    assert_eq!(proxy.settings.acme, None);
}

#[test]
fn addresses_of_ports_stay_those_of_the_configuration() {
    let config = small(
        "servers: {web: {hosts: [h1], options: {publish: '127.0.0.1:3002:80'}}}\nproxy: {run: {bind_ips: [10.0.0.1], options: {memory: 64m, restart: always}}}\n",
    );
    let specs = proxies(&config, None).unwrap();
    let container = &specs[0].container;
    assert_eq!(
        container.publish,
        [
            "127.0.0.1:8082:8082",
            "10.0.0.1:80:80",
            "10.0.0.1:443:443",
            "127.0.0.1:3002:3002"
        ]
    );
    assert_eq!(container.memory_bytes().unwrap(), Some(64 << 20));
    assert_eq!(container.restart, "always");
    assert!(!specs[0].settings.redirect, "nothing is served with TLS");
}

#[test]
fn what_will_be_otherwise_is_said() {
    let notices = notices(&config(REPORTIFY, None));
    assert_eq!(notices.len(), 2, "{notices:?}");
    assert!(notices[0].starts_with("port 3002 of role `web` is held by the proxy"));
    assert!(notices[1].starts_with("accessory `sidekiq`"));
    let config = small(
        "servers: {web: [h1], worker: {hosts: [h1], options: {publish: '9000:9000'}}}\nproxy: {response_timeout: 10, run: {version: v1}}\nboot: {limit: 1}\n",
    );
    let notices = super::notices(&config);
    for word in ["port 9000", "response_timeout", "run/version", "`boot`"] {
        assert!(
            notices.iter().any(|one| one.contains(word)),
            "{word}: {notices:?}"
        );
    }
}

#[test]
fn a_specs_text_names_secrets_and_is_read_back() {
    let spec = spec(&config(REPORTIFY, None), &facts()).unwrap();
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<Spec>(&text).unwrap(), spec);
}
