//! The outbox: what GitHub is to show is written in the transaction that makes it so.

use super::super::post::{Post, of_job, of_run};
use super::{Ledger, LedgerError, RunDocument, read_document, reading, transaction};
use crate::run::{RunId, Timestamp};
use crate::store::{JobRow, PostRow, RunRow, Transaction};

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
        let sha = report.sha.as_str();
        let post = of_run(run, jobs, sha, url.clone());
        if let Post::Status { context, .. } = &post {
            let subject = format!("status {} {sha} {context}", run.repository);
            self.write_post(tx, run, &subject, &post).await?;
        }
        for job in jobs {
            let Some(environment) = job.environment.clone() else {
                continue;
            };
            if job.started_at.is_none() || job.is_kept {
                continue;
            }
            let post = of_job(run, job, &environment, (sha, url.clone()));
            let subject = deployment_subject(run, &environment, job);
            self.write_post(tx, run, &subject, &post).await?;
            if matches!(&post, Post::Deployment { state, .. } if state == "success") {
                self.supersede(tx, run, &environment, &subject).await?;
            }
        }
        Ok(())
    }

    async fn write_post(
        &self,
        tx: &mut Transaction,
        run: &RunRow,
        subject: &str,
        post: &Post,
    ) -> Result<(), LedgerError> {
        // A later run of the same commit and context has the word.
        let known = tx.post_of(subject).await?;
        let own: u64 = run.id.0.parse().unwrap_or(0);
        let is_late = known.is_some_and(|row| {
            matches!(serde_json::from_str(&row.body), Ok(Post::Status { run, .. })
                if run.0.parse::<u64>().unwrap_or(0) > own)
        });
        if is_late {
            return Ok(());
        }
        let body = serde_json::to_string(post).unwrap_or_default();
        tx.post(subject, (&run.repository, post.kind()), &body, self.now())
            .await?;
        Ok(())
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

    /// Returns the posts of a repository that wait, and what each is to show.
    pub async fn waiting_posts(&self, repository: &str) -> Result<Vec<PostRow>, LedgerError> {
        reading!(self, tx, tx.waiting_posts(repository, 100).await?)
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
