//! From a configuration to what should run: the wish of `config/deploy.yml` for one release.
//!
//! [`spec`] is what a deploy carries out, [`accessories`] and [`proxies`] are what `runner setup`
//! puts there before, [`notices`] says what will be otherwise than with Kamal. Names, labels,
//! environment, volumes and limits of containers are Kamal's; what cannot be carried out is an
//! error with its path, all of them at once.

mod accessories;
mod containers;
mod error;
mod migrate;
mod notices;
mod options;
mod proxy;
mod routes;

#[cfg(test)]
mod tests;

use std::time::Duration;

pub use accessories::{AccessorySpec, Directory, Readiness, Upload, accessories};
pub use error::{Reason, SpecError};
pub use notices::notices;
pub use proxy::{BootFile, OPS_PORT, ProxySpec, proxies};

use error::Problems;

use super::{
    ids::{Digest, HostName, ReleaseVersion, ServiceName},
    image::ImageRef,
    spec::{DatabaseRef, DrainMode, GateSettings, Spec},
    time::Millis,
};
use crate::kamal::{Config, Drain};

/// What a release adds to its configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The version.
    pub version: ReleaseVersion,
    /// The image's digest in its registry; a deploy cannot begin without it.
    pub digest: Option<Digest>,
    /// The proxy that a probe found, which counts where the configuration names none.
    pub driver: Option<String>,
    /// Anything that differs from one deploy to the next, for host names in containers.
    pub seed: String,
}

/// Returns what should run for the release that `facts` describe.
///
/// Errors are settings that cannot be carried out, all of them.
pub fn spec(config: &Config, facts: &Facts) -> Result<Spec, Vec<SpecError>> {
    let mut problems = Problems::default();
    let image = ImageRef {
        repository: config.repository(),
        tag: Some(facts.version.as_str().to_owned()),
        digest: facts.digest.clone(),
    };
    let Some(primary) = config.primary_host() else {
        problems.add(
            format!("servers/{}", config.primary_role_name),
            Reason::NoHost,
        );
        return Err(problems.finish(()).err().unwrap_or_default());
    };
    let subject = Subject {
        config,
        facts,
        image: &image,
    };
    let containers = containers::containers(&subject, &mut problems);
    let routes = routes::routes(config, &mut problems);
    let spec = Spec {
        service: ServiceName::from(config.service.as_str()),
        destination: config.destination.clone(),
        version: facts.version.clone(),
        primary: HostName::from(primary),
        containers,
        proxy: routes::wish(config, facts.driver.as_deref(), &mut problems),
        routes,
        accessories: accessories::references(config, &mut problems),
        migrate: migrate::migrate(&subject, &mut problems),
        gate: GateSettings {
            interval: millis(config.runner.gate.interval),
            successes: u32::try_from(config.runner.gate.successes).unwrap_or(u32::MAX),
            limit: millis(config.deploy_timeout),
            readiness_delay: millis(config.readiness_delay),
        },
        drain: match config.runner.drain {
            Drain::Signal => DrainMode::Term,
            Drain::Wait => DrainMode::Wait,
        },
        drain_timeout: millis(config.drain_timeout),
        bake: millis(config.runner.bake.unwrap_or_default()),
        retain_containers: usize::try_from(config.retain_containers).unwrap_or(usize::MAX),
        image,
    };
    problems.finish(spec)
}

/// Returns the PostgreSQL of the accessory `name`, or without a name the application's.
///
/// The application's is the only one, or the one that the environment of its containers names.
pub fn database(config: &Config, spec: &Spec, name: Option<&str>) -> Option<DatabaseRef> {
    match name {
        Some(name) => accessories::database_of(config, name),
        None => {
            let first = spec.containers.first();
            let env = first.map(|container| container.env.clone());
            accessories::database(config, &env.unwrap_or_default())
        }
    }
}

/// What the parts of a spec are made from.
#[derive(Clone, Copy, Debug)]
struct Subject<'a> {
    config: &'a Config,
    facts: &'a Facts,
    image: &'a ImageRef,
}

fn millis(span: Duration) -> Millis {
    Millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}
