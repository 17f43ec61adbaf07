//! What people are told of is written in the transaction that makes it so.

use super::{Ledger, LedgerError, read_document, reading, transaction};
use crate::notify::{Notice, NoticeKind};
use crate::run::{Conclusion, DeployOutcome, Timestamp};
use crate::scheduler::post::ended;
use crate::store::{JobRow, NoticeRow, RunRow, Transaction};

/// Who is told of what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The channel's name.
    pub channel: String,
    /// Of what.
    pub kinds: Vec<NoticeKind>,
    /// Of which repositories; all where it is empty.
    pub repositories: Vec<String>,
}

/// Who is told of runs, and where they can look at them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscriptions {
    /// Who is told.
    pub all: Vec<Subscription>,
    /// Where this server's pages are seen from outside.
    pub public_url: Option<String>,
}

impl Subscriptions {
    fn channels(&self, repository: &str, kind: NoticeKind) -> impl Iterator<Item = &str> {
        let wanted = self.all.iter().filter(move |subscription| {
            let repositories = &subscription.repositories;
            subscription.kinds.contains(&kind)
                && (repositories.is_empty() || repositories.iter().any(|name| name == repository))
        });
        wanted.map(|subscription| subscription.channel.as_str())
    }
}

impl Ledger {
    /// Tells of a run that just ended, where there is something to be told.
    pub(super) async fn notify(
        &self,
        tx: &mut Transaction,
        run: &RunRow,
        jobs: &[JobRow],
    ) -> Result<(), LedgerError> {
        let mut kinds = Vec::new();
        let is_lost = |job: &JobRow| {
            job.environment.is_some()
                && job.deploy != Some(DeployOutcome::Stands)
                && (job.conclusion == Some(Conclusion::Failure) || job.is_timed_out)
        };
        // Who cancels a deploy knows of it, unless it could not be undone.
        let deploy_failed = match run.deploy {
            Some(DeployOutcome::UndoIncomplete | DeployOutcome::Unknown) => true,
            Some(DeployOutcome::Undone) => {
                run.is_timed_out || run.conclusion == Some(Conclusion::Failure)
            }
            Some(DeployOutcome::Stands) | None => jobs.iter().any(is_lost),
        };
        if deploy_failed {
            kinds.push(NoticeKind::DeployFailed);
        }
        // A branch is broken or not whoever is told of it: who subscribes later hears of its end.
        if read_document(run)?.is_default_branch {
            match run.conclusion {
                Some(Conclusion::Failure) if tx.break_branch(run).await? => {
                    kinds.push(NoticeKind::Broken);
                }
                Some(Conclusion::Success) if tx.mend_branch(run).await? => {
                    kinds.push(NoticeKind::Recovered);
                }
                _ => {}
            }
        }
        for kind in kinds {
            let body = serde_json::to_string(&self.notice(run, jobs, kind)).unwrap_or_default();
            for channel in self.subscriptions.channels(&run.repository, kind) {
                let RunRow { id, attempt, .. } = run;
                let row = NoticeRow {
                    subject: format!("{channel} {kind:?} run {id} attempt {}", attempt.0),
                    channel: channel.to_owned(),
                    repository: run.repository.clone(),
                    body: body.clone(),
                    state: "waiting".to_owned(),
                    tries: 0,
                    error: None,
                    created_at: self.now(),
                    next_at: self.now(),
                };
                tx.insert_notice(&row).await?;
            }
        }
        Ok(())
    }

    fn notice(&self, run: &RunRow, jobs: &[JobRow], kind: NoticeKind) -> Notice {
        let url = self.subscriptions.public_url.as_ref();
        let short = run.git_ref.strip_prefix("refs/heads/");
        Notice {
            kind,
            repository: run.repository.clone(),
            workflow: run.name.clone(),
            run: run.id.clone(),
            number: run.number,
            attempt: run.attempt.0,
            git_ref: short.unwrap_or(&run.git_ref).to_owned(),
            sha: run.sha.clone(),
            title: run.title.clone(),
            actor: run.actor.clone(),
            description: ended(run, jobs),
            url: url.map(|url| format!("{}/runs/{}", url.trim_end_matches('/'), run.id)),
        }
    }

    /// Returns what waits to be told by a channel and is due.
    pub async fn due_notices(&self, channel: &str) -> Result<Vec<NoticeRow>, LedgerError> {
        reading!(self, tx, tx.due_notices(channel, self.now()).await?)
    }

    /// Returns what was told last or waits, the newest first.
    pub async fn notices(&self, limit: u32) -> Result<Vec<NoticeRow>, LedgerError> {
        reading!(self, tx, tx.notices(limit).await?)
    }

    /// Records that something was told.
    pub async fn notice_sent(&self, notice: &NoticeRow) -> Result<(), LedgerError> {
        let now = self.now();
        transaction!(self, tx, tx.notice_tried(notice, "sent", None, now).await?)
    }

    /// Records that something could not be told, and when it is tried again; `None` gives it up.
    pub async fn notice_failed(
        &self,
        notice: &NoticeRow,
        error: &str,
        next_at: Option<Timestamp>,
    ) -> Result<(), LedgerError> {
        let state = if next_at.is_some() {
            "waiting"
        } else {
            "failed"
        };
        let next_at = next_at.unwrap_or(notice.next_at);
        transaction!(
            self,
            tx,
            tx.notice_tried(notice, state, Some(error), next_at).await?
        )
    }
}
