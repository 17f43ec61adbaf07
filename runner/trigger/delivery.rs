//! What a delivered webhook means: which events, about which ref and commit. Pure.

use serde_json::Value as Json;

use crate::event::TriggerEvent;

/// Where the commit of an event comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitSource {
    /// The payload names it.
    Known(String),
    /// It is where this ref stands.
    Ref(String),
    /// It is the first of these refs that can be fetched and stands at this commit, or at one that
    /// brings it together with something: what was pushed meanwhile is another event's.
    Fetched(Vec<String>, String),
}

/// An event of a delivery.
#[derive(Debug, Clone)]
pub struct Described {
    /// What happened.
    pub event: TriggerEvent,
    /// What makes it one.
    pub key: String,
    /// The ref that it is about; none is the default branch.
    pub git_ref: Option<String>,
    /// Its commit.
    pub commit: CommitSource,
    /// The ref that moved, and where it stands now.
    pub moved: Option<(String, Option<String>)>,
    /// Whether its commit comes from a fork.
    pub is_fork: bool,
}

/// The events that start nothing by themselves, whatever workflows say.
const MEANT_FOR_US: [&str; 3] = ["ping", "installation", "installation_repositories"];

/// Returns the events of a delivery, or why there is none, in words.
///
/// A delivery of `pull_request` is two events: workflows on `pull_request` and those on
/// `pull_request_target` see it.
///
/// Source: GitHub, "Events that trigger workflows".
pub fn describe(name: &str, payload: &Json, delivery: &str) -> Result<Vec<Described>, String> {
    if MEANT_FOR_US.contains(&name) {
        return Err(format!("`{name}` starts no workflow"));
    }
    let event = TriggerEvent::new(name, payload.clone());
    match name {
        "push" => push(event).map(|push| vec![push]),
        "pull_request" => pull_request(&event),
        _ => {
            let git_ref = event.git_ref().map(|git_ref| {
                if git_ref.starts_with("refs/") {
                    git_ref
                } else {
                    format!("refs/heads/{git_ref}")
                }
            });
            let commit = match (event.sha(), &git_ref) {
                (Some(sha), _) => CommitSource::Known(sha.to_owned()),
                (None, Some(git_ref)) => CommitSource::Ref(git_ref.clone()),
                (None, None) => CommitSource::Ref(String::new()),
            };
            Ok(vec![Described {
                key: format!("{name} {delivery}"),
                event,
                git_ref,
                commit,
                moved: None,
                is_fork: false,
            }])
        }
    }
}

/// The key is the one of a look at the repository, so that both ways of a push are one event.
fn push(event: TriggerEvent) -> Result<Described, String> {
    let text = |key: &str| event.text(&[key]).map(str::to_owned);
    let (Some(name), Some(before), Some(after)) = (text("ref"), text("before"), text("after"))
    else {
        return Err("the push names no ref and commits".to_owned());
    };
    let is_none = |sha: &str| sha.bytes().all(|digit| digit == b'0');
    let now = (!is_none(&after)).then(|| after.clone());
    Ok(Described {
        key: format!("push {name} {before} {after}"),
        commit: CommitSource::Known(now.clone().unwrap_or(before)),
        moved: Some((name.clone(), now)),
        git_ref: Some(name),
        event,
        is_fork: false,
    })
}

fn pull_request(event: &TriggerEvent) -> Result<Vec<Described>, String> {
    let number = event
        .payload
        .pointer("/pull_request/number")
        .and_then(Json::as_u64)
        .ok_or("the pull request has no number")?;
    let text = |path: &[&str]| event.text(path).unwrap_or_default().to_owned();
    let action = event.action().unwrap_or_default();
    let head = text(&["pull_request", "head", "sha"]);
    let changed = text(&["pull_request", "updated_at"]);
    let repositories = ["head", "base"].map(|side| {
        event
            .text(&["pull_request", side, "repo", "full_name"])
            .map(str::to_lowercase)
    });
    // A fork that was removed has no repository.
    let is_fork = repositories[0] != repositories[1] || repositories[0].is_none();
    let key = |name: &str| format!("{name} {number} {action} {head} {changed}");
    let own = Described {
        key: key("pull_request"),
        git_ref: Some(format!("refs/pull/{number}/merge")),
        commit: CommitSource::Fetched(
            vec![
                format!("refs/pull/{number}/merge"),
                format!("refs/pull/{number}/head"),
            ],
            head.clone(),
        ),
        event: event.clone(),
        moved: None,
        is_fork,
    };
    let base = format!("refs/heads/{}", text(&["pull_request", "base", "ref"]));
    let target = Described {
        key: key("pull_request_target"),
        git_ref: Some(base.clone()),
        // The code of the base runs, so its secrets are safe as long as it does not run the other's.
        commit: CommitSource::Ref(base),
        event: TriggerEvent::new("pull_request_target", event.payload.clone()),
        moved: None,
        is_fork: false,
    };
    Ok(vec![own, target])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_push_has_the_key_that_a_look_gives_it() {
        let payload = json!({"ref": "refs/heads/main", "before": "1", "after": "2"});
        let [push] = describe("push", &payload, "x").unwrap().try_into().unwrap();
        assert_eq!(push.key, "push refs/heads/main 1 2");
        assert_eq!(
            push.moved,
            Some(("refs/heads/main".to_owned(), Some("2".to_owned())))
        );
        let gone = json!({"ref": "refs/heads/a", "before": "1", "after": "0000"});
        let [gone] = describe("push", &gone, "x").unwrap().try_into().unwrap();
        assert_eq!(gone.moved, Some(("refs/heads/a".to_owned(), None)));
    }

    #[test]
    fn a_pull_request_of_a_fork_is_known_as_one() {
        let payload = |head: Json| {
            json!({"action": "opened", "pull_request": {"number": 7, "head": {"sha": "1", "repo": head},
                "base": {"ref": "main", "repo": {"full_name": "acme/demo"}}}})
        };
        for (head, expected) in [
            (json!({"full_name": "Acme/Demo"}), false),
            (json!({"full_name": "eve/demo"}), true),
            (json!(null), true),
        ] {
            let both = describe("pull_request", &payload(head), "x").unwrap();
            assert_eq!(both.len(), 2);
            assert_eq!(both[0].is_fork, expected);
            assert_eq!(both[0].git_ref.as_deref(), Some("refs/pull/7/merge"));
            assert_eq!(both[1].event.name, "pull_request_target");
            assert_eq!(
                both[1].commit,
                CommitSource::Ref("refs/heads/main".to_owned())
            );
        }
    }

    #[test]
    fn all_examples_of_github_are_read() {
        let root = std::env::var("RUNNER_CONFORMANCE").unwrap_or_else(|_| {
            concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/conformance").to_owned()
        });
        let Ok(events) = std::fs::read_dir(format!("{root}/webhooks/payloads")) else {
            println!("skipped: no webhooks in `{root}`");
            return;
        };
        let mut count = 0;
        for event in events.flatten().filter(|event| event.path().is_dir()) {
            let name = event.file_name().into_string().unwrap();
            for file in std::fs::read_dir(event.path()).unwrap().flatten() {
                let path = file.path();
                if path.extension().is_none_or(|ending| ending != "json") {
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                let payload: Json = serde_json::from_str(&text).unwrap();
                count += 1;
                match describe(&name, &payload, "x") {
                    Ok(described) => assert!(!described.is_empty(), "{}", path.display()),
                    Err(reason) => assert!(MEANT_FOR_US.contains(&name.as_str()), "{reason}"),
                }
            }
        }
        assert!(count > 200, "{count}");
    }
}
