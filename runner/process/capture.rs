//! A short command whose output is wanted as a whole.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::{ProcessSpec, StartError};

/// What a short command wrote, and how it ended.
#[derive(Debug)]
pub struct Captured {
    /// Its exit code; for a signal nothing.
    pub code: Option<i32>,
    /// Its standard output.
    pub output: Vec<u8>,
    /// Its standard error, where it was wanted.
    pub error: Vec<u8>,
}

/// Runs a command to its end, with `input` on its standard input.
///
/// Blocks, and knows no time limit: for commands that a configuration names and that people wait
/// for. Where `keeps_error` is false, its standard error is ours, so that it can ask and complain.
pub fn capture(
    spec: &ProcessSpec,
    input: Option<&str>,
    keeps_error: bool,
) -> Result<Captured, StartError> {
    let failed = |source| StartError::Program {
        program: spec.program.display().to_string(),
        directory: spec.directory.display().to_string(),
        source,
    };
    let pipe_if = |piped: bool| {
        if piped {
            Stdio::piped()
        } else {
            Stdio::inherit()
        }
    };
    let mut child = Command::new(&spec.program)
        .args(&spec.arguments)
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&spec.directory)
        .stdin(pipe_if(input.is_some()))
        .stdout(Stdio::piped())
        .stderr(pipe_if(keeps_error))
        .spawn()
        .map_err(failed)?;
    if let (Some(input), Some(mut pipe)) = (input, child.stdin.take()) {
        // One that ends without reading says why by its exit code.
        drop(pipe.write_all(input.as_bytes()));
    }
    let done = child.wait_with_output().map_err(failed)?;
    Ok(Captured {
        code: done.status.code(),
        output: done.stdout,
        error: done.stderr,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> ProcessSpec {
        ProcessSpec {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            env: vec![("ONLY".into(), "this".into())],
            directory: "/".into(),
        }
    }

    #[test]
    fn output_error_code_and_environment_are_its_own() {
        let done = capture(
            &shell("cat; echo $ONLY$HOME; echo no >&2; exit 3"),
            Some("in "),
            true,
        );
        let done = done.unwrap();
        assert_eq!(done.code, Some(3));
        assert_eq!(String::from_utf8(done.output).unwrap(), "in this\n");
        assert_eq!(String::from_utf8(done.error).unwrap(), "no\n");
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let spec = ProcessSpec {
            program: "/nowhere".into(),
            ..shell("")
        };
        assert!(capture(&spec, None, true).is_err());
    }
}
