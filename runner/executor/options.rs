//! `options` of a container: what `docker create` takes, read without its command.

use std::collections::BTreeMap;
use std::time::Duration;

use thiserror::Error;

use super::words::{Quotes, split};
use crate::docker::{
    ContainerSpec, HealthCheck, LogSettings, Publish, RestartPolicy, SpecError, Ulimit, parse_bytes,
};

/// An option that cannot be obeyed: the workflow's fault.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum OptionError {
    /// The runner decides that itself.
    #[error("the option `{name}` is refused: {reason}")]
    Refused {
        /// The option.
        name: String,
        /// Who decides it.
        reason: &'static str,
    },
    /// It is not known here.
    #[error("the option `{0}` is not supported")]
    Unknown(String),
    /// A word that belongs to no option.
    #[error("`{0}` is no option")]
    Word(String),
    /// It ends before its value.
    #[error("the option `{0}` has no value")]
    NoValue(String),
    /// Its value is of the wrong form.
    #[error("the value `{value}` of the option `{name}` is not {expected}")]
    Value {
        /// The option.
        name: String,
        /// What was given.
        value: String,
        /// What is expected.
        expected: &'static str,
    },
}

/// When an image is asked for in its registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// Where it is not on this machine, so that a machine without a network can work.
    #[default]
    Missing,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Which options are the runner's own matter.
///
/// Source: GitHub, `jobs.<job_id>.container.options` and `jobs.<job_id>.services.<id>.options`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// The container of a job: its steps run in it, so it has no command of its own.
    Job,
    /// A service.
    Service,
}

/// The short names of options.
const SHORT: &[(char, &str)] = &[
    ('c', "cpu-shares"),
    ('e', "env"),
    ('h', "hostname"),
    ('i', "interactive"),
    ('l', "label"),
    ('m', "memory"),
    ('p', "publish"),
    ('t', "tty"),
    ('u', "user"),
    ('v', "volume"),
    ('w', "workdir"),
];

/// The options that need no value.
const SWITCHES: &[&str] = &[
    "init",
    "interactive",
    "no-healthcheck",
    "privileged",
    "read-only",
    "rm",
    "tty",
];

/// The options that need a value.
const VALUES: &[&str] = &[
    "add-host",
    "cap-add",
    "cap-drop",
    "cpu-shares",
    "cpus",
    "device",
    "dns",
    "entrypoint",
    "env",
    "group-add",
    "health-cmd",
    "health-interval",
    "health-retries",
    "health-start-period",
    "health-timeout",
    "hostname",
    "label",
    "log-driver",
    "log-opt",
    "memory",
    "memory-swap",
    "net-alias",
    "network-alias",
    "pids-limit",
    "platform",
    "publish",
    "pull",
    "restart",
    "security-opt",
    "shm-size",
    "stop-signal",
    "stop-timeout",
    "sysctl",
    "tmpfs",
    "ulimit",
    "user",
    "volume",
    "workdir",
];

/// Reads options into a specification; the first that cannot be obeyed is the error.
pub(super) fn read(
    text: &str,
    owner: Owner,
    spec: &mut ContainerSpec,
) -> Result<PullPolicy, OptionError> {
    let mut reader = Reader {
        owner,
        spec,
        pull: PullPolicy::default(),
    };
    let mut words = split(text, Quotes::Both).into_iter();
    while let Some(word) = words.next() {
        if let Some(long) = word.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            reader.option(name, value, &mut words)?;
        } else if let Some(short) = word.strip_prefix('-').filter(|short| !short.is_empty()) {
            reader.short(short, &mut words)?;
        } else {
            return Err(OptionError::Word(word));
        }
    }
    Ok(reader.pull)
}

struct Reader<'a> {
    owner: Owner,
    spec: &'a mut ContainerSpec,
    pull: PullPolicy,
}

