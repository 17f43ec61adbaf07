//! What people ask for on GitHub's pages: re-running a check, and the buttons of a check run. Pure.

use serde_json::Value as Json;

use crate::scheduler::{Button, CheckId};

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// To run again what a check run is of.
    Rerun(CheckId),
    /// To run again all that is shown beside a commit.
    RerunAll(String),
    /// What a button of a check run stands for.
    Pressed {
        /// The button.
        button: Button,
        /// What the check run is of.
        of: CheckId,
        /// The commit that it stands beside.
        sha: String,
    },
}

/// Tells whether a delivery is about a check run or a check suite of the App.
pub fn is_own(event: &str, payload: &Json, app: u64) -> bool {
    matches!(event, "check_run" | "check_suite")
        && payload
            .pointer(&format!("/{event}/app/id"))
            .and_then(Json::as_u64)
            == Some(app)
}

/// Returns what a delivery asks of the App; none where it asks for nothing, or of somebody else.
///
/// Source: GitHub, webhook events `check_run` (`rerequested`, `requested_action`) and `check_suite`
/// (`rerequested`).
pub fn asked(event: &str, payload: &Json, app: u64) -> Option<Asked> {
    let text = |path: &str| payload.pointer(path).and_then(Json::as_str);
    if !is_own(event, payload, app) {
        return None;
    }
    match (event, text("/action")?) {
        ("check_run", action) => {
            let of = CheckId::read(text("/check_run/external_id")?)?;
            match action {
                "rerequested" => Some(Asked::Rerun(of)),
                "requested_action" => Some(Asked::Pressed {
                    button: Button::from_identifier(text("/requested_action/identifier")?)?,
                    of,
                    sha: text("/check_run/head_sha")?.to_owned(),
                }),
                _ => None,
            }
        }
        ("check_suite", "rerequested") => {
            Some(Asked::RerunAll(text("/check_suite/head_sha")?.to_owned()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::run::{Attempt, RunId};

    fn payload(action: &str, app: u64, external: &str) -> Json {
        json!({"action": action, "requested_action": {"identifier": "approve"},
            "check_run": {"external_id": external, "head_sha": "abc", "app": {"id": app}},
            "check_suite": {"head_sha": "abc", "app": {"id": app}}})
    }

    #[test]
    fn buttons_and_reruns_are_read_of_our_own_check_runs_alone() {
        let run = CheckId {
            run: RunId("7".to_owned()),
            attempt: Attempt(1),
            job: None,
        };
        let ours = "run 7 attempt 1";
        let pressed = Asked::Pressed {
            button: Button::Approve,
            of: run.clone(),
            sha: "abc".to_owned(),
        };
        let read = |event: &str, action: &str, app: u64, external: &str| {
            asked(event, &payload(action, app, external), 4)
        };
        assert_eq!(
            read("check_run", "requested_action", 4, ours),
            Some(pressed)
        );
        let again = Some(Asked::Rerun(run));
        assert_eq!(read("check_run", "rerequested", 4, ours), again);
        let all = Some(Asked::RerunAll("abc".to_owned()));
        assert_eq!(read("check_suite", "rerequested", 4, ""), all);
        for (event, action, app, external) in [
            ("check_run", "requested_action", 5, ours),
            ("check_run", "rerequested", 4, "somebody else's"),
            ("check_run", "completed", 4, ours),
            ("check_suite", "completed", 4, ""),
            ("check_suite", "rerequested", 5, ""),
            ("push", "rerequested", 4, ours),
        ] {
            assert_eq!(read(event, action, app, external), None, "{event} {action}");
        }
    }
}
