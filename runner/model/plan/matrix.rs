//! The cells of a job's matrix: the product of its vectors, without `exclude`, with `include`.

use std::sync::Arc;

use thiserror::Error;

use super::name::{self, Ids};
use crate::expression::{Object, Value};

/// How many jobs a matrix may have, as on GitHub.
pub const MOST_CELLS: usize = 256;

/// How many combinations are gone through before `exclude` has taken any away.
const MOST_COMBINATIONS: usize = 1_000_000;

/// One combination of a matrix; it becomes one job.
#[derive(Debug, Clone)]
pub struct Cell {
    /// The `matrix` context of the job.
    values: Object,
    /// The values that its name shows.
    shown: Vec<Arc<str>>,
}

impl Cell {
    /// Returns the `matrix` context of the job: the keys of the product, then those of `include`.
    pub fn values(&self) -> &Object {
        &self.values
    }

    /// Returns the values that the job's name shows, without those that `include` added.
    pub fn shown(&self) -> &[Arc<str>] {
        &self.shown
    }

    /// Returns the name of the job, as `test (3.3, postgres)`.
    ///
    /// For a job whose `name` is plain text or missing; a name with expressions in it is evaluated
    /// with this cell's values and shown without them.
    pub fn name(&self, job: &str) -> String {
        name::with_values(job, &self.shown)
    }

    /// Returns an id for the job that differs from those of the other cells.
    pub fn id(&self, ids: &mut Ids) -> String {
        ids.make(&self.shown, name::LONGEST_ID)
    }
}

/// A matrix could not be expanded; the workflow's author is at fault, or what made the matrix.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MatrixError {
    /// The matrix is something else than names with values.
    #[error("the matrix is not a mapping but {kind}")]
    NotMapping {
        /// What it is, as `String`.
        kind: &'static str,
    },
    /// A vector, `include` or `exclude` is something else than a list.
    #[error("`{key}` of the matrix is not a sequence but {kind}")]
    NotSequence {
        /// The key in the matrix.
        key: String,
        /// What it is, as `String`.
        kind: &'static str,
    },
    /// A vector without values; the product would be empty.
    #[error("vector `{key}` of the matrix has no values")]
    EmptyVector {
        /// The key in the matrix.
        key: String,
    },
    /// An item of `include` or `exclude` is something else than names with values.
    #[error("item {number} of `{key}` is not a mapping but {kind}")]
    ItemNotMapping {
        /// `include` or `exclude`.
        key: &'static str,
        /// Which item, from 1.
        number: usize,
        /// What it is, as `String`.
        kind: &'static str,
    },
    /// An item of `include` or `exclude` without names.
    #[error("item {number} of `{key}` is empty")]
    EmptyItem {
        /// `include` or `exclude`.
        key: &'static str,
        /// Which item, from 1.
        number: usize,
    },
    /// A name in `exclude` that no vector has; it would exclude nothing.
    #[error("`{name}` in item {number} of `exclude` is no key of the matrix")]
    UnknownExclude {
        /// The name.
        name: String,
        /// Which item, from 1.
        number: usize,
    },
    /// Neither a vector nor an item of `include`.
    #[error("the matrix has neither a vector nor an item in `include`")]
    Nothing,
    /// More jobs than a run may have.
    #[error("the matrix makes more than {limit} jobs")]
    TooMany {
        /// How many are allowed.
        limit: usize,
    },
}

/// Expands a matrix to at most [`MOST_CELLS`] cells, in the order in which GitHub makes the jobs.
///
/// Values compare as `==` of the expression language does: `'2'` fits `2`, the case of letters
/// does not matter, and an object in `include` or `exclude` fits every object that has its leaves.
pub fn expand(matrix: &Value) -> Result<Vec<Cell>, MatrixError> {
    expand_up_to(matrix, MOST_CELLS)
}

/// Does the same as [`expand`] with another limit.
pub fn expand_up_to(matrix: &Value, limit: usize) -> Result<Vec<Cell>, MatrixError> {
    let matrix = Matrix::read(matrix)?;
    let mut cells = Vec::new();
    let mut push = |cell| {
        if cells.len() == limit {
            return Err(MatrixError::TooMany { limit });
        }
        cells.push(cell);
        Ok(())
    };
    let mut matched = vec![false; matrix.includes.len()];
    for index in 0..matrix.combinations()? {
        let mut values = matrix.combination(index);
        if matrix.excludes.iter().any(|filter| filter.fits(&values)) {
            continue;
        }
        let shown = leaves(&values);
        // All items look at the values of the product alone; what one adds, a later one replaces.
        let mut extras = Vec::new();
        for (include, matched) in matrix.includes.iter().zip(&mut matched) {
            if include.filter.fits(&values) {
                *matched = true;
                extras.extend(include.extras.iter().cloned());
            }
        }
        for (key, value) in extras {
            values.insert(key, value);
        }
        push(Cell { values, shown })?;
    }
    for (include, _) in matrix
        .includes
        .iter()
        .zip(matched)
        .filter(|(_, matched)| !matched)
    {
        let values: Object = include.own.iter().chain(&include.extras).cloned().collect();
        let shown = leaves(&values);
        push(Cell { values, shown })?;
    }
    Ok(cells)
}

