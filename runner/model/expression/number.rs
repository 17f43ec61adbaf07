//! Numbers to text and text to numbers, by GitHub's rules.

/// Reads a number from text as GitHub's coercion does.
///
/// Space around is ignored and empty text is 0. Decimal numbers with sign, fraction and exponent,
/// `0x…` and `0o…` of 32 bits, and `Infinity` with a sign are read; everything else is NaN.
pub fn parse_number(text: &str) -> f64 {
    let text = text.trim();
    if text.is_empty() {
        return 0.0;
    }
    if is_decimal(text) {
        return text.parse().unwrap_or(f64::NAN);
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return parse_radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return parse_radix(digits, 8);
    }
    let (sign, name) = match text.as_bytes().first() {
        Some(b'-') => (-1.0, text.get(1..)),
        Some(b'+') => (1.0, text.get(1..)),
        _ => (1.0, Some(text)),
    };
    // The library below GitHub's parser takes the symbol in any case.
    match name {
        Some(name) if name.eq_ignore_ascii_case("infinity") => sign * f64::INFINITY,
        _ => f64::NAN,
    }
}

/// Reads digits that fill at most 32 bits; the topmost bit is the sign, as in GitHub's `Int32`.
fn parse_radix(digits: &str, radix: u32) -> f64 {
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return f64::NAN;
    }
    match u32::from_str_radix(digits, radix) {
        Ok(bits) => f64::from(bits.cast_signed()),
        Err(_) => f64::NAN,
    }
}

/// Tells whether text is `[+-] digits [. digits] [e [+-] digits]` with a digit before the exponent.
fn is_decimal(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (text.get(..at), text.get(at + 1..)),
        None => (Some(text), None),
    };
    let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let mantissa_fits = mantissa.is_some_and(|mantissa| {
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        all_digits(whole) && all_digits(fraction) && !(whole.is_empty() && fraction.is_empty())
    });
    let exponent_fits = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    mantissa_fits && exponent_fits
}

/// Writes a number with 15 significant digits, as .NET's `G15` does.
///
/// Plain from 0.0001 up to below 10^15, else with an exponent of at least two digits (`1E+15`,
/// `1E-05`). Negative zero is `0`.
pub fn format_number(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }
        .to_owned();
    }
    if number == 0.0 {
        return "0".to_owned();
    }
    // Integers below 10^15 are the common case and need no rounding.
    if number.fract() == 0.0 && number.abs() < 1e15 {
        return format!("{number:.0}");
    }
    let scientific = format!("{:.14e}", number.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_end_matches('0');
    let sign = if number < 0.0 { "-" } else { "" };
    if !(-4..15).contains(&exponent) {
        let (first, rest) = digits.split_at(digits.len().min(1));
        let point = if rest.is_empty() { "" } else { "." };
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        let size = exponent.unsigned_abs();
        return format!("{sign}{first}{point}{rest}E{exponent_sign}{size:02}");
    }
    if exponent < 0 {
        let zeros = "0".repeat(usize::try_from(-1 - exponent).unwrap_or(0));
        return format!("{sign}0.{zeros}{digits}");
    }
    let whole = usize::try_from(exponent).unwrap_or(0) + 1;
    if digits.len() <= whole {
        return format!("{sign}{digits:0<whole$}");
    }
    let (before, after) = digits.split_at(whole);
    format!("{sign}{before}.{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_the_number_that_github_reads() {
        for (text, number) in [
            ("", 0.0),
            ("  ", 0.0),
            ("0", 0.0),
            ("-0", 0.0),
            (" 12 ", 12.0),
            ("\t1\n", 1.0),
            ("+1", 1.0),
            ("-1.5", -1.5),
            (".5", 0.5),
            ("-.5", -0.5),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("1E+3", 1000.0),
            ("1e-3", 0.001),
            ("1e400", f64::INFINITY),
            ("007", 7.0),
            ("0xff", 255.0),
            ("0xFF", 255.0),
            ("0xFFFFFFFF", -1.0),
            ("0x0000000001", 1.0),
            ("0o17", 15.0),
            ("0o37777777777", -1.0),
            ("Infinity", f64::INFINITY),
            (" -Infinity ", f64::NEG_INFINITY),
            ("+infinity", f64::INFINITY),
        ] {
            assert_eq!(parse_number(text), number, "{text:?}");
        }
    }

    #[test]
    fn text_that_is_no_number_is_nan() {
        for text in [
            "abc",
            "1a",
            "1 2",
            "1e",
            "1e+",
            ".",
            "+",
            "-",
            "e5",
            "--1",
            "0x",
            "0xg",
            "0X1",
            "0x100000000",
            "-0x1",
            "0o",
            "0o8",
            "0O7",
            "0b1",
            "1_000",
            "1,000",
            "NaN",
            "Inf",
            "1.2.3",
            "true",
            "null",
            "٣",
        ] {
            assert!(parse_number(text).is_nan(), "{text:?}");
        }
    }

    #[test]
    fn numbers_are_written_with_fifteen_digits() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-1.0, "-1"),
            (0.1, "0.1"),
            (0.1 + 0.2, "0.3"),
            (1.0 / 3.0, "0.333333333333333"),
            (2.0 / 3.0, "0.666666666666667"),
            (1234.5, "1234.5"),
            (-1234.567, "-1234.567"),
            (123_456_789.0, "123456789"),
            (999_999_999_999_999.0, "999999999999999"),
            (1e15, "1E+15"),
            (1.5e15, "1.5E+15"),
            (1_234_567_890_123_456_789.0, "1.23456789012346E+18"),
            (1e21, "1E+21"),
            (1e100, "1E+100"),
            (0.0001, "0.0001"),
            (0.000_12, "0.00012"),
            (0.000_01, "1E-05"),
            (-1.25e-7, "-1.25E-07"),
            (123_456_789_012_345.6, "123456789012346"),
            (99.999_999_999_999_99, "100"),
            (f64::MAX, "1.79769313486232E+308"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(format_number(number), text);
        }
    }
}
