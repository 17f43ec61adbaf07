//! What `uses` can name: an action of a step, a workflow of a job.

use crate::diagnostic::Diagnostic;
use crate::workflow::model::{ActionReference, Located};
use crate::workflow::token::Token;

use super::reader::Reader;

/// Where workflows that are called can lie.
const WORKFLOWS: [&str; 2] = [".github/workflows/", ".github/workflows-lab/"];

impl ActionReference {
    /// Reads what `uses` of a step names; `None` if it names nothing.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(image) = text.strip_prefix("docker://") {
            return Some(Self::Docker(image.to_owned()));
        }
        if text.starts_with("./") || text.starts_with(".\\") {
            return Some(Self::Local(text.to_owned()));
        }
        if let Some(path) = text.strip_prefix("$/") {
            return Some(Self::SelfRepository(path.to_owned()));
        }
        let (path, reference) = text.split_once('@')?;
        if reference.is_empty() || reference.contains('@') {
            return None;
        }
        let mut parts = path.split(['/', '\\']).filter(|part| !part.is_empty());
        let owner = parts.next()?.to_owned();
        let repository = parts.next()?.to_owned();
        Some(Self::Repository {
            owner,
            repository,
            path: parts.collect::<Vec<_>>().join("/"),
            reference: reference.to_owned(),
        })
    }
}

/// Reads `uses` of a step and reports what names no action.
pub(super) fn action(reader: &mut Reader<'_>, token: &Token) -> Option<Located<ActionReference>> {
    let text = token.as_literal()?;
    if text.is_empty() {
        return None;
    }
    let Some(value) = ActionReference::parse(text) else {
        let message = format!("`{text}` names no action");
        let hint = if text.contains('@') {
            "write `owner/repository@reference`, `owner/repository/path@reference`, `./path` or \
             `docker://image`"
        } else {
            "the version is missing: write `owner/repository@reference`"
        };
        reader.report(Diagnostic::error("uses-format", &token.span, message).with_hint(hint));
        return None;
    };
    Some(Located {
        value,
        span: token.span.clone(),
    })
}

/// Reads `uses` of a job and warns of what names no workflow.
///
/// GitHub's converter takes any text here; its server looks at it when it fetches the workflow.
pub(super) fn workflow(reader: &mut Reader<'_>, token: &Token) -> Option<Located<String>> {
    let text = token.as_literal()?;
    if text.is_empty() {
        return None;
    }
    if let Some(problem) = workflow_problem(text) {
        let message = format!("`{text}` names no workflow: {problem}");
        reader.report(
            Diagnostic::warning("uses-format", &token.span, message).with_hint(
                "write `./.github/workflows/file.yml` or \
                 `owner/repository/.github/workflows/file.yml@reference`",
            ),
        );
    }
    Some(Located {
        value: text.to_owned(),
        span: token.span.clone(),
    })
}

fn workflow_problem(text: &str) -> Option<&'static str> {
    if let Some(path) = text.strip_prefix("./").or_else(|| text.strip_prefix("$/")) {
        return if path.contains('@') {
            Some("a file of the same repository has no `@reference`")
        } else {
            file_problem(path)
        };
    }
    let Some((path, reference)) = text.split_once('@') else {
        return Some("the `@reference` is missing");
    };
    if reference.is_empty() || reference.contains('@') {
        return Some("the `@reference` is wrong");
    }
    if let Some(problem) = ref_problem(reference) {
        return Some(problem);
    }
    let mut parts = path.splitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(owner), Some(repository), Some(file))
            if !owner.is_empty() && !repository.is_empty() =>
        {
            file_problem(file)
        }
        _ => Some("the path to its file is missing"),
    }
}

/// Says what is wrong with the name of a branch, tag or commit.
fn ref_problem(reference: &str) -> Option<&'static str> {
    let strange = |c: char| c.is_whitespace() || c.is_control() || "?*[\\^~:".contains(c);
    let ends = |c: char| c == '/' || c == '.';
    let is_wrong = reference.contains(strange)
        || reference.contains("..")
        || reference.starts_with(ends)
        || reference.ends_with(ends)
        || reference.ends_with(".lock");
    is_wrong.then_some("its `@reference` is no name of a branch, tag or commit")
}

fn file_problem(path: &str) -> Option<&'static str> {
    let Some(file) = WORKFLOWS
        .iter()
        .find_map(|folder| path.strip_prefix(folder))
    else {
        return Some("it lies outside `.github/workflows/`");
    };
    if file.contains('/') {
        return Some("it lies in a folder below `.github/workflows/`");
    }
    let is_yaml = [".yml", ".yaml"]
        .iter()
        .any(|ending| file.len() > ending.len() && file.ends_with(ending));
    (!is_yaml).then_some("its name does not end in `.yml` or `.yaml`")
}
