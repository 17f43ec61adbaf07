//! Whether an event runs a workflow: the filters under `on`.

use super::pattern::{PatternError, PatternList};

/// Words in a commit's message by which its author asks for no run.
const SKIP_WORDS: [&str; 5] = [
    "[skip ci]",
    "[ci skip]",
    "[no ci]",
    "[skip actions]",
    "[actions skip]",
];

/// The filters that stand under one event in `on`, as they are written.
///
/// `None` is a filter that is not there, which is another thing than an empty one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filters<'a> {
    /// `types`.
    pub types: Option<&'a [&'a str]>,
    /// `branches`.
    pub branches: Option<&'a [&'a str]>,
    /// `branches-ignore`.
    pub branches_ignore: Option<&'a [&'a str]>,
    /// `tags`.
    pub tags: Option<&'a [&'a str]>,
    /// `tags-ignore`.
    pub tags_ignore: Option<&'a [&'a str]>,
    /// `paths`.
    pub paths: Option<&'a [&'a str]>,
    /// `paths-ignore`.
    pub paths_ignore: Option<&'a [&'a str]>,
    /// `workflows` of `workflow_run`.
    pub workflows: Option<&'a [&'a str]>,
}

/// What filters look at in an event.
#[derive(Debug, Clone, Copy, Default)]
pub struct EventFacts<'a> {
    /// The event's name, as `pull_request`.
    pub event: &'a str,
    /// The payload's `action`, as `opened`; `None` where the event has none.
    pub action: Option<&'a str>,
    /// The ref that was pushed, as `refs/heads/main`.
    pub git_ref: Option<&'a str>,
    /// The branch that a pull request or a merge group goes to.
    pub base_ref: Option<&'a str>,
    /// The branch of the run that a `workflow_run` tells of.
    pub head_branch: Option<&'a str>,
    /// The workflow that a `workflow_run` tells of.
    pub workflow: Option<&'a str>,
    /// The message of the newest commit.
    pub message: Option<&'a str>,
    /// Whether the push removed its ref.
    pub deleted: bool,
    /// The files that changed; `None` where that cannot be known, and then every path filter lets
    /// the event through, as on GitHub.
    pub changed_paths: Option<&'a [&'a str]>,
}

/// Whether an event runs a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It does.
    Run,
    /// It does not, for this reason: a lowercase fragment.
    Skip(String),
}

/// Decides whether an event runs a workflow, given the filters that stand under this event.
///
/// The rules are GitHub's. For a push a filter on branches alone shuts out tags and the other way
/// round, and path filters do not count for tags; a pull request is held against its base branch;
/// of `paths` one changed file must be let in, by `paths-ignore` not all may be shut out.
pub fn decide(filters: &Filters<'_>, facts: &EventFacts<'_>) -> Result<Decision, PatternError> {
    let reason = match by_types(filters, facts).or_else(|| by_workflow(filters, facts)) {
        Some(reason) => Some(reason),
        None => match by_ref(filters, facts)? {
            Some(reason) => Some(reason),
            None => by_paths(filters, facts)?,
        },
    };
    Ok(match reason.or_else(|| by_message(facts)) {
        Some(reason) => Decision::Skip(reason),
        None => Decision::Run,
    })
}

/// Returns the types that count where a workflow names none; `None` is all of them.
fn default_types(event: &str) -> Option<&'static [&'static str]> {
    match event {
        "pull_request" | "pull_request_target" => Some(&["opened", "synchronize", "reopened"]),
        _ => None,
    }
}

fn by_types(filters: &Filters<'_>, facts: &EventFacts<'_>) -> Option<String> {
    let action = facts.action?;
    let types = filters.types.or_else(|| default_types(facts.event))?;
    let named = types.iter().any(|name| name.eq_ignore_ascii_case(action));
    (!named).then(|| match filters.types {
        Some(_) => format!("activity `{action}` is not in `types`"),
        None => format!(
            "activity `{action}` is not one of the default types {}",
            list(types)
        ),
    })
}

fn by_workflow(filters: &Filters<'_>, facts: &EventFacts<'_>) -> Option<String> {
    let (workflows, workflow) = (filters.workflows?, facts.workflow?);
    let named = workflows.contains(&workflow);
    (!named).then(|| format!("workflow `{workflow}` is not in `workflows`"))
}

