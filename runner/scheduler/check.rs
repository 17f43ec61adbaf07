//! Check runs: what GitHub shows of a run and of each of its jobs in the name of an App.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::findings::Findings;
use super::post::{About, Post, context_of, ended};
use super::shown::told_time;
use crate::run::{
    Annotation, AnnotationLevel, Attempt, Conclusion, DeployOutcome, JobKey, RunId, Status,
    Timestamp,
};
use crate::store::JobRow;

/// How many annotations go into one request.
///
/// Source: GitHub, "Create a check run": 50.
pub(super) const BATCH: usize = 50;

/// The longest summary that GitHub takes, in characters; bytes are never fewer.
const MAX_SUMMARY: usize = 65_000;

/// What a check run is of, in words that GitHub keeps as its `external_id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckId {
    /// The run.
    pub run: RunId,
    /// The try.
    pub attempt: Attempt,
    /// The job; none where it is of the whole run.
    pub job: Option<JobKey>,
}

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run {} attempt {}", self.run, self.attempt.0)?;
        match self.job {
            Some(job) => write!(f, " job {}", job.0),
            None => Ok(()),
        }
    }
}

impl CheckId {
    /// Reads what GitHub kept; none where it is not of ours.
    pub fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let mut number = |name: &str| {
            (words.next()? == name).then_some(())?;
            words.next()?.parse::<u32>().ok()
        };
        let (run, attempt) = (number("run")?, number("attempt")?);
        Some(Self {
            run: RunId(run.to_string()),
            attempt: Attempt(attempt),
            job: number("job").map(JobKey),
        })
    }
}

/// A button of a check run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Button {
    /// Runs what failed once more.
    RerunFailed,
    /// Lets the run begin.
    Approve,
    /// Goes back to the release before.
    RollBack,
}

impl Button {
    /// Returns GitHub's word for it, which comes back when it is pressed.
    pub fn identifier(self) -> &'static str {
        match self {
            Self::RerunFailed => "rerun-failed",
            Self::Approve => "approve",
            Self::RollBack => "roll-back",
        }
    }

    /// Returns the button of a word.
    pub fn from_identifier(word: &str) -> Option<Self> {
        [Self::RerunFailed, Self::Approve, Self::RollBack]
            .into_iter()
            .find(|button| button.identifier() == word)
    }

    /// Source: GitHub, "Create a check run": a label has 20 characters, a description 40.
    fn shown(self) -> Json {
        let (label, description) = match self {
            Self::RerunFailed => ("Re-run failed", "Run the jobs that failed once more"),
            Self::Approve => ("Approve", "Let this commit run, without secrets"),
            Self::RollBack => ("Roll back", "Go back to the release before"),
        };
        json!({"label": label, "description": description, "identifier": self.identifier()})
    }
}

/// A check run as it is to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What it is of, as [`CheckId`] writes it.
    pub external_id: String,
    /// The commit.
    pub sha: String,
    /// Its name.
    pub name: String,
    /// `queued`, `in_progress` or `completed`.
    pub status: String,
    /// GitHub's word for how it ended.
    pub conclusion: Option<String>,
    /// When it began.
    pub started_at: Option<String>,
    /// When it ended.
    pub completed_at: Option<String>,
    /// What happened, in a few words.
    pub title: String,
    /// What happened, in Markdown.
    pub summary: String,
    /// Where more is to be seen.
    pub details_url: Option<String>,
    /// Its buttons.
    pub buttons: Vec<Button>,
    /// The file that annotations without one are shown at.
    pub workflow: String,
}

