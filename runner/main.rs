//! The program `runner`: hands the command line to the library and ends with its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    runner::cli::main().into()
}
