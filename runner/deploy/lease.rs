//! The right to change hosts: renewed while it is held, trusted for 20 s after each renewal.
//!
//! # How it works
//! One task renews the lease of every locked host each 10 s, by a command that touches the file
//! only while it names this transaction. The moment before the command was sent is what counts, by
//! this process's monotonic clock. Each operation asks [`Lease::check`] first. A lease that is too old is renewed once more, so that an
//! undo can begin; one that names somebody else ends everything.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, interval_at},
};

use super::{error::OpError, host::Host, script};
use crate::release::{LEASE_RENEWAL, LEASE_TRUST, TransactionId, paths::Paths};

/// What the task and the operations share.
#[derive(Debug)]
struct Shared {
    hosts: Vec<Host>,
    paths: Paths,
    transaction: TransactionId,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    renewed: Instant,
    taken: Option<String>,
}

/// A lease that is held; dropping it ends the renewals.
#[derive(Debug)]
pub(super) struct Lease {
    shared: Arc<Shared>,
    task: JoinSet<()>,
}

impl Lease {
    /// Keeps a lease that was taken at `since` on these hosts.
    pub(super) fn keep(
        hosts: Vec<Host>,
        paths: Paths,
        transaction: TransactionId,
        since: Instant,
    ) -> Self {
        let state = Mutex::new(State {
            renewed: since,
            taken: None,
        });
        let shared = Arc::new(Shared {
            hosts,
            paths,
            transaction,
            state,
        });
        let mut task = JoinSet::new();
        let renewing = shared.clone();
        task.spawn(async move {
            let period = LEASE_RENEWAL.to_duration();
            let mut ticks = interval_at(since + period, period);
            loop {
                ticks.tick().await;
                if renewing.renew().await.is_err_and(|error| error.is_taken()) {
                    return;
                }
            }
        });
        Self { shared, task }
    }

    /// Checks that this process may act.
    ///
    /// # Errors
    /// [`OpError::LeaseTaken`]: nothing more may be changed. [`OpError::LeaseLapsed`]: it was not
    /// renewed in time; it is now, and what was done has to be undone.
    pub(super) async fn check(&self) -> Result<(), OpError> {
        let age = {
            let state = self.shared.lock();
            if let Some(by) = &state.taken {
                return Err(OpError::LeaseTaken { by: by.clone() });
            }
            state.renewed.elapsed()
        };
        if age < LEASE_TRUST.to_duration() {
            return Ok(());
        }
        self.shared.renew().await?;
        Err(OpError::LeaseLapsed(Duration::from_secs(age.as_secs())))
    }

    /// Renews the lease at once.
    pub(super) async fn renew(&self) -> Result<(), OpError> {
        self.shared.renew().await
    }

    /// Ends the renewals, before the lock is given back.
    pub(super) fn stop(&mut self) {
        self.task.abort_all();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn renew(&self) -> Result<(), OpError> {
        let before = Instant::now();
        let text = script::renewal(&self.paths, &self.transaction);
        let renewals = self
            .hosts
            .iter()
            .map(|host| host.script(text.clone(), "renew the lock"));
        for said in futures_util::future::join_all(renewals).await {
            let (stdout, _) = said?;
            if let Err(by) = script::renewed(&stdout) {
                self.lock().taken = Some(by.clone());
                return Err(OpError::LeaseTaken { by });
            }
        }
        self.lock().renewed = before;
        Ok(())
    }
}
