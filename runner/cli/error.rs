//! What the command line says when it fails, and with which code it ends.

use std::error::Error;

use anstyle::{AnsiColor, Style};

use super::write_note;

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// All went well.
    Success,
    /// A fault of ours.
    Internal,
    /// The command line cannot be understood.
    CommandLine,
    /// A workflow or a configuration is invalid, or a secret or a version is missing.
    Invalid,
    /// No trigger of the workflow matches the event.
    NoTrigger,
    /// Docker, SSH, GitHub or the store cannot be reached; nothing was changed.
    Environment,
    /// The run failed.
    RunFailed,
    /// The run was cancelled.
    Cancelled,
    /// A job ran into its time limit, and none failed.
    TimedOut,
    /// A deploy failed and was undone.
    DeployUndone,
    /// A deploy failed and something could not be put back.
    UndoIncomplete,
}

impl ExitCode {
    /// Returns the number, which `--help` and the README list.
    pub fn number(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Internal => 1,
            Self::CommandLine => 2,
            Self::Invalid => 3,
            Self::NoTrigger => 4,
            Self::Environment => 5,
            Self::RunFailed => 10,
            Self::Cancelled => 11,
            Self::TimedOut => 12,
            Self::DeployUndone => 20,
            Self::UndoIncomplete => 21,
        }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        code.number().into()
    }
}

/// Whose fault it is that a command failed; decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The command line's.
    Usage,
    /// A workflow's or a configuration's.
    Invalid,
    /// The machine's or the network's.
    Environment,
    /// Ours.
    Internal,
}

/// A command failed: what, why and what to do.
#[derive(Debug)]
pub struct CliError {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    hints: Vec<String>,
}

impl CliError {
    /// Returns an error.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
            hints: Vec::new(),
        }
    }

    /// Returns the same with its cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns the same with what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Returns what failed, with its causes, as one line.
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        for cause in self.causes() {
            text = format!("{text}: {cause}");
        }
        text
    }

    /// Returns with which code the process ends.
    pub fn exit_code(&self) -> ExitCode {
        match self.kind {
            ErrorKind::Usage => ExitCode::CommandLine,
            ErrorKind::Invalid => ExitCode::Invalid,
            ErrorKind::Environment => ExitCode::Environment,
            ErrorKind::Internal => ExitCode::Internal,
        }
    }

    /// Writes the error to standard error and returns with which code the process ends.
    pub fn report(&self) -> ExitCode {
        const RED: Style = AnsiColor::Red.on_default().bold();
        const CYAN: Style = AnsiColor::Cyan.on_default();
        write_note(&format!("{RED}error:{RED:#} {}", self.message));
        for cause in self.causes() {
            write_note(&format!("caused by: {cause}"));
        }
        for hint in &self.hints {
            write_note(&format!("{CYAN}hint:{CYAN:#} {hint}"));
        }
        self.exit_code()
    }

    fn causes(&self) -> Vec<String> {
        let mut causes = Vec::new();
        let mut cause = self
            .source
            .as_ref()
            .map(|source| source.as_ref() as &dyn Error);
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        causes
    }
}
