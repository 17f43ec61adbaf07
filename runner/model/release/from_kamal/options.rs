//! `options:` of a role, an accessory or the proxy, sorted by where they belong.

use indexmap::IndexMap;

use super::error::{Problems, Reason};
use crate::kamal::{DockerOptions, Logging, Scalar, shell_value};
use crate::release::{
    CommandError, ContainerOption, HealthCheck, LogSettings, Millis, OptionError, RunOptions,
    command_words,
};

/// Options of `docker run`, each where a container has its place for it.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    pub(super) publish: Vec<String>,
    pub(super) volumes: Vec<String>,
    pub(super) networks: Vec<String>,
    pub(super) env: IndexMap<String, String>,
    pub(super) labels: IndexMap<String, String>,
    pub(super) hostname: Option<String>,
    /// The proxy's; elsewhere Kamal takes it out before.
    pub(super) restart: Option<String>,
    pub(super) stop_timeout: Option<Millis>,
    pub(super) health_check: Option<HealthCheck>,
    pub(super) log_driver: Option<String>,
    pub(super) log_options: IndexMap<String, String>,
    /// What [`RunOptions`] reads.
    pub(super) others: Vec<ContainerOption>,
}

impl Sorted {
    /// Sorts the options at the path `at`.
    pub(super) fn new(options: &DockerOptions, at: &str, problems: &mut Problems) -> Self {
        let mut sorted = Self::default();
        let mut checked = RunOptions::default();
        for (name, values) in &options.values {
            let at = format!("{at}/{name}");
            for value in values {
                let value = match value {
                    Scalar::Boolean(true) => None,
                    value => Some(problems.take(&at, plain_value(&value.to_string()))),
                };
                let name = name.clone();
                let option = ContainerOption { name, value };
                match sorted.take(&option) {
                    Ok(true) => {}
                    Ok(false) => match checked.take(&option) {
                        Ok(()) => sorted.others.push(option),
                        Err(error) => problems.add(&at, error),
                    },
                    Err(reason) => problems.add(&at, reason),
                }
            }
        }
        sorted
    }

    /// Takes an option that a container has a place of its own for.
    fn take(&mut self, option: &ContainerOption) -> Result<bool, Reason> {
        match option.name.as_str() {
            "publish" => self.publish.push(option.text()?.to_owned()),
            "volume" => self.volumes.push(volume(option.text()?)?),
            "mount" => self.volumes.push(mount(option)?),
            "network" | "net" => self.networks.push(network(option.text()?)?),
            "restart" => self.restart = Some(option.text()?.to_owned()),
            "hostname" => self.hostname = Some(option.text()?.to_owned()),
            "stop-timeout" => self.stop_timeout = Some(Millis::from_secs(option.number()?)),
            "env" => {
                let (name, value) = option.pair('=')?;
                // Without a value it would be one of the server's own.
                let Some(value) = value else {
                    return Err(Reason::Unsupported(
                        "a variable of the server's environment",
                    ));
                };
                self.env.insert(name, value);
            }
            "label" => {
                let (name, value) = option.pair('=')?;
                self.labels.insert(name, value.unwrap_or_default());
            }
            "log-driver" => self.log_driver = Some(option.text()?.to_owned()),
            "log-opt" => {
                let (name, value) = option.pair('=')?;
                self.log_options.insert(name, value.unwrap_or_default());
            }
            "detach" => {}
            _ => return self.take_health(option),
        }
        Ok(true)
    }

    fn take_health(&mut self, option: &ContainerOption) -> Result<bool, Reason> {
        let Some(part) = option.name.strip_prefix("health-") else {
            return Ok(false);
        };
        let mut check = self.health_check.clone().unwrap_or_default();
        match part {
            "cmd" => check.command = option.text()?.to_owned(),
            "interval" => check.interval = option.time()?,
            "timeout" => check.timeout = option.time()?,
            "retries" => check.retries = option.number()?,
            "start-period" => check.start_period = option.time()?,
            _ => return Ok(false),
        }
        self.health_check = Some(check);
        Ok(true)
    }

    /// The log driver and its options: those of `logging`, with the options of `docker run` on top.
    pub(super) fn logging(&self, logging: &Logging) -> LogSettings {
        let mut options = logging.effective_options();
        if self.log_driver.is_some() && logging.driver.is_none() && logging.options.is_empty() {
            // The limit that is there by default is one of the default driver's options.
            options.clear();
        }
        options.extend(self.log_options.clone());
        let driver = self.log_driver.clone().or_else(|| logging.driver.clone());
        LogSettings { driver, options }
    }
}

