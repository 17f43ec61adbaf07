//! What a container has said.

use bollard::{container::LogOutput, query_parameters::LogsOptionsBuilder};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};

use super::{DockerError, Engine};

/// Which stream bytes came from; a container with a terminal has standard output alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StdStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of output, as it was written: often a line, not always.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Where it was written to.
    pub stream: StdStream,
    /// What was written.
    pub bytes: Bytes,
}

impl Chunk {
    pub(super) fn of(output: LogOutput) -> Self {
        match output {
            LogOutput::StdErr { message } => Self {
                stream: StdStream::Stderr,
                bytes: message,
            },
            LogOutput::StdOut { message }
            | LogOutput::StdIn { message }
            | LogOutput::Console { message } => Self {
                stream: StdStream::Stdout,
                bytes: message,
            },
        }
    }
}

/// Which part of the logs is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogOptions {
    /// Only the last lines, this many.
    pub tail: Option<usize>,
    /// Only lines since this second of the daemon's clock, counted from 1970.
    pub since: Option<i32>,
    /// Whether to wait for more until the container ends.
    pub follow: bool,
    /// Whether each line starts with its time.
    pub timestamps: bool,
}

impl Engine {
    /// Reads a container's logs; dropping the stream ends it.
    ///
    /// A daemon that is followed to the container's end may leave out a last line that has no
    /// end; [`Self::run_attached`] does not depend on logs.
    ///
    /// Each item is an error if there is no such container, its log driver cannot be read, or
    /// the connection breaks.
    pub fn logs(
        &self,
        container: &str,
        options: &LogOptions,
    ) -> impl Stream<Item = Result<Chunk, DockerError>> + Send + use<> {
        let action = format!("read the logs of container `{container}`");
        let tail = options
            .tail
            .map_or_else(|| "all".to_owned(), |count| count.to_string());
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .follow(options.follow)
            .timestamps(options.timestamps)
            .since(options.since.unwrap_or(0))
            .tail(&tail)
            .build();
        let engine = self.clone();
        let stream = self.docker.logs(container, Some(options));
        stream
            .map(move |item| item.map(Chunk::of).map_err(|e| engine.failed(&action, e)))
            .boxed()
    }

    /// Reads the last lines of both streams as text, for a message.
    ///
    /// # Errors
    /// As [`Self::logs`].
    pub async fn last_lines(&self, container: &str, count: usize) -> Result<String, DockerError> {
        let options = LogOptions {
            tail: Some(count),
            ..LogOptions::default()
        };
        let mut stream = self.logs(container, &options);
        let mut text = Vec::new();
        while let Some(chunk) = stream.next().await {
            text.extend_from_slice(&chunk?.bytes);
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}
