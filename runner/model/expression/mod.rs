//! GitHub's expression language: `${{ }}` text to values.
//!
//! [`Expression`] is the text between the brackets, [`Template`] text around and in between,
//! [`condition`] the text of an `if:`. Reading takes any name; [`Names`] says which contexts and
//! functions a place offers. Evaluation asks a [`Scope`] for contexts, for the state of the job and
//! for hashes of files, and does nothing else: the room touches no file.
//!
//! The rules are those of GitHub's own implementation: loose comparison by kinds, text without case
//! by upper-case folding, 15 digits, 50 levels, 21,000 characters, 10 MiB.

mod condition;
mod error;
mod evaluate;
mod fold;
mod functions;
mod hash_files;
mod json;
mod lexer;
mod names;
mod number;
mod object;
mod parser;
mod template;
#[cfg(test)]
mod tests;
mod tree;
mod value;

pub use condition::{Condition, ConditionForm, condition, condition_with};
pub use error::{EvaluationError, MAX_DEPTH, MAX_LENGTH, MAX_MEMORY, ParseError, ParseErrorKind};
pub use evaluate::Scope;
pub use hash_files::{HashFiles, PatternError};
pub use names::{Function, Names, StatusFunction};
pub use number::{format_number, parse_number};
pub use object::Object;
pub use template::{Part, Template};
pub use tree::{Call, Expression, Reference, Step};
pub use value::{Array, Value, ValueKind};
