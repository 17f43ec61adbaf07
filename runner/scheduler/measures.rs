//! How long jobs took that ended while this process was there.

use std::time::Duration;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use super::ledger::JobOutcome;

/// Between which seconds jobs are told apart.
const BUCKETS: [f64; 12] = [
    1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 10_800.0,
];

/// The seconds of jobs, by repository and conclusion.
type JobSeconds = Family<Vec<(&'static str, String)>, Histogram, fn() -> Histogram>;

/// What is measured while a server runs; clones share it.
#[derive(Debug, Clone)]
pub struct Measures {
    /// How long jobs took.
    pub job_seconds: JobSeconds,
}

impl Default for Measures {
    fn default() -> Self {
        let new: fn() -> Histogram = || Histogram::new(BUCKETS);
        Self {
            job_seconds: JobSeconds::new_with_constructor(new),
        }
    }
}

impl Measures {
    /// Takes in a job that ended.
    pub(super) fn job_ended(&self, repository: &str, outcome: &JobOutcome) {
        let labels = vec![
            ("repository", repository.to_owned()),
            ("conclusion", outcome.conclusion.as_str().to_owned()),
        ];
        let took = Duration::from_millis(outcome.milliseconds);
        self.job_seconds
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }
}
