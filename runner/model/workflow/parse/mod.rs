//! From the YAML tree to the typed workflow.
//!
//! `reader` reads every value against the tables of `schema` and reports what does not fit; the
//! other files make typed parts of what it read and check what no table can say. All of them go
//! on behind a problem, so that a person sees everything at once.

mod container;
mod cron;
mod events;
mod inputs;
mod job;
mod keys;
mod kinds;
mod lines;
pub(super) mod lint;
pub(super) mod names;
mod needs;
mod pattern;
pub(super) mod reader;
mod reference;
mod scalar;
pub(super) mod step;
mod strategy;
mod triggers;

use crate::diagnostic::{Diagnostic, Span, has_errors};
use crate::expression;
use crate::yaml::{self, Node, Schema};

use super::model::{Condition, Located, Workflow};
use super::schema;
use super::token::Token;
use reader::{Place, Reader};

/// A file is not longer, in bytes; GitHub's limit.
const MAX_BYTES: usize = 1024 * 1024;

/// Reads a workflow file.
///
/// The workflow is there exactly when none of the diagnostics is an error. Warnings tell what
/// GitHub takes but will surprise. The diagnostics come in the order of the file.
pub fn parse(source: &str) -> (Option<Workflow>, Vec<Diagnostic>) {
    let root = match tree(source) {
        Ok(root) => root,
        Err(found) => return (None, found),
    };
    let mut reader = Reader::new(source);
    let workflow = workflow(&mut reader, &root);
    finish(reader, workflow)
}

/// Ends the reading: what was read counts only when nothing is wrong.
pub(super) fn finish<T>(reader: Reader<'_>, read: Option<T>) -> (Option<T>, Vec<Diagnostic>) {
    let mut found = reader.into_found();
    if read.is_none() && !has_errors(&found) {
        found.push(Diagnostic::error(
            "unreadable",
            &Span::START,
            "the file could not be read",
        ));
    }
    let read = if has_errors(&found) { None } else { read };
    (read, found)
}

/// Reads the tree of a file and refuses what has none.
pub(super) fn tree(source: &str) -> Result<Node, Vec<Diagnostic>> {
    if source.len() > MAX_BYTES {
        let message = format!("the file is longer than {MAX_BYTES} bytes");
        return Err(vec![Diagnostic::error("file-size", &Span::START, message)]);
    }
    yaml::parse(source, Schema::Core12)?.ok_or_else(|| {
        vec![Diagnostic::error(
            "empty-file",
            &Span::START,
            "the file is empty",
        )]
    })
}

fn workflow(reader: &mut Reader<'_>, root: &Node) -> Option<Workflow> {
    let token = reader.read(root, &schema::WORKFLOW, Place::File("the workflow"));
    let always = status(&root.span, "")?;
    let on = root.as_mapping().and_then(|mapping| mapping.get("on"));
    let on = on.map(|on| triggers::read(reader, on));
    if let Some(concurrency) = token.get("concurrency") {
        container::check_concurrency(reader, concurrency);
    }
    let jobs = token
        .get("jobs")
        .map(|jobs| job::all(reader, jobs, &always));
    let of = |key: &str| token.get(key).cloned();
    let workflow = Workflow {
        name: token.get("name").and_then(located),
        run_name: of("run-name"),
        on: on?,
        env: of("env"),
        defaults: job::defaults(reader, &token),
        permissions: of("permissions"),
        concurrency: of("concurrency"),
        jobs: jobs?,
    };
    lint::workflow(reader, &workflow);
    Some(workflow)
}

/// Returns a condition that is not written in the file; blank means `success()`.
pub(super) fn status(span: &Span, text: &str) -> Option<Condition> {
    let read = expression::condition(text).ok()?;
    Some(Condition {
        expression: read.expression().clone(),
        text: read.text().to_owned(),
        span: span.clone(),
        is_written: false,
    })
}

fn located(token: &Token) -> Option<Located<String>> {
    Some(Located {
        value: token.as_literal()?.to_owned(),
        span: token.span.clone(),
    })
}
