//! The verbs of deploys: what changes servers, and what only looks at them.

mod accessory;
mod app;
pub(super) mod arguments;
mod backup;
mod by_hand;
mod hooks;
mod prepare;
mod prune;
mod reading;
mod release;
mod show;
mod site;
mod stop;

use tokio::runtime::Runtime;

use accessory::Change;
use arguments::{
    AccessoryVerb, AppVerb, BackupVerb, DeployArguments, HistoryArguments, LockVerb, ProxyVerb,
    PruneVerb, RollbackArguments, SetupArguments, SiteArguments, WhereArguments,
};
use hooks::Called;
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
        AppVerb::Exec(arguments) => runtime.block_on(Box::pin(app::exec(arguments))),
        AppVerb::Boot(arguments) => runtime.block_on(Box::pin(app::boot(arguments))),
        AppVerb::Stop(place) => runtime.block_on(Box::pin(app::stop(place))),
        AppVerb::Start(place) => runtime.block_on(Box::pin(app::start(place))),
        AppVerb::Maintenance(place) => runtime.block_on(Box::pin(app::maintenance(place, true))),
        AppVerb::Live(place) => runtime.block_on(Box::pin(app::maintenance(place, false))),
    }
}

/// `runner accessory`.
pub(super) fn accessory(runtime: &Runtime, verb: &AccessoryVerb) -> Result<ExitCode, CliError> {
    match verb {
        AccessoryVerb::Boot { name, site } => {
            runtime.block_on(Box::pin(accessory::boot(name, site)))
        }
        AccessoryVerb::Reboot { name, site } => {
            runtime.block_on(Box::pin(accessory::change(Change::Reboot, name, site)))
        }
        AccessoryVerb::Start { name, site } => {
            runtime.block_on(Box::pin(accessory::change(Change::Start, name, site)))
        }
        AccessoryVerb::Stop { name, site } => {
            runtime.block_on(Box::pin(accessory::change(Change::Stop, name, site)))
        }
        AccessoryVerb::Restart { name, site } => {
            runtime.block_on(Box::pin(accessory::change(Change::Restart, name, site)))
        }
        AccessoryVerb::Exec(arguments) => runtime.block_on(Box::pin(accessory::exec(arguments))),
        AccessoryVerb::Remove(arguments) => {
            runtime.block_on(Box::pin(accessory::remove(arguments)))
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
    match verb {
        LockVerb::Acquire(arguments) => runtime.block_on(prune::acquire_lock(arguments)),
        LockVerb::Status(site) => runtime.block_on(reading::lock(site, false)),
        LockVerb::Release(site) => runtime.block_on(reading::lock(site, true)),
    }
}

/// `runner backup`.
pub(super) fn backup(runtime: &Runtime, verb: &BackupVerb) -> Result<ExitCode, CliError> {
    match verb {
        BackupVerb::Create(arguments) => runtime.block_on(Box::pin(backup::create(arguments))),
        BackupVerb::List(arguments) => backup::list(arguments),
        BackupVerb::Restore(arguments) => runtime.block_on(Box::pin(backup::restore(arguments))),
    }
}

/// `runner prune`.
pub(super) fn prune(runtime: &Runtime, verb: &PruneVerb) -> Result<ExitCode, CliError> {
    runtime.block_on(Box::pin(prune::prune(verb)))
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

async fn boot_proxy(arguments: &SiteArguments, anew: bool) -> Result<ExitCode, CliError> {
    let word = if anew { "reboot" } else { "boot" };
    let called = Called::sub("proxy", word);
    let site = match Site::open(arguments, true, called).await? {
        Ok(site) => site,
        Err(code) => return Ok(code),
    };
    let spec = site.spec_of("unknown", None, None)?;
    if anew {
        site.hook_before("pre-proxy-reboot").await?;
    }
    let fleet = prepare::connect(&site, &spec.hosts()).await?;
    prepare::boot_proxies(&site, &fleet, None, anew).await?;
    if anew {
        let stop = release::Stop::default();
        let ran = site.hook("post-proxy-reboot", hooks::Moment::default(), &stop);
        ran.await.map_err(|error| {
            CliError::new(ErrorKind::Environment, "the proxy was rebooted").because(error)
        })?;
    }
    Ok(ExitCode::Success)
}
