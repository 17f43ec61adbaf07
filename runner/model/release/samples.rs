//! Small specs that the tests of this room start from.

use indexmap::IndexMap;

use super::{
    ids::Digest,
    image::ImageRef,
    route::{RouteHealth, RouteSpec, Tls},
    spec::{
        AccessoryRef, ContainerSpec, DatabaseRef, DrainMode, Duty, GateSettings, LogSettings,
        MigrateSpec, ProxyWish, Spec,
    },
    time::Millis,
};

pub(crate) fn image(version: &str) -> ImageRef {
    ImageRef {
        repository: "registry.example.com/shop".to_owned(),
        tag: Some(version.to_owned()),
        digest: Some(Digest::new(format!("sha256:{version}"))),
    }
}

pub(crate) fn container(host: &str, role: &str, duty: Duty, version: &str) -> ContainerSpec {
    let name = match duty {
        Duty::WorkerAccessory | Duty::Migration | Duty::Accessory | Duty::Proxy => {
            format!("shop-{role}")
        }
        Duty::Web | Duty::Worker => format!("shop-{role}-{version}"),
    };
    let env_file = match duty {
        Duty::WorkerAccessory | Duty::Accessory => {
            Some(format!(".kamal/apps/shop/env/accessories/{role}.env"))
        }
        Duty::Migration | Duty::Proxy => None,
        Duty::Web | Duty::Worker => Some(format!(".kamal/apps/shop/env/roles/{role}.env")),
    };
    ContainerSpec {
        host: host.into(),
        role: role.into(),
        duty,
        name: name.as_str().into(),
        boot_name: None,
        image: image(version),
        hostname: None,
        labels: IndexMap::from([("service".to_owned(), "shop".to_owned())]),
        env: IndexMap::new(),
        secrets: IndexMap::from([("KEY".to_owned(), "KEY".into())]),
        env_file,
        volumes: Vec::new(),
        publish: Vec::new(),
        options: Vec::new(),
        command: Vec::new(),
        networks: vec!["kamal".to_owned()],
        stop_timeout: Millis::from_secs(30),
        health_check: None,
        restart: "unless-stopped".to_owned(),
        logging: LogSettings::default(),
    }
}

pub(crate) fn web(host: &str, version: &str) -> ContainerSpec {
    container(host, "web", Duty::Web, version)
}

pub(crate) fn route(host: &str) -> RouteSpec {
    RouteSpec {
        host: host.into(),
        role: "web".into(),
        app: "shop-web".to_owned(),
        hosts: vec!["shop.example.com".to_owned()],
        paths: Vec::new(),
        strips_paths: true,
        app_port: 3000,
        tls: Some(Tls::Given {
            certificate: "CERTIFICATE".into(),
            key: "KEY".into(),
        }),
        plain_ports: vec![3002],
        serves_plain: false,
        health: RouteHealth {
            path: "/up".to_owned(),
            interval: Millis::from_secs(1),
            timeout: Millis::from_secs(5),
        },
    }
}

/// One web container on one host, no migration.
pub(crate) fn single(version: &str) -> Spec {
    Spec {
        service: "shop".into(),
        destination: None,
        version: version.into(),
        image: image(version),
        primary: "h1".into(),
        containers: vec![web("h1", version)],
        routes: vec![route("h1")],
        proxy: Some(ProxyWish {
            driver: "traefik".to_owned(),
            container: "traefik".into(),
            ports: vec![8080, 8443, 3002],
            authority: None,
        }),
        accessories: Vec::new(),
        migrate: None,
        gate: GateSettings {
            interval: Millis(200),
            successes: 2,
            limit: Millis::from_secs(30),
            readiness_delay: Millis::from_secs(7),
        },
        drain: DrainMode::Term,
        drain_timeout: Millis::from_secs(30),
        bake: Millis(0),
        retain_containers: 1,
    }
}

/// Web on two hosts, a worker on the second, a worker accessory on the first, a migration.
pub(crate) fn fleet(version: &str) -> Spec {
    let database = DatabaseRef {
        host: "h1".into(),
        container: "shop-db".into(),
        user: "shop".to_owned(),
        database: "shop_production".to_owned(),
    };
    let mut spec = single(version);
    spec.containers.push(web("h2", version));
    spec.containers
        .push(container("h2", "worker", Duty::Worker, version));
    spec.containers
        .push(container("h1", "sidekiq", Duty::WorkerAccessory, version));
    spec.routes.push(route("h2"));
    spec.accessories.push(AccessoryRef {
        name: "db".to_owned(),
        host: "h1".into(),
        container: "shop-db".into(),
        port: Some(5432),
    });
    spec.migrate = Some(MigrateSpec {
        container: container("h1", "migrate", Duty::Migration, version),
        limit: Millis::from_secs(600),
        database: Some(database),
        backup: true,
    });
    spec.bake = Millis::from_secs(10);
    spec
}
