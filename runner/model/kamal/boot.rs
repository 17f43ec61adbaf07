//! `boot:`: how many hosts are booted at once.

use std::time::Duration;

use super::fields::Fields;

/// How containers are booted over many hosts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Boot {
    /// How many hosts at once; all of them without a limit.
    pub limit: Option<BootLimit>,
    /// How long to wait between two groups of hosts.
    pub wait: Option<Duration>,
    /// Whether the roles of one host are booted at the same time.
    pub parallel_roles: Option<bool>,
}

/// How many hosts are booted at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootLimit {
    /// This many.
    Hosts(usize),
    /// This share of all hosts, at least one.
    Percent(usize),
}

impl BootLimit {
    /// Returns the number of hosts, given how many hosts there are.
    ///
    /// Source: Kamal counts the hosts of accessories, too, and rounds down.
    pub fn hosts(self, all: usize) -> usize {
        match self {
            Self::Hosts(hosts) => hosts,
            Self::Percent(percent) => (all.saturating_mul(percent) / 100).max(1),
        }
    }
}

impl Boot {
    pub(super) fn read(root: &Fields<'_>) -> Self {
        let Some(fields) = root.hash("boot", &["limit", "wait", "parallel_roles"]) else {
            return Self::default();
        };
        Self {
            limit: read_limit(&fields),
            wait: fields.seconds("wait"),
            parallel_roles: fields.boolean("parallel_roles"),
        }
    }
}

fn read_limit(fields: &Fields<'_>) -> Option<BootLimit> {
    let text = fields.string("limit")?;
    let limit = match text.strip_suffix('%') {
        Some(percent) => percent.parse().ok().map(BootLimit::Percent),
        None => text
            .parse()
            .ok()
            .filter(|hosts| *hosts > 0)
            .map(BootLimit::Hosts),
    };
    if limit.is_none() {
        fields.invalid(
            "limit",
            "should be a number of hosts or a percentage, as `25%`",
        );
    }
    limit
}