fn by_ref(filters: &Filters<'_>, facts: &EventFacts<'_>) -> Result<Option<String>, PatternError> {
    let branches = [filters.branches, filters.branches_ignore];
    let tags = [filters.tags, filters.tags_ignore];
    if facts.event != "push" {
        let branch = facts.base_ref.or(facts.head_branch).map(short_branch);
        return match branch {
            Some(branch) => by_name("branch", branch, branches, ["branches", "branches-ignore"]),
            None => Ok(None),
        };
    }
    let Some(git_ref) = facts.git_ref else {
        return Ok(None);
    };
    if facts.deleted {
        return Ok(Some(format!("`{git_ref}` was deleted")));
    }
    let given = |lists: [Option<&[&str]>; 2]| lists.iter().any(Option::is_some);
    match git_ref.strip_prefix("refs/tags/") {
        Some(tag) if given(tags) => by_name("tag", tag, tags, ["tags", "tags-ignore"]),
        Some(tag) if given(branches) => Ok(Some(format!(
            "tag `{tag}` was pushed, and only branches are filtered for"
        ))),
        Some(_) => Ok(None),
        None => {
            let branch = short_branch(git_ref);
            if given(branches) {
                by_name("branch", branch, branches, ["branches", "branches-ignore"])
            } else if given(tags) {
                Ok(Some(format!(
                    "branch `{branch}` was pushed, and only tags are filtered for"
                )))
            } else {
                Ok(None)
            }
        }
    }
}

/// Holds a name against an including and an ignoring filter.
fn by_name(
    what: &str,
    name: &str,
    lists: [Option<&[&str]>; 2],
    keys: [&str; 2],
) -> Result<Option<String>, PatternError> {
    let ([included, ignored], [include, ignore]) = (lists, keys);
    if let Some(patterns) = included
        && !PatternList::new(patterns)?.includes(name)
    {
        return Ok(Some(format!(
            "{what} `{name}` is not let in by `{include}`"
        )));
    }
    if let Some(patterns) = ignored
        && PatternList::new(patterns)?.includes(name)
    {
        return Ok(Some(format!("{what} `{name}` is shut out by `{ignore}`")));
    }
    Ok(None)
}

fn by_paths(filters: &Filters<'_>, facts: &EventFacts<'_>) -> Result<Option<String>, PatternError> {
    let tag = facts.event == "push"
        && facts
            .git_ref
            .is_some_and(|name| name.starts_with("refs/tags/"));
    let Some(changed) = facts.changed_paths.filter(|_| !tag) else {
        return Ok(None);
    };
    if let Some(patterns) = filters.paths {
        let patterns = PatternList::new(patterns)?;
        if !changed.iter().any(|path| patterns.includes(path)) {
            return Ok(Some(format!(
                "{} let in by `paths`",
                none_of(changed.len())
            )));
        }
    }
    if let Some(patterns) = filters.paths_ignore
        && !changed.is_empty()
    {
        let patterns = PatternList::new(patterns)?;
        if changed.iter().all(|path| patterns.includes(path)) {
            return Ok(Some(format!(
                "{} shut out by `paths-ignore`",
                all_of(changed.len())
            )));
        }
    }
    Ok(None)
}

/// Obeys the words by which a commit asks for no run; they count for pushes and pull requests.
fn by_message(facts: &EventFacts<'_>) -> Option<String> {
    let message = facts
        .message
        .filter(|_| matches!(facts.event, "push" | "pull_request"))?;
    let lower = message.to_lowercase();
    let words = SKIP_WORDS.iter().find(|words| lower.contains(**words));
    // A trailer stands at the end, after an empty line.
    let trailer = || {
        let (_, trailers) = lower.trim_end().rsplit_once("\n\n")?;
        ["skip-checks: true", "skip-checks:true"]
            .iter()
            .find(|words| trailers.lines().any(|line| line.trim() == **words))
    };
    words
        .or_else(trailer)
        .map(|words| format!("the commit's message says `{words}`"))
}

fn short_branch(name: &str) -> &str {
    name.strip_prefix("refs/heads/").unwrap_or(name)
}