type Pair = (Arc<str>, Value);

/// A matrix as it is written, taken apart.
struct Matrix {
    vectors: Vec<(Arc<str>, Vec<Value>)>,
    includes: Vec<Include>,
    excludes: Vec<Filter>,
}

/// An item of `include`.
struct Include {
    filter: Filter,
    /// The names that vectors have.
    own: Vec<Pair>,
    /// The names that no vector has.
    extras: Vec<Pair>,
}

impl Matrix {
    fn read(matrix: &Value) -> Result<Self, MatrixError> {
        let pairs = matrix.as_object().ok_or_else(|| MatrixError::NotMapping {
            kind: matrix.kind().name(),
        })?;
        let mut vectors = Vec::new();
        let (mut include, mut exclude): (&[Value], &[Value]) = (&[], &[]);
        for (key, value) in pairs.iter() {
            let items = value.as_array().ok_or_else(|| MatrixError::NotSequence {
                key: key.to_owned(),
                kind: value.kind().name(),
            })?;
            match key {
                "include" => include = items,
                "exclude" => exclude = items,
                _ if items.is_empty() => {
                    return Err(MatrixError::EmptyVector {
                        key: key.to_owned(),
                    });
                }
                _ => vectors.push((Arc::from(key), items.to_vec())),
            }
        }
        if vectors.is_empty() && include.is_empty() {
            return Err(MatrixError::Nothing);
        }
        // Names are the same whatever their case, as those of any object.
        let names: Object = vectors
            .iter()
            .map(|(name, _)| (Arc::clone(name), Value::Null))
            .collect();
        Ok(Self {
            vectors,
            includes: Self::includes(include, &names)?,
            excludes: Self::excludes(exclude, &names)?,
        })
    }

    fn includes(items: &[Value], names: &Object) -> Result<Vec<Include>, MatrixError> {
        let mut includes = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let pairs = item_pairs("include", index, item)?;
            let (own, extras): (Vec<Pair>, Vec<Pair>) = pairs
                .iter()
                .map(|(key, value)| (Arc::from(key), value.clone()))
                .partition(|(key, _)| names.get(key).is_some());
            includes.push(Include {
                filter: Filter::new(&own),
                own,
                extras,
            });
        }
        Ok(includes)
    }

    fn excludes(items: &[Value], names: &Object) -> Result<Vec<Filter>, MatrixError> {
        let mut filters = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let pairs = item_pairs("exclude", index, item)?;
            if let Some((unknown, _)) = pairs.iter().find(|(key, _)| names.get(key).is_none()) {
                return Err(MatrixError::UnknownExclude {
                    name: unknown.to_owned(),
                    number: index + 1,
                });
            }
            let own: Vec<Pair> = pairs
                .iter()
                .map(|(key, value)| (Arc::from(key), value.clone()))
                .collect();
            filters.push(Filter::new(&own));
        }
        Ok(filters)
    }

    /// Counts the combinations of the vectors; without vectors there are none.
    fn combinations(&self) -> Result<usize, MatrixError> {
        if self.vectors.is_empty() {
            return Ok(0);
        }
        self.vectors
            .iter()
            .try_fold(1_usize, |product, (_, values)| {
                product.checked_mul(values.len())
            })
            .filter(|product| *product <= MOST_COMBINATIONS)
            .ok_or(MatrixError::TooMany {
                limit: MOST_COMBINATIONS,
            })
    }

    /// Returns a combination; the last vector changes fastest.
    fn combination(&self, index: usize) -> Object {
        let mut rest = index;
        let mut pairs: Vec<Pair> = self
            .vectors
            .iter()
            .rev()
            .map(|(key, values)| {
                let value = values.get(rest % values.len()).cloned().unwrap_or_default();
                rest /= values.len();
                (Arc::clone(key), value)
            })
            .collect();
        pairs.reverse();
        pairs.into_iter().collect()
    }
}

fn item_pairs<'a>(
    key: &'static str,
    index: usize,
    item: &'a Value,
) -> Result<&'a Object, MatrixError> {
    let number = index + 1;
    let pairs = item
        .as_object()
        .ok_or_else(|| MatrixError::ItemNotMapping {
            key,
            number,
            kind: item.kind().name(),
        })?;
    if pairs.is_empty() {
        return Err(MatrixError::EmptyItem { key, number });
    }
    Ok(pairs)
}