/// Returns the check run of a whole run.
pub(super) fn of_run(about: &About<'_>) -> Post {
    let run = about.run;
    let has_deployed = |job: &JobRow| {
        job.environment.is_some()
            && (job.conclusion == Some(Conclusion::Success)
                || job.deploy == Some(DeployOutcome::Stands))
    };
    let (status, conclusion, title, buttons) = match (run.status, run.conclusion) {
        (Status::Completed, Some(conclusion)) => {
            let mut buttons = Vec::new();
            if matches!(conclusion, Conclusion::Failure | Conclusion::Cancelled)
                && !run.awaits_approval
            {
                buttons.push(Button::RerunFailed);
            }
            if about.jobs.iter().any(has_deployed) {
                buttons.push(Button::RollBack);
            }
            let word = conclusion_of(conclusion, run.is_timed_out);
            ("completed", Some(word), ended(run, about.jobs), buttons)
        }
        (Status::Pending, _) if run.awaits_approval => {
            let title = "Waits for approval".to_owned();
            let buttons = vec![Button::Approve];
            ("completed", Some("action_required"), title, buttons)
        }
        (Status::Pending, _) => {
            let title = "Waits for its concurrency group".to_owned();
            ("queued", None, title, Vec::new())
        }
        (Status::InProgress, _) => ("in_progress", None, "In progress".to_owned(), Vec::new()),
        _ => ("queued", None, "Queued".to_owned(), Vec::new()),
    };
    let id = CheckId {
        run: run.id.clone(),
        attempt: run.attempt,
        job: None,
    };
    let completed_at = conclusion.and(run.finished_at).and_then(told_time);
    Post::Check {
        run: run.id.clone(),
        check: Check {
            external_id: id.to_string(),
            sha: about.sha.to_owned(),
            name: context_of(run),
            status: status.to_owned(),
            conclusion: conclusion.map(str::to_owned),
            started_at: run.started_at.and_then(told_time),
            completed_at,
            title,
            summary: list_of(about.jobs, run.awaits_approval, about.sha),
            details_url: about.url.clone(),
            buttons,
            workflow: run.workflow.clone(),
        },
    }
}

/// Returns the jobs of a run in Markdown.
fn list_of(jobs: &[JobRow], awaits_approval: bool, sha: &str) -> String {
    if awaits_approval && jobs.is_empty() {
        return format!(
            "It comes from a fork, and runs without secrets once someone approves commit {sha}. A newer commit needs an approval of its own."
        );
    }
    let mut text = String::from("| job | |\n|---|---|\n");
    for job in jobs {
        let state = match job.conclusion {
            Some(conclusion) => conclusion_of(conclusion, job.is_timed_out),
            None => job.status.as_str(),
        };
        let name = job.name.replace('|', "\\|");
        text = format!("{text}| {name} | {state} |\n");
        if text.len() > MAX_SUMMARY {
            text.push_str("\n... and more\n");
            break;
        }
    }
    text
}

/// Returns the check run of a job.
pub(super) fn of_job(about: &About<'_>, job: &JobRow) -> Post {
    let run = about.run;
    let conclusion = job
        .conclusion
        .map(|conclusion| conclusion_of(conclusion, job.is_timed_out));
    let status = match job.status {
        Status::Pending | Status::Queued => "queued",
        Status::InProgress => "in_progress",
        Status::Completed => "completed",
    };
    let deploy = job
        .deploy
        .map_or_else(String::new, |deploy| format!(": {}", deploy.words()));
    let word = match conclusion {
        None if job.status == Status::InProgress => "In progress",
        None => "Queued",
        Some("success") => "Successful",
        Some("failure") => "Failed",
        Some("timed_out") => "Timed out",
        Some("skipped") => "Skipped",
        Some(_) => "Cancelled",
    };
    let mut buttons = Vec::new();
    // What failed can be run once more when the whole run ended, and not before.
    if run.status == Status::Completed && job.conclusion == Some(Conclusion::Failure) {
        buttons.push(Button::RerunFailed);
    }
    if job.environment.is_some() && job.conclusion == Some(Conclusion::Success) {
        buttons.push(Button::RollBack);
    }
    let id = CheckId {
        run: run.id.clone(),
        attempt: run.attempt,
        job: Some(job.job),
    };
    let completed_at = job
        .started_at
        .zip(job.milliseconds)
        .and_then(|(began, took)| told_time(Timestamp(began.0 + i64::try_from(took).unwrap_or(0))));
    Post::Check {
        run: run.id.clone(),
        check: Check {
            external_id: id.to_string(),
            sha: about.sha.to_owned(),
            name: format!("{} / {} ({})", run.name, job.name, run.event),
            status: status.to_owned(),
            conclusion: conclusion.map(str::to_owned),
            started_at: job.started_at.and_then(told_time),
            completed_at: conclusion.and(completed_at),
            title: format!("{word}{deploy}"),
            summary: job.reason.clone().unwrap_or_default(),
            details_url: about.url.clone(),
            buttons,
            workflow: run.workflow.clone(),
        },
    }
}

