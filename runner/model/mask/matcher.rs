//! Finds every occurrence of every secret in one pass over the bytes.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::nfa::contiguous;
use aho_corasick::{Anchored, dfa};

/// Up to this many bytes of patterns the faster table is built; it takes half a kilobyte a byte.
const LARGEST_TABLE: usize = 16 * 1024;

/// A set of patterns, ready to be searched for.
pub(super) struct Matcher {
    engine: Engine,
    starts: Starts,
    states: HashMap<StateID, State>,
    start: StateID,
}

enum Engine {
    Table(dfa::DFA),
    Compact(contiguous::NFA),
    /// The patterns are too many to be searched for: everything counts as secret.
    Closed,
}

/// What is known of a state of the automaton.
#[derive(Clone, Copy, Default)]
struct State {
    /// How many bytes before this point are the beginning of a pattern that may go on.
    undecided: usize,
    /// The length of the longest pattern that ends here.
    longest: usize,
}

/// A pattern that was found: where it ends, and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// The first byte after it, counted from the start of the bytes that were searched.
    pub(super) end: usize,
    /// How many bytes it has; more than `end` if it began in earlier bytes.
    pub(super) length: usize,
}

/// Where a search stands between two stretches of bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor(StateID);

impl Matcher {
    /// Builds a matcher for patterns that are not empty.
    pub(super) fn new(patterns: &BTreeSet<String>) -> Self {
        let size: usize = patterns.iter().map(String::len).sum();
        let engine = Self::engine(patterns, size <= LARGEST_TABLE).unwrap_or(Engine::Closed);
        let mut states = HashMap::new();
        let start = match &engine {
            Engine::Table(table) => learn(table, patterns, &mut states),
            Engine::Compact(compact) => learn(compact, patterns, &mut states),
            Engine::Closed => None,
        };
        Self {
            engine: if start.is_some() {
                engine
            } else {
                Engine::Closed
            },
            starts: Starts::new(patterns),
            states,
            start: start.unwrap_or_default(),
        }
    }

    fn engine(patterns: &BTreeSet<String>, table: bool) -> Option<Engine> {
        // Our own filter on beginnings is used instead of the automaton's.
        if table {
            let mut builder = dfa::Builder::new();
            builder.prefilter(false);
            builder.build(patterns).map(Engine::Table).ok()
        } else {
            let mut builder = contiguous::Builder::new();
            builder.prefilter(false);
            builder.build(patterns).map(Engine::Compact).ok()
        }
    }

    /// Returns the beginning of a search.
    pub(super) fn start(&self) -> Cursor {
        Cursor(self.start)
    }

    /// Tells whether everything must count as secret.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.engine, Engine::Closed)
    }

    /// Goes over the next bytes of a search and reports each place where a pattern ends.
    pub(super) fn scan(&self, cursor: &mut Cursor, bytes: &[u8], found: &mut dyn FnMut(Found)) {
        match &self.engine {
            Engine::Table(table) => self.run(table, cursor, bytes, found),
            Engine::Compact(compact) => self.run(compact, cursor, bytes, found),
            Engine::Closed => {}
        }
    }

    /// Tells how many bytes at the end of what was searched may be the beginning of a pattern.
    pub(super) fn undecided(&self, cursor: Cursor) -> usize {
        self.state(cursor.0).undecided
    }

    /// Tells whether any pattern stands in the bytes.
    pub(super) fn finds_any(&self, bytes: &[u8]) -> bool {
        let mut any = self.is_closed();
        self.scan(&mut self.start(), bytes, &mut |_| any = true);
        any
    }

    fn run<A: Automaton>(
        &self,
        automaton: &A,
        cursor: &mut Cursor,
        bytes: &[u8],
        found: &mut dyn FnMut(Found),
    ) {
        let mut state = cursor.0;
        let mut at = 0;
        loop {
            if state == self.start {
                at = self.starts.next(bytes, at);
            }
            let Some(byte) = bytes.get(at) else { break };
            state = automaton.next_state(Anchored::No, state, *byte);
            at += 1;
            if automaton.is_special(state) && automaton.is_match(state) {
                found(Found {
                    end: at,
                    length: self.state(state).longest,
                });
            }
        }
        *cursor = Cursor(state);
    }

    fn state(&self, id: StateID) -> State {
        self.states.get(&id).copied().unwrap_or_default()
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Matcher")
            .field("states", &self.states.len())
            .finish_non_exhaustive()
    }
}

