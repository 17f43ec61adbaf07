//! The file of one service's routes.

use serde_json::{Map, Value, json};
use thiserror::Error;

use super::{PROBE_HEADER, RELEASE_HEADER, RESOLVER, WEB, WEB_SECURE, plain_entry, tree};
use crate::release::{
    ids::{ContainerId, TransactionId},
    paths::Paths,
    route::{Backend, Route, RouteApp, RouteSpec, Tls},
};

/// The rank of routers for probe requests: above any rule's length.
const PROBE_PRIORITY: u32 = 1_000_000;

/// Why a file cannot be read: somebody else wrote or edited it.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// It is no YAML, or more than plain data.
    #[error("the route is no plain YAML: {0}")]
    Yaml(String),
    /// A group of ours is named but not described, or not by a transaction.
    #[error("the route describes service `{0}` otherwise than by a transaction and its containers")]
    Service(String),
}

/// Writes the dynamic file for `route`; `transaction` is the one that probe requests find.
///
/// `specs` and `route` name the same roles; a role that only one of them names is left out.
pub fn dynamic_file(specs: &[RouteSpec], route: &Route, transaction: &TransactionId) -> String {
    let mut routers = Map::new();
    let mut services = Map::new();
    let mut middlewares = Map::new();
    let mut certificates = Vec::new();
    for spec in specs {
        let Some(app) = route.apps.iter().find(|app| app.app == spec.app) else {
            continue;
        };
        add_routers(spec, app, transaction, &mut routers);
        add_services(spec, app, &mut services);
        let headers = json!({ RELEASE_HEADER: transaction });
        let probe = json!({ "headers": { "customResponseHeaders": headers } });
        middlewares.insert(probe_name(&spec.app), probe);
        if strips(spec) {
            let prefixes = json!({ "stripPrefix": { "prefixes": spec.paths } });
            middlewares.insert(strip_name(&spec.app), prefixes);
        }
        if let Some(Tls::Given { .. }) = spec.tls {
            let files = Paths::certificate(&spec.app, transaction);
            certificates.push(json!({
                "certFile": files.certificate_inside(),
                "keyFile": files.key_inside(),
            }));
        }
    }
    let mut file = json!({
        "http": { "routers": routers, "services": services, "middlewares": middlewares },
    });
    if let (Value::Object(file), false) = (&mut file, certificates.is_empty()) {
        file.insert("tls".to_owned(), json!({ "certificates": certificates }));
    }
    format!(
        "# Written by runner for transaction {transaction}.\n{}",
        tree::write(&file)
    )
}

/// One way by which requests for a role come in.
pub(super) struct Entry {
    /// The name of its router.
    pub(super) name: String,
    /// Which requests are meant.
    pub(super) rule: String,
    /// The entry point.
    pub(super) entry: String,
    /// How TLS is ended, where it is.
    pub(super) tls: Option<Value>,
}

/// All ways by which requests for a role come in.
pub(super) fn entries(spec: &RouteSpec) -> Vec<Entry> {
    let named = rule(&spec.hosts, &spec.paths);
    let any = rule(&[], &spec.paths);
    let tls = match &spec.tls {
        Some(Tls::Given { .. }) => Some(json!({})),
        Some(Tls::Acme) => Some(json!({ "certResolver": RESOLVER })),
        None => None,
    };
    let main = if tls.is_some() {
        WEB_SECURE.to_owned()
    } else {
        WEB.to_owned()
    };
    let way = |name: String, rule: &str, entry: String, tls: Option<Value>| Entry {
        name,
        rule: rule.to_owned(),
        entry,
        tls,
    };
    let mut entries = Vec::new();
    if tls.is_some() && spec.serves_plain {
        let name = format!("{}-{WEB}", spec.app);
        entries.push(way(name, &named, WEB.to_owned(), None));
    }
    entries.push(way(spec.app.clone(), &named, main, tls));
    for port in &spec.plain_ports {
        let entry = plain_entry(*port);
        entries.push(way(format!("{}-{entry}", spec.app), &any, entry, None));
    }
    entries
}

