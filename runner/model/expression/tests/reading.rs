//! What can be read, what cannot and why, and what an expression uses.

use super::{
    super::{Expression, Function, Names, ParseErrorKind, Part, Step, Template, Value},
    Fixed,
};

fn names() -> Names {
    Names::new([
        "github",
        "needs",
        "success(0,MAX)",
        "hashFiles(1,255)",
        "always(0,0)",
    ])
}

/// Class, text, summary and place of what cannot be read.
const ERRORS: &[(&str, &str, &str, usize)] = &[
    // Words that there are not.
    ("lexing", "?", "Unexpected symbol: '?'", 1),
    ("lexing", "\"a\"", "Unexpected symbol: '\"a\"'", 1),
    ("lexing", "'a", "Unexpected symbol: ''a'", 1),
    ("lexing", "'a''", "Unexpected symbol: ''a'''", 1),
    ("lexing", "1 = 2", "Unexpected symbol: '='", 3),
    ("lexing", "1 =2", "Unexpected symbol: '=2'", 3),
    ("lexing", "1 & 2", "Unexpected symbol: '&'", 3),
    ("lexing", "1 |x", "Unexpected symbol: '|x'", 3),
    ("lexing", "1a", "Unexpected symbol: '1a'", 1),
    ("lexing", "1.2.3", "Unexpected symbol: '1.2.3'", 1),
    ("lexing", "- 1", "Unexpected symbol: '-'", 1),
    ("lexing", "-github", "Unexpected symbol: '-github'", 1),
    ("lexing", ".a", "Unexpected symbol: '.a'", 1),
    ("lexing", "0x", "Unexpected symbol: '0x'", 1),
    ("lexing", "github.a$b", "Unexpected symbol: 'a$b'", 8),
    ("lexing", "github.ünt", "Unexpected symbol: 'ünt'", 8),
    ("lexing", "'😊' == ~", "Unexpected symbol: '~'", 9),
    ("lexing", "github.a + 1", "Unexpected symbol: '+'", 10),
    // Words where they cannot stand.
    ("parsing", ")", "Unexpected symbol: ')'", 1),
    ("parsing", "]", "Unexpected symbol: ']'", 1),
    ("parsing", ",", "Unexpected symbol: ','", 1),
    ("parsing", "*", "Unexpected symbol: '*'", 1),
    ("parsing", "&& 1", "Unexpected symbol: '&&'", 1),
    ("parsing", "()", "Unexpected symbol: ')'", 2),
    ("parsing", "1 2", "Unexpected symbol: '2'", 3),
    ("parsing", "github github", "Unexpected symbol: 'github'", 8),
    ("parsing", "github 'a'", "Unexpected symbol: ''a''", 8),
    ("parsing", "1 !2", "Unexpected symbol: '!'", 3),
    ("parsing", "1 == == 2", "Unexpected symbol: '=='", 6),
    ("parsing", "(1, 2)", "Unexpected symbol: ','", 3),
    ("parsing", "1, 2", "Unexpected symbol: ','", 2),
    ("parsing", "github[0, 1]", "Unexpected symbol: ','", 9),
    ("parsing", "github[]", "Unexpected symbol: ']'", 8),
    ("parsing", "github[0)", "Unexpected symbol: ')'", 9),
    ("parsing", "(1]", "Unexpected symbol: ']'", 3),
    ("parsing", "contains(1, 2]", "Unexpected symbol: ']'", 14),
    ("parsing", "contains(1,)", "Unexpected symbol: ')'", 12),
    ("parsing", "contains(,1)", "Unexpected symbol: ','", 10),
    (
        "parsing",
        "(github",
        "Unexpected end of expression: 'github'",
        2,
    ),
    ("parsing", "github.", "Unexpected end of expression: '.'", 7),
    ("parsing", "github[", "Unexpected end of expression: '['", 7),
    (
        "parsing",
        "github[0",
        "Unexpected end of expression: '0'",
        8,
    ),
    (
        "parsing",
        "contains(",
        "Unexpected end of expression: '('",
        9,
    ),
    (
        "parsing",
        "contains('a'",
        "Unexpected end of expression: ''a''",
        10,
    ),
    ("parsing", "1 ==", "Unexpected end of expression: '=='", 3),
    ("parsing", "!", "Unexpected end of expression: '!'", 1),
    ("parsing", "(", "Unexpected end of expression: '('", 1),
    ("parsing", "github..a", "Unexpected symbol: '.'", 8),
    ("parsing", "github.1", "Unexpected symbol: '1'", 8),
    ("parsing", "github.'a'", "Unexpected symbol: ''a''", 8),
    ("parsing", "github.a()", "Unexpected symbol: '('", 9),
    ("parsing", "github.*a", "Unexpected symbol: 'a'", 9),
    ("parsing", "'a'.b", "Unexpected symbol: '.'", 4),
    ("parsing", "'a'[0]", "Unexpected symbol: '['", 4),
    ("parsing", "true.b", "Unexpected symbol: '.'", 5),
    ("parsing", "(1)(2)", "Unexpected symbol: '('", 4),
    // Names that are not offered.
    ("parsing", "env.A", "Unrecognized named-value: 'env'", 1),
    (
        "parsing",
        "github.a || x",
        "Unrecognized named-value: 'x'",
        13,
    ),
    ("parsing", "True", "Unrecognized named-value: 'True'", 1),
    (
        "parsing",
        "github[env.A]",
        "Unrecognized named-value: 'env'",
        8,
    ),
    ("parsing", "env.A ==", "Unrecognized named-value: 'env'", 1),
    (
        "parsing",
        "failure()",
        "Unrecognized function: 'failure'",
        1,
    ),
    (
        "parsing",
        "1 || no (env.A)",
        "Unrecognized function: 'no'",
        6,
    ),
    // Numbers of arguments.
    (
        "parsing",
        "contains('a')",
        "Too few parameters supplied: 'contains'",
        1,
    ),
    (
        "parsing",
        "1 && toJSON()",
        "Too few parameters supplied: 'toJSON'",
        6,
    ),
    (
        "parsing",
        "toJSON(1, 2)",
        "Too many parameters supplied: 'toJSON'",
        1,
    ),
    (
        "parsing",
        "always(1)",
        "Too many parameters supplied: 'always'",
        1,
    ),
    (
        "parsing",
        "hashFiles()",
        "Too few parameters supplied: 'hashFiles'",
        1,
    ),
    (
        "parsing",
        "case(true, 1)",
        "Too few parameters supplied: 'case'",
        1,
    ),
];

