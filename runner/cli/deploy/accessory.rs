//! `accessory boot|reboot|start|stop|restart|exec|remove`: services beside the application, by hand.

use super::{
    app::{ended, heading, one_off_name, print, words},
    arguments::{AccessoryExecArguments, AccessoryRemoveArguments, SiteArguments},
    by_hand::{Held, failed},
    hooks::Called,
    prepare,
    site::Site,
};
use crate::{
    cli::{
        error::{CliError, ErrorKind, ExitCode},
        write_line, write_note,
    },
    deploy::{AccessoryBoot, Fleet, Host},
    docker::ExecSpec,
    release::HostName,
};

/// An accessory or all of them, with the servers where they are.
struct Meant {
    site: Site,
    fleet: Fleet,
    boots: Vec<AccessoryBoot>,
}

async fn meant(
    name: &str,
    arguments: &SiteArguments,
    verb: &'static str,
) -> Result<Result<Meant, ExitCode>, CliError> {
    let called = Called::sub("accessory", verb);
    let site = match Site::open(arguments, true, called).await? {
        Ok(site) => site,
        Err(code) => return Ok(Err(code)),
    };
    let boots = site.accessories(super::one(name))?;
    if boots.is_empty() && name != "all" {
        let known: Vec<_> = site.accessories(None)?;
        let known: Vec<_> = known.iter().map(|boot| boot.spec.name.as_str()).collect();
        let message = format!("there is no accessory `{name}` that is booted by itself");
        return Err(CliError::new(ErrorKind::Invalid, message)
            .with_hint(format!("known: {}", known.join(", "))));
    }
    let mut hosts: Vec<_> = boots
        .iter()
        .map(|boot| boot.spec.container.host.clone())
        .collect();
    let primary = site.spec_of("unknown", None, None)?.primary;
    if !hosts.contains(&primary) {
        hosts.push(primary);
    }
    let fleet = prepare::connect(&site, &hosts).await?;
    Ok(Ok(Meant { site, fleet, boots }))
}

impl Meant {
    /// The accessories with their servers, in the order of the configuration.
    fn each(&self) -> impl Iterator<Item = (&AccessoryBoot, &Host)> {
        self.boots.iter().filter_map(|boot| {
            let host = self.fleet.host(&boot.spec.container.host)?;
            Some((boot, host))
        })
    }

    fn hosts(&self) -> Vec<HostName> {
        let mut hosts: Vec<HostName> = Vec::new();
        for boot in &self.boots {
            let host = &boot.spec.container.host;
            if !hosts.contains(host) {
                hosts.push(host.clone());
            }
        }
        hosts
    }
}

/// Starts accessories that are not there yet.
pub(super) async fn boot(name: &str, arguments: &SiteArguments) -> Result<ExitCode, CliError> {
    let meant = match meant(name, arguments, "boot").await? {
        Ok(meant) => meant,
        Err(code) => return Ok(code),
    };
    prepare::boot_accessories(&meant.site, &meant.fleet, &meant.boots).await?;
    Ok(ExitCode::Success)
}

/// What is done to the container of an accessory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It is made anew from its image as the registry has it now.
    Reboot,
    /// It is started.
    Start,
    /// It is stopped.
    Stop,
    /// It is stopped and started.
    Restart,
}

impl Change {
    fn verb(self) -> &'static str {
        match self {
            Self::Reboot => "reboot",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Reboot => "Rebooted",
            Self::Start => "Started",
            Self::Stop => "Stopped",
            Self::Restart => "Restarted",
        }
    }
}

/// Changes the containers of accessories, one after the other.
pub(super) async fn change(
    change: Change,
    name: &str,
    arguments: &SiteArguments,
) -> Result<ExitCode, CliError> {
    let meant = match meant(name, arguments, change.verb()).await? {
        Ok(meant) => meant,
        Err(code) => return Ok(code),
    };
    let spec = meant.site.spec_of("unknown", None, None)?;
    let message = format!("{} {name} accessory", change.done());
    let held = Held::take(&meant.site, &spec, &meant.fleet, &message).await?;
    let mut done = Ok(());
    for (boot, host) in meant.each() {
        done = change_one(change, boot, host, &meant.site).await;
        if done.is_err() {
            break;
        }
        let name = &boot.spec.container.name;
        write_line(&format!(
            "  {:<24} {} {name}",
            host.name,
            change.done().to_lowercase()
        ));
    }
    held.release(&meant.hosts(), &message).await?;
    done.map(|()| ExitCode::Success)
}

