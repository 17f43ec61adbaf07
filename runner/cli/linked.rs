//! What a workflow calls: other workflows, and actions that lie in the repository, in the folder of
//! `--actions-dir`, or in this program.

use std::path::{Path, PathBuf};

use super::settings;
use crate::diagnostic::{Diagnostic, Span, nearest};
use crate::engine::ActionRegistry;
use crate::plan::linked;
use crate::scheduler::RepositoryWorkflows;
use crate::workflow::{
    ActionManifest, ActionReference, ActionRuns, JobBody, Step, StepBody, Token, Workflow,
    parse_action,
};

/// Returns what is wrong with the calls of a workflow.
///
/// GitHub refuses wrong calls of workflows, so these are errors; of actions it speaks when they run,
/// so these are warnings.
pub(super) fn problems(workflow: &Workflow, loader: &RepositoryWorkflows) -> Vec<Diagnostic> {
    let mut problems = linked(workflow, &|uses| loader.find(uses));
    let checker = Checker {
        loader,
        builtin: crate::actions::registry(settings::whole_env()),
    };
    for job in workflow.jobs.values() {
        if let JobBody::Steps(body) = &job.body {
            for step in &body.steps {
                checker.step(step, &mut problems);
            }
        }
    }
    problems
}

struct Checker<'a> {
    loader: &'a RepositoryWorkflows,
    builtin: ActionRegistry,
}

impl Checker<'_> {
    fn step(&self, step: &Step, problems: &mut Vec<Diagnostic>) {
        let (uses, with) = match &step.body {
            StepBody::Uses { uses, with } => (uses, with.as_ref()),
            StepBody::Parallel(steps) => {
                return steps.iter().for_each(|step| self.step(step, problems));
            }
            StepBody::Run { .. } | StepBody::Wait(_) | StepBody::WaitAll | StepBody::Cancel(_) => {
                return;
            }
        };
        let name = uses.value.to_string();
        let Some(source) = self.manifest(&uses.value) else {
            return;
        };
        let (manifest, found) = parse_action(&source);
        match manifest {
            Some(manifest) => inputs(&manifest, &name, (with, &uses.span), problems),
            None => {
                let first = found.iter().find(|problem| problem.is_error());
                let first = first.map_or(String::new(), |problem| format!(": {problem}"));
                let text = format!("the manifest of `{name}` is not valid{first}");
                problems.push(Diagnostic::warning("invalid-action", &uses.span, text));
            }
        }
    }

    /// Returns the text of an action's manifest, where it is here.
    fn manifest(&self, uses: &ActionReference) -> Option<String> {
        let folder = match uses {
            ActionReference::Local(path) => self.loader.root.join(path),
            ActionReference::SelfRepository(path) => self.loader.root.join(path),
            ActionReference::Docker(_) => return None,
            ActionReference::Repository {
                owner,
                repository,
                path,
                ..
            } => {
                let name = [owner, repository, path].map(String::as_str).join("/");
                let name = name.trim_end_matches('/');
                let given = self.loader.actions_dir.as_ref();
                match given.map(|folder| folder.join(name)) {
                    Some(folder) if folder.is_dir() => folder,
                    _ => return Some(self.builtin.get(name)?.manifest().to_owned()),
                }
            }
        };
        read(&folder)
    }
}

fn read(folder: &Path) -> Option<String> {
    let files = ["action.yml", "action.yaml"].map(|name| folder.join(name));
    let read = |file: &PathBuf| std::fs::read_to_string(file).ok();
    files.iter().find_map(read)
}

/// Compares `with` with the inputs of an action.
fn inputs(
    manifest: &ActionManifest,
    name: &str,
    (with, uses): (Option<&Token>, &Span),
    problems: &mut Vec<Diagnostic>,
) {
    let given = with.and_then(Token::as_mapping).unwrap_or_default();
    let known: Vec<&str> = manifest.inputs.keys().map(String::as_str).collect();
    let is_docker = matches!(manifest.runs, ActionRuns::Docker { .. });
    for (key, _) in given {
        let Some(input) = key.as_literal() else {
            continue;
        };
        let is_known = known.iter().any(|known| known.eq_ignore_ascii_case(input))
            || (is_docker && matches!(input, "args" | "entrypoint"));
        if is_known {
            continue;
        }
        let text = format!("`{name}` has no input `{input}`");
        let hint = match nearest(input, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "it has none".to_owned(),
            None => format!("it has: {}", known.join(", ")),
        };
        problems.push(Diagnostic::warning("unknown-input", &key.span, text).with_hint(hint));
    }
    // Where keys are made by expressions nobody knows what is given.
    let has_all = given.iter().all(|(key, _)| key.as_literal().is_some());
    for (input, declared) in manifest.inputs.iter().filter(|_| has_all) {
        let is_given = given.iter().any(|(key, _)| {
            key.as_literal()
                .is_some_and(|given| given.eq_ignore_ascii_case(input))
        });
        if declared.is_required && declared.default.is_none() && !is_given {
            let text = format!("input `{input}` of `{name}` is required");
            problems.push(Diagnostic::warning("missing-input", uses, text));
        }
    }
}
