//! Workflow commands: lines of output by which a step speaks to the runner.
//!
//! Two syntaxes, as GitHub's `ActionCommand`: `::name key=value,key=value::data` after white space
//! at most, and the older `##[name key=value;key=value]data` anywhere in a line. A line that names
//! no known command is ordinary text.

use thiserror::Error;

/// How the data of a `::` command is escaped; `%25` comes last, so that `%250A` stays `%0A`.
const DATA: [(&str, &str); 3] = [("%0D", "\r"), ("%0A", "\n"), ("%25", "%")];

/// How the properties of a `::` command are escaped.
const PROPERTY: [(&str, &str); 5] = [
    ("%0D", "\r"),
    ("%0A", "\n"),
    ("%3A", ":"),
    ("%2C", ","),
    ("%25", "%"),
];

/// How both are escaped in a `##[` command.
const OLD: [(&str, &str); 5] = [
    ("%3B", ";"),
    ("%0D", "\r"),
    ("%0A", "\n"),
    ("%5D", "]"),
    ("%25", "%"),
];

/// A longer token of `stop-commands` is a secret from then on, as on GitHub.
const LONGEST_PLAIN_TOKEN: usize = 6;

/// What a command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommandName {
    /// `add-mask`: the data is a secret.
    AddMask,
    /// `add-matcher`: the data is the path of a file with problem matchers.
    AddMatcher,
    /// `add-path`: the data is a folder for `PATH`; refused unless allowed.
    AddPath,
    /// `debug`: the data is a message for debug logs.
    Debug,
    /// `echo`: commands are shown (`on`) or not (`off`).
    Echo,
    /// `endgroup`: the group of lines ends.
    Endgroup,
    /// `error`: an annotation.
    Error,
    /// `group`: a group of lines begins, the data is its title.
    Group,
    /// `notice`: an annotation.
    Notice,
    /// `remove-matcher`: the problem matchers of an owner or a file end.
    RemoveMatcher,
    /// `save-state`: a value for the same action's `post`.
    SaveState,
    /// `set-env`: a variable for later steps; refused unless allowed.
    SetEnv,
    /// `set-output`: an output of the step.
    SetOutput,
    /// `stop-commands`: no line is a command until the data comes as one.
    StopCommands,
    /// `warning`: an annotation.
    Warning,
}

impl CommandName {
    /// All commands.
    pub const ALL: [Self; 15] = [
        Self::AddMask,
        Self::AddMatcher,
        Self::AddPath,
        Self::Debug,
        Self::Echo,
        Self::Endgroup,
        Self::Error,
        Self::Group,
        Self::Notice,
        Self::RemoveMatcher,
        Self::SaveState,
        Self::SetEnv,
        Self::SetOutput,
        Self::StopCommands,
        Self::Warning,
    ];

    /// Returns the name as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AddMask => "add-mask",
            Self::AddMatcher => "add-matcher",
            Self::AddPath => "add-path",
            Self::Debug => "debug",
            Self::Echo => "echo",
            Self::Endgroup => "endgroup",
            Self::Error => "error",
            Self::Group => "group",
            Self::Notice => "notice",
            Self::RemoveMatcher => "remove-matcher",
            Self::SaveState => "save-state",
            Self::SetEnv => "set-env",
            Self::SetOutput => "set-output",
            Self::StopCommands => "stop-commands",
            Self::Warning => "warning",
        }
    }

    /// Finds a command by its name, whatever the case of its letters.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(name))
    }

    /// Tells whether the line stays hidden even where commands are shown.
    ///
    /// A mask would show the secret; annotations and debug messages are shown in their own form.
    fn is_never_echoed(self) -> bool {
        matches!(
            self,
            Self::AddMask | Self::Debug | Self::Error | Self::Notice | Self::Warning
        )
    }
}

/// A line of output taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The name as it was written.
    pub name: String,
    /// The properties in order, unescaped, none empty.
    pub properties: Vec<(String, String)>,
    /// What follows, unescaped.
    pub data: String,
}

impl Command {
    /// Takes a line apart, if it names a command that is known.
    pub fn parse(line: &str, is_known: impl Fn(&str) -> bool) -> Option<Self> {
        Self::parse_colons(line, &is_known).or_else(|| Self::parse_brackets(line, &is_known))
    }

    /// Returns a property, whatever the case of its name; the last one of a name counts.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties
            .iter()
            .rev()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    fn parse_colons(line: &str, is_known: &impl Fn(&str) -> bool) -> Option<Self> {
        let rest = line.trim_start().strip_prefix("::")?;
        let (head, data) = rest.split_once("::")?;
        let (name, properties) = head.split_once(' ').unwrap_or((head, ""));
        is_known(name).then(|| Self {
            name: name.to_owned(),
            properties: properties_of(properties.trim(), ',', &PROPERTY),
            data: unescape(data, &DATA),
        })
    }

