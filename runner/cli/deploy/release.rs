//! `deploy`, `rollback` and `setup`: the verbs that change what runs.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use tokio_util::sync::CancellationToken;

use super::{
    arguments::{
        AppBootArguments, DeployArguments, RollbackArguments, SetupArguments, SiteArguments,
    },
    hooks::{Called, Moment},
    show::{Printer, print_plan, seconds},
    site::Site,
    stop,
};
use crate::{
    cli::{
        error::{CliError, ErrorKind, ExitCode},
        project, settings, write_line, write_note,
    },
    deploy::{
        self, Begin, Ended, Ending, LeftOpen, Look, OpError, OpenError, PhaseError, Progress,
        Transaction, ending_words,
    },
    diagnostic::chain,
    docker::DockerError,
    release::{HostName, Kind, Millis, Phase, PlanError, ReleaseVersion, Spec, rollback_target},
    report::screen,
};

/// The two stages of a stop by Ctrl-C.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    pub(super) cancel: CancellationToken,
    pub(super) force: CancellationToken,
}

/// Deploys a release of the configuration.
pub(super) async fn deploy(arguments: &DeployArguments) -> Result<ExitCode, CliError> {
    let site = match Site::open(&arguments.site, true, Called::verb("deploy")).await? {
        Ok(site) => site,
        Err(code) => return Ok(code),
    };
    let mut begin = Begin::new(Kind::Deploy);
    begin.abandon = hosts(&arguments.abandon);
    begin.left_open = match (arguments.resume, arguments.undo) {
        (true, _) => LeftOpen::Resume,
        (_, true) => LeftOpen::Undo,
        _ => LeftOpen::Decide,
    };
    if begin.left_open != LeftOpen::Decide {
        let spec = site.spec_of("unknown", None, None)?;
        return Box::pin(end_left_open(&site, spec, begin, &arguments.site)).await;
    }
    let version = project::version(&site.project, arguments.version.as_deref())?;
    let (spec, seen) = site_spec(&site, &version).await?;
    if arguments.plan {
        return plan(&site, spec, Kind::Deploy).await;
    }
    site.name_elsewhere();
    Box::pin(carry_out(&site, spec, begin, seen, &arguments.site)).await
}

/// Goes back to an earlier release of the history.
pub(super) async fn rollback(arguments: &RollbackArguments) -> Result<ExitCode, CliError> {
    let site = match Site::open(&arguments.site, true, Called::verb("rollback")).await? {
        Ok(site) => site,
        Err(code) => return Ok(code),
    };
    let unknown = site.spec_of("unknown", None, None)?;
    let mut begin = Begin::new(Kind::Rollback);
    begin.abandon = hosts(&arguments.abandon);
    let (look, ended) = if arguments.plan {
        (deploy::look(&unknown, &site.settings).await, None)
    } else {
        match settle(&site, &unknown, &begin, &arguments.site).await {
            Ok(settled) => settled,
            Err(error) => return Ok(refused(&error, &site)),
        }
    };
    let wanted = arguments.version.as_deref().map(ReleaseVersion::from);
    if let Some(ended) = ended.filter(|ended| ended.is_rollback_to(wanted.as_ref())) {
        write_line(&format!("rolled back to `{}`", ended.version));
        return Ok(ExitCode::Success);
    }
    if let Some((host, error)) = look.away.iter().find(|(host, _)| *host == unknown.primary) {
        return Err(
            CliError::new(ErrorKind::Environment, format!("`{host}` is not reachable"))
                .because(error.chain()),
        );
    }
    let driver = driver_of(&look, &unknown);
    let running = look.running(&unknown);
    let history = look.history(&unknown.primary);
    let line = rollback_target(history, running.as_ref(), wanted.as_ref()).map_err(|error| {
        CliError::new(ErrorKind::Invalid, "there is no release to go back to")
            .because(error)
            .with_hint("`runner history` lists the releases")
    })?;
    write_line(&format!("going back to release `{}`", line.release));
    let spec = site.spec_of(line.release.as_str(), line.digest.clone(), driver)?;
    if arguments.plan {
        return plan(&site, spec, Kind::Rollback).await;
    }
    Box::pin(carry_out(&site, spec, begin, Some(look), &arguments.site)).await
}

