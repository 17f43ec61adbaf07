//! Secrets at rest: sealed with a key that lies beside the store and never in it.
//!
//! # How it works
//! The form is that of age (<https://age-encryption.org/v1>): what is sealed here can be opened with
//! the `age` program and the same key. A value is sealed together with its name and scope, so that
//! whoever can write to the store cannot move a secret to where it would be given to others.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::SecretScope;

/// A key cannot be used, or does not open what was sealed.
#[derive(Debug, Error)]
pub enum SealError {
    /// The text is no key.
    #[error("it holds no age identity: {0}")]
    NoKey(&'static str),
    /// Nothing could be sealed.
    #[error("it could not be sealed")]
    Seal(#[source] age::EncryptError),
    /// Another key sealed it, or somebody changed it.
    #[error("the key does not open it")]
    WrongKey,
    /// It is the value of another name or scope.
    #[error("what is stored there was sealed for another name or scope")]
    Moved,
}

/// What seals secrets and opens them.
pub struct SealingKey(age::x25519::Identity);

/// What is sealed.
#[derive(Serialize, Deserialize)]
struct Sealed<'a> {
    name: &'a str,
    repository: Option<&'a str>,
    environment: Option<&'a str>,
    event: Option<&'a str>,
    value: String,
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SealingKey")
            .field(&self.0.to_public().to_string())
            .finish()
    }
}

impl SealingKey {
    /// Returns a new key.
    pub fn generate() -> Self {
        Self(age::x25519::Identity::generate())
    }

    /// Reads a key file: comments, and one line with the identity, as `age-keygen` writes it.
    pub fn parse(text: &str) -> Result<Self, SealError> {
        let mut lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let line = lines
            .next()
            .ok_or(SealError::NoKey("it is empty but for comments"))?;
        if lines.next().is_some() {
            return Err(SealError::NoKey("it has more than one line"));
        }
        // What the parser says of it is not shown: the text can be half a key.
        line.parse()
            .map(Self)
            .map_err(|_| SealError::NoKey("its line is not `AGE-SECRET-KEY-1…`"))
    }

    /// Returns the key as the text of its file.
    pub fn to_text(&self) -> String {
        use age::secrecy::ExposeSecret as _;
        format!(
            "# opens the secrets of `runner serve`; whoever has it and the store has them all\n# public key: {}\n{}\n",
            self.0.to_public(),
            self.0.to_string().expose_secret()
        )
    }

    /// Seals the value of a secret for its name and scope; the text tells nothing of it but about
    /// how long it is.
    pub fn seal(&self, name: &str, scope: &SecretScope, value: &str) -> Result<String, SealError> {
        let sealed = Sealed {
            name,
            repository: scope.repository.as_deref(),
            environment: scope.environment.as_deref(),
            event: scope.event.as_deref(),
            value: value.to_owned(),
        };
        let plain = serde_json::to_vec(&sealed).unwrap_or_default();
        let bytes = age::encrypt(&self.0.to_public(), &plain).map_err(SealError::Seal)?;
        Ok(STANDARD.encode(bytes))
    }

    /// Opens what was sealed for this name and scope.
    pub fn open(&self, name: &str, scope: &SecretScope, sealed: &str) -> Result<String, SealError> {
        let bytes = STANDARD.decode(sealed).map_err(|_| SealError::WrongKey)?;
        let plain = age::decrypt(&self.0, &bytes).map_err(|_| SealError::WrongKey)?;
        let opened: Sealed<'_> = serde_json::from_slice(&plain).map_err(|_| SealError::WrongKey)?;
        let is_for = opened.name == name
            && opened.repository == scope.repository.as_deref()
            && opened.environment == scope.environment.as_deref()
            && opened.event == scope.event.as_deref();
        if is_for {
            Ok(opened.value)
        } else {
            Err(SealError::Moved)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(repository: &str) -> SecretScope {
        SecretScope {
            repository: Some(repository.to_owned()),
            ..SecretScope::default()
        }
    }

    #[test]
    fn what_is_sealed_opens_with_its_key_and_nothing_else() {
        let key = SealingKey::generate();
        let sealed = key.seal("TOKEN", &scope("a/b"), "hush \"ü\"\n").unwrap();
        assert!(!sealed.contains("hush"));
        let again = SealingKey::parse(&key.to_text()).unwrap();
        assert_eq!(
            again.open("TOKEN", &scope("a/b"), &sealed).unwrap(),
            "hush \"ü\"\n"
        );
        let other = SealingKey::generate();
        assert!(matches!(
            other.open("TOKEN", &scope("a/b"), &sealed),
            Err(SealError::WrongKey)
        ));
        let mut bent = sealed.into_bytes();
        let last = bent.len() - 6;
        bent[last] = if bent[last] == b'A' { b'B' } else { b'A' };
        let bent = String::from_utf8(bent).unwrap();
        assert!(key.open("TOKEN", &scope("a/b"), &bent).is_err());
    }

    #[test]
    fn what_is_moved_to_another_name_or_scope_does_not_open() {
        let key = SealingKey::generate();
        let sealed = key.seal("TOKEN", &scope("a/b"), "hush").unwrap();
        for (name, scope) in [("OTHER", scope("a/b")), ("TOKEN", scope("a/c"))] {
            assert!(matches!(
                key.open(name, &scope, &sealed),
                Err(SealError::Moved)
            ));
        }
    }

    #[test]
    fn what_is_no_key_is_told_without_showing_it() {
        for text in ["", "# only a comment\n", "AGE-SECRET-KEY-1QQQ\n", "a\nb\n"] {
            let error = SealingKey::parse(text).unwrap_err().to_string();
            assert!(error.contains("no age identity"), "{error}");
            assert!(!error.contains("QQQ"), "{error}");
        }
    }

    #[test]
    fn a_key_tells_nothing_when_it_is_printed_for_debugging() {
        let shown = format!("{:?}", SealingKey::generate());
        assert!(
            shown.contains("age1") && !shown.contains("SECRET"),
            "{shown}"
        );
    }
}
