//! Where a deploy's files lie on a host, relative to the SSH user's home.
//!
//! Lock, audit and env files are Kamal's; what lies below `.kamal/runner` and
//! `.kamal/proxy/traefik` is ours. A file that a transaction adds carries its id between dots, so
//! that leftovers are known by their names.

use super::ids::{RoleName, ServiceName, TransactionId};

/// The folder that Traefik's container sees as [`CERTIFICATES_INSIDE`].
pub const CERTIFICATES: &str = ".kamal/proxy/traefik/certs";
/// Where Traefik's container finds the certificates.
pub const CERTIFICATES_INSIDE: &str = "/etc/traefik/certs";
/// The folder that Traefik watches.
pub const DYNAMIC: &str = ".kamal/proxy/traefik/dynamic";
/// Where Traefik's container finds the watched folder.
pub const DYNAMIC_INSIDE: &str = "/etc/traefik/dynamic";
/// Where files are written before they are renamed into the watched folder.
pub const STAGING: &str = ".kamal/proxy/traefik/staging";
/// Traefik's static file.
pub const STATIC: &str = ".kamal/proxy/traefik/traefik.yml";
/// The folder in which Traefik keeps the certificates that it got itself.
pub const ACME: &str = ".kamal/proxy/traefik/acme";
/// The dynamic file that belongs to `proxy boot`, not to a deploy.
pub const RUNNER_DYNAMIC: &str = ".kamal/proxy/traefik/dynamic/_runner.yml";

/// The paths of one service and destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    stem: String,
}

impl Paths {
    /// The paths of `service`, with `destination` where there is one.
    pub fn new(service: &ServiceName, destination: Option<&str>) -> Self {
        let stem = match destination {
            Some(destination) => format!("{service}-{destination}"),
            None => service.to_string(),
        };
        Self { stem }
    }

    /// Kamal's lock folder; that it can be made is the lock.
    pub fn lock(&self) -> String {
        format!(".kamal/lock-{}", self.stem)
    }

    /// Kamal's text about the holder, in base64.
    pub fn lock_details(&self) -> String {
        format!("{}/details", self.lock())
    }

    /// The lease; its age is its modification time against the host's own clock.
    pub fn lease(&self) -> String {
        format!("{}/lease.json", self.lock())
    }

    /// Kamal's audit log.
    pub fn audit(&self) -> String {
        format!(".kamal/{}-audit.log", self.stem)
    }

    /// The folder of our records.
    pub fn records(&self) -> String {
        format!(".kamal/runner/{}", self.stem)
    }

    /// The open transaction.
    pub fn journal(&self) -> String {
        format!("{}/journal.json", self.records())
    }

    /// One line per ended transaction.
    pub fn history(&self) -> String {
        format!("{}/history.jsonl", self.records())
    }

    /// The restore of a database that is under way.
    pub fn restore(&self) -> String {
        format!("{}/restore.json", self.records())
    }

    /// The highest fence that the host has seen.
    pub fn fence(&self) -> String {
        format!("{}/fence", self.records())
    }

    /// The file that is locked with `flock` around every change of lock, fence, route or journal.
    pub fn guard(&self) -> String {
        format!("{}/guard", self.records())
    }

    /// Space that is set aside, to be given up when the disk is full.
    pub fn reserve(&self, id: &TransactionId) -> String {
        format!("{}/reserve.{id}", self.records())
    }

    /// Kamal's env file of a role.
    pub fn role_env(&self, role: &RoleName) -> String {
        format!(".kamal/apps/{}/env/roles/{role}.env", self.stem)
    }

    /// Kamal's env file of an accessory.
    pub fn accessory_env(&self, accessory: &str) -> String {
        format!(".kamal/apps/{}/env/accessories/{accessory}.env", self.stem)
    }

    /// The route as the proxy reads it.
    pub fn route(&self) -> String {
        format!("{DYNAMIC}/{}.yml", self.stem)
    }

    /// The file that has the proxy answer for the application while it is being maintained.
    ///
    /// No service can be named so, since the names of services have no dots.
    pub fn maintenance(&self) -> String {
        format!("{DYNAMIC}/maintenance.{}.yml", self.stem)
    }

    /// The same before it is renamed into place.
    pub fn staged_maintenance(&self) -> String {
        format!("{STAGING}/maintenance.{}.new", self.stem)
    }

    /// The route of a transaction before it is renamed into place.
    pub fn staged_route(&self, id: &TransactionId) -> String {
        format!("{STAGING}/{}.{id}.new", self.stem)
    }

    /// The route that a transaction found, ready to be renamed into place.
    pub fn way_back(&self, id: &TransactionId) -> String {
        format!("{STAGING}/{}.{id}.back", self.stem)
    }

    /// The certificate of `app`, as the host and as Traefik's container name it.
    pub fn certificate(app: &str, id: &TransactionId) -> CertificatePaths {
        CertificatePaths {
            certificate: format!("{CERTIFICATES}/{app}.{id}.crt"),
            key: format!("{CERTIFICATES}/{app}.{id}.key"),
        }
    }
}

/// Where the two halves of a certificate lie on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificatePaths {
    /// The chain, PEM.
    pub certificate: String,
    /// The private key, PEM, readable by its owner alone.
    pub key: String,
}

impl CertificatePaths {
    /// The chain as Traefik's container names it.
    pub fn certificate_inside(&self) -> String {
        inside(&self.certificate)
    }

    /// The key as Traefik's container names it.
    pub fn key_inside(&self) -> String {
        inside(&self.key)
    }
}

fn inside(path: &str) -> String {
    path.replacen(CERTIFICATES, CERTIFICATES_INSIDE, 1)
}

/// A file beside `path` that belongs to one transaction.
pub fn of_transaction(path: &str, id: &TransactionId) -> String {
    format!("{path}.{id}")
}

/// Says whether `path` was added by transaction `id`.
pub fn belongs_to(path: &str, id: &TransactionId) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.split('.').skip(1).any(|part| part == id.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_kamals_and_carry_the_destination() {
        let paths = Paths::new(&"shop".into(), Some("staging"));
        assert_eq!(paths.lock_details(), ".kamal/lock-shop-staging/details");
        assert_eq!(paths.audit(), ".kamal/shop-staging-audit.log");
        assert_eq!(
            paths.role_env(&"web".into()),
            ".kamal/apps/shop-staging/env/roles/web.env"
        );
        assert_eq!(
            paths.route(),
            ".kamal/proxy/traefik/dynamic/shop-staging.yml"
        );
        assert_eq!(Paths::new(&"shop".into(), None).lock(), ".kamal/lock-shop");
    }

    #[test]
    fn every_file_of_a_transaction_is_known_by_its_name() {
        let id = TransactionId::parse("a1").unwrap();
        let other = TransactionId::parse("a").unwrap();
        let paths = Paths::new(&"shop".into(), None);
        let certificate = Paths::certificate("shop-web", &id);
        for path in [
            paths.staged_route(&id),
            paths.way_back(&id),
            paths.reserve(&id),
            of_transaction(&paths.role_env(&"web".into()), &id),
            certificate.certificate.clone(),
            certificate.key.clone(),
        ] {
            assert!(belongs_to(&path, &id), "{path}");
            assert!(!belongs_to(&path, &other), "{path}");
        }
        assert!(!belongs_to(&paths.route(), &id));
        assert_eq!(
            certificate.key_inside(),
            "/etc/traefik/certs/shop-web.a1.key"
        );
    }
}
