//! What the environment of the process says; nobody else reads it.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use crate::report::screen;

/// The variables that steps get from the machine.
///
/// A list of what is allowed, since the rest of a person's environment can hold secrets and makes a
/// run depend on who starts it.
const PASSED_ON: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "DOCKER_HOST",
    "DOCKER_CONFIG",
    "DOCKER_CERT_PATH",
    "DOCKER_TLS_VERIFY",
    "DOCKER_CONTEXT",
    "SSH_AUTH_SOCK",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// Returns the variables that steps get from the machine.
pub(super) fn base_env() -> BTreeMap<String, String> {
    let is_passed_on = |name: &str| PASSED_ON.contains(&name) || name.starts_with("LC_");
    whole_env()
        .into_iter()
        .filter(|(name, _)| is_passed_on(name))
        .collect()
}

/// Returns all variables, which a project's configuration and secrets files may use.
pub(super) fn whole_env() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Returns a variable of the process.
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok()
}

/// Returns where the folders of jobs are made: `RUNNER_WORK`, else the folder for temporary files.
pub(super) fn work_folder() -> PathBuf {
    variable("RUNNER_WORK").map_or_else(|| std::env::temp_dir().join("runner-work"), PathBuf::from)
}

/// Tells whether standard output is for eyes that see colours: a terminal, unless `NO_COLOR` or
/// `CLICOLOR_FORCE` say otherwise.
pub(super) fn is_colored() -> bool {
    anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never
}

/// Opens the live region where standard output is a terminal that can move its cursor.
pub(super) fn open_screen() {
    let can_move = variable("TERM").is_some_and(|term| !matches!(term.as_str(), "" | "dumb"));
    if can_move && std::io::stdout().is_terminal() {
        screen().open();
    }
}

/// Writes the program's own log to standard error, above what is drawn on the terminal.
struct LogWriter;

impl std::io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        screen().above(|| std::io::stderr().write(bytes))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

/// Starts the log of the program itself, on standard error: `RUNNER_LOG=debug` shows more.
pub(super) fn start_tracing() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("RUNNER_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| LogWriter)
        .without_time()
        .with_target(false)
        // It would say so on standard error, and panic where that is what cannot be written: a full
        // disk must not end a job.
        .log_internal_errors(false)
        .try_init();
    if let Err(error) = started {
        super::write_note(&format!("warning: the log could not be started: {error}"));
    }
}

/// Arms a death on demand by `RUNNER_FAULT`; a release build does not know the variable.
#[cfg(debug_assertions)]
pub(super) fn arm_faults() {
    if let Some(text) = variable("RUNNER_FAULT")
        && let Err(error) = crate::deploy::arm(&text)
    {
        super::write_note(&format!("warning: RUNNER_FAULT is not heeded: {error}"));
    }
}
