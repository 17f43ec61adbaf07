//! Which labels of `runs-on` this machine serves, and where their jobs run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where the jobs of a label run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// On this host.
    Host,
    /// In a container of this image, unless the job names its own.
    Image(String),
}

/// The labels that this machine serves.
///
/// Always served are GitHub's labels for Linux (`ubuntu-…`), and those that every self-hosted runner
/// on Linux has: `self-hosted`, `linux` and its architecture. Others are added by whoever starts the
/// run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Labels {
    given: BTreeMap<String, Place>,
    /// The image of jobs that may not run on this host.
    #[serde(default)]
    contained: Option<String>,
}

impl Labels {
    /// Keeps every job in a container: of this image where neither it nor a label names one.
    ///
    /// Such jobs may not ask for what reaches out of their containers, and the daemon is not in reach there.
    pub fn contain(&mut self, image: &str) {
        self.contained = Some(image.to_owned());
    }

    /// Tells whether every job is kept in a container.
    pub fn is_contained(&self) -> bool {
        self.contained.is_some()
    }

    /// Serves a label, which also decides for one that is always served.
    pub fn serve(&mut self, label: &str, place: Place) {
        self.given.insert(label.to_lowercase(), place);
    }

    /// Returns the labels that nobody serves here.
    pub fn unserved<'a>(&self, labels: &'a [String]) -> Vec<&'a str> {
        let labels = labels.iter().map(String::as_str);
        labels.filter(|label| !self.serves(label)).collect()
    }

    /// Returns the image in which the jobs of these labels run; the first label that has one counts.
    pub fn image(&self, labels: &[String]) -> Option<&str> {
        let places = labels
            .iter()
            .filter_map(|label| self.given.get(&label.to_lowercase()));
        let image = places.into_iter().find_map(|place| match place {
            Place::Host => None,
            Place::Image(image) => Some(image.as_str()),
        });
        image.or(self.contained.as_deref())
    }

    fn serves(&self, label: &str) -> bool {
        let label = label.to_lowercase();
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "x64",
            "aarch64" => "arm64",
            other => other,
        };
        self.given.contains_key(&label)
            || matches!(label.as_str(), "self-hosted" | "linux")
            || label == architecture
            || label.starts_with("ubuntu-")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_linux_are_served_and_others_are_not() {
        for (label, expected) in [
            ("ubuntu-latest", true),
            ("Ubuntu-24.04", true),
            ("self-hosted", true),
            ("linux", true),
            ("windows-latest", false),
            ("macos-14", false),
            ("gpu", false),
            ("group:big", false),
        ] {
            assert_eq!(Labels::default().serves(label), expected, "{label}");
        }
    }

    #[test]
    fn a_given_label_is_served_where_it_says() {
        let mut labels = Labels::default();
        labels.serve("GPU", Place::Host);
        labels.serve("ubuntu-latest", Place::Image("debian:12".to_owned()));
        let wanted = |text: &str| vec!["self-hosted".to_owned(), text.to_owned()];
        assert!(labels.unserved(&wanted("gpu")).is_empty());
        assert_eq!(labels.image(&wanted("gpu")), None);
        assert_eq!(labels.image(&wanted("Ubuntu-Latest")), Some("debian:12"));
        labels.contain("alpine:3");
        assert_eq!(labels.image(&wanted("gpu")), Some("alpine:3"));
        assert_eq!(labels.image(&wanted("Ubuntu-Latest")), Some("debian:12"));
    }
}
