//! Takes in runs, decides which job is next and hands it to a worker.

mod access;
mod admission;
mod asking;
mod check;
mod clearing;
mod context;
mod dispatch;
mod document;
mod findings;
mod job_process;
mod lease;
mod ledger;
mod local;
mod lost_job;
mod measures;
mod notifier;
mod order;
mod outbox;
mod post;
mod reaper;
mod repository;
mod retention;
mod room;
mod secrets;
mod shown;
mod source;
mod spool;
mod submit;
mod tracer;
mod vault;
mod worker;

pub use access::{AccessScope, Holder, NewToken, allowed_by, is_same_secret};
pub use admission::{InputsError, dispatch_inputs, skip_reason};
pub use check::{Button, Check, CheckId};
pub use clearing::Clearing;
pub use context::{NO_REPOSITORY, RunContext, github_context};
pub use dispatch::{Dispatch, DispatchError, dispatch};
pub use document::{Change, Report, RunDocument};
pub use findings::Findings;
pub use job_process::{JobProcessError, JobSurroundings, run_ordered};
pub use ledger::{
    Clock, Hold, JobOutcome, Ledger, LedgerError, LostJob, NewRun, RefMove, Rerun, SkippedWorkflow,
    Subscription, Subscriptions, Taken, TakenJob,
};
pub use local::{LocalRun, RunReport, run_local};
pub use measures::Measures;
pub use notifier::Notifier;
pub use outbox::{CommitStatus, Outbox, Sender};
pub use post::{Post, context as status_context, shortened, state_of};
pub use reaper::Reaper;
pub use repository::{Forks, Repository, WORKFLOW_ENDINGS, WORKFLOW_FOLDERS};
pub use retention::{Keep, Pruned, Retention};
pub use room::{Probe, Room, Space, free_space, shown_size};
pub use secrets::job_secrets;
pub use shown::{iso_time, job_json, run_json};
pub use source::{ReadError, RepositoryWorkflows, parse_workflow, read_workflow};
pub use spool::{Spool, SpoolLine, now};
pub use submit::{Incoming, SubmitError, Submitted, Verdict, submit};
pub use tracer::{Hints, Tracer};
pub use vault::{KeyFinder, MAX_SECRET, OpenedSecrets, Vault, VaultError, secret_name};
pub use worker::Worker;
