//! Takes in runs, decides which job is next and hands it to a worker.

mod local;
mod secrets;
mod source;

pub use local::{LocalRun, RunReport, run_local};
pub use secrets::job_secrets;
pub use source::{ReadError, RepositoryWorkflows, read_workflow};