/// The leaves that a combination must have, each with the way to it.
struct Filter(Vec<(Vec<Step>, Value)>);

/// One step on the way to a leaf.
#[derive(Clone)]
enum Step {
    Key(Arc<str>),
    Index(usize),
}

impl Filter {
    fn new(pairs: &[Pair]) -> Self {
        let mut leaves = Vec::new();
        for (key, value) in pairs {
            Self::collect(&mut vec![Step::Key(Arc::clone(key))], value, &mut leaves);
        }
        Self(leaves)
    }

    fn collect(way: &mut Vec<Step>, value: &Value, leaves: &mut Vec<(Vec<Step>, Value)>) {
        let mut go = |step, value| {
            way.push(step);
            Self::collect(way, value, leaves);
            way.pop();
        };
        match value {
            Value::Object(pairs) => {
                for (key, value) in pairs.iter() {
                    go(Step::Key(Arc::from(key)), value);
                }
            }
            Value::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    go(Step::Index(index), value);
                }
            }
            leaf => leaves.push((way.clone(), leaf.clone())),
        }
    }

    fn fits(&self, values: &Object) -> bool {
        self.0.iter().all(|(way, expected)| {
            let mut steps = way.iter();
            let first = match steps.next() {
                Some(Step::Key(key)) => values.get(key),
                _ => None,
            };
            // What is missing is null to an expression, so it fits a null.
            let found = steps.fold(first, |value, step| {
                value.and_then(|value| step.into(value))
            });
            found.unwrap_or(&Value::Null).loosely_equals(expected)
        })
    }
}

impl Step {
    /// Goes one step into a value, as an index of the expression language does.
    fn into<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        match (self, value) {
            (Self::Key(key), Value::Object(pairs)) => pairs.get(key),
            (Self::Index(index), Value::Object(pairs)) => pairs.get(&index.to_string()),
            (Self::Index(index), Value::Array(items)) => items.get(*index),
            (Self::Key(key), Value::Array(items)) => items.get(key.parse::<usize>().ok()?),
            _ => None,
        }
    }
}

/// Returns the text of every boolean, number and string in the values, in order.
fn leaves(values: &Object) -> Vec<Arc<str>> {
    let mut texts = Vec::new();
    for value in values.values() {
        add_leaves(value, &mut texts);
    }
    texts
}

