//! What a deploy prints while it goes on: one line per host and phase, with times.

use std::time::Duration;

use anstyle::{AnsiColor, Style};

use crate::{
    cli::{write_line, write_note},
    deploy::{Event, Progress},
    release::{HostName, Op, Stage},
    report::{LineKey, screen},
};

const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const DIM: Style = Style::new().dimmed();

/// Prints what happens to standard output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Printer {
    /// Whether every operation is shown.
    pub(super) verbose: bool,
}

impl Progress for Printer {
    fn tell(&self, event: Event) {
        match event {
            Event::Opened { id } if self.verbose => write_line(&format!("transaction {id}")),
            Event::Opened { .. } => {}
            Event::Began {
                host,
                phase,
                undoing,
            } => {
                let doing = if undoing { "undoing" } else { phase.word() };
                screen().show(&line_of(&host), &format!("{host}: {doing}"));
            }
            Event::Did { op, took } if self.verbose => {
                write_line(&format!("{DIM}    {op} ({}){DIM:#}", seconds(took)));
            }
            Event::Did { .. } => {}
            Event::Reached {
                host,
                phase,
                undoing,
                took,
                waits,
            } => {
                screen().hide(&line_of(&host));
                let (style, word) = if undoing {
                    (YELLOW, "undone".to_owned())
                } else {
                    (GREEN, phase.to_string())
                };
                let waits = if self.verbose {
                    format!("   {waits} round trips")
                } else {
                    String::new()
                };
                write_line(&format!(
                    "  {:<24} {style}{word:<10}{style:#} {:>8}{waits}",
                    host.as_str(),
                    seconds(took)
                ));
            }
            Event::Failed {
                op,
                reason,
                best_effort: true,
            } => {
                write_note(&format!("{YELLOW}warning:{YELLOW:#} {op}: {reason}"));
            }
            Event::Failed { op, reason, .. } => {
                screen().hide(&line_of(&op.host));
                let host = op.host.as_str();
                write_line(&format!("  {host:<24} {RED}failed{RED:#}     {}", op.verb));
                for line in reason.lines() {
                    write_line(&format!("    {line}"));
                }
            }
            Event::Notice(text) => write_note(&format!("{YELLOW}note:{YELLOW:#} {text}")),
        }
    }
}

/// The line of a host in the live region.
fn line_of(host: &HostName) -> LineKey {
    (0, host.as_str().to_owned())
}

/// A span as people read it.
pub(super) fn seconds(took: Duration) -> String {
    if took < Duration::from_secs(1) {
        format!("{} ms", took.as_millis())
    } else {
        format!("{:.1} s", took.as_secs_f64())
    }
}

/// Prints what would be done.
pub(super) fn print_plan(stages: &[Stage]) {
    for stage in stages {
        write_line(&format!("{}:", stage.phase));
        for op in &stage.ops {
            write_line(&format!("  {}", plan_line(op)));
        }
    }
}

fn plan_line(op: &Op) -> String {
    op.to_string()
}
