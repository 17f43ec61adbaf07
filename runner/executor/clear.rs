//! Takes away what jobs made on the machine's Docker: at their end, or when their process is lost.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::services::ContainerError;
use crate::docker::{DockerError, Engine, local_socket};

/// Removes the containers, networks and images on the daemon that `docker_host` names that carry all
/// of `labels`, each `key` or `key=value`, and of whose labels `is_lost` says that their job is gone.
///
/// Returns how many containers there were. Nameless volumes go with their containers, others stay.
/// Where no daemon was ever started, nothing is there to be removed.
///
/// # Errors
/// The daemon cannot be asked, or something could not be removed: it is worth to be tried again.
pub async fn clear_lost(
    docker_host: Option<&str>,
    labels: &[String],
    is_lost: impl Fn(&BTreeMap<String, String>) -> bool,
) -> Result<usize, ContainerError> {
    let Some(socket) = local_socket(docker_host) else {
        // Jobs get no containers there either.
        return Ok(0);
    };
    if !std::path::Path::new(socket).exists() {
        return Ok(0);
    }
    let engine = Engine::local(socket).await?;
    let (removed, failures) = remove_labelled(&engine, (labels, false), is_lost).await;
    match failures.into_iter().next() {
        None => Ok(removed),
        Some(error) => Err(error.into()),
    }
}

/// Removes what carries all of `labels` and `is_wanted` chooses by its labels, `volumes` as well
/// where that is said; says how many containers there were and what could not be done.
pub(super) async fn remove_labelled(
    engine: &Engine,
    (labels, volumes): (&[String], bool),
    is_wanted: impl Fn(&BTreeMap<String, String>) -> bool,
) -> (usize, Vec<DockerError>) {
    let mut failures = Vec::new();
    let mut containers = engine.containers(labels).await.unwrap_or_else(|error| {
        failures.push(error);
        Vec::new()
    });
    containers.retain(|container| is_wanted(&container.labels));
    let removed = containers
        .iter()
        .map(|container| engine.remove_container(&container.id, true, true));
    failures.extend(join_all(removed).await.into_iter().filter_map(Result::err));
    let networks = engine.networks(labels).await.unwrap_or_default();
    for network in networks.iter().filter(|found| is_wanted(&found.labels)) {
        failures.extend(engine.remove_network(&network.id).await.err());
    }
    let images = engine.images(labels).await.unwrap_or_default();
    for image in images.iter().filter(|found| is_wanted(&found.labels)) {
        failures.extend(engine.remove_image(&image.id, true).await.err());
    }
    if volumes {
        let found = engine.volumes(labels).await.unwrap_or_default();
        for volume in found.iter().filter(|found| is_wanted(&found.labels)) {
            failures.extend(engine.remove_volume(&volume.name).await.err());
        }
    }
    (containers.len(), failures)
}
