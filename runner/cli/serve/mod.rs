//! `runner serve`, the hidden `runner job`, `runner dispatch` and `runner init`.

mod app;
pub(super) mod arguments;
pub(super) mod config;
mod init;
mod keeping;
mod key;
pub(super) mod machine;
mod notify;
mod reporting;
mod secret;
mod supervisor;
mod telling;
mod token;
mod traces;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::error::{CliError, ErrorKind, ExitCode};
use super::run::pairs;
use super::stop::{watch_signals, watch_stop};
use super::{settings, write_line, write_note};
use crate::process;
use crate::run::Terms;
use crate::scheduler::{
    self, Clearing, Dispatch, DispatchError, Forks, JobSurroundings, Ledger, Notifier, Reaper,
    Repository, Retention, Room, VaultError, Worker, run_ordered,
};
use crate::server::{Live, Site, Templates, answer};
use crate::store::{self, Role};
use crate::telemetry::Exporter;
use crate::trigger::{Inbox, Poll, Schedules};
use arguments::{DATABASE_VARIABLE, DispatchArguments, ServeArguments};
use config::{ServeConfig, ServerConfig, Values, Watched};

pub(super) use init::init;
pub(super) use notify::notify;
pub(super) use secret::secret;
pub(super) use token::token;

/// What the answers are made of.
type Shared = (Ledger, Room, Repositories, Option<Exporter>);

/// The repositories that are watched, by name.
type Repositories = Arc<HashMap<String, Repository>>;

/// Watches the repositories and runs what is due, until it is told to stop.
pub(super) fn serve(runtime: &Runtime, arguments: &ServeArguments) -> Result<ExitCode, CliError> {
    arm_crashes(Role::Server);
    let config = ServeConfig::of(&arguments.config, Values::Read)?;
    if config.repositories.is_empty() {
        return Err(
            CliError::new(ErrorKind::Invalid, "no repository is to be watched")
                .with_hint("write a [[repository]] with `name` and `url`, or run: runner init"),
        );
    }
    let _taken = machine::take(&config.data)?;
    let machine = machine::name(&config.data)?;
    let program = std::env::current_exe().map_err(|source| {
        CliError::new(ErrorKind::Internal, "this program cannot find itself").because(source)
    })?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        // From the first moment: a server that is stopped while it starts stops in order.
        let signals = runtime.spawn(watch_stop(stop.clone()));
        let ledger = machine::open_ledger(&config).await?;
        let vault = key::vault(&config);
        vault.check(&ledger).await.map_err(cannot_open)?;
        let mut tasks = JoinSet::new();
        announce(&config);
        let repositories = by_name(&config);
        let (ledger, spans) =
            traces::trace(&mut tasks, (&config, &machine), (ledger, &repositories), &stop)?;
        let terms = terms();
        let room = Room::new(&config.data, config.min_free);
        let spools = config.data.join("spool");
        let clearing = heed_losses(&mut tasks, (&ledger, &machine, terms), &spools, &stop);
        let hidden = [DATABASE_VARIABLE.to_owned(), key::VARIABLE.to_owned()];
        let worker = Worker {
            ledger: ledger.clone(),
            machine: machine.clone(),
            slots: config.slots,
            spools,
            clearing,
            work: config.data.join("work"),
            program: (program, vec![OsString::from("job")]),
            hidden: hidden.into_iter().chain(config.database_variable.clone()).collect(),
            terms,
            room: room.clone(),
            repositories: Arc::clone(&repositories),
            vault,
        };
        tasks.spawn(worker.run(stop.clone()));
        if let Some(server) = &config.server {
            let shared = (ledger.clone(), room.clone(), repositories, spans);
            listen(&mut tasks, (&config, server), shared, &stop).await?;
        }
        tasks.spawn(inbox(&config, &ledger).run(stop.clone()));
        reporting::report(&mut tasks, (&config, &machine, terms.lease), &ledger, &stop).await?;
        watch(&mut tasks, config, (&ledger, &machine), &stop);
        write_note("ready");
        supervisor::ready();
        tasks.spawn(supervisor::heartbeat(ledger.clone(), room, stop.clone()));
        tokio::select! {
            () = stop.cancelled() => {}
            Some(ended) = tasks.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a part of the server ended without a result");
                }
            }
        }
        stop.cancel();
        supervisor::stopping();
        while tasks.join_next().await.is_some() {}
        signals.abort();
        ledger.store().close().await;
        write_note(if ledger.is_shared() {
            "stopped; jobs that run go on for the time of a lease, and a server that starts here until then follows them"
        } else {
            "stopped; jobs that run go on, and the next server follows them"
        });
        Ok(ExitCode::Success)
    })
}