impl Reader<'_> {
    /// Reads short options, which can stand together: `-it`, `-eNAME=value`, `-m=1g`.
    fn short(
        &mut self,
        text: &str,
        words: &mut impl Iterator<Item = String>,
    ) -> Result<(), OptionError> {
        let mut rest = text.chars();
        while let Some(letter) = rest.next() {
            let found = SHORT.iter().find(|(short, _)| *short == letter);
            let Some((_, name)) = found else {
                return Err(OptionError::Unknown(format!("-{letter}")));
            };
            if SWITCHES.contains(name) {
                self.option(name, None, words)?;
                continue;
            }
            let value = rest.as_str();
            let value = value.strip_prefix('=').unwrap_or(value);
            let value = (!value.is_empty()).then(|| value.to_owned());
            return self.option(name, value, words);
        }
        Ok(())
    }

    fn option(
        &mut self,
        name: &str,
        value: Option<String>,
        words: &mut impl Iterator<Item = String>,
    ) -> Result<(), OptionError> {
        let full = format!("--{name}");
        if let Some(reason) = self.refusal(name) {
            return Err(OptionError::Refused { name: full, reason });
        }
        if SWITCHES.contains(&name) {
            let is_on = match value.as_deref() {
                None | Some("true" | "1") => true,
                Some("false" | "0") => false,
                Some(other) => return Err(wrong(&full, other, "true or false")),
            };
            self.switch(name, is_on);
            return Ok(());
        }
        let known = VALUES.contains(&name);
        let value = match value {
            Some(value) => value,
            None if known => words.next().ok_or(OptionError::NoValue(full.clone()))?,
            None => return Err(OptionError::Unknown(full)),
        };
        if !known {
            return Err(OptionError::Unknown(full));
        }
        self.value(name, value).map_err(|problem| match problem {
            Problem::Expected(value, expected) => wrong(&full, &value, expected),
            Problem::Spec(error) => wrong(&full, &error.text, error.expected),
        })
    }

    fn refusal(&self, name: &str) -> Option<&'static str> {
        match name {
            "name" | "cidfile" => Some("the runner names its containers"),
            "network" | "net" => Some("containers of a job are in a network of the job"),
            "entrypoint" if self.owner == Owner::Job => {
                Some("the steps of the job run in this container")
            }
            "env-file" | "label-file" => Some("a file of this machine is not read"),
            _ => None,
        }
    }

    fn switch(&mut self, name: &str, is_on: bool) {
        let spec = &mut *self.spec;
        match name {
            "init" => spec.init = Some(is_on),
            "interactive" => spec.open_stdin = is_on,
            "no-healthcheck" if is_on => spec.health = Some(HealthCheck::default()),
            "privileged" => spec.privileged = is_on,
            "read-only" => spec.read_only = is_on,
            "tty" => spec.tty = is_on,
            // `rm`: the runner removes the container in any case, after its last words were read.
            _ => {}
        }
    }

    fn value(&mut self, name: &str, value: String) -> Result<(), Problem> {
        if let Some(part) = name.strip_prefix("health-") {
            return self.health(part, value);
        }
        let spec = &mut *self.spec;
        match name {
            "add-host" => spec.extra_hosts.push(value),
            "cap-add" => spec.cap_add.push(value),
            "cap-drop" => spec.cap_drop.push(value),
            "device" => spec.devices.push(value),
            "dns" => spec.dns.push(value),
            "group-add" => spec.groups.push(value),
            "network-alias" | "net-alias" => spec.aliases.push(value),
            "security-opt" => spec.security_options.push(value),
            "volume" => spec.volumes.push(value),
            "publish" => spec.publish.push(Publish::parse(&value)?),
            "env" => spec.env.0.push(pair(value, "NAME=value")?),
            "label" => {
                let (key, value) = value.split_once('=').unwrap_or((value.as_str(), ""));
                spec.labels.insert(key.to_owned(), value.to_owned());
            }
            "sysctl" => insert(&mut spec.sysctls, pair(value, "NAME=value")?),
            "tmpfs" => {
                let (path, options) = value.split_once(':').unwrap_or((value.as_str(), ""));
                spec.tmpfs.insert(path.to_owned(), options.to_owned());
            }
            "ulimit" => spec.ulimits.push(ulimit(&value)?),
            "log-driver" => spec.log.get_or_insert_default().driver = value,
            "log-opt" => {
                let log: &mut LogSettings = spec.log.get_or_insert_default();
                insert(&mut log.options, pair(value, "NAME=value")?);
            }
            "entrypoint" => spec.entrypoint = Some(vec![value]),
            "hostname" => spec.hostname = Some(value),
            "platform" => spec.platform = Some(value),
            "stop-signal" => spec.stop_signal = Some(value),
            "user" => spec.user = Some(value),
            "workdir" => spec.workdir = Some(value),
            "restart" => spec.restart = RestartPolicy::parse(&value)?,
            "pull" => {
                self.pull = match value.as_str() {
                    "missing" => PullPolicy::Missing,
                    "always" => PullPolicy::Always,
                    "never" => PullPolicy::Never,
                    _ => return Err(Problem::Expected(value, "always, missing or never")),
                }
            }
            _ => self.number(name, value)?,
        }
        Ok(())
    }

    fn number(&mut self, name: &str, value: String) -> Result<(), Problem> {
        let spec = &mut *self.spec;
        match name {
            "memory" => spec.memory = Some(parse_bytes(&value)?),
            "memory-swap" if value == "-1" => spec.memory_swap = Some(-1),
            "memory-swap" => {
                let bytes = parse_bytes(&value)?;
                spec.memory_swap = Some(i64::try_from(bytes).unwrap_or(i64::MAX));
            }
            "shm-size" => spec.shm_size = Some(parse_bytes(&value)?),
            "cpus" => {
                let cpus: f64 = parsed(value, "a number of processors")?;
                spec.cpus = Some(cpus);
            }
            "cpu-shares" => spec.cpu_shares = Some(parsed(value, "a whole number")?),
            "pids-limit" => spec.pids_limit = Some(parsed(value, "a whole number")?),
            "stop-timeout" => {
                let seconds = parsed(value, "a number of seconds")?;
                spec.stop_timeout = Some(Duration::from_secs(seconds));
            }
            _ => return Err(Problem::Expected(value, "known")),
        }
        Ok(())
    }

    fn health(&mut self, part: &str, value: String) -> Result<(), Problem> {
        // An empty command is the image's own.
        let health = self.spec.health.get_or_insert_with(|| HealthCheck {
            command: Some(String::new()),
            ..HealthCheck::default()
        });
        match part {
            "cmd" => health.command = Some(value),
            "interval" => health.interval = Some(duration(&value)?),
            "timeout" => health.timeout = Some(duration(&value)?),
            "start-period" => health.start_period = Some(duration(&value)?),
            "retries" => health.retries = Some(parsed(value, "a whole number")?),
            _ => return Err(Problem::Expected(value, "known")),
        }
        Ok(())
    }
}