    fn parse_brackets(line: &str, is_known: &impl Fn(&str) -> bool) -> Option<Self> {
        let (_, rest) = line.split_once("##[")?;
        let (head, data) = rest.split_once(']')?;
        let (name, properties) = head.split_once(' ').unwrap_or((head, ""));
        is_known(name).then(|| Self {
            name: name.to_owned(),
            properties: properties_of(properties, ';', &OLD),
            data: unescape(data, &OLD),
        })
    }
}

/// Tells whether a line could be a command at all, without looking closely.
///
/// For output at full speed: most lines are none, and need not even be UTF-8.
pub fn may_be_command(line: &[u8]) -> bool {
    let start = line.trim_ascii_start();
    // Other white space than that of ASCII is rare at the start of a line.
    start.starts_with(b"::")
        || start.first().is_some_and(|first| !first.is_ascii())
        || line.array_windows().any(|three: &[u8; 3]| three == b"##[")
}

fn properties_of(text: &str, separator: char, escapes: &[(&str, &str)]) -> Vec<(String, String)> {
    text.split(separator)
        .filter_map(|pair| {
            // Any number of `=` separates, since GitHub drops the empty parts between them.
            let (key, value) = pair.trim_start_matches('=').split_once('=')?;
            let value = value.trim_start_matches('=');
            (!value.is_empty()).then(|| (key.to_owned(), unescape(value, escapes)))
        })
        .collect()
}

fn unescape(text: &str, escapes: &[(&str, &str)]) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    escapes
        .iter()
        .fold(text.to_owned(), |text, (escaped, plain)| {
            text.replace(escaped, plain)
        })
}

/// What a line turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// Ordinary output: log the line.
    Text,
    /// A command: carry it out, and log the line first if it is to be shown.
    Command {
        /// What it is for.
        name: CommandName,
        /// The line taken apart.
        command: Command,
        /// Whether the line is to be logged.
        echo: bool,
    },
    /// Commands stop until the token comes as one: log the line.
    Stopped {
        /// The token, if it is to be masked from now on, this line included.
        secret: Option<String>,
    },
    /// Commands count again: log the line.
    Resumed,
}

/// A command could not be obeyed; the step fails.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CommandError {
    /// The step: output of a stranger could name such a token and so resume commands.
    #[error("the token of `stop-commands` is empty or the name of a command")]
    StopToken,
    /// The step: neither of the two words.
    #[error("the value of `echo` is neither `on` nor `off`")]
    Echo,
}

/// How a step's commands are read.
#[derive(Debug, Clone, Copy, Default)]
pub struct CommandOptions {
    /// Whether commands are shown from the start, as with step debugging.
    pub echo: bool,
    /// Whether `stop-commands` takes any token (`ACTIONS_ALLOW_UNSECURE_STOPCOMMAND_TOKENS`).
    pub any_stop_token: bool,
}

/// Reads the lines of one step, standard output and standard error alike.
#[derive(Debug, Clone)]
pub struct CommandReader {
    options: CommandOptions,
    echo: bool,
    stopped_by: Option<String>,
}

impl CommandReader {
    /// Returns a reader for a step that begins.
    pub fn new(options: CommandOptions) -> Self {
        Self {
            options,
            echo: options.echo,
            stopped_by: None,
        }
    }

    /// Tells what a line is, without its line end; `echo` and `stop-commands` are obeyed here.
    pub fn read(&mut self, line: &str) -> Result<Reading, CommandError> {
        let is_token = |name: &str| {
            self.stopped_by
                .as_deref()
                .is_some_and(|token| !token.is_empty() && token.eq_ignore_ascii_case(name))
        };
        let known = |name: &str| CommandName::find(name).is_some() || is_token(name);
        let Some(command) = Command::parse(line, known) else {
            return Ok(Reading::Text);
        };
        if self.stopped_by.is_some() {
            if !is_token(&command.name) {
                return Ok(Reading::Text);
            }
            self.stopped_by = None;
            return Ok(Reading::Resumed);
        }
        let Some(name) = CommandName::find(&command.name) else {
            return Ok(Reading::Text);
        };
        let echo = self.echo && !name.is_never_echoed();
        match name {
            CommandName::StopCommands => return self.stop(command.data),
            CommandName::Echo => self.set_echo(&command.data)?,
            _ => {}
        }
        Ok(Reading::Command {
            name,
            command,
            echo,
        })
    }

    fn stop(&mut self, token: String) -> Result<Reading, CommandError> {
        let weak = token.is_empty()
            || token.eq_ignore_ascii_case("pause-logging")
            || CommandName::find(&token).is_some();
        if weak && !self.options.any_stop_token {
            return Err(CommandError::StopToken);
        }
        let secret = (token.chars().count() > LONGEST_PLAIN_TOKEN).then(|| token.clone());
        self.stopped_by = Some(token);
        Ok(Reading::Stopped { secret })
    }

