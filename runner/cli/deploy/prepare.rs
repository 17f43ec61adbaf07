//! What `setup`, `proxy boot` and `accessory boot` put on the servers before a deploy.

use std::{sync::Arc, time::Instant};

use futures_util::future::join_all;

use super::{show::seconds, site::Site, site::problems};
use crate::{
    cli::{
        error::{CliError, ErrorKind},
        write_line, write_note,
    },
    deploy::{AccessoryBoot, Fleet, Host, OpError},
    release::{HostName, Spec, from_kamal},
};

/// Networks, proxy and accessories of every server, each ready.
pub(super) async fn prepare(
    site: &Site,
    spec: &Spec,
    driver: Option<&str>,
) -> Result<(), CliError> {
    for notice in from_kamal::notices(&site.project.config) {
        write_note(&format!("note: {notice}"));
    }
    let fleet = connect(site, &spec.hosts()).await?;
    boot_proxies(site, &fleet, driver, false).await?;
    boot_accessories(site, &fleet, &site.accessories(None)?).await
}

/// Connects to servers, all of them.
pub(super) async fn connect(site: &Site, hosts: &[HostName]) -> Result<Fleet, CliError> {
    let mut fleet = Fleet::new(site.settings.reach.clone());
    let away = fleet.connect(hosts).await;
    match away.into_iter().next() {
        None => Ok(fleet),
        Some((host, error)) => Err(CliError::new(
            ErrorKind::Environment,
            format!("`{host}` is not reachable"),
        )
        .because(error.chain())),
    }
}

/// Starts the proxy on every server that needs one.
pub(super) async fn boot_proxies(
    site: &Site,
    fleet: &Fleet,
    driver: Option<&str>,
    anew: bool,
) -> Result<(), CliError> {
    let mut specs =
        from_kamal::proxies(&site.project.config, driver).map_err(|found| problems(&found))?;
    for file in specs.iter_mut().flat_map(|spec| &mut spec.files) {
        if let Some(local) = &file.local {
            file.text = site.read_certificate(local)?;
        }
    }
    let settings = Arc::clone(&site.settings);
    let boots = specs.iter().filter_map(|spec| {
        let host = fleet.host(&spec.container.host)?;
        let settings = &settings;
        Some(async move {
            let what = format!("proxy `{}`", spec.container.name);
            timed(host, &what, Box::pin(host.boot_proxy(spec, settings, anew))).await
        })
    });
    first_error(site, join_all(boots).await)
}

/// Starts accessories and waits until they are ready.
pub(super) async fn boot_accessories(
    site: &Site,
    fleet: &Fleet,
    boots: &[AccessoryBoot],
) -> Result<(), CliError> {
    let boots = boots.iter().filter_map(|boot| {
        let host = fleet.host(&boot.spec.container.host)?;
        Some(async move {
            let what = format!("accessory `{}`", boot.spec.name);
            timed(
                host,
                &what,
                Box::pin(host.boot_accessory(boot, &site.settings)),
            )
            .await
        })
    });
    first_error(site, join_all(boots).await)
}

async fn timed(
    host: &Host,
    what: &str,
    work: impl Future<Output = Result<bool, OpError>>,
) -> Result<(), (HostName, String, OpError)> {
    let start = Instant::now();
    match work.await {
        Ok(started) => {
            let word = if started { "started" } else { "runs" };
            let took = seconds(start.elapsed());
            let text = format!("{what} {word}");
            write_line(&format!(
                "  {:<24} {text:<32} {took:>8}",
                host.name.as_str()
            ));
            Ok(())
        }
        Err(error) => Err((host.name.clone(), what.to_owned(), error)),
    }
}

fn first_error(
    site: &Site,
    results: Vec<Result<(), (HostName, String, OpError)>>,
) -> Result<(), CliError> {
    for result in results {
        if let Err((host, what, error)) = result {
            let text = site
                .settings
                .masker
                .mask(&error.chain())
                .as_str()
                .to_owned();
            return Err(CliError::new(
                ErrorKind::Environment,
                format!("{what} could not be started on `{host}`"),
            )
            .because(text));
        }
    }
    Ok(())
}
