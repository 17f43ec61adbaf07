//! What a connection proves its identity with.

use std::{fmt, path::PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// The passphrase of an encrypted private key; shows nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(String);

impl Passphrase {
    /// Takes a passphrase.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(***)")
    }
}

/// A private key in OpenSSH or PEM text; shows nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(String);

impl PrivateKey {
    /// Takes the text of a key file.
    pub fn new(text: impl Into<String>) -> Self {
        // Secrets in an environment often lose the last newline, without which OpenSSL sees no key.
        let mut text = text.into().replace("\r\n", "\n");
        if !text.ends_with('\n') {
            text.push('\n');
        }
        Self(text)
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// Tells whether the key cannot be used without a passphrase.
    pub fn is_encrypted(&self) -> bool {
        const MAGIC: &[u8] = b"openssh-key-v1\0\0\0\0";
        let mut lines = self.0.lines().map(str::trim);
        if !lines
            .clone()
            .any(|line| line == "-----BEGIN OPENSSH PRIVATE KEY-----")
        {
            return lines.any(|line| line.contains("ENCRYPTED"));
        }
        let body: String = lines.filter(|line| !line.starts_with("-----")).collect();
        // The cipher's name follows the magic: its length, then its letters.
        STANDARD.decode(body).is_ok_and(|bytes| {
            bytes
                .strip_prefix(MAGIC)
                .is_some_and(|rest| !rest.starts_with(b"\x04none"))
        })
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(***)")
    }
}

/// One way to log in, tried in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A private key in a file.
    File {
        /// Where the key is.
        path: PathBuf,
        /// Needed if the key is encrypted.
        passphrase: Option<Passphrase>,
        /// Whether a missing file is passed over, as for the default names in `~/.ssh`.
        optional: bool,
    },
    /// A private key that was handed over, as by a secret.
    Key {
        /// How messages call it.
        name: String,
        /// The key.
        key: PrivateKey,
        /// Needed if the key is encrypted.
        passphrase: Option<Passphrase>,
    },
    /// Every key of the agent that listens on this socket.
    Agent {
        /// The value of `SSH_AUTH_SOCK`.
        socket: PathBuf,
    },
}

impl Identity {
    /// A key file that must be there.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File {
            path: path.into(),
            passphrase: None,
            optional: false,
        }
    }

    /// A key handed over as text.
    pub fn key(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self::Key {
            name: name.into(),
            key: PrivateKey::new(text),
            passphrase: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show() {
        let identity = Identity::Key {
            name: "DEPLOY_KEY".into(),
            key: PrivateKey::new("s3cret"),
            passphrase: Some(Passphrase::new("s3cret")),
        };
        assert!(!format!("{identity:?}").contains("s3cret"));
    }

    #[test]
    fn encrypted_keys_are_told_by_their_header() {
        let openssh = |body: &[u8]| {
            let text = STANDARD.encode([b"openssh-key-v1\0".as_slice(), body].concat());
            format!(
                "-----BEGIN OPENSSH PRIVATE KEY-----\n{text}\n-----END OPENSSH PRIVATE KEY-----"
            )
        };
        for (text, encrypted) in [
            (openssh(b"\0\0\0\x04none\0\0\0\x04none"), false),
            (openssh(b"\0\0\0\x0aaes256-ctr\0\0\0\x06bcrypt"), true),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n".into(),
                true,
            ),
            ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA\n".into(), true),
            ("-----BEGIN RSA PRIVATE KEY-----\nAA\n".into(), false),
        ] {
            assert_eq!(
                PrivateKey::new(text.clone()).is_encrypted(),
                encrypted,
                "{text}"
            );
        }
    }
}
