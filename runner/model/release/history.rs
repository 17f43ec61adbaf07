//! One line per ended transaction, and the choice of a release to go back to.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    ids::{Digest, Fence, HostName, ReleaseVersion, RoleName, TransactionId},
    journal::{Kind, SchemaChange},
    phase::Phase,
    time::{Millis, UnixMillis},
};

/// An ended transaction, or a release that was found on the hosts without one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryLine {
    /// The number of the stored form.
    pub format: u32,
    /// The transaction; `None` for a release that was found.
    #[serde(default)]
    pub transaction: Option<TransactionId>,
    /// Its fence.
    #[serde(default)]
    pub fence: Fence,
    /// What it was; `None` for a release that was found.
    #[serde(default)]
    pub kind: Option<Kind>,
    /// The release.
    pub release: ReleaseVersion,
    /// The digest of its image.
    #[serde(default)]
    pub digest: Option<Digest>,
    /// The hosts.
    pub hosts: Vec<HostName>,
    /// The roles.
    pub roles: Vec<RoleName>,
    /// The primary host.
    pub primary: HostName,
    /// Who did it.
    pub who: String,
    /// The run.
    #[serde(default)]
    pub run: Option<String>,
    /// When it ended.
    pub at: UnixMillis,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, where it did not succeed.
    #[serde(default)]
    pub reason: Option<String>,
    /// The schema version that its migration told.
    #[serde(default)]
    pub schema: Option<SchemaChange>,
    /// Hosts that were struck by `--abandon`.
    #[serde(default)]
    pub abandoned: Vec<HostName>,
    /// How long each phase took.
    #[serde(default)]
    pub phases: IndexMap<Phase, Millis>,
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Finished.
    Succeeded,
    /// Put back as it was found.
    Undone,
    /// Not a transaction of ours: a release that was found on the hosts.
    Found,
}

/// What runs, as far as a choice of another release needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The release.
    pub release: ReleaseVersion,
    /// The digest of its image, where it is known.
    pub digest: Option<Digest>,
}

impl Running {
    fn is(&self, line: &HistoryLine) -> bool {
        match (&self.digest, &line.digest) {
            (Some(running), Some(recorded)) => running == recorded && self.release == line.release,
            _ => self.release == line.release,
        }
    }
}

/// Why no release can be gone back to: the command line or the history is at fault.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum RollbackError {
    /// Nothing ever succeeded here but what runs.
    #[error("no earlier release is in the history")]
    Empty,
    /// The named release is not in the history.
    #[error("release `{wanted}` is not in the history (known: {known})")]
    Unknown {
        /// The release that was asked for.
        wanted: ReleaseVersion,
        /// The releases that can be named.
        known: String,
    },
    /// The named release was never complete.
    #[error("release `{wanted}` never succeeded: {reason}")]
    NeverSucceeded {
        /// The release that was asked for.
        wanted: ReleaseVersion,
        /// What the history says of it.
        reason: String,
    },
    /// The named release is what runs.
    #[error("release `{0}` is what runs")]
    Runs(ReleaseVersion),
    /// The image cannot be named exactly, so it cannot be pulled again.
    #[error("the history does not know the image of release `{0}`")]
    NoDigest(ReleaseVersion),
}

/// Chooses the release to go back to.
///
/// Without `wanted`: the newest line that succeeded on all its hosts and is not what runs. With
/// it: the newest such line of that release, or one that was found on the hosts.
pub fn rollback_target<'a>(
    history: &'a [HistoryLine],
    running: Option<&Running>,
    wanted: Option<&ReleaseVersion>,
) -> Result<&'a HistoryLine, RollbackError> {
    let runs = |line: &HistoryLine| running.is_some_and(|running| running.is(line));
    let complete =
        |line: &HistoryLine| line.outcome == Outcome::Succeeded && line.abandoned.is_empty();
    let newest = || history.iter().rev();
    let line = match wanted {
        None => newest()
            .find(|line| complete(line) && !runs(line))
            .ok_or(RollbackError::Empty)?,
        Some(wanted) => {
            let of_release = || newest().filter(|line| line.release == *wanted);
            let usable = |line: &&HistoryLine| complete(line) || line.outcome == Outcome::Found;
            let found = of_release().filter(usable).find(|line| !runs(line));
            match (
                found,
                of_release().find(|line| runs(line)),
                of_release().next(),
            ) {
                (Some(line), _, _) => line,
                (None, Some(_), _) => return Err(RollbackError::Runs(wanted.clone())),
                (None, None, Some(line)) => {
                    return Err(RollbackError::NeverSucceeded {
                        wanted: wanted.clone(),
                        reason: why_incomplete(line),
                    });
                }
                (None, None, None) if running.is_some_and(|r| r.release == *wanted) => {
                    return Err(RollbackError::Runs(wanted.clone()));
                }
                (None, None, None) => {
                    return Err(RollbackError::Unknown {
                        wanted: wanted.clone(),
                        known: known(history, running),
                    });
                }
            }
        }
    };
    if line.digest.is_none() {
        return Err(RollbackError::NoDigest(line.release.clone()));
    }
    Ok(line)
}

