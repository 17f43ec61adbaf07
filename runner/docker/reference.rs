//! Names of images.

use std::fmt;

/// An image's name, taken apart: `repository[:tag][@digest]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageReference {
    /// With the registry, as `registry.example.net:5000/team/app`.
    pub repository: String,
    /// Without the colon.
    pub tag: Option<String>,
    /// As `sha256:...`.
    pub digest: Option<String>,
}

impl ImageReference {
    /// Takes a name apart; nothing is checked, the daemon does that.
    pub fn parse(text: &str) -> Self {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.to_owned())),
            None => (text, None),
        };
        // A colon before the last slash belongs to the registry's port.
        let (repository, tag) = match name.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag.to_owned())),
            _ => (name, None),
        };
        Self {
            repository: repository.to_owned(),
            tag,
            digest,
        }
    }

    /// The registry in the name, if one is named.
    pub fn registry(&self) -> Option<&str> {
        let (first, _) = self.repository.split_once('/')?;
        (first.contains(['.', ':']) || first == "localhost").then_some(first)
    }

    /// What the API calls the tag: digest, tag, or `latest`.
    pub(super) fn version(&self) -> &str {
        self.digest
            .as_deref()
            .or(self.tag.as_deref())
            .unwrap_or("latest")
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        for (text, repository, version, registry) in [
            ("app", "app", "latest", None),
            ("team/app:1", "team/app", "1", None),
            (
                "r.example.net/app",
                "r.example.net/app",
                "latest",
                Some("r.example.net"),
            ),
            (
                "localhost:5000/app",
                "localhost:5000/app",
                "latest",
                Some("localhost:5000"),
            ),
            (
                "localhost:5000/app:v1",
                "localhost:5000/app",
                "v1",
                Some("localhost:5000"),
            ),
            ("app@sha256:ab", "app", "sha256:ab", None),
            (
                "localhost/app:v1@sha256:ab",
                "localhost/app",
                "sha256:ab",
                Some("localhost"),
            ),
        ] {
            let reference = ImageReference::parse(text);
            assert_eq!(reference.repository, repository, "{text}");
            assert_eq!(reference.version(), version, "{text}");
            assert_eq!(reference.registry(), registry, "{text}");
            assert_eq!(reference.to_string(), text);
        }
    }
}
