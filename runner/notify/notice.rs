//! What is told: a deploy that failed, a branch that broke or is whole again.

use serde::{Deserialize, Serialize};

use crate::run::RunId;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeKind {
    /// A run that deploys failed.
    DeployFailed,
    /// A workflow failed on the default branch that did not before.
    Broken,
    /// It succeeded there again.
    Recovered,
    /// Nothing: somebody wants to know whether it arrives.
    Test,
}

/// What is told of a run; free of secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// What happened.
    pub kind: NoticeKind,
    /// `owner/name`.
    pub repository: String,
    /// The workflow's name.
    pub workflow: String,
    /// The run.
    pub run: RunId,
    /// Its number among the runs of its workflow.
    pub number: u64,
    /// Its attempt.
    pub attempt: u32,
    /// The ref that it is about, without `refs/heads/`.
    pub git_ref: String,
    /// The commit.
    pub sha: String,
    /// The run's title.
    pub title: String,
    /// Who caused it.
    pub actor: String,
    /// What happened, in a few words.
    pub description: String,
    /// Where the run can be looked at.
    pub url: Option<String>,
}

impl Notice {
    /// Returns one that tells nothing, to see whether it arrives.
    pub fn test(url: Option<String>) -> Self {
        Self {
            kind: NoticeKind::Test,
            repository: "owner/name".to_owned(),
            workflow: "a workflow".to_owned(),
            run: RunId("0".to_owned()),
            number: 0,
            attempt: 1,
            git_ref: "main".to_owned(),
            sha: "0000000000000000000000000000000000000000".to_owned(),
            title: "A \"test\" of <notices> & their templates".to_owned(),
            actor: "runner".to_owned(),
            description: "Nothing happened".to_owned(),
            url,
        }
    }

    /// Says it in one line.
    pub fn subject(&self) -> String {
        let what = match self.kind {
            NoticeKind::DeployFailed => "Deploy failed",
            NoticeKind::Broken => "Broken",
            NoticeKind::Recovered => "Recovered",
            NoticeKind::Test => "Test",
        };
        format!(
            "{what}: {} ({}) on {}",
            self.repository, self.workflow, self.git_ref
        )
    }

    /// Says it in a few lines.
    pub fn text(&self) -> String {
        let commit: String = self.sha.chars().take(10).collect();
        let mut lines = vec![
            self.subject(),
            format!("Run {} (#{}): {}", self.run, self.number, self.description),
            format!("{commit} {} by {}", self.title, self.actor),
        ];
        lines.extend(self.url.clone());
        lines.join("\n")
    }
}
