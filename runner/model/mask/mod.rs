//! Secrets, and text that is free of them.
//!
//! A [`Masker`] knows the secrets of a run. It alone turns text into [`Masked`] and output into
//! [`MaskedBytes`], the only text and the only output that an event, an error or a summary can
//! hold. Every occurrence of a secret, in any of the forms in which tools print it, becomes `***`;
//! occurrences that overlap or touch become one.
//!
//! # How it works
//!
//! Clones of a masker share one set of secrets. A secret that is added while steps run (by
//! `add-mask`) is known to every [`MaskStream`] from its next chunk on. A stream holds back only
//! the bytes at its end that could be the beginning of a secret, so a secret that is split over
//! chunks is found all the same.

mod encoding;
mod matcher;
mod stream;
mod text;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::stream::MaskStream;
pub use self::text::{Masked, MaskedBytes};

use self::matcher::Matcher;

/// What stands in place of a secret.
pub const MASK: &str = "***";

/// Knows secrets and replaces them in text and output; clones share what they know.
#[derive(Clone, Default)]
pub struct Masker {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Grows with every secret, so that a stream sees without a lock that it must look again.
    generation: AtomicU64,
    secrets: Mutex<Secrets>,
}

#[derive(Default)]
struct Secrets {
    patterns: BTreeSet<String>,
    /// Absent until somebody asks after a change: many secrets in a row cost one build.
    matcher: Option<Arc<Matcher>>,
}

impl Masker {
    /// Returns a masker that knows no secret.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a secret and tells whether it was taken.
    ///
    /// A value that is empty or only white space is not: it would mask everything, and the caller
    /// should warn. Registered are the value itself, each line of a value of several lines without
    /// the white space around it, and the forms in which tools print them: Base64 at each of the
    /// three offsets, escaped for URLs, JSON, XML and expressions, quoted for shells and
    /// PowerShell.
    pub fn add(&self, secret: &str) -> bool {
        if secret.trim().is_empty() {
            return false;
        }
        let mut secrets = self.lock();
        let before = secrets.patterns.len();
        secrets.patterns.extend(encoding::forms(secret));
        let lines: Vec<&str> = secret.split(['\r', '\n']).map(str::trim).collect();
        if lines.len() > 1 {
            for line in lines.into_iter().filter(|line| !line.is_empty()) {
                secrets.patterns.extend(encoding::forms(line));
            }
        }
        if secrets.patterns.len() > before {
            secrets.matcher = None;
            self.shared.generation.fetch_add(1, Ordering::Release);
        }
        true
    }

    /// Returns the text with every secret replaced.
    pub fn mask(&self, text: &str) -> Masked {
        match self.matcher() {
            None => Masked::from_masked(text.to_owned()),
            Some(_) => self.mask_bytes(text.as_bytes()).into_text(),
        }
    }

    /// Returns formatted text with every secret replaced, as in `masker.format(format_args!(…))`.
    pub fn format(&self, text: fmt::Arguments<'_>) -> Masked {
        self.mask(&text.to_string())
    }

    /// Returns the bytes with every secret replaced; bytes that are no text stay as they are.
    pub fn mask_bytes(&self, bytes: &[u8]) -> MaskedBytes {
        let mut masked = MaskedBytes::default();
        let mut stream = self.stream();
        stream.push(bytes, &mut masked);
        stream.flush(&mut masked);
        masked
    }

    /// Tells whether a secret stands in the text, as for outputs of jobs, which are then dropped.
    pub fn finds_secret_in(&self, text: &str) -> bool {
        self.matcher()
            .is_some_and(|matcher| matcher.finds_any(text.as_bytes()))
    }

    /// Returns a stream that masks one output, chunk by chunk.
    pub fn stream(&self) -> MaskStream {
        MaskStream::new(self.clone())
    }

    /// Returns a number that grows whenever a secret is added.
    fn generation(&self) -> u64 {
        self.shared.generation.load(Ordering::Acquire)
    }

    /// Returns what finds the secrets, or nothing where there are none.
    fn matcher(&self) -> Option<Arc<Matcher>> {
        if self.generation() == 0 {
            return None;
        }
        let mut secrets = self.lock();
        if secrets.matcher.is_none() && !secrets.patterns.is_empty() {
            secrets.matcher = Some(Arc::new(Matcher::new(&secrets.patterns)));
        }
        secrets.matcher.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Secrets> {
        // A thread that panicked while it held the lock leaves a whole set behind.
        self.shared
            .secrets
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masker")
            .field("patterns", &self.lock().patterns.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
