//! Whether an undo is complete: what is there, held against what was found.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    ids::{ContainerName, HostName},
    journal::{HostBaseline, Journal},
    observed::{Found, HostState, Observed},
    paths,
};

/// One thing that is not as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(tag = "difference", rename_all = "kebab-case")]
pub enum Difference {
    /// The host does not answer, so nobody knows.
    #[error("`{host}` does not answer")]
    Away {
        /// The host.
        host: HostName,
    },
    /// A container that ran is gone.
    #[error("container `{name}` is gone from `{host}`")]
    Gone {
        /// The host.
        host: HostName,
        /// The container.
        name: ContainerName,
    },
    /// A container that ran does not.
    #[error("container `{name}` does not run on `{host}`")]
    Down {
        /// The host.
        host: HostName,
        /// The container.
        name: ContainerName,
    },
    /// A container that answered does not.
    #[error("container `{name}` does not answer on `{host}`")]
    Silent {
        /// The host.
        host: HostName,
        /// The container.
        name: ContainerName,
    },
    /// A container has another name.
    #[error("container `{was}` on `{host}` is called `{is}`")]
    Renamed {
        /// The host.
        host: HostName,
        /// The name that it had.
        was: ContainerName,
        /// The name that it has.
        is: ContainerName,
    },
    /// A container of the transaction is left.
    #[error("container `{name}` is left on `{host}`")]
    LeftContainer {
        /// The host.
        host: HostName,
        /// The container.
        name: ContainerName,
    },
    /// A file of the transaction is left.
    #[error("file `{path}` is left on `{host}`")]
    LeftFile {
        /// The host.
        host: HostName,
        /// The file.
        path: String,
    },
    /// The route leads elsewhere.
    #[error("the route on `{host}` is not the one that was found")]
    Route {
        /// The host.
        host: HostName,
    },
    /// The tag means another image.
    #[error("tag `{tag}` on `{host}` means another image")]
    Tag {
        /// The host.
        host: HostName,
        /// The tag.
        tag: String,
    },
}

/// Finds everything that is not as `journal` found it.
///
/// Asks no more than the baseline says: a container that was down before may be down.
pub fn verify_undone(journal: &Journal, observed: &Observed) -> Vec<Difference> {
    let mut differences = Vec::new();
    for host in journal.hosts() {
        match observed.host(&host) {
            None => differences.push(Difference::Away { host }),
            Some(state) => {
                let found = journal.found(&host).cloned().unwrap_or_default();
                compare(journal, &host, &found, state, &mut differences);
            }
        }
    }
    differences
}

fn compare(
    journal: &Journal,
    host: &HostName,
    before: &HostBaseline,
    now: &HostState,
    differences: &mut Vec<Difference>,
) {
    differences.extend(
        before
            .containers
            .iter()
            .filter_map(|was| container(host, was, now)),
    );
    for left in now.made_by(&journal.id) {
        let name = left.name.clone();
        differences.push(Difference::LeftContainer {
            host: host.clone(),
            name,
        });
    }
    for path in now
        .files
        .iter()
        .filter(|path| paths::belongs_to(path, &journal.id))
    {
        differences.push(Difference::LeftFile {
            host: host.clone(),
            path: path.clone(),
        });
    }
    if before.route != now.route {
        differences.push(Difference::Route { host: host.clone() });
    }
    if before.latest != now.latest {
        let tag = journal.spec.latest_tag();
        differences.push(Difference::Tag {
            host: host.clone(),
            tag,
        });
    }
}

fn container(host: &HostName, was: &Found, now: &HostState) -> Option<Difference> {
    let (host, name) = (host.clone(), was.name.clone());
    let Some(is) = now.by_id(&was.id) else {
        return was.ran.then_some(Difference::Gone { host, name });
    };
    if was.ran && !is.ran {
        return Some(Difference::Down { host, name });
    }
    if was.answered.is_some() && is.answered.is_none() {
        return Some(Difference::Silent { host, name });
    }
    (is.name != was.name).then(|| Difference::Renamed {
        host,
        was: name,
        is: is.name.clone(),
    })
}
