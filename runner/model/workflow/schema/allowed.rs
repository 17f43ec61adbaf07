//! Which contexts and functions expressions may use at a place.

/// A set of contexts and of the functions that not every place offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::workflow) struct Allowed(u32);

/// The contexts by bit, in the order in which messages name them.
const CONTEXTS: [&str; 12] = [
    "github", "inputs", "vars", "needs", "strategy", "matrix", "secrets", "steps", "job", "runner",
    "env", "jobs",
];

const fn contexts(bits: u32) -> Allowed {
    Allowed(bits)
}

impl Allowed {
    /// No expression at all.
    pub(in crate::workflow) const NOTHING: Self = Self(0);

    pub(super) const GITHUB: Self = contexts(1);
    pub(super) const INPUTS: Self = contexts(1 << 1);
    pub(super) const VARS: Self = contexts(1 << 2);
    pub(super) const NEEDS: Self = contexts(1 << 3);
    pub(super) const STRATEGY: Self = contexts(1 << 4);
    pub(super) const MATRIX: Self = contexts(1 << 5);
    pub(super) const SECRETS: Self = contexts(1 << 6);
    pub(super) const STEPS: Self = contexts(1 << 7);
    pub(super) const JOB: Self = contexts(1 << 8);
    pub(super) const RUNNER: Self = contexts(1 << 9);
    pub(super) const ENV: Self = contexts(1 << 10);
    pub(super) const JOBS: Self = contexts(1 << 11);
    /// `hashFiles()`.
    pub(super) const HASH_FILES: Self = Self(1 << 16);
    /// `always()`, `cancelled()`, `success()` and `failure()` without arguments.
    pub(super) const STEP_STATUS: Self = Self(1 << 17);
    /// The same, where `success()` and `failure()` take the ids of jobs.
    pub(super) const JOB_STATUS: Self = Self(1 << 18);

    /// What the whole workflow may use.
    pub(super) const RUN: Self = Self::GITHUB.and(Self::INPUTS).and(Self::VARS);
    /// What a job may use before its matrix is known.
    pub(super) const JOB_BEFORE_MATRIX: Self = Self::RUN.and(Self::NEEDS);
    /// What a job may use before it runs.
    pub(super) const JOB_BEFORE_RUN: Self = Self::JOB_BEFORE_MATRIX
        .and(Self::STRATEGY)
        .and(Self::MATRIX);
    /// What only a running job knows.
    const RUNNING: Self = Self::STEPS.and(Self::JOB).and(Self::RUNNER).and(Self::ENV);
    /// What the machine that runs a job may use, secrets left out.
    pub(super) const JOB_RUNNING: Self = Self::JOB_BEFORE_RUN.and(Self::RUNNING);
    /// What a step may use.
    pub(super) const STEP: Self = Self::JOB_RUNNING.and(Self::SECRETS).and(Self::HASH_FILES);
    /// What a step's condition may use.
    pub(super) const STEP_CONDITION: Self = Self::JOB_RUNNING
        .and(Self::HASH_FILES)
        .and(Self::STEP_STATUS);
    /// What a step of a composite action may use.
    pub(super) const COMPOSITE_STEP: Self = Self::GITHUB
        .and(Self::INPUTS)
        .and(Self::STRATEGY)
        .and(Self::MATRIX)
        .and(Self::RUNNING)
        .and(Self::HASH_FILES);

    /// Returns what either offers.
    pub(in crate::workflow) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the contexts alone.
    pub(super) const fn without_functions(self) -> Self {
        Self(self.0 & 0xFFFF)
    }

    /// Tells whether all of `other` is offered.
    pub(in crate::workflow) const fn offers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Lists the contexts.
    pub(in crate::workflow) fn contexts(self) -> impl Iterator<Item = &'static str> {
        (0..)
            .zip(CONTEXTS)
            .filter(move |(bit, _)| self.0 & (1 << bit) != 0)
            .map(|(_, name)| name)
    }

    /// Lists the contexts, and the functions that not every place offers, as GitHub's schema writes
    /// them: each with its fewest and most arguments.
    pub(in crate::workflow) fn entries(self) -> impl Iterator<Item = &'static str> {
        let mut functions: Vec<&'static str> = Vec::new();
        if self.offers(Self::HASH_FILES) {
            functions.push("hashFiles(1,255)");
        }
        if self.offers(Self::JOB_STATUS) {
            functions.extend([
                "always(0,0)",
                "cancelled(0,0)",
                "success(0,MAX)",
                "failure(0,MAX)",
            ]);
        } else if self.offers(Self::STEP_STATUS) {
            functions.extend([
                "always(0,0)",
                "cancelled(0,0)",
                "success(0,0)",
                "failure(0,0)",
            ]);
        }
        self.contexts().chain(functions)
    }
}
