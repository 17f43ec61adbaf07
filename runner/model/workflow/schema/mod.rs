//! What may stand where in GitHub's files, as tables: keys, kinds, and what expressions may use.
//!
//! The facts are those of GitHub's `workflow-v1.0.json` and `action-v1.0.json`; the reader in
//! `parse` gives them their meaning.

mod action;
mod allowed;
mod branding;
mod step;
mod workflow;

pub(super) use action::{ACTION, COMPOSITE_RUNS, CONTAINER_RUNS, NATIVE_RUNS, NODE_RUNS};
pub(super) use allowed::Allowed;
pub(super) use branding::{COLORS, ICONS};
pub(super) use workflow::{
    CALL_INPUTS, CALL_OUTPUTS, CALL_SECRETS, DISPATCH_INPUTS, SCHEDULE, TEXTS, WORKFLOW,
};

/// What a value may be, and what expressions in it may use.
#[derive(Debug)]
pub(super) struct Definition {
    /// The word for it in messages: `job`, `step`; empty where its key says enough.
    pub(super) what: &'static str,
    /// What expressions in it may use, besides what its parents offer.
    pub(super) allowed: Allowed,
    /// What it may be.
    pub(super) shape: Shape,
}

/// What a value may be.
#[derive(Debug)]
pub(super) enum Shape {
    /// Anything.
    Any,
    /// What another table tells: not read here.
    Apart,
    /// Nothing.
    Null,
    /// True or false.
    Boolean,
    /// A number.
    Number,
    /// Text, also empty.
    Text,
    /// Text with at least one character.
    Filled,
    /// One of these words.
    Words(&'static [&'static str]),
    /// Text that is a condition: an expression with or without `${{ }}`.
    Condition,
    /// A list.
    Sequence(&'static Definition),
    /// Keys with values.
    Mapping {
        /// Those that are known.
        properties: &'static [Property],
        /// What other keys may hold, where there may be any.
        others: Option<&'static Definition>,
    },
    /// One of these.
    OneOf(&'static [&'static Definition]),
}

/// A known key of a mapping.
#[derive(Debug)]
pub(super) struct Property {
    /// The key.
    pub(super) key: &'static str,
    /// Whether it must be there.
    pub(super) is_required: bool,
    /// What it may hold.
    pub(super) definition: &'static Definition,
}

impl Definition {
    const fn of(shape: Shape) -> Self {
        Self {
            what: "",
            allowed: Allowed::NOTHING,
            shape,
        }
    }

    const fn allowing(self, allowed: Allowed) -> Self {
        Self { allowed, ..self }
    }

    const fn called(self, what: &'static str) -> Self {
        Self { what, ..self }
    }

    /// Walks over what the value may be, choices inside choices included.
    pub(super) fn any(&'static self, test: &mut impl FnMut(&'static Self) -> bool) -> bool {
        match &self.shape {
            Shape::OneOf(choices) => choices.iter().any(|choice| choice.any(test)),
            _ => test(self),
        }
    }
}

/// Writes the shape of a mapping: `required` or `optional`, key, definition.
macro_rules! mapping {
    (@is required) => { true };
    (@is optional) => { false };
    (others: $others:expr) => {
        $crate::workflow::schema::Shape::Mapping { properties: &[], others: Some(&$others) }
    };
    ($($need:ident $key:literal: $definition:expr),+ $(,)? $(; others: $others:expr)?) => {
        $crate::workflow::schema::Shape::Mapping {
            properties: &[$($crate::workflow::schema::Property {
                key: $key,
                is_required: mapping!(@is $need),
                definition: &$definition,
            }),+],
            others: mapping!(@others $($others)?),
        }
    };
    (@others $others:expr) => { Some(&$others) };
    (@others) => { None };
}
use mapping;

pub(super) static ANY: Definition = Definition::of(Shape::Any);
static APART: Definition = Definition::of(Shape::Apart);
static NULL: Definition = Definition::of(Shape::Null);
static BOOLEAN: Definition = Definition::of(Shape::Boolean);
static NUMBER: Definition = Definition::of(Shape::Number);
static TEXT: Definition = Definition::of(Shape::Text);
static FILLED: Definition = Definition::of(Shape::Filled);
static FILLED_LIST: Definition = Definition::of(Shape::Sequence(&FILLED));
static FILLED_OR_LIST: Definition = Definition::of(Shape::OneOf(&[&FILLED, &FILLED_LIST]));