fn why_incomplete(line: &HistoryLine) -> String {
    if let Some(reason) = &line.reason {
        return reason.clone();
    }
    if line.abandoned.is_empty() {
        return "it was undone".to_owned();
    }
    let hosts: Vec<_> = line.abandoned.iter().map(HostName::as_str).collect();
    format!("`{}` was abandoned", hosts.join("`, `"))
}

fn known(history: &[HistoryLine], running: Option<&Running>) -> String {
    let mut names: Vec<String> = Vec::new();
    for line in history.iter().rev() {
        let usable = line.outcome != Outcome::Undone && line.abandoned.is_empty();
        let name = format!("`{}`", line.release);
        if usable && !running.is_some_and(|r| r.is(line)) && !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(release: &str, outcome: Outcome) -> HistoryLine {
        HistoryLine {
            format: 1,
            transaction: None,
            fence: Fence(1),
            kind: Some(Kind::Deploy),
            release: release.into(),
            digest: Some(Digest::new(format!("sha256:{release}"))),
            hosts: vec!["h1".into()],
            roles: vec!["web".into()],
            primary: "h1".into(),
            who: "ann".to_owned(),
            run: None,
            at: UnixMillis(0),
            outcome,
            reason: None,
            schema: None,
            abandoned: Vec::new(),
            phases: IndexMap::new(),
        }
    }

    fn choose(
        history: &[HistoryLine],
        running: Option<&str>,
        wanted: Option<&str>,
    ) -> Result<String, RollbackError> {
        let running = running.map(|release| Running {
            release: release.into(),
            digest: None,
        });
        let wanted = wanted.map(ReleaseVersion::from);
        rollback_target(history, running.as_ref(), wanted.as_ref()).map(|l| l.release.to_string())
    }

    #[test]
    fn the_newest_success_that_does_not_run_is_chosen() {
        use Outcome::{Found, Succeeded, Undone};
        let history = [
            line("k0", Found),
            line("v1", Succeeded),
            line("v2", Succeeded),
            line("v3", Undone),
            line("v4", Succeeded),
        ];
        assert_eq!(choose(&history, Some("v4"), None), Ok("v2".to_owned()));
        assert_eq!(choose(&history, None, None), Ok("v4".to_owned()));
        assert_eq!(choose(&history[..1], None, None), Err(RollbackError::Empty));
        assert_eq!(
            choose(&history[..2], Some("v1"), None),
            Err(RollbackError::Empty)
        );
    }

    #[test]
    fn a_named_release_must_have_succeeded_or_been_found() {
        use Outcome::{Found, Succeeded, Undone};
        let mut struck = line("v5", Succeeded);
        struck.abandoned.push("h2".into());
        let history = [
            line("k0", Found),
            line("v1", Succeeded),
            line("v3", Undone),
            struck,
        ];
        assert_eq!(
            choose(&history, Some("v1"), Some("k0")),
            Ok("k0".to_owned())
        );
        assert_eq!(
            choose(&history, Some("v1"), Some("v1")),
            Err(RollbackError::Runs("v1".into()))
        );
        let undone = choose(&history, Some("v1"), Some("v3")).unwrap_err();
        assert_eq!(
            undone.to_string(),
            "release `v3` never succeeded: it was undone"
        );
        let struck = choose(&history, Some("v1"), Some("v5")).unwrap_err();
        assert_eq!(
            struck.to_string(),
            "release `v5` never succeeded: `h2` was abandoned"
        );
        let unknown = choose(&history, Some("v1"), Some("v9")).unwrap_err();
        assert_eq!(
            unknown.to_string(),
            "release `v9` is not in the history (known: `k0`)"
        );
    }

    #[test]
    fn the_same_release_with_another_image_can_be_gone_back_to() {
        let history = [line("v1", Outcome::Succeeded)];
        let running = Running {
            release: "v1".into(),
            digest: Some("sha256:other".into()),
        };
        assert!(rollback_target(&history, Some(&running), None).is_ok());
    }

    #[test]
    fn a_release_without_a_known_image_is_refused() {
        let mut lost = line("v1", Outcome::Succeeded);
        lost.digest = None;
        assert_eq!(
            choose(&[lost], None, None),
            Err(RollbackError::NoDigest("v1".into()))
        );
    }
}
