//! Verbs that only look: details, logs, lock, audit, history.

use std::time::Duration;

use futures_util::{StreamExt as _, future::join_all};

use super::{
    arguments::{HistoryArguments, LogsArguments, SiteArguments, WhereArguments},
    by_hand::hosts_of,
    hooks::Called,
    prepare::connect,
    show::seconds,
    site::Site,
};
use crate::{
    cli::{
        arguments::Format,
        error::{CliError, ErrorKind, ExitCode},
        write_line, write_note,
    },
    deploy::{self, Fleet, Host, Look, lock_words},
    docker::{Listed, LogOptions, State},
    release::{HistoryLine, HostName, LEASE_LIFE, Outcome, Spec, TRANSACTION_LABEL},
};

/// How many lines of logs are shown unless asked for otherwise.
const LINES: usize = 100;
/// How many lines of the audit log are shown.
const AUDIT: usize = 50;

/// Which containers are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject<'a> {
    /// The application's.
    App,
    /// One accessory's, or all of them.
    Accessory(Option<&'a str>),
    /// The proxy's.
    Proxy,
}

impl Subject<'_> {
    fn word(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Accessory(_) => "accessory",
            Self::Proxy => "proxy",
        }
    }
}

/// A site, looked at by a verb that changes nothing.
struct View {
    site: Site,
    spec: Spec,
    fleet: Fleet,
    hosts: Vec<HostName>,
}

async fn view(place: &WhereArguments, called: Called) -> Result<Result<View, ExitCode>, CliError> {
    let site = match Site::open(&place.site, false, called).await? {
        Ok(site) => site,
        Err(code) => return Ok(Err(code)),
    };
    let spec = site.spec_of("unknown", None, None)?;
    let hosts = hosts_of(place, &spec)?;
    let fleet = connect(&site, &hosts).await?;
    Ok(Ok(View {
        site,
        spec,
        fleet,
        hosts,
    }))
}

impl View {
    fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter_map(|host| self.fleet.host(host))
    }

    /// The containers that a verb means on one host.
    async fn containers(
        &self,
        host: &Host,
        subject: Subject<'_>,
        roles: &[String],
    ) -> Result<Vec<Listed>, CliError> {
        let listed = host.engine.containers(&[]).await.map_err(|error| {
            let message = format!("the containers of `{}` are not known", host.name);
            CliError::new(ErrorKind::Environment, message).because(error)
        })?;
        let wanted = |listed: &Listed| match subject {
            Subject::App => self.is_app(listed, roles),
            Subject::Accessory(name) => {
                let config = &self.site.project.config;
                let mut accessories = config.accessories.iter();
                accessories.any(|accessory| {
                    accessory.service == listed.name
                        && name.is_none_or(|name| name == accessory.name)
                })
            }
            Subject::Proxy => {
                let wish = self.spec.proxy.as_ref();
                wish.is_some_and(|wish| wish.container.as_str() == listed.name)
            }
        };
        Ok(listed.into_iter().filter(wanted).collect())
    }

    fn is_app(&self, listed: &Listed, roles: &[String]) -> bool {
        let label = |name: &str| listed.labels.get(name).map_or("", String::as_str);
        let destination = self.spec.destination.as_deref().unwrap_or_default();
        label("service") == self.spec.service.as_str()
            && label("destination") == destination
            && (roles.is_empty() || roles.iter().any(|role| role == label("role")))
    }
}

/// Shows containers, one line each.
pub(super) async fn details(
    place: &WhereArguments,
    subjects: &[Subject<'_>],
) -> Result<ExitCode, CliError> {
    let called = match subjects {
        [only] => Called::sub(only.word(), "details"),
        _ => Called::verb("details"),
    };
    let view = match view(place, called).await? {
        Ok(view) => view,
        Err(code) => return Ok(code),
    };
    for host in view.hosts() {
        write_line(host.name.as_str());
        for subject in subjects {
            for listed in view.containers(host, *subject, &place.roles).await? {
                let transaction = listed.labels.get(TRANSACTION_LABEL);
                let made = transaction.map_or(String::new(), |id| format!("  (runner {id})"));
                write_line(&format!(
                    "  {:<36} {:<28} {}{made}",
                    listed.name, listed.status, listed.image
                ));
            }
        }
    }
    Ok(ExitCode::Success)
}

/// Prints what containers say; with `--follow` until Ctrl-C.
pub(super) async fn logs(
    arguments: &LogsArguments,
    subject: Subject<'_>,
) -> Result<ExitCode, CliError> {
    let view = match view(&arguments.place, Called::sub(subject.word(), "logs")).await? {
        Ok(view) => view,
        Err(code) => return Ok(code),
    };
    let mut sources = Vec::new();
    for host in view.hosts() {
        let found = view
            .containers(host, subject, &arguments.place.roles)
            .await?;
        let running = |listed: &Listed| listed.state == State::Running;
        let any_runs = found.iter().any(running);
        // One that is down is of interest where nothing runs.
        let chosen = found
            .into_iter()
            .filter(|listed| !any_runs || running(listed));
        sources.extend(chosen.map(|listed| (host, listed)));
    }
    if sources.is_empty() {
        write_note("note: there is no such container");
    }
    let options = LogOptions {
        tail: Some(arguments.lines.unwrap_or(LINES)),
        since: None,
        follow: arguments.follow,
        timestamps: false,
    };
    let several = sources.len() > 1;
    let prints = sources.iter().map(|(host, listed)| {
        let prefix = if several {
            format!("{} {}  ", host.name, listed.name)
        } else {
            String::new()
        };
        print_logs(host, listed, &options, arguments.grep.as_deref(), prefix)
    });
    for result in join_all(prints).await {
        result?;
    }
    Ok(ExitCode::Success)
}

async fn print_logs(
    host: &Host,
    listed: &Listed,
    options: &LogOptions,
    grep: Option<&str>,
    prefix: String,
) -> Result<(), CliError> {
    let mut stream = host.engine.logs(&listed.id, options);
    let mut rest = String::new();
    let print = |line: &str| {
        if grep.is_none_or(|text| line.contains(text)) {
            write_line(&format!("{prefix}{line}"));
        }
    };
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| {
            let message = format!("the logs of `{}` could not be read", listed.name);
            CliError::new(ErrorKind::Environment, message).because(error)
        })?;
        rest.push_str(&String::from_utf8_lossy(&chunk.bytes));
        while let Some((line, more)) = rest.split_once('\n') {
            print(line.trim_end_matches('\r'));
            rest = more.to_owned();
        }
    }
    if !rest.is_empty() {
        print(&rest);
    }
    Ok(())
}

