//! The cron expressions of `schedule`.

use chrono_tz::Tz;

use crate::diagnostic::Diagnostic;
use crate::workflow::cron::Cron;
use crate::workflow::model::Located;

use super::reader::Reader;

/// Reports a cron expression that GitHub refuses.
pub(super) fn check(reader: &mut Reader<'_>, cron: &Located<String>) {
    match Cron::parse(&cron.value) {
        Err(problem) => {
            let message = format!("`{}` is no cron expression: {problem}", cron.value);
            reader.report(
                Diagnostic::error("cron-syntax", &cron.span, message)
                    .with_hint("minute, hour, day of the month, month, day of the week"),
            );
        }
        Ok(read) if read.is_too_often() => {
            reader.report(Diagnostic::warning(
                "cron-too-often",
                &cron.span,
                "GitHub starts scheduled workflows at most every 5 minutes",
            ));
        }
        Ok(_) => {}
    }
}

/// Reports a text that cannot be the name of a time zone, and warns of one that nobody knows.
pub(super) fn check_timezone(reader: &mut Reader<'_>, zone: &Located<String>) {
    let is_name = zone.value.split('/').all(|part| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+'))
    });
    let hint = "a name of the IANA database, as `Europe/Berlin`";
    if !is_name {
        let message = format!("`{}` is no name of a time zone", zone.value);
        reader.report(Diagnostic::error("timezone", &zone.span, message).with_hint(hint));
    } else if zone.value.parse::<Tz>().is_err() {
        let message = format!("no time zone is called `{}`", zone.value);
        reader.report(Diagnostic::warning("timezone-unknown", &zone.span, message).with_hint(hint));
    }
}
