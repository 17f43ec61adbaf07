//! The output of a step: lines with commands in them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::mask::{MaskStream, Masked, MaskedBytes, Masker};
use crate::process::OutputSink;
use crate::report::Recorder;
use crate::run::command::{
    Command, CommandName, CommandOptions, CommandReader, Reading, may_be_command,
};
use crate::run::{Annotation, AnnotationLevel, DeployProgress, JobKey, RunEvent, Stream};

use super::action::Voice;
use super::matching::Matching;

/// The longest line that is kept whole; a longer one is cut into pieces of this size.
const MAX_LINE: usize = 1024 * 1024;

/// How many annotations of one level a step can leave; more are only printed.
///
/// Source: `ExecutionContext` of GitHub's runner.
const MAX_ANNOTATIONS: usize = 10;

/// Where a step's words go.
#[derive(Debug, Clone)]
pub(super) struct StepVoice {
    pub(super) recorder: Recorder,
    pub(super) job: JobKey,
    pub(super) step: u32,
}

impl StepVoice {
    pub(super) fn print(&self, stream: Stream, text: Masked) {
        self.recorder.record(&RunEvent::Output {
            job: self.job,
            step: self.step,
            stream,
            text,
        });
    }
}

impl Voice for StepVoice {
    fn say(&self, line: Masked) {
        self.print(Stream::Step, line);
    }

    fn annotate(&self, annotation: Annotation) {
        self.recorder.record(&RunEvent::Annotation {
            job: self.job,
            step: self.step,
            annotation,
        });
    }

    fn deployment(&self, progress: DeployProgress) {
        self.recorder.record(&RunEvent::Deployment {
            job: self.job,
            progress,
        });
    }
}

/// What the commands in a step's output said.
#[derive(Debug, Default)]
pub(super) struct CommandEffects {
    /// `set-output`.
    pub(super) outputs: Vec<(String, String)>,
    /// `save-state`.
    pub(super) state: BTreeMap<String, String>,
    /// `set-env`, where it is allowed.
    pub(super) env: Vec<(String, String)>,
    /// `add-path`, where it is allowed.
    pub(super) path: Vec<String>,
    /// A command that fails the step, with the reason.
    pub(super) failure: Option<String>,
}

/// Takes a step's output, carries out the commands in it and prints the rest without secrets.
#[derive(Debug)]
pub(super) struct StepOutput {
    voice: StepVoice,
    masker: Masker,
    stream: MaskStream,
    reader: CommandReader,
    /// The start of a line whose end has not come yet.
    partial: Vec<u8>,
    masked: MaskedBytes,
    effects: Arc<Mutex<CommandEffects>>,
    counts: BTreeMap<&'static str, usize>,
    settings: OutputSettings,
    matching: Matching,
}

/// How the commands in a step's output are taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct OutputSettings {
    /// Whether debug lines are asked for.
    pub(super) is_debug: bool,
    /// `ACTIONS_ALLOW_UNSECURE_COMMANDS`: whether `set-env` and `add-path` count.
    pub(super) allows_unsecure: bool,
    /// `ACTIONS_ALLOW_UNSECURE_STOPCOMMAND_TOKENS`.
    pub(super) allows_any_token: bool,
}

impl StepOutput {
    /// Returns the sink of one step; what its commands said lies in the second part at the end.
    pub(super) fn new(
        voice: StepVoice,
        masker: &Masker,
        settings: OutputSettings,
        matching: Matching,
    ) -> (Self, Arc<Mutex<CommandEffects>>) {
        let effects = Arc::new(Mutex::new(CommandEffects::default()));
        let options = CommandOptions {
            echo: settings.is_debug,
            any_stop_token: settings.allows_any_token,
        };
        let output = Self {
            voice,
            masker: masker.clone(),
            stream: masker.stream(),
            reader: CommandReader::new(options),
            partial: Vec::new(),
            masked: MaskedBytes::default(),
            effects: Arc::clone(&effects),
            counts: BTreeMap::new(),
            settings,
            matching,
        };
        (output, effects)
    }

    /// Takes whole lines; in most output there is no command, and the block is masked at once.
    fn lines(&mut self, block: &[u8]) {
        if !may_hold_command(block) && !self.matching.is_active() {
            self.stream.push(block, &mut self.masked);
            return;
        }
        for line in block.split_inclusive(|byte| *byte == b'\n') {
            self.line(line);
        }
    }

    fn line(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        if !may_be_command(line) {
            self.stream.push(line, &mut self.masked);
            self.match_line(&text);
            return;
        }
        let bare = text.strip_suffix('\n').unwrap_or(&text);
        let bare = bare.strip_suffix('\r').unwrap_or(bare);
        match self.reader.read(bare) {
            Ok(Reading::Text) => {
                self.stream.push(line, &mut self.masked);
                self.match_line(&text);
            }
            Ok(Reading::Resumed | Reading::Stopped { secret: None }) => {
                self.stream.push(line, &mut self.masked);
            }
            Ok(Reading::Stopped {
                secret: Some(token),
            }) => {
                self.masker.add(&token);
                self.stream.push(line, &mut self.masked);
            }
            Ok(Reading::Command {
                name,
                command,
                echo,
            }) => {
                if echo {
                    self.stream.push(line, &mut self.masked);
                }
                // What was printed before the command comes before what the command prints.
                self.print_held();
                self.command(name, &command);
            }
            Err(error) => {
                self.print_held();
                self.fail(error.to_string());
            }
        }
    }

    fn print_held(&mut self) {
        self.stream.flush(&mut self.masked);
        self.print_masked();
    }

