//! `permissions`: what the token of a job may do, and whether a called workflow asks for more.

use std::collections::BTreeMap;

use crate::workflow::{Token, TokenKind};

/// What `read-all` and `write-all` speak of.
const SCOPES: &[&str] = &[
    "actions",
    "attestations",
    "checks",
    "contents",
    "deployments",
    "discussions",
    "id-token",
    "issues",
    "packages",
    "pages",
    "pull-requests",
    "repository-projects",
    "security-events",
    "statuses",
];

/// How far a permission goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    None,
    Read,
    Write,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// `permissions` of a workflow or a job; what is not named is not given.
#[derive(Debug, Clone)]
pub(super) struct Permissions(BTreeMap<String, Level>);

impl Permissions {
    /// Reads what stands in a file; none where the key is absent or cannot be understood.
    pub(super) fn read(token: Option<&Token>) -> Option<Self> {
        let token = token?;
        let level = |text: &str| match text {
            "none" => Some(Level::None),
            "read" => Some(Level::Read),
            "write" => Some(Level::Write),
            _ => None,
        };
        match &token.kind {
            TokenKind::String(text) => {
                let all = level(text.strip_suffix("-all")?)?;
                let given = |scope: &&&str| all == Level::Write || **scope != "id-token";
                let scopes = SCOPES.iter().filter(given);
                Some(Self(
                    scopes.map(|scope| ((*scope).to_owned(), all)).collect(),
                ))
            }
            TokenKind::Mapping(pairs) => {
                let pairs = pairs.iter().filter_map(|(scope, value)| {
                    let level = level(value.as_literal()?)?;
                    Some((scope.as_literal()?.to_owned(), level))
                });
                Some(Self(pairs.collect()))
            }
            TokenKind::Null => Some(Self(BTreeMap::new())),
            _ => None,
        }
    }

    /// Returns what goes beyond `most`, as `actions: write`, and what is allowed instead.
    pub(super) fn beyond(&self, most: &Self) -> Option<(String, String)> {
        let allowed = |scope: &str| most.0.get(scope).copied().unwrap_or(Level::None);
        let beyond = || {
            self.0
                .iter()
                .filter(|(scope, level)| **level > allowed(scope))
        };
        let words = |level: &dyn Fn(&str, Level) -> Level| {
            let words = beyond()
                .map(|(scope, wanted)| format!("{scope}: {}", level(scope, *wanted).as_str()));
            words.collect::<Vec<_>>().join(", ")
        };
        beyond().next()?;
        Some((
            words(&|_, wanted| wanted),
            words(&|scope, _| allowed(scope)),
        ))
    }
}
