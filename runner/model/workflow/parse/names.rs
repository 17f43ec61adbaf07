//! The ids of jobs and steps: which are allowed, and those that GitHub makes itself.

use std::collections::{HashMap, HashSet};

use crate::workflow::model::ActionReference;

/// An id is shorter than this.
const MAX_LENGTH: usize = 100;

/// The ids of one scope: of a job's steps, or of a workflow's jobs.
#[derive(Debug, Default)]
pub(in crate::workflow) struct Names {
    /// Those in use, in lower case: two ids differ in more than case.
    used: HashSet<String>,
    /// How often each word was made an id of, so that the next one need not try them all.
    made: HashMap<String, usize>,
}

/// Why an id cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::workflow) enum Refusal {
    /// It has other characters, begins wrong, or is too long.
    Form,
    /// It begins with `__`.
    Reserved,
    /// It is in use.
    Taken,
}

impl Refusal {
    /// Says why, behind the id.
    pub(in crate::workflow) fn reason(self) -> &'static str {
        match self {
            Self::Form => {
                "must begin with a letter or `_`, have only letters, digits, `_` and `-`, and be \
                 shorter than 100 characters"
            }
            Self::Reserved => "begins with `__`, which is reserved",
            Self::Taken => "is used a second time (upper and lower case are the same)",
        }
    }
}

impl Names {
    /// Takes an id that a person wrote.
    pub(in crate::workflow) fn take(&mut self, id: &str) -> Result<(), Refusal> {
        if !is_well_formed(id) {
            return Err(Refusal::Form);
        }
        if id.starts_with("__") {
            return Err(Refusal::Reserved);
        }
        if !self.used.insert(id.to_ascii_lowercase()) {
            return Err(Refusal::Taken);
        }
        Ok(())
    }

    /// Tells whether an id is in use.
    pub(in crate::workflow) fn has(&self, id: &str) -> bool {
        self.used.contains(&id.to_ascii_lowercase())
    }

    /// Makes an id of a word, as GitHub does for steps without one: `run` gives `__run`, then
    /// `__run_2`.
    pub(in crate::workflow) fn make(&mut self, word: &str) -> String {
        let base: String = format!("__{word}")
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        let mut attempt = self.made.get(&base).map_or(1, |made| made + 1);
        loop {
            let suffix = match attempt {
                1 => String::new(),
                attempt => format!("_{attempt}"),
            };
            let kept = base.len().min(MAX_LENGTH - suffix.len());
            let candidate = format!("{}{suffix}", base.get(..kept).unwrap_or(&base));
            if self.used.insert(candidate.to_ascii_lowercase()) {
                self.made.insert(base, attempt);
                return candidate;
            }
            attempt += 1;
        }
    }
}

fn is_well_formed(id: &str) -> bool {
    let begins = id
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    begins
        && id.len() < MAX_LENGTH
        && id
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

/// Returns the word that a step's own id is made of when its action has none.
pub(super) fn word_of(reference: &ActionReference) -> String {
    match reference {
        ActionReference::Docker(image) => image.clone(),
        ActionReference::Local(_) | ActionReference::SelfRepository(_) => "self".to_owned(),
        ActionReference::Repository {
            owner, repository, ..
        } => format!("{owner}/{repository}"),
    }
}
