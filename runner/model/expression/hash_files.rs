//! Which files `hashFiles()` hashes, and in which order.

use std::cmp::Ordering;

use thiserror::Error;

/// Patterns of `hashFiles()` that cannot be used: the workflow's author's fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PatternError {
    /// An option that there is not.
    #[error("Invalid glob option {option}, available option: '--follow-symbolic-links'.")]
    UnknownOption {
        /// The option.
        option: String,
    },
    /// `.` or `..` inside a pattern.
    #[error("Invalid pattern '{pattern}'. Relative pathing '.' and '..' is not allowed.")]
    RelativePath {
        /// The pattern.
        pattern: String,
    },
    /// `!` with nothing after it.
    #[error("pattern cannot be empty")]
    Empty,
}

/// The patterns of one `hashFiles()`, read.
///
/// What the caller does with them:
/// 1. Walk the folders of [`search_paths`](Self::search_paths) under the workspace, hidden files
///    too, without going into folders that are symbolic links, unless
///    [`follows_symbolic_links`](Self::follows_symbolic_links). A link to a file is a file if what
///    it leads to lies in the workspace. Folders are not hashed.
/// 2. Give the paths, relative to the workspace and with `/`, to [`select`](Self::select).
/// 3. Hash each selected file with SHA-256 and hash the 32-byte digests, one after another, with
///    SHA-256 again. That in small hexadecimal digits is the result; without any file it is empty.
///
/// GitHub gives up after 120 seconds.
#[derive(Debug, Clone)]
pub struct HashFiles {
    follows_symbolic_links: bool,
    patterns: Vec<Pattern>,
    /// Absolute, each as its segments; none lies in another.
    search_paths: Vec<Vec<String>>,
    workspace: Vec<String>,
}

#[derive(Debug, Clone)]
struct Pattern {
    negated: bool,
    /// Ends with `/`: it names folders, so of files only what lies in them.
    only_folders: bool,
    /// Whether the segments begin at the workspace, else at the root of the machine.
    in_workspace: bool,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone)]
enum Segment {
    /// `**`
    AnyFolders,
    Glob(Vec<Glob>),
}

