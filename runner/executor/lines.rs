//! Two streams of a container made one, line by line.

use crate::docker::{Chunk, StdStream};
use crate::process::OutputSink;

/// A line that is longer is given on before its end.
const MAX_HELD: usize = 64 * 1024;

/// Gives whole lines to a sink, so that the pieces of two streams do not mix within a line.
pub(super) struct Lines<'a> {
    sink: &'a mut dyn OutputSink,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(sink: &'a mut dyn OutputSink) -> Self {
        Self {
            sink,
            stdout: Vec::new(),
            stderr: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, chunk: &Chunk) {
        let (held, other) = match chunk.stream {
            StdStream::Stdout => (&mut self.stdout, &self.stderr),
            StdStream::Stderr => (&mut self.stderr, &self.stdout),
        };
        let bytes = &*chunk.bytes;
        let whole = match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None if held.len() + bytes.len() > MAX_HELD && other.is_empty() => bytes.len(),
            None => 0,
        };
        let (lines, rest) = bytes.split_at_checked(whole).unwrap_or((bytes, &[]));
        if !lines.is_empty() {
            if !held.is_empty() {
                self.sink.push(held);
                held.clear();
            }
            self.sink.push(lines);
        }
        held.extend_from_slice(rest);
    }

    /// Gives on what has no end of its own.
    pub(super) fn finish(self) {
        let Self {
            sink,
            mut stdout,
            stderr,
        } = self;
        if !stdout.is_empty() && !stderr.is_empty() {
            stdout.push(b'\n');
        }
        sink.push(&stdout);
        sink.push(&stderr);
        sink.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(chunks: &[(StdStream, &'static str)]) -> String {
        let mut text: Vec<u8> = Vec::new();
        let mut lines = Lines::new(&mut text);
        for (stream, bytes) in chunks {
            lines.push(&Chunk {
                stream: *stream,
                bytes: bytes.as_bytes().into(),
            });
        }
        lines.finish();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn lines_of_two_streams_stay_whole() {
        use StdStream::{Stderr, Stdout};
        for (chunks, expected) in [
            (&[(Stdout, "a\n"), (Stderr, "b\n")][..], "a\nb\n"),
            (
                &[(Stdout, "a"), (Stderr, "b\n"), (Stdout, "c\n")],
                "b\nac\n",
            ),
            (
                &[(Stdout, "a\nb"), (Stderr, "c"), (Stdout, "d\ne")],
                "a\nbd\ne\nc",
            ),
            (&[(Stdout, "no end")], "no end"),
            (&[], ""),
        ] {
            assert_eq!(joined(chunks), expected, "{chunks:?}");
        }
    }
}