#[test]
fn errors_say_what_and_where() {
    for &(class, text, summary, position) in ERRORS {
        let error = Expression::parse_with(text, &names()).expect_err(text);
        assert_eq!(error.kind().class(), class, "{text}");
        assert_eq!(error.summary(), summary, "{text}");
        let message =
            format!("{summary}. Located at position {position} within expression: {text}");
        assert_eq!(error.to_string(), message);
        let word = &text[error.span()];
        assert!(summary.ends_with(&format!("'{word}'")), "{text}: {word}");
    }
}

#[test]
fn an_even_case_and_an_empty_expression_are_refused() {
    let error = Expression::parse_with("case(true, 1, 2, 3)", &names()).unwrap_err();
    assert_eq!(error.kind(), ParseErrorKind::EvenParameters);
    for text in ["", "  \n"] {
        let error = Expression::parse(text).unwrap_err();
        assert_eq!(error.kind(), ParseErrorKind::ExpressionExpected);
    }
}

#[test]
fn grammar_alone_takes_any_name() {
    for text in [
        "a",
        "a-b_c1.d-e",
        "_a._b",
        "f()",
        "f ( 1 , 2 )",
        "f(g(h()))[0].*[*].x",
        "a[*]",
        "a[* == 1]",
        "a[!b]",
        "a[(b)]",
        "(a).b",
        "!(!a)",
        "!a.b[c]",
        "a.true.null.NaN",
        "a\t||\r\nb",
        "1<2",
        "1==1&&2!=3||!x",
        "a.if.then",
        "case(1)",
    ] {
        assert!(Expression::parse(text).is_ok(), "{text}");
    }
}

#[test]
fn checking_later_reports_what_reading_would_have() {
    for text in [
        "github.a && needs.b",
        "env.A",
        "contains(env.A)",
        "failure() || env.A",
        "toJSON(github, no(1))",
        "case(always(), 1, 2, env.B)",
    ] {
        let reading = Expression::parse_with(text, &names()).map(|_| ());
        let checking = Expression::parse(text).unwrap().check(&names());
        assert_eq!(reading, checking, "{text}");
    }
    let all = Expression::parse("failure(env.A) || toJSON()").unwrap();
    let problems = all.problems(&names());
    let kinds: Vec<ParseErrorKind> = problems.iter().map(|problem| problem.kind()).collect();
    assert_eq!(
        kinds,
        [
            ParseErrorKind::UnrecognizedFunction,
            ParseErrorKind::UnrecognizedNamedValue,
            ParseErrorKind::TooFewParameters,
        ]
    );
}