async fn looked(
    arguments: &SiteArguments,
    called: Called,
) -> Result<Result<(Site, Spec, Look), ExitCode>, CliError> {
    let site = match Site::open(arguments, false, called).await? {
        Ok(site) => site,
        Err(code) => return Ok(Err(code)),
    };
    let spec = site.spec_of("unknown", None, None)?;
    let look = deploy::look(&spec, &site.settings).await;
    if let Some((host, error)) = look.away.iter().find(|(host, _)| *host == spec.primary) {
        let message = format!("`{host}` is not reachable");
        return Err(CliError::new(ErrorKind::Environment, message).because(error.chain()));
    }
    Ok(Ok((site, spec, look)))
}

/// Says who holds the lock, or gives it back.
pub(super) async fn lock(arguments: &SiteArguments, gives: bool) -> Result<ExitCode, CliError> {
    let word = if gives { "release" } else { "status" };
    let (_, spec, look) = match looked(arguments, Called::sub("lock", word)).await? {
        Ok(looked) => looked,
        Err(code) => return Ok(code),
    };
    let primary = &spec.primary;
    let state = look.observed.host(primary);
    if gives {
        if let Some(host) = look.fleet.host(primary) {
            host.release_lock(&spec.paths()).await.map_err(|error| {
                let message = format!("the lock on `{primary}` could not be given back");
                CliError::new(ErrorKind::Environment, message).because(error.chain())
            })?;
        }
        write_line("the lock is free");
        let lock = state.and_then(|state| state.lock.as_ref());
        if let Some(lock) = lock.filter(|lock| lock.lease.is_some() && lock.age < LEASE_LIFE) {
            write_note(&format!(
                "warning: it was held, and renewed {} ago ({}): if that deploy runs, it stops where it is and leaves it to the next command",
                seconds(lock.age.to_duration()),
                lock_words(lock),
            ));
        }
    } else {
        match state.and_then(|state| state.lock.as_ref()) {
            None => write_line("there is no deploy lock"),
            Some(lock) => {
                let age = lock.lease.as_ref().map_or(String::new(), |_| {
                    format!(", renewed {} ago", seconds(lock.age.to_duration()))
                });
                write_line(&format!("{}{age}", lock_words(lock)));
            }
        }
    }
    if let Some(journal) = look.observed.open_transaction(primary) {
        write_note(&format!(
            "note: transaction {} (release `{}`) is open at phase {}; the next deploy ends it, or `runner deploy --undo`",
            journal.id, journal.spec.version, journal.phase
        ));
    }
    Ok(ExitCode::Success)
}

/// Prints the last lines of Kamal's audit log of every host.
pub(super) async fn audit(place: &WhereArguments) -> Result<ExitCode, CliError> {
    let view = match view(place, Called::verb("audit")).await? {
        Ok(view) => view,
        Err(code) => return Ok(code),
    };
    let paths = view.spec.paths();
    for host in view.hosts() {
        write_line(host.name.as_str());
        let lines = host.audit(&paths, AUDIT).await.map_err(|error| {
            let message = format!("the audit log of `{}` could not be read", host.name);
            CliError::new(ErrorKind::Environment, message).because(error.chain())
        })?;
        for line in lines {
            write_line(&format!("  {line}"));
        }
    }
    Ok(ExitCode::Success)
}

/// Prints the history, newest line first.
pub(super) async fn history(arguments: &HistoryArguments) -> Result<ExitCode, CliError> {
    let (_, spec, look) = match looked(&arguments.site, Called::verb("history")).await? {
        Ok(looked) => looked,
        Err(code) => return Ok(code),
    };
    let lines = look.history(&spec.primary);
    for line in lines.iter().rev() {
        match arguments.format {
            Format::Json => write_line(&serde_json::to_string(line).unwrap_or_default()),
            Format::Text => write_line(&history_words(line)),
        }
    }
    if lines.is_empty() && arguments.format == Format::Text {
        write_line("no release was deployed yet");
    }
    Ok(ExitCode::Success)
}

fn history_words(line: &HistoryLine) -> String {
    let outcome = match line.outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Undone => "undone",
        Outcome::Found => "found",
    };
    let kind = match line.kind {
        Some(crate::release::Kind::Deploy) => "deploy",
        Some(crate::release::Kind::Rollback) => "rollback",
        None => "-",
    };
    let total: u64 = line.phases.values().map(|span| span.0).sum();
    let took = seconds(Duration::from_millis(total));
    let reason = line.reason.as_ref().map_or(String::new(), |reason| {
        format!("  {}", reason.lines().next().unwrap_or_default())
    });
    format!(
        "{}  {kind:<8} {:<24} {outcome:<9} {took:>8}  {}{reason}",
        line.at,
        line.release.as_str(),
        line.who
    )
}
