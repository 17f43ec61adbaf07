//! `prune` and `lock acquire`: what is kept on servers, and who may deploy.

use std::collections::BTreeMap;

use super::{
    arguments::{LockAcquireArguments, PruneArguments, PruneVerb},
    by_hand::{Held, failed, hosts_of},
    hooks::Called,
    prepare,
    site::Site,
};
use crate::{
    cli::{
        error::{CliError, ErrorKind, ExitCode},
        write_line,
    },
    deploy::Host,
    docker::Listed,
    release::Spec,
};

/// Removes old containers and images of the application from the servers.
pub(super) async fn prune(verb: &PruneVerb) -> Result<ExitCode, CliError> {
    let (arguments, word, containers, images) = match verb {
        PruneVerb::All(arguments) => (arguments, "all", true, true),
        PruneVerb::Containers(arguments) => (arguments, "containers", true, false),
        PruneVerb::Images(arguments) => (arguments, "images", false, true),
    };
    let called = Called::sub("prune", word);
    let site = match Site::open(&arguments.place.site, true, called).await? {
        Ok(site) => site,
        Err(code) => return Ok(code),
    };
    let spec = site.spec_of("unknown", None, None)?;
    let hosts = hosts_of(&arguments.place, &spec)?;
    let mut connected = hosts.clone();
    connected.push(spec.primary.clone());
    let fleet = prepare::connect(&site, &connected).await?;
    let held = Held::take(&site, &spec, &fleet, "prune").await?;
    let mut done = Ok(());
    for host in hosts.iter().filter_map(|host| fleet.host(host)) {
        done = prune_one(host, &spec, arguments, (containers, images)).await;
        if done.is_err() {
            break;
        }
    }
    let message = match (containers, images) {
        (true, true) => "Pruned containers and images",
        (true, false) => "Pruned containers",
        _ => "Pruned images",
    };
    held.release(&hosts, message).await?;
    done.map(|()| ExitCode::Success)
}

async fn prune_one(
    host: &Host,
    spec: &Spec,
    arguments: &PruneArguments,
    (containers, images): (bool, bool),
) -> Result<(), CliError> {
    let keep = arguments.retain.unwrap_or(spec.retain_containers);
    if containers {
        let listed = host.engine.containers(&[]).await;
        let listed = listed
            .map_err(|error| failed(&host.name, "the containers are not known").because(error))?;
        for of_role in by_role(&listed, spec).into_values() {
            let removed = host.remove_old(&of_role, keep).await;
            let removed = removed.map_err(|error| {
                failed(&host.name, "old containers could not be removed").because(error.chain())
            })?;
            for name in removed {
                write_line(&format!("  {:<24} removed {name}", host.name));
            }
        }
    }
    if images {
        let removed = host.remove_unused_images(&spec.image.repository).await;
        removed.map_err(|error| {
            failed(&host.name, "old images could not be removed").because(error.chain())
        })?;
        write_line(&format!("  {:<24} images pruned", host.name));
    }
    Ok(())
}

/// The application's containers of each role, the newest first.
fn by_role(listed: &[Listed], spec: &Spec) -> BTreeMap<String, Vec<Listed>> {
    let destination = spec.destination.as_deref().unwrap_or_default();
    let mut roles: BTreeMap<String, Vec<Listed>> = BTreeMap::new();
    for one in listed {
        let label = |name: &str| one.labels.get(name).map_or("", String::as_str);
        let role = label("role");
        let is_ours =
            label("service") == spec.service.as_str() && label("destination") == destination;
        if is_ours && !role.is_empty() {
            roles.entry(role.to_owned()).or_default().push(one.clone());
        }
    }
    for containers in roles.values_mut() {
        containers.sort_by_key(|one| std::cmp::Reverse(one.created));
    }
    roles
}

/// Takes the lock, so that nobody deploys until it is released.
pub(super) async fn acquire_lock(arguments: &LockAcquireArguments) -> Result<ExitCode, CliError> {
    let called = Called::sub("lock", "acquire");
    let site = match Site::open(&arguments.site, false, called).await? {
        Ok(site) => site,
        Err(code) => return Ok(code),
    };
    let spec = site.spec_of("unknown", None, None)?;
    let fleet = prepare::connect(&site, std::slice::from_ref(&spec.primary)).await?;
    let Some(primary) = fleet.host(&spec.primary) else {
        return Err(failed(&spec.primary, "it is not reachable"));
    };
    let version = crate::cli::project::version(&site.project, None);
    let version = version.unwrap_or_else(|_| "unknown".to_owned());
    let (paths, who) = (spec.paths(), &site.settings.who);
    let version = crate::release::ReleaseVersion::new(version);
    let taken = primary.acquire_lock(&paths, who, &version, &arguments.message);
    let taken = taken.await.map_err(|error| {
        failed(&spec.primary, "the lock could not be taken").because(error.chain())
    })?;
    match taken {
        None => {
            write_line("acquired the deploy lock; `runner lock release` gives it back");
            Ok(ExitCode::Success)
        }
        Some(holder) => {
            Err(CliError::new(ErrorKind::Environment, "the deploy lock is held").because(holder))
        }
    }
}