fn add_leaves(value: &Value, texts: &mut Vec<Arc<str>>) {
    match value {
        Value::Null => {}
        Value::Object(pairs) => pairs.values().for_each(|value| add_leaves(value, texts)),
        Value::Array(items) => items.iter().for_each(|value| add_leaves(value, texts)),
        scalar => {
            let text = scalar.to_text();
            if !text.is_empty() {
                texts.push(text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(json: &str) -> Value {
        serde_json::from_str(json).unwrap()
    }

    /// Writes a cell as `key=value` pairs in order.
    fn written(cell: &Cell) -> String {
        let pairs: Vec<String> = cell
            .values()
            .iter()
            .map(|(key, value)| format!("{key}={}", value.to_text()))
            .collect();
        pairs.join(" ")
    }

    #[test]
    fn cells_come_in_the_order_and_with_the_values_of_github() {
        for (matrix, expected) in [
            (
                r#"{"a":[1,2],"b":["x","y"]}"#,
                "a=1 b=x|a=1 b=y|a=2 b=x|a=2 b=y",
            ),
            // Equal as an expression sees it: a text to a number, whatever the case of letters.
            (r#"{"a":[1,2],"exclude":[{"a":"2"}]}"#, "a=1"),
            (
                r#"{"os":["Linux","macOS"],"exclude":[{"OS":"LINUX"}]}"#,
                "os=macOS",
            ),
            (r#"{"a":[true,null,0],"exclude":[{"a":false}]}"#, "a=true"),
            // Exclude comes before include.
            (
                r#"{"a":[1,2],"exclude":[{"a":2}],"include":[{"a":2,"n":1}]}"#,
                "a=1|a=2 n=1",
            ),
            // An item without a key of the product extends every cell.
            (
                r#"{"a":[1,2],"include":[{"color":"green"},{"color":"pink","a":2}]}"#,
                "a=1 color=green|a=2 color=pink",
            ),
            // What matches nothing is appended, and no later item extends it.
            (
                r#"{"a":[1],"include":[{"a":9},{"a":9,"n":1},{"n":2}]}"#,
                "a=1 n=2|a=9|a=9 n=1",
            ),
            (
                r#"{"include":[{"site":"a"},{"site":"b","n":1}]}"#,
                "site=a|site=b n=1",
            ),
            // Every combination taken away.
            (r#"{"a":[1],"exclude":[{"a":1}]}"#, ""),
            // Leaves inside objects and lists, by part.
            (
                r#"{"v":[{"n":12,"x":{"y":1}},{"n":14,"x":{"y":2}}],"exclude":[{"v":{"x":{"y":1}}}]}"#,
                "v=Object",
            ),
            (
                r#"{"v":[[1,2],[3]],"include":[{"v":[3],"last":true}]}"#,
                "v=Array|v=Array last=true",
            ),
            // A missing leaf is null.
            (
                r#"{"v":[{"n":1},{"n":2,"m":3}],"exclude":[{"v":{"m":null}}]}"#,
                "v=Object",
            ),
        ] {
            let cells = expand(&value(matrix)).unwrap();
            let got: Vec<String> = cells.iter().map(written).collect();
            assert_eq!(got.join("|"), expected, "{matrix}");
        }
    }

    #[test]
    fn a_name_shows_scalars_of_the_product_and_not_what_include_adds() {
        for (matrix, expected) in [
            (r#"{"a":[1.5],"b":["x"],"include":[{"n":7}]}"#, "t (1.5, x)"),
            (
                r#"{"a":[{"k":"v","l":[true,null]}],"b":[""]}"#,
                "t (v, true)",
            ),
            (r#"{"a":[null]}"#, "t"),
            (r#"{"a":[1],"include":[{"b":2,"a":3}]}"#, "t (1)|t (3, 2)"),
        ] {
            let cells = expand(&value(matrix)).unwrap();
            let got: Vec<String> = cells.iter().map(|cell| cell.name("t")).collect();
            assert_eq!(got.join("|"), expected, "{matrix}");
        }
    }

    #[test]
    fn ids_of_cells_are_legal_and_differ() {
        let cells = expand(&value(r#"{"a":["3.3","3-3","x/y","X_Y",null]}"#)).unwrap();
        let mut ids = Ids::new();
        let got: Vec<String> = cells.iter().map(|cell| cell.id(&mut ids)).collect();
        assert_eq!(got, ["_3_3", "_3-3", "x_y", "X_Y_2", "job"]);
    }

    #[test]
    fn a_wrong_matrix_is_refused_by_name() {
        for (matrix, expected) in [
            (r#""x""#, "the matrix is not a mapping but String"),
            (
                r#"{"a":1}"#,
                "`a` of the matrix is not a sequence but Number",
            ),
            (
                r#"{"a":[1],"include":{"a":1}}"#,
                "`include` of the matrix is not a sequence but Object",
            ),
            (
                r#"{"a":[1],"exclude":null}"#,
                "`exclude` of the matrix is not a sequence but Null",
            ),
            (r#"{"a":[]}"#, "vector `a` of the matrix has no values"),
            (
                r#"{"a":[1],"include":[5]}"#,
                "item 1 of `include` is not a mapping but Number",
            ),
            (
                r#"{"a":[1],"exclude":[{"a":2},{}]}"#,
                "item 2 of `exclude` is empty",
            ),
            (
                r#"{"a":[1],"exclude":[{"b":1}]}"#,
                "`b` in item 1 of `exclude` is no key of the matrix",
            ),
            (
                r#"{"include":[]}"#,
                "the matrix has neither a vector nor an item in `include`",
            ),
        ] {
            let error = expand(&value(matrix)).unwrap_err();
            assert_eq!(error.to_string(), expected, "{matrix}");
        }
    }

    fn square(side: u32) -> Value {
        let vector = || (0..side).map(Value::from).collect::<Vec<_>>();
        Value::from(Object::new().with("a", vector()).with("b", vector()))
    }

    #[test]
    fn a_matrix_makes_256_jobs_and_no_more() {
        assert_eq!(expand(&square(16)).unwrap().len(), 256);
        assert_eq!(
            expand(&square(17)).unwrap_err(),
            MatrixError::TooMany { limit: 256 }
        );
        assert_eq!(
            expand(&square(5000)).unwrap_err(),
            MatrixError::TooMany { limit: 1_000_000 }
        );
    }

    #[test]
    fn ten_thousand_cells_have_different_ids() {
        let cells = expand_up_to(&square(100), 10_000).unwrap();
        let mut ids = Ids::new();
        let made: std::collections::HashSet<String> =
            cells.iter().map(|cell| cell.id(&mut ids)).collect();
        assert_eq!(made.len(), 10_000);
        assert_eq!(written(&cells[1234]), "a=12 b=34");
    }
}
