//! Takes in runs, decides which job is next and hands it to a worker.

mod admission;
mod context;
mod local;
mod secrets;
mod source;

pub use admission::{InputsError, dispatch_inputs, skip_reason};
pub use context::{NO_REPOSITORY, RunContext, github_context};
pub use local::{LocalRun, RunReport, run_local};
pub use secrets::job_secrets;
pub use source::{ReadError, RepositoryWorkflows, parse_workflow, read_workflow};