/// Returns what arrives in a container of a value that Kamal writes for the server's shell.
///
/// Control characters arrive as Ruby dumps them, a line break as `\n`. `${…}`, which the shell
/// would expand, is refused.
pub(super) fn plain_value(value: &str) -> Result<String, CommandError> {
    Ok(command_words(&shell_value(value))?.concat())
}

/// Reads a volume as it stands in the configuration; the home folder becomes `$PWD`.
///
/// Kamal gives volumes to the server's shell without quotes.
pub(super) fn volume(text: &str) -> Result<String, Reason> {
    let homes = [
        "$PWD/", "${PWD}/", "$(pwd)/", "$HOME/", "${HOME}/", "~/", "./",
    ];
    let text = text.trim();
    let inside = homes.iter().find_map(|home| text.strip_prefix(home));
    let rest = inside.unwrap_or(text);
    if rest.contains('$') || rest.contains('`') {
        let expansion = CommandError::Expansion(text.to_owned());
        return Err(expansion.into());
    }
    if rest.split(':').any(str::is_empty) || rest.split(':').count() > 3 {
        let wrong = OptionError::Value {
            option: "volume".to_owned(),
            value: text.to_owned(),
        };
        return Err(wrong.into());
    }
    Ok(inside.map_or_else(|| text.to_owned(), |inside| format!("$PWD/{inside}")))
}

/// Reads `type=bind|volume,source=…,target=…[,readonly]` as a volume.
fn mount(option: &ContainerOption) -> Result<String, Reason> {
    let wrong = || OptionError::Value {
        option: option.name.clone(),
        value: option.value.clone().unwrap_or_default(),
    };
    let (mut kind, mut source, mut target, mut suffix) = ("volume", None, None, "");
    for part in option.text()?.split(',') {
        let (name, value) = part.split_once('=').unwrap_or((part, "true"));
        match (name, value) {
            ("type", value) => kind = value,
            ("source" | "src", value) => source = Some(value),
            ("target" | "destination" | "dst", value) => target = Some(value),
            ("readonly" | "ro", "true" | "1") => suffix = ":ro",
            _ => return Err(wrong().into()),
        }
    }
    match (kind, source, target) {
        ("bind" | "volume", Some(source), Some(target)) => {
            volume(&format!("{source}:{target}{suffix}"))
        }
        ("volume", None, Some(target)) => Ok(target.to_owned()),
        _ => Err(wrong().into()),
    }
}

fn network(name: &str) -> Result<String, Reason> {
    if matches!(name, "host" | "none") || name.starts_with("container:") {
        return Err(Reason::Unsupported(
            "a container of the application is on network `kamal`, which this excludes",
        ));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_arrive_as_kamal_passes_them() {
        for (value, arrives) in [
            ("a b\"c'd\\", "a b\"c'd\\"),
            ("$HOME `id`", "$HOME `id`"),
            ("a\nb", "a\\nb"),
            ("ünïcode", "ünïcode"),
            ("#{x}", "\\#{x}"),
        ] {
            assert_eq!(plain_value(value).unwrap(), arrives, "{value}");
        }
        assert!(plain_value("${HOST}").is_err());
    }

    #[test]
    fn volumes_of_the_home_folder_are_written_in_one_way() {
        for (text, expected) in [
            ("~/data:/data", Some("$PWD/data:/data")),
            ("$(pwd)/a:/b:ro", Some("$PWD/a:/b:ro")),
            ("shop_storage:/storage", Some("shop_storage:/storage")),
            ("/var/x:/x", Some("/var/x:/x")),
            ("$OTHER/x:/x", None),
            ("a:", None),
            ("a:b:c:d", None),
        ] {
            assert_eq!(volume(text).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn mounts_become_volumes() {
        for (text, expected) in [
            ("type=bind,src=/a,dst=/b,readonly", Some("/a:/b:ro")),
            ("source=v,target=/v", Some("v:/v")),
            ("target=/v", Some("/v")),
            ("type=tmpfs,target=/v", None),
            (
                "type=bind,source=/a,target=/b,bind-propagation=shared",
                None,
            ),
        ] {
            let option = ContainerOption {
                name: "mount".to_owned(),
                value: Some(text.to_owned()),
            };
            assert_eq!(mount(&option).ok().as_deref(), expected, "{text}");
        }
    }
}
