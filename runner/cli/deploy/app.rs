//! `app exec|boot|stop|start|maintenance|live`: the application's containers, by hand.

use std::io::Write as _;

use futures_util::future::join_all;

use super::{
    arguments::{AppBootArguments, ExecArguments, WhereArguments},
    by_hand::{Held, failed, hosts_of},
    hooks::Called,
    release,
    site::Site,
};
use crate::{
    cli::{
        error::{CliError, ErrorKind, ExitCode},
        write_line,
    },
    deploy::{self, Host, Look},
    docker::{Chunk, Env, ExecSpec, StdStream},
    release::{ContainerName, ContainerSpec, Found, HostName, Outcome, Spec, command_words},
    report::screen,
};

/// The site with what was seen on its servers.
struct Seen {
    site: Site,
    spec: Spec,
    look: Look,
    hosts: Vec<HostName>,
}

async fn seen(place: &WhereArguments, called: Called) -> Result<Result<Seen, ExitCode>, CliError> {
    let site = match Site::open(&place.site, true, called).await? {
        Ok(site) => site,
        Err(code) => return Ok(Err(code)),
    };
    let spec = site.spec_of("unknown", None, None)?;
    let hosts = hosts_of(place, &spec)?;
    let look = deploy::look(&spec, &site.settings).await;
    for host in &hosts {
        if let Some((_, error)) = look.away.iter().find(|(away, _)| away == host) {
            let message = format!("`{host}` is not reachable");
            return Err(CliError::new(ErrorKind::Environment, message).because(error.chain()));
        }
    }
    Ok(Ok(Seen {
        site,
        spec,
        look,
        hosts,
    }))
}

impl Seen {
    /// The application's containers of a host that a verb means, the newest first.
    fn containers(&self, host: &HostName, roles: &[String]) -> Vec<&Found> {
        let state = self.look.observed.host(host);
        let found = state.into_iter().flat_map(|state| &state.containers);
        let mut found: Vec<&Found> = found
            .filter(|found| {
                let role = found.role.as_ref().map(|role| role.as_str());
                let is_meant =
                    roles.is_empty() || roles.iter().any(|name| Some(name.as_str()) == role);
                !found.accessory && role.is_some() && is_meant
            })
            .collect();
        found.sort_by_key(|found| std::cmp::Reverse(found.created));
        found
    }

    fn host(&self, name: &HostName) -> Option<&Host> {
        self.look.fleet.host(name)
    }
}

/// Stops the application's containers; they stay down until `app start` or the next deploy.
pub(super) async fn stop(place: &WhereArguments) -> Result<ExitCode, CliError> {
    let seen = match seen(place, Called::sub("app", "stop")).await? {
        Ok(seen) => seen,
        Err(code) => return Ok(code),
    };
    let held = Held::take(&seen.site, &seen.spec, &seen.look.fleet, "app stop").await?;
    let work = seen.hosts.iter().filter_map(|name| {
        let (host, seen) = (seen.host(name)?, &seen);
        Some(async move {
            let running = seen.containers(name, &place.roles);
            for found in running.iter().filter(|found| found.ran) {
                let grace = seen.spec.drain_timeout.to_duration();
                let stopped = host.engine.stop(found.id.as_str(), grace).await;
                stopped.map_err(|error| {
                    failed(name, &format!("`{}` could not be stopped", found.name)).because(error)
                })?;
                write_line(&format!("  {name:<24} stopped {}", found.name));
            }
            Ok(())
        })
    });
    let done: Result<(), CliError> = join_all(work).await.into_iter().collect();
    held.release(&seen.hosts, "Stopped app").await?;
    done.map(|()| ExitCode::Success)
}

/// Starts the containers of the last release again.
pub(super) async fn start(place: &WhereArguments) -> Result<ExitCode, CliError> {
    let seen = match seen(place, Called::sub("app", "start")).await? {
        Ok(seen) => seen,
        Err(code) => return Ok(code),
    };
    let history = seen.look.history(&seen.spec.primary);
    let last = history
        .iter()
        .rev()
        .find(|line| line.outcome != Outcome::Undone);
    let last = last.map(|line| &line.release);
    let held = Held::take(&seen.site, &seen.spec, &seen.look.fleet, "app start").await?;
    let work = seen.hosts.iter().filter_map(|name| {
        let (host, seen) = (seen.host(name)?, &seen);
        Some(async move {
            for found in of_last(&seen.containers(name, &place.roles), last) {
                let started = host.engine.start(found.id.as_str()).await;
                started.map_err(|error| {
                    failed(name, &format!("`{}` could not be started", found.name)).because(error)
                })?;
                let word = if found.ran { "runs" } else { "started" };
                write_line(&format!("  {name:<24} {word} {}", found.name));
            }
            Ok(())
        })
    });
    let done: Result<(), CliError> = join_all(work).await.into_iter().collect();
    held.release(&seen.hosts, "Started app").await?;
    done.map(|()| ExitCode::Success)
}

