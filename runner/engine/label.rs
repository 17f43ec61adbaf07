//! Which labels of `runs-on` this machine serves, and where their jobs run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::build_machine::BuildMachine;

/// Where the jobs of a label run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// On this host.
    Host,
    /// In a container of this image, unless the job names its own.
    Image(String),
    /// In a container on another machine.
    Machine(Box<BuildMachine>),
}

impl Place {
    /// Returns the image of jobs that name none.
    fn image(&self) -> Option<&str> {
        match self {
            Self::Host => None,
            Self::Image(image) => Some(image),
            Self::Machine(machine) => machine.image(),
        }
    }
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

    /// Returns the image in which the jobs of these labels run that name none.
    pub fn image(&self, labels: &[String]) -> Option<&str> {
        let image = self.place(labels).and_then(Place::image);
        image.or(self.contained.as_deref())
    }

    /// Returns the machine on which the jobs of these labels run, if it is another one.
    pub fn machine(&self, labels: &[String]) -> Option<&BuildMachine> {
        match self.place(labels) {
            Some(Place::Machine(machine)) => Some(machine),
            _ => None,
        }
    }

    /// Returns where jobs of these labels run: the first label counts that leads away from this host.
    fn place(&self, labels: &[String]) -> Option<&Place> {
        let places = labels
            .iter()
            .filter_map(|label| self.given.get(&label.to_lowercase()));
        places.into_iter().find(|place| **place != Place::Host)
    }

    /// Returns all labels that are served, for [`is_served`].
    pub fn served(&self) -> Vec<String> {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "x64",
            "aarch64" => "arm64",
            other => other,
        };
        let always = ["self-hosted", "linux", architecture, "ubuntu-*"];
        let always = always.into_iter().map(str::to_owned);
        always.chain(self.given.keys().cloned()).collect()
    }

    fn serves(&self, label: &str) -> bool {
        is_served(&self.served(), label)
    }
}

/// Tells whether a label is among those that a machine serves.
pub fn is_served(served: &[String], label: &str) -> bool {
    let label = label.to_lowercase();
    served.iter().any(|known| match known.strip_suffix('*') {
        Some(beginning) => label.starts_with(beginning),
        None => *known == label,
    })
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
            assert_eq!(is_served(&Labels::default().served(), label), expected);
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
        let machine = "ssh://ci@build?image=alpine:3.20".parse().unwrap();
        labels.serve("build", Place::Machine(Box::new(machine)));
        let both = [
            "gpu".to_owned(),
            "Build".to_owned(),
            "ubuntu-latest".to_owned(),
        ];
        assert_eq!(labels.image(&both), Some("alpine:3.20"));
        assert!(labels.machine(&both).is_some() && labels.machine(&wanted("gpu")).is_none());
        labels.contain("alpine:3");
        assert_eq!(labels.image(&wanted("gpu")), Some("alpine:3"));
        assert_eq!(labels.image(&wanted("Ubuntu-Latest")), Some("debian:12"));
    }
}