#[test]
fn uses_are_listed_with_their_ways_and_places() {
    let text = "needs.build.outputs['v 1'] == steps[matrix.id].x.* && join(fromJSON(a).b, env.C)";
    let expression = Expression::parse(text).unwrap();
    let listed: Vec<(String, Vec<Step>)> = expression
        .references()
        .into_iter()
        .map(|reference| {
            assert_eq!(&text[reference.context_span.clone()], &*reference.context);
            (text[reference.span].to_owned(), reference.path)
        })
        .collect();
    let property = |name: &str| Step::Property(name.into());
    assert_eq!(
        listed,
        [
            (
                "needs.build.outputs['v 1']".to_owned(),
                vec![property("build"), property("outputs"), property("v 1")],
            ),
            (
                "steps[matrix.id].x.*".to_owned(),
                vec![Step::Computed, property("x"), Step::Wildcard],
            ),
            ("matrix.id".to_owned(), vec![property("id")]),
            ("a".to_owned(), vec![]),
            ("env.C".to_owned(), vec![property("C")]),
        ]
    );
    let first = &expression.references()[0];
    assert!(first.is_context("NEEDS"));
    assert_eq!(first.property(0), Some("build"));
    let calls: Vec<(&str, Option<Function>, usize)> = Vec::from_iter(
        expression
            .calls()
            .iter()
            .map(|call| (&text[call.span.clone()], call.function, call.arguments)),
    );
    assert_eq!(
        calls,
        [
            ("join", Some(Function::Join), 2),
            ("fromJSON", Some(Function::FromJson), 1)
        ]
    );
}

#[test]
fn groups_do_not_blur_places() {
    let text = "!(a.b) == ((c)).d";
    let references = Expression::parse(text).unwrap().references();
    let places = references.iter().map(|reference| {
        let name = &text[reference.context_span.clone()];
        (name, &text[reference.span.clone()])
    });
    assert_eq!(Vec::from_iter(places), [("a", "a.b"), ("c", "((c)).d")]);
}

#[test]
fn a_template_is_split_at_its_brackets_and_not_inside_strings() {
    let text = "a ${{ '}}' }}${{x }} }} ${{ 'it''s }}' }}";
    let template = Template::parse(text).unwrap();
    let parts: Vec<&str> = template
        .parts()
        .iter()
        .map(|part| match part {
            Part::Text { span } => &text[span.clone()],
            Part::Expression {
                span,
                offset,
                expression,
            } => {
                assert!(text[*offset..].starts_with(expression.text()));
                &text[span.clone()]
            }
        })
        .collect();
    assert_eq!(
        parts,
        ["a ", "${{ '}}' }}", "${{x }}", " }} ", "${{ 'it''s }}' }}"]
    );
    assert_eq!(
        template.to_expression_text(),
        "format('a {0}{1} }}}} {2}', '}}', x, 'it''s }}')"
    );
}

#[test]
fn a_template_keeps_the_kind_of_a_lone_expression() {
    let scope = Fixed::new(r#"{"a": {"b": [1]}, "n": null, "t": true}"#);
    for (text, wanted) in [
        ("", "\"\""),
        ("plain }} $ { {{", "\"plain }} $ { {{\""),
        ("${{ a.b }}", "[1]"),
        ("${{ t }}", "true"),
        ("${{t}}", "true"),
        (" ${{ t }}", "\" true\""),
        ("${{ t }}\n", "\"true\\n\""),
        ("${{ n }}", "null"),
        ("[${{ n }}]", "\"[]\""),
        ("${{ t }}${{ t }}", "\"truetrue\""),
        ("${{ a }}-${{ a.b }}", "\"Object-Array\""),
        ("{0} ${{ 1.50 }} '", "\"{0} 1.5 '\""),
        ("$${{ 1 }}", "\"$1\""),
        ("😊${{ '😊' }}", "\"😊😊\""),
    ] {
        let template = Template::parse(text).unwrap();
        let value: Value = template.evaluate(&scope).unwrap();
        assert_eq!(
            serde_json::Value::from(&value).to_string(),
            wanted,
            "{text}"
        );
    }
    assert!(Template::parse("a").unwrap().is_literal());
    assert!(Template::parse("${{ a }}").unwrap().is_single_expression());
    assert!(!Template::parse("${{ a }} ").unwrap().is_single_expression());
}

#[test]
fn errors_in_a_template_are_placed_in_its_text() {
    for (text, kind, word) in [
        ("x ${{ a", ParseErrorKind::Unclosed, "${{ a"),
        ("x ${{ 'a }}", ParseErrorKind::Unclosed, "${{ 'a }}"),
        ("x ${{ }} y", ParseErrorKind::ExpressionExpected, "${{ }}"),
        ("x ${{}}", ParseErrorKind::ExpressionExpected, "${{}}"),
        ("ü ${{  1 + 2 }}", ParseErrorKind::Lexing, "+"),
        (
            "${{ github }} ${{ env.A }}",
            ParseErrorKind::UnrecognizedNamedValue,
            "env",
        ),
    ] {
        let error = Template::parse_with(text, &names()).unwrap_err();
        assert_eq!(error.kind(), kind, "{text}");
        assert_eq!(&text[error.span()], word);
    }
    let template = Template::parse("${{ github }} ${{ env.A }}").unwrap();
    assert_eq!(template.check(&names()).unwrap_err().span(), 18..21);
}