/// Looks at the servers once whatever was left open there is ended.
async fn settle(
    site: &Site,
    any: &Spec,
    begin: &Begin,
    arguments: &SiteArguments,
) -> Result<(Look, Option<Ended>), OpenError> {
    let progress: Arc<dyn Progress> = Arc::new(Printer {
        verbose: arguments.verbose,
    });
    let stop = Stop::default();
    let (begin, settings) = (begin.clone(), site.settings.clone());
    let work = deploy::settle(any, begin, settings, progress, &stop.cancel);
    stop::with_signals(&stop, Box::pin(work)).await
}

/// Boots a release that was deployed before, or the one that runs; it never migrates.
pub(super) async fn boot(site: &Site, arguments: &AppBootArguments) -> Result<ExitCode, CliError> {
    let unknown = site.spec_of("unknown", None, None)?;
    let look = deploy::look(&unknown, &site.settings).await;
    let running = look.running(&unknown);
    let version = match (&arguments.version, &running) {
        (Some(version), _) => version.clone(),
        (None, Some(running)) => running.release.as_str().to_owned(),
        (None, None) => {
            return Err(CliError::new(
                ErrorKind::Invalid,
                "no release runs that could be booted again",
            )
            .with_hint("name one with `--version`"));
        }
    };
    let digest = running
        .filter(|running| running.release.as_str() == version)
        .and_then(|running| running.digest);
    let spec = Spec {
        migrate: None,
        ..site.spec_of(&version, digest, driver_of(&look, &unknown))?
    };
    Box::pin(carry_out(
        site,
        spec,
        Begin::new(Kind::Deploy),
        Some(look),
        &arguments.site,
    ))
    .await
}

/// Prepares the servers, then deploys.
pub(super) async fn setup(arguments: &SetupArguments) -> Result<ExitCode, CliError> {
    let site = match Site::open(&arguments.site, true, Called::verb("setup")).await? {
        Ok(site) => site,
        Err(code) => return Ok(code),
    };
    let version = project::version(&site.project, arguments.version.as_deref())?;
    let driver = found_driver(&site, &version).await?.0;
    let spec = site.spec_of(&version, None, driver.clone())?;
    site.name_elsewhere();
    site.hook_before("docker-setup").await?;
    super::prepare::prepare(&site, &spec, driver.as_deref()).await?;
    let begin = Begin::new(Kind::Deploy);
    // What was seen before is not what is there now.
    Box::pin(carry_out(&site, spec, begin, None, &arguments.site)).await
}

fn hosts(names: &[String]) -> BTreeSet<HostName> {
    names
        .iter()
        .map(|name| HostName::from(name.as_str()))
        .collect()
}

/// What should run, and the look at the servers that it took to know it.
async fn site_spec(site: &Site, version: &str) -> Result<(Spec, Option<Look>), CliError> {
    let (driver, seen) = found_driver(site, version).await?;
    Ok((site.spec_of(version, None, driver)?, seen))
}

/// The proxy that is there, where the configuration leaves the choice to what is found.
async fn found_driver(
    site: &Site,
    version: &str,
) -> Result<(Option<String>, Option<Look>), CliError> {
    if site.project.config.runner.proxy.driver.is_some() {
        return Ok((None, None));
    }
    let spec = site.spec_of(version, None, None)?;
    let look = deploy::look(&spec, &site.settings).await;
    Ok((driver_of(&look, &spec), Some(look)))
}

pub(super) fn driver_of(look: &Look, spec: &Spec) -> Option<String> {
    let proxied = spec
        .hosts()
        .into_iter()
        .filter(|host| spec.is_proxied(host));
    let mut found = proxied.filter_map(|host| {
        let proxy = look.observed.host(&host)?.proxy.as_ref()?;
        Some(proxy.driver.clone())
    });
    found.next()
}

async fn plan(site: &Site, spec: Spec, kind: Kind) -> Result<ExitCode, CliError> {
    match deploy::preview(spec, kind, &site.settings).await {
        Ok(preview) => {
            for notice in &preview.notices {
                write_note(&format!("note: {notice}"));
            }
            print_plan(&preview.stages);
            Ok(ExitCode::Success)
        }
        Err(error) => Ok(refused(&error, site)),
    }
}

