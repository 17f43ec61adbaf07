//! Deaths on demand: the process ends or interrupts itself before or after a chosen operation.
//!
//! For tests of debug builds alone; a release build has no way to it. While it is armed, each
//! operation is carried out by itself, so that every moment between two of them can be hit.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use nix::sys::signal::{Signal, raise};

use super::progress::{Event, Progress};
use crate::release::{Op, Phase};

/// What is done at the points before and after operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// They are counted and told.
    Count,
    /// At the point of this number, from 1, the process is killed.
    Kill(usize),
    /// Before the first operation that leads to this phase, the process gets the signal of Ctrl-C.
    Interrupt(Phase),
}

static ARMED: OnceLock<Fault> = OnceLock::new();
static PASSED: AtomicUsize = AtomicUsize::new(0);
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Arms by the text of a variable: `count`, `kill:N` or `interrupt:PHASE`.
///
/// # Errors
/// The text is neither, or this is no debug build.
pub fn arm(text: &str) -> Result<(), String> {
    if !cfg!(debug_assertions) {
        return Err("only a debug build can be killed on demand".to_owned());
    }
    let fault = match text.split_once(':') {
        None if text == "count" => Some(Fault::Count),
        Some(("kill", number)) => number.parse().ok().map(Fault::Kill),
        Some(("interrupt", word)) => Phase::ALL
            .into_iter()
            .find(|phase| phase.word() == word)
            .map(Fault::Interrupt),
        _ => None,
    };
    let fault =
        fault.ok_or_else(|| format!("`{text}` is not `count`, `kill:N` or `interrupt:PHASE`"))?;
    ARMED.set(fault).map_err(|_| "it is armed".to_owned())
}

/// Whether each operation is to be carried out by itself.
pub(super) fn is_armed() -> bool {
    cfg!(debug_assertions) && ARMED.get().is_some()
}

/// A point `when` (before, after) an operation that leads to `phase`, or back if it is `None`.
pub(super) fn point(progress: &dyn Progress, when: &str, op: &Op, phase: Option<Phase>) {
    let Some(fault) = ARMED.get().filter(|_| is_armed()) else {
        return;
    };
    let number = PASSED.fetch_add(1, Ordering::SeqCst) + 1;
    let host = &op.host;
    let text = format!("point {number}: {when} `{}` on `{host}`", op.verb);
    match fault {
        Fault::Count => progress.tell(Event::Notice(text)),
        Fault::Kill(wanted) if *wanted == number => {
            progress.tell(Event::Notice(format!("killed at {text}")));
            kill();
        }
        Fault::Interrupt(wanted) if phase == Some(*wanted) => {
            if !INTERRUPTED.swap(true, Ordering::SeqCst) {
                progress.tell(Event::Notice(format!("interrupted at {text}")));
                let _sent = raise(Signal::SIGINT);
            }
        }
        Fault::Kill(_) | Fault::Interrupt(_) => {}
    }
}

/// Ends the process as `kill -9` does; nothing of it runs on.
fn kill() {
    let _sent = raise(Signal::SIGKILL);
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_fault_is_refused_by_name() {
        for text in ["", "kill", "kill:", "kill:x", "die:1", "interrupt:never"] {
            assert!(arm(text).unwrap_err().contains(text), "{text}");
        }
        assert!(!is_armed());
    }
}
