//! What verbs share that change servers by hand: which servers are meant, and the lock meanwhile.

use super::{arguments::WhereArguments, site::Site};
use crate::{
    cli::error::{CliError, ErrorKind},
    deploy::Fleet,
    release::{HostName, Spec},
};

/// The servers that a verb means.
pub(super) fn hosts_of(place: &WhereArguments, spec: &Spec) -> Result<Vec<HostName>, CliError> {
    let mut hosts = spec.hosts();
    if place.primary {
        hosts.retain(|host| *host == spec.primary);
    }
    if !place.hosts.is_empty() {
        let names: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
        let chosen = crate::kamal::select("hosts", &place.hosts, &names).map_err(|none| {
            CliError::new(ErrorKind::Usage, "no server is meant").because(none.to_string())
        })?;
        let chosen: Vec<HostName> = chosen.into_iter().map(HostName::from).collect();
        hosts.retain(|host| chosen.contains(host));
    }
    Ok(hosts)
}

/// Something failed on a server.
pub(super) fn failed(host: &HostName, what: &str) -> CliError {
    CliError::new(ErrorKind::Environment, format!("`{host}`: {what}"))
}

/// The deploy lock, held while a person changes servers.
///
/// A command that is killed leaves it, as with Kamal; `lock release` gives it back.
#[must_use]
pub(super) struct Held<'a> {
    site: &'a Site,
    spec: &'a Spec,
    fleet: &'a Fleet,
}

impl<'a> Held<'a> {
    /// Takes the lock on the primary server.
    pub(super) async fn take(
        site: &'a Site,
        spec: &'a Spec,
        fleet: &'a Fleet,
        message: &str,
    ) -> Result<Self, CliError> {
        Self::take_or_keep(site, spec, fleet, message, |_| false).await
    }

    /// Takes the lock, or goes on with one that an earlier process of the same work has left:
    /// `is_ours` is asked about its text.
    pub(super) async fn take_or_keep(
        site: &'a Site,
        spec: &'a Spec,
        fleet: &'a Fleet,
        message: &str,
        is_ours: impl Fn(&str) -> bool,
    ) -> Result<Self, CliError> {
        let primary = fleet.host(&spec.primary).ok_or_else(|| {
            failed(
                &spec.primary,
                "it is the primary server, where the lock lies, and is not reachable",
            )
        })?;
        let who = &site.settings.who;
        let taken = primary
            .acquire_lock(&spec.paths(), who, &spec.version, message)
            .await;
        let taken = taken.map_err(|error| {
            failed(&spec.primary, "the lock could not be taken").because(error.chain())
        })?;
        match taken {
            None => Ok(Self { site, spec, fleet }),
            Some(holder) if is_ours(&holder) => Ok(Self { site, spec, fleet }),
            Some(holder) => Err(failed(&spec.primary, "the deploy lock is held, nothing was done")
                .because(holder)
                .with_hint("wait until it is over; `runner lock status` shows who holds it, `runner lock release` gives back a lock that nobody needs")),
        }
    }

    /// Gives the lock back, and writes what was done into the audit log of the servers.
    pub(super) async fn release(self, hosts: &[HostName], message: &str) -> Result<(), CliError> {
        let paths = self.spec.paths();
        let destination = self.spec.destination.as_deref();
        for host in hosts.iter().filter_map(|host| self.fleet.host(host)) {
            let who = &self.site.settings.who;
            // What was done stays done when its record fails.
            if let Err(error) = host.append_audit(&paths, who, destination, message).await {
                crate::cli::write_note(&format!("warning: `{}`: {}", host.name, error.chain()));
            }
        }
        if let Some(primary) = self.fleet.host(&self.spec.primary) {
            primary.release_lock(&paths).await.map_err(|error| {
                failed(&self.spec.primary, "the lock could not be given back")
                    .because(error.chain())
            })?;
        }
        Ok(())
    }
}
