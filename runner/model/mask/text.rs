//! Text and output that hold no secret.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Text without secrets, made by a [`Masker`](super::Masker) alone or from what cannot hold one.
///
/// Reading it back from a store is allowed, since only masked text was ever written there.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Masked(Cow<'static, str>);

impl Masked {
    /// Takes text that is part of the program.
    pub const fn from_static(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    /// Takes text that a masker has been over.
    pub(super) const fn from_masked(text: String) -> Self {
        Self(Cow::Owned(text))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the parts one after the other with a separator between them.
    pub fn join<'a>(parts: impl IntoIterator<Item = &'a Self>, separator: &'static str) -> Self {
        let parts: Vec<&str> = parts.into_iter().map(Self::as_str).collect();
        Self::from_masked(parts.join(separator))
    }

    /// Returns the text cut to a number of characters; a cut text ends in `...`.
    #[must_use]
    pub fn shortened(&self, characters: usize) -> Self {
        if self.0.chars().count() <= characters {
            return self.clone();
        }
        let mut text: String = self.0.chars().take(characters.saturating_sub(3)).collect();
        text.push_str("...");
        Self::from_masked(text)
    }
}

impl fmt::Display for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl AsRef<str> for Masked {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<Masked> for String {
    fn from(text: Masked) -> Self {
        text.0.into_owned()
    }
}

macro_rules! masked_from_number {
    ($($number:ty),*) => {$(
        impl From<$number> for Masked {
            fn from(number: $number) -> Self {
                Self::from_masked(number.to_string())
            }
        }
    )*};
}

masked_from_number!(u8, u16, u32, u64, usize, i32, i64, bool);

/// Output without secrets, made by a [`Masker`](super::Masker) alone.
///
/// Serialized it is a string, or an object with the key `base64` where it is not UTF-8.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct MaskedBytes(Vec<u8>);

impl MaskedBytes {
    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns how many bytes there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes all bytes and keeps the memory for the next ones.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds other masked bytes at the end.
    pub fn append(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// Removes and returns all bytes up to and with the last line feed, if there is one.
    pub fn take_lines(&mut self) -> Option<Self> {
        let end = self.0.iter().rposition(|byte| *byte == b'\n')? + 1;
        let rest = self.0.split_off(end);
        Some(Self(std::mem::replace(&mut self.0, rest)))
    }

    /// Returns the bytes as text; what is not UTF-8 becomes U+FFFD.
    pub fn into_text(self) -> Masked {
        Masked::from_masked(
            String::from_utf8(self.0)
                .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
        )
    }

    /// Returns the bytes themselves.
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }

    /// Adds bytes that a masker has been over.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

impl fmt::Debug for MaskedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

impl From<Masked> for MaskedBytes {
    fn from(text: Masked) -> Self {
        Self(String::from(text).into_bytes())
    }
}

impl AsRef<[u8]> for MaskedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// How bytes that are not UTF-8 are written.
#[derive(Serialize, Deserialize)]
struct Encoded {
    base64: String,
}

impl Serialize for MaskedBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Encoded {
                base64: STANDARD.encode(&self.0),
            }
            .serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for MaskedBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => Ok(Self(text.into_bytes())),
            other => {
                let encoded = Encoded::deserialize(other).map_err(D::Error::custom)?;
                STANDARD
                    .decode(encoded.base64)
                    .map(Self)
                    .map_err(D::Error::custom)
            }
        }
    }
}
