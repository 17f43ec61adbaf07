//! Whether files with secrets stay where they belong: out of git, and out of images.

use std::path::{Path, PathBuf};

use super::{Findings, Level};
use crate::deploy::Project;
use crate::docker::DockerIgnore;
use crate::git;

const SUBJECT: &str = "files";
/// Endings of files that show what belongs into another, without values.
const EXAMPLES: [&str; 4] = ["example", "sample", "template", "dist"];

/// Looks at the files of variables in the project's folder and at what git and Docker take.
pub(super) fn check(project: &Project, findings: &mut Findings) {
    let folder = project.folder();
    let secret = secret_files(folder, &project.config.secrets_path);
    let tracked = git::tracked(folder).unwrap_or_default();
    for file in secret.iter().filter(|file| tracked.contains(file)) {
        findings.with_hint(
            Level::Warning,
            SUBJECT,
            format!("`{}` holds secrets and is tracked by git", file.display()),
            format!(
                "`git rm --cached {0}`, and a line `{0}` in .gitignore",
                file.display()
            ),
        );
    }
    image(project, &secret, findings);
    for (local, user) in uploads(project) {
        if !folder.join(&local).is_file() {
            let message = format!("`{local}` is not there, needed by {user}");
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
        .folder()
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
    for file in secret {
        if context.join(file).is_file() && !ignore.excludes(&file.to_string_lossy()) {
            findings.with_hint(
                Level::Warning,
                SUBJECT,
                format!("`{}` holds secrets and goes into the image", file.display()),
                format!("add a line `{}` to .dockerignore", file.display()),
            );
        }
    }
}

/// Finds the files that hold secrets: `.env` and the like by their names, the secrets files where a
/// value stands in them instead of where it comes from.
fn secret_files(folder: &Path, secrets_path: &str) -> Vec<PathBuf> {
    let names = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .map(|entry| PathBuf::from(entry.file_name()))
            .collect::<Vec<_>>()
    };
    let mut files: Vec<PathBuf> = names(folder)
        .into_iter()
        .filter(|name| holds_secrets(name))
        .collect();
    let secrets = Path::new(secrets_path);
    let (inside, stem) = (
        secrets.parent().unwrap_or(secrets),
        secrets.file_name().unwrap_or_default(),
    );
    let is_secrets = |name: &PathBuf| {
        let text = std::fs::read_to_string(folder.join(inside).join(name)).unwrap_or_default();
        name.to_string_lossy().starts_with(&*stem.to_string_lossy()) && has_plain_values(&text)
    };
    let of_kamal = names(&folder.join(inside)).into_iter().filter(is_secrets);
    files.extend(of_kamal.map(|name| inside.join(name)));
    files.sort();
    files
}

/// Tells whether a value stands in a secrets file itself, not a variable or a command.
fn has_plain_values(text: &str) -> bool {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once('='))
        .any(|(_, value)| {
            let value = value.trim().trim_matches(['"', '\'']);
            !value.is_empty() && !value.contains('$')
        })
}

/// Files of the project that accessories and the proxy need, and who.
fn uploads(project: &Project) -> Vec<(String, String)> {
    let accessories = project.config.accessories.iter();
    let of_one = |accessory: &crate::kamal::Accessory| {
        let user = format!("accessory `{}`", accessory.name);
        let pair = |file: &crate::kamal::Mount| (file.local.clone(), user.clone());
        accessory.files.iter().map(pair).collect::<Vec<_>>()
    };
    let ca = project.config.runner.proxy.acme.ca.iter();
    let ca = ca.map(|local| (local.clone(), "`x-runner.proxy.acme.ca`".to_owned()));
    accessories.flat_map(of_one).chain(ca).collect()
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
    #[test]
    fn secrets_files_that_only_say_where_values_come_from_hold_none() {
        for (text, expected) in [
            ("# A=1\nA=$(cat a)\nB=$A\nC=\n", false),
            ("A=$(cat a)\nB='hunter2'\n", true),
            ("", false),
        ] {
            assert_eq!(has_plain_values(text), expected, "{text}");
        }
    }
}