    fn fail(&mut self, reason: String) {
        let annotation = Annotation::new(AnnotationLevel::Error, self.masker.mask(&reason));
        self.voice.annotate(annotation);
        self.change(|effects| effects.failure = Some(reason));
    }

    fn change(&self, change: impl FnOnce(&mut CommandEffects)) {
        change(&mut self.effects.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn command(&mut self, name: CommandName, command: &Command) {
        let data = command.data.as_str();
        let named = || command.property("name").unwrap_or_default().to_owned();
        match name {
            CommandName::Debug if self.settings.is_debug => {
                self.print(Stream::Debug, &format!("{data}\n"));
            }
            // `echo` and `stop-commands` are the reader's own.
            CommandName::Debug
            | CommandName::Endgroup
            | CommandName::Echo
            | CommandName::StopCommands => {}
            CommandName::Notice => self.annotate(AnnotationLevel::Notice, command),
            CommandName::Warning => self.annotate(AnnotationLevel::Warning, command),
            CommandName::Error => self.annotate(AnnotationLevel::Error, command),
            CommandName::Group => self.print(Stream::Step, &format!("▼ {data}\n")),
            CommandName::AddMask => {
                if !self.masker.add(data) {
                    self.print(Stream::Runner, "`add-mask` was given nothing to mask\n");
                }
            }
            CommandName::SetOutput => {
                self.change(|effects| effects.outputs.push((named(), data.to_owned())));
            }
            CommandName::SaveState => self.change(|effects| {
                effects.state.insert(named(), data.to_owned());
            }),
            CommandName::SetEnv | CommandName::AddPath if !self.settings.allows_unsecure => {
                let file = if name == CommandName::SetEnv {
                    "GITHUB_ENV"
                } else {
                    "GITHUB_PATH"
                };
                self.fail(format!(
                    "the command `{}` is disabled: write to the file that ${file} names, or set \
                     ACTIONS_ALLOW_UNSECURE_COMMANDS to true",
                    name.as_str()
                ));
            }
            CommandName::SetEnv => {
                self.change(|effects| effects.env.push((named(), data.to_owned())));
            }
            CommandName::AddPath => self.change(|effects| effects.path.push(data.to_owned())),
            CommandName::AddMatcher => {
                if let Err(reason) = self.matching.add(data) {
                    let text = format!("the problem matcher `{data}` is not used: {reason}");
                    let message = self.masker.mask(&text);
                    self.note(Annotation::new(AnnotationLevel::Warning, message));
                }
            }
            CommandName::RemoveMatcher => self.matching.remove(command.property("owner"), data),
        }
    }

    fn print(&self, stream: Stream, text: &str) {
        self.voice.print(stream, self.masker.mask(text));
    }

    /// Makes an annotation of a line that a problem matcher knows.
    fn match_line(&mut self, line: &str) {
        if let Some(problem) = self.matching.take(line) {
            self.print_held();
            let annotation = self.matching.annotation(&problem, &self.masker);
            self.note(annotation);
        }
    }

    /// Leaves an annotation, unless the step has left too many of its level.
    fn note(&mut self, annotation: Annotation) {
        if self.may_annotate(annotation.level) {
            self.voice.annotate(annotation);
        }
    }

    fn may_annotate(&mut self, level: AnnotationLevel) -> bool {
        let count = self.counts.entry(level.as_str()).or_default();
        *count += 1;
        *count <= MAX_ANNOTATIONS
    }

    fn annotate(&mut self, level: AnnotationLevel, command: &Command) {
        if !self.may_annotate(level) {
            let word = level.as_str();
            self.print(Stream::Step, &format!("{word}: {}\n", command.data));
            return;
        }
        let text = |name: &str| command.property(name).map(|text| self.masker.mask(text));
        let number = |name: &str| {
            command
                .property(name)
                .and_then(|text| text.trim().parse().ok())
        };
        self.voice.annotate(Annotation {
            level,
            message: self.masker.mask(&command.data),
            title: text("title"),
            file: text("file"),
            line: number("line"),
            end_line: number("endLine"),
            column: number("col"),
            end_column: number("endColumn"),
        });
    }

    fn print_masked(&mut self) {
        if !self.masked.is_empty() {
            let text = std::mem::take(&mut self.masked).into_text();
            self.voice.print(Stream::Step, text);
        }
    }
}

/// Tells whether a command can stand in a block: they all have one of two marks.
fn may_hold_command(block: &[u8]) -> bool {
    memchr::memmem::find(block, b"::").is_some() || memchr::memmem::find(block, b"##[").is_some()
}

impl OutputSink for StepOutput {
    fn push(&mut self, bytes: &[u8]) {
        let whole = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let (lines, rest) = bytes.split_at(whole);
        if !lines.is_empty() {
            if self.partial.is_empty() {
                self.lines(lines);
            } else {
                let mut block = std::mem::take(&mut self.partial);
                block.extend_from_slice(lines);
                self.lines(&block);
            }
        }
        self.partial.extend_from_slice(rest);
        if self.partial.len() > MAX_LINE {
            let piece = std::mem::take(&mut self.partial);
            self.lines(&piece);
        }
        if let Some(lines) = self.masked.take_lines() {
            self.voice.print(Stream::Step, lines.into_text());
        }
    }

    fn finish(&mut self) {
        let rest = std::mem::take(&mut self.partial);
        if !rest.is_empty() {
            self.lines(&rest);
        }
        self.stream.flush(&mut self.masked);
        self.print_masked();
    }
}
