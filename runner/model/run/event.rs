//! What happens in a run, as everyone outside sees it.

use serde::{Deserialize, Serialize};

use super::envelope::JobKey;
use super::record::Conclusion;
use crate::mask::Masked;

/// Something that happened in a run; every text in it is free of secrets.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RunEvent {
    /// The run began.
    RunStarted {
        /// The workflow's name.
        workflow: Masked,
        /// The event that started it.
        event: Masked,
    },
    /// A job was created; its matrix is expanded and its name known.
    JobPlanned {
        /// The job.
        job: JobKey,
        /// Its key in the file and its name on the checks page.
        planned: PlannedJob,
    },
    /// A job began.
    JobStarted {
        /// The job.
        job: JobKey,
    },
    /// A step began.
    StepStarted {
        /// The job.
        job: JobKey,
        /// The step's number in the job, from 1.
        step: u32,
        /// Its name on the job's page.
        name: Masked,
    },
    /// A step printed whole lines.
    Output {
        /// The job.
        job: JobKey,
        /// The step's number; 0 for the job's own words.
        step: u32,
        /// Where from.
        stream: Stream,
        /// One or more lines; only the last can be without end of line.
        text: Masked,
    },
    /// A notice, a warning or an error, with the place that it speaks of.
    Annotation {
        /// The job.
        job: JobKey,
        /// The step's number.
        step: u32,
        /// What and where.
        annotation: Annotation,
    },
    /// A step ended.
    StepFinished {
        /// The job.
        job: JobKey,
        /// The step's number.
        step: u32,
        /// Its name; of a skipped step nothing else was told.
        name: Masked,
        /// How it ended, before `continue-on-error`.
        outcome: Conclusion,
        /// How it counts.
        conclusion: Conclusion,
        /// How long it took, in milliseconds.
        milliseconds: u64,
    },
    /// A step left a summary in Markdown.
    Summary {
        /// The job.
        job: JobKey,
        /// The step's number.
        step: u32,
        /// The Markdown.
        text: Masked,
    },
    /// A deployment went on by a phase on a host.
    Deployment {
        /// The job.
        job: JobKey,
        /// What it is doing.
        progress: DeployProgress,
    },
    /// A job ended.
    JobFinished {
        /// The job.
        job: JobKey,
        /// How.
        end: JobEnd,
    },
    /// The run ended.
    RunFinished {
        /// How.
        outcome: RunOutcome,
    },
}

impl RunEvent {
    /// Returns the job that the event is of, if it is not of the whole run.
    pub fn job(&self) -> Option<JobKey> {
        match self {
            Self::RunStarted { .. } | Self::RunFinished { .. } => None,
            Self::JobPlanned { job, .. }
            | Self::JobStarted { job }
            | Self::StepStarted { job, .. }
            | Self::Output { job, .. }
            | Self::Annotation { job, .. }
            | Self::StepFinished { job, .. }
            | Self::Summary { job, .. }
            | Self::Deployment { job, .. }
            | Self::JobFinished { job, .. } => Some(*job),
        }
    }
}

/// What is known of a job when it is created.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PlannedJob {
    /// Its key under `jobs`.
    pub id: Masked,
    /// Its name on the checks page.
    pub name: Masked,
    /// The keys of the jobs that it needs.
    pub needs: Vec<Masked>,
}

/// Where output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// The step's own output, standard output and standard error together.
    Step,
    /// The runner's words about the step: commands, reasons.
    Runner,
    /// Debug lines, shown where debug logging is on.
    Debug,
}

/// How much an annotation weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnnotationLevel {
    /// `::notice::`.
    Notice,
    /// `::warning::`.
    Warning,
    /// `::error::`.
    Error,
}

