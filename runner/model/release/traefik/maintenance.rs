//! The file by which the proxy answers for an application that is being maintained.

use serde_json::{Map, Value, json};

use super::{dynamic::entries, tree};
use crate::release::route::RouteSpec;

/// The rank of its routers: above any rule's length, below those of probe requests.
const PRIORITY: u32 = 500_000;

/// The service that answers for `app`: it has no servers, so the proxy says 503.
pub fn maintenance_service(app: &str) -> String {
    format!("{app}-maintenance")
}

/// Writes the dynamic file; it stands beside that of the routes, which goes on being a deploy's.
pub fn maintenance_file(specs: &[RouteSpec]) -> String {
    let mut routers = Map::new();
    let mut services = Map::new();
    for spec in specs {
        let service = maintenance_service(&spec.app);
        for entry in entries(spec) {
            let mut router = json!({
                "rule": entry.rule,
                "entryPoints": [entry.entry],
                "service": service,
                "priority": PRIORITY,
            });
            if let (Some(tls), Value::Object(router)) = (entry.tls, &mut router) {
                router.insert("tls".to_owned(), tls);
            }
            routers.insert(format!("{}-maintenance", entry.name), router);
        }
        services.insert(service, json!({ "loadBalancer": { "servers": [] } }));
    }
    let file = json!({ "http": { "routers": routers, "services": services } });
    format!(
        "# Written by `runner app maintenance`; `runner app live` removes it.\n{}",
        tree::write(&file)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::samples;

    #[test]
    fn every_entry_of_every_route_is_answered_by_nobody() {
        let specs = [samples::route("h1")];
        let file = tree::read(&maintenance_file(&specs)).unwrap();
        let routers = file.pointer("/http/routers").and_then(Value::as_object);
        let count: usize = specs.iter().map(|spec| entries(spec).len()).sum();
        assert_eq!(routers.map(Map::len), Some(count));
        for router in routers.into_iter().flat_map(Map::values) {
            assert_eq!(router["priority"], json!(PRIORITY));
            let service = router["service"].as_str().unwrap();
            let servers = file.pointer(&format!("/http/services/{service}/loadBalancer/servers"));
            assert_eq!(servers, Some(&json!([])));
        }
    }
}
