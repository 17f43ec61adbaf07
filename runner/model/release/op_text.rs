//! Operations as `--plan` prints them: one line each, no secret, no record in full.

use std::fmt::{self, Display};

use super::{
    ids::Digest,
    image::ImageRef,
    op::{AppPlan, Check, Op, Target, Verb},
    time::Millis,
};

impl Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.host, self.verb)
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.name)
    }
}

impl Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TakeLock {
                over: Some(over), ..
            } => {
                write!(f, "take over the lock of transaction {over}")
            }
            Self::TakeLock { .. } => f.write_str("take the lock"),
            Self::WriteFence { fence } => write!(f, "raise the fence to {fence}"),
            Self::Record { phase } => write!(f, "record phase {phase}"),
            Self::Commit { .. } => f.write_str("commit"),
            Self::KeepWayBack { route, .. } => write!(f, "keep a copy of route `{route}`"),
            Self::Reserve { bytes, .. } => write!(f, "set {bytes} bytes aside"),
            Self::CreateNetwork { name } => write!(f, "create network `{name}`"),
            Self::CheckProxy { proxy } => write!(f, "check proxy `{}`", proxy.container),
            Self::CheckAccessory { accessory } => write!(f, "check accessory `{}`", accessory.name),
            Self::Pull { image } => write!(f, "pull {}", short(image)),
            Self::BackUp { database } => write!(f, "back up database `{}`", database.database),
            Self::WriteEnvFile { path, secrets } => {
                write!(f, "write env file `{path}` ({} secrets)", secrets.len())
            }
            Self::WriteCertificate { paths, .. } => {
                write!(f, "write certificate `{}`", paths.certificate)
            }
            Self::AppendHistory { line } => {
                write!(f, "append release {} to the history", line.release)
            }
            Self::Audit { line } => write!(f, "append to the audit log: {line}"),
            Self::RemoveJournal { .. } => f.write_str("remove the journal"),
            Self::Unlock { .. } => f.write_str("unlock"),
            other => fmt_change(other, f),
        }
    }
}

/// Writes what concerns containers.
fn fmt_change(verb: &Verb, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match verb {
        Verb::Create { container } => {
            write!(
                f,
                "create container `{}` from {}",
                container.created_as(),
                short(&container.image)
            )
        }
        Verb::Start { container } => write!(f, "start {container}"),
        Verb::StartOnce { container } => write!(f, "start {container} once"),
        Verb::AwaitExit { container, limit } => {
            write!(f, "wait for the end of {container} (at most {limit})")
        }
        Verb::Gate {
            container,
            check:
                Check::Http {
                    port,
                    path,
                    settings,
                },
        } => {
            write!(
                f,
                "gate {container} on port {port}, `{path}` (at most {})",
                settings.limit
            )
        }
        Verb::Gate {
            container,
            check: Check::Docker { settings },
        } => {
            write!(
                f,
                "gate {container} by its state (at most {})",
                settings.limit
            )
        }
        Verb::AwaitAnswer { container, answer } => {
            write!(f, "wait for an answer of {container} to `{}`", answer.path)
        }
        Verb::Watch { span, containers } => write!(f, "watch {} for {span}", list(containers)),
        Verb::Stop {
            container,
            wait: Millis(0),
            timeout,
        } => {
            write!(f, "stop {container} (at most {timeout})")
        }
        Verb::Stop {
            container,
            wait,
            timeout,
        } => {
            write!(f, "wait {wait}, then stop {container} (at most {timeout})")
        }
        Verb::Remove { container } => write!(f, "remove {container}"),
        Verb::Rename { container, to } => write!(f, "rename {container} to `{to}`"),
        other => fmt_rest(other, f),
    }
}

/// Writes what concerns routes, files and images.
fn fmt_rest(verb: &Verb, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match verb {
        Verb::WriteRoute { route, .. } => {
            f.write_str("route ")?;
            for (index, app) in route.apps.iter().enumerate() {
                f.write_str(if index == 0 { "" } else { ", " })?;
                fmt_app(app, f)?;
            }
            Ok(())
        }
        Verb::AwaitRoute { shows, gone } if shows.is_empty() => {
            write!(
                f,
                "wait until the proxy no longer shows {}",
                gone.join(", ")
            )
        }
        Verb::AwaitRoute { shows, .. } => {
            write!(f, "wait until the proxy shows {}", shows.join(", "))
        }
        Verb::Probe { routes, .. } => {
            let apps: Vec<_> = routes.iter().map(|route| route.app.as_str()).collect();
            write!(f, "prove the route of {} by a request", apps.join(", "))
        }
        Verb::RestoreRoute { route, .. } => write!(f, "put route `{route}` back"),
        Verb::RemoveRoute { route, .. } => write!(f, "remove route `{route}`"),
        Verb::EndSessions { application, .. } => {
            write!(f, "end database sessions of `{application}`")
        }
        Verb::Tag { image, tags } => write!(f, "tag {} as {}", short(image), tags.join(", ")),
        Verb::MoveFile { from, to } => write!(f, "move `{from}` to `{to}`"),
        Verb::RemoveFile { path } => write!(f, "remove `{path}`"),
        Verb::PruneImages { repository, .. } => write!(f, "prune images of `{repository}`"),
        _ => Ok(()),
    }
}

fn fmt_app(plan: &AppPlan, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "`{}` to", plan.spec.app)?;
    for backend in &plan.backends {
        write!(
            f,
            " {} (weight {})",
            list(&backend.containers),
            backend.weight
        )?;
    }
    Ok(())
}

fn list(targets: &[Target]) -> String {
    targets
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

fn short(image: &ImageRef) -> String {
    let digest = image.digest.as_ref().map(Digest::short).unwrap_or_default();
    match (&image.tag, digest) {
        (Some(tag), "") => format!("`{}:{tag}`", image.repository),
        (Some(tag), digest) => format!("`{}:{tag}` ({digest})", image.repository),
        (None, digest) => format!("`{}` ({digest})", image.repository),
    }
}
