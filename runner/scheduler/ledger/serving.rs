//! Which machines serve which labels, and what is said of jobs that none serves.

use std::time::Duration;

use super::{Ledger, LedgerError, SHORT, reading, transaction};
use crate::engine::is_served;

impl Ledger {
    /// Says that a machine lives for a time, and serves the labels of this ledger.
    pub async fn serve(&self, machine: &str, lease: Duration) -> Result<(), LedgerError> {
        let served = self.labels.served();
        transaction!(self, (begin, SHORT), tx, {
            tx.machine_lives(machine, &served, lease).await?;
        })
    }

    /// Says of each job that waits whether a machine that lives serves its labels: where none does,
    /// it waits for one, as long as it takes.
    pub async fn explain_waiting(&self) -> Result<(), LedgerError> {
        let machines = reading!(self, tx, tx.living_machines().await?)?;
        let why = |labels: &[String]| why_waiting(&machines, labels);
        transaction!(self, tx, tx.explain_waiting(&why).await?)?;
        Ok(())
    }
}

/// Returns why a job waits for a machine; none where one that lives serves all its labels.
pub(super) fn why_waiting(machines: &[Vec<String>], labels: &[String]) -> Option<String> {
    let lacks = |served: &Vec<String>| {
        let lacking = labels.iter().filter(|label| !is_served(served, label));
        lacking.map(String::as_str).collect::<Vec<&str>>()
    };
    let lacking: Vec<Vec<&str>> = machines.iter().map(lacks).collect();
    if lacking.iter().any(Vec::is_empty) {
        return None;
    }
    let nowhere = labels
        .iter()
        .map(String::as_str)
        .filter(|label| lacking.iter().all(|lacking| lacking.contains(label)));
    let nowhere: Vec<&str> = nowhere.collect();
    Some(if nowhere.is_empty() {
        format!(
            "waits for a machine that serves all of `{}`: none that lives does",
            labels.join("`, `")
        )
    } else {
        format!(
            "waits for a machine that serves `{}`: none that lives does",
            nowhere.join("`, `")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_waits_for_one_machine_that_serves_all_its_labels() {
        let list = |labels: &[&str]| {
            labels
                .iter()
                .map(|&label| label.to_owned())
                .collect::<Vec<_>>()
        };
        let machines = [
            list(&["self-hosted", "ubuntu-*", "gpu"]),
            list(&["self-hosted", "ubuntu-*", "big"]),
        ];
        for (labels, expected) in [
            (&["self-hosted", "GPU"][..], None),
            (&["ubuntu-24.04"], None),
            (&["gpu", "tpu"], Some("serves `tpu`")),
            (&["gpu", "big"], Some("serves all of `gpu`, `big`")),
        ] {
            let why = why_waiting(&machines, &list(labels));
            match expected {
                None => assert_eq!(why, None, "{labels:?}"),
                Some(words) => assert!(why.as_ref().unwrap().contains(words), "{why:?}"),
            }
        }
        assert!(why_waiting(&[], &list(&["linux"])).is_some());
    }
}
