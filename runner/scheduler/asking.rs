//! Finds out what became of the deploy of a job whose process was lost.
//!
//! # How it works
//! Only the hosts know. A process of its own (`runner job`, told so by its order) runs what remains
//! of the job when everything is left out but its checkout and the steps that opened a deploy, and
//! the actions that stand in for these ask the hosts ([`JobSurroundings::askers`]). Inputs and
//! secrets are so the same as the job's were. What it says goes behind the log of the job, and its
//! end is the job's (`docs/decisions/0016-a-lost-deploy-is-ended.md`).

use std::sync::Arc;

use super::ledger::JobOutcome;
use crate::plan::{JobPlan, WorkflowFile};
use crate::report::Reporter;
use crate::run::{Conclusion, DeployOutcome, Fate, JobKey, RunEvent, Stream};
use crate::workflow::{JobBody, only_openings, opens};

use super::spool::SpoolWriter;

/// What is said where nobody can be asked.
pub(super) const NOT_KNOWN: &str = "what became of its deploy is not known: `runner history` tells it, and the next deploy ends what is open";

/// Tells whether a job has steps of whose deploys hosts can be asked.
pub(super) fn can_ask(plan: &JobPlan) -> bool {
    plan.job().and_then(only_openings).is_some()
}

/// Returns what remains of a job to ask its hosts, and which of its steps, from 1, ask; none where
/// no step opens a deploy.
pub(super) fn asking_plan(plan: &JobPlan) -> Option<(Box<JobPlan>, Vec<u32>)> {
    let job = only_openings(plan.job()?)?;
    let asking = match &job.body {
        JobBody::Steps(body) => (1..)
            .zip(&body.steps)
            .filter(|(_, step)| opens(step))
            .map(|(number, _)| number)
            .collect(),
        JobBody::Call(_) => Vec::new(),
    };
    let mut workflow = plan.file.workflow.clone();
    workflow.jobs.insert(plan.id.clone(), job);
    let file = WorkflowFile {
        path: plan.file.path.clone(),
        source: plan.file.source.clone(),
        workflow,
    };
    let kept = JobPlan {
        file: Arc::new(file),
        ..plan.clone()
    };
    Some((Box::new(kept), asking))
}

/// Tells whether a job says something to the jobs that need it, which is lost with its process.
pub(super) fn has_outputs(plan: &JobPlan) -> bool {
    match plan.job().map(|job| &job.body) {
        Some(JobBody::Steps(body)) => !body.outputs.is_empty(),
        _ => false,
    }
}

/// Returns how a job ended whose process was lost (`why`), from what its hosts told; `failure` is
/// why they could not be asked, where that is so.
pub(super) fn concluded(
    why: &str,
    fates: &[Fate],
    has_outputs: bool,
    failure: Option<&str>,
) -> JobOutcome {
    let outcome = fates.iter().filter_map(|fate| fate.outcome).max();
    let mut words: Vec<&str> = fates
        .iter()
        .filter(|fate| fate.outcome == outcome)
        .map(|fate| fate.words.as_str())
        .collect();
    words.dedup();
    let is_unknown = fates.is_empty();
    if is_unknown {
        words.extend(failure);
        words.push(NOT_KNOWN);
    }
    let opened = fates.iter().rfind(|fate| fate.outcome.is_some());
    let was_green = opened.is_some_and(|fate| fate.was_green);
    let is_whole = outcome == Some(DeployOutcome::Stands) && was_green && !has_outputs;
    let mut reason = format!("{why}; {}", words.join("; "));
    if outcome == Some(DeployOutcome::Stands) && !is_whole {
        reason.push_str(if was_green {
            "; the outputs of the job are lost, so what needs them does not run"
        } else {
            "; what was to follow in the job may not have run"
        });
    }
    JobOutcome {
        deploy: if is_unknown {
            Some(DeployOutcome::Unknown)
        } else {
            outcome
        },
        ..JobOutcome::without_run(
            if is_whole {
                Conclusion::Success
            } else {
                Conclusion::Failure
            },
            reason,
        )
    }
}

