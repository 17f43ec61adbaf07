//! The outbox: what GitHub is to show of each subject, and what it was told last.

use sqlx::Row as _;
use sqlx::any::AnyRow;

use super::{StoreError, Transaction, number, unsigned};
use crate::run::Timestamp;

/// What GitHub is to show of a subject, as a commit and a context.
///
/// There is one row for a subject, so what was not sent yet is replaced by what is newer.
#[derive(Debug, Clone)]
pub struct PostRow {
    /// What it is about: no two rows have the same.
    pub subject: String,
    /// `owner/name`.
    pub repository: String,
    /// `status`, `check` or `deployment`.
    pub kind: String,
    /// What is to be shown, as JSON.
    pub body: String,
    /// Grows with every change of the body.
    pub version: u64,
    /// The version that GitHub was told last.
    pub sent_version: u64,
    /// GitHub's name for it, where it has one.
    pub remote_id: Option<String>,
    /// How often the newest version was tried.
    pub tries: u64,
    /// Why the last try failed.
    pub error: Option<String>,
    /// When the body changed last.
    pub changed_at: Timestamp,
    /// Not to be tried before.
    pub next_at: Timestamp,
}

const COLUMNS: &str = "subject, repository, kind, body, version, sent_version, remote_id, tries, error, changed_at, next_at";

impl PostRow {
    fn read(row: &AnyRow) -> Self {
        Self {
            subject: row.get("subject"),
            repository: row.get("repository"),
            kind: row.get("kind"),
            body: row.get("body"),
            version: unsigned(row.get("version")),
            sent_version: unsigned(row.get("sent_version")),
            remote_id: row.get("remote_id"),
            tries: unsigned(row.get("tries")),
            error: row.get("error"),
            changed_at: Timestamp(row.get("changed_at")),
            next_at: Timestamp(row.get("next_at")),
        }
    }
}

impl Transaction {
    /// Says what is to be shown of a subject from now on.
    pub async fn post(
        &mut self,
        subject: &str,
        (repository, kind): (&str, &str),
        body: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO posts (subject, repository, kind, body, version, sent_version, tries, changed_at, next_at) \
             VALUES ($1, $2, $3, $4, 1, 0, 0, $5, $5) \
             ON CONFLICT (subject) DO UPDATE SET body = excluded.body, version = posts.version + 1, tries = 0, \
             error = NULL, changed_at = excluded.changed_at, next_at = excluded.next_at \
             WHERE posts.body <> excluded.body",
        )
        .bind(subject)
        .bind(repository)
        .bind(kind)
        .bind(body)
        .bind(now.0)
        .execute(self.writer())
        .await
        .map_err(|source| StoreError::new("a post to GitHub", source))?;
        Ok(())
    }

    /// Returns the posts that wait to be sent, the one that waits longest first.
    pub async fn waiting_posts(
        &mut self,
        repository: &str,
        limit: u32,
    ) -> Result<Vec<PostRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM posts WHERE ($1 = '' OR repository = $1) AND sent_version < version \
             ORDER BY changed_at, subject LIMIT $2"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(repository)
            .bind(i64::from(limit))
            .fetch_all(self.connection())
            .await
            .map_err(|source| StoreError::new("posts to GitHub", source))?;
        Ok(rows.iter().map(PostRow::read).collect())
    }

    /// Returns the post of a subject.
    pub async fn post_of(&mut self, subject: &str) -> Result<Option<PostRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM posts WHERE subject = $1");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(subject)
            .fetch_optional(self.connection())
            .await
            .map_err(|source| StoreError::new("a post to GitHub", source))?;
        Ok(row.as_ref().map(PostRow::read))
    }

    /// Returns the post of a repository that may be tried now and waits longest.
    pub async fn due_post(
        &mut self,
        repository: &str,
        now: Timestamp,
    ) -> Result<Option<PostRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM posts WHERE repository = $1 AND sent_version < version AND next_at <= $2 \
             ORDER BY changed_at, subject LIMIT 1"
        );
        let row = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(repository)
            .bind(now.0)
            .fetch_optional(self.connection())
            .await
            .map_err(|source| StoreError::new("posts to GitHub", source))?;
        Ok(row.as_ref().map(PostRow::read))
    }

    /// Returns the posts of a repository and a kind whose subjects begin so.
    pub async fn posts_of(
        &mut self,
        (repository, kind): (&str, &str),
        beginning: &str,
    ) -> Result<Vec<PostRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM posts WHERE repository = $1 AND kind = $2 \
             AND substr(subject, 1, CAST($3 AS INTEGER)) = $4 ORDER BY changed_at"
        );
        let length = i64::try_from(beginning.chars().count()).unwrap_or(i64::MAX);
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(repository)
            .bind(kind)
            .bind(length)
            .bind(beginning)
            .fetch_all(self.connection())
            .await
            .map_err(|source| StoreError::new("posts to GitHub", source))?;
        Ok(rows.iter().map(PostRow::read).collect())
    }

    /// Writes that a version of a post arrived, under this name.
    pub async fn post_sent(
        &mut self,
        post: &PostRow,
        remote_id: Option<&str>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE posts SET sent_version = $1, tries = 0, error = NULL, remote_id = COALESCE($2, remote_id) \
             WHERE subject = $3",
        )
        .bind(number(post.version))
        .bind(remote_id)
        .bind(&post.subject)
        .execute(self.writer())
        .await
        .map_err(|source| StoreError::new("a post to GitHub", source))?;
        Ok(())
    }

    /// Writes that a post did not arrive, why, and when it is tried again; `None` gives it up.
    pub async fn post_failed(
        &mut self,
        post: &PostRow,
        error: &str,
        next_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let sent = if next_at.is_none() {
            post.version
        } else {
            post.sent_version
        };
        sqlx::query(
            "UPDATE posts SET sent_version = $1, tries = tries + 1, error = $2, next_at = $3 \
             WHERE subject = $4 AND version = $5",
        )
        .bind(number(sent))
        .bind(error)
        .bind(next_at.map_or(post.next_at.0, |time| time.0))
        .bind(&post.subject)
        .bind(number(post.version))
        .execute(self.writer())
        .await
        .map_err(|source| StoreError::new("a post to GitHub", source))?;
        Ok(())
    }
}
