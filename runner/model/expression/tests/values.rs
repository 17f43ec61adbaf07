//! What expressions are worth.

use super::{
    super::{EvaluationError, Expression, Object, Scope, StatusFunction, Value},
    Fixed, evaluate,
};

const CONTEXTS: &str = r#"{
    "n": null, "t": true, "f": false, "one": 1, "text": "Text", "empty": "",
    "list": ["zero", "one", 2, null], "lists": [[1, 2], [3, 4], "x", {"a": 5}],
    "none": [], "no": {},
    "github": {"ref": "refs/heads/main", "event": {"labels": [{"name": "bug"}, {"id": 2}, {"name": "Docs"}]}},
    "nested": {"a": {"k": 1}, "b": {"k": 2, "l": [7, 8]}, "c": 3}
}"#;

fn check(rows: &[(&str, &str)]) {
    let scope = Fixed::new(CONTEXTS);
    let wrong: Vec<String> = rows
        .iter()
        .map(|(text, wanted)| (text, wanted, evaluate(text, &scope)))
        .filter(|(_, wanted, got)| got != *wanted)
        .map(|(text, wanted, got)| format!("{text}\n  got    {got}\n  wanted {wanted}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn literals_are_what_they_say_and_keywords_have_one_spelling() {
    check(&[
        ("null", "null"),
        ("true", "true"),
        ("false", "false"),
        ("NaN", "\"NaN\""),
        ("Infinity", "\"Infinity\""),
        ("-Infinity", "\"-Infinity\""),
        ("+5", "5"),
        ("-0", "0"),
        (".5", "0.5"),
        ("5.", "5"),
        ("1e3", "1000"),
        ("0x1F", "31"),
        ("0xFFFFFFFF", "-1"),
        ("0o10", "8"),
        ("''", "\"\""),
        ("'it''s'", "\"it's\""),
        ("''''", "\"'\""),
        ("'}} ${{ \"'", r#""}} ${{ \"""#),
        ("'ünïcode 😊'", "\"ünïcode 😊\""),
        ("  true\n", "true"),
        ("True", "error: Unrecognized named-value: 'True'"),
        ("NULL", "error: Unrecognized named-value: 'NULL'"),
        ("nan", "error: Unrecognized named-value: 'nan'"),
    ]);
}

#[test]
fn equality_is_loose_between_plain_kinds_and_by_identity_for_collections() {
    check(&[
        ("null == null", "true"),
        ("null == 0", "true"),
        ("null == ''", "true"),
        ("null == false", "true"),
        ("false == 0", "true"),
        ("false == ''", "true"),
        ("0 == ''", "true"),
        ("0 == ' '", "true"),
        ("true == 1", "true"),
        ("true == '1'", "true"),
        ("true == ' 0x1 '", "true"),
        ("true == 'true'", "false"),
        ("true == 2", "false"),
        ("1 == '1.0'", "true"),
        ("1 == 'one'", "false"),
        ("1 != 'one'", "true"),
        ("'1' == '1.0'", "false"),
        ("'abc' == 'ABC'", "true"),
        ("'ß' == 'ss'", "false"),
        ("'Straße' == 'STRASSE'", "false"),
        ("'ς' == 'Σ'", "true"),
        ("NaN == NaN", "false"),
        ("NaN != NaN", "true"),
        ("'NaN' == NaN", "false"),
        ("'x' == NaN", "false"),
        ("Infinity == 'Infinity'", "true"),
        ("-0 == 0", "true"),
        ("list == list", "true"),
        ("list == lists", "false"),
        ("list != lists", "true"),
        ("no == no", "true"),
        ("no == none", "false"),
        ("none == ''", "false"),
        ("none == 0", "false"),
        ("no == null", "false"),
        ("none == 'Array'", "false"),
        ("github.event == github['EVENT']", "true"),
        ("fromJSON('[]') == fromJSON('[]')", "false"),
    ]);
}

#[test]
fn order_goes_by_text_for_two_texts_and_by_number_otherwise() {
    check(&[
        ("1 < 2", "true"),
        ("2 <= 2", "true"),
        ("2 > 2", "false"),
        ("'10' < '9'", "true"),
        ("'10' < 9", "false"),
        ("10 > '9'", "true"),
        ("'a' < 'B'", "true"),
        ("'B' > 'a'", "true"),
        ("'a' < '['", "true"),
        ("'a' < '_'", "true"),
        ("'abc' < 'abcd'", "true"),
        ("'ABC' <= 'abc'", "true"),
        ("'ABC' >= 'abc'", "true"),
        ("'ABC' > 'abc'", "false"),
        ("false < true", "true"),
        ("true > false", "true"),
        ("true >= '1'", "true"),
        ("null < 1", "true"),
        ("null >= 0", "true"),
        ("null >= null", "true"),
        ("null > null", "false"),
        ("null < null", "false"),
        ("'x' < 1", "false"),
        ("'x' >= 1", "false"),
        ("NaN < 1", "false"),
        ("NaN >= NaN", "false"),
        ("list < list", "false"),
        ("list <= list", "true"),
        ("list < lists", "false"),
        ("no > 0", "false"),
        ("no >= no", "true"),
    ]);
}

#[test]
fn operators_bind_as_github_binds_them_and_give_their_operands() {
    check(&[
        ("!true", "false"),
        ("!!'x'", "true"),
        ("!''", "true"),
        ("!0", "true"),
        ("!NaN", "true"),
        ("!none", "false"),
        ("!n.x", "true"),
        ("!f == t", "true"),
        ("!(f == t)", "true"),
        ("1 < 2 == true", "true"),
        ("true == 1 < 2", "true"),
        ("1 == 1 != 2 == 2", "false"),
        ("3 > 2 > 1", "false"),
        ("f || t && f", "false"),
        ("(f || t) && f", "false"),
        ("t || f && f", "true"),
        ("(t || f) && f", "false"),
        ("f && f || t", "true"),
        ("'a' || 'b'", "\"a\""),
        ("'' || 'b'", "\"b\""),
        ("'' || 0 || null", "null"),
        ("'a' && 'b'", "\"b\""),
        ("0 && 'b'", "0"),
        ("1 && 'b' && ''", "\"\""),
        ("t && 'yes' || 'no'", "\"yes\""),
        ("f && 'yes' || 'no'", "\"no\""),
        ("t && '' || 'no'", "\"no\""),
        ("1 == 1 && 2 == 2", "true"),
        ("!f && !f", "true"),
    ]);
}

#[test]
fn what_is_not_needed_is_not_evaluated() {
    check(&[
        ("f && missing", "false"),
        ("t || missing", "true"),
        ("t && missing", "error: Unrecognized named-value: 'missing'"),
        ("case(t, 1, missing)", "1"),
        ("case(f, missing, 2)", "2"),
        ("case(t, 1, missing, 2, missing)", "1"),
        ("contains(no, missing)", "false"),
        ("contains(none, missing)", "false"),
        ("startsWith(list, missing)", "false"),
        ("endsWith(no, missing)", "false"),
        ("join('x', missing)", "\"x\""),
        ("join(none, missing)", "\"\""),
        ("n[missing]", "null"),
        ("format('{0}', 1, missing)", "\"1\""),
        (
            "format('{', missing)",
            "error: The following format string is invalid: {",
        ),
    ]);
}

#[test]
fn an_index_finds_members_without_case_and_gives_null_for_the_rest() {
    check(&[
        ("github.ref", "\"refs/heads/main\""),
        ("GITHUB.Ref", "\"refs/heads/main\""),
        ("github['REF']", "\"refs/heads/main\""),
        ("github . ref", "\"refs/heads/main\""),
        ("github.none.of.this", "null"),
        ("text.length", "null"),
        ("n.x", "null"),
        ("one[0]", "null"),
        ("list[0]", "\"zero\""),
        ("list['1']", "\"one\""),
        ("list[true]", "\"one\""),
        ("list[1.9]", "\"one\""),
        ("list[-0.5]", "null"),
        ("list[null]", "\"zero\""),
        ("list['']", "\"zero\""),
        ("list[4]", "null"),
        ("list[3]", "null"),
        ("list['x']", "null"),
        ("list[NaN]", "null"),
        ("list[Infinity]", "null"),
        ("list[4294967296]", "null"),
        ("list[list]", "null"),
        ("list.zero", "null"),
        ("nested[text]", "null"),
        ("nested[no]", "null"),
        ("nested['b'].l[1]", "8"),
        ("(nested).b.k", "2"),
        ("(nested.b)['k']", "2"),
        ("fromJSON('{\"A-b\": 3}').a-B", "3"),
        ("fromJSON('{\"1\": 3}')[1]", "3"),
        ("fromJSON('{\"\": 3}')[null]", "3"),
        ("fromJSON('{\"1.5\": 3}')[1.5]", "3"),
        ("nested[format('{0}', 'c')]", "3"),
    ]);
}

#[test]
fn a_wildcard_filters_and_further_indexes_go_into_each_item() {
    check(&[
        ("list.*", "[\"zero\",\"one\",2,null]"),
        ("list[*]", "[\"zero\",\"one\",2,null]"),
        ("nested.*", "[{\"k\":1},{\"k\":2,\"l\":[7,8]},3]"),
        ("nested.*.k", "[1,2]"),
        ("nested.*.K", "[1,2]"),
        ("nested.*['k']", "[1,2]"),
        ("nested.*.l", "[[7,8]]"),
        ("nested.*.l.*", "[7,8]"),
        ("nested.*.*", "[1,2,[7,8]]"),
        ("nested.*.*[0]", "[7]"),
        ("lists.*", "[[1,2],[3,4],\"x\",{\"a\":5}]"),
        ("lists.*[0]", "[1,3]"),
        ("lists[*][1]", "[2,4]"),
        ("lists[*][9]", "[]"),
        ("lists[*][-1]", "[]"),
        ("lists[*].a", "[5]"),
        ("lists.*.*", "[1,2,3,4,5]"),
        ("(nested.*).k", "[1,2]"),
        ("(nested.* || n).k", "[1,2]"),
        ("case(t, nested.*, n).k", "[1,2]"),
        ("nested.*[0].k", "[]"),
        ("github.event.labels.*.name", "[\"bug\",\"Docs\"]"),
        ("github.event.missing.*.name", "[]"),
        ("text.*", "[]"),
        ("n.*", "[]"),
        ("no.*", "[]"),
        ("none.*.x", "[]"),
        ("contains(github.event.labels.*.name, 'docs')", "true"),
        ("join(github.event.labels.*.name)", "\"bug,Docs\""),
        ("toJSON(n.*)", "\"[]\""),
        ("!n.*", "false"),
    ]);
}

#[test]
fn searching_functions_compare_without_case_and_not_with_collections() {
    check(&[
        ("contains('Hello World', 'WORLD')", "true"),
        ("contains('abc', '')", "true"),
        ("contains('', 'a')", "false"),
        ("contains(123, 2)", "true"),
        ("contains(true, 'RU')", "true"),
        ("contains(null, '')", "true"),
        ("contains('Array', list)", "false"),
        ("contains(list, 'ONE')", "true"),
        ("contains(list, 'on')", "false"),
        ("contains(list, '2')", "true"),
        ("contains(list, null)", "true"),
        ("contains(list, 0)", "true"),
        ("contains(list, list)", "false"),
        ("contains(lists, lists[0])", "true"),
        ("contains(nested, 'a')", "false"),
        ("CONTAINS('a', 'A')", "true"),
        ("startsWith('refs/tags/v1', 'REFS/TAGS')", "true"),
        ("startsWith('a', 'ab')", "false"),
        ("startsWith('a', '')", "true"),
        ("startsWith(123, 12)", "true"),
        ("startsWith('Object', no)", "false"),
        ("startswith(no, 'Obj')", "false"),
        ("endsWith('v1.Zip', '.ZIP')", "true"),
        ("endsWith('zip', '.zip')", "false"),
        ("endsWith(true, 'ue')", "true"),
        ("endsWith(list, 'y')", "false"),
    ]);
}

#[test]
fn format_puts_arguments_in_and_refuses_single_braces() {
    check(&[
        ("format('a')", "\"a\""),
        ("format('')", "\"\""),
        ("format('{0}{1}{0}', 'a', 'b')", "\"aba\""),
        ("format('{00}', 'a')", "\"a\""),
        ("format('{0:}', 'a')", "\"a\""),
        ("format('{{0}}', 'a')", "\"{0}\""),
        ("format('{{{0}}}', 'a')", "\"{a}\""),
        ("format('{{ }} {{')", "\"{ } {\""),
        (
            "format('{0} {1} {2} {3}', null, true, list, no)",
            "\" true Array Object\"",
        ),
        ("format('{0}', 1.50)", "\"1.5\""),
        ("format('{0}', '{1}')", "\"{1}\""),
        ("format(1)", "\"1\""),
        ("format(null, 1)", "\"\""),
        (
            "format('{}', 1)",
            "error: The following format string is invalid: {}",
        ),
        (
            "format('{ 0}', 1)",
            "error: The following format string is invalid: { 0}",
        ),
        (
            "format('{0 }', 1)",
            "error: The following format string is invalid: {0 }",
        ),
        (
            "format('{-1}', 1)",
            "error: The following format string is invalid: {-1}",
        ),
        (
            "format('{a}', 1)",
            "error: The following format string is invalid: {a}",
        ),
        (
            "format('{256}', 1)",
            "error: The following format string is invalid: {256}",
        ),
        (
            "format('}', 1)",
            "error: The following format string is invalid: }",
        ),
        (
            "format('{0', 1)",
            "error: The following format string is invalid: {0",
        ),
        (
            "format('{1}', 1)",
            "error: The following format string references more arguments than were supplied: {1}",
        ),
        (
            "format('{0:x}', 1)",
            "error: The format specifiers 'x' are not valid for objects of type 'Number'",
        ),
        (
            "format('{0:a}}b}', 'x')",
            "error: The format specifiers 'a}b' are not valid for objects of type 'String'",
        ),
    ]);
}

#[test]
fn join_takes_lists_and_leaves_plain_values_alone() {
    check(&[
        ("join(list)", "\"zero,one,2,\""),
        ("join(list, '')", "\"zeroone2\""),
        ("join(list, 1)", "\"zero1one121\""),
        ("join(list, list)", "\"zero,one,2,\""),
        ("join(lists, ' ')", "\"Array Array x Object\""),
        ("join(none, 'x')", "\"\""),
        ("join(nested, 'x')", "\"\""),
        ("join(null)", "\"\""),
        ("join(1.5, 'x')", "\"1.5\""),
        ("join(fromJSON('[\"a\"]'), missing)", "\"a\""),
    ]);
}

#[test]
fn case_asks_for_booleans_in_turn() {
    check(&[
        ("case(t, 1, 2)", "1"),
        ("case(f, 1, t, 2, 3)", "2"),
        ("case(f, 1, f, 2, 3)", "3"),
        ("Case(1 == 1, list, 2)[1]", "\"one\""),
        (
            "case('true', 1, 2)",
            "error: case predicate must evaluate to a boolean value",
        ),
        (
            "case(f, 1, 1, 2, 3)",
            "error: case predicate must evaluate to a boolean value",
        ),
        (
            "case(t, 1)",
            "error: Wrong number of parameters supplied: 'case'",
        ),
        (
            "case(t, 1, 2, 3)",
            "error: Wrong number of parameters supplied: 'case'",
        ),
    ]);
}

#[test]
fn json_goes_both_ways_with_two_spaces_and_the_order_kept() {
    check(&[
        ("toJSON(n)", "\"null\""),
        ("toJSON(1.0)", "\"1\""),
        ("toJSON(NaN)", "\"NaN\""),
        ("toJSON('a\"b\\c')", r#""\"a\\\"b\\\\c\"""#),
        ("toJSON(none)", "\"[]\""),
        ("toJSON(no)", "\"{}\""),
        (
            "toJSON(fromJSON('{\"b\":[1,{}],\"a\":\"x\"}'))",
            r#""{\n  \"b\": [\n    1,\n    {}\n  ],\n  \"a\": \"x\"\n}""#,
        ),
        (
            "toJSON(fromJSON('\"\\u2028\\u0001é\"'))",
            r#""\"\\u2028\\u0001é\"""#,
        ),
        ("fromJSON('1e2')", "100"),
        ("fromJSON(' [1, \"a\"] ')", "[1,\"a\"]"),
        ("fromJSON('null')", "null"),
        ("fromJSON(true)", "true"),
        ("fromJSON(1.5)", "1.5"),
        ("fromJSON('{\"a\":1,\"A\":2}')", "{\"a\":2}"),
        ("fromJSON(toJSON(github)).event.labels[1].id", "2"),
        ("fromJSON('\"😊\"')", "\"😊\""),
    ]);
    let scope = Fixed::new("{}");
    for text in [
        "",
        "[1,]",
        "{'a':1}",
        "[1] x",
        "nul",
        "01",
        "[NaN]",
        "{\"a\" 1}",
    ] {
        let expression = format!("fromJSON('{}')", text.replace('\'', "''"));
        let got = evaluate(&expression, &scope);
        assert!(
            got.starts_with("error: Error parsing fromJson"),
            "{text}: {got}"
        );
    }
}

#[test]
fn outside_questions_reach_the_scope_with_their_arguments() {
    check(&[
        ("success()", "true"),
        ("Success('done')", "true"),
        ("success('other')", "false"),
        ("failure()", "false"),
        ("cancelled()", "false"),
        ("ALWAYS()", "true"),
        ("hashFiles('a', 1, '*.lock')", "\"a+1+*.lock\""),
        ("nobody()", "error: Unrecognized function: 'nobody'"),
        (
            "contains('a')",
            "error: Wrong number of parameters supplied: 'contains'",
        ),
        (
            "toJSON()",
            "error: Wrong number of parameters supplied: 'toJSON'",
        ),
    ]);
}

#[test]
fn a_context_is_shared_and_not_copied() {
    let scope = Fixed::new(CONTEXTS);
    let list = Expression::parse("github.event").unwrap();
    let (first, second) = (
        list.evaluate(&scope).unwrap(),
        list.evaluate(&scope).unwrap(),
    );
    assert!(first.loosely_equals(&second));
    assert!(first.loosely_equals(&scope.0.get("github").unwrap().get("event").unwrap().clone()));
}

#[test]
fn an_error_of_the_scope_is_the_error_of_the_expression() {
    struct Broken;
    impl Scope for Broken {
        fn context(&self, _: &str) -> Option<Value> {
            None
        }
        fn status(&self, _: StatusFunction, _: &[Value]) -> Result<bool, EvaluationError> {
            Ok(true)
        }
        fn hash_files(&self, _: &[String]) -> Result<String, EvaluationError> {
            Err(EvaluationError::Outside {
                name: "hashFiles",
                problem: "the disk is gone".to_owned(),
            })
        }
    }
    let got = evaluate("format('{0}', hashFiles('x'))", &Broken);
    assert_eq!(got, "error: hashFiles failed: the disk is gone");
}

#[test]
fn values_turn_into_json_and_back() {
    for text in [
        "null",
        "true",
        "1",
        "-1.5",
        "\"a\"",
        "[1,[],{}]",
        "{\"b\":1,\"a\":{\"c\":null}}",
        "9007199254740992",
    ] {
        let json: serde_json::Value = serde_json::from_str(text).unwrap();
        let value = Value::from(&json);
        assert_eq!(serde_json::Value::from(&value).to_string(), text);
    }
    let odd = Value::from(vec![
        Value::from(f64::NAN),
        Value::from(f64::NEG_INFINITY),
        Value::from(-0.0),
        Value::from(1e300),
    ]);
    let json = serde_json::Value::from(&odd).to_string();
    assert_eq!(json, "[\"NaN\",\"-Infinity\",0,1e+300]");
}

#[test]
fn a_case_sensitive_context_tells_spellings_apart() {
    let mut env = Object::case_sensitive();
    env.insert("Path", "a");
    env.insert("PATH", "b");
    let scope = Fixed(Object::new().with("env", env));
    assert_eq!(evaluate("env.PATH", &scope), "\"b\"");
    assert_eq!(evaluate("env.path", &scope), "null");
    assert_eq!(evaluate("env.*", &scope), "[\"a\",\"b\"]");
}