fn add_routers(
    spec: &RouteSpec,
    app: &RouteApp,
    transaction: &TransactionId,
    routers: &mut Map<String, Value>,
) {
    let ours = app
        .backends
        .iter()
        .find(|backend| backend.transaction == *transaction);
    for Entry {
        name,
        rule,
        entry,
        tls,
    } in entries(spec)
    {
        let mut router = json!({ "rule": rule, "entryPoints": [entry], "service": spec.app });
        let mut for_probe = vec![probe_name(&spec.app)];
        if let (true, Value::Object(router)) = (strips(spec), &mut router) {
            for_probe.push(strip_name(&spec.app));
            router.insert("middlewares".to_owned(), json!([strip_name(&spec.app)]));
        }
        let mut probe = json!({
            "rule": format!("({rule}) && Header(`{PROBE_HEADER}`, `{transaction}`)"),
            "entryPoints": [entry],
            "service": ours.map_or_else(|| spec.app.clone(), |backend| backend.service(&app.app)),
            "middlewares": for_probe,
            "priority": PROBE_PRIORITY,
        });
        if let Some(tls) = tls {
            for router in [&mut router, &mut probe]
                .into_iter()
                .filter_map(Value::as_object_mut)
            {
                router.insert("tls".to_owned(), tls.clone());
            }
        }
        routers.insert(probe_name(&name), probe);
        routers.insert(name, router);
    }
}

fn add_services(spec: &RouteSpec, app: &RouteApp, services: &mut Map<String, Value>) {
    let weight =
        |backend: &Backend| json!({ "name": backend.service(&app.app), "weight": backend.weight });
    let weighted: Vec<_> = app.backends.iter().map(weight).collect();
    services.insert(
        app.app.clone(),
        json!({ "weighted": { "services": weighted } }),
    );
    for backend in &app.backends {
        let url =
            |id: &ContainerId| json!({ "url": format!("http://{}:{}", id.short(), backend.port) });
        let servers: Vec<_> = backend.containers.iter().map(url).collect();
        let mut balancer = json!({ "servers": servers });
        // A check of the only server could but turn a slow answer into a refusal.
        if let (true, Value::Object(balancer)) = (backend.containers.len() > 1, &mut balancer) {
            balancer.insert(
                "healthCheck".to_owned(),
                json!({
                    "path": spec.health.path,
                    "interval": spec.health.interval.to_string(),
                    "timeout": spec.health.timeout.to_string(),
                }),
            );
        }
        services.insert(
            backend.service(&app.app),
            json!({ "loadBalancer": balancer }),
        );
    }
}

fn probe_name(name: &str) -> String {
    format!("{name}-probe")
}

fn strip_name(app: &str) -> String {
    format!("{app}-strip")
}

fn strips(spec: &RouteSpec) -> bool {
    spec.strips_paths && !spec.paths.is_empty()
}

fn rule(hosts: &[String], paths: &[String]) -> String {
    let any_of = |matcher: &str, values: &[String]| {
        let each = values
            .iter()
            .map(|value| format!("{matcher}({})", quoted(value)));
        let joined = each.collect::<Vec<_>>().join(" || ");
        if values.len() > 1 {
            format!("({joined})")
        } else {
            joined
        }
    };
    match (hosts, paths) {
        ([], []) => "PathPrefix(`/`)".to_owned(),
        (hosts, []) => any_of("Host", hosts),
        ([], paths) => any_of("PathPrefix", paths),
        (hosts, paths) => format!(
            "{} && {}",
            any_of("Host", hosts),
            any_of("PathPrefix", paths)
        ),
    }
}

/// Quotes as Traefik's rules want it: back quotes, or double ones around a back quote.
fn quoted(value: &str) -> String {
    if value.contains('`') {
        Value::from(value).to_string()
    } else {
        format!("`{value}`")
    }
}

