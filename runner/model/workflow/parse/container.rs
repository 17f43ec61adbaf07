//! `container`, `services`, `concurrency`, `environment`, `runs-on` and `snapshot` of a job.

use crate::diagnostic::Diagnostic;
use crate::workflow::token::{Token, TokenKind};

use super::inputs::pairs;
use super::reader::Reader;

/// The names by which `group` of `runs-on` says whose group it means.
const GROUP_OWNERS: [&str; 4] = ["org", "organization", "ent", "enterprise"];

/// A concurrency group's name is not longer.
const MAX_GROUP: usize = 400;

/// Reports an image that is empty, where GitHub refuses it.
pub(super) fn check(reader: &mut Reader<'_>, token: &Token, is_service: bool) {
    let image = match &token.kind {
        TokenKind::Mapping(_) => token.get("image"),
        _ => Some(token),
    };
    let Some(image) = image else {
        let has_keys = token.as_mapping().is_some_and(|pairs| !pairs.is_empty());
        if is_service && !token.has_expression() && has_keys {
            let message = "the service has no `image`";
            reader.error("container-image", &token.span, message);
        }
        return;
    };
    let Some(text) = image.as_literal() else {
        return;
    };
    if text == "docker://" {
        reader.error(
            "container-image",
            &image.span,
            "the image's name is missing",
        );
    }
    credentials(reader, token);
}

/// Warns of a password that stands in the file.
fn credentials(reader: &mut Reader<'_>, token: &Token) {
    let Some(credentials) = token.get("credentials") else {
        return;
    };
    if let Some(password) = credentials.get("password")
        && password.as_literal().is_some_and(|text| !text.is_empty())
    {
        let message = "the password of the registry stands in the file for everyone to read";
        reader.report(
            Diagnostic::warning("plain-password", &password.span, message)
                .with_hint("use a secret: `${{ secrets.NAME }}`"),
        );
    }
}

/// Checks every service.
pub(super) fn check_services(reader: &mut Reader<'_>, token: &Token) {
    for (_, service) in pairs(token) {
        check(reader, service, true);
    }
}

/// Reports a concurrency group whose name is too long.
pub(super) fn check_concurrency(reader: &mut Reader<'_>, token: &Token) {
    let group = token.get("group").unwrap_or(token);
    if let Some(name) = group.as_literal()
        && name.chars().count() > MAX_GROUP
    {
        let message = format!("the group's name is longer than {MAX_GROUP} characters");
        reader.error("concurrency-group", &group.span, message);
    }
}

/// Reports a runner group that names its owner wrong.
pub(super) fn check_runs_on(reader: &mut Reader<'_>, token: &Token) {
    let Some(group) = token.get("group") else {
        return;
    };
    let Some(name) = group.as_literal() else {
        return;
    };
    let problem = match name.split('/').collect::<Vec<_>>().as_slice() {
        [] | [_] => return,
        [_, ""] => "the group's name is missing behind `/`",
        [owner, _] if GROUP_OWNERS.contains(owner) => return,
        _ => "before `/` stands `organization` or `enterprise`",
    };
    let message = format!("`{name}` is no runner group: {problem}");
    reader.error("runner-group", &group.span, message);
}

/// Reports a version of a custom image that is none.
pub(super) fn check_snapshot(reader: &mut Reader<'_>, token: &Token) {
    let Some(version) = token.get("version") else {
        return;
    };
    let Some(text) = version.as_literal() else {
        return;
    };
    let is_version = text
        .strip_suffix(".*")
        .is_some_and(|major| !major.is_empty() && major.bytes().all(|byte| byte.is_ascii_digit()));
    if !is_version && !text.is_empty() {
        let message = format!("`{text}` is no version of an image: expected a number and `.*`");
        reader.error("snapshot-version", &version.span, message);
    }
}
