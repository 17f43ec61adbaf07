//! What a job found: annotations and a summary, to be shown beside the commit.

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::report::Reporter;
use crate::run::{Annotation, RunEvent};

/// The most annotations of a job that are kept.
const MAX_ANNOTATIONS: usize = 500;

/// The longest summary of a job that is kept, in bytes.
///
/// Source: GitHub, "Create a check run": 65,535 characters; the rest is for our own words.
const MAX_SUMMARY: usize = 60_000;

/// What a job found; every text in it is free of secrets.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Findings {
    /// The annotations, in the order in which they came.
    pub annotations: Vec<Annotation>,
    /// The summaries of its steps, in Markdown.
    pub summary: String,
    /// How many annotations are left out, since there were too many.
    pub left_out: usize,
    /// Whether the summary is cut.
    pub is_cut: bool,
}

impl Findings {
    /// Tells whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.annotations.is_empty() && self.summary.is_empty()
    }

    fn add(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Annotation { annotation, .. } => {
                if self.annotations.len() < MAX_ANNOTATIONS {
                    self.annotations.push(annotation.clone());
                } else {
                    self.left_out += 1;
                }
            }
            RunEvent::Summary { text, .. } => {
                let free = MAX_SUMMARY.saturating_sub(self.summary.len());
                let text = text.as_str();
                let end = text.floor_char_boundary(free);
                self.is_cut |= end < text.len();
                self.summary.push_str(text.get(..end).unwrap_or_default());
                if !self.summary.ends_with('\n') {
                    self.summary.push('\n');
                }
            }
            _ => {}
        }
    }
}

/// Collects what a job finds; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Collector(Arc<Mutex<Findings>>);

impl Collector {
    /// Returns what was found so far.
    pub(super) fn findings(&self) -> Findings {
        let findings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        findings.clone()
    }
}

impl Reporter for Collector {
    fn report(&mut self, event: &RunEvent) {
        let mut findings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        findings.add(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::Masker;
    use crate::run::{AnnotationLevel, JobKey};

    #[test]
    fn too_much_is_left_out_and_counted() {
        let masker = Masker::new();
        let mut collector = Collector::default();
        for _ in 0..MAX_ANNOTATIONS + 3 {
            collector.report(&RunEvent::Annotation {
                job: JobKey(0),
                step: 1,
                annotation: Annotation::new(AnnotationLevel::Error, masker.mask("x")),
            });
        }
        for text in ["é".repeat(MAX_SUMMARY / 2 - 1), "éé".to_owned()] {
            collector.report(&RunEvent::Summary {
                job: JobKey(0),
                step: 1,
                text: masker.mask(&text),
            });
        }
        let found = collector.findings();
        assert_eq!(
            (found.annotations.len(), found.left_out),
            (MAX_ANNOTATIONS, 3)
        );
        assert!(found.is_cut && found.summary.len() <= MAX_SUMMARY + 2);
    }
}
