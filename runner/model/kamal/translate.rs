//! The words of Kamal 1 to those of Kamal 2, with a notice for each.
//!
//! What Kamal 1 had and nothing today can mean is named and left out. Files are never changed.

use super::diagnostics::Findings;
use super::setting::{Pair, Place, Scalar, Setting, Value};
use super::world::World;

const CODE: &str = "kamal-1";

/// Translates `root` in place if it is in the words of Kamal 1, and tells whether it was.
pub(super) fn from_kamal_1(root: &mut Setting, world: &dyn World, found: &Findings) -> bool {
    if !is_kamal_1(root) {
        return false;
    }
    let translation = Translation { found };
    if let Some(traefik) = root.take("traefik") {
        translation.traefik(root, &traefik);
    }
    if let Some(healthcheck) = root.take("healthcheck")
        && let Some(proxy) = hash_at(root, "proxy", &healthcheck.key_place)
    {
        translation.healthcheck(proxy, &healthcheck, "proxy");
    }
    if let Some(time) = root.take("stop_wait_time") {
        for key in ["drain_timeout", "stop_timeout"] {
            set_if_absent(root, key, time.value.clone());
        }
        translation.notice(
            &time.key_place,
            "`stop_wait_time` is read as `drain_timeout` and `stop_timeout`",
        );
    }
    let rule = translation.host_rule(root);
    translation.servers(root);
    if let Some((host, place)) = rule
        && let Some(proxy) = hash_at(root, "proxy", &place)
    {
        let has_host = proxy.get("host").is_some() || proxy.get("hosts").is_some();
        if !has_host {
            proxy.set("host", text(&place, &host));
            let message = format!("the router's rule is read as `proxy: {{host: {host}}}`");
            translation.notice(&place, &message);
        }
    }
    translation.builder(root, world);
    true
}

/// Tells whether a key stands there that only Kamal 1 knows.
fn is_kamal_1(root: &Setting) -> bool {
    let has_root_key = ["traefik", "healthcheck", "stop_wait_time"]
        .iter()
        .any(|key| root.get(key).is_some());
    let roles = root.get("servers").map(Setting::pairs).unwrap_or_default();
    let has_role_key = roles
        .iter()
        .any(|role| role.value.get("traefik").is_some() || role.value.get("healthcheck").is_some());
    has_root_key || has_role_key || has_old_builder(root)
}

fn has_old_builder(root: &Setting) -> bool {
    let Some(builder) = root.get("builder") else {
        return false;
    };
    let is_machine = |key: &str| builder.get(key).is_some_and(is_machine);
    builder.get("multiarch").is_some() || is_machine("local") || is_machine("remote")
}

/// Tells whether this is Kamal 1's `{arch, host}` of a builder.
fn is_machine(setting: &Setting) -> bool {
    let keys = setting.pairs();
    !keys.is_empty()
        && keys
            .iter()
            .all(|pair| pair.key == "arch" || pair.key == "host")
}

struct Translation<'a> {
    found: &'a Findings,
}

