//! The page for those who come from Kamal says the truth about verbs.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

/// What a page says of one of Kamal's verbs.
struct Row {
    verb: String,
    is_here: bool,
}

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/from-kamal.md");
    fs::read_to_string(path).unwrap()
}

fn rows(page: &str) -> Vec<Row> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let verb = cells.first()?.strip_prefix('`')?.strip_suffix('`')?;
        let is_here = match *cells.get(1)? {
            "=" | "~" => true,
            "-" => false,
            _ => return None,
        };
        let verb = verb.to_owned();
        Some(Row { verb, is_here })
    };
    page.lines().filter_map(row).collect()
}

fn help(words: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_runner"))
        .args(words)
        .arg("--help")
        .current_dir(std::env::temp_dir())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.success(), text)
}

/// The verbs that a help lists.
fn listed(help: &str) -> Vec<String> {
    let after = help.split("Commands:\n").nth(1).unwrap_or_default();
    let lines = after.lines().take_while(|line| line.starts_with("  "));
    let names = lines.filter(|line| !line.starts_with("   "));
    names
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_verb_of_kamal_is_here_exactly_where_the_page_says_so() {
    let rows = rows(&page());
    assert!(rows.len() > 50, "{}", rows.len());
    for row in rows {
        let words: Vec<&str> = row.verb.split(' ').collect();
        let (is_here, text) = help(&words);
        // A verb that is not known is refused even with `--help`.
        let is_here = is_here && text.contains(&format!("runner {}", row.verb));
        assert_eq!(is_here, row.is_here, "`{}`: {text}", row.verb);
    }
}

#[test]
fn every_verb_that_is_here_stands_on_the_page() {
    let page = page();
    let named: BTreeSet<&str> = page.split('`').skip(1).step_by(2).collect();
    let (_, top) = help(&[]);
    let mut missing = Vec::new();
    for verb in listed(&top) {
        let (_, text) = help(&[&verb]);
        let below = listed(&text);
        let is_named = |verb: &String| named.contains(verb.as_str());
        // A server's verbs are Kamal's business by no name of theirs.
        if is_named(&verb) {
            continue;
        }
        if below.is_empty() {
            missing.push(verb);
            continue;
        }
        let whole = below.iter().map(|word| format!("{verb} {word}"));
        missing.extend(whole.filter(|verb| !is_named(verb)));
    }
    assert_eq!(missing, Vec::<String>::new());
}