async fn end_left_open(
    site: &Site,
    spec: Spec,
    begin: Begin,
    arguments: &SiteArguments,
) -> Result<ExitCode, CliError> {
    let progress: Arc<dyn Progress> = Arc::new(Printer {
        verbose: arguments.verbose,
    });
    let stop = Stop::default();
    let work = deploy::end_left_open(spec, begin, site.settings.clone(), progress, &stop.cancel);
    match stop::with_signals(&stop, Box::pin(work)).await {
        Ok(_) => Ok(ExitCode::Success),
        Err(OpenError::NothingOpen) => {
            write_line("no transaction is open: there is nothing to undo or to finish");
            Ok(ExitCode::Success)
        }
        Err(error) => Ok(refused(&error, site)),
    }
}

/// Opens a transaction and leads it to one of its ends.
async fn carry_out(
    site: &Site,
    spec: Spec,
    begin: Begin,
    seen: Option<Look>,
    arguments: &SiteArguments,
) -> Result<ExitCode, CliError> {
    let stop = Stop::default();
    let work = transact(site, spec, (begin, seen), arguments, &stop);
    stop::with_signals(&stop, Box::pin(work)).await
}

async fn transact(
    site: &Site,
    spec: Spec,
    (begin, seen): (Begin, Option<Look>),
    arguments: &SiteArguments,
    stop: &Stop,
) -> Result<ExitCode, CliError> {
    let start = Instant::now();
    let (kind, version) = (begin.kind, spec.version.clone());
    let progress: Arc<dyn Progress> = Arc::new(Printer {
        verbose: arguments.verbose,
    });
    let settings = site.settings.clone();
    settings::open_screen();
    let opened = Box::pin(deploy::open(
        spec,
        begin,
        settings,
        progress,
        seen,
        &stop.cancel,
    ));
    let mut transaction = match opened.await {
        Ok(transaction) => transaction,
        Err(error) => {
            screen().close();
            return Ok(refused(&error, site));
        }
    };
    let migrates = transaction.journal().migrates;
    let advanced = advance(site, &mut transaction, &version, stop).await;
    let migrated = migrates && transaction.journal().phase >= Phase::Migrating;
    let (ending, error) = match advanced {
        Ok(()) => transaction.finish(&stop.cancel, &stop.force).await,
        Err(error @ PhaseError::Taken(_)) => (Ending::Taken { by: chain(&error) }, Some(error)),
        Err(error) => {
            let reason = chain(&error);
            (transaction.undo(&reason, &stop.force).await, Some(error))
        }
    };
    screen().close();
    let word = match kind {
        Kind::Deploy => "deployed",
        Kind::Rollback => "rolled back to",
    };
    if ending == Ending::Succeeded {
        let runtime = start.elapsed();
        write_line(&format!("{word} `{version}` in {}", seconds(runtime)));
        if site.called.command == "app" {
            return Ok(ExitCode::Success);
        }
        let moment = Moment {
            version: Some(version.as_str()),
            has_lock: false,
            runtime: Some(runtime),
        };
        return match site.hook("post-deploy", moment, stop).await {
            Ok(()) => Ok(ExitCode::Success),
            Err(error) => {
                let message =
                    format!("release `{version}` serves, but what follows a deploy failed");
                CliError::new(ErrorKind::Environment, message)
                    .because(error)
                    .report();
                Ok(ExitCode::RunFailed)
            }
        };
    }
    Ok(failed(&Outcome {
        site,
        ending,
        error,
        version: &version,
        migrated,
    }))
}

/// Leads a transaction up to its commit, with the project's hooks at their places.
///
/// A hook that fails before the commit has everything put back.
async fn advance(
    site: &Site,
    transaction: &mut Transaction,
    version: &ReleaseVersion,
    stop: &Stop,
) -> Result<(), PhaseError> {
    let moment = Moment {
        version: Some(version.as_str()),
        has_lock: true,
        runtime: None,
    };
    for (phase, hook) in [
        (Phase::Pulled, "pre-deploy"),
        (Phase::Migrated, "pre-app-boot"),
        (Phase::Baked, "post-app-boot"),
    ] {
        // `app boot` is no deploy for Kamal.
        if site.has_hook(hook) && (hook != "pre-deploy" || site.called.command != "app") {
            transaction.advance_to(phase, &stop.cancel).await?;
            site.hook(hook, moment, stop).await?;
        }
    }
    // What was proved a moment ago need not be looked at again before the commit.
    let last = match transaction.journal().spec.bake {
        Millis(0) => Phase::Committed,
        _ => Phase::Baked,
    };
    transaction.advance_to(last, &stop.cancel).await
}

