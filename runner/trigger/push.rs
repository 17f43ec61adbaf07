//! A moved branch or tag as the event that GitHub would tell of it.

use serde_json::{Value as Json, json};

use crate::event::TriggerEvent;
use crate::expression::Object;
use crate::git::Mirror;
use crate::scheduler::{Incoming, Repository};

/// The id that stands for no commit.
pub(super) const NO_COMMIT: &str = "0000000000000000000000000000000000000000";

/// How many commits an event tells of.
///
/// Source: GitHub, webhook event `push`: at most 2048; nobody reads that many here.
const MAX_COMMITS: usize = 50;

/// Returns the event of a ref that stood at `before` and stands at `after`; `None` is no commit.
///
/// Its key is the same whoever tells of the push: the ref and both commits.
pub fn push_event(
    repository: &Repository,
    name: &str,
    before: Option<&str>,
    after: Option<&str>,
) -> Incoming {
    let mirror = &repository.mirror;
    let (old, new) = (before.unwrap_or(NO_COMMIT), after.unwrap_or(NO_COMMIT));
    let commits: Vec<Json> = mirror
        .commits_between(old, new, MAX_COMMITS)
        .iter()
        .map(|id| commit(mirror, id))
        .collect();
    let (owner, short) = repository
        .name
        .split_once('/')
        .unwrap_or(("local", &repository.name));
    let pusher = after
        .and_then(|sha| mirror.commit(sha))
        .map_or_else(|| "unknown".to_owned(), |facts| facts.author);
    let forced =
        before.is_some_and(|before| after.is_some_and(|after| !mirror.is_forward(before, after)));
    let payload = json!({
        "ref": name, "before": old, "after": new,
        "created": before.is_none(), "deleted": after.is_none(), "forced": forced,
        "commits": commits,
        "head_commit": after.map(|sha| commit(mirror, sha)),
        "repository": {"name": short, "full_name": repository.name, "owner": {"login": owner, "name": owner}},
        "pusher": {"name": pusher},
        "sender": {"login": pusher},
    });
    Incoming {
        event: TriggerEvent::new("push", payload),
        key: format!("push {name} {old} {new}"),
        git_ref: name.to_owned(),
        sha: after.or(before).unwrap_or_default().to_owned(),
        moved: Some((name.to_owned(), after.map(str::to_owned))),
        seen_from: Some(before.map(str::to_owned)),
        workflow: None,
        inputs: Object::new(),
        is_fork: false,
        awaits_approval: false,
    }
}

fn commit(mirror: &Mirror, id: &str) -> Json {
    let facts = mirror.commit(id).unwrap_or_default();
    let author = json!({"name": facts.author, "email": facts.email});
    json!({"id": id, "message": facts.message, "author": author, "committer": author})
}
