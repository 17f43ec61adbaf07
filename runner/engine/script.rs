//! `run:` steps: a script and the shell that reads it.
//!
//! Source: `ScriptHandlerHelpers` of GitHub's runner.

use std::collections::BTreeMap;
use std::path::Path;

use super::action::Fault;
use super::context::{Frame, StepScope, text};
use super::files::ScriptFile;
use super::job::JobRun;
use super::step::{Program, StepCall};
use crate::expression::Value;
use crate::workflow::{JobBody, RunDefaults, Token};

/// A shell's command line with the script's place left open, and the ending of its file.
struct Shell {
    argv: Vec<String>,
    ending: &'static str,
    /// What stands around the script, for shells that need it.
    prefix: &'static str,
    suffix: &'static str,
}

/// Stands for the script's path in a shell's command line.
const PLACE: &str = "{0}";

impl Shell {
    fn new(argv: &[&str], ending: &'static str) -> Self {
        Self {
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
            ending,
            prefix: "",
            suffix: "",
        }
    }

    /// Reads `shell:`; the error says what is wrong with it.
    fn parse(name: &str) -> Result<Self, String> {
        Ok(match name.trim() {
            "bash" => Self::new(
                &[
                    "bash",
                    "--noprofile",
                    "--norc",
                    "-e",
                    "-o",
                    "pipefail",
                    PLACE,
                ],
                ".sh",
            ),
            "sh" => Self::new(&["sh", "-e", PLACE], ".sh"),
            "python" => Self::new(&["python", PLACE], ".py"),
            "pwsh" | "powershell" => Self {
                prefix: "$ErrorActionPreference = 'stop'\n",
                suffix: "\nif ((Test-Path -LiteralPath variable:\\LASTEXITCODE)) { exit $LASTEXITCODE }\n",
                ..Self::new(&[name.trim(), "-command", ". '{0}'"], ".ps1")
            },
            custom if custom.contains(PLACE) => Self {
                argv: custom.split_whitespace().map(str::to_owned).collect(),
                ..Self::new(&[], "")
            },
            unknown => {
                return Err(format!(
                    "`{unknown}` is no shell that is known: use bash, sh, python, pwsh, or a command line with {PLACE} for the script"
                ));
            }
        })
    }

    fn command(&self, script: &str) -> Vec<String> {
        self.argv
            .iter()
            .map(|word| word.replace(PLACE, script))
            .collect()
    }
}

impl JobRun {
    /// Writes a script to a file and returns the program that runs it.
    ///
    /// The inner error is the user's and fails the step.
    pub(super) async fn script_program(
        &mut self,
        call: &StepCall<'_>,
        frame: &Frame,
        parts: (&Token, Option<&Token>, Option<&Token>),
    ) -> Result<Result<(Program, ScriptFile), String>, Fault> {
        let (script, shell, directory) = parts;
        let scope = call.scope(self, frame);
        let prepared = (|| {
            let script = text(script, &scope)?;
            let shell = self.setting(frame, (shell, "shell"), &scope)?;
            let directory = self.working_directory(frame, directory, &scope)?;
            Ok::<_, String>((script, shell, directory))
        })();
        let (script, shell, directory) = match prepared {
            Ok(prepared) => prepared,
            Err(reason) => return Ok(Err(reason)),
        };
        let shell = match shell {
            Some(name) => Shell::parse(&name),
            None => Ok(self.default_shell().await),
        };
        let shell = match shell {
            Ok(shell) => shell,
            Err(reason) => return Ok(Err(reason)),
        };
        let content = format!("{}{script}{}", shell.prefix, shell.suffix);
        let number = (call.file_number, self.sandbox.is_container());
        let file = self.folders.script(number, shell.ending, &content)?;
        let program = Program {
            argv: shell.command(&self.sandbox.path_inside(file.path())),
            directory,
            extra: BTreeMap::new(),
        };
        Ok(Ok((program, file)))
    }

    /// Returns the shell where the file names none: bash where there is one, without `pipefail`.
    async fn default_shell(&self) -> Shell {
        if !self.sandbox.is_container() && self.sandbox.has_program("bash").await {
            Shell::new(&["bash", "-e", PLACE], ".sh")
        } else {
            Shell::new(&["sh", "-e", PLACE], ".sh")
        }
    }

    fn working_directory(
        &self,
        frame: &Frame,
        own: Option<&Token>,
        scope: &StepScope<'_>,
    ) -> Result<String, String> {
        let workspace = self.sandbox.path_inside(&self.folders.workspace);
        let Some(directory) = self.setting(frame, (own, "working-directory"), scope)? else {
            return Ok(workspace);
        };
        let path = Path::new(&workspace).join(&directory);
        let outside = self.sandbox.path_outside(&path.to_string_lossy());
        if !self.sandbox.is_container() && !outside.is_dir() {
            return Err(format!("the working directory `{directory}` is not there"));
        }
        Ok(path.to_string_lossy().into_owned())
    }

    /// Returns a step's own setting, else the job's, else the workflow's; composite actions have
    /// no defaults.
    fn setting(
        &self,
        frame: &Frame,
        (own, key): (Option<&Token>, &str),
        scope: &StepScope<'_>,
    ) -> Result<Option<String>, String> {
        let mut found = own.map(|token| text(token, scope)).transpose()?;
        if found.is_none() && frame.depth == 0 {
            let job = self.plan.job().and_then(|job| match &job.body {
                JobBody::Steps(steps) => Some(&steps.defaults),
                JobBody::Call(_) => None,
            });
            for defaults in job.into_iter().chain([&self.plan.file.workflow.defaults]) {
                if found.is_none() {
                    found = default_setting(defaults, key, scope)?;
                }
            }
        }
        Ok(found.filter(|value| !value.is_empty()))
    }
}

/// Returns one setting of `defaults.run`, which can be one expression as a whole.
fn default_setting(
    defaults: &RunDefaults,
    key: &str,
    scope: &StepScope<'_>,
) -> Result<Option<String>, String> {
    let own = if key == "shell" {
        &defaults.shell
    } else {
        &defaults.working_directory
    };
    match (own, &defaults.whole) {
        (Some(token), _) => text(token, scope).map(Some),
        (None, Some(whole)) => {
            let value = whole.evaluate(scope).map_err(|error| error.to_string())?;
            Ok(value.get(key).map(Value::to_display_string))
        }
        (None, None) => Ok(None),
    }
}
