//! YAML text to a tree whose every node knows its place.
//!
//! Two dialects are read: [`Schema::Core12`] for workflows (YAML 1.2's core schema, where `on` and
//! `yes` are text) and [`Schema::Psych`] for Kamal's files (Ruby's YAML 1.1, with `yes`, `012`,
//! merge keys and symbols). Everything that is not YAML itself (which keys may stand where) is left
//! to the rooms that read the tree.

mod core12;
mod node;
mod psych;
mod tree;

pub use node::{Entry, Kind, Mapping, Node, Style};
pub use tree::{Schema, parse};

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn read(source: &str, schema: Schema) -> Node {
        parse(source, schema).unwrap().unwrap()
    }

    fn value(text: &str, schema: Schema) -> Kind {
        read(&format!("key: {text}\n"), schema)
            .as_mapping()
            .unwrap()
            .get("key")
            .unwrap()
            .kind
            .clone()
    }

    #[test]
    fn plain_scalars_mean_what_the_core_schema_says() {
        for (text, expected) in [
            ("true", Kind::Boolean(true)),
            ("False", Kind::Boolean(false)),
            ("yes", Kind::String),
            ("on", Kind::String),
            ("~", Kind::Null),
            ("", Kind::Null),
            ("012", Kind::Integer(12)),
            ("0o17", Kind::Integer(15)),
            ("0x1F", Kind::Integer(31)),
            ("+3", Kind::Integer(3)),
            ("-3", Kind::Integer(-3)),
            ("1.10", Kind::Float(1.1)),
            (".5", Kind::Float(0.5)),
            ("5.", Kind::Float(5.0)),
            ("1e3", Kind::Float(1000.0)),
            ("-.inf", Kind::Float(f64::NEG_INFINITY)),
            ("1_000", Kind::String),
            ("1.2.3", Kind::String),
            (".", Kind::String),
            ("\"12\"", Kind::String),
            ("!!str 12", Kind::String),
        ] {
            assert_eq!(value(text, Schema::Core12), expected, "{text}");
        }
    }

    #[test]
    fn plain_scalars_mean_what_ruby_says_in_kamals_files() {
        for (text, expected) in [
            ("yes", Kind::Boolean(true)),
            ("Off", Kind::Boolean(false)),
            ("y", Kind::String),
            ("012", Kind::Integer(10)),
            ("08", Kind::String),
            ("0b101", Kind::Integer(5)),
            ("1_000", Kind::Integer(1000)),
            ("-0x10", Kind::Integer(-16)),
            ("1.5", Kind::Float(1.5)),
            ("1e3", Kind::String),
            ("3:25", Kind::Integer(205)),
            ("127.0.0.1:5433:5432", Kind::String),
            ("5433:5432", Kind::String),
            ("v1", Kind::String),
        ] {
            assert_eq!(value(text, Schema::Psych), expected, "{text}");
        }
    }

    #[test]
    fn all_duplicate_keys_are_reported_without_case_and_with_the_first_place() {
        let problems = parse("a: 1\nb: 2\nA: 3\nb: 4\n", Schema::Core12).unwrap_err();
        let places: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            places,
            [
                "3:1: error[duplicate-key]: key `A` is already defined",
                "4:1: error[duplicate-key]: key `b` is already defined",
            ]
        );
        assert_eq!(problems[0].related.as_ref().unwrap().0.start.line, 1);
    }

    #[test]
    fn in_kamals_files_the_last_of_two_equal_keys_counts() {
        let root = read("a: 1\nb: 2\na: 3\n", Schema::Psych);
        assert_eq!(
            root.as_mapping().unwrap().get("a").unwrap().kind,
            Kind::Integer(3)
        );
    }

    #[test]
    fn a_merge_key_brings_what_is_not_there_and_is_ordinary_in_workflows() {
        let source = "base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\n";
        let root = read(source, Schema::Psych);
        let merged = root
            .as_mapping()
            .unwrap()
            .get("use")
            .unwrap()
            .as_mapping()
            .unwrap();
        assert_eq!(merged.get("x").unwrap().kind, Kind::Integer(1));
        assert_eq!(merged.get("y").unwrap().kind, Kind::Integer(3));
        let root = read(source, Schema::Core12);
        let plain = root
            .as_mapping()
            .unwrap()
            .get("use")
            .unwrap()
            .as_mapping()
            .unwrap();
        assert!(plain.get("<<").is_some());
    }

    #[test]
    fn a_billion_laughs_ends_with_a_diagnostic() {
        let mut source = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
            writeln!(source, "a{level}: &a{level} [{aliases}]").unwrap();
        }
        assert_eq!(
            parse(&source, Schema::Core12).unwrap_err()[0].code,
            "yaml-size"
        );
    }

    #[test]
    fn an_alias_inside_its_own_anchor_is_refused() {
        let problems = parse("a: &x\n  b: *x\n", Schema::Core12).unwrap_err();
        assert_eq!(problems[0].code, "yaml-alias");
    }

    #[test]
    fn deep_nesting_is_refused_and_does_not_overflow_the_stack() {
        assert!(parse(&"[".repeat(100_000), Schema::Core12).is_err());
        assert!(parse(&"- ".repeat(100_000), Schema::Core12).is_err());
    }

    #[test]
    fn a_second_document_is_refused_and_an_empty_file_is_nothing() {
        assert_eq!(
            parse("a: 1\n---\nb: 2\n", Schema::Core12).unwrap_err()[0].code,
            "yaml-documents"
        );
        assert_eq!(parse("", Schema::Core12), Ok(None));
        assert_eq!(parse("# only words\n", Schema::Core12), Ok(None));
    }

    #[test]
    fn positions_inside_scalars_point_into_the_file() {
        let source = "a: 'x ${{ y }}'\nb: |\n  one\n  two ${{ z }}\nc: plain ${{ w }}\n";
        let root = read(source, Schema::Core12);
        let mapping = root.as_mapping().unwrap();
        for (key, line, column) in [("a", 1, 7), ("b", 4, 7), ("c", 5, 10)] {
            let node = mapping.get(key).unwrap();
            let at = node.text.find("${{").unwrap();
            let span = node.span_of(at..at + 3, source);
            assert_eq!(
                (span.start.line, span.start.column),
                (line, column),
                "{key}"
            );
            assert_eq!(&source[span.bytes], "${{", "{key}");
        }
    }

    #[test]
    fn mutated_files_never_panic() {
        let seeds = [
            "on: push\njobs:\n  a:\n    steps:\n    - run: |\n        x\n",
            "{a: [1, 'x'], b: &c !!str d}\n",
        ];
        let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap()
        };
        let alphabet: Vec<char> = "\n\t :-[]{}&*!|>'\"%@`#,?~aé\u{feff}\0".chars().collect();
        for _ in 0..4000 {
            let mut text: Vec<char> = seeds[random(seeds.len())].chars().collect();
            for _ in 0..1 + random(6) {
                let at = random(text.len());
                text[at] = alphabet[random(alphabet.len())];
            }
            let text: String = text.into_iter().collect();
            for schema in [Schema::Core12, Schema::Psych] {
                drop(parse(&text, schema));
            }
        }
    }
}