/// How a transaction ended that did not succeed.
struct Outcome<'a> {
    site: &'a Site,
    ending: Ending,
    error: Option<PhaseError>,
    version: &'a ReleaseVersion,
    migrated: bool,
}

/// Says why and what to do, and returns the code.
fn failed(outcome: &Outcome<'_>) -> ExitCode {
    let version = outcome.version;
    let cancelled = matches!(outcome.error, Some(PhaseError::Cancelled));
    let message = if cancelled {
        format!("the deploy of release `{version}` was cancelled")
    } else {
        format!("release `{version}` could not be deployed")
    };
    let mut error = CliError::new(ErrorKind::Environment, message);
    if let (Some(cause), false) = (&outcome.error, cancelled) {
        let text = outcome.site.settings.masker.mask(&chain(cause));
        error = error.because(text.as_str().to_owned());
    }
    let schema = "the migration was not undone: the schema stays as it is now";
    if outcome.migrated {
        error = error.with_hint(schema);
    }
    let (code, hint) = match &outcome.ending {
        Ending::Undone if cancelled => (ExitCode::Cancelled, "everything is as it was found".to_owned()),
        Ending::Undone => (ExitCode::DeployUndone, "everything is as it was found".to_owned()),
        Ending::Interrupted => (
            ExitCode::UndoIncomplete,
            "it was interrupted; `runner deploy --undo` puts everything back, `--resume` carries it on".to_owned(),
        ),
        Ending::Taken { by } => (ExitCode::UndoIncomplete, format!("nothing more was changed: {by}")),
        ending @ Ending::Unfinished { .. } => (
            ExitCode::UndoIncomplete,
            format!("the release is committed and runs; not done: {}; `runner deploy --resume` finishes it", ending_words(ending)),
        ),
        ending => (
            ExitCode::UndoIncomplete,
            format!("not everything could be put back: {}; `runner deploy --undo` tries again", ending_words(ending)),
        ),
    };
    let hint = outcome.site.settings.masker.mask(&hint).as_str().to_owned();
    error.with_hint(hint).report();
    code
}

/// Says why a transaction did not begin, and returns the code.
fn refused(error: &OpenError, site: &Site) -> ExitCode {
    let code = code_of(error);
    let text = site.settings.masker.mask(&chain(error)).as_str().to_owned();
    let mut report = CliError::new(ErrorKind::Environment, "nothing was deployed").because(text);
    match error {
        OpenError::Locked { .. } => {
            report = report.with_hint(
                "wait until it is over; `runner lock status` shows who deploys, `runner lock release` gives back a lock that nobody needs",
            );
        }
        OpenError::LeftOpen { .. } => {
            report = report.with_hint("`runner deploy --undo` or `--resume` tries again, `--abandon HOST` strikes a server that is gone");
        }
        _ => {}
    }
    report.report();
    code
}

fn code_of(error: &OpenError) -> ExitCode {
    match error {
        OpenError::Invalid { .. } | OpenError::Plan(PlanError::NoDigest(_)) => ExitCode::Invalid,
        OpenError::Image { source, .. } => match source.as_ref() {
            OpError::Docker(DockerError::NotFound(_) | DockerError::Unauthorized(_)) => {
                ExitCode::Invalid
            }
            _ => ExitCode::Environment,
        },
        OpenError::LeftOpen { .. } => ExitCode::UndoIncomplete,
        OpenError::Cancelled => ExitCode::Cancelled,
        OpenError::Id(_) => ExitCode::Internal,
        OpenError::Unreachable { .. }
        | OpenError::Locked { .. }
        | OpenError::Plan(_)
        | OpenError::Operation { .. }
        | OpenError::Blocked(_)
        | OpenError::NothingOpen => ExitCode::Environment,
    }
}