async fn change_one(
    change: Change,
    boot: &AccessoryBoot,
    host: &Host,
    site: &Site,
) -> Result<(), CliError> {
    let spec = &boot.spec.container;
    let name = spec.name.as_str();
    let changed = match change {
        Change::Reboot => Box::pin(host.reboot_accessory(boot, &site.settings))
            .await
            .map(|_| ()),
        Change::Stop => (host
            .engine
            .stop(name, spec.stop_timeout.to_duration())
            .await)
            .map_err(Into::into),
        Change::Start | Change::Restart => {
            let stopped = match change {
                Change::Restart => {
                    host.engine
                        .stop(name, spec.stop_timeout.to_duration())
                        .await
                }
                _ => Ok(()),
            };
            match stopped {
                Ok(()) => host.engine.start(name).await.map_err(Into::into),
                Err(error) => Err(error.into()),
            }
        }
    };
    let site = &site.settings;
    changed.map_err(|error: crate::deploy::OpError| {
        let text = site.masker.mask(&error.chain()).as_str().to_owned();
        let what = format!("accessory `{}`: {} failed", boot.spec.name, change.verb());
        failed(&host.name, &what).because(text)
    })
}

/// Runs a command in an accessory's container, or in a new one like it.
pub(super) async fn exec(arguments: &AccessoryExecArguments) -> Result<ExitCode, CliError> {
    let command = words(&arguments.command)?;
    let meant = match meant(&arguments.name, &arguments.site, "exec").await? {
        Ok(meant) => meant,
        Err(code) => return Ok(code),
    };
    let (mut count, mut code, mut say) = (0, 0, print);
    for (boot, host) in meant.each() {
        let spec = &boot.spec.container;
        let ran = if arguments.reuse {
            heading(&host.name, spec.name.as_str());
            let command = ExecSpec::of_words(command.clone());
            let ran = host
                .engine
                .exec(spec.name.as_str(), &command, None, &mut say);
            ran.await.map_err(Into::into)
        } else {
            let name = one_off_name(spec.name.as_str(), "accessory");
            heading(&host.name, name.as_str());
            let settings = &meant.site.settings;
            Box::pin(host.run_once((spec, name), command.clone(), settings, &mut say)).await
        };
        let ran = ran.map_err(|error: crate::deploy::OpError| {
            failed(&host.name, "the command could not be run").because(error.chain())
        })?;
        code = if code == 0 { ran } else { code };
        count += 1;
    }
    ended(count, code)
}

/// Removes the container of an accessory; its data stays unless the person says otherwise.
pub(super) async fn remove(arguments: &AccessoryRemoveArguments) -> Result<ExitCode, CliError> {
    let name = &arguments.name;
    if !arguments.is_confirmed {
        let stays = if arguments.data {
            "and the folder of its data on the server"
        } else {
            "; its data stays"
        };
        let message = format!("this removes the container of accessory `{name}` {stays}");
        return Err(CliError::new(ErrorKind::Usage, message).with_hint("confirm it with `-y`"));
    }
    let meant = match meant(name, &arguments.site, "remove").await? {
        Ok(meant) => meant,
        Err(code) => return Ok(code),
    };
    let spec = meant.site.spec_of("unknown", None, None)?;
    let message = format!("Removed {name} accessory");
    let held = Held::take(&meant.site, &spec, &meant.fleet, &message).await?;
    let mut done = Ok(());
    for (boot, host) in meant.each() {
        done = remove_one(boot, host, arguments.data).await;
        if done.is_err() {
            break;
        }
    }
    held.release(&meant.hosts(), &message).await?;
    done.map(|()| ExitCode::Success)
}

async fn remove_one(boot: &AccessoryBoot, host: &Host, data: bool) -> Result<(), CliError> {
    let spec = &boot.spec.container;
    let what = format!("accessory `{}` could not be removed", boot.spec.name);
    let removed = host.remove_accessory(boot).await;
    let removed = removed.map_err(|error| failed(&host.name, &what).because(error.chain()))?;
    let word = if removed { "removed" } else { "was not there:" };
    write_line(&format!("  {:<24} {word} {}", host.name, spec.name));
    if data {
        let emptied = host.remove_accessory_folder(boot).await;
        emptied.map_err(|error| failed(&host.name, &what).because(error.chain()))?;
        write_line(&format!("  {:<24} removed its folder", host.name));
    }
    let named: Vec<&str> = spec
        .volumes
        .iter()
        .filter_map(|volume| volume.split(':').next())
        .filter(|source| !source.contains('/') && !source.starts_with('$'))
        .collect();
    if !named.is_empty() {
        write_note(&format!(
            "note: `{}` keeps its data: volume {}",
            host.name,
            named.join(", ")
        ));
    }
    Ok(())
}
