//! Finds and ends all processes that came from one, also those that ran away.
//!
//! The runner is made the subreaper of its descendants: whatever a step leaves behind is adopted
//! by the runner and not by the machine's first process, so it can be found whatever group,
//! session or environment it gave itself.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

/// How often the tree is walked before giving up on processes that cannot be killed.
const ROUNDS: usize = 100;

/// How long to wait between two walks: the time a kill takes to be done.
const PAUSE: Duration = Duration::from_millis(5);

/// A line of the table of processes.
#[derive(Debug, Clone, Copy)]
struct Process {
    parent: i32,
    group: i32,
    session: i32,
    /// When it started, in the kernel's ticks: with the number it names a process for good.
    start: u64,
    is_zombie: bool,
}

/// The children that the runtime waits for itself: their exit status can be taken once.
static CHILDREN: Mutex<Option<HashSet<i32>>> = Mutex::new(None);

fn children() -> MutexGuard<'static, Option<HashSet<i32>>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a child and keeps in mind that the runtime waits for it.
///
/// Under the lock, so that no walk can take a child for an orphan before it is on the list.
pub(super) fn start_child(command: &mut Command) -> io::Result<Child> {
    let mut children = children();
    let child = command.spawn()?;
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()) {
        children.get_or_insert_default().insert(pid);
    }
    Ok(child)
}

/// Forgets a child that was waited for.
pub(super) fn forget_child(pid: Pid) {
    if let Some(children) = children().as_mut() {
        children.remove(&pid.as_raw());
    }
}

/// The processes that came from a child, by number and start.
#[derive(Debug, Default)]
pub(super) struct Family(HashSet<(i32, u64)>);

impl Family {
    /// Returns those that come from `root` at this moment.
    pub(super) fn of(root: Pid) -> Self {
        let mut family = Self::default();
        family.grow(root);
        family
    }

    /// Adds those that come from `root` at this moment.
    pub(super) fn grow(&mut self, root: Pid) {
        let table = processes();
        for pid in descendants(&table, &HashSet::from([root.as_raw()])) {
            if let Some(process) = table.get(&pid) {
                self.0.insert((pid, process.start));
            }
        }
    }
}

/// Makes the runner adopt the orphans of what it starts; called once, before anything is started.
pub fn adopt_orphans() {
    // A kernel without subreapers leaves orphans to the machine: worse, but nothing to stop for.
    if let Err(error) = prctl::set_child_subreaper(true) {
        tracing::warn!(%error, "orphans of steps cannot be adopted");
    }
}

/// Ends `root`, its process group, all of its family and all that come from those.
pub(super) async fn kill_family(root: Pid, family: &Family) {
    if root.as_raw() <= 0 {
        return;
    }
    kill_rounds(|table| {
        let known = |pid: &i32, process: &Process| {
            process.group == root.as_raw() || family.0.contains(&(*pid, process.start))
        };
        let roots = table.iter().filter(|(pid, process)| known(pid, process));
        descendants(table, &roots.map(|(pid, _)| *pid).collect())
    })
    .await;
}

/// Ends all processes whose environment holds `NAME=value`, with their descendants.
///
/// Looks only at what came from the runner: nothing of a job can be anywhere else.
pub async fn kill_tagged(name: &str, value: &str) {
    if has_no_children() {
        return;
    }
    let entry = format!("{name}={value}");
    kill_rounds(|table| {
        let own = HashSet::from([Pid::this().as_raw()]);
        let tagged = descendants(table, &own).into_iter();
        let tagged = tagged.filter(|pid| is_tagged(*pid, entry.as_bytes()));
        descendants(table, &tagged.collect())
    })
    .await;
}

/// Ends all processes of a session whose leader is gone, with their descendants.
///
/// For what the process of a job left behind that was killed. A number that names a living leader by
/// now ends nothing: it is somebody else's.
pub async fn kill_session(leader: u32) {
    let Ok(leader) = i32::try_from(leader) else {
        return;
    };
    kill_rounds(|table| {
        if leader <= 1 || table.get(&leader).is_some_and(|process| !process.is_zombie) {
            return HashSet::new();
        }
        let members = table
            .iter()
            .filter(|(_, process)| process.session == leader);
        descendants(table, &members.map(|(pid, _)| *pid).collect())
    })
    .await;
}

/// Ends everything that the runner adopted and everything that it started and did not wait for.
///
/// For the end of a run, when no job is left that could own any of it.
pub async fn kill_adopted() {
    if has_no_children() {
        return;
    }
    let own = Pid::this().as_raw();
    kill_rounds(|table| {
        let mut found = descendants(table, &HashSet::from([own]));
        found.remove(&own);
        found
    })
    .await;
}

/// Tells whether nothing at all came from the runner that is still there: orphans are its children, too.
///
/// One call, where a walk over all processes takes milliseconds.
pub(super) fn has_no_children() -> bool {
    let any = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    matches!(waitid(Id::All, any), Err(Errno::ECHILD))
}

async fn kill_rounds(find: impl Fn(&HashMap<i32, Process>) -> HashSet<i32>) {
    for _ in 0..ROUNDS {
        let table = processes();
        let alive: Vec<i32> = find(&table)
            .into_iter()
            .filter(|pid| table.get(pid).is_some_and(|process| !process.is_zombie))
            .collect();
        reap(&table);
        if alive.is_empty() {
            return;
        }
        for pid in alive {
            // One that is gone since the walk needs no signal.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        tokio::time::sleep(PAUSE).await;
    }
    tracing::warn!("some processes of a step could not be ended");
}

/// Takes the exit status of adopted orphans, so that they do not stay as zombies.
fn reap(table: &HashMap<i32, Process>) {
    let own = Pid::this().as_raw();
    let children = children();
    let is_child = |pid: &i32| {
        children
            .as_ref()
            .is_some_and(|children| children.contains(pid))
    };
    for (pid, process) in table {
        if process.is_zombie && process.parent == own && !is_child(pid) {
            let status = waitpid(Pid::from_raw(*pid), Some(WaitPidFlag::WNOHANG));
            tracing::debug!(
                pid,
                reaped = matches!(status, Ok(WaitStatus::Exited(..))),
                "orphan"
            );
        }
    }
}

/// Returns `roots` and all that come from them.
fn descendants(table: &HashMap<i32, Process>, roots: &HashSet<i32>) -> HashSet<i32> {
    let mut found = roots.clone();
    loop {
        let before = found.len();
        for (pid, process) in table {
            if found.contains(&process.parent) {
                found.insert(*pid);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

fn processes() -> HashMap<i32, Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return HashMap::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| Some((pid, read_process(pid)?)))
        .collect()
}

/// Reads `/proc/PID/stat`: the name in parentheses can hold anything, so what follows the last one.
fn read_process(pid: i32) -> Option<Process> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let is_zombie = fields.next()? == "Z";
    let parent = fields.next()?.parse().ok()?;
    let group = fields.next()?.parse().ok()?;
    let session = fields.next()?.parse().ok()?;
    // The start is field 22 of the line; four after the state are taken.
    let start = fields.nth(15)?.parse().ok()?;
    Some(Process {
        parent,
        group,
        session,
        start,
        is_zombie,
    })
}

fn is_tagged(pid: i32, entry: &[u8]) -> bool {
    std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|env| {
        env.split(|byte| *byte == 0)
            .any(|variable| variable == entry)
    })
}
