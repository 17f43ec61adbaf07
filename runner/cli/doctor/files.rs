//! Whether files with secrets stay where they belong: out of git, and out of images.

use std::path::{Path, PathBuf};

use super::{Findings, Level};
use crate::cli::project::Project;
use crate::docker::DockerIgnore;
use crate::git;

const SUBJECT: &str = "files";
/// Endings of files that show what belongs into another, without values.
const EXAMPLES: [&str; 4] = ["example", "sample", "template", "dist"];

/// Looks at the files of variables in the project's folder and at what git and Docker take.
pub(super) fn check(project: &Project, findings: &mut Findings) {
    let folder = &project.folder;
    let tracked: Vec<PathBuf> = git::tracked(folder).unwrap_or_default();
    for file in tracked.iter().filter(|file| holds_secrets(file)) {
        findings.with_hint(
            Level::Warning,
            SUBJECT,
            format!("`{}` is tracked by git", file.display()),
            format!(
                "`git rm --cached {0}`, and a line `{0}` in .gitignore",
                file.display()
            ),
        );
    }
    let there = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = there.map(|entry| PathBuf::from(entry.file_name()));
    let mut secret: Vec<PathBuf> = names.filter(|name| holds_secrets(name)).collect();
    secret.sort();
    image(project, &secret, findings);
    for (local, user) in uploads(project) {
        if !folder.join(&local).is_file() {
            let message = format!("`{local}` is not there, needed by accessory `{user}`");
            findings.add(Level::Error, SUBJECT, message);
        }
    }
    findings.well(SUBJECT, "none with secrets is in git or in the image");
}

/// Checks what a build would copy.
fn image(project: &Project, secret: &[PathBuf], findings: &mut Findings) {
    let builder = &project.config.builder;
    if builder.pack.is_some() {
        return;
    }
    let context = project
        .folder
        .join(builder.context.as_deref().unwrap_or("."));
    let dockerfile = &builder.dockerfile;
    if !context.join(dockerfile).is_file() {
        let message = format!("`{dockerfile}` is not there to build from");
        findings.add(Level::Warning, SUBJECT, message);
        return;
    }
    let read = |name: &str| std::fs::read_to_string(context.join(name)).ok();
    let own = format!("{dockerfile}.dockerignore");
    let text = read(&own).or_else(|| read(".dockerignore"));
    let ignore = DockerIgnore::parse(text.as_deref().unwrap_or_default());
    let here = secret.iter().filter(|file| context.join(file).is_file());
    // A key in the secrets' folder goes the same way.
    for file in here
        .map(PathBuf::as_path)
        .chain([Path::new(".kamal/secrets")])
    {
        if context.join(file).is_file() && !ignore.excludes(&file.to_string_lossy()) {
            findings.with_hint(
                Level::Warning,
                SUBJECT,
                format!("`{}` goes into every build of the image", file.display()),
                format!("add a line `{}` to .dockerignore", file.display()),
            );
        }
    }
}

/// Files of the project that accessories need.
fn uploads(project: &Project) -> Vec<(String, String)> {
    let accessories = project.config.accessories.iter();
    let of_one = |accessory: &crate::kamal::Accessory| {
        let pair = |file: &crate::kamal::Mount| (file.local.clone(), accessory.name.clone());
        accessory.files.iter().map(pair).collect::<Vec<_>>()
    };
    accessories.flat_map(of_one).collect()
}

/// Tells whether a file by its name holds variables with their values: `.env.production`.
fn holds_secrets(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let Some(rest) = name.strip_prefix(".env") else {
        return false;
    };
    let is_example = rest.split('.').any(|part| EXAMPLES.contains(&part));
    (rest.is_empty() || rest.starts_with('.')) && !is_example
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_variables_are_known_by_their_names() {
        for (name, expected) in [
            (".env", true),
            ("config/.env.production", true),
            (".env.production.example", false),
            (".env.sample", false),
            (".envrc", false),
            ("env.production", false),
        ] {
            assert_eq!(holds_secrets(Path::new(name)), expected, "{name}");
        }
    }
}