/// Walks along every pattern, notes what its states mean and returns the state to start from.
fn learn<A: Automaton>(
    automaton: &A,
    patterns: &BTreeSet<String>,
    states: &mut HashMap<StateID, State>,
) -> Option<StateID> {
    let start = automaton.start_state(Anchored::No).ok()?;
    let step = |state, byte| automaton.next_state(Anchored::No, state, byte);
    let mut whole = Vec::new();
    for pattern in patterns {
        let mut state = start;
        for (index, byte) in pattern.bytes().enumerate() {
            if index > 0 {
                states.entry(state).or_default().undecided = index;
            }
            state = step(state, byte);
            if automaton.is_match(state) {
                states.entry(state).or_default().longest = (0..automaton.match_len(state))
                    .map(|nth| automaton.pattern_len(automaton.match_pattern(state, nth)))
                    .max()
                    .unwrap_or(0);
            }
        }
        whole.push((pattern, state));
    }
    // Where no pattern goes on, a shorter end of the same bytes may still begin one.
    whole.sort_by_key(|(pattern, _)| pattern.len());
    for (pattern, state) in whole {
        if states.get(&state).is_some_and(|known| known.undecided == 0) {
            let shorter = pattern.bytes().skip(1).fold(start, step);
            let undecided = states.get(&shorter).map_or(0, |known| known.undecided);
            states.entry(state).or_default().undecided = undecided;
        }
    }
    Some(start)
}

/// How patterns begin: most bytes are passed over by looking at a few of them at once.
///
/// Two bytes where there is a pattern of less than four, else four.
struct Starts {
    width: Width,
    /// One bit for each pair of bytes, or for each hash of four bytes.
    bits: Box<[u64; 1024]>,
}

#[derive(Clone, Copy)]
enum Width {
    Two,
    Four,
}

impl Starts {
    fn new(patterns: &BTreeSet<String>) -> Self {
        let mut bits = Box::new([0; 1024]);
        let mut mark = |slot: u16| {
            if let Some(word) = bits.get_mut(usize::from(slot >> 6)) {
                *word |= 1_u64 << (slot & 63);
            }
        };
        let width = if patterns.iter().all(|pattern| pattern.len() >= 4) {
            Width::Four
        } else {
            Width::Two
        };
        for pattern in patterns {
            match (width, pattern.as_bytes()) {
                (Width::Four, [a, b, c, d, ..]) => mark(slot_of_four([*a, *b, *c, *d])),
                (_, [first, second, ..]) => mark(u16::from_le_bytes([*first, *second])),
                (_, [only]) => {
                    (0..=u8::MAX).for_each(|second| mark(u16::from_le_bytes([*only, second])));
                }
                (_, []) => {}
            }
        }
        Self { width, bits }
    }

    /// Returns the first place from `at` on where a pattern can begin.
    ///
    /// The last bytes, too few to be looked at, always count as such a place.
    fn next(&self, bytes: &[u8], at: usize) -> usize {
        let rest = bytes.get(at..).unwrap_or_default();
        let (place, seen) = match self.width {
            Width::Two => (
                rest.array_windows()
                    .position(|two| self.has(u16::from_le_bytes(*two))),
                2,
            ),
            Width::Four => (
                rest.array_windows()
                    .position(|four| self.has(slot_of_four(*four))),
                4,
            ),
        };
        at + place.unwrap_or((rest.len() + 1).saturating_sub(seen))
    }

    fn has(&self, slot: u16) -> bool {
        self.bits
            .get(usize::from(slot >> 6))
            .is_some_and(|word| word >> (slot & 63) & 1 == 1)
    }
}

/// Spreads four bytes over the slots.
fn slot_of_four(four: [u8; 4]) -> u16 {
    let [.., high, low] = u32::from_le_bytes(four)
        .wrapping_mul(0x9e37_79b1)
        .to_le_bytes();
    u16::from_le_bytes([high, low])
}
