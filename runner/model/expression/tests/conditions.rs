//! The text of an `if:` and what becomes of it.

use super::{
    super::{ConditionForm, Names, ParseErrorKind, condition, condition_with},
    Fixed,
};

#[test]
fn success_is_implied_unless_the_tree_asks_for_the_state() {
    for (text, canonical) in [
        ("", "success()"),
        ("  \n", "success()"),
        ("a", "success() && (a)"),
        ("  a  ", "success() && (a)"),
        ("a || b", "success() && (a || b)"),
        ("a && b", "success() && (a && b)"),
        ("${{ a }}", "success() && (a)"),
        ("${{a}}", "success() && (a)"),
        ("always()", "always()"),
        ("${{ Always() }}", "Always()"),
        ("!cancelled()", "!cancelled()"),
        ("a && (b || FAILURE())", "a && (b || FAILURE())"),
        ("contains(success('x'), 'y')", "contains(success('x'), 'y')"),
        ("a[failure()]", "a[failure()]"),
        ("'always()'", "success() && ('always()')"),
        ("a == 'failure()'", "success() && (a == 'failure()')"),
        ("a.success", "success() && (a.success)"),
        ("always", "success() && (always)"),
        ("${{ a }} ", "success() && (format('{0} ', a))"),
        ("!${{ a }}", "success() && (format('!{0}', a))"),
        (
            "${{ a }} == 'x'",
            "success() && (format('{0} == ''x''', a))",
        ),
        ("${{ always() }} && {b}", "format('{0} && {{b}}', always())"),
        (
            "x always() ${{ a }}",
            "success() && (format('x always() {0}', a))",
        ),
    ] {
        let read = condition(text).unwrap();
        assert_eq!(read.text(), canonical, "{text}");
        assert_eq!(
            read.implies_success(),
            canonical.starts_with("success()"),
            "{text}"
        );
        // The tree and its text say the same.
        let again = condition(canonical).unwrap();
        let calls = |condition: &super::super::Condition| {
            let spans = condition.expression().calls();
            Vec::from_iter(spans.into_iter().map(|call| call.span))
        };
        assert_eq!(calls(&read), calls(&again), "{text}");
        assert_eq!(
            read.expression().references(),
            again.expression().references(),
            "{text}"
        );
    }
}

#[test]
fn the_form_tells_how_a_condition_was_written() {
    for (text, form, rewritten) in [
        ("", ConditionForm::Empty, true),
        ("a", ConditionForm::Bare, true),
        ("always()", ConditionForm::Bare, false),
        ("${{ a }}", ConditionForm::Bracketed, true),
        ("${{ always() }}", ConditionForm::Bracketed, false),
        (" ${{ a }}", ConditionForm::AlwaysTrue, true),
        ("${{ always() }}\n", ConditionForm::AlwaysTrue, true),
    ] {
        let read = condition(text).unwrap();
        assert_eq!(
            (read.form(), read.is_rewritten()),
            (form, rewritten),
            "{text}"
        );
    }
}

#[test]
fn a_condition_is_true_or_false() {
    let scope = Fixed::new(r#"{"t": true, "f": false, "word": "false", "n": null, "list": []}"#);
    for (text, wanted) in [
        ("", true),
        ("t", true),
        ("f", false),
        ("word", true),
        ("n", false),
        ("list", true),
        ("0", false),
        ("''", false),
        ("failure()", false),
        ("!failure() && t", true),
        ("${{ f }}", false),
        ("${{ f }} ", true),
        ("!${{ t }}", true),
        ("${{ f }} && ${{ f }}", true),
    ] {
        assert_eq!(
            condition(text).unwrap().evaluate(&scope).unwrap(),
            wanted,
            "{text}"
        );
    }
    assert!(condition("nobody").unwrap().evaluate(&scope).is_err());
}

#[test]
fn errors_and_uses_are_placed_in_the_text_as_written() {
    let names = Names::new(["github", "success(0,0)"]);
    for (text, kind, word) in [
        ("  env.A", ParseErrorKind::UnrecognizedNamedValue, "env"),
        (
            "${{ env.A }}",
            ParseErrorKind::UnrecognizedNamedValue,
            "env",
        ),
        (
            "a ${{ github.a }} ${{ 1 + 1 }}",
            ParseErrorKind::Lexing,
            "+",
        ),
        ("${{ github", ParseErrorKind::Unclosed, "${{ github"),
        ("always()", ParseErrorKind::UnrecognizedFunction, "always"),
        ("${{ }}", ParseErrorKind::ExpressionExpected, "${{ }}"),
    ] {
        let error = condition_with(text, &names).unwrap_err();
        assert_eq!(error.kind(), kind, "{text}");
        assert_eq!(&text[error.span()], word);
    }
    let text = " ${{ github.a }} and ${{ github.b }}";
    let read = condition_with(text, &names).unwrap();
    for ((offset, expression), wanted) in read.written().iter().zip(["github.a", "github.b"]) {
        let span = expression.references()[0].span.clone();
        assert_eq!(&text[span.start + offset..span.end + offset], wanted);
    }
}
