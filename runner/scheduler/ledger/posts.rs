//! The outbox: what GitHub is to show is written in the transaction that makes it so.

use std::collections::HashMap;

use super::super::check;
use super::super::document::Report;
use super::super::findings::Findings;
use super::super::post::{About, Post, of_job, of_run, skipped};
use super::{Ledger, LedgerError, RunDocument, read_document, reading, transaction};
use crate::run::{Attempt, JobKey, RunId, Timestamp};
use crate::store::{JobRow, PostRow, RunRow, Transaction};

/// A workflow that a filter shut out, of which GitHub is told all the same.
#[derive(Debug, Clone)]
pub struct SkippedWorkflow {
    /// `owner/name`.
    pub repository: String,
    /// What distinguishes it from others of the commit.
    pub context: String,
    /// Why it does not run.
    pub reason: String,
    /// Its file.
    pub workflow: String,
    /// How GitHub is told.
    pub report: Report,
}

impl Ledger {
    /// Says what GitHub is to show of a run and of its deployments, where its repository reports.
    pub(super) async fn tell(&self, tx: &mut Transaction, run: &RunRow) -> Result<(), LedgerError> {
        let document = read_document(run)?;
        if document.report.is_none() {
            return Ok(());
        }
        let jobs = tx.jobs_of(&run.id, run.attempt).await?;
        self.tell_of(tx, run, &document, &jobs).await
    }

    /// The same for who has read all of the run already.
    pub(super) async fn tell_of(
        &self,
        tx: &mut Transaction,
        run: &RunRow,
        document: &RunDocument,
        jobs: &[JobRow],
    ) -> Result<(), LedgerError> {
        let Some(report) = &document.report else {
            return Ok(());
        };
        let url = report
            .public_url
            .as_ref()
            .map(|url| format!("{}/runs/{}", url.trim_end_matches('/'), run.id));
        let about = About {
            run,
            jobs,
            sha: &report.sha,
            url,
        };
        if report.is_app {
            self.tell_checks(tx, &about).await?;
        } else {
            let post = of_run(&about);
            self.write_summary(tx, &run.repository, &post).await?;
        }
        for job in jobs {
            let Some(environment) = &job.environment else {
                continue;
            };
            if job.started_at.is_none() || job.is_kept {
                continue;
            }
            let post = of_job(&about, job, environment);
            let subject = deployment_subject(run, environment, job);
            // Another run has deployed there since: it stays inactive.
            if self.is_superseded(tx, &subject).await? {
                continue;
            }
            self.write_post(tx, &run.repository, &subject, &post)
                .await?;
            if matches!(&post, Post::Deployment { state, .. } if state == "success") {
                self.supersede(tx, run, environment, &subject).await?;
            }
        }
        Ok(())
    }

    /// Says what check runs are to show of a run and of its jobs.
    async fn tell_checks(
        &self,
        tx: &mut Transaction,
        about: &About<'_>,
    ) -> Result<(), LedgerError> {
        let run = about.run;
        self.write_summary(tx, &run.repository, &check::of_run(about))
            .await?;
        let beginning = job_check_beginning(run);
        // A run of many jobs is told of often, and hardly ever does more than one of them change.
        let known: HashMap<String, String> = tx
            .posts_of((&run.repository, "check"), &beginning)
            .await?
            .into_iter()
            .map(|row| (row.subject, row.body))
            .collect();
        for job in about.jobs.iter().filter(|job| !job.is_kept) {
            let post = check::of_job(about, job);
            let subject = format!("{beginning}{}", job.job.0);
            let body = serde_json::to_string(&post).unwrap_or_default();
            if known.get(&subject) != Some(&body) {
                let kind = (run.repository.as_str(), post.kind());
                tx.post(&subject, kind, &body, self.now()).await?;
            }
        }
        Ok(())
    }

    /// Writes what is to be shown of a whole run, unless a later run of the same commit and context
    /// has the word.
    async fn write_summary(
        &self,
        tx: &mut Transaction,
        repository: &str,
        post: &Post,
    ) -> Result<(), LedgerError> {
        let (of, subject) = match post {
            Post::Status {
                run, sha, context, ..
            } => (run, format!("status {repository} {sha} {context}")),
            Post::Check { run, check } => {
                let beginning = check_beginning(repository, &check.sha);
                (run, format!("{beginning}{}", check.name))
            }
            Post::Deployment { .. } => return Ok(()),
        };
        let number = |run: &RunId| run.0.parse::<u64>().unwrap_or(0);
        let known = tx.post_of(&subject).await?;
        let is_late = known.is_some_and(|row| {
            matches!(serde_json::from_str(&row.body),
                Ok(Post::Status { run, .. } | Post::Check { run, .. }) if number(&run) > number(of))
        });
        if is_late {
            return Ok(());
        }
        self.write_post(tx, repository, &subject, post).await
    }

    /// Says what GitHub is to show of a workflow that a filter shut out: somebody may wait for it.
    pub(super) async fn tell_skipped(
        &self,
        tx: &mut Transaction,
        skip: &SkippedWorkflow,
    ) -> Result<(), LedgerError> {
        // No run has this number, so that of every run has the word.
        let run = RunId("0".to_owned());
        let description = skipped(&skip.reason);
        let post = if skip.report.is_app {
            Post::Check {
                run,
                check: check::Check {
                    external_id: String::new(),
                    sha: skip.report.sha.clone(),
                    name: skip.context.clone(),
                    status: "completed".to_owned(),
                    conclusion: Some("neutral".to_owned()),
                    started_at: None,
                    completed_at: None,
                    title: description,
                    summary: String::new(),
                    details_url: None,
                    buttons: Vec::new(),
                    workflow: skip.workflow.clone(),
                },
            }
        } else {
            Post::Status {
                run,
                sha: skip.report.sha.clone(),
                context: skip.context.clone(),
                state: "success".to_owned(),
                description,
                target_url: None,
            }
        };
        self.write_summary(tx, &skip.repository, &post).await
    }

