//! The merged tree of a configuration: every value knows its file and its place there.

use std::fmt;

use super::diagnostics::{FileDiagnostic, Findings};
use crate::diagnostic::{Diagnostic, Span};
use crate::yaml::{Kind, Node, Style};

/// A place in one of the files that were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as its path was given.
    pub file: String,
    /// Where in it.
    pub span: Span,
}

/// A single value with its YAML type, which Ruby keeps and prints back.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// Text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// True or false.
    Boolean(bool),
}

impl Scalar {
    /// Tells whether it is an empty text, which Kamal treats as no value.
    pub fn is_blank(&self) -> bool {
        matches!(self, Self::Text(text) if text.trim().is_empty())
    }

    /// Returns the value for JSON, with its type.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => text.clone().into(),
            Self::Integer(value) => (*value).into(),
            Self::Float(value) => (*value).into(),
            Self::Boolean(value) => (*value).into(),
        }
    }
}

impl fmt::Display for Scalar {
    /// Writes the value as Ruby's `to_s` does: `1.0` keeps its fraction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Boolean(value) => write!(f, "{value}"),
        }
    }
}

/// A node of the merged tree.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting {
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Scalar(Scalar),
    List(Vec<Setting>),
    Hash(Vec<Pair>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pair {
    pub(super) key: String,
    pub(super) key_place: Place,
    pub(super) value: Setting,
}

impl Setting {
    /// Returns the value of `key` if this is a hash that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.pair(key).map(|pair| &pair.value)
    }

    pub(super) fn pair(&self, key: &str) -> Option<&Pair> {
        self.pairs().iter().find(|pair| pair.key == key)
    }

    /// Returns the pairs of a hash, none for anything else.
    pub(super) fn pairs(&self) -> &[Pair] {
        match &self.value {
            Value::Hash(pairs) => pairs,
            _ => &[],
        }
    }

    pub(super) fn as_scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    pub(super) fn as_list(&self) -> Option<&[Self]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn as_boolean(&self) -> Option<bool> {
        match self.as_scalar() {
            Some(Scalar::Boolean(value)) => Some(*value),
            _ => None,
        }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match self.as_scalar() {
            Some(Scalar::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn is_hash(&self) -> bool {
        matches!(self.value, Value::Hash(_))
    }

    /// Tells whether Rails would call the value blank: nothing, empty, or false.
    pub(super) fn is_blank(&self) -> bool {
        match &self.value {
            Value::Null | Value::Scalar(Scalar::Boolean(false)) => true,
            Value::Scalar(scalar) => scalar.is_blank(),
            Value::List(items) => items.is_empty(),
            Value::Hash(pairs) => pairs.is_empty(),
        }
    }

    /// Sets `key` in a hash; what stands there is replaced.
    pub(super) fn set(&mut self, key: &str, value: Self) {
        if let Value::Hash(pairs) = &mut self.value {
            match pairs.iter_mut().find(|pair| pair.key == key) {
                Some(pair) => pair.value = value,
                None => pairs.push(Pair {
                    key: key.to_owned(),
                    key_place: value.place.clone(),
                    value,
                }),
            }
        }
    }

    /// Takes `key` out of a hash.
    pub(super) fn take(&mut self, key: &str) -> Option<Pair> {
        match &mut self.value {
            Value::Hash(pairs) => {
                let at = pairs.iter().position(|pair| pair.key == key)?;
                Some(pairs.remove(at))
            }
            _ => None,
        }
    }

    /// Lays `other` over this one: hashes merge, everything else is replaced.
    ///
    /// Source: Kamal merges the destination's file with Rails' `deep_merge`.
    #[must_use]
    pub(super) fn overlaid_with(mut self, other: Self) -> Self {
        match (&mut self.value, other.value) {
            (Value::Hash(pairs), Value::Hash(over)) => {
                for pair in over {
                    match pairs.iter_mut().find(|known| known.key == pair.key) {
                        Some(known) => {
                            let below = std::mem::replace(&mut known.value.value, Value::Null);
                            let below = Self {
                                place: known.value.place.clone(),
                                value: below,
                            };
                            known.value = below.overlaid_with(pair.value);
                            known.key_place = pair.key_place;
                        }
                        None => pairs.push(pair),
                    }
                }
                self
            }
            (_, value) => Self {
                place: other.place,
                value,
            },
        }
    }

    pub(super) fn scalar(place: &Place, scalar: Scalar) -> Self {
        Self {
            place: place.clone(),
            value: Value::Scalar(scalar),
        }
    }

    pub(super) fn empty_hash(place: &Place) -> Self {
        Self {
            place: place.clone(),
            value: Value::Hash(Vec::new()),
        }
    }
}

/// Turns a file's tree into settings; `place` gives each span its place in the file.
pub(super) fn from_node(node: &Node, place: &dyn Fn(&Span) -> Place, found: &Findings) -> Setting {
    let here = place(&node.span);
    let value = match &node.kind {
        Kind::Null => Value::Null,
        Kind::Boolean(value) => Value::Scalar(Scalar::Boolean(*value)),
        Kind::Integer(value) => {
            if node.text.contains(':') {
                warn_of_base_60(&node.text, *value, &here, found);
            }
            Value::Scalar(Scalar::Integer(*value))
        }
        Kind::Float(value) => Value::Scalar(Scalar::Float(*value)),
        Kind::String => Value::Scalar(Scalar::Text(text_of(node))),
        Kind::Sequence(items) => Value::List(
            items
                .iter()
                .map(|item| from_node(item, place, found))
                .collect(),
        ),
        Kind::Mapping(mapping) => {
            let mut pairs = Vec::new();
            for entry in mapping.iter() {
                let key_place = place(&entry.key.span);
                if !entry.key.is_scalar() {
                    found.error("wrong-type", &key_place, "a key should be a string");
                    continue;
                }
                pairs.push(Pair {
                    key: text_of(&entry.key),
                    key_place,
                    value: from_node(&entry.value, place, found),
                });
            }
            Value::Hash(pairs)
        }
    };
    Setting { place: here, value }
}

/// Returns the text of a scalar; a plain `:word` is a Ruby symbol and loses its colon.
fn text_of(node: &Node) -> String {
    match node.text.strip_prefix(':') {
        Some(symbol) if node.style == Style::Plain && !symbol.is_empty() => symbol.to_owned(),
        _ => node.text.clone(),
    }
}

fn warn_of_base_60(text: &str, value: i64, place: &Place, found: &Findings) {
    let message = format!("`{text}` is the number {value} in YAML 1.1");
    let hint = format!("write it in quotes, `\"{text}\"`, if it is meant as text");
    found.add(FileDiagnostic {
        file: place.file.clone(),
        diagnostic: Diagnostic::warning("base-60-number", &place.span, message).with_hint(hint),
    });
}