#[derive(Debug, Clone)]
enum Glob {
    Char(char),
    /// `?`
    One,
    /// `*`
    Many,
    /// `[a-z]`, `[!a-z]`
    Set {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl HashFiles {
    /// Reads the arguments of `hashFiles()`.
    ///
    /// An argument may hold several lines, each a pattern; empty lines and `#` lines are left out.
    /// Patterns begin at the workspace (an absolute path) unless they are absolute; one that
    /// begins with `~` lies outside and selects nothing.
    pub fn parse(arguments: &[String], workspace: &str) -> Result<Self, PatternError> {
        let (follows_symbolic_links, arguments) = match arguments.split_first() {
            Some((option, rest)) if option.starts_with("--") => {
                if !option.eq_ignore_ascii_case("--follow-symbolic-links") {
                    return Err(PatternError::UnknownOption {
                        option: option.clone(),
                    });
                }
                (true, rest)
            }
            _ => (false, arguments),
        };
        let workspace: Vec<String> = split(workspace).map(str::to_owned).collect();
        let mut patterns = Vec::new();
        let mut candidates: Vec<Vec<String>> = Vec::new();
        let lines = arguments.iter().flat_map(|argument| argument.lines());
        for line in lines.map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some((pattern, search_path)) = read_pattern(line, &workspace)? {
                if !pattern.negated {
                    candidates.push(search_path);
                }
                patterns.push(pattern);
            }
        }
        let mut search_paths: Vec<Vec<String>> = Vec::new();
        for path in &candidates {
            let lies_in_other = candidates
                .iter()
                .any(|other| other.len() < path.len() && path.starts_with(other));
            if !lies_in_other && !search_paths.contains(path) {
                search_paths.push(path.clone());
            }
        }
        Ok(Self {
            follows_symbolic_links,
            patterns,
            search_paths,
            workspace,
        })
    }

    /// Tells whether the walk goes into folders that are symbolic links.
    pub fn follows_symbolic_links(&self) -> bool {
        self.follows_symbolic_links
    }

    /// Gives the files and folders to walk, relative to the workspace, in order; the empty path is
    /// the workspace itself. What lies outside the workspace is left out; what is not there may be.
    pub fn search_paths(&self) -> Vec<String> {
        self.search_paths
            .iter()
            .filter_map(|path| {
                if self.workspace.starts_with(path) {
                    return Some(String::new());
                }
                path.strip_prefix(self.workspace.as_slice())
                    .map(|rest| rest.join("/"))
            })
            .collect()
    }

    /// Tells whether a file is hashed; the path is relative to the workspace, with `/`.
    ///
    /// Patterns are asked in order, and the last one that matches decides: `!` takes away what
    /// earlier ones gave.
    pub fn matches(&self, path: &str) -> bool {
        let relative: Vec<&str> = split(path).collect();
        let absolute: Vec<&str> = self
            .workspace
            .iter()
            .map(String::as_str)
            .chain(relative.iter().copied())
            .collect();
        let mut selected = false;
        for pattern in &self.patterns {
            if selected != pattern.negated {
                continue;
            }
            let path = if pattern.in_workspace {
                &relative
            } else {
                &absolute
            };
            if pattern.matches(path) {
                selected = !pattern.negated;
            }
        }
        selected
    }

    /// Selects of some files those that are hashed and puts them into the order of hashing.
    ///
    /// The order is that of a walk: search path by search path, in each folder by the bytes of the
    /// names, a folder's content at the folder's place.
    pub fn select<'a>(&self, paths: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        let mut selected: Vec<(usize, &str)> = paths
            .into_iter()
            .filter(|path| self.matches(path))
            .filter_map(|path| Some((self.place(path)?, path)))
            .collect();
        selected.sort_by(|(left_place, left), (right_place, right)| {
            left_place
                .cmp(right_place)
                .then_with(|| walk_order(left, right))
        });
        selected.dedup();
        selected.into_iter().map(|(_, path)| path).collect()
    }

    /// Tells under which search path a file lies.
    fn place(&self, path: &str) -> Option<usize> {
        self.search_paths.iter().position(|search| {
            let own = self.workspace.iter().map(String::as_str).chain(split(path));
            let mut own = own.take(search.len());
            search.iter().all(|segment| own.next() == Some(segment))
        })
    }
}

fn walk_order(left: &str, right: &str) -> Ordering {
    split(left)
        .map(str::as_bytes)
        .cmp(split(right).map(str::as_bytes))
}

