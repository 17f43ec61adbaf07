//! Objects of the expression language: ordered names, looked up without case.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use indexmap::{Equivalent, IndexMap};

use super::{
    fold::{self, fold_char},
    value::Value,
};

/// A name that equals its other spellings.
#[derive(Debug, Clone)]
struct Caseless(Arc<str>);

/// A borrowed name to look one up with.
struct Spelling<'a>(&'a str);

fn hash_folded<H: Hasher>(name: &str, state: &mut H) {
    for c in name.chars() {
        state.write_u32(fold_char(c) as u32);
    }
}

impl Hash for Caseless {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_folded(&self.0, state);
    }
}

impl PartialEq for Caseless {
    fn eq(&self, other: &Self) -> bool {
        fold::equal(&self.0, &other.0)
    }
}

impl Eq for Caseless {}

impl Hash for Spelling<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_folded(self.0, state);
    }
}

impl Equivalent<Caseless> for Spelling<'_> {
    fn equivalent(&self, key: &Caseless) -> bool {
        fold::equal(self.0, &key.0)
    }
}

#[derive(Debug, Clone)]
enum Entries {
    Caseless(IndexMap<Caseless, Value>),
    Exact(IndexMap<Arc<str>, Value>),
}

/// Names with values, in the order in which they were put in.
///
/// Names are looked up without case. [`case_sensitive`](Self::case_sensitive) makes the exception
/// that the `env` context is on Linux.
#[derive(Debug, Clone)]
pub struct Object {
    entries: Entries,
}

impl Default for Object {
    fn default() -> Self {
        Self::new()
    }
}

impl Object {
    /// Makes an empty object.
    pub fn new() -> Self {
        Self {
            entries: Entries::Caseless(IndexMap::new()),
        }
    }

    /// Makes an empty object whose names differ by case, as the `env` context does on Linux.
    pub fn case_sensitive() -> Self {
        Self {
            entries: Entries::Exact(IndexMap::new()),
        }
    }

    /// Puts a value in; a name that is there keeps its place and spelling and gets the new value.
    pub fn insert(&mut self, name: impl Into<Arc<str>>, value: impl Into<Value>) {
        match &mut self.entries {
            Entries::Caseless(map) => {
                map.insert(Caseless(name.into()), value.into());
            }
            Entries::Exact(map) => {
                map.insert(name.into(), value.into());
            }
        }
    }

    /// Puts a value in and gives the object back.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.insert(name, value);
        self
    }

    /// Takes a value out, keeping the order of the others.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        match &mut self.entries {
            Entries::Caseless(map) => map.shift_remove(&Spelling(name)),
            Entries::Exact(map) => map.shift_remove(name),
        }
    }

    /// Looks up a value.
    pub fn get(&self, name: &str) -> Option<&Value> {
        match &self.entries {
            Entries::Caseless(map) => map.get(&Spelling(name)),
            Entries::Exact(map) => map.get(name),
        }
    }

    /// Tells how many names there are.
    pub fn len(&self) -> usize {
        match &self.entries {
            Entries::Caseless(map) => map.len(),
            Entries::Exact(map) => map.len(),
        }
    }

    /// Tells whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Goes through names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        let (caseless, exact) = match &self.entries {
            Entries::Caseless(map) => (Some(map), None),
            Entries::Exact(map) => (None, Some(map)),
        };
        let caseless = caseless.into_iter().flatten();
        let exact = exact.into_iter().flatten();
        caseless
            .map(|(name, value)| (name.0.as_ref(), value))
            .chain(exact.map(|(name, value)| (name.as_ref(), value)))
    }

    /// Goes through the values in order.
    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.iter().map(|(_, value)| value)
    }
}

impl<N: Into<Arc<str>>, V: Into<Value>> FromIterator<(N, V)> for Object {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let mut object = Self::new();
        for (name, value) in pairs {
            object.insert(name, value);
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_keep_their_order_and_spelling() {
        let object = Object::new()
            .with("Beta", 1)
            .with("alpha", 2)
            .with("BETA", 3);
        assert_eq!(object.len(), 2);
        assert_eq!(object.get("beta").map(Value::to_number), Some(3.0));
        let names: Vec<&str> = object.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["Beta", "alpha"]);
        assert!(object.get("gamma").is_none());
    }

    #[test]
    fn a_case_sensitive_object_tells_spellings_apart() {
        let mut object = Object::case_sensitive();
        object.insert("path", "a");
        object.insert("PATH", "b");
        assert_eq!(object.get("PATH").and_then(Value::as_str), Some("b"));
        assert!(object.get("Path").is_none());
        assert!(object.remove("path").is_some());
        assert_eq!(object.len(), 1);
    }
}