impl AnnotationLevel {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A message for a place in a file, or of the step as a whole.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Annotation {
    /// How much it weighs.
    pub level: AnnotationLevel,
    /// The message.
    pub message: Masked,
    /// A title.
    pub title: Option<Masked>,
    /// The file that it speaks of.
    pub file: Option<Masked>,
    /// The first line, from 1.
    pub line: Option<u32>,
    /// The last line.
    pub end_line: Option<u32>,
    /// The first column, from 1.
    pub column: Option<u32>,
    /// The last column.
    pub end_column: Option<u32>,
}

impl Annotation {
    /// Returns an annotation of the step as a whole.
    pub fn new(level: AnnotationLevel, message: Masked) -> Self {
        Self {
            level,
            message,
            title: None,
            file: None,
            line: None,
            end_line: None,
            column: None,
            end_column: None,
        }
    }
}

/// What a deployment is doing.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeployProgress {
    /// The phase, as in the journal.
    pub phase: Masked,
    /// The host, where it is about one.
    pub host: Option<Masked>,
    /// What is done, in words.
    pub text: Masked,
    /// How long it took, in milliseconds, once it is done.
    pub milliseconds: Option<u64>,
}

/// How a job ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JobEnd {
    /// How it ended.
    pub conclusion: Conclusion,
    /// Why, where that is not plain from the steps: a skipped need, a time limit.
    pub reason: Option<Masked>,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
    /// What became of a deployment that it had open.
    pub deploy: Option<DeployOutcome>,
    /// Whether its time limit ended it.
    #[serde(default)]
    pub is_timed_out: bool,
}

/// What became of a deployment that did not go through, or whose job did not; the worst comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeployOutcome {
    /// The release serves, though the process of its job was lost.
    Stands,
    /// Everything was put back.
    Undone,
    /// The process of its job was lost, and the hosts could not be asked.
    Unknown,
    /// Something could not be put back.
    UndoIncomplete,
}

impl DeployOutcome {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stands => "stands",
            Self::Undone => "undone",
            Self::Unknown => "unknown",
            Self::UndoIncomplete => "undo_incomplete",
        }
    }

    /// Returns what people are told of it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Stands => "the new release serves",
            Self::Undone => "the deploy was undone, the old release serves",
            Self::Unknown => "WHAT BECAME OF THE DEPLOY IS NOT KNOWN",
            Self::UndoIncomplete => "THE UNDO OF THE DEPLOY IS INCOMPLETE",
        }
    }

    /// Returns the outcome that a word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        [
            Self::Stands,
            Self::Undone,
            Self::Unknown,
            Self::UndoIncomplete,
        ]
        .into_iter()
        .find(|outcome| outcome.as_str() == word)
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOutcome {
    /// How it ended.
    pub conclusion: Conclusion,
    /// Whether a job was ended by its time limit and none failed.
    pub is_timed_out: bool,
    /// What became of a deployment that did not go through.
    pub deploy: Option<DeployOutcome>,
}

/// Adds up how the jobs of a run ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    has_failed: bool,
    is_timed_out: bool,
    deploy: Option<DeployOutcome>,
}

impl Tally {
    /// Adds a job; a job that its time limit ended is no failed one.
    pub fn add(
        &mut self,
        conclusion: Conclusion,
        is_timed_out: bool,
        deploy: Option<DeployOutcome>,
    ) {
        self.has_failed |= conclusion == Conclusion::Failure;
        self.is_timed_out |= is_timed_out;
        self.deploy = self.deploy.max(deploy);
    }

    /// Returns how the run ended whose conclusion is known.
    pub fn outcome(self, conclusion: Conclusion, is_cancelled: bool) -> RunOutcome {
        RunOutcome {
            conclusion,
            is_timed_out: self.is_timed_out && !self.has_failed && !is_cancelled,
            deploy: self.deploy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_that_became_of_a_deploy_is_that_of_the_run() {
        use DeployOutcome::{Stands, UndoIncomplete, Undone, Unknown};
        for (jobs, of_run) in [
            (vec![], None),
            (vec![None, Some(Stands), None], Some(Stands)),
            (vec![Some(Undone), Some(Stands)], Some(Undone)),
            (vec![Some(Unknown), Some(Undone)], Some(Unknown)),
            (
                vec![Some(UndoIncomplete), Some(Unknown)],
                Some(UndoIncomplete),
            ),
        ] {
            let mut tally = Tally::default();
            for deploy in &jobs {
                tally.add(Conclusion::Failure, false, *deploy);
            }
            let outcome = tally.outcome(Conclusion::Failure, false);
            assert_eq!(outcome.deploy, of_run, "{jobs:?}");
        }
        for outcome in [Stands, Undone, Unknown, UndoIncomplete] {
            assert_eq!(DeployOutcome::from_word(outcome.as_str()), Some(outcome));
        }
    }
}
