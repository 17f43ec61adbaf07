//! The house: who may use whom, how long a file may be, and that nothing is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms and their floors; a room may use rooms of lower floors only.
const FLOORS: &[(u32, &[&str])] = &[
    (0, &["diagnostic", "mask", "event", "run"]),
    (1, &["yaml", "expression"]),
    (2, &["workflow", "kamal"]),
    (3, &["plan", "release"]),
    (
        4,
        &[
            "process",
            "git",
            "ssh",
            "docker",
            "github",
            "notify",
            "store",
            "telemetry",
        ],
    ),
    (5, &["executor", "deploy"]),
    (6, &["report", "engine"]),
    (7, &["actions"]),
    (8, &["scheduler"]),
    (9, &["trigger", "server"]),
    (10, &["cli"]),
];

/// What is allowed on one floor, since the table of the house says so.
const SAME_FLOOR: &[(&str, &str)] = &[
    ("run", "mask"),
    ("docker", "ssh"),
    ("engine", "report"),
    ("kamal", "workflow"),
];

/// What is not allowed though the floor is lower.
const FORBIDDEN: &[(&str, &str)] = &[
    ("engine", "deploy"),
    ("server", "engine"),
    ("server", "deploy"),
    ("server", "docker"),
    ("server", "ssh"),
];

/// The longest file, in lines of code: tests, comments and blank lines do not count.
const MAX_LINES: usize = 600;

/// File names that say nothing of what is in the file.
const EMPTY_NAMES: &[&str] = &[
    "utils", "helpers", "common", "misc", "types", "imp", "manager",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// All files of the product with the room that each stands in.
fn product() -> Vec<(String, PathBuf)> {
    let root = root();
    let mut files = Vec::new();
    rust_files(&root.join("runner"), &mut files);
    rust_files(&root.join("actions"), &mut files);
    files
        .into_iter()
        .filter_map(|file| {
            let relative = file.strip_prefix(&root).ok()?.to_str()?.to_owned();
            let inside = relative
                .strip_prefix("runner/model/")
                .or_else(|| relative.strip_prefix("runner/"));
            let room = match inside {
                Some(inside) => inside.split(['/', '.']).next()?.to_owned(),
                None => "actions".to_owned(),
            };
            Some((room, file))
        })
        .collect()
}

fn floor(room: &str) -> Option<u32> {
    FLOORS
        .iter()
        .find(|(_, rooms)| rooms.contains(&room))
        .map(|(floor, _)| *floor)
}

/// The code of a file without tests, comments and blank lines.
fn code(text: &str) -> Vec<&str> {
    let product = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text);
    product
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("//"))
        .collect()
}

/// The rooms that a file uses by `crate::` or, in the model's users, `runner_model::`.
fn used(code: &[&str]) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for line in code {
        for prefix in ["crate::", "runner_model::"] {
            for (at, _) in line.match_indices(prefix) {
                let rest = &line[at + prefix.len()..];
                let names: Vec<&str> = match rest.strip_prefix('{') {
                    Some(list) => list.split(['{', '}', ',']).collect(),
                    None => vec![rest],
                };
                for name in names {
                    let room: String = name
                        .trim()
                        .chars()
                        .take_while(|letter| letter.is_ascii_lowercase() || *letter == '_')
                        .collect();
                    if floor(&room).is_some() {
                        rooms.insert(room);
                    }
                }
            }
        }
    }
    rooms
}

#[test]
fn every_room_uses_only_rooms_below_it() {
    let mut wrong = Vec::new();
    for (room, file) in product() {
        let Some(own) = floor(&room) else { continue };
        let text = fs::read_to_string(&file).unwrap();
        for other in used(&code(&text)) {
            let below = floor(&other).unwrap() < own;
            let pair = (room.as_str(), other.as_str());
            let allowed = other == room
                || (below && !FORBIDDEN.contains(&pair))
                || SAME_FLOOR.contains(&pair);
            if !allowed {
                wrong.push(format!("{}: `{room}` uses `{other}`", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_planted_import_is_seen() {
    let planted = code("//! x\nuse crate::{cli, deploy::Host};\nlet x = crate::server::y();\n");
    let rooms: Vec<String> = used(&planted).into_iter().collect();
    assert_eq!(rooms, ["cli", "deploy", "server"]);
}

#[test]
fn every_file_says_what_it_is_and_is_short() {
    let root = root();
    let mut files: Vec<PathBuf> = product().into_iter().map(|(_, file)| file).collect();
    rust_files(&root.join("tests"), &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.file_stem().unwrap().to_str().unwrap();
        if !text.starts_with("//! ") {
            wrong.push(format!("{}: does not begin with `//! `", file.display()));
        }
        let lines = code(&text).len();
        let is_test = file.starts_with(root.join("tests"));
        if lines > MAX_LINES && !is_test {
            wrong.push(format!(
                "{}: {lines} lines of code, the most is {MAX_LINES}",
                file.display()
            ));
        }
        if EMPTY_NAMES.contains(&name) {
            wrong.push(format!("{}: the name says nothing", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_test_file_is_listed() {
    let tests = root().join("tests");
    let main = fs::read_to_string(tests.join("main.rs")).unwrap();
    for entry in fs::read_dir(&tests).unwrap().flatten() {
        let name = entry
            .path()
            .file_stem()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        let is_rust = entry
            .path()
            .extension()
            .is_some_and(|ending| ending == "rs");
        if is_rust && name != "main" {
            assert!(
                main.contains(&format!("mod {name};")),
                "tests/{name}.rs is not in tests/main.rs"
            );
        }
    }
}

#[test]
fn every_action_folder_is_registered_and_described() {
    let actions = root().join("actions");
    let known = runner::actions::registry(BTreeMap::new());
    let known: BTreeSet<&str> = known.names().collect();
    for entry in fs::read_dir(&actions)
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().is_dir())
    {
        let folder = entry.file_name().to_str().unwrap().to_owned();
        let name = format!("runner/{}", folder.replace('_', "-"));
        assert!(
            known.contains(name.as_str()),
            "actions/{folder} is not registered as {name}"
        );
        let manifest = fs::read_to_string(entry.path().join("action.yml")).unwrap();
        let (read, problems) = runner::workflow::parse_action(&manifest);
        assert!(read.is_some(), "actions/{folder}/action.yml: {problems:?}");
    }
}

#[test]
fn the_project_speaks_of_itself_alone() {
    // Paths of a machine where it was once built, and words of unfinished code.
    let words = [
        concat!("/work", "/"),
        concat!("/far", "m/"),
        concat!("todo", "!("),
        concat!("dbg", "!("),
    ];
    let mut wrong = BTreeMap::new();
    let mut files: Vec<PathBuf> = product().into_iter().map(|(_, file)| file).collect();
    for name in [
        "README.md",
        "CHANGELOG.md",
        "docs/architecture.md",
        "dev",
        ".ci/run",
    ] {
        files.push(root().join(name));
    }
    for file in files {
        let text = fs::read_to_string(&file).unwrap_or_default();
        // Part of a longer path it is somebody's example.
        let is_there = |word: &str| {
            text.match_indices(word).any(|(at, _)| {
                !text[..at].ends_with(|before: char| before.is_alphanumeric() || before == '.')
            })
        };
        for word in words.iter().filter(|word| is_there(word)) {
            wrong.insert(file.display().to_string(), (*word).to_owned());
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