/// Writes what the asking steps say behind what the lost process wrote, as the job's own words.
pub(super) struct Afterwards {
    writer: SpoolWriter,
    asking: Vec<u32>,
}

impl Afterwards {
    /// Returns a reporter for these steps.
    pub(super) fn new(writer: SpoolWriter, asking: Vec<u32>) -> Self {
        Self { writer, asking }
    }

    /// Says something in the log of the job.
    pub(super) fn say(&mut self, job: JobKey, text: crate::mask::Masked) {
        self.writer.report(&RunEvent::Output {
            job,
            step: 0,
            stream: Stream::Runner,
            text,
        });
    }
}

impl Reporter for Afterwards {
    fn report(&mut self, event: &RunEvent) {
        let told = match event {
            RunEvent::Output {
                job, step, text, ..
            } if self.asking.contains(step) => RunEvent::Output {
                job: *job,
                step: 0,
                stream: Stream::Runner,
                text: text.clone(),
            },
            RunEvent::Annotation {
                job,
                step,
                annotation,
            } => {
                // An error before the steps, too: it says why nobody could be asked.
                if *step != 0 && !self.asking.contains(step) {
                    return;
                }
                RunEvent::Annotation {
                    job: *job,
                    step: 0,
                    annotation: annotation.clone(),
                }
            }
            RunEvent::Deployment { .. } => event.clone(),
            _ => return,
        };
        self.writer.report(&told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::Masker;

    fn fate(outcome: Option<DeployOutcome>, was_green: bool, words: &str) -> Fate {
        Fate {
            outcome,
            was_green,
            words: Masker::new().mask(words),
        }
    }

    fn ended(fates: &[Fate], has_outputs: bool) -> (Conclusion, Option<DeployOutcome>, String) {
        let outcome = concluded("it was killed", fates, has_outputs, Some("no way"));
        (
            outcome.conclusion,
            outcome.deploy,
            outcome.reason.unwrap_or_default(),
        )
    }

    #[test]
    fn a_job_is_green_only_where_its_release_stands_and_nothing_of_it_is_missing() {
        use Conclusion::{Failure, Success};
        use DeployOutcome::{Stands, UndoIncomplete, Undone, Unknown};
        let none = || fate(None, false, "nothing was changed");
        let stands = |was_green| fate(Some(Stands), was_green, "it serves");
        let undone = || fate(Some(Undone), false, "it was undone");
        for (fates, has_outputs, conclusion, deploy, words) in [
            (
                vec![none()],
                false,
                Failure,
                None,
                "it was killed; nothing was changed",
            ),
            (
                vec![stands(true)],
                false,
                Success,
                Some(Stands),
                "it was killed; it serves",
            ),
            (
                vec![stands(true)],
                true,
                Failure,
                Some(Stands),
                "it was killed; it serves; the outputs of the job are lost, so what needs them does not run",
            ),
            (
                vec![stands(false)],
                false,
                Failure,
                Some(Stands),
                "it was killed; it serves; what was to follow in the job may not have run",
            ),
            (
                vec![undone()],
                false,
                Failure,
                Some(Undone),
                "it was killed; it was undone",
            ),
            // A rollback that stands, and after it a deploy that was put back.
            (
                vec![stands(false), undone()],
                false,
                Failure,
                Some(Undone),
                "it was killed; it was undone",
            ),
            (
                vec![none(), stands(true)],
                false,
                Success,
                Some(Stands),
                "it was killed; it serves",
            ),
            (
                vec![fate(Some(UndoIncomplete), false, "open")],
                false,
                Failure,
                Some(UndoIncomplete),
                "it was killed; open",
            ),
        ] {
            assert_eq!(
                ended(&fates, has_outputs),
                (conclusion, deploy, words.to_owned())
            );
        }
        let (conclusion, deploy, words) = ended(&[], false);
        assert_eq!((conclusion, deploy), (Failure, Some(Unknown)));
        assert_eq!(words, format!("it was killed; no way; {NOT_KNOWN}"));
    }
}