impl Translation<'_> {
    fn notice(&self, place: &Place, message: &str) {
        self.found.notice(CODE, place, message);
    }

    /// Says of every key that is not among `known` that it has no meaning.
    fn leave_out(&self, setting: &Setting, path: &str, known: &[&str]) {
        for pair in setting.pairs() {
            if !known.contains(&pair.key.as_str()) {
                let message = format!("`{path}.{}` of Kamal 1 is not used", pair.key);
                self.notice(&pair.key_place, &message);
            }
        }
    }

    fn traefik(&self, root: &mut Setting, traefik: &Pair) {
        self.notice(
            &traefik.key_place,
            "`traefik` is Kamal 1's: it is read as `proxy.run`",
        );
        self.leave_out(&traefik.value, "traefik", &["host_port", "publish"]);
        let proxy = hash_at(root, "proxy", &traefik.key_place);
        let run = proxy.and_then(|proxy| hash_at(proxy, "run", &traefik.key_place));
        let Some(run) = run else {
            return;
        };
        let publish = traefik.value.get("publish");
        let is_published = publish.and_then(Setting::as_boolean) != Some(false);
        if let Some(publish) = publish {
            set_if_absent(run, "publish", publish.clone());
        }
        if let Some(port) = traefik.value.get("host_port")
            && is_published
        {
            set_if_absent(run, "http_port", port.clone());
        }
    }

    /// Reads `healthcheck` as that of a proxy.
    fn healthcheck(&self, proxy: &mut Setting, healthcheck: &Pair, path: &str) {
        let message = format!("`healthcheck` is Kamal 1's: it is read as `{path}.healthcheck`");
        self.notice(&healthcheck.key_place, &message);
        let old = &healthcheck.value;
        self.leave_out(old, "healthcheck", &["path", "port", "interval"]);
        // Kamal 1's containers listen on 3000 unless they say otherwise, Kamal 2's on 80.
        let default_port = Setting::scalar(&healthcheck.key_place, Scalar::Integer(3000));
        let port = old.get("port").cloned().unwrap_or(default_port);
        set_if_absent(proxy, "app_port", port);
        let Some(new) = hash_at(proxy, "healthcheck", &healthcheck.key_place) else {
            return;
        };
        if let Some(path) = old.get("path") {
            set_if_absent(new, "path", path.clone());
        }
        if let Some(interval) = old.get("interval") {
            match whole_seconds(interval) {
                Some(interval) => set_if_absent(new, "interval", interval),
                None => self.notice(
                    &interval.place,
                    "`healthcheck.interval` is not a whole number of seconds and is not used",
                ),
            }
        }
    }

    /// Reads `traefik: true` of a role as `proxy: true`, and its `healthcheck` as the proxy's.
    fn servers(&self, root: &mut Setting) {
        let Some(Value::Hash(roles)) = value_of(root, "servers") else {
            return;
        };
        for role in roles {
            let path = format!("servers.{}.proxy", role.key);
            if let Some(traefik) = role.value.take("traefik") {
                let message = format!("`traefik` of a role is read as `{path}`");
                self.notice(&traefik.key_place, &message);
                set_if_absent(&mut role.value, "proxy", traefik.value);
            }
            let Some(healthcheck) = role.value.take("healthcheck") else {
                continue;
            };
            if role.value.get("proxy").and_then(Setting::as_boolean) == Some(false) {
                let message = "`healthcheck` of a role without proxy is not used";
                self.notice(&healthcheck.key_place, message);
                continue;
            }
            if let Some(proxy) = hash_at(&mut role.value, "proxy", &healthcheck.key_place) {
                self.healthcheck(proxy, &healthcheck, &path);
            }
        }
    }

    /// Finds the host in a Traefik rule among the labels of the root or of a role.
    fn host_rule(&self, root: &Setting) -> Option<(String, Place)> {
        let roles = root.get("servers").map(Setting::pairs).unwrap_or_default();
        let of_roles = roles.iter().filter_map(|role| role.value.get("labels"));
        let labels = root.get("labels").into_iter().chain(of_roles);
        labels.flat_map(Setting::pairs).find_map(|pair| {
            let is_rule =
                pair.key.starts_with("traefik.http.routers.") && pair.key.ends_with(".rule");
            let hosts = is_rule.then(|| hosts_of_rule(pair.value.as_text()?))??;
            Some((hosts, pair.value.place.clone()))
        })
    }

    /// Reads `multiarch`, `local: {arch, host}` and `remote: {arch, host}`.
    fn builder(&self, root: &mut Setting, world: &dyn World) {
        let place = root.place.clone();
        let Some(builder) = hash_at(root, "builder", &place) else {
            return;
        };
        let mut arches: Vec<Setting> = Vec::new();
        if builder.get("local").is_some_and(is_machine)
            && let Some(local) = builder.take("local")
        {
            self.notice(
                &local.key_place,
                "`builder.local` is read as `builder.arch`",
            );
            arches.extend(local.value.get("arch").cloned());
        }
        if builder.get("remote").is_some_and(is_machine)
            && let Some(remote) = builder.take("remote")
        {
            let message = "`builder.remote` is read as `builder.arch` and its host";
            self.notice(&remote.key_place, message);
            arches.extend(remote.value.get("arch").cloned());
            if let Some(host) = remote.value.get("host") {
                builder.set("remote", host.clone());
            }
        }
        let multiarch = builder.take("multiarch");
        if builder.get("arch").is_some() {
            return;
        }
        let is_single = multiarch
            .as_ref()
            .and_then(|pair| pair.value.as_boolean())
            .is_some_and(|value| !value);
        let at = multiarch.map_or_else(|| builder.place.clone(), |pair| pair.key_place);
        if arches.is_empty() {
            let names = if is_single {
                vec![world.docker_architecture()]
            } else {
                vec!["amd64".to_owned()]
            };
            arches.extend(names.iter().map(|name| text(&at, name)));
            let message = format!(
                "`builder.arch` is not set: it is read as `{}`",
                names.join(", ")
            );
            self.notice(&at, &message);
        }
        let value = Value::List(arches);
        builder.set("arch", Setting { place: at, value });
    }
}

fn text(place: &Place, text: &str) -> Setting {
    Setting::scalar(place, Scalar::Text(text.to_owned()))
}

fn set_if_absent(setting: &mut Setting, key: &str, value: Setting) {
    if setting.get(key).is_none() {
        setting.set(key, value);
    }
}

fn value_of<'a>(setting: &'a mut Setting, key: &str) -> Option<&'a mut Value> {
    match &mut setting.value {
        Value::Hash(pairs) => pairs
            .iter_mut()
            .find(|pair| pair.key == key)
            .map(|pair| &mut pair.value.value),
        _ => None,
    }
}

/// Returns the hash below `key`, which is made if there is none; `true` becomes an empty one.
///
/// `None` if `setting` itself is no hash.
fn hash_at<'a>(setting: &'a mut Setting, key: &str, place: &Place) -> Option<&'a mut Setting> {
    if !setting.get(key).is_some_and(Setting::is_hash) {
        setting.set(key, Setting::empty_hash(place));
    }
    match &mut setting.value {
        Value::Hash(pairs) => pairs
            .iter_mut()
            .find(|pair| pair.key == key)
            .map(|pair| &mut pair.value),
        _ => None,
    }
}

/// Reads `3`, `"3"` or `"3s"`.
fn whole_seconds(setting: &Setting) -> Option<Setting> {
    let text = setting.as_scalar()?.to_string();
    let seconds = text.trim().trim_end_matches('s').parse().ok()?;
    Some(Setting::scalar(&setting.place, Scalar::Integer(seconds)))
}

/// Reads the hosts of ``Host(`a`) || Host(`b`, `c`)``, with commas between them.
fn hosts_of_rule(rule: &str) -> Option<String> {
    let mut hosts: Vec<&str> = Vec::new();
    for (at, name) in rule.match_indices("Host(") {
        let inner = rule.get(at + name.len()..)?;
        let inner = inner.split(')').next()?;
        let quoted = inner.split(['`', '"', '\'']).skip(1).step_by(2);
        hosts.extend(quoted);
    }
    (!hosts.is_empty()).then(|| hosts.join(","))
}
