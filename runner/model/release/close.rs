//! The end of a transaction in both directions: history, audit, journal, and last the lock.

use super::{
    history::{HistoryLine, Outcome},
    ids::HostName,
    journal::{Journal, Kind},
    observed::Observed,
    op::{Op, Stage, Verb},
};

/// Plans the end of a transaction that is finished, or undone and verified.
///
/// The caller makes `line` with [`Journal::history_line`]; hosts that are away or were struck are
/// left out. The lock is given back last, in the opposite order of its taking.
pub fn close(journal: &Journal, observed: &Observed, line: &HistoryLine) -> Vec<Stage> {
    let mut hosts = journal.hosts();
    hosts.retain(|host| observed.host(host).is_some());
    let mut records = Vec::new();
    for host in &hosts {
        records.push(Op::best_effort(
            host,
            Verb::Audit {
                line: audit_line(journal, line),
            },
        ));
        let line = Box::new(line.clone());
        records.push(Op::best_effort(host, Verb::AppendHistory { line }));
    }
    let has_journal = |host: &&HostName| {
        let state = observed.host(host).and_then(|state| state.journal.as_ref());
        state.is_some_and(|found| found.id == journal.id)
    };
    let remove = |host: &HostName| {
        Op::new(
            host,
            Verb::RemoveJournal {
                transaction: journal.id.clone(),
            },
        )
    };
    let (primary, copies): (Vec<_>, Vec<_>) = hosts
        .iter()
        .filter(has_journal)
        .partition(|host| **host == journal.spec.primary);
    let mut stages = vec![records];
    stages.push(copies.into_iter().map(remove).collect());
    stages.push(primary.into_iter().map(remove).collect());
    for host in journal.locks.iter().rev() {
        let lock = observed.host(host).and_then(|state| state.lock.as_ref());
        let ours = lock.and_then(|lock| lock.transaction()) == Some(&journal.id);
        if ours && !journal.abandoned.contains(host) {
            stages.push(vec![Op::new(
                host,
                Verb::Unlock {
                    transaction: journal.id.clone(),
                },
            )]);
        }
    }
    let stage = |ops: Vec<Op>| {
        (!ops.is_empty()).then_some(Stage {
            phase: journal.phase,
            ops,
        })
    };
    stages.into_iter().filter_map(stage).collect()
}

/// The line of Kamal's audit log: `[time] [performer] [destination] message`.
pub fn audit_line(journal: &Journal, line: &HistoryLine) -> String {
    let destination = match &journal.spec.destination {
        Some(destination) => format!(" [{destination}]"),
        None => String::new(),
    };
    let done = match (line.outcome, journal.kind) {
        (Outcome::Undone, Kind::Deploy) => "Undid the deploy of",
        (Outcome::Undone, Kind::Rollback) => "Undid the rollback to",
        (_, Kind::Deploy) => "Deployed",
        (_, Kind::Rollback) => "Rolled back to",
    };
    let who = line.who.replace(['\n', '\r'], " ");
    format!(
        "[{}] [{who}]{destination} {done} version {} (runner {})",
        line.at, line.release, journal.id
    )
}
