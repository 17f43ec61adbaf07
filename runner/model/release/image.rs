//! The name of an image, with the digest that makes it exact.

use std::fmt::{self, Display};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::ids::Digest;

/// An image: `repository[:tag][@digest]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ImageRef {
    /// Registry and path, `registry.example.com/shop`.
    pub repository: String,
    /// The tag, where one is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The digest, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// A text that names no image.
#[derive(Debug, Error)]
#[error("`{0}` is not the name of an image")]
pub struct InvalidImageRef(String);

impl ImageRef {
    /// Reads `repository[:tag][@digest]`; a colon before the last slash is a registry's port.
    pub fn parse(text: &str) -> Result<Self, InvalidImageRef> {
        let invalid = || InvalidImageRef(text.to_owned());
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let path = name.rfind('/').map_or(0, |at| at + 1);
        let (repository, tag) = match name.get(path..).and_then(|last| last.find(':')) {
            Some(colon) => {
                let (repository, tag) = name.split_at(path + colon);
                (repository, Some(tag.trim_start_matches(':')))
            }
            None => (name, None),
        };
        let empty = repository.is_empty() || tag == Some("") || digest == Some("");
        if empty || text.contains(char::is_whitespace) {
            return Err(invalid());
        }
        Ok(Self {
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest: digest.map(Digest::new),
        })
    }

    /// The name by which exactly this image is pulled and started: by digest where it is known.
    pub fn exact(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => format!("{}@{digest}", self.repository),
            (None, Some(tag)) => format!("{}:{tag}", self.repository),
            (None, None) => self.repository.clone(),
        }
    }
}

impl Display for ImageRef {
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
    fn names_are_taken_apart_and_put_together_again() {
        for (text, repository, tag, digest) in [
            ("redis", "redis", None, None),
            ("redis:7", "redis", Some("7"), None),
            ("localhost:5000/shop", "localhost:5000/shop", None, None),
            (
                "localhost:5000/shop:v1",
                "localhost:5000/shop",
                Some("v1"),
                None,
            ),
            ("a.b/c:v1@sha256:12", "a.b/c", Some("v1"), Some("sha256:12")),
            ("a.b/c@sha256:12", "a.b/c", None, Some("sha256:12")),
        ] {
            let image = ImageRef::parse(text).unwrap();
            assert_eq!(image.repository, repository, "{text}");
            assert_eq!(image.tag.as_deref(), tag, "{text}");
            assert_eq!(image.digest.as_ref().map(Digest::as_str), digest, "{text}");
            assert_eq!(image.to_string(), text);
        }
    }

    #[test]
    fn a_digest_wins_over_a_tag() {
        let image = ImageRef::parse("a.b/c:v1@sha256:12").unwrap();
        assert_eq!(image.exact(), "a.b/c@sha256:12");
    }

    #[test]
    fn empty_parts_are_refused() {
        for text in ["", ":v1", "shop:", "shop@", "sh op"] {
            assert!(ImageRef::parse(text).is_err(), "{text}");
        }
    }
}
