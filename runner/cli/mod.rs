//! The verbs of the command line, settings, wiring and exit codes.
//!
//! This is the only room that reads the environment of the process and the only one that writes to
//! the terminal by itself.

mod alias;
mod arguments;
mod check;
mod config;
mod deploy;
mod diagnostics;
mod doctor;
mod error;
mod eval;
mod graph;
mod labels;
mod linked;
mod preview;
mod project;
mod report;
mod repository;
mod run;
mod runs;
mod secrets;
mod serve;
mod settings;
mod stop;
mod trace;

use clap::Parser as _;

use crate::report::screen;
use arguments::{Arguments, Verb};
pub use error::{CliError, ErrorKind, ExitCode};

/// Reads the command line, does what it says and returns how the process is to end.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse_from(alias::expand(std::env::args_os().collect())) {
        Ok(arguments) => arguments,
        Err(problem) => {
            // Help and version are no problems, but come this way, too.
            let code = if problem.use_stderr() {
                ExitCode::CommandLine
            } else {
                ExitCode::Success
            };
            drop(problem.print());
            return code;
        }
    };
    settings::start_tracing();
    #[cfg(debug_assertions)]
    settings::arm_faults();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(source) => {
            let error = CliError::new(ErrorKind::Internal, "the runtime could not be started")
                .because(source);
            return error.report();
        }
    };
    let result = match arguments.verb {
        Verb::Run(arguments) => run::run(&runtime, &arguments),
        Verb::Check(arguments) => check::check(&arguments),
        Verb::Graph(arguments) => graph::graph(&arguments),
        Verb::Eval(arguments) => eval::eval(&arguments),
        Verb::Doctor(arguments) => doctor::doctor(&runtime, &arguments),
        Verb::Config(arguments) => config::config(&arguments),
        Verb::Secrets(arguments) => secrets::secrets(&arguments),
        Verb::Deploy(arguments) => deploy::deploy(&runtime, &arguments),
        Verb::Rollback(arguments) => deploy::rollback(&runtime, &arguments),
        Verb::Setup(arguments) => deploy::setup(&runtime, &arguments),
        Verb::App(arguments) => deploy::app(&runtime, &arguments.verb),
        Verb::Accessory(arguments) => deploy::accessory(&runtime, &arguments.verb),
        Verb::Proxy(arguments) => deploy::proxy(&runtime, &arguments.verb),
        Verb::Backup(arguments) => deploy::backup(&runtime, &arguments.verb),
        Verb::Prune(arguments) => deploy::prune(&runtime, &arguments.verb),
        Verb::Lock(arguments) => deploy::lock(&runtime, &arguments.verb),
        Verb::Audit(place) => deploy::audit(&runtime, &place),
        Verb::History(arguments) => deploy::history(&runtime, &arguments),
        Verb::Details(place) => deploy::details(&runtime, &place),
        Verb::Serve(arguments) => serve::serve(&runtime, &arguments),
        Verb::Notify(arguments) => serve::notify(&runtime, &arguments.verb),
        Verb::Runs(arguments) => runs::runs(&runtime, &arguments.verb),
        Verb::Dispatch(arguments) => serve::dispatch(&runtime, &arguments),
        Verb::Secret(arguments) => serve::secret(&runtime, &arguments.verb),
        Verb::Token(arguments) => serve::token(&runtime, &arguments.verb),
        Verb::Init(arguments) => serve::init(&arguments),
        Verb::Job => serve::job(&runtime),
        Verb::Version => {
            write_line(&format!("runner {}", env!("CARGO_PKG_VERSION")));
            Ok(ExitCode::Success)
        }
    };
    screen().close();
    // What a step left running in the background does not hold the process.
    runtime.shutdown_background();
    result.unwrap_or_else(|error| error.report())
}

/// Writes a line to standard output; a reader that went away ends nothing.
fn write_line(line: &str) {
    use std::io::Write as _;
    screen().above(|| drop(writeln!(anstream::stdout(), "{line}")));
}

/// Writes text to standard output as it is.
fn write_raw(text: &str) {
    use std::io::Write as _;
    screen().above(|| drop(anstream::stdout().write_all(text.as_bytes())));
}

/// Writes a line to standard error.
fn write_note(line: &str) {
    use std::io::Write as _;
    screen().above(|| drop(writeln!(anstream::stderr(), "{line}")));
}
