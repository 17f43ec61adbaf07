//! Values of the expression language, and how they compare and turn into one another.

use std::{cmp::Ordering, ops::Deref, sync::Arc};

use super::{
    fold,
    number::{format_number, parse_number},
    object::Object,
};

/// The kind of a value, by GitHub's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueKind {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Boolean,
    /// A double.
    Number,
    /// Text.
    String,
    /// A list.
    Array,
    /// Names with values.
    Object,
}

impl ValueKind {
    /// Tells the kind's name, as `Boolean`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "Null",
            Self::Boolean => "Boolean",
            Self::Number => "Number",
            Self::String => "String",
            Self::Array => "Array",
            Self::Object => "Object",
        }
    }
}

/// A list of values; it reads as a slice.
#[derive(Debug, Default)]
pub struct Array {
    items: Vec<Value>,
    /// Made by `.*`: an index goes into each item.
    filtered: bool,
}

impl Array {
    pub(super) fn is_filtered(&self) -> bool {
        self.filtered
    }
}

impl Deref for Array {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        &self.items
    }
}

/// A value of the expression language.
///
/// Texts, arrays and objects are shared: a clone is one counter. Values have no `==` of Rust, since
/// the language's own [`loosely_equals`](Self::loosely_equals) is none (`NaN`, two equal arrays).
#[derive(Debug, Clone, Default)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A double.
    Number(f64),
    /// Text.
    String(Arc<str>),
    /// A list, equal only to itself.
    Array(Arc<Array>),
    /// Names with values, equal only to itself.
    Object(Arc<Object>),
}

impl Value {
    /// Makes an array.
    pub fn array(items: Vec<Self>) -> Self {
        Self::Array(Arc::new(Array {
            items,
            filtered: false,
        }))
    }

    pub(super) fn filtered_array(items: Vec<Self>) -> Self {
        Self::Array(Arc::new(Array {
            items,
            filtered: true,
        }))
    }

    /// Tells the kind.
    pub fn kind(&self) -> ValueKind {
        match self {
            Self::Null => ValueKind::Null,
            Self::Boolean(_) => ValueKind::Boolean,
            Self::Number(_) => ValueKind::Number,
            Self::String(_) => ValueKind::String,
            Self::Array(_) => ValueKind::Array,
            Self::Object(_) => ValueKind::Object,
        }
    }

    /// Tells whether the value is neither an array nor an object.
    pub fn is_primitive(&self) -> bool {
        !matches!(self, Self::Array(_) | Self::Object(_))
    }

    /// Tells whether `if:` and `&&` take the value for true.
    ///
    /// False are null, `false`, 0, NaN and the empty text; every array and object is true.
    pub fn is_truthy(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Boolean(boolean) => *boolean,
            Self::Number(number) => *number != 0.0 && !number.is_nan(),
            Self::String(text) => !text.is_empty(),
            Self::Array(_) | Self::Object(_) => true,
        }
    }

    /// Writes the value as it appears in text: null is empty, a collection is the name of its kind.
    pub fn to_display_string(&self) -> String {
        self.to_text().as_ref().to_owned()
    }

    /// Does the same as [`to_display_string`](Self::to_display_string), sharing text that exists.
    pub fn to_text(&self) -> Arc<str> {
        match self {
            Self::Null => Arc::from(""),
            Self::Boolean(true) => Arc::from("true"),
            Self::Boolean(false) => Arc::from("false"),
            Self::Number(number) => format_number(*number).into(),
            Self::String(text) => Arc::clone(text),
            Self::Array(_) => Arc::from("Array"),
            Self::Object(_) => Arc::from("Object"),
        }
    }

    /// Turns the value into a number: null and `false` are 0, `true` is 1, text is read, a
    /// collection is NaN.
    pub fn to_number(&self) -> f64 {
        match self {
            Self::Null => 0.0,
            Self::Boolean(boolean) => f64::from(u8::from(*boolean)),
            Self::Number(number) => *number,
            Self::String(text) => parse_number(text),
            Self::Array(_) | Self::Object(_) => f64::NAN,
        }
    }

    /// Tells what `==` says of two values.
    ///
    /// Two values of one kind compare as such, text without case, collections by identity; values
    /// of different kinds as numbers, but a collection equals nothing else.
    pub fn loosely_equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Boolean(left), Self::Boolean(right)) => left == right,
            (Self::Number(left), Self::Number(right)) => left == right,
            (Self::String(left), Self::String(right)) => fold::equal(left, right),
            (Self::Array(left), Self::Array(right)) => Arc::ptr_eq(left, right),
            (Self::Object(left), Self::Object(right)) => Arc::ptr_eq(left, right),
            (left, right) if left.is_primitive() && right.is_primitive() => {
                left.to_number() == right.to_number()
            }
            _ => false,
        }
    }

    /// Tells how `<` and `>` order two values; `None` where both are false.
    ///
    /// Null is not ordered against null, nor a collection against anything.
    pub fn loosely_compares(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Null, Self::Null) => None,
            (Self::Boolean(left), Self::Boolean(right)) => Some(left.cmp(right)),
            (Self::Number(left), Self::Number(right)) => left.partial_cmp(right),
            (Self::String(left), Self::String(right)) => Some(fold::compare(left, right)),
            (left, right) if left.is_primitive() && right.is_primitive() => {
                left.to_number().partial_cmp(&right.to_number())
            }
            _ => None,
        }
    }

    /// Looks up a name in an object; `None` if there is none or the value is no object.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(object) => object.get(name),
            _ => None,
        }
    }

    /// Gives the text of a String.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Gives the items of an Array.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// Gives the pairs of an Object.
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }
}

impl From<bool> for Value {
    fn from(boolean: bool) -> Self {
        Self::Boolean(boolean)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Number(f64::from(number))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Number(f64::from(number))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

impl From<Arc<str>> for Value {
    fn from(text: Arc<str>) -> Self {
        Self::String(text)
    }
}

impl From<Vec<Self>> for Value {
    fn from(items: Vec<Self>) -> Self {
        Self::array(items)
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Self::Object(Arc::new(object))
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