/// What is wrong with a value: what it is, and what it should be.
enum Problem {
    Expected(String, &'static str),
    Spec(SpecError),
}

impl From<SpecError> for Problem {
    fn from(error: SpecError) -> Self {
        Self::Spec(error)
    }
}

fn wrong(name: &str, value: &str, expected: &'static str) -> OptionError {
    OptionError::Value {
        name: name.to_owned(),
        value: value.to_owned(),
        expected,
    }
}

fn parsed<T: std::str::FromStr>(value: String, expected: &'static str) -> Result<T, Problem> {
    value
        .parse()
        .map_err(|_| Problem::Expected(value, expected))
}

fn pair(value: String, expected: &'static str) -> Result<(String, String), Problem> {
    match value.split_once('=') {
        Some((name, text)) if !name.is_empty() => Ok((name.to_owned(), text.to_owned())),
        // Without a value Docker takes that of its own environment, which is not the job's.
        _ => Err(Problem::Expected(value, expected)),
    }
}

fn insert(map: &mut BTreeMap<String, String>, (name, value): (String, String)) {
    map.insert(name, value);
}

fn ulimit(value: &str) -> Result<Ulimit, Problem> {
    let read = || {
        let (name, limits) = value.split_once('=')?;
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        Some(Ulimit {
            name: name.to_owned(),
            soft: soft.parse().ok()?,
            hard: hard.parse().ok()?,
        })
    };
    read().ok_or_else(|| Problem::Expected(value.to_owned(), "like `nofile=1024:2048`"))
}

/// Reads a duration as Docker writes it: `1m30s`, `1.5s`, `500ms`; a bare number is nanoseconds.
fn duration(value: &str) -> Result<Duration, Problem> {
    let read = || {
        let mut rest = value;
        let mut seconds = 0.0;
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
            let (number, tail) = rest.split_at_checked(end)?;
            let unit_end = tail
                .find(|c: char| c.is_ascii_digit() || c == '.')
                .unwrap_or(tail.len());
            let (unit, after) = tail.split_at_checked(unit_end)?;
            let factor = match unit {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
            seconds += number.parse::<f64>().ok()? * factor;
            rest = after;
        }
        Duration::try_from_secs_f64(seconds).ok()
    };
    if value == "0" {
        return Ok(Duration::ZERO);
    }
    read().ok_or_else(|| Problem::Expected(value.to_owned(), "a time like `10s` or `1m30s`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(text: &str) -> Result<(ContainerSpec, PullPolicy), OptionError> {
        let mut spec = ContainerSpec::default();
        let pull = read(text, Owner::Service, &mut spec)?;
        Ok((spec, pull))
    }

    #[test]
    fn health_options_are_read() {
        let text = "--health-cmd \"pg_isready -U x\" --health-interval 10s --health-timeout=5s \
                    --health-retries 5 --health-start-period 1m30s";
        let (spec, _) = service(text).unwrap();
        let expected = HealthCheck {
            command: Some("pg_isready -U x".into()),
            interval: Some(Duration::from_secs(10)),
            timeout: Some(Duration::from_secs(5)),
            start_period: Some(Duration::from_secs(90)),
            retries: Some(5),
        };
        assert_eq!(spec.health, Some(expected));
        let (spec, _) = service("--health-interval 1.5s").unwrap();
        let health = spec.health.unwrap();
        assert_eq!(health.command.as_deref(), Some(""), "the image's own");
        assert_eq!(health.interval, Some(Duration::from_millis(1500)));
        let (spec, _) = service("--no-healthcheck").unwrap();
        assert_eq!(spec.health, Some(HealthCheck::default()));
    }

    #[test]
    fn limits_and_names_are_read() {
        let text = "--cpus 1.5 -m 512m --memory-swap -1 --user 1000:1000 -e A=b=c -eD=e -v a:/b \
                    -p 8080:80 --ulimit nofile=10:20 --tmpfs /x:size=1m -it --init --read-only=false \
                    --network-alias other --pull always -h box --shm-size=1g";
        let (spec, pull) = service(text).unwrap();
        assert_eq!(spec.cpus, Some(1.5));
        assert_eq!(spec.memory, Some(512 << 20));
        assert_eq!(spec.memory_swap, Some(-1));
        assert_eq!(spec.user.as_deref(), Some("1000:1000"));
        let env = [("A", "b=c"), ("D", "e")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(spec.env.0, env);
        assert_eq!(spec.volumes, ["a:/b"]);
        assert_eq!(spec.publish, [Publish::parse("8080:80").unwrap()]);
        assert_eq!((spec.ulimits[0].soft, spec.ulimits[0].hard), (10, 20));
        assert_eq!(spec.tmpfs["/x"], "size=1m");
        assert!(spec.tty && spec.open_stdin && spec.init == Some(true) && !spec.read_only);
        assert_eq!(spec.aliases, ["other"]);
        assert_eq!(pull, PullPolicy::Always);
        assert_eq!(spec.hostname.as_deref(), Some("box"));
        assert_eq!(spec.shm_size, Some(1 << 30));
    }

    #[test]
    fn what_cannot_be_obeyed_is_refused_by_name() {
        for (text, expected) in [
            (
                "--name x",
                "the option `--name` is refused: the runner names its containers",
            ),
            (
                "--network host",
                "the option `--network` is refused: containers of a job are in a network of the job",
            ),
            ("--gpus all", "the option `--gpus` is not supported"),
            ("--mount=type=bind", "the option `--mount` is not supported"),
            ("-x", "the option `-x` is not supported"),
            ("nginx", "`nginx` is no option"),
            ("--cpus", "the option `--cpus` has no value"),
            (
                "--cpus many",
                "the value `many` of the option `--cpus` is not a number of processors",
            ),
            (
                "-e HOME",
                "the value `HOME` of the option `--env` is not NAME=value",
            ),
            (
                "--health-interval 10",
                "the value `10` of the option `--health-interval` is not a time like `10s` or `1m30s`",
            ),
            (
                "--memory x",
                "the value `x` of the option `--memory` is not a size like `512m` or `2g`",
            ),
            (
                "--init=maybe",
                "the value `maybe` of the option `--init` is not true or false",
            ),
        ] {
            let error = service(text).unwrap_err();
            assert_eq!(error.to_string(), expected, "{text}");
        }
    }

    #[test]
    fn the_container_of_a_job_keeps_the_runners_entrypoint() {
        let mut spec = ContainerSpec::default();
        assert!(read("--entrypoint x", Owner::Job, &mut spec).is_err());
        let (spec, _) = service("--entrypoint x").unwrap();
        assert_eq!(spec.entrypoint, Some(vec!["x".to_owned()]));
    }
}