    async fn write_post(
        &self,
        tx: &mut Transaction,
        repository: &str,
        subject: &str,
        post: &Post,
    ) -> Result<(), LedgerError> {
        let body = serde_json::to_string(post).unwrap_or_default();
        tx.post(subject, (repository, post.kind()), &body, self.now())
            .await?;
        Ok(())
    }

    /// Returns what a job found, as its process reported it.
    pub async fn findings(
        &self,
        run: &RunId,
        attempt: Attempt,
        job: JobKey,
    ) -> Result<Findings, LedgerError> {
        let text = reading!(self, tx, tx.findings(run, attempt, job).await?)?;
        Ok(text
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default())
    }

    /// Returns the runs that check runs show beside a commit.
    pub async fn runs_beside(
        &self,
        repository: &str,
        sha: &str,
    ) -> Result<Vec<RunId>, LedgerError> {
        let beginning = check_beginning(repository, sha);
        let rows = reading!(
            self,
            tx,
            tx.posts_of((repository, "check"), &beginning).await?
        )?;
        let runs = rows
            .iter()
            .filter_map(|row| match serde_json::from_str(&row.body) {
                Ok(Post::Check { run, .. }) if run.0 != "0" => Some(run),
                _ => None,
            });
        Ok(runs.collect())
    }

    async fn is_superseded(
        &self,
        tx: &mut Transaction,
        subject: &str,
    ) -> Result<bool, LedgerError> {
        let known = tx.post_of(subject).await?;
        Ok(known.is_some_and(|row| {
            matches!(serde_json::from_str(&row.body), Ok(Post::Deployment { state, .. })
                if state == "inactive")
        }))
    }

    /// Says of all earlier deployments of an environment that they are not what runs there.
    ///
    /// GitHub does that by itself only for environments that are not production.
    async fn supersede(
        &self,
        tx: &mut Transaction,
        run: &RunRow,
        environment: &str,
        subject: &str,
    ) -> Result<(), LedgerError> {
        let beginning = deployment_beginning(&run.repository, environment);
        for row in tx
            .posts_of((&run.repository, "deployment"), &beginning)
            .await?
        {
            let Ok(Post::Deployment {
                run: of,
                sha,
                environment,
                state,
                log_url,
                environment_url,
                ..
            }) = serde_json::from_str(&row.body)
            else {
                continue;
            };
            if row.subject == subject || state != "success" {
                continue;
            }
            let post = Post::Deployment {
                run: of,
                sha,
                environment,
                state: "inactive".to_owned(),
                description: format!("Superseded by run {}", run.id),
                log_url,
                environment_url,
            };
            let body = serde_json::to_string(&post).unwrap_or_default();
            tx.post(
                &row.subject,
                (&row.repository, post.kind()),
                &body,
                self.now(),
            )
            .await?;
        }
        Ok(())
    }

    /// Takes or prolongs the lease of a name for a machine; `false` where another one has it.
    pub async fn hold(
        &self,
        name: &str,
        machine: &str,
        lease: std::time::Duration,
    ) -> Result<bool, LedgerError> {
        if !self.is_shared() {
            return Ok(true);
        }
        transaction!(self, tx, tx.hold(name, machine, lease).await?)
    }

    /// Returns the post of some repositories that may be tried now and waits longest.
    pub async fn due_post(
        &self,
        repositories: impl Iterator<Item = &str> + Clone,
    ) -> Result<Option<PostRow>, LedgerError> {
        let now = self.now();
        reading!(self, tx, {
            let mut oldest: Option<PostRow> = None;
            for repository in repositories.clone() {
                if let Some(post) = tx.due_post(repository, now).await?
                    && oldest
                        .as_ref()
                        .is_none_or(|known| post.changed_at < known.changed_at)
                {
                    oldest = Some(post);
                }
            }
            oldest
        })
    }

    /// Records that a post arrived.
    pub async fn post_sent(
        &self,
        post: &PostRow,
        remote_id: Option<&str>,
    ) -> Result<(), LedgerError> {
        transaction!(self, tx, tx.post_sent(post, remote_id).await?)
    }

    /// Records that a post did not arrive, and when it is tried again; `None` gives it up.
    pub async fn post_failed(
        &self,
        post: &PostRow,
        error: &str,
        next_at: Option<Timestamp>,
    ) -> Result<(), LedgerError> {
        transaction!(self, tx, tx.post_failed(post, error, next_at).await?)
    }
}

/// How the subjects of the check runs of a commit's runs begin.
fn check_beginning(repository: &str, sha: &str) -> String {
    format!("check {repository} {sha} ")
}

/// How the subjects of the check runs of a run's jobs begin.
fn job_check_beginning(run: &RunRow) -> String {
    format!(
        "check {} run {} attempt {} job ",
        run.repository, run.id, run.attempt.0
    )
}

fn deployment_beginning(repository: &str, environment: &str) -> String {
    format!("deployment {repository} {environment} run ")
}

fn deployment_subject(run: &RunRow, environment: &str, job: &JobRow) -> String {
    let RunId(id) = &run.id;
    format!(
        "{}{id} attempt {} job {}",
        deployment_beginning(&run.repository, environment),
        run.attempt.0,
        job.job.0
    )
}