fn conclusion_of(conclusion: Conclusion, is_timed_out: bool) -> &'static str {
    match conclusion {
        Conclusion::Cancelled | Conclusion::Failure if is_timed_out => "timed_out",
        conclusion => conclusion.as_str(),
    }
}

impl Check {
    /// Returns the body of the request that makes it or changes it, with these annotations.
    pub(super) fn body(&self, findings: &Findings, annotations: &[Json], is_new: bool) -> Json {
        let mut body = json!({
            "name": self.name, "external_id": self.external_id, "status": self.status,
            "output": self.output(findings, annotations),
            "actions": self.buttons.iter().map(|button| button.shown()).collect::<Vec<_>>(),
        });
        if let Json::Object(object) = &mut body {
            let more = [
                ("head_sha", is_new.then(|| self.sha.clone())),
                ("conclusion", self.conclusion.clone()),
                ("started_at", self.started_at.clone()),
                ("completed_at", self.completed_at.clone()),
                ("details_url", self.details_url.clone()),
            ];
            for (key, value) in more {
                if let Some(value) = value {
                    object.insert(key.to_owned(), value.into());
                }
            }
        }
        body
    }

    /// Returns what it shows, with these annotations.
    pub(super) fn output(&self, findings: &Findings, annotations: &[Json]) -> Json {
        let mut summary = [self.summary.as_str(), &findings.summary]
            .iter()
            .filter(|text| !text.is_empty())
            .copied()
            .collect::<Vec<_>>()
            .join("\n\n");
        if findings.is_cut {
            summary.push_str("\n\nThe summary is too long for GitHub, and its end is left out.");
        }
        if findings.left_out > 0 {
            summary = format!(
                "{summary}\n\n{} more annotations are in the log.",
                findings.left_out
            );
        }
        if summary.is_empty() {
            summary.clone_from(&self.title);
        }
        json!({"title": self.title, "summary": summary, "annotations": annotations})
    }

    /// Returns the annotations as GitHub takes them, in parts of as many as one request may have.
    pub(super) fn annotations(&self, findings: &Findings) -> Vec<Vec<Json>> {
        let all: Vec<Json> = findings
            .annotations
            .iter()
            .map(|annotation| self.shown(annotation))
            .collect();
        all.chunks(BATCH).map(<[Json]>::to_vec).collect()
    }

    fn shown(&self, annotation: &Annotation) -> Json {
        let level = match annotation.level {
            AnnotationLevel::Notice => "notice",
            AnnotationLevel::Warning => "warning",
            AnnotationLevel::Error => "failure",
        };
        let file = annotation.file.as_ref().map(|file| file.as_str());
        let path = file
            .filter(|file| !file.is_empty())
            .unwrap_or(&self.workflow);
        let line = annotation.line.unwrap_or(1);
        let end_line = annotation.end_line.unwrap_or(line).max(line);
        let mut shown = json!({
            "path": path.trim_start_matches("./"), "start_line": line, "end_line": end_line,
            "annotation_level": level, "message": annotation.message.as_str(),
        });
        if let Json::Object(object) = &mut shown {
            if let Some(title) = &annotation.title {
                object.insert("title".to_owned(), title.as_str().into());
            }
            // GitHub takes columns only where it is one line.
            if let Some(column) = annotation.column.filter(|_| line == end_line) {
                let end = annotation.end_column.unwrap_or(column).max(column);
                object.insert("start_column".to_owned(), column.into());
                object.insert("end_column".to_owned(), end.into());
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_github_keeps_of_a_check_run_is_read_back() {
        for (job, text) in [
            (None, "run 12 attempt 2"),
            (Some(JobKey(3)), "run 12 attempt 2 job 3"),
        ] {
            let id = CheckId {
                run: RunId("12".to_owned()),
                attempt: Attempt(2),
                job,
            };
            assert_eq!(id.to_string(), text);
            assert_eq!(CheckId::read(text), Some(id));
        }
        for foreign in ["", "42", "run x attempt 1", "run 1", "attempt 1 run 1"] {
            assert_eq!(CheckId::read(foreign), None, "{foreign}");
        }
    }
}
