//! What became of the deploys of a run whose process was lost: read from the hosts, and ended there
//! where they were left open.
//!
//! Source of the rule: `docs/decisions/0016-a-lost-deploy-is-ended.md`.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    error::{OpError, OpenError, chain},
    opening::{Begin, Look, look},
    progress::{Event, Progress},
    settings::Settings,
    takeover::end_seen,
};
use crate::release::{HistoryLine, Journal, Kind, Outcome, ReleaseVersion, Spec};

/// How long to wait before hosts that were away or locked are looked at again.
const AGAIN: Duration = Duration::from_secs(2);

/// What became of the deploys of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Nothing of the run is on the hosts: it changed nothing there.
    NeverOpened,
    /// Its release serves.
    Stands {
        /// What it was.
        kind: Kind,
        /// The release.
        version: ReleaseVersion,
        /// What of its end could not be done; the next changing command tries again.
        unfinished: Option<String>,
    },
    /// Everything was put back.
    Undone {
        /// The release that does not serve.
        version: ReleaseVersion,
        /// Why it was undone, as the history has it.
        reason: Option<String>,
    },
    /// It is still open: it could not be put back.
    Open {
        /// The release.
        version: ReleaseVersion,
        /// Why not.
        reason: String,
    },
}

/// Reads from the hosts of `spec`, of any release, what became of what `run` opened there; ends it
/// where it is open, as the next changing command would: a committed one is finished, another one is
/// put back.
///
/// Hosts that do not answer, and locks that somebody holds, are waited for as long as `patience`.
///
/// # Errors
/// The hosts could not be asked in that time, or `cancel` was cancelled: nothing is known then.
pub async fn settle_lost(
    run: &str,
    spec: &Spec,
    settings: &Arc<Settings>,
    progress: &Arc<dyn Progress>,
    patience: Duration,
    cancel: &CancellationToken,
) -> Result<Fate, OpenError> {
    let end = Instant::now() + patience;
    let mut said = String::new();
    loop {
        let asked = Box::pin(ask(run, spec, settings, progress, cancel)).await;
        let error = match asked {
            // Somebody else was quicker to end it; the history has its end now.
            Err(error @ OpenError::NothingOpen) => error,
            Err(error @ (OpenError::Unreachable { .. } | OpenError::Locked { .. })) => error,
            done => return done,
        };
        if Instant::now() + AGAIN >= end {
            return Err(error);
        }
        let words = settings.masker.mask(&chain(&error)).as_str().to_owned();
        if words != said {
            progress.tell(Event::Notice(format!("{words}; it is tried again")));
            said = words;
        }
        tokio::select! {
            () = cancel.cancelled() => return Err(OpenError::Cancelled),
            () = sleep(AGAIN) => {}
        }
    }
}

async fn ask(
    run: &str,
    spec: &Spec,
    settings: &Arc<Settings>,
    progress: &Arc<dyn Progress>,
    cancel: &CancellationToken,
) -> Result<Fate, OpenError> {
    let seen = look(spec, settings).await;
    let open = seen.observed.open_transaction(&spec.primary);
    let open = open.filter(|journal| is_of(journal.run.as_deref(), run));
    if let Some(journal) = open.cloned() {
        // A host that is away may come back: an undo without it would be an incomplete one.
        refuse_away(&seen, |host| journal.hosts().contains(host))?;
        return end(journal, spec, settings, progress, seen, cancel).await;
    }
    let mut lines = seen
        .observed
        .hosts
        .values()
        .flat_map(|state| &state.history);
    if let Some(line) = lines.rfind(|line| is_of(line.run.as_deref(), run)) {
        return Ok(ended(line));
    }
    // The run may be known to those alone that are away.
    refuse_away(&seen, |_| true)?;
    let is_locked_by_us = seen.observed.hosts.values().any(|state| {
        let lease = state.lock.as_ref().and_then(|lock| lock.lease.as_ref());
        lease.is_some_and(|lease| is_of(lease.run.as_deref(), run))
    });
    if is_locked_by_us {
        // It had the lock and no more: the lock is given back.
        let freed = end_seen(
            spec.clone(),
            Begin::new(Kind::Deploy),
            settings.clone(),
            progress.clone(),
            seen,
            cancel,
        );
        match Box::pin(freed).await {
            Err(OpenError::NothingOpen) => {}
            // Under the lock there was something, after all: the next look tells.
            Ok(_) => return Err(OpenError::NothingOpen),
            Err(error) => return Err(error),
        }
    }
    Ok(Fate::NeverOpened)
}

/// Ends what the run left open.
async fn end(
    journal: Journal,
    spec: &Spec,
    settings: &Arc<Settings>,
    progress: &Arc<dyn Progress>,
    seen: Look,
    cancel: &CancellationToken,
) -> Result<Fate, OpenError> {
    let ended = end_seen(
        spec.clone(),
        Begin::new(journal.kind),
        settings.clone(),
        progress.clone(),
        seen,
        cancel,
    );
    let version = journal.spec.version.clone();
    match Box::pin(ended).await {
        Ok(ended) if ended.is_finished => Ok(Fate::Stands {
            kind: ended.kind,
            version: ended.version,
            unfinished: None,
        }),
        Ok(ended) => Ok(Fate::Undone {
            version: ended.version,
            reason: None,
        }),
        Err(OpenError::LeftOpen { reason, .. }) => {
            let seen = look(spec, settings).await;
            let open = seen.observed.open_transaction(&spec.primary);
            Ok(if open.is_some_and(Journal::is_committed) {
                Fate::Stands {
                    kind: journal.kind,
                    version,
                    unfinished: Some(reason),
                }
            } else {
                Fate::Open { version, reason }
            })
        }
        Err(error) => Err(error),
    }
}

fn is_of(found: Option<&str>, run: &str) -> bool {
    found == Some(run)
}

fn ended(line: &HistoryLine) -> Fate {
    let version = line.release.clone();
    match line.outcome {
        Outcome::Undone => Fate::Undone {
            version,
            reason: line.reason.clone(),
        },
        Outcome::Succeeded | Outcome::Found => Fate::Stands {
            kind: line.kind.unwrap_or(Kind::Deploy),
            version,
            unfinished: None,
        },
    }
}

fn refuse_away(
    look: &Look,
    matters: impl Fn(&crate::release::HostName) -> bool,
) -> Result<(), OpenError> {
    let away = look.away.iter().find(|(host, _)| matters(host));
    match away {
        None => Ok(()),
        Some((host, error)) => Err(OpenError::Unreachable {
            host: host.clone(),
            source: Box::new(OpError::NotReady(error.chain())),
        }),
    }
}
