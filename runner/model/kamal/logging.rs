//! `logging:` and `output:`: where containers and the tool itself write.

use indexmap::IndexMap;

use super::escape;
use super::fields::Fields;
use super::setting::{Scalar, Setting};

/// The log driver of containers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Logging {
    /// Docker's log driver; Docker's own default without it.
    pub driver: Option<String>,
    /// Options of the driver.
    pub options: IndexMap<String, Scalar>,
}

impl Logging {
    /// Returns the options that count: 10 MB of log where nothing at all is configured.
    pub fn effective_options(&self) -> IndexMap<String, String> {
        if self.driver.is_none() && self.options.is_empty() {
            return IndexMap::from([("max-size".to_owned(), "10m".to_owned())]);
        }
        self.options
            .iter()
            .map(|(key, value)| (key.clone(), value.to_string()))
            .collect()
    }

    /// Returns Docker's arguments as Kamal writes them.
    pub fn to_args(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(driver) = &self.driver {
            words.push("--log-driver".to_owned());
            words.push(escape::shell_value(driver));
        }
        for (key, value) in self.effective_options() {
            words.push("--log-opt".to_owned());
            words.push(format!("{key}={}", escape::shell_value(&value)));
        }
        words
    }

    /// Reads `logging` below `fields`, laid over what `root` says.
    pub(super) fn read(fields: &Fields<'_>, root: Option<&Self>) -> Self {
        let mut logging = root.cloned().unwrap_or_default();
        let Some(own) = fields.hash("logging", &["driver", "options"]) else {
            return logging;
        };
        if let Some(driver) = own.string("driver") {
            logging.driver = Some(driver);
        }
        if let Some(options) = own.scalars("options") {
            logging.options.extend(options);
        }
        logging
    }
}

/// Where the output of deploys is written to, besides the console.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// An OpenTelemetry endpoint for logs over HTTP.
    pub otel_endpoint: Option<String>,
    /// A folder for one log file of each deploy.
    pub file_path: Option<String>,
}

impl Output {
    pub(super) fn read(fields: &Fields<'_>) -> Self {
        let Some(own) = fields.hash("output", &["otel", "file"]) else {
            return Self::default();
        };
        Self {
            otel_endpoint: own
                .hash("otel", &["endpoint"])
                .and_then(|otel| otel.string("endpoint")),
            file_path: own
                .hash("file", &["path"])
                .and_then(|file| file.string("path")),
        }
    }
}

/// How much of a hook's output is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookOutput {
    /// Only when it fails.
    Quiet,
    /// All of it.
    Verbose,
}

/// `hooks_output`: one word for all hooks, or a word for each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HooksOutput {
    /// What counts for hooks that are not named.
    pub default: Option<HookOutput>,
    /// What counts for single hooks.
    pub by_hook: IndexMap<String, HookOutput>,
}

impl HooksOutput {
    /// Returns what is configured for a hook.
    pub fn of(&self, hook: &str) -> Option<HookOutput> {
        self.by_hook.get(hook).copied().or(self.default)
    }

    pub(super) fn read(fields: &Fields<'_>) -> Self {
        let mut output = Self::default();
        let Some(setting) = fields.setting.get("hooks_output") else {
            return output;
        };
        if setting.is_hash() {
            for pair in setting.pairs() {
                if let Some(level) = level(fields, &pair.value, Some(&pair.key)) {
                    output.by_hook.insert(pair.key.clone(), level);
                }
            }
        } else {
            output.default = level(fields, setting, None);
        }
        output
    }
}

fn level(fields: &Fields<'_>, setting: &Setting, hook: Option<&str>) -> Option<HookOutput> {
    let path = fields.path("hooks_output");
    let Some(scalar) = setting.as_scalar() else {
        let context = hook.map_or_else(|| path.clone(), |hook| format!("{path}/{hook}"));
        fields.wrong_type(setting, &context, "a string");
        return None;
    };
    match scalar.to_string().as_str() {
        "quiet" => Some(HookOutput::Quiet),
        "verbose" => Some(HookOutput::Verbose),
        other => {
            let of_hook = hook.map_or_else(String::new, |hook| format!(" for hook '{hook}'"));
            let message =
                format!("Invalid hooks_output '{other}'{of_hook}, must be one of: quiet, verbose");
            fields.found.error("invalid-value", &setting.place, message);
            None
        }
    }
}