/// Reads who answers from a dynamic file.
///
/// Roles are the weighted services, whatever routers there are. Ids come back as they stand in
/// the file, with their first 12 digits.
pub fn read_dynamic(text: &str) -> Result<Route, ReadError> {
    let file = tree::read(text).map_err(ReadError::Yaml)?;
    let services = file.pointer("/http/services").and_then(Value::as_object);
    let mut apps = Vec::new();
    for (name, service) in services.into_iter().flatten() {
        let Some(weighted) = service
            .pointer("/weighted/services")
            .and_then(Value::as_array)
        else {
            continue;
        };
        let group =
            |entry| backend(name, entry, services).ok_or_else(|| ReadError::Service(name.clone()));
        let backends = weighted.iter().map(group).collect::<Result<_, _>>()?;
        apps.push(RouteApp {
            app: name.clone(),
            backends,
        });
    }
    if apps.is_empty() && services.is_some_and(|services| !services.is_empty()) {
        let names: Vec<_> = services.into_iter().flat_map(Map::keys).cloned().collect();
        return Err(ReadError::Service(names.join("`, `")));
    }
    Ok(Route { apps })
}

fn backend(app: &str, entry: &Value, services: Option<&Map<String, Value>>) -> Option<Backend> {
    let name = entry.get("name")?.as_str()?;
    let id = name.strip_prefix(app)?.strip_prefix('-')?;
    let weight = entry.get("weight").map_or(Some(1), Value::as_u64)?;
    let servers = services?
        .get(name)?
        .pointer("/loadBalancer/servers")?
        .as_array()?;
    let mut ports = Vec::new();
    let mut containers = Vec::new();
    for server in servers {
        let address = server.get("url")?.as_str()?.strip_prefix("http://")?;
        let (container, port) = address.trim_end_matches('/').rsplit_once(':')?;
        containers.push(ContainerId::new(container));
        ports.push(port.parse().ok()?);
    }
    Some(Backend {
        transaction: TransactionId::parse(id).ok()?,
        weight: u32::try_from(weight).ok()?,
        port: ports.first().copied()?,
        containers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::samples;

    fn id(text: &str) -> TransactionId {
        TransactionId::parse(text).unwrap()
    }

    fn backend(transaction: &str, weight: u32, containers: &[&str]) -> Backend {
        Backend {
            transaction: id(transaction),
            weight,
            port: 3000,
            containers: containers.iter().map(|id| ContainerId::new(*id)).collect(),
        }
    }

    fn route(backends: Vec<Backend>) -> Route {
        Route {
            apps: vec![RouteApp {
                app: "shop-web".to_owned(),
                backends,
            }],
        }
    }

    #[test]
    fn the_file_of_a_switch_is_as_traefik_wants_it() {
        let route = route(vec![backend("t2", 100, &["0123456789abcdef"])]);
        let text = dynamic_file(&[samples::route("h1")], &route, &id("t2"));
        assert_eq!(text, EXPECTED);
    }

    #[test]
    fn who_answers_is_read_back() {
        let written = route(vec![
            backend("t1", 90, &["0123456789ab", "123456789abc"]),
            backend("t2", 10, &["23456789abcd"]),
        ]);
        let text = dynamic_file(&[samples::route("h1")], &written, &id("t2"));
        assert_eq!(read_dynamic(&text), Ok(written));
        assert_eq!(
            text.matches("healthCheck").count(),
            1,
            "only where there are several servers"
        );
    }

    #[test]
    fn a_service_that_is_a_prefix_of_another_is_not_mixed_up() {
        let mut both = route(vec![backend("t1", 1, &["0123456789ab"])]);
        let mut other = samples::route("h1");
        other.app = "shop-web-admin".to_owned();
        both.apps.push(RouteApp {
            app: other.app.clone(),
            backends: vec![backend("a-b", 1, &["23456789abcd"])],
        });
        let text = dynamic_file(&[samples::route("h1"), other], &both, &id("t1"));
        assert_eq!(read_dynamic(&text), Ok(both));
    }

    #[test]
    fn rules_join_names_and_paths() {
        let text = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        for (hosts, paths, expected) in [
            (&[][..], &[][..], "PathPrefix(`/`)"),
            (&["a"], &[], "Host(`a`)"),
            (&["a", "b"], &[], "(Host(`a`) || Host(`b`))"),
            (
                &["a", "b"],
                &["/x"],
                "(Host(`a`) || Host(`b`)) && PathPrefix(`/x`)",
            ),
            (&[], &["/`"], "PathPrefix(\"/`\")"),
        ] {
            assert_eq!(rule(&text(hosts), &text(paths)), expected);
        }
    }

    #[test]
    fn certificates_of_the_proxy_name_the_resolver_and_plain_routes_the_first_port() {
        let mut spec = samples::route("h1");
        let route = route(vec![backend("t2", 100, &["0123456789ab"])]);
        spec.tls = Some(Tls::Acme);
        let text = dynamic_file(&[spec.clone()], &route, &id("t2"));
        assert!(
            text.contains("certResolver: \"le\"") && !text.contains("certFile"),
            "{text}"
        );
        spec.tls = None;
        let text = dynamic_file(&[spec], &route, &id("t2"));
        assert!(
            text.contains("- \"web\"") && !text.contains("websecure"),
            "{text}"
        );
    }

    #[test]
    fn prefixes_are_taken_away_on_every_port_unless_they_are_kept() {
        let mut spec = samples::route("h1");
        spec.paths = vec!["/api".to_owned()];
        let route = route(vec![backend("t2", 100, &["0123456789ab"])]);
        let text = dynamic_file(&[spec.clone()], &route, &id("t2"));
        // Two ports, a router and its probe on each, and the middleware itself.
        assert_eq!(text.matches("shop-web-strip").count(), 5, "{text}");
        assert!(text.contains("stripPrefix"), "{text}");
        spec.strips_paths = false;
        let text = dynamic_file(&[spec], &route, &id("t2"));
        assert!(!text.contains("strip"), "{text}");
    }

    #[test]
    fn without_redirect_the_plain_port_is_routed_too() {
        let mut spec = samples::route("h1");
        spec.serves_plain = true;
        let route = route(vec![backend("t2", 100, &["0123456789ab"])]);
        let text = dynamic_file(&[spec], &route, &id("t2"));
        assert!(text.contains("shop-web-web:"), "{text}");
        assert!(
            text.contains("- \"web\"") && text.contains("- \"websecure\""),
            "{text}"
        );
    }

    #[test]
    fn files_of_others_are_not_taken_for_ours() {
        for text in [
            "http: {services: {a: {loadBalancer: {servers: [{url: 'http://x:1'}]}}}}",
            "http: {services: {a: {weighted: {services: [{name: b, weight: 1}]}}}}",
            "http: {services: {a: {weighted: {services: [{name: a-t1, weight: 1}]}}}}",
            "http: [",
        ] {
            assert!(read_dynamic(text).is_err(), "{text}");
        }
        assert_eq!(read_dynamic(""), Ok(Route::default()));
    }

    const EXPECTED: &str = r#"# Written by runner for transaction t2.
http:
  routers:
    shop-web-probe:
      rule: "(Host(`shop.example.com`)) && Header(`X-Runner-Probe`, `t2`)"
      entryPoints:
        - "websecure"
      service: "shop-web-t2"
      middlewares:
        - "shop-web-probe"
      priority: 1000000
      tls: {}
    shop-web:
      rule: "Host(`shop.example.com`)"
      entryPoints:
        - "websecure"
      service: "shop-web"
      tls: {}
    shop-web-plain-3002-probe:
      rule: "(PathPrefix(`/`)) && Header(`X-Runner-Probe`, `t2`)"
      entryPoints:
        - "plain-3002"
      service: "shop-web-t2"
      middlewares:
        - "shop-web-probe"
      priority: 1000000
    shop-web-plain-3002:
      rule: "PathPrefix(`/`)"
      entryPoints:
        - "plain-3002"
      service: "shop-web"
  services:
    shop-web:
      weighted:
        services:
          -
            name: "shop-web-t2"
            weight: 100
    shop-web-t2:
      loadBalancer:
        servers:
          -
            url: "http://0123456789ab:3000"
  middlewares:
    shop-web-probe:
      headers:
        customResponseHeaders:
          X-Runner-Release: "t2"
tls:
  certificates:
    -
      certFile: "/etc/traefik/certs/shop-web.t2.crt"
      keyFile: "/etc/traefik/certs/shop-web.t2.key"
"#;
}
