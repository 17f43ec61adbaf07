//! Which operations of one host can be carried out at once: each wait that is spared is a round
//! trip.
//!
//! # How it works
//! A plan lists operations in an order that is always right. An operation may begin while an
//! earlier one is still carried out if neither needs what the other does, and if it is harmless
//! when the earlier one fails: it only looks, or it does what an undo finds and takes back.

use super::{
    op::{Target, Verb},
    phase::Phase,
};

impl Verb {
    /// Says whether it may begin while `earlier`, which comes before it in the plan of the same
    /// host, is still carried out.
    pub fn may_run_beside(&self, earlier: &Self) -> bool {
        if earlier.is_small_file() && self.is_small_file() {
            // One command, in order.
            return true;
        }
        match (earlier, self) {
            (one, other) if one.prepares() && other.prepares() => true,
            (file, Self::CheckProxy { .. } | Self::CheckAccessory { .. } | Self::Gate { .. })
                if file.only_adds_files() =>
            {
                true
            }
            // The journal of the transaction must be there before anything else of it is.
            (Self::Record { phase }, Self::Create { .. }) => {
                matches!(phase, Phase::Pulled | Phase::BackedUp | Phase::Migrated)
            }
            (
                Self::WriteEnvFile { .. } | Self::WriteCertificate { .. } | Self::Create { .. },
                Self::Create { .. },
            )
            | (Self::Start { .. }, Self::Start { .. })
            | (Self::Gate { .. }, Self::Gate { .. })
            | (Self::AwaitAnswer { .. }, Self::AwaitAnswer { .. })
            // The proof is repeated until the proxy has taken the change over.
            | (Self::AwaitRoute { .. }, Self::Probe { .. })
            | (
                Self::Stop { .. } | Self::Rename { .. } | Self::Remove { .. } | Self::Tag { .. },
                Self::Tag { .. } | Self::PruneImages { .. },
            )
            | (Self::Stop { .. }, Self::Stop { .. })
            | (Self::Stop { .. }, Self::Rename { .. })
            | (Self::Tag { .. } | Self::PruneImages { .. }, Self::Rename { .. }) => true,
            (
                Self::Stop { container: one, .. }
                | Self::Rename { container: one, .. }
                | Self::Remove { container: one },
                Self::Remove { container: other },
            ) => is_another(one, other),
            (Self::Remove { container: one }, Self::Rename { container: other, .. }) => {
                is_another(one, other)
            }
            (
                Self::Rename { container, to },
                Self::Rename {
                    container: other,
                    to: wanted,
                },
            ) => is_another(container, other) && container.name != *wanted && to != wanted,
            _ => false,
        }
    }

    /// What a host is asked for before a release comes: none of it relies on another.
    fn prepares(&self) -> bool {
        matches!(
            self,
            Self::CreateNetwork { .. }
                | Self::CheckProxy { .. }
                | Self::CheckAccessory { .. }
                | Self::Pull { .. }
        )
    }

    /// Files of the transaction alone, which nothing reads that runs.
    fn only_adds_files(&self) -> bool {
        match self {
            Self::Record { phase } => *phase < Phase::Committed,
            Self::KeepWayBack { .. }
            | Self::Reserve { .. }
            | Self::WriteEnvFile { .. }
            | Self::WriteCertificate { .. } => true,
            _ => false,
        }
    }
}

/// Says whether two are surely not the same container.
fn is_another(one: &Target, other: &Target) -> bool {
    match (&one.id, &other.id) {
        (Some(one), Some(other)) => one != other,
        _ => one.name != other.name && one.id.is_none() && other.id.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::{Check, ContainerId, Digest, GateSettings, ImageRef, Millis};

    fn target(name: &str) -> Target {
        Target {
            name: name.into(),
            id: Some(ContainerId::new(format!("id-of-{name}"))),
        }
    }

    fn stop(name: &str) -> Verb {
        Verb::Stop {
            container: target(name),
            wait: Millis(0),
            timeout: Millis(0),
        }
    }

    fn rename(name: &str, to: &str) -> Verb {
        Verb::Rename {
            container: target(name),
            to: to.into(),
        }
    }

    fn remove(name: &str) -> Verb {
        Verb::Remove {
            container: target(name),
        }
    }

    fn record(phase: Phase) -> Verb {
        Verb::Record { phase }
    }

    fn file() -> Verb {
        Verb::RemoveFile { path: "a".into() }
    }

    fn gate() -> Verb {
        let settings = GateSettings {
            interval: Millis(200),
            successes: 2,
            limit: Millis(30_000),
            readiness_delay: Millis(7_000),
        };
        Verb::Gate {
            container: target("new"),
            check: Check::Docker { settings },
        }
    }

    fn image() -> ImageRef {
        ImageRef::parse("shop").unwrap()
    }

    #[test]
    fn only_what_needs_nothing_of_the_other_runs_beside_it() {
        let prune = || Verb::PruneImages {
            repository: "shop".into(),
            keep: vec![Digest::new("sha256:1")],
        };
        let tag = || Verb::Tag {
            image: image(),
            tags: vec!["v2".into()],
        };
        let network = || Verb::CreateNetwork { name: "a".into() };
        let pull = || Verb::Pull { image: image() };
        let start = || Verb::Start {
            container: target("new"),
        };
        let shown = || Verb::AwaitRoute {
            shows: Vec::new(),
            gone: Vec::new(),
        };
        for (earlier, later, expected) in [
            (file(), file(), true),
            (network(), pull(), true),
            (record(Phase::Booted), gate(), true),
            (record(Phase::Committed), gate(), false),
            (file(), gate(), false),
            (start(), gate(), false),
            (gate(), gate(), true),
            (gate(), record(Phase::Healthy), false),
            (file(), shown(), false),
            (stop("old"), stop("older"), true),
            (stop("old"), rename("old", "old_replaced"), true),
            (stop("old"), tag(), true),
            (stop("old"), remove("oldest"), true),
            (stop("old"), remove("old"), false),
            (rename("old", "old_replaced"), rename("new", "old"), false),
            (rename("new", "web"), rename("new2", "worker"), true),
            (rename("old", "old_replaced"), remove("old"), false),
            (rename("new", "old"), remove("oldest"), true),
            (tag(), prune(), true),
            (prune(), tag(), false),
            (remove("oldest"), prune(), true),
            (remove("oldest"), rename("new", "old"), true),
            (remove("a"), remove("b"), true),
            (remove("a"), file(), false),
            (stop("old"), record(Phase::Finished), false),
        ] {
            assert_eq!(
                later.may_run_beside(&earlier),
                expected,
                "{later} beside {earlier}"
            );
        }
    }
}
