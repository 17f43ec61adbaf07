//! The keys of a mapping: which are known, which exclude each other, which must be there.

use crate::diagnostic::{Diagnostic, Span, nearest};
use crate::workflow::schema::{Definition, Property, Shape};

use super::reader::Place;

/// The keys that a mapping can still have, as they are found.
pub(super) struct Keys {
    pub(super) open: Vec<Shaped>,
    closed: Vec<Shaped>,
    pub(super) seen: Vec<&'static str>,
    pub(super) has_expression: bool,
}

/// One of the mappings that a definition allows.
#[derive(Clone, Copy)]
pub(super) struct Shaped {
    pub(super) properties: &'static [Property],
    others: Option<&'static Definition>,
}

impl Shaped {
    fn get(self, key: &str) -> Option<&'static Property> {
        self.properties.iter().find(|property| property.key == key)
    }
}

impl Keys {
    pub(super) fn of(definition: &'static Definition) -> Self {
        let mut open = Vec::new();
        definition.any(&mut |choice| {
            match choice.shape {
                Shape::Mapping { properties, others } => open.push(Shaped { properties, others }),
                Shape::Any => open.push(Shaped {
                    properties: &[],
                    others: Some(choice),
                }),
                _ => {}
            }
            false
        });
        Self {
            open,
            closed: Vec::new(),
            seen: Vec::new(),
            has_expression: false,
        }
    }

    /// Returns the known key and drops the mappings that do not have it.
    pub(super) fn take(&mut self, key: &str) -> Option<&'static Property> {
        let property = self.open.iter().find_map(|open| open.get(key))?;
        let (open, closed) = self.open.iter().partition(|open| open.get(key).is_some());
        self.open = open;
        self.closed.extend::<Vec<Shaped>>(closed);
        self.seen.push(property.key);
        Some(property)
    }

    pub(super) fn others(&self) -> Option<&'static Definition> {
        self.open.first().and_then(|open| open.others)
    }

    /// Returns what any key may hold, of mappings without known keys.
    pub(super) fn others_alone(&self) -> Option<&'static Definition> {
        match self.open.as_slice() {
            [only] if only.properties.is_empty() => only.others,
            _ => None,
        }
    }

    pub(super) fn unknown(&self, key: &str, span: &Span, place: Place<'_>) -> Diagnostic {
        let stranger = self.closed.iter().find(|closed| closed.get(key).is_some());
        let rival = stranger.and_then(|closed| {
            self.seen
                .iter()
                .find(|seen| closed.get(seen).is_none())
                .copied()
        });
        if let Some(rival) = rival {
            let message = format!("`{key}` cannot stand beside `{rival}` in {place}");
            return Diagnostic::error("conflicting-key", span, message);
        }
        let known = self
            .open
            .iter()
            .flat_map(|open| open.properties.iter().map(|property| property.key));
        let problem = Diagnostic::error(
            "unknown-key",
            span,
            format!("unknown key `{key}` in {place}"),
        );
        match nearest(key, known) {
            Some(word) => problem.with_hint(format!("did you mean `{word}`?")),
            None if key == "<<" => {
                problem.with_hint("GitHub does not merge mappings; repeat the keys")
            }
            None => problem,
        }
    }
}
