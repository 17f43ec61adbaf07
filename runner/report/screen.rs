//! The live region of a terminal: what runs now, with times, below everything that was printed.
//!
//! # How it works
//! A process has one terminal, so there is one [`Screen`], got by [`screen`]. It draws nothing until
//! it is opened, which only happens where standard output is a terminal. While it is open, whoever
//! writes to the terminal does so within [`Screen::above`]: the region makes room, the text scrolls
//! away above it, and the region is drawn again.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// How often the region is drawn again, so that times go on.
const TICK: Duration = Duration::from_millis(125);

/// How often a second the region may be drawn at most.
const DRAWS: u8 = 20;

/// Names a line of the region; the lines stand in the order of their keys.
pub type LineKey = (u32, String);

/// The live region of the terminal.
#[derive(Default)]
pub struct Screen {
    region: Mutex<Option<Region>>,
}

struct Region {
    bars: MultiProgress,
    lines: BTreeMap<LineKey, ProgressBar>,
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen").finish_non_exhaustive()
    }
}

/// Returns the screen of this process.
pub fn screen() -> &'static Screen {
    static SCREEN: OnceLock<Screen> = OnceLock::new();
    SCREEN.get_or_init(Screen::default)
}

impl Screen {
    /// Begins to draw on standard output, which must be a terminal.
    pub fn open(&self) {
        let target = ProgressDrawTarget::stdout_with_hz(DRAWS);
        let region = Region {
            bars: MultiProgress::with_draw_target(target),
            lines: BTreeMap::new(),
        };
        *self.region() = Some(region);
    }

    /// Takes the region away; from now on nothing is drawn.
    pub fn close(&self) {
        if let Some(region) = self.region().take() {
            for bar in region.lines.values() {
                bar.finish_and_clear();
            }
            // A terminal that went away ends nobody's run.
            drop(region.bars.clear());
        }
    }

    /// Shows a line, or says something else in it; its time begins now.
    pub fn show(&self, key: &LineKey, text: &str) {
        let mut region = self.region();
        let Some(region) = region.as_mut() else {
            return;
        };
        if let Some(bar) = region.lines.get(key) {
            bar.reset_elapsed();
            bar.set_message(text.to_owned());
            return;
        }
        let bar = ProgressBar::new_spinner().with_style(style());
        let before = region.lines.range(..key.clone()).next_back();
        let bar = match before {
            Some((_, before)) => region.bars.insert_after(before, bar),
            None => region.bars.insert(0, bar),
        };
        bar.set_message(text.to_owned());
        bar.enable_steady_tick(TICK);
        region.lines.insert(key.clone(), bar);
    }

    /// Says something else in a line, whose time goes on; shows it where it is not there.
    pub fn change(&self, key: &LineKey, text: &str) {
        let bar = self
            .region()
            .as_ref()
            .and_then(|region| region.lines.get(key).cloned());
        match bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None => self.show(key, text),
        }
    }

    /// Takes a line away.
    pub fn hide(&self, key: &LineKey) {
        let mut region = self.region();
        let Some(region) = region.as_mut() else {
            return;
        };
        if let Some(bar) = region.lines.remove(key) {
            bar.finish_and_clear();
            region.bars.remove(&bar);
        }
    }

    /// Lets someone write to the terminal: whole lines, and nothing that speaks of the screen.
    pub fn above<T>(&self, write: impl FnOnce() -> T) -> T {
        let bars = self.region().as_ref().map(|region| region.bars.clone());
        match bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    fn region(&self) -> MutexGuard<'_, Option<Region>> {
        self.region.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn style() -> ProgressStyle {
    let time = |state: &ProgressState, out: &mut dyn fmt::Write| {
        // A text that cannot be written is not shown.
        let _ = out.write_str(&whole_seconds(state.elapsed()));
    };
    ProgressStyle::with_template("{spinner} {time:>7} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .with_key("time", time)
        .tick_strings(&["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏", " "])
}

fn whole_seconds(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        _ => super::format_duration(time),
    }
}

/// Writes whole lines to standard output, above the live region.
///
/// What has no end of line yet waits for it.
#[derive(Debug, Default)]
pub struct ScreenWriter {
    held: Vec<u8>,
}

impl Write for ScreenWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.held.is_empty() && bytes.ends_with(b"\n") {
            print(bytes)?;
        } else {
            self.held.extend_from_slice(bytes);
            if bytes.ends_with(b"\n") {
                print(&std::mem::take(&mut self.held))?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

fn print(bytes: &[u8]) -> io::Result<()> {
    screen().above(|| {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_that_is_not_open_lets_everybody_write_and_draws_nothing() {
        let screen = Screen::default();
        screen.show(&(0, String::new()), "a line");
        screen.hide(&(0, String::new()));
        assert_eq!(screen.above(|| 7), 7);
        screen.close();
    }

    #[test]
    fn times_are_whole_seconds_until_they_are_minutes() {
        for (milliseconds, expected) in [(300, "0s"), (59_900, "59s"), (125_000, "2m 5s")] {
            assert_eq!(whole_seconds(Duration::from_millis(milliseconds)), expected);
        }
    }
}
