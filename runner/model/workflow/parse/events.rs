//! The events that can start a workflow, with the filters and activity types of each.

/// One event.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) name: &'static str,
    pub(super) types: Types,
    /// The filter keys besides `types`.
    pub(super) filters: &'static [&'static str],
}

/// What `types` of an event may hold.
#[derive(Debug)]
pub(super) enum Types {
    /// There is no `types`.
    None,
    /// These words.
    Known(&'static [&'static str]),
    /// Any word.
    Any,
}

const BRANCHES: &[&str] = &["branches", "branches-ignore"];
const BRANCHES_PATHS: &[&str] = &["branches", "branches-ignore", "paths", "paths-ignore"];
const PUSH: &[&str] = &[
    "branches",
    "branches-ignore",
    "tags",
    "tags-ignore",
    "paths",
    "paths-ignore",
];
const CREATED_EDITED_DELETED: &[&str] = &["created", "edited", "deleted"];
const PULL_REQUEST: &[&str] = &[
    "assigned",
    "unassigned",
    "labeled",
    "unlabeled",
    "opened",
    "edited",
    "closed",
    "reopened",
    "synchronize",
    "converted_to_draft",
    "locked",
    "unlocked",
    "enqueued",
    "dequeued",
    "milestoned",
    "demilestoned",
    "ready_for_review",
    "review_requested",
    "review_request_removed",
    "auto_merge_enabled",
    "auto_merge_disabled",
    "stacked",
];

const fn plain(name: &'static str) -> Event {
    event(name, Types::None, &[])
}

const fn typed(name: &'static str, types: &'static [&'static str]) -> Event {
    event(name, Types::Known(types), &[])
}

const fn event(name: &'static str, types: Types, filters: &'static [&'static str]) -> Event {
    Event {
        name,
        types,
        filters,
    }
}

/// All events, by name.
pub(super) const EVENTS: &[Event] = &[
    typed("branch_protection_rule", CREATED_EDITED_DELETED),
    typed(
        "check_run",
        &["completed", "created", "rerequested", "requested_action"],
    ),
    typed("check_suite", &["completed"]),
    plain("create"),
    plain("delete"),
    plain("deployment"),
    plain("deployment_status"),
    typed(
        "discussion",
        &[
            "created",
            "edited",
            "deleted",
            "transferred",
            "pinned",
            "unpinned",
            "labeled",
            "unlabeled",
            "locked",
            "unlocked",
            "category_changed",
            "answered",
            "unanswered",
        ],
    ),
    typed("discussion_comment", CREATED_EDITED_DELETED),
    plain("fork"),
    plain("gollum"),
    event(
        "image_version",
        Types::Known(&["created", "ready", "deleted"]),
        &["names", "versions"],
    ),
    typed("issue_comment", CREATED_EDITED_DELETED),
    typed(
        "issues",
        &[
            "opened",
            "edited",
            "deleted",
            "transferred",
            "pinned",
            "unpinned",
            "closed",
            "reopened",
            "assigned",
            "unassigned",
            "labeled",
            "unlabeled",
            "locked",
            "unlocked",
            "milestoned",
            "demilestoned",
            "field_added",
            "field_removed",
            "typed",
            "untyped",
        ],
    ),
    typed("label", CREATED_EDITED_DELETED),
    event("merge_group", Types::Known(&["checks_requested"]), BRANCHES),
    typed(
        "milestone",
        &["created", "closed", "opened", "edited", "deleted"],
    ),
    plain("page_build"),
    typed(
        "project",
        &["created", "closed", "reopened", "edited", "deleted"],
    ),
    typed(
        "project_card",
        &["created", "moved", "converted", "edited", "deleted"],
    ),
    typed(
        "project_column",
        &["created", "updated", "moved", "deleted"],
    ),
    plain("public"),
    event("pull_request", Types::Known(PULL_REQUEST), BRANCHES_PATHS),
    typed("pull_request_comment", CREATED_EDITED_DELETED),
    typed("pull_request_review", &["submitted", "edited", "dismissed"]),
    typed("pull_request_review_comment", CREATED_EDITED_DELETED),
    event(
        "pull_request_target",
        Types::Known(PULL_REQUEST),
        BRANCHES_PATHS,
    ),
    event("push", Types::None, PUSH),
    typed("registry_package", &["published", "updated"]),
    typed(
        "release",
        &[
            "published",
            "unpublished",
            "created",
            "edited",
            "deleted",
            "prereleased",
            "released",
        ],
    ),
    event("repository_dispatch", Types::Any, &[]),
    plain("schedule"),
    plain("status"),
    typed("watch", &["started"]),
    event(
        "workflow_call",
        Types::None,
        &["inputs", "secrets", "outputs"],
    ),
    event("workflow_dispatch", Types::None, &["inputs"]),
    event(
        "workflow_run",
        Types::Known(&["requested", "completed", "in_progress"]),
        &["workflows", "branches", "branches-ignore"],
    ),
];

/// Finds an event by its name.
pub(super) fn find(name: &str) -> Option<&'static Event> {
    EVENTS.iter().find(|event| event.name == name)
}

impl Event {
    /// Lists the keys that may stand under the event.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'static str> {
        let types = (!matches!(self.types, Types::None)).then_some("types");
        types.into_iter().chain(self.filters.iter().copied())
    }
}