    fn set_echo(&mut self, value: &str) -> Result<(), CommandError> {
        let value = value.trim();
        if value.eq_ignore_ascii_case("on") {
            self.echo = true;
        } else if value.eq_ignore_ascii_case("off") {
            self.echo = false;
        } else {
            return Err(CommandError::Echo);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(_: &str) -> bool {
        true
    }

    fn kinds(reader: &mut CommandReader, lines: &[&str]) -> String {
        let words: Vec<String> = lines
            .iter()
            .map(|line| match reader.read(line) {
                Ok(Reading::Text) => "text".to_owned(),
                Ok(Reading::Command { name, echo, .. }) => {
                    format!("{}{}", name.as_str(), if echo { "!" } else { "" })
                }
                Ok(Reading::Stopped { secret }) => format!("stop {secret:?}"),
                Ok(Reading::Resumed) => "resume".to_owned(),
                Err(error) => error.to_string(),
            })
            .collect();
        words.join("; ")
    }

    #[test]
    fn lines_are_taken_apart_in_both_syntaxes() {
        for (line, expected) in [
            ("::error::boom", Some(("error", "", "boom"))),
            ("  \t::error::boom", Some(("error", "", "boom"))),
            ("x ::error::boom", None),
            ("::error:boom", None),
            ("##[error]boom", Some(("error", "", "boom"))),
            ("2026-11-25 ##[group]build", Some(("group", "", "build"))),
            (
                "::warning file=a.rs,line=3,title=%3A%2C%25::x%0Ay",
                Some(("warning", "file=a.rs line=3 title=:,%", "x\ny")),
            ),
            // What is no escape of the syntax stays.
            (
                "::error k=%5D::%3A%2C%3B",
                Some(("error", "k=%5D", "%3A%2C%3B")),
            ),
            (
                "##[error k=%3A;l=%5D]%2C",
                Some(("error", "k=%3A l=]", "%2C")),
            ),
            // Empty values and separators in a row.
            ("::error a=,b==c,,=d=e,f::", Some(("error", "b=c d=e", ""))),
            ("::error a=b=c::", Some(("error", "a=b=c", ""))),
            (
                "::set-output name=x::a::b",
                Some(("set-output", "name=x", "a::b")),
            ),
            ("##[unknown]##[error]x", Some(("unknown", "", "##[error]x"))),
            ("", None),
            ("::", None),
        ] {
            let got = Command::parse(line, any).map(|command| {
                let properties: Vec<String> = command
                    .properties
                    .iter()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect();
                (command.name, properties.join(" "), command.data)
            });
            let expected = expected.map(|(name, properties, data)| {
                (name.to_owned(), properties.to_owned(), data.to_owned())
            });
            assert_eq!(got, expected, "{line:?}");
            if got.is_some() {
                assert!(may_be_command(line.as_bytes()), "{line:?}");
            }
        }
        assert!(!may_be_command(b"compiling std::vec"));
        assert!(!may_be_command(&[b'a', 0xff, b':', b':']));
    }

    #[test]
    fn a_property_is_found_in_any_case_and_the_last_one_counts() {
        let command = Command::parse("::error File=a,file=b::", any).unwrap();
        assert_eq!(command.property("FILE"), Some("b"));
        assert_eq!(command.property("line"), None);
    }

    #[test]
    fn unknown_commands_are_text_and_known_ones_have_any_case() {
        let mut reader = CommandReader::new(CommandOptions::default());
        assert_eq!(
            kinds(
                &mut reader,
                &["::foo::", "::Error::x", "##[endgroup]", "::add-mask::s"]
            ),
            "text; error; endgroup; add-mask"
        );
    }

    #[test]
    fn nothing_is_a_command_between_the_stop_and_its_token() {
        let mut reader = CommandReader::new(CommandOptions::default());
        assert_eq!(
            kinds(
                &mut reader,
                &[
                    "::a-long-token::",
                    "::stop-commands::a-long-token",
                    "::error::x",
                    "::stop-commands::other",
                    "::other::",
                    "::A-Long-Token::",
                    "::error::x",
                    "::a-long-token::",
                    "::stop-commands::short",
                    "##[short]",
                    "::debug::x",
                ]
            ),
            "text; stop Some(\"a-long-token\"); text; text; text; resume; error; text; \
             stop None; resume; debug"
        );
    }

    #[test]
    fn echo_shows_commands_but_for_those_with_a_form_of_their_own() {
        let mut reader = CommandReader::new(CommandOptions::default());
        assert_eq!(
            kinds(
                &mut reader,
                &[
                    "::set-output name=a::b",
                    "::echo:: ON ",
                    "::set-output name=a::b",
                    "::add-mask::x",
                    "::warning::x",
                    "::echo::maybe",
                    "::echo::off",
                    "::set-output name=a::b",
                ]
            ),
            "set-output; echo; set-output!; add-mask; warning; \
             the value of `echo` is neither `on` nor `off`; echo!; set-output"
        );
    }

    #[test]
    fn a_weak_token_can_be_allowed() {
        let mut reader = CommandReader::new(CommandOptions {
            any_stop_token: true,
            ..CommandOptions::default()
        });
        assert_eq!(
            kinds(
                &mut reader,
                &["::stop-commands::error", "::warning::x", "::error::"]
            ),
            "stop None; text; resume"
        );
    }
}