fn split(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

type ReadPattern = (Pattern, Vec<String>);

/// Reads one pattern and the literal path that it begins with; `None` for one that selects nothing.
fn read_pattern(line: &str, workspace: &[String]) -> Result<Option<ReadPattern>, PatternError> {
    let mut negated = false;
    let mut text = line;
    while let Some(rest) = text.strip_prefix('!') {
        negated = !negated;
        text = rest.trim();
    }
    if text.is_empty() {
        return Err(PatternError::Empty);
    }
    let absolute = text.starts_with('/');
    let mut segments: Vec<&str> = split(text).collect();
    let misplaced = |(index, segment): (usize, &&str)| {
        let literal = literal(segment);
        literal.as_deref() == Some("..")
            || (literal.as_deref() == Some(".") && (index > 0 || absolute))
    };
    if segments.iter().enumerate().any(misplaced) {
        return Err(PatternError::RelativePath {
            pattern: text.to_owned(),
        });
    }
    if !absolute {
        match segments.first() {
            Some(&".") => {
                segments.remove(0);
            }
            Some(&"~") => return Ok(None),
            _ => {}
        }
    }
    let mut search_path = if absolute {
        Vec::new()
    } else {
        workspace.to_vec()
    };
    search_path.extend(segments.iter().map_while(|segment| literal(segment)));
    let pattern = Pattern {
        negated,
        only_folders: text.ends_with('/'),
        in_workspace: !absolute,
        segments: segments.iter().map(|segment| compile(segment)).collect(),
    };
    Ok(Some((pattern, search_path)))
}

/// Gives the text that a segment stands for, `None` if it stands for several.
fn literal(segment: &str) -> Option<String> {
    match compile(segment) {
        Segment::AnyFolders => None,
        Segment::Glob(globs) => globs
            .iter()
            .map(|glob| match glob {
                Glob::Char(c) => Some(*c),
                Glob::Set {
                    negated: false,
                    ranges,
                } => match ranges.as_slice() {
                    [(from, to)] if from == to => Some(*from),
                    _ => None,
                },
                _ => None,
            })
            .collect(),
    }
}

fn compile(segment: &str) -> Segment {
    if segment == "**" {
        return Segment::AnyFolders;
    }
    let mut globs = Vec::new();
    let mut rest = segment.chars();
    while let Some(c) = rest.next() {
        globs.push(match c {
            '\\' => Glob::Char(rest.next().unwrap_or('\\')),
            '?' => Glob::One,
            '*' => Glob::Many,
            '[' => match compile_set(rest.as_str()) {
                Some((set, after)) => {
                    rest = after.chars();
                    set
                }
                None => Glob::Char('['),
            },
            _ => Glob::Char(c),
        });
    }
    Segment::Glob(globs)
}

/// Reads what follows `[` up to its `]`; `None` if there is none.
fn compile_set(text: &str) -> Option<(Glob, &str)> {
    let inside = text.strip_prefix(['!', '^']);
    let negated = inside.is_some();
    let mut rest = inside.unwrap_or(text).chars();
    let mut ranges: Vec<(char, char)> = Vec::new();
    loop {
        let mut from = rest.next()?;
        if from == ']' && !ranges.is_empty() {
            return Some((Glob::Set { negated, ranges }, rest.as_str()));
        }
        if from == '\\' {
            from = rest.next()?;
        }
        let mut ahead = rest.clone();
        let to = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(to)) if to != ']' => {
                rest = ahead;
                to
            }
            _ => from,
        };
        ranges.push((from, to));
    }
}

impl Pattern {
    /// Tells whether the pattern matches a file or a folder that the file lies in.
    fn matches(&self, path: &[&str]) -> bool {
        // A pattern that is a literal folder, or matches one, takes all that lies in it.
        let whole = usize::from(self.only_folders);
        let longest = path.len().saturating_sub(whole);
        (0..=longest).any(|length| {
            path.get(..length)
                .is_some_and(|folder| segments_match(&self.segments, folder))
        })
    }
}

/// Matches segments by the last `**` that was passed, so that the time is bounded by the product of
/// the lengths.
fn segments_match(pattern: &[Segment], path: &[&str]) -> bool {
    wildcard_match(
        pattern,
        path,
        |segment| matches!(segment, Segment::AnyFolders),
        |segment, name| match segment {
            Segment::AnyFolders => true,
            Segment::Glob(globs) => glob_match(globs, name),
        },
    )
}

fn glob_match(globs: &[Glob], name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    wildcard_match(
        globs,
        &name,
        |glob| matches!(glob, Glob::Many),
        |glob, c| match glob {
            Glob::Char(own) => own == c,
            Glob::One | Glob::Many => true,
            Glob::Set { negated, ranges } => {
                let inside = ranges.iter().any(|(from, to)| (from..=to).contains(&c));
                inside != *negated
            }
        },
    )
}

/// Matches a row of things against a pattern in which some parts stand for any number of them.
fn wildcard_match<P, T>(
    pattern: &[P],
    things: &[T],
    is_many: impl Fn(&P) -> bool,
    fits: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut at, mut thing) = (0, 0);
    let mut last_many: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(at), things.get(thing)) {
            (Some(part), _) if is_many(part) => {
                last_many = Some((at, thing));
                at += 1;
            }
            (Some(part), Some(own)) if fits(part, own) => {
                at += 1;
                thing += 1;
            }
            (None, None) => return true,
            _ => match last_many {
                Some((many, from)) if from < things.len() => {
                    last_many = Some((many, from + 1));
                    at = many + 1;
                    thing = from + 1;
                }
                _ => return false,
            },
        }
    }
}
