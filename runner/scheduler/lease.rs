//! For how long a machine has a job that other machines could take: told to the job's process, which
//! ends itself when that is over.
//!
//! # How it works
//! The server renews the lease in the database and writes into the spool until when it lasts, by the
//! clock of this machine that neither sleeps nor is set. The time counts from before the database was
//! asked, so it is over here before it is over there. The process looks at that file: nobody else
//! needs to be alive for it to end in time, neither the server nor the network
//! (`docs/decisions/0010-leases.md`).

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, raise};
use nix::time::{ClockId, clock_gettime};
use tokio_util::sync::CancellationToken;

use super::spool::Spool;
use crate::process;

/// How often the process of a job looks whether its machine still has the job.
const LOOK: Duration = Duration::from_millis(200);

/// The time since this machine was started, with the time that it slept.
pub(super) fn machine_time() -> Duration {
    let clock = clock_gettime(ClockId::CLOCK_BOOTTIME);
    clock.map_or(Duration::ZERO, Duration::from)
}

impl Spool {
    fn lease_file(&self) -> std::path::PathBuf {
        self.folder().join("lease")
    }

    /// Says until when this machine has the job; zero is not any more.
    pub(super) fn hold_until(&self, until: Duration) -> io::Result<()> {
        let next = self.folder().join("lease.new");
        fs::write(&next, until.as_millis().to_string())?;
        fs::rename(next, self.lease_file())
    }

    /// Tells whether this machine still has the job; what cannot be read says no.
    pub(super) fn is_held(&self) -> bool {
        let text = fs::read_to_string(self.lease_file()).unwrap_or_default();
        let until: u128 = text.trim().parse().unwrap_or(0);
        machine_time().as_millis() < until
    }
}

/// Ends the job of this process once its machine does not have it any more: in order, and after
/// `patience` by force. What is returned tells whether that came.
pub(super) fn end_without_lease(
    spool: Spool,
    patience: Duration,
    (cancel, force): (CancellationToken, CancellationToken),
) -> io::Result<Arc<AtomicBool>> {
    let is_over = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_over);
    // A thread of its own: a job that keeps all others busy ends all the same.
    thread::Builder::new()
        .name("lease".to_owned())
        .spawn(move || {
            while spool.is_held() {
                thread::park_timeout(LOOK);
            }
            told.store(true, Ordering::SeqCst);
            tracing::error!("this machine does not have the job any more, so it ends");
            cancel.cancel();
            force.cancel();
            let end = machine_time() + patience;
            while machine_time() < end {
                thread::park_timeout(LOOK);
            }
            kill_all();
        })?;
    Ok(is_over)
}

/// Kills all that this process started, and this process.
fn kill_all() {
    if let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        runtime.block_on(process::kill_adopted());
    }
    let _killed = raise(Signal::SIGKILL);
}
