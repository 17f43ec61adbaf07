//! `actions/checkout` and `runner/checkout`: the repository of the run into the workspace.
//!
//! In a run that a person starts, that is the working tree as it stands: tracked files with their
//! changes, and untracked ones that git does not ignore. Nothing is fetched.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::engine::{Action, ActionContext, ActionFuture, ActionResult, Fault};
use crate::git;

/// The action.
#[derive(Debug)]
pub(super) struct Checkout;

impl Action for Checkout {
    fn manifest(&self) -> &'static str {
        include_str!("action.yml")
    }

    fn run<'a>(
        &'a self,
        context: &'a mut ActionContext<'_>,
    ) -> ActionFuture<'a, Result<ActionResult, Fault>> {
        Box::pin(async move { check_out(context) })
    }

    fn fills_workspace(&self) -> bool {
        true
    }
}

fn check_out(context: &ActionContext<'_>) -> Result<ActionResult, Fault> {
    if let Some(reason) = refusal(context) {
        return Ok(ActionResult::failure(reason));
    }
    let target = context.workspace.join(context.input("path").unwrap_or(""));
    if !is_inside(&target, context.workspace) {
        return Ok(ActionResult::failure(
            "input `path` leads out of the workspace",
        ));
    }
    let Some(tree) = git::working_tree(context.source) else {
        return Ok(ActionResult::failure(format!(
            "`{}` is in no git repository, so there is nothing to check out",
            context.source.display()
        )));
    };
    let failed = |source: io::Error| {
        Fault::new(
            format!("`{}` could not be filled", target.display()),
            source,
        )
    };
    if context.boolean("clean").unwrap_or(true) {
        clear(&target).map_err(failed)?;
    }
    let files = git::files(&tree.root)
        .map_err(|source| Fault::new("the files of the repository could not be listed", source))?;
    for file in &files {
        copy(&tree.root.join(file), &target.join(file)).map_err(|source| {
            Fault::new(
                format!(
                    "`{}` could not be copied into the workspace",
                    file.display()
                ),
                source,
            )
        })?;
    }
    copy_git_folder(&tree.root, &target).map_err(failed)?;
    let commit = tree.commit.unwrap_or_default();
    context.say(&format!(
        "{} files of {} at {}\n",
        files.len(),
        tree.root.display(),
        short(&commit)
    ));
    Ok(ActionResult::success()
        .with_output("ref", tree.git_ref.unwrap_or_default())
        .with_output("commit", commit))
}

/// Returns why the inputs ask for what is not done here.
fn refusal(context: &ActionContext<'_>) -> Option<String> {
    let of_github = |key: &str| {
        context
            .github
            .get(key)
            .map(crate::expression::Value::to_display_string)
            .unwrap_or_default()
    };
    if let Some(repository) = context.input("repository")
        && !repository.eq_ignore_ascii_case(&of_github("repository"))
    {
        return Some(format!(
            "only the run's own repository can be checked out here, not `{repository}`: nothing is fetched"
        ));
    }
    if let Some(wanted) = context.input("ref") {
        let known = ["ref", "ref_name", "sha", "head_ref"].map(of_github);
        if !known.iter().any(|known| known == wanted) {
            return Some(format!(
                "only what the run is about can be checked out here ({}), not `{wanted}`",
                known[0]
            ));
        }
    }
    for name in ["sparse-checkout", "lfs"] {
        if context.input(name).is_some_and(|value| value != "false") {
            return Some(format!("input `{name}` is not supported"));
        }
    }
    None
}

fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or("no commit")
}

fn is_inside(path: &Path, folder: &Path) -> bool {
    !path
        .components()
        .any(|part| matches!(part, std::path::Component::ParentDir))
        && path.starts_with(folder)
}

/// Removes what is in a folder, and makes it where it is not there.
fn clear(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Copies a file with its mode, a link as a link; a folder in a list of files is a submodule.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    let kind = from.symlink_metadata()?.file_type();
    if kind.is_symlink() {
        if to.symlink_metadata().is_ok() {
            fs::remove_file(to)?;
        }
        return symlink(fs::read_link(from)?, to);
    }
    if kind.is_dir() {
        return copy_folder(from, to);
    }
    fs::copy(from, to).map(|_| ())
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Copies the repository itself, so that steps can ask git; a worktree's `.git` is a file that
/// points to the repository, which goes on being right.
fn copy_git_folder(root: &Path, target: &Path) -> io::Result<()> {
    let git = root.join(".git");
    if git.exists() {
        copy(&git, &target.join(".git"))
    } else {
        Ok(())
    }
}