/// Begins to look for lost machines, and to clear up after lost jobs of this one.
fn heed_losses(
    tasks: &mut JoinSet<()>,
    (ledger, machine, terms): (&Ledger, &str, Terms),
    spools: &Path,
    stop: &CancellationToken,
) -> Clearing {
    let reaper = Reaper {
        ledger: ledger.clone(),
        machine: machine.to_owned(),
        terms,
    };
    tasks.spawn(reaper.run(stop.clone()));
    let clearing = Clearing::new(machine, spools, settings::variable("DOCKER_HOST"));
    tasks.spawn(clearing.clone().run(stop.clone()));
    clearing
}

/// Returns the repositories that are watched.
fn by_name(config: &ServeConfig) -> Repositories {
    let named = |(name, watched): (&String, &Watched)| (name.clone(), watched.repository.clone());
    Arc::new(config.repositories.iter().map(named).collect())
}

/// Says why a server does not start that cannot open its secrets: every job that has one would fail.
fn cannot_open(error: VaultError) -> CliError {
    match error {
        VaultError::Ledger(error) => super::runs::failed(error),
        error => CliError::new(ErrorKind::Invalid, "the stored secrets cannot be opened")
            .because(error)
            .with_hint("put back the key that they were sealed with, or remove them: runner secret list, runner secret remove"),
    }
}

/// Begins what goes on beside the jobs: looks at repositories and schedules, tells people, removes
/// what is old.
fn watch(
    tasks: &mut JoinSet<()>,
    config: ServeConfig,
    (ledger, machine): (&Ledger, &str),
    stop: &CancellationToken,
) {
    let retention = Retention {
        ledger: ledger.clone(),
        spools: config.data.join("spool"),
        keep: config.keep,
    };
    tasks.spawn(retention.run(stop.clone()));
    for channel in config.channels {
        let notifier = Notifier {
            ledger: ledger.clone(),
            machine: machine.to_owned(),
            channel,
        };
        tasks.spawn(notifier.run(stop.clone()));
    }
    for watched in config.repositories.into_values() {
        let schedules = Schedules {
            ledger: ledger.clone(),
            repository: watched.repository.clone(),
            catch_up: watched.catch_up,
        };
        tasks.spawn(schedules.run(stop.clone()));
        let poll = Poll {
            ledger: ledger.clone(),
            repository: watched.repository,
            every: watched.poll,
        };
        tasks.spawn(poll.run(stop.clone()));
    }
}

/// Begins to answer by HTTP.
async fn listen(
    tasks: &mut JoinSet<()>,
    (config, server): (&ServeConfig, &ServerConfig),
    shared: Shared,
    stop: &CancellationToken,
) -> Result<(), CliError> {
    let (site, listener) = site(config, server, shared, stop).await?;
    tasks.spawn(async move {
        if let Err(error) = answer(site, listener).await {
            tracing::error!(%error, "nothing is answered any more");
        }
    });
    Ok(())
}

/// Returns who reads what was delivered, and what runs tell one another.
fn inbox(config: &ServeConfig, ledger: &Ledger) -> Inbox {
    let by_name = |watched: &Watched| {
        let repository = watched.repository.clone();
        (repository.name.to_lowercase(), repository)
    };
    Inbox {
        ledger: ledger.clone(),
        repositories: Arc::new(config.repositories.values().map(by_name).collect()),
    }
}

/// Says what is watched.
fn announce(config: &ServeConfig) {
    let mut names: Vec<&String> = config.repositories.keys().collect();
    names.sort_unstable();
    for name in names {
        if let Some(watched) = config.repositories.get(name) {
            write_note(&format!(
                "watching {name} at {}, every {}",
                watched.repository.mirror.shown_url(),
                humantime::format_duration(watched.poll)
            ));
            let repository = &watched.repository;
            if repository.forks != Forks::Refuse && repository.fork_image.is_none() {
                write_note(&format!(
                    "warning: what forks of {name} bring runs on this host, with all rights of this server"
                ));
            }
        }
    }
}

/// Returns what is answered by HTTP, and where it listens.
async fn site(
    config: &ServeConfig,
    server: &ServerConfig,
    (ledger, room, repositories, spans): Shared,
    stop: &CancellationToken,
) -> Result<(Arc<Site>, TcpListener), CliError> {
    let is_guarded =
        server.token.is_some() || ledger.has_admin().await.map_err(super::runs::failed)?;
    if !server.listen.ip().is_loopback() && !is_guarded {
        return Err(CliError::new(
            ErrorKind::Invalid,
            format!(
                "it does not listen at {} as long as there is no token of an administrator: only this machine may ask then",
                server.listen
            ),
        )
        .with_hint("make one: runner token create NAME --scope admin; or listen at 127.0.0.1"));
    }
    let listener = TcpListener::bind(server.listen).await.map_err(|source| {
        CliError::new(
            ErrorKind::Environment,
            format!("nothing can listen at {}", server.listen),
        )
        .because(source)
    })?;
    let address = listener.local_addr().unwrap_or(server.listen);
    write_note(&format!("listening at http://{address}"));
    let mut secrets: HashMap<String, Vec<String>> = config
        .repositories
        .iter()
        .map(|(name, watched)| (name.to_lowercase(), watched.webhook_secrets.clone()))
        .collect();
    if let Some(app) = &config.app {
        // Of what is about the App itself, as its installation, no repository is named.
        secrets.insert(String::new(), app.webhook_secrets.clone());
    }
    let templates = Templates::read().map_err(|error| {
        CliError::new(ErrorKind::Internal, "the pages cannot be made").because(error)
    })?;
    let site = Site {
        ledger,
        spools: config.data.join("spool"),
        room,
        secrets,
        repositories,
        token: server.token.clone(),
        has_public_badges: server.has_public_badges,
        spans,
        live: Live::new(stop.clone()),
        templates,
    };
    Ok((Arc::new(site), listener))
}

