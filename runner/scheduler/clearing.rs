//! What killed jobs leave on the Docker of their machine, found by labels and taken away.
//!
//! # How it works
//! Whatever a job makes there names its machine and its spool. The lock in the spool says whether
//! the job's process lives (`docs/decisions/0009-a-lock-says-whether-a-job-lives.md`); what carries
//! this machine's name and whose spool nobody holds is removed: when the server starts, and when it
//! notices a loss. What other servers made on the same Docker has another machine's name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::spool::Spool;
use crate::diagnostic::chain;
use crate::executor::clear_lost;
use crate::store::ClaimedJob;

/// The label that names the server by its machine, as it is called in the store.
const SERVER_LABEL: &str = "runner.server";

/// The label that names the spool, below the machine's folder of spools.
const SPOOL_LABEL: &str = "runner.spool";

/// How long after a loss it is looked once more: the daemon may have been about to make something.
const AGAIN: Duration = Duration::from_secs(5);

/// How long to wait for a daemon that cannot be asked.
const PAUSE: Duration = Duration::from_secs(15);

/// Returns the labels of all that a job makes on Docker.
pub(super) fn labels_of(machine: &str, claimed: &ClaimedJob) -> BTreeMap<String, String> {
    let spool = Spool::new(Path::new(""), claimed);
    BTreeMap::from([
        (SERVER_LABEL.to_owned(), machine.to_owned()),
        (
            SPOOL_LABEL.to_owned(),
            spool.folder().to_string_lossy().into_owned(),
        ),
    ])
}

/// Takes away what killed jobs of a machine left on its Docker; cheap to clone.
#[derive(Debug, Clone)]
pub struct Clearing {
    machine: String,
    spools: PathBuf,
    docker_host: Option<String>,
    loss: Arc<Notify>,
}

impl Clearing {
    /// Returns who clears up after the jobs of a machine whose spools are in a folder; `docker_host`
    /// names its daemon as `DOCKER_HOST` does.
    pub fn new(machine: &str, spools: &Path, docker_host: Option<String>) -> Self {
        Self {
            machine: machine.to_owned(),
            spools: spools.to_owned(),
            docker_host,
            loss: Arc::default(),
        }
    }

    /// Says that the process of a job was lost.
    pub(super) fn note_loss(&self) {
        self.loss.notify_one();
    }

    /// Clears up at once and after each loss, until it is stopped.
    pub async fn run(self, stop: CancellationToken) {
        let work = async {
            loop {
                self.clear().await;
                self.loss.notified().await;
                self.clear().await;
                tokio::time::sleep(AGAIN).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = work => {}
        }
    }

    /// Clears up once, however long that takes.
    async fn clear(&self) {
        let labels = [format!("{SERVER_LABEL}={}", self.machine)];
        let is_lost = |labels: &BTreeMap<String, String>| self.is_lost(labels);
        let mut is_told = false;
        loop {
            match clear_lost(self.docker_host.as_deref(), &labels, is_lost).await {
                Ok(0) => return,
                Ok(count) => {
                    tracing::warn!("{count} containers were removed that killed jobs had left");
                    return;
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(error = %chain(&error), "what killed jobs left on Docker is not removed yet");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Tells whether the job that something belongs to is gone.
    fn is_lost(&self, labels: &BTreeMap<String, String>) -> bool {
        labels
            .get(SPOOL_LABEL)
            .map(Path::new)
            .filter(|path| path.is_relative())
            .is_some_and(|path| !Spool::at(self.spools.join(path)).is_lived_in())
    }
}
