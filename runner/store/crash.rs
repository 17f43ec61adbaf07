//! Deaths on demand, before and after everything that is written for good.
//!
//! For tests of debug builds alone; a release build has no way to it. Every transaction that writes
//! passes here in its commit, so a new write cannot be left out.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::signal::{Signal, raise};

/// Which process is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The server.
    Server,
    /// The process of a job.
    Job,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Job => "job",
        }
    }
}

/// The point, from 1, at which this process dies; 0 only counts.
static ARMED: OnceLock<u64> = OnceLock::new();
static PASSED: AtomicU64 = AtomicU64::new(0);

/// Arms by the text of a variable, `server:N` or `job:N`; one that is for the other role is passed
/// over, and anything in a release build.
pub fn arm(text: &str, role: Role) {
    let number = text
        .strip_prefix(role.word())
        .and_then(|rest| rest.strip_prefix(':')?.parse().ok());
    if cfg!(debug_assertions)
        && let Some(number) = number
        && ARMED.set(number).is_err()
    {
        tracing::warn!("it is armed already");
    }
}

/// A point before or after something that is written for good.
pub fn crash_point(what: &str) {
    let Some(wanted) = ARMED.get().filter(|_| cfg!(debug_assertions)) else {
        return;
    };
    let number = PASSED.fetch_add(1, Ordering::SeqCst) + 1;
    tracing::warn!("point {number}: {what}");
    if *wanted == number {
        let _sent = raise(Signal::SIGKILL);
        loop {
            std::thread::park();
        }
    }
}
