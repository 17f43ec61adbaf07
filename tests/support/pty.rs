//! Runs the program at a terminal and keeps what a person would see.

use std::fs::File;
use std::io::Read as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::pty::{Winsize, openpty};

/// A program at a terminal of its own.
pub(crate) struct Terminal {
    child: Child,
    screen: Arc<Mutex<Seen>>,
    reader: JoinHandle<()>,
}

/// What came to the terminal.
pub(crate) struct Seen {
    /// The screen as it stands, with what scrolled away above it.
    pub(crate) parser: vt100::Parser,
    /// All bytes that came.
    pub(crate) bytes: Vec<u8>,
}

impl Seen {
    /// Returns the lines that stand on the screen now, without empty ones at the end.
    pub(crate) fn text(&self) -> String {
        self.parser.screen().contents()
    }
}

impl Terminal {
    /// Starts a command at a terminal of this size.
    pub(crate) fn start(mut command: Command, rows: u16, columns: u16) -> Self {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let ends = openpty(Some(&size), None).unwrap();
        let end = || Stdio::from(ends.slave.try_clone().unwrap());
        command.stdin(end()).stdout(end()).stderr(end());
        if !command.get_envs().any(|(name, _)| name == "TERM") {
            command.env("TERM", "xterm-256color");
        }
        let child = command.spawn().unwrap();
        // The command holds ends of its own; the terminal is over when the program closed its.
        drop(command);
        drop(ends.slave);
        let screen = Arc::new(Mutex::new(Seen {
            parser: vt100::Parser::new(rows, columns, 0),
            bytes: Vec::new(),
        }));
        let seen = Arc::clone(&screen);
        let reader = std::thread::spawn(move || {
            let mut end = File::from(ends.master);
            let mut buffer = [0; 4096];
            // A terminal whose other side is closed answers with an error.
            while let Ok(count @ 1..) = end.read(&mut buffer) {
                let mut seen = seen.lock().unwrap();
                seen.parser.process(&buffer[..count]);
                seen.bytes.extend_from_slice(&buffer[..count]);
            }
        });
        Self {
            child,
            screen,
            reader,
        }
    }

    /// Looks at the screen as it stands now.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.screen.lock().unwrap())
    }

    /// Waits for the program; returns its exit code and all that was seen.
    pub(crate) fn finish(mut self) -> (i32, Seen) {
        let status = self.child.wait().unwrap();
        self.reader.join().unwrap();
        let screen = Arc::try_unwrap(self.screen).ok().unwrap();
        (status.code().unwrap_or(-1), screen.into_inner().unwrap())
    }
}
