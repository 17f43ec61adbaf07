//! Which files patterns take, and in which order.

use super::super::{HashFiles, PatternError};

const FILES: [&str; 12] = [
    "Cargo.lock",
    "a b.txt",
    "a.txt",
    "a/deep/b.lock",
    "a/x.lock",
    ".hidden/y.lock",
    "[z].txt",
    "b.txt",
    "docs/c.md",
    "docs/sub/d.md",
    "node_modules/p/e.lock",
    "ü.txt",
];

fn read(patterns: &[&str]) -> Result<HashFiles, PatternError> {
    let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
    HashFiles::parse(&patterns, "/home/me/project")
}

#[test]
fn patterns_take_files_in_the_order_of_a_walk() {
    let rows: &[(&[&str], &[&str])] = &[
        (&["Cargo.lock"], &["Cargo.lock"]),
        (&["./Cargo.lock"], &["Cargo.lock"]),
        (&["cargo.lock"], &[]),
        (&["*.lock"], &["Cargo.lock"]),
        (
            &["**/*.lock"],
            &[
                ".hidden/y.lock",
                "Cargo.lock",
                "a/deep/b.lock",
                "a/x.lock",
                "node_modules/p/e.lock",
            ],
        ),
        (
            &["**/*.lock", "!node_modules"],
            &[".hidden/y.lock", "Cargo.lock", "a/deep/b.lock", "a/x.lock"],
        ),
        (
            &["**/*.lock", "!**/node_modules/**", "!a/**", "a/x.*"],
            &[".hidden/y.lock", "Cargo.lock", "a/x.lock"],
        ),
        (&["!a/x.lock", "a/x.lock"], &["a/x.lock"]),
        (&["!!a/x.lock"], &["a/x.lock"]),
        (&["a"], &["a/deep/b.lock", "a/x.lock"]),
        (&["a/"], &["a/deep/b.lock", "a/x.lock"]),
        (&["a/*"], &["a/deep/b.lock", "a/x.lock"]),
        (&["a.txt/"], &[]),
        (&["a/**/b.lock"], &["a/deep/b.lock"]),
        (&["a/**/deep/**"], &["a/deep/b.lock"]),
        (&["**/deep"], &["a/deep/b.lock"]),
        (&["docs/*.md"], &["docs/c.md"]),
        (&["docs/**/*.md"], &["docs/c.md", "docs/sub/d.md"]),
        (&["docs**"], &["docs/c.md", "docs/sub/d.md"]),
        (&["?.txt"], &["a.txt", "b.txt", "ü.txt"]),
        (&["[ab].txt"], &["a.txt", "b.txt"]),
        (&["[a-b].txt"], &["a.txt", "b.txt"]),
        (&["[!a].txt"], &["b.txt", "ü.txt"]),
        (&["[^a-b].txt"], &["ü.txt"]),
        (&["[[]z].txt"], &["[z].txt"]),
        (&["\\[z].txt"], &["[z].txt"]),
        (&["[z.txt"], &[]),
        (&["{a,b}.txt"], &[]),
        (&["a b.txt"], &["a b.txt"]),
        // Each search path is walked for itself, in the order of the patterns.
        (&["b.txt", "a.txt"], &["b.txt", "a.txt"]),
        (
            &["b.txt", "*.txt"],
            &["[z].txt", "a b.txt", "a.txt", "b.txt", "ü.txt"],
        ),
        (
            &["docs/*.md", "a/**"],
            &["docs/c.md", "a/deep/b.lock", "a/x.lock"],
        ),
        (&["b.txt\n  a.txt  \n# c\n\n"], &["b.txt", "a.txt"]),
        (&["/home/me/project/a.txt"], &["a.txt"]),
        (&["/home/me/*/a.txt"], &["a.txt"]),
        (&["/**/x.lock"], &["a/x.lock"]),
        (&["/etc/a.txt"], &[]),
        (&["~/a.txt"], &[]),
        (&["# nothing"], &[]),
        (&["--follow-symbolic-links", "a.txt"], &["a.txt"]),
    ];
    for (patterns, wanted) in rows {
        let got = read(patterns).unwrap().select(FILES);
        assert_eq!(got, *wanted, "{patterns:?}");
    }
    assert_eq!(read(&["**"]).unwrap().select(FILES).len(), FILES.len());
    assert_eq!(read(&["."]).unwrap().select(FILES).len(), FILES.len());
}

#[test]
fn a_folder_stands_where_its_name_stands() {
    let order = read(&["**"])
        .unwrap()
        .select(["a.b", "a/z", "a-b", "a", "B", "a/b/c"]);
    assert_eq!(order, ["B", "a", "a/b/c", "a/z", "a-b", "a.b"]);
}

#[test]
fn search_paths_are_the_literal_beginnings() {
    for (patterns, wanted) in [
        (vec!["a/b/*.lock"], vec!["a/b"]),
        (vec!["a/b"], vec!["a/b"]),
        (vec!["**/x"], vec![""]),
        (vec!["a/b", "a/*"], vec!["a"]),
        (vec!["b/**", "a/**", "b/c"], vec!["b", "a"]),
        (vec!["!a", "b"], vec!["b"]),
        (vec!["/home/me/project/c/*"], vec!["c"]),
        (vec!["/home/*/project/c"], vec![""]),
        (vec!["/usr/**"], vec![]),
        (vec!["[a]b/x?"], vec!["ab"]),
    ] {
        assert_eq!(
            read(&patterns).unwrap().search_paths(),
            wanted,
            "{patterns:?}"
        );
    }
}

#[test]
fn patterns_that_cannot_be_used_are_refused() {
    for patterns in [["../x"], ["a/../b"], ["a/./b"], ["/./a"], [".."], ["!a/.."]] {
        let error = read(&patterns).unwrap_err();
        assert!(
            matches!(error, PatternError::RelativePath { .. }),
            "{patterns:?}"
        );
    }
    assert_eq!(read(&["!"]).unwrap_err(), PatternError::Empty);
    let error = read(&["--no-such", "a"]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("Invalid glob option --no-such")
    );
    assert!(
        read(&["--Follow-Symbolic-Links"])
            .unwrap()
            .follows_symbolic_links()
    );
    assert!(!read(&["a"]).unwrap().follows_symbolic_links());
}

#[test]
fn many_wildcards_do_not_take_forever() {
    let name = "a".repeat(200);
    let pattern = format!("{}b", "a*".repeat(100));
    assert!(
        read(&[&pattern])
            .unwrap()
            .select([name.as_str()])
            .is_empty()
    );
    let path = ["a"; 100].join("/");
    let pattern = format!("{}/b", ["**/a"; 50].join("/"));
    assert!(
        read(&[&pattern])
            .unwrap()
            .select([path.as_str()])
            .is_empty()
    );
}
