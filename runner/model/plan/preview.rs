//! The jobs of a run as they can be told before it begins.

use std::sync::Arc;

use super::call::{self, WorkflowLoader};
use super::expand::{self, Expansion, is_kept_cell};
use super::job::{SecretAccess, WorkflowFile};
use super::progress::{Progress, RunFacts};
use super::scope::PlanScope;
use crate::expression::Value;
use crate::workflow::{Job, JobBody, Strategy, Token, TokenKind};

/// A job as it can be told before the run begins.
#[derive(Debug, Clone)]
pub struct PreviewedJob {
    /// The file that it stands in.
    pub file: Arc<WorkflowFile>,
    /// Its key under `jobs`.
    pub id: String,
    /// Its name on the checks page.
    pub name: String,
    /// The keys of the jobs that it needs.
    pub needs: Vec<String>,
    /// Its matrix cell; null where it has none or it is not known.
    pub matrix: Value,
    /// Whether its cells come from the outputs of a job before it.
    pub is_dynamic: bool,
    /// The labels of `runs-on`, as far as they are known.
    pub runs_on: Vec<String>,
}

impl Progress {
    /// Returns all jobs in the order of creation, conditions left aside.
    ///
    /// A job whose matrix needs the outputs of another is there once, without a cell; the jobs of
    /// called workflows follow their caller's place.
    pub fn preview(&self) -> Vec<PreviewedJob> {
        let (facts, loader, root) = self.parts();
        let mut preview = Preview {
            facts,
            loader,
            cells: self.cells(),
            jobs: Vec::new(),
        };
        if let Some((file, inputs, kept)) = root {
            preview.file(&file, &inputs, &[], |id| kept.iter().any(|kept| kept == id));
        }
        preview.jobs
    }
}

struct Preview<'a> {
    facts: &'a RunFacts,
    loader: &'a dyn WorkflowLoader,
    cells: &'a [(String, String)],
    jobs: Vec<PreviewedJob>,
}

impl Preview<'_> {
    fn file(
        &mut self,
        file: &Arc<WorkflowFile>,
        inputs: &Value,
        callers: &[String],
        is_kept: impl Fn(&str) -> bool,
    ) {
        for (id, job) in file.workflow.jobs.iter().filter(|(id, _)| is_kept(id)) {
            let scope = PlanScope {
                github: self.facts.github.clone(),
                vars: self.facts.vars.clone(),
                inputs: inputs.clone(),
                ..PlanScope::default()
            };
            let is_dynamic = job.strategy.as_ref().is_some_and(needs_outputs);
            let expansions = if is_dynamic {
                vec![Expansion::unexpanded(job, id, &scope)]
            } else {
                expand::expand(job, id, &scope)
                    .unwrap_or_else(|_| vec![Expansion::unexpanded(job, id, &scope)])
            };
            let expansions = expansions
                .into_iter()
                .filter(|expansion| is_kept_cell(self.cells, &expansion.matrix));
            for expansion in expansions {
                self.job(file, (id, job), &scope, callers, (expansion, is_dynamic));
            }
        }
    }

    fn job(
        &mut self,
        file: &Arc<WorkflowFile>,
        (id, job): (&str, &Job),
        scope: &PlanScope,
        callers: &[String],
        (expansion, is_dynamic): (Expansion, bool),
    ) {
        let mut names = callers.to_vec();
        names.push(expansion.name.clone());
        if let (JobBody::Call(_), false) = (&job.body, is_dynamic) {
            let scope = expansion.scope(scope);
            if let Ok(opened) = call::open(
                self.loader,
                job,
                &scope,
                &SecretAccess::All,
                (file, callers.len()),
            ) {
                return self.file(&opened.file, &opened.inputs, &names, |_| true);
            }
        }
        self.jobs.push(PreviewedJob {
            file: Arc::clone(file),
            id: id.to_owned(),
            name: names.join(" / "),
            needs: job.needs.iter().map(|need| need.value.clone()).collect(),
            matrix: expansion.matrix,
            is_dynamic,
            runs_on: expansion.runs_on,
        });
    }
}

/// Tells whether a matrix is made of what other jobs give.
fn needs_outputs(strategy: &Strategy) -> bool {
    [&strategy.whole, &strategy.matrix]
        .into_iter()
        .flatten()
        .any(mentions_needs)
}

fn mentions_needs(token: &Token) -> bool {
    match &token.kind {
        TokenKind::Expression(template) => template.expressions().any(|(_, expression)| {
            expression
                .references()
                .iter()
                .any(|reference| reference.is_context("needs"))
        }),
        TokenKind::Sequence(items) => items.iter().any(mentions_needs),
        TokenKind::Mapping(pairs) => pairs
            .iter()
            .any(|(key, value)| mentions_needs(key) || mentions_needs(value)),
        TokenKind::Null
        | TokenKind::Boolean(_)
        | TokenKind::Number(_)
        | TokenKind::String(_)
        | TokenKind::Insert => false,
    }
}
