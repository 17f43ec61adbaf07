//! Expressions that are too deep, too long, too large.

use super::{
    super::{EvaluationError, Expression, ParseErrorKind, Value, condition},
    Fixed, evaluate,
};

fn kind(text: &str) -> Option<ParseErrorKind> {
    Expression::parse(text).err().map(|error| error.kind())
}

#[test]
fn fifty_levels_are_read_and_one_more_is_not() {
    for (name, open, core, close, most) in [
        ("not", "!", "a", "", 49),
        ("calls", "f(", "1", ")", 49),
        ("members", "", "a", ".b", 49),
        ("indexes", "", "a", "[0]", 49),
        ("inner indexes", "a[", "0", "]", 49),
        ("comparisons", "1 == (", "1", ")", 49),
        ("mixed", "!(a || ", "b", ")", 24),
    ] {
        let nested =
            |levels: usize| format!("{}{core}{}", open.repeat(levels), close.repeat(levels));
        assert_eq!(kind(&nested(most)), None, "{name}");
        let error = Expression::parse(&nested(most + 1)).unwrap_err();
        assert_eq!(error.kind(), ParseErrorKind::TooDeep, "{name}");
        assert_eq!(error.to_string(), "Exceeded max expression depth 50");
    }
}

#[test]
fn chains_of_one_operator_and_groups_are_no_levels() {
    let chain = |operator: &str| vec!["a"; 500].join(operator);
    assert_eq!(kind(&chain(" && ")), None);
    assert_eq!(kind(&chain(" || ")), None);
    assert_eq!(kind(&chain(" == ")), Some(ParseErrorKind::TooDeep));
    assert_eq!(
        kind(&format!("{}a{}", "(".repeat(500), ")".repeat(500))),
        None
    );
    let nested = format!("{}a{}", "(a && ".repeat(500), ")".repeat(500));
    assert_eq!(kind(&nested), None);
    let either = format!("{}a{}", "(a && a || ".repeat(500), ")".repeat(500));
    assert_eq!(kind(&either), None);
}

#[test]
fn nesting_without_end_does_not_overflow_the_stack() {
    let many = 20_000;
    assert_eq!(kind(&"(".repeat(many)), Some(ParseErrorKind::UnexpectedEnd));
    assert_eq!(kind(&"!".repeat(many)), Some(ParseErrorKind::UnexpectedEnd));
    assert_eq!(
        kind(&"a[".repeat(many / 2)),
        Some(ParseErrorKind::UnexpectedEnd)
    );
    assert_eq!(
        kind(&format!("{}a", "!".repeat(many))),
        Some(ParseErrorKind::TooDeep)
    );
    assert_eq!(
        kind(&format!("a{}", ".a".repeat(many / 2))),
        Some(ParseErrorKind::TooDeep)
    );
    let closed = format!("{}1{}", "f(".repeat(many / 3), ")".repeat(many / 3));
    assert_eq!(kind(&closed), Some(ParseErrorKind::TooDeep));
}

#[test]
fn an_error_of_grammar_comes_before_the_depth() {
    let text = format!("{}a ==", "!".repeat(100));
    assert_eq!(kind(&text), Some(ParseErrorKind::UnexpectedEnd));
}

#[test]
fn length_is_counted_in_utf16_units() {
    let text = |c: &str, count: usize| format!("'{}'", c.repeat(count));
    assert_eq!(kind(&text("a", 20_998)), None);
    assert_eq!(kind(&text("a", 20_999)), Some(ParseErrorKind::TooLong));
    assert_eq!(kind(&text("ü", 20_998)), None);
    assert_eq!(kind(&text("😊", 10_499)), None);
    assert_eq!(kind(&text("😊", 10_500)), Some(ParseErrorKind::TooLong));
}

#[test]
fn an_implied_success_does_not_make_a_condition_too_deep() {
    assert!(condition(&format!("{}a", "!".repeat(49))).is_ok());
}

#[test]
fn results_that_are_too_large_are_refused_before_they_are_built() {
    let big = "x".repeat(1_000_000);
    let many = vec![format!("\"{big}\""); 6].join(",");
    let zeros = "0,".repeat(1000);
    let scope = Fixed::new(&format!(
        r#"{{"big": "{big}", "list": [{zeros}0], "many": [{many}]}}"#
    ));
    let times = |count: usize| {
        let braces = "{0}".repeat(count);
        evaluate(&format!("startsWith(format('{braces}', big), 'x')"), &scope)
    };
    assert_eq!(times(2), "true");
    assert!(times(6).starts_with("error: The maximum allowed memory size was exceeded"));
    for text in [
        "join(list, big)",
        "toJSON(many)",
        "join(many)",
        "format('{0}{1}', format('{0}{0}{0}', big), format('{0}{0}{0}', big))",
    ] {
        let got = Expression::parse(text).unwrap().evaluate(&scope);
        assert!(matches!(got, Err(EvaluationError::Memory { .. })), "{text}");
    }
}

#[test]
fn memory_of_operands_that_became_plain_is_given_back() {
    let big = "x".repeat(1_000_000);
    let scope = Fixed::new(&format!(r#"{{"big": "{big}"}}"#));
    let text = vec!["contains(format('{0}', big), 'x')"; 20].join(" && ");
    assert_eq!(evaluate(&text, &scope), "true");
}

#[test]
fn json_that_nests_without_end_is_refused() {
    let text = format!("fromJSON('{}{}')", "[".repeat(5_000), "]".repeat(5_000));
    assert!(evaluate(&text, &Fixed::new("{}")).starts_with("error: Error parsing fromJson"));
    let value: Value =
        serde_json::from_str(&format!("{}{}", "[".repeat(100), "]".repeat(100))).unwrap();
    assert!(value.is_truthy());
}
