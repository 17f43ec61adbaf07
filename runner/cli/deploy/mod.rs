//! The verbs of deploys: what changes servers, and what only looks at them.

pub(super) mod arguments;
mod prepare;
mod reading;
mod release;
mod show;
mod site;
mod stop;

use tokio::runtime::Runtime;

use arguments::{
    AccessoryVerb, AppVerb, DeployArguments, HistoryArguments, LockVerb, ProxyVerb,
    RollbackArguments, SetupArguments, SiteArguments, WhereArguments,
};
use reading::Subject;
use site::Site;

use super::error::{CliError, ErrorKind, ExitCode};

/// `runner deploy`.
pub(super) fn deploy(runtime: &Runtime, arguments: &DeployArguments) -> Result<ExitCode, CliError> {
    runtime.block_on(Box::pin(release::deploy(arguments)))
}

/// `runner rollback`.
pub(super) fn rollback(
    runtime: &Runtime,
    arguments: &RollbackArguments,
) -> Result<ExitCode, CliError> {
    runtime.block_on(Box::pin(release::rollback(arguments)))
}

/// `runner setup`.
pub(super) fn setup(runtime: &Runtime, arguments: &SetupArguments) -> Result<ExitCode, CliError> {
    runtime.block_on(Box::pin(release::setup(arguments)))
}

/// `runner app`.
pub(super) fn app(runtime: &Runtime, verb: &AppVerb) -> Result<ExitCode, CliError> {
    match verb {
        AppVerb::Logs(arguments) => runtime.block_on(reading::logs(arguments, Subject::App)),
        AppVerb::Details(place) => runtime.block_on(reading::details(place, &[Subject::App])),
        AppVerb::Rollback(arguments) => rollback(runtime, arguments),
    }
}

/// `runner accessory`.
pub(super) fn accessory(runtime: &Runtime, verb: &AccessoryVerb) -> Result<ExitCode, CliError> {
    match verb {
        AccessoryVerb::Boot { name, site } => {
            runtime.block_on(Box::pin(boot_accessory(name, site)))
        }
        AccessoryVerb::Logs { name, logs } => {
            runtime.block_on(reading::logs(logs, Subject::Accessory(one(name))))
        }
        AccessoryVerb::Details { name, place } => {
            runtime.block_on(reading::details(place, &[Subject::Accessory(one(name))]))
        }
    }
}

/// `runner proxy`.
pub(super) fn proxy(runtime: &Runtime, verb: &ProxyVerb) -> Result<ExitCode, CliError> {
    match verb {
        ProxyVerb::Boot(site) => runtime.block_on(Box::pin(boot_proxy(site, false))),
        ProxyVerb::Reboot(site) => runtime.block_on(Box::pin(boot_proxy(site, true))),
        ProxyVerb::Details(place) => runtime.block_on(reading::details(place, &[Subject::Proxy])),
        ProxyVerb::Logs(arguments) => runtime.block_on(reading::logs(arguments, Subject::Proxy)),
    }
}

/// `runner lock`.
pub(super) fn lock(runtime: &Runtime, verb: &LockVerb) -> Result<ExitCode, CliError> {
    runtime.block_on(reading::lock(verb))
}

/// `runner audit`.
pub(super) fn audit(runtime: &Runtime, place: &WhereArguments) -> Result<ExitCode, CliError> {
    runtime.block_on(reading::audit(place))
}

/// `runner history`.
pub(super) fn history(
    runtime: &Runtime,
    arguments: &HistoryArguments,
) -> Result<ExitCode, CliError> {
    runtime.block_on(reading::history(arguments))
}

/// `runner details`.
pub(super) fn details(runtime: &Runtime, place: &WhereArguments) -> Result<ExitCode, CliError> {
    let subjects = [Subject::Proxy, Subject::Accessory(None), Subject::App];
    runtime.block_on(reading::details(place, &subjects))
}

fn one(name: &str) -> Option<&str> {
    (name != "all").then_some(name)
}

async fn boot_accessory(name: &str, arguments: &SiteArguments) -> Result<ExitCode, CliError> {
    let site = match Site::read(&arguments.project, true)? {
        Ok(site) => site,
        Err(code) => return Ok(code),
    };
    let boots = site.accessories(one(name))?;
    if boots.is_empty() && name != "all" {
        let known: Vec<_> = site.accessories(None)?;
        let known: Vec<_> = known.iter().map(|boot| boot.spec.name.as_str()).collect();
        let message = format!("there is no accessory `{name}` that is booted by itself");
        return Err(CliError::new(ErrorKind::Invalid, message)
            .with_hint(format!("known: {}", known.join(", "))));
    }
    let hosts: Vec<_> = boots
        .iter()
        .map(|boot| boot.spec.container.host.clone())
        .collect();
    let fleet = prepare::connect(&site, &hosts).await?;
    prepare::boot_accessories(&site, &fleet, &boots).await?;
    Ok(ExitCode::Success)
}

async fn boot_proxy(arguments: &SiteArguments, anew: bool) -> Result<ExitCode, CliError> {
    let site = match Site::read(&arguments.project, true)? {
        Ok(site) => site,
        Err(code) => return Ok(code),
    };
    let spec = site.spec_of("unknown", None, None)?;
    let fleet = prepare::connect(&site, &spec.hosts()).await?;
    prepare::boot_proxies(&site, &fleet, None, anew).await?;
    Ok(ExitCode::Success)
}
