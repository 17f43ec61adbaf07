//! What the process of a job is told, on its standard input: the only place where secrets go there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::document::{Change, RunDocument};
use crate::engine::Labels;
use crate::run::{Attempt, Fence, JobKey, RunId};
use crate::store::ClaimedJob;

/// The form of written orders.
pub(super) const FORMAT: u32 = 1;

/// What makes a process ask hosts about a job whose own process was lost.
#[derive(Serialize, Deserialize)]
pub(super) struct Asks {
    /// The folder whose life this process is; that of the job is over.
    pub(super) life: PathBuf,
    /// Why the job was lost, in words.
    pub(super) why: String,
}

/// A job with all that it takes to run it in a process of its own.
///
/// Never written to a disk: it holds secrets.
#[derive(Serialize, Deserialize)]
pub(super) struct WrittenOrder {
    pub(super) format: u32,
    pub(super) run: RunId,
    pub(super) attempt: Attempt,
    pub(super) job: JobKey,
    pub(super) fence: Fence,
    pub(super) document: RunDocument,
    pub(super) changes: Vec<Change>,
    pub(super) secrets: BTreeMap<String, String>,
    /// Those of the job's environment, which go before all others.
    #[serde(default)]
    pub(super) environment_secrets: BTreeMap<String, String>,
    /// Where jobs of which labels run.
    pub(super) labels: Labels,
    /// Where the job's events go.
    pub(super) spool: PathBuf,
    /// Where the folders of jobs are made and removed.
    pub(super) work: PathBuf,
    /// The copy of the repository, and its address.
    pub(super) mirror: (PathBuf, String),
    /// The folder with the secrets files of the project.
    pub(super) folder: Option<PathBuf>,
    /// What its deploys carry, so that they are known when the job is lost.
    #[serde(default)]
    pub(super) origin: Option<String>,
    /// Not the job is to be run, but its hosts are to be asked.
    #[serde(default)]
    pub(super) asks: Option<Asks>,
    /// Labels of what the job makes on Docker.
    #[serde(default)]
    pub(super) marks: BTreeMap<String, String>,
    /// How many milliseconds the job has to end by itself once its lease is over; none where its
    /// machine has it for good.
    #[serde(default)]
    pub(super) lease_patience: Option<u64>,
}

impl std::fmt::Debug for WrittenOrder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WrittenOrder")
            .field("run", &self.run)
            .field("job", &self.job)
            .finish_non_exhaustive()
    }
}

impl WrittenOrder {
    /// Returns which job it is of, and for which owner.
    pub(super) fn claimed(&self) -> ClaimedJob {
        ClaimedJob {
            run: self.run.clone(),
            attempt: self.attempt,
            job: self.job,
            fence: self.fence,
        }
    }
}
