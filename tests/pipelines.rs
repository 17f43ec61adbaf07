//! The pipelines that are ready to be copied: accepted by GitHub's own parser, and by ours.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::support::npm::installed;

const PIPELINES: [&str; 4] = [
    "backup.yml",
    "deploy.yml",
    "pull-request.yml",
    "rollback.yml",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pipelines() -> Vec<PathBuf> {
    let folder = root().join("pipelines");
    PIPELINES.iter().map(|name| folder.join(name)).collect()
}

/// Installs GitHub's parser; `None` where npm cannot do it.
fn parser() -> Option<PathBuf> {
    installed("npm")
}

fn parse(parser: &Path, files: &[PathBuf]) -> Output {
    Command::new(parser.join("node_modules/.bin/node"))
        .arg("parse-workflows.js")
        .args(files)
        .current_dir(parser)
        .output()
        .unwrap()
}

#[test]
fn github_s_own_parser_accepts_every_pipeline() {
    let Some(parser) = parser() else { return };
    let output = parse(&parser, &pipelines());
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    for (name, jobs) in [
        ("backup", 1),
        ("deploy", 3),
        ("pull-request", 3),
        ("rollback", 1),
    ] {
        assert!(text.contains(&format!("{name}.yml: {jobs} jobs")), "{text}");
    }
}

#[test]
fn github_s_own_parser_is_really_asked() {
    let Some(parser) = parser() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broken.yml");
    fs::write(
        &file,
        "on: push\njobs:\n  a b:\n    runs-on: x\n    steps: [run: make]\n",
    )
    .unwrap();
    let output = parse(&parser, &[file]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("broken.yml:3:3: ") && text.contains("'a b'"),
        "{text}"
    );
}

fn check(file: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_runner"))
        .arg("check")
        .arg(file)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), text)
}

#[test]
fn check_finds_no_error_in_a_pipeline() {
    for file in pipelines() {
        let (code, text) = check(&file);
        assert_eq!(code, Some(0), "{text}");
    }
}

#[test]
fn every_pipeline_is_known_to_these_tests() {
    let mut found: Vec<String> = fs::read_dir(root().join("pipelines"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, PIPELINES);
}

#[test]
fn a_deploy_that_is_spread_over_jobs_is_refused_by_check_and_by_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("spread.yml");
    let text = "on: workflow_dispatch\njobs:\n  open:\n    runs-on: self-hosted\n    steps:\n      \
                - uses: runner/ssh-deploy@v1\n  promote:\n    needs: open\n    runs-on: self-hosted\n    \
                steps:\n      - uses: runner/promote@v1\n";
    fs::write(&file, text).unwrap();
    let expected = "`runner/promote` needs an earlier `runner/ssh-deploy` in job `promote`";
    let (code, said) = check(&file);
    assert!(
        code == Some(3) && said.contains(expected),
        "{code:?} {said}"
    );
    let run = Command::new(env!("CARGO_BIN_EXE_runner"))
        .arg("run")
        .arg(&file)
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(
        run.status.code() == Some(3) && said.contains(expected),
        "{said}"
    );
}