/// Of each role the newest container of the last release, or its newest one.
fn of_last<'a>(
    found: &[&'a Found],
    last: Option<&crate::release::ReleaseVersion>,
) -> Vec<&'a Found> {
    let mut chosen: Vec<&Found> = Vec::new();
    let mut ordered: Vec<&&Found> = found.iter().collect();
    ordered.sort_by_key(|found| found.release.as_ref() != last);
    for found in ordered {
        if !chosen.iter().any(|other| other.role == found.role) {
            chosen.push(found);
        }
    }
    chosen
}

/// Boots a release again, or the one that runs: a deploy without a migration.
pub(super) async fn boot(arguments: &AppBootArguments) -> Result<ExitCode, CliError> {
    let called = Called::sub("app", "boot");
    let site = match Site::open(&arguments.site, true, called).await? {
        Ok(site) => site,
        Err(code) => return Ok(code),
    };
    Box::pin(release::boot(&site, arguments)).await
}

/// Has the proxy answer 503, or ends that.
pub(super) async fn maintenance(
    place: &WhereArguments,
    begins: bool,
) -> Result<ExitCode, CliError> {
    let word = if begins { "maintenance" } else { "live" };
    let seen = match seen(place, Called::sub("app", word)).await? {
        Ok(seen) => seen,
        Err(code) => return Ok(code),
    };
    let found = seen.hosts.iter().find_map(|name| {
        let state = seen.look.observed.host(name)?;
        Some(state.proxy.as_ref()?.driver.clone())
    });
    let spec = seen.site.spec_of("unknown", None, found)?;
    let (Some(proxy), paths) = (&spec.proxy, spec.paths()) else {
        return Err(CliError::new(
            ErrorKind::Invalid,
            "the configuration has no proxy that could answer for the application",
        ));
    };
    let message = if begins {
        "Set app into maintenance mode"
    } else {
        "Set app live"
    };
    let held = Held::take(&seen.site, &spec, &seen.look.fleet, message).await?;
    let work = seen.hosts.iter().filter_map(|name| {
        let routes: Vec<_> = spec.routes_of(name).cloned().collect();
        let host = seen.host(name).filter(|_| !routes.is_empty())?;
        let paths = &paths;
        Some(async move {
            let done = if begins {
                host.begin_maintenance(paths, proxy, &routes).await
            } else {
                host.end_maintenance(paths, proxy, &routes).await
            };
            done.map_err(|error| {
                failed(name, "the proxy could not be told").because(error.chain())
            })?;
            let says = if begins { "answers 503" } else { "is live" };
            write_line(&format!("  {name:<24} {says}"));
            Ok(())
        })
    });
    let done: Result<(), CliError> = join_all(work).await.into_iter().collect();
    held.release(&seen.hosts, message).await?;
    done.map(|()| ExitCode::Success)
}

