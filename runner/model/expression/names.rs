//! Functions and contexts by name, and which of them may be used at a place.

use super::{error::ParseErrorKind, fold};

/// A function that asks for the state of the job or of the jobs before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatusFunction {
    /// `success()`
    Success,
    /// `failure()`
    Failure,
    /// `cancelled()`
    Cancelled,
    /// `always()`
    Always,
}

/// A function of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Function {
    /// `case(condition, value, …, default)`
    Case,
    /// `contains(search, item)`
    Contains,
    /// `startsWith(search, text)`
    StartsWith,
    /// `endsWith(search, text)`
    EndsWith,
    /// `format(text, …)`
    Format,
    /// `join(array, separator)`
    Join,
    /// `toJSON(value)`
    ToJson,
    /// `fromJSON(text)`
    FromJson,
    /// `hashFiles(pattern, …)`
    HashFiles,
    /// `success()`, `failure()`, `cancelled()`, `always()`
    Status(StatusFunction),
}

/// The most arguments that a function without a limit takes.
const MANY: usize = 255;

/// Functions that are offered everywhere, with the least and most arguments.
const WELL_KNOWN: [(&str, Function, usize, usize); 8] = [
    ("case", Function::Case, 3, MANY),
    ("contains", Function::Contains, 2, 2),
    ("endsWith", Function::EndsWith, 2, 2),
    ("format", Function::Format, 1, MANY),
    ("fromJSON", Function::FromJson, 1, 1),
    ("join", Function::Join, 1, 2),
    ("startsWith", Function::StartsWith, 2, 2),
    ("toJSON", Function::ToJson, 1, 1),
];

/// Functions that are offered at some places.
const OFFERED: [(&str, Function); 5] = [
    ("always", Function::Status(StatusFunction::Always)),
    ("cancelled", Function::Status(StatusFunction::Cancelled)),
    ("failure", Function::Status(StatusFunction::Failure)),
    ("hashFiles", Function::HashFiles),
    ("success", Function::Status(StatusFunction::Success)),
];

impl Function {
    /// Finds a function by its name, without case.
    pub fn by_name(name: &str) -> Option<Self> {
        let well_known = WELL_KNOWN
            .iter()
            .map(|(known, function, ..)| (*known, *function));
        well_known
            .chain(OFFERED)
            .find(|(known, _)| fold::equal(known, name))
            .map(|(_, function)| function)
    }
}

#[derive(Debug, Clone)]
struct Offered {
    name: Box<str>,
    least: usize,
    most: usize,
}

/// The contexts and functions that may be used at a place.
///
/// GitHub offers other names at each key of a workflow file; the eight plain functions (`case`,
/// `contains`, `endsWith`, `format`, `fromJSON`, `join`, `startsWith`, `toJSON`) are offered
/// everywhere.
#[derive(Debug, Clone, Default)]
pub struct Names {
    any: bool,
    contexts: Vec<Box<str>>,
    functions: Vec<Offered>,
}

impl Names {
    /// Takes every context and every function, with any number of arguments: grammar alone.
    pub fn any() -> Self {
        Self {
            any: true,
            ..Self::default()
        }
    }

    /// Takes the given contexts and functions, written as in GitHub's workflow schema: a context
    /// is its name, a function has its least and most arguments, as `success(0,MAX)`.
    pub fn new<'a>(entries: impl IntoIterator<Item = &'a str>) -> Self {
        let mut names = Self::default();
        for entry in entries {
            match entry.split_once('(') {
                None => names.contexts.push(entry.trim().into()),
                Some((name, counts)) => {
                    let (least, most) = counts.split_once(',').unwrap_or((counts, counts));
                    let count = |text: &str| {
                        let text = text.trim_matches(|c: char| c == ')' || c.is_whitespace());
                        text.parse().unwrap_or(usize::MAX)
                    };
                    names.functions.push(Offered {
                        name: name.trim().into(),
                        least: count(least),
                        most: count(most),
                    });
                }
            }
        }
        names
    }

    /// Tells whether a context may be used, without case.
    pub fn has_context(&self, name: &str) -> bool {
        self.any || self.contexts.iter().any(|known| fold::equal(known, name))
    }

    /// Tells whether a function may be used, without case.
    pub fn has_function(&self, name: &str) -> bool {
        self.any || self.counts(name).is_some()
    }

    /// Gives the contexts that may be used.
    pub fn contexts(&self) -> impl Iterator<Item = &str> {
        self.contexts.iter().map(AsRef::as_ref)
    }

    /// Gives the functions that may be used, beside those that are offered everywhere.
    pub fn functions(&self) -> impl Iterator<Item = &str> {
        self.functions.iter().map(|offered| offered.name.as_ref())
    }

    fn counts(&self, name: &str) -> Option<(usize, usize)> {
        let well_known = WELL_KNOWN
            .iter()
            .find(|(known, ..)| fold::equal(known, name))
            .map(|(_, _, least, most)| (*least, *most));
        well_known.or_else(|| {
            self.functions
                .iter()
                .find(|offered| fold::equal(&offered.name, name))
                .map(|offered| (offered.least, offered.most))
        })
    }

    /// Checks that a function may be used with this many arguments.
    pub(super) fn check_call(&self, name: &str, arguments: usize) -> Result<(), ParseErrorKind> {
        if self.any {
            return Ok(());
        }
        let Some((least, most)) = self.counts(name) else {
            return Err(ParseErrorKind::UnrecognizedFunction);
        };
        if arguments < least {
            return Err(ParseErrorKind::TooFewParameters);
        }
        if arguments > most {
            return Err(ParseErrorKind::TooManyParameters);
        }
        if Function::by_name(name) == Some(Function::Case) && arguments.is_multiple_of(2) {
            return Err(ParseErrorKind::EvenParameters);
        }
        Ok(())
    }
}