/// Arms a death on demand by `RUNNER_CRASH`; a release build does not heed it.
fn arm_crashes(role: Role) {
    if let Some(text) = settings::variable("RUNNER_CRASH") {
        store::arm(&text, role);
    }
}

/// Returns for how long jobs are had; tests of debug builds alone may shorten it by `RUNNER_LEASE`.
fn terms() -> Terms {
    let wanted = settings::variable("RUNNER_LEASE").filter(|_| cfg!(debug_assertions));
    let lease = wanted.and_then(|text| humantime::parse_duration(&text).ok());
    lease.map_or_else(Terms::default, Terms::of)
}

/// The process of a job: what it is to do comes on standard input.
pub(super) fn job(runtime: &Runtime) -> Result<ExitCode, CliError> {
    let internal = |what: &str, source: Box<dyn std::error::Error + Send + Sync>| {
        CliError::new(ErrorKind::Internal, what).because(source)
    };
    process::lead_session()
        .map_err(|error| internal("the job could not get a session of its own", error.into()))?;
    process::adopt_orphans();
    arm_crashes(Role::Job);
    let mut order = Vec::new();
    std::io::stdin()
        .read_to_end(&mut order)
        .map_err(|error| internal("the order of the job could not be read", error.into()))?;
    let (cancel, force) = (CancellationToken::new(), CancellationToken::new());
    let around = JobSurroundings {
        actions: crate::actions::registry(settings::whole_env()),
        askers: crate::actions::askers(settings::whole_env()),
        base_env: settings::base_env(),
        cancel: cancel.clone(),
        force: force.clone(),
    };
    let done = runtime.block_on(async {
        let signals = runtime.spawn(watch_signals(cancel, force));
        let done = runtime
            .spawn(async move { run_ordered(&order, around).await })
            .await;
        signals.abort();
        process::kill_adopted().await;
        done
    });
    done.map_err(|error| internal("the job ended without a result", error.into()))?
        .map_err(|error| internal("the job could not begin", error.into()))?;
    Ok(ExitCode::Success)
}

/// Starts a workflow of a watched repository by hand.
pub(super) fn dispatch(
    runtime: &Runtime,
    arguments: &DispatchArguments,
) -> Result<ExitCode, CliError> {
    let config = ServeConfig::of(&arguments.config, Values::Read)?;
    let repository = config.repository(arguments.repository.as_deref())?;
    runtime.block_on(reporting::get_token(&config, repository))?;
    let wanted = Dispatch {
        workflow: arguments.workflow.clone(),
        git_ref: arguments.git_ref.clone(),
        inputs: pairs(&arguments.input, "--input")?.into_iter().collect(),
        actor: settings::variable("USER").unwrap_or_else(|| "local".to_owned()),
    };
    let submitted = runtime.block_on(async {
        let ledger = machine::open_ledger(&config).await?;
        scheduler::dispatch(&ledger, repository, &wanted)
            .await
            .map_err(not_started)
    })?;
    for verdict in submitted
        .verdicts
        .iter()
        .filter(|verdict| verdict.reason.is_some())
    {
        write_note(&format!("{verdict}"));
    }
    match submitted.runs.as_slice() {
        [] => Ok(ExitCode::NoTrigger),
        runs => {
            for run in runs {
                write_line(&run.0);
            }
            Ok(ExitCode::Success)
        }
    }
}

fn not_started(error: DispatchError) -> CliError {
    let what = error.to_string();
    match error {
        DispatchError::NoRef { .. } | DispatchError::NoWorkflow { .. } => {
            CliError::new(ErrorKind::Usage, what)
        }
        DispatchError::Repository { source, .. } => {
            CliError::new(ErrorKind::Environment, what).because(source)
        }
        DispatchError::Submit(source) => {
            CliError::new(ErrorKind::Environment, what).because(source)
        }
        DispatchError::Broken(source) => CliError::new(ErrorKind::Internal, what).because(source),
    }
}