/// Runs a command in the application's containers, or in new ones like them.
pub(super) async fn exec(arguments: &ExecArguments) -> Result<ExitCode, CliError> {
    let command = words(&arguments.command)?;
    let env = environment(&arguments.env)?;
    let seen = match seen(&arguments.place, Called::sub("app", "exec")).await? {
        Ok(seen) => seen,
        Err(code) => return Ok(code),
    };
    let running = seen.look.running(&seen.spec);
    let version = arguments.version.as_deref();
    let version = version.or(running.as_ref().map(|running| running.release.as_str()));
    let mut hosts = seen.hosts.clone();
    if arguments.place.primary {
        hosts.truncate(1);
    }
    let (mut count, mut code, mut say) = (0, 0, print);
    for name in &hosts {
        let Some(host) = seen.host(name) else {
            continue;
        };
        let containers = seen.containers(name, &arguments.place.roles);
        if arguments.reuse {
            let running = containers.iter().filter(|found| found.ran);
            for found in of_last(&running.copied().collect::<Vec<_>>(), None) {
                heading(name, found.name.as_str());
                let spec = ExecSpec {
                    env: Env(env.clone()),
                    ..ExecSpec::of_words(command.clone())
                };
                let ran = host.engine.exec(found.id.as_str(), &spec, None, &mut say);
                let ran = ran
                    .await
                    .map_err(|error| failed(name, "the command could not be run").because(error))?;
                code = if code == 0 { ran } else { code };
                count += 1;
            }
            continue;
        }
        let Some(version) = version else {
            return Err(CliError::new(
                ErrorKind::Invalid,
                "no release runs, so there is no container to do as",
            )
            .with_hint("name one with `--version`"));
        };
        let digest = running
            .as_ref()
            .filter(|running| running.release.as_str() == version)
            .and_then(|running| running.digest.clone());
        let spec = seen.site.spec_of(version, digest, None)?;
        for like in roles_of(&spec, name, &arguments.place.roles) {
            let (like, one_off) = like_role(like, &env, version);
            heading(name, one_off.as_str());
            let settings = &seen.site.settings;
            let ran = host.run_once((&like, one_off), command.clone(), settings, &mut say);
            let ran = Box::pin(ran).await.map_err(|error| {
                failed(name, "the command could not be run").because(error.chain())
            })?;
            code = if code == 0 { ran } else { code };
            count += 1;
        }
    }
    ended(count, code)
}

/// The roles on a host that a verb means; without a choice all of them.
fn roles_of<'a>(
    spec: &'a Spec,
    host: &'a HostName,
    roles: &'a [String],
) -> impl Iterator<Item = &'a ContainerSpec> {
    use crate::release::Duty;
    spec.containers_of(host).filter(|container| {
        matches!(container.duty, Duty::Web | Duty::Worker)
            && (roles.is_empty() || roles.iter().any(|role| role == container.role.as_str()))
    })
}

fn like_role(
    like: &ContainerSpec,
    env: &[(String, String)],
    version: &str,
) -> (ContainerSpec, ContainerName) {
    let mut like = like.clone();
    for (name, value) in env {
        like.secrets.shift_remove(name);
        like.env.insert(name.clone(), value.clone());
    }
    let stem = like.name.as_str();
    let stem = stem.strip_suffix(&format!("-{version}")).unwrap_or(stem);
    let name = one_off_name(stem, version);
    (like, name)
}

/// Kamal's name for such a container.
pub(super) fn one_off_name(stem: &str, version: &str) -> ContainerName {
    let (_, random) = uuid::Uuid::now_v7().as_u64_pair();
    ContainerName::new(format!(
        "{stem}-exec-{version}-{:06x}",
        random & 0x00ff_ffff
    ))
}

/// The command: one word is a command line, several are its words.
pub(super) fn words(given: &[String]) -> Result<Vec<String>, CliError> {
    match given {
        [line] => command_words(line).map_err(|error| {
            CliError::new(ErrorKind::Usage, format!("`{line}` is no command")).because(error)
        }),
        words => Ok(words.to_vec()),
    }
}

fn environment(given: &[String]) -> Result<Vec<(String, String)>, CliError> {
    let pairs = given.iter().map(|pair| {
        let pair = pair.split_once([':', '=']).ok_or_else(|| {
            CliError::new(ErrorKind::Usage, format!("`--env {pair}` has no `:`"))
                .with_hint("write --env NAME:VALUE")
        })?;
        Ok((pair.0.to_owned(), pair.1.to_owned()))
    });
    pairs.collect()
}

pub(super) fn heading(host: &HostName, container: &str) {
    crate::cli::write_note(&format!("{host} {container}"));
}

/// Prints what a command says, as it comes.
#[expect(
    clippy::needless_pass_by_value,
    reason = "whoever runs a command gives its output away"
)]
pub(super) fn print(chunk: Chunk) {
    screen().above(|| {
        let written = match chunk.stream {
            StdStream::Stdout => std::io::stdout().write_all(&chunk.bytes),
            StdStream::Stderr => std::io::stderr().write_all(&chunk.bytes),
        };
        // A reader that went away ends nothing.
        drop(written);
    });
}

/// How a verb ends that ran commands: the first code that is not 0 makes it fail.
pub(super) fn ended(count: usize, code: i64) -> Result<ExitCode, CliError> {
    if count == 0 {
        return Err(CliError::new(
            ErrorKind::Environment,
            "there is no container to run the command in",
        ));
    }
    if code != 0 {
        crate::cli::write_note(&format!("the command ended with code {code}"));
        return Ok(ExitCode::RunFailed);
    }
    Ok(ExitCode::Success)
}
