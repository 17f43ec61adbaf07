//! Commands on a host.

use std::{fmt, io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::oneshot,
};

use super::{SshError, Stream, requests::Shared};

/// What the line with the number of the process group starts with.
const MARK: &str = "runner-process-group:";

/// A command for the host's shell.
///
/// Its text and its environment are visible in the host's process list: secrets go by `stdin`.
#[derive(Clone, Default)]
pub struct Command {
    pub(super) text: String,
    pub(super) name: Option<String>,
    pub(super) stdin: Vec<u8>,
    pub(super) limit: Option<Duration>,
    pub(super) ends_with_caller: bool,
}

impl Command {
    /// Takes a text for the login shell of the user.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// Takes a program and its arguments, each quoted for a POSIX shell.
    pub fn of_words<T: AsRef<str>>(words: impl IntoIterator<Item = T>) -> Self {
        let quoted: Vec<_> = words.into_iter().map(|word| quote(word.as_ref())).collect();
        Self::new(quoted.join(" "))
    }

    /// Sets how messages call the command, where its text is long or not for everybody's eyes.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets what the command reads on standard input; nothing by default.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Sets how long the command may take.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Ends the command and its children by SIGTERM on the host when the caller's future or
    /// process is dropped or the time limit is over.
    ///
    /// Without it, the command only loses its input and output, as when `ssh` is killed. The
    /// command then runs under `sh`, whatever the user's login shell is.
    #[must_use]
    pub fn ends_with_caller(mut self) -> Self {
        self.ends_with_caller = true;
        self
    }

    pub(super) fn shown(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.text.clone())
    }

    /// What is sent to the host. sshd starts each command in a process group of its own, whose
    /// number the first line of standard error then tells.
    pub(super) fn line(&self) -> String {
        if self.ends_with_caller {
            format!(
                "exec sh -c 'echo \"{MARK}$$\" >&2; exec sh -c \"$0\"' {}",
                quote(&self.text)
            )
        } else {
            self.text.clone()
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("name", &self.shown())
            .finish_non_exhaustive()
    }
}

/// Quotes a word for a POSIX shell.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It returned this code.
    Code(i32),
    /// A signal ended it; the name is without `SIG`.
    Signal(String),
}

impl Exit {
    /// Whether the code is 0.
    pub fn is_success(&self) -> bool {
        *self == Self::Code(0)
    }

    /// The code as a shell gives it: 128 for any signal whose number is not known.
    pub fn code(&self) -> i32 {
        match self {
            Self::Code(code) => *code,
            Self::Signal(name) => 128 + signal_number(name),
        }
    }
}

fn signal_number(name: &str) -> i32 {
    format!("SIG{name}")
        .parse::<nix::sys::signal::Signal>()
        .map_or(0, |signal| signal as i32)
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(name) => write!(f, "signal {name}"),
        }
    }
}

/// What a command said, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Everything on standard output.
    pub stdout: Vec<u8>,
    /// Everything on standard error.
    pub stderr: Vec<u8>,
    /// How it ended.
    pub exit: Exit,
}

/// A command that runs, with its streams.
///
/// Both outputs have to be read, since they share one flow window: a full one stops both.
#[derive(Debug)]
pub struct Process {
    /// Standard input (write) and standard output (read).
    pub stdio: Stream,
    /// Standard error.
    pub stderr: Stream,
    pub(super) exit: oneshot::Receiver<Exit>,
    pub(super) end: Option<EndWithCaller>,
    pub(super) shared: Arc<Shared>,
}

impl Process {
    /// Waits until the command has ended; what it still says is dropped.
    ///
    /// # Errors
    /// The session was lost before that.
    pub async fn wait(mut self) -> Result<Exit, SshError> {
        let (mut nowhere, mut either) = (tokio::io::sink(), tokio::io::sink());
        let (out, err) = tokio::join!(
            tokio::io::copy(&mut self.stdio, &mut nowhere),
            tokio::io::copy(&mut self.stderr, &mut either),
        );
        out.and(err).map_err(|e| self.shared.broken(&e))?;
        let exit = (&mut self.exit).await.map_err(|_| self.shared.lost())?;
        self.disarm();
        Ok(exit)
    }

    pub(super) async fn talk(mut self, stdin: &[u8]) -> Result<Output, SshError> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let exit = {
            let (mut reader, mut writer) = tokio::io::split(&mut self.stdio);
            // A command need not read what it is given, so a broken pipe is no error.
            let feed = async {
                let _unread = writer.write_all(stdin).await;
                let _closed = writer.shutdown().await;
            };
            let read = async { reader.read_to_end(&mut stdout).await };
            let errors = async { self.stderr.read_to_end(&mut stderr).await };
            let ((), out, err) = tokio::join!(feed, read, errors);
            out.and(err).map_err(|e| self.shared.broken(&e))?;
            (&mut self.exit).await.map_err(|_| self.shared.lost())?
        };
        self.disarm();
        Ok(Output {
            stdout,
            stderr,
            exit,
        })
    }

    fn disarm(&mut self) {
        if let Some(end) = &mut self.end {
            end.group = None;
        }
    }

    /// Reads the number of the process group, which the command tells before it begins; what the
    /// user's shell has said before that is no word of the command.
    pub(super) async fn learn_group(&mut self) -> Result<(), SshError> {
        let mut line = Vec::new();
        loop {
            match self.stderr.read_u8().await {
                Ok(b'\n') => {
                    let text = String::from_utf8_lossy(&line);
                    if let Some(Ok(group)) = text.strip_prefix(MARK).map(str::parse) {
                        let (group, shared) = (Some(group), self.shared.clone());
                        self.end = Some(EndWithCaller { group, shared });
                        return Ok(());
                    }
                    line.clear();
                }
                Ok(byte) if line.len() < 4096 => line.push(byte),
                Ok(_) => {}
                // It did not get as far; its exit code tells.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(e) => return Err(self.shared.broken(&e)),
            }
        }
    }
}

/// Ends a command on the host when it is dropped.
#[derive(Debug)]
pub(super) struct EndWithCaller {
    group: Option<u32>,
    shared: Arc<Shared>,
}

impl Drop for EndWithCaller {
    fn drop(&mut self) {
        if let Some(group) = self.group.filter(|group| *group > 1) {
            self.shared.run_unattended(format!("kill -TERM -{group}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        let command = Command::of_words(["echo", "a b", "it's", "", "$HOME", "x=1"]);
        assert_eq!(command.text, r"echo 'a b' 'it'\''s' '' '$HOME' x=1");
    }

    #[test]
    fn signals_have_a_shells_codes() {
        assert_eq!(Exit::Signal("KILL".into()).code(), 137);
        assert_eq!(Exit::Signal("ODD@example.net".into()).code(), 128);
        assert_eq!(Exit::Code(3).code(), 3);
    }

    #[test]
    fn input_is_not_shown() {
        let command = Command::new("cat").stdin("s3cret");
        assert!(!format!("{command:?}").contains("s3cret"));
    }
}
