//! Typed access to the keys of a hash, with Kamal's rules of what is a string.
//!
//! Kamal takes texts, numbers and booleans for a string, only YAML integers for an integer, and
//! refuses a key without value.

use std::time::Duration;

use indexmap::IndexMap;

use super::diagnostics::{Findings, in_context, join};
use super::setting::{Scalar, Setting, Value};

/// A hash that is being read: its path of keys, and where problems go.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    pub(super) context: String,
    pub(super) setting: &'a Setting,
    pub(super) found: &'a Findings,
}

impl<'a> Fields<'a> {
    /// Opens a hash and reports keys that are not among `known`; anything else than a hash is an error.
    pub(super) fn open(
        setting: &'a Setting,
        context: impl Into<String>,
        known: &[&str],
        found: &'a Findings,
    ) -> Option<Self> {
        let fields = Self {
            context: context.into(),
            setting,
            found,
        };
        if !setting.is_hash() {
            fields.type_error(setting, &fields.context, "a hash");
            return None;
        }
        let unknown: Vec<_> = setting
            .pairs()
            .iter()
            .filter(|pair| !known.contains(&pair.key.as_str()))
            .map(|pair| (pair.key.as_str(), &pair.key_place))
            .collect();
        found.unknown_keys(&fields.context, &unknown, known);
        Some(fields)
    }

    /// Opens the hash below `key`, if the key is there.
    pub(super) fn hash(&self, key: &str, known: &[&str]) -> Option<Self> {
        let setting = self.setting.get(key)?;
        Fields::open(setting, self.path(key), known, self.found)
    }

    pub(super) fn path(&self, key: &str) -> String {
        join(&self.context, key)
    }

    pub(super) fn error(&self, code: &'static str, key: &str, message: &str) {
        let place = self
            .setting
            .get(key)
            .map_or(&self.setting.place, |setting| &setting.place);
        self.found
            .error(code, place, in_context(&self.context, message));
    }

    fn type_error(&self, setting: &Setting, context: &str, expected: &str) {
        let message = in_context(context, &format!("should be {expected}"));
        self.found.error("wrong-type", &setting.place, message);
    }

    pub(super) fn scalar(&self, key: &str) -> Option<&'a Scalar> {
        let setting = self.setting.get(key)?;
        let scalar = setting.as_scalar();
        if scalar.is_none() {
            self.type_error(setting, &self.path(key), "a string");
        }
        scalar
    }

    pub(super) fn string(&self, key: &str) -> Option<String> {
        self.scalar(key).map(ToString::to_string)
    }

    pub(super) fn boolean(&self, key: &str) -> Option<bool> {
        let setting = self.setting.get(key)?;
        let value = setting.as_boolean();
        if value.is_none() {
            self.type_error(setting, &self.path(key), "a boolean");
        }
        value
    }

    pub(super) fn integer(&self, key: &str) -> Option<i64> {
        let setting = self.setting.get(key)?;
        match setting.as_scalar() {
            Some(Scalar::Integer(value)) => Some(*value),
            _ => {
                self.type_error(setting, &self.path(key), "an integer");
                None
            }
        }
    }

    /// Reads a whole number that may not be negative.
    pub(super) fn count(&self, key: &str) -> Option<u64> {
        let value = self.integer(key)?;
        let count = u64::try_from(value).ok();
        if count.is_none() {
            self.invalid(key, "should not be negative");
        }
        count
    }

    /// Reads a whole number of seconds.
    pub(super) fn seconds(&self, key: &str) -> Option<Duration> {
        self.count(key).map(Duration::from_secs)
    }

    /// Reads a port number.
    pub(super) fn port(&self, key: &str) -> Option<u16> {
        let value = self.integer(key)?;
        let port = u16::try_from(value).ok().filter(|port| *port > 0);
        if port.is_none() {
            self.invalid(key, "should be a port between 1 and 65535");
        }
        port
    }

    /// Reports a value that has the right type and cannot be.
    pub(super) fn invalid(&self, key: &str, message: &str) {
        let place = self
            .setting
            .get(key)
            .map_or(&self.setting.place, |setting| &setting.place);
        self.found
            .error("invalid-value", place, in_context(&self.path(key), message));
    }

    /// Reads an array of strings.
    pub(super) fn strings(&self, key: &str) -> Option<Vec<String>> {
        let setting = self.setting.get(key)?;
        self.strings_of(setting, &self.path(key))
    }

    pub(super) fn strings_of(&self, setting: &Setting, context: &str) -> Option<Vec<String>> {
        let Some(items) = setting.as_list() else {
            self.type_error(setting, context, "an array");
            return None;
        };
        let mut texts = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match item.as_scalar() {
                Some(scalar) => texts.push(scalar.to_string()),
                None => self.type_error(item, &join(context, &index.to_string()), "a string"),
            }
        }
        Some(texts)
    }

    /// Reads a string or an array of strings.
    pub(super) fn string_or_strings(&self, key: &str) -> Option<Vec<String>> {
        let setting = self.setting.get(key)?;
        let texts = match &setting.value {
            Value::Scalar(scalar) => Some(vec![scalar.to_string()]),
            Value::List(items) => items
                .iter()
                .map(|item| item.as_scalar().map(ToString::to_string))
                .collect(),
            Value::Null | Value::Hash(_) => None,
        };
        if texts.is_none() {
            self.type_error(setting, &self.path(key), "an array or a string");
        }
        texts
    }

    /// Reads a hash of strings, with their types.
    pub(super) fn scalars(&self, key: &str) -> Option<IndexMap<String, Scalar>> {
        let setting = self.setting.get(key)?;
        self.scalars_of(setting, &self.path(key))
    }

    pub(super) fn scalars_of(
        &self,
        setting: &Setting,
        context: &str,
    ) -> Option<IndexMap<String, Scalar>> {
        if !setting.is_hash() {
            self.type_error(setting, context, "a hash");
            return None;
        }
        let mut values = IndexMap::new();
        for pair in setting.pairs() {
            match pair.value.as_scalar() {
                Some(scalar) => {
                    values.insert(pair.key.clone(), scalar.clone());
                }
                None => self.type_error(&pair.value, &join(context, &pair.key), "a string"),
            }
        }
        Some(values)
    }

    /// Reads a hash of strings as texts.
    pub(super) fn texts(&self, key: &str) -> Option<IndexMap<String, String>> {
        let values = self.scalars(key)?;
        let texts = values
            .into_iter()
            .map(|(key, value)| (key, value.to_string()))
            .collect();
        Some(texts)
    }

    /// Reports a value of the wrong type at a place below this hash.
    pub(super) fn wrong_type(&self, setting: &Setting, context: &str, expected: &str) {
        self.type_error(setting, context, expected);
    }
}