fn list(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

fn none_of(count: usize) -> String {
    match count {
        0 => "no file changed, so none is".to_owned(),
        1 => "the one changed file is not".to_owned(),
        count => format!("none of the {count} changed files is"),
    }
}

fn all_of(count: usize) -> String {
    match count {
        1 => "the one changed file is".to_owned(),
        count => format!("all {count} changed files are"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRANCH: EventFacts<'static> = EventFacts {
        event: "push",
        action: None,
        git_ref: Some("refs/heads/feature/x"),
        base_ref: None,
        head_branch: None,
        workflow: None,
        message: None,
        deleted: false,
        changed_paths: Some(&["src/a.rs", "docs/b.md"]),
    };

    const TAG: EventFacts<'static> = EventFacts {
        git_ref: Some("refs/tags/v1.2"),
        ..BRANCH
    };

    const PULL: EventFacts<'static> = EventFacts {
        event: "pull_request",
        action: Some("opened"),
        git_ref: Some("refs/pull/7/merge"),
        base_ref: Some("main"),
        ..BRANCH
    };

    const NONE: Filters<'static> = Filters {
        types: None,
        branches: None,
        branches_ignore: None,
        tags: None,
        tags_ignore: None,
        paths: None,
        paths_ignore: None,
        workflows: None,
    };

    fn reason(filters: &Filters<'_>, facts: &EventFacts<'_>) -> String {
        match decide(filters, facts).unwrap() {
            Decision::Run => "run".to_owned(),
            Decision::Skip(reason) => reason,
        }
    }

    #[test]
    fn a_push_is_held_against_its_own_kind_of_ref() {
        let branches = Filters {
            branches: Some(&["feature/**"]),
            ..NONE
        };
        let others = Filters {
            branches: Some(&["main"]),
            ..NONE
        };
        let ignored = Filters {
            branches_ignore: Some(&["feature/*"]),
            ..NONE
        };
        let tags = Filters {
            tags: Some(&["v*"]),
            ..NONE
        };
        let both = Filters {
            branches: Some(&["main"]),
            tags: Some(&["v*"]),
            ..NONE
        };
        let no_tags = Filters {
            tags_ignore: Some(&["v1.*"]),
            ..NONE
        };
        for (filters, facts, expected) in [
            (NONE, BRANCH, "run"),
            (NONE, TAG, "run"),
            (branches, BRANCH, "run"),
            (
                others,
                BRANCH,
                "branch `feature/x` is not let in by `branches`",
            ),
            (
                ignored,
                BRANCH,
                "branch `feature/x` is shut out by `branches-ignore`",
            ),
            (
                branches,
                TAG,
                "tag `v1.2` was pushed, and only branches are filtered for",
            ),
            (
                ignored,
                TAG,
                "tag `v1.2` was pushed, and only branches are filtered for",
            ),
            (tags, TAG, "run"),
            (
                tags,
                BRANCH,
                "branch `feature/x` was pushed, and only tags are filtered for",
            ),
            (both, TAG, "run"),
            (
                both,
                BRANCH,
                "branch `feature/x` is not let in by `branches`",
            ),
            (no_tags, TAG, "tag `v1.2` is shut out by `tags-ignore`"),
            (
                no_tags,
                BRANCH,
                "branch `feature/x` was pushed, and only tags are filtered for",
            ),
        ] {
            assert_eq!(reason(&filters, &facts), expected, "{filters:?}");
        }
    }

    #[test]
    fn paths_need_one_file_and_paths_ignore_need_all() {
        let paths = |patterns| Filters {
            paths: Some(patterns),
            ..NONE
        };
        let ignore = |patterns| Filters {
            paths_ignore: Some(patterns),
            ..NONE
        };
        let unknown = EventFacts {
            changed_paths: None,
            ..BRANCH
        };
        let nothing = EventFacts {
            changed_paths: Some(&[]),
            ..BRANCH
        };
        for (filters, facts, expected) in [
            (paths(&["docs/**"]), BRANCH, "run"),
            (
                paths(&["lib/**"]),
                BRANCH,
                "none of the 2 changed files is let in by `paths`",
            ),
            (
                paths(&["**", "!src/**", "!docs/**"]),
                BRANCH,
                "none of the 2 changed files is let in by `paths`",
            ),
            (paths(&["**", "!docs/**"]), BRANCH, "run"),
            (ignore(&["docs/**"]), BRANCH, "run"),
            (
                ignore(&["docs/**", "**.rs"]),
                BRANCH,
                "all 2 changed files are shut out by `paths-ignore`",
            ),
            (paths(&["lib/**"]), unknown, "run"),
            (ignore(&["**"]), unknown, "run"),
            (paths(&["lib/**"]), TAG, "run"),
            (ignore(&["**"]), TAG, "run"),
            (
                paths(&["**"]),
                nothing,
                "no file changed, so none is let in by `paths`",
            ),
            (ignore(&["**"]), nothing, "run"),
        ] {
            assert_eq!(reason(&filters, &facts), expected, "{filters:?}");
        }
    }

    #[test]
    fn branch_and_path_filters_must_both_let_in() {
        let filters = Filters {
            branches: Some(&["feature/**"]),
            paths: Some(&["lib/**"]),
            ..NONE
        };
        assert!(reason(&filters, &BRANCH).contains("`paths`"));
    }

    #[test]
    fn a_pull_request_is_held_against_its_base_and_its_activity() {
        let main = Filters {
            branches: Some(&["main"]),
            ..NONE
        };
        let labeled = Filters {
            types: Some(&["labeled"]),
            ..NONE
        };
        let closed = EventFacts {
            action: Some("closed"),
            ..PULL
        };
        let full = EventFacts {
            base_ref: Some("refs/heads/main"),
            ..PULL
        };
        let release = EventFacts {
            base_ref: Some("release"),
            ..PULL
        };
        for (filters, facts, expected) in [
            (main, PULL, "run"),
            (main, full, "run"),
            (
                main,
                release,
                "branch `release` is not let in by `branches`",
            ),
            (labeled, PULL, "activity `opened` is not in `types`"),
            (
                NONE,
                closed,
                "activity `closed` is not one of the default types `opened`, `synchronize`, `reopened`",
            ),
            (NONE, PULL, "run"),
        ] {
            assert_eq!(reason(&filters, &facts), expected, "{filters:?}");
        }
    }

    #[test]
    fn a_workflow_run_is_held_against_its_workflow_and_head_branch() {
        let facts = EventFacts {
            event: "workflow_run",
            action: Some("completed"),
            workflow: Some("CI"),
            head_branch: Some("main"),
            ..EventFacts::default()
        };
        let filters = Filters {
            workflows: Some(&["CI"]),
            branches: Some(&["main"]),
            types: Some(&["completed"]),
            ..NONE
        };
        assert_eq!(reason(&filters, &facts), "run");
        let other = EventFacts {
            workflow: Some("Docs"),
            ..facts
        };
        assert_eq!(
            reason(&filters, &other),
            "workflow `Docs` is not in `workflows`"
        );
    }

    #[test]
    fn a_deleted_ref_and_a_message_that_asks_for_it_run_nothing() {
        let deleted = EventFacts {
            deleted: true,
            ..BRANCH
        };
        assert_eq!(
            reason(&NONE, &deleted),
            "`refs/heads/feature/x` was deleted"
        );
        for (message, runs) in [
            ("fix", true),
            ("fix [skip ci]", false),
            ("fix\n\nmore [CI Skip] text", false),
            ("fix\n\nskip-checks: true", false),
            ("fix\n\nsigned-off-by: a\nSkip-Checks:true\n", false),
            ("skip-checks: true\n\nmore", true),
        ] {
            let facts = EventFacts {
                message: Some(message),
                ..BRANCH
            };
            assert_eq!(reason(&NONE, &facts) == "run", runs, "{message}");
            let facts = EventFacts {
                event: "release",
                ..facts
            };
            assert_eq!(reason(&NONE, &facts), "run");
        }
    }

    #[test]
    fn a_broken_pattern_is_an_error() {
        let filters = Filters {
            branches: Some(&["main", "a[b"]),
            ..NONE
        };
        assert_eq!(
            decide(&filters, &BRANCH).unwrap_err().to_string(),
            "pattern `a[b` is invalid at character 2: the ']' of this '[' is missing"
        );
    }
}
