//! Masks one output while it comes.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::matcher::{Cursor, Found, Matcher};
use super::text::MaskedBytes;
use super::{MASK, Masker};

/// Masks one output chunk by chunk, with the same result as if it came at once.
///
/// Holds back what may be the beginning of a secret, at most one byte less than the longest one;
/// [`flush`](Self::flush) at the end of the output, or the held bytes are lost.
pub struct MaskStream {
    masker: Masker,
    generation: u64,
    search: Option<(Arc<Matcher>, Cursor)>,
    /// The bytes that are not written yet.
    held: Vec<u8>,
    /// The secrets in them, in order, none touching another; counted from the start of `held`.
    ranges: VecDeque<Range<usize>>,
    /// Whether the last thing that was written is a mask.
    after_mask: bool,
    /// How many of the held bytes belong to the mask that was written last.
    covered: usize,
}

impl MaskStream {
    pub(super) fn new(masker: Masker) -> Self {
        Self {
            masker,
            generation: 0,
            search: None,
            held: Vec::new(),
            ranges: VecDeque::new(),
            after_mask: false,
            covered: 0,
        }
    }

    /// Takes the next bytes of the output and adds those that are safe to `out`.
    ///
    /// Secrets that were added since the last call count for the held bytes, too.
    pub fn push(&mut self, bytes: &[u8], out: &mut MaskedBytes) {
        self.refresh();
        let Some((matcher, mut cursor)) = self.search.take() else {
            out.extend(bytes);
            return;
        };
        if matcher.is_closed() {
            if !bytes.is_empty() && !self.after_mask {
                out.extend(MASK.as_bytes());
                self.after_mask = true;
            }
        } else {
            let before = self.held.len();
            matcher.scan(&mut cursor, bytes, &mut |found| {
                note(&mut self.ranges, before, found);
            });
            let all = before + bytes.len();
            self.write(bytes, all - matcher.undecided(cursor).min(all), out);
        }
        self.search = Some((matcher, cursor));
    }

    /// Adds all that is held to `out`; for the end of the output.
    pub fn flush(&mut self, out: &mut MaskedBytes) {
        self.refresh();
        self.write(&[], self.held.len(), out);
        self.after_mask = false;
        self.covered = 0;
        if let Some((matcher, cursor)) = &mut self.search {
            *cursor = matcher.start();
        }
    }

    /// Returns how many bytes are held back.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Searches the held bytes again if secrets were added.
    fn refresh(&mut self) {
        let generation = self.masker.generation();
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        self.search = self.masker.matcher().map(|matcher| {
            let mut cursor = matcher.start();
            self.ranges.clear();
            matcher.scan(&mut cursor, &self.held, &mut |found| {
                note(&mut self.ranges, 0, found);
            });
            (matcher, cursor)
        });
    }

    /// Writes the first `safe` bytes of what is held and of `bytes`, and holds the rest.
    ///
    /// A secret that is found later begins at `safe` or after it. So a mask that begins before is
    /// written now, even if it reaches further; what it covers is dropped when its turn comes.
    fn write(&mut self, bytes: &[u8], safe: usize, out: &mut MaskedBytes) {
        let mut done = self.covered;
        while let Some(range) = self.ranges.front()
            && range.start < safe
        {
            if !self.after_mask || range.start > done {
                self.copy(bytes, done..range.start, out);
                out.extend(MASK.as_bytes());
                self.after_mask = true;
            }
            done = done.max(range.end);
            self.ranges.pop_front();
        }
        if done < safe {
            self.copy(bytes, done..safe, out);
            self.after_mask = false;
            done = safe;
        }
        self.covered = done - safe;
        for range in &mut self.ranges {
            *range = range.start - safe..range.end - safe;
        }
        if safe < self.held.len() {
            self.held.drain(..safe);
            self.held.extend_from_slice(bytes);
        } else {
            let rest = bytes.get(safe - self.held.len()..).unwrap_or_default();
            self.held.clear();
            self.held.extend_from_slice(rest);
        }
    }

    /// Copies a stretch of the held bytes followed by `bytes`.
    fn copy(&self, bytes: &[u8], range: Range<usize>, out: &mut MaskedBytes) {
        let middle = self.held.len();
        if let Some(part) = self.held.get(range.start..range.end.min(middle)) {
            out.extend(part);
        }
        let start = range.start.max(middle) - middle;
        if let Some(part) = bytes.get(start..range.end.max(middle) - middle) {
            out.extend(part);
        }
    }
}

impl fmt::Debug for MaskStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaskStream")
            .field("held", &self.held.len())
            .finish_non_exhaustive()
    }
}

/// Adds a secret to the ranges and joins it with those that it overlaps or touches.
fn note(ranges: &mut VecDeque<Range<usize>>, before: usize, found: Found) {
    let end = before + found.end;
    let mut start = end.saturating_sub(found.length);
    while let Some(last) = ranges.back()
        && last.end >= start
    {
        start = start.min(last.start);
        ranges.pop_back();
    }
    ranges.push_back(start..end);
}
