//! The options of `docker run` that a configuration can name, with types for Docker's API.

use std::str::FromStr;

use indexmap::IndexMap;
use thiserror::Error;

use super::{spec::ContainerOption, time::Millis};

/// An option that cannot be used: the user's file is at fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OptionError {
    /// Docker would refuse the value, too.
    #[error("`{value}` is no value for option `{option}`")]
    Value {
        /// The option.
        option: String,
        /// The value.
        value: String,
    },
    /// The option takes a value and has none.
    #[error("option `{option}` needs a value")]
    NoValue {
        /// The option.
        option: String,
    },
    /// Docker's API has no place for it, or it would undo what a deploy relies on.
    #[error("option `{option}` of `docker run` is not supported")]
    Unknown {
        /// The option.
        option: String,
    },
}

/// The limits and settings of a container beyond those that every container has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// `memory`, in bytes.
    pub memory: Option<u64>,
    /// `memory-swap`, in bytes; -1 is no limit.
    pub memory_swap: Option<i64>,
    /// `memory-reservation`, in bytes.
    pub memory_reservation: Option<u64>,
    /// `memory-swappiness`, 0 to 100.
    pub memory_swappiness: Option<i64>,
    /// `cpus`, in billionths of a processor.
    pub nano_cpus: Option<u64>,
    /// `cpu-shares`.
    pub cpu_shares: Option<i64>,
    /// `cpu-period`, in microseconds.
    pub cpu_period: Option<i64>,
    /// `cpu-quota`, in microseconds.
    pub cpu_quota: Option<i64>,
    /// `cpuset-cpus`.
    pub cpuset_cpus: Option<String>,
    /// `cpuset-mems`.
    pub cpuset_mems: Option<String>,
    /// `blkio-weight`.
    pub blkio_weight: Option<u16>,
    /// `pids-limit`; -1 is no limit.
    pub pids_limit: Option<i64>,
    /// `shm-size`, in bytes.
    pub shm_size: Option<u64>,
    /// `ulimit`.
    pub ulimits: Vec<Ulimit>,
    /// `oom-kill-disable`.
    pub oom_kill_disable: Option<bool>,
    /// `oom-score-adj`.
    pub oom_score_adj: Option<i64>,
    /// `gpus`: how many; -1 is all of them.
    pub gpus: Option<i64>,
    /// `cap-add`.
    pub cap_add: Vec<String>,
    /// `cap-drop`.
    pub cap_drop: Vec<String>,
    /// `security-opt`.
    pub security_opt: Vec<String>,
    /// `privileged`.
    pub privileged: bool,
    /// `read-only`: whether the container's own file system cannot be written.
    pub read_only: bool,
    /// `device`.
    pub devices: Vec<Device>,
    /// `sysctl`.
    pub sysctls: IndexMap<String, String>,
    /// `tmpfs`: folders in memory, with their options.
    pub tmpfs: IndexMap<String, String>,
    /// `volumes-from`.
    pub volumes_from: Vec<String>,
    /// `storage-opt`.
    pub storage_opt: IndexMap<String, String>,
    /// `init`: whether a process of Docker's collects orphans.
    pub init: Option<bool>,
    /// `user`.
    pub user: Option<String>,
    /// `group-add`.
    pub group_add: Vec<String>,
    /// `workdir`.
    pub workdir: Option<String>,
    /// `entrypoint`: one word, in place of the image's.
    pub entrypoint: Option<String>,
    /// `domainname`.
    pub domainname: Option<String>,
    /// `stop-signal`.
    pub stop_signal: Option<String>,
    /// `tty`.
    pub tty: bool,
    /// `interactive`.
    pub interactive: bool,
    /// `no-healthcheck`: whether the image's health check is switched off.
    pub no_healthcheck: bool,
    /// `runtime`.
    pub runtime: Option<String>,
    /// `cgroup-parent`.
    pub cgroup_parent: Option<String>,
    /// `ipc`.
    pub ipc: Option<String>,
    /// `pid`.
    pub pid: Option<String>,
    /// `uts`.
    pub uts: Option<String>,
    /// `userns`.
    pub userns: Option<String>,
    /// `cgroupns`.
    pub cgroupns: Option<String>,
    /// `dns`.
    pub dns: Vec<String>,
    /// `dns-search`.
    pub dns_search: Vec<String>,
    /// `dns-option`.
    pub dns_options: Vec<String>,
    /// `add-host`, as `name:address`.
    pub extra_hosts: Vec<String>,
    /// `network-alias`: further names on the first network.
    pub network_aliases: Vec<String>,
    /// `expose`, as `80/tcp`.
    pub expose: Vec<String>,
}

/// A limit of the kernel for the processes of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ulimit {
    /// Its name, as `nofile`.
    pub name: String,
    /// What holds at first.
    pub soft: i64,
    /// What it can be raised to.
    pub hard: i64,
}

/// A device of the host in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its path on the host.
    pub host: String,
    /// Its path in the container.
    pub container: String,
    /// What may be done with it, of `r`, `w` and `m`.
    pub permissions: String,
}

impl RunOptions {
    /// Reads options; a later one replaces an earlier one, or is added where there can be several.
    pub fn read(options: &[ContainerOption]) -> Result<Self, OptionError> {
        let mut read = Self::default();
        for option in options {
            read.take(option)?;
        }
        Ok(read)
    }

    /// Reads one option on top of those before.
    pub fn take(&mut self, option: &ContainerOption) -> Result<(), OptionError> {
        let is_known = self.take_limit(option)?
            || self.take_right(option)?
            || self.take_process(option)?
            || self.take_network(option)?;
        if is_known {
            return Ok(());
        }
        Err(OptionError::Unknown {
            option: option.name.clone(),
        })
    }

    fn take_limit(&mut self, option: &ContainerOption) -> Result<bool, OptionError> {
        match option.name.as_str() {
            "memory" => self.memory = Some(option.bytes()?),
            "memory-swap" if option.text()? == "-1" => self.memory_swap = Some(-1),
            "memory-swap" => self.memory_swap = Some(option.signed_bytes()?),
            "memory-reservation" => self.memory_reservation = Some(option.bytes()?),
            "memory-swappiness" => self.memory_swappiness = Some(option.number()?),
            "cpus" => self.nano_cpus = Some(option.nano_cpus()?),
            "cpu-shares" => self.cpu_shares = Some(option.number()?),
            "cpu-period" => self.cpu_period = Some(option.number()?),
            "cpu-quota" => self.cpu_quota = Some(option.number()?),
            "cpuset-cpus" => self.cpuset_cpus = Some(option.owned()?),
            "cpuset-mems" => self.cpuset_mems = Some(option.owned()?),
            "blkio-weight" => self.blkio_weight = Some(option.number()?),
            "pids-limit" => self.pids_limit = Some(option.number()?),
            "shm-size" => self.shm_size = Some(option.bytes()?),
            "ulimit" => self.ulimits.push(option.ulimit()?),
            "oom-kill-disable" => self.oom_kill_disable = Some(option.flag()?),
            "oom-score-adj" => self.oom_score_adj = Some(option.number()?),
            "gpus" if option.text()? == "all" => self.gpus = Some(-1),
            "gpus" => self.gpus = Some(option.number()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn take_right(&mut self, option: &ContainerOption) -> Result<bool, OptionError> {
        match option.name.as_str() {
            "cap-add" => self.cap_add.push(option.owned()?),
            "cap-drop" => self.cap_drop.push(option.owned()?),
            "security-opt" => self.security_opt.push(option.owned()?),
            "privileged" => self.privileged = option.flag()?,
            "read-only" => self.read_only = option.flag()?,
            "device" => self.devices.push(option.device()?),
            "sysctl" => {
                let (name, value) = option.pair('=')?;
                self.sysctls.insert(name, value.unwrap_or_default());
            }
            "tmpfs" => {
                let (folder, options) = option.pair(':')?;
                self.tmpfs.insert(folder, options.unwrap_or_default());
            }
            "volumes-from" => self.volumes_from.push(option.owned()?),
            "storage-opt" => {
                let (name, value) = option.pair('=')?;
                self.storage_opt.insert(name, value.unwrap_or_default());
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn take_process(&mut self, option: &ContainerOption) -> Result<bool, OptionError> {
        match option.name.as_str() {
            "init" => self.init = Some(option.flag()?),
            "user" => self.user = Some(option.owned()?),
            "group-add" => self.group_add.push(option.owned()?),
            "workdir" => self.workdir = Some(option.owned()?),
            "entrypoint" => self.entrypoint = Some(option.owned()?),
            "domainname" => self.domainname = Some(option.owned()?),
            "stop-signal" => self.stop_signal = Some(option.owned()?),
            "tty" => self.tty = option.flag()?,
            "interactive" => self.interactive = option.flag()?,
            "no-healthcheck" => self.no_healthcheck = option.flag()?,
            "runtime" => self.runtime = Some(option.owned()?),
            "cgroup-parent" => self.cgroup_parent = Some(option.owned()?),
            "ipc" => self.ipc = Some(option.owned()?),
            "pid" => self.pid = Some(option.owned()?),
            "uts" => self.uts = Some(option.owned()?),
            "userns" => self.userns = Some(option.owned()?),
            "cgroupns" => self.cgroupns = Some(option.owned()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn take_network(&mut self, option: &ContainerOption) -> Result<bool, OptionError> {
        match option.name.as_str() {
            "dns" => self.dns.push(option.owned()?),
            "dns-search" => self.dns_search.push(option.owned()?),
            "dns-option" | "dns-opt" => self.dns_options.push(option.owned()?),
            // The newer form has `=` between name and address; the API takes only `:`.
            "add-host" => self.extra_hosts.push(option.text()?.replacen('=', ":", 1)),
            "network-alias" | "net-alias" => self.network_aliases.push(option.owned()?),
            "expose" => {
                let port = option.text()?;
                let protocol = if port.contains('/') { "" } else { "/tcp" };
                self.expose.push(format!("{port}{protocol}"));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl ContainerOption {
    fn wrong(&self) -> OptionError {
        match &self.value {
            Some(value) => OptionError::Value {
                option: self.name.clone(),
                value: value.clone(),
            },
            None => OptionError::NoValue {
                option: self.name.clone(),
            },
        }
    }

    /// The value, which must be there.
    pub(super) fn text(&self) -> Result<&str, OptionError> {
        let value = self.value.as_deref().filter(|value| !value.is_empty());
        value.ok_or_else(|| self.wrong())
    }

    fn owned(&self) -> Result<String, OptionError> {
        self.text().map(str::to_owned)
    }

    fn flag(&self) -> Result<bool, OptionError> {
        match self.value.as_deref() {
            None | Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(self.wrong()),
        }
    }

    pub(super) fn number<T: FromStr>(&self) -> Result<T, OptionError> {
        self.text()?.parse().map_err(|_| self.wrong())
    }

    fn bytes(&self) -> Result<u64, OptionError> {
        bytes(self.text()?).ok_or_else(|| self.wrong())
    }

    fn signed_bytes(&self) -> Result<i64, OptionError> {
        i64::try_from(self.bytes()?).map_err(|_| self.wrong())
    }

    fn nano_cpus(&self) -> Result<u64, OptionError> {
        nano_cpus(self.text()?).ok_or_else(|| self.wrong())
    }

    /// The value as a time in Go's words, `1m30s`.
    pub(super) fn time(&self) -> Result<Millis, OptionError> {
        go_duration(self.text()?).ok_or_else(|| self.wrong())
    }

    /// The parts before and behind the first `separator`.
    pub(super) fn pair(&self, separator: char) -> Result<(String, Option<String>), OptionError> {
        let text = self.text()?;
        Ok(match text.split_once(separator) {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (text.to_owned(), None),
        })
    }

    fn ulimit(&self) -> Result<Ulimit, OptionError> {
        let (name, limits) = self.pair('=')?;
        let limits = limits.ok_or_else(|| self.wrong())?;
        let (soft, hard) = limits.split_once(':').unwrap_or((&limits, &limits));
        let number = |text: &str| text.parse().map_err(|_| self.wrong());
        Ok(Ulimit {
            name,
            soft: number(soft)?,
            hard: number(hard)?,
        })
    }

    fn device(&self) -> Result<Device, OptionError> {
        let text = self.text()?;
        let mut parts = text.split(':');
        let host = parts.next().unwrap_or_default().to_owned();
        let is_permissions =
            |text: &str| !text.is_empty() && text.chars().all(|c| "rwm".contains(c));
        let (container, permissions) = match (parts.next(), parts.next(), parts.next()) {
            (None, ..) => (host.clone(), "rwm"),
            (Some(one), None, _) if is_permissions(one) => (host.clone(), one),
            (Some(path), None, _) => (path.to_owned(), "rwm"),
            (Some(path), Some(some), None) if is_permissions(some) => (path.to_owned(), some),
            _ => return Err(self.wrong()),
        };
        Ok(Device {
            host,
            container,
            permissions: permissions.to_owned(),
        })
    }
}

/// Reads a size in Docker's words: `512m`, `1.5g`, `2GiB`; a number alone is bytes.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(unit_at.unwrap_or(text.len()));
    let unit = unit.trim_start().to_ascii_lowercase();
    let shift = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().ok()?;
    let size = whole.checked_mul(1 << shift)?;
    if fraction.is_empty() {
        return Some(size);
    }
    let scale = 10u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = u128::from(fraction.parse::<u64>().ok()?) << shift;
    size.checked_add(u64::try_from(part / u128::from(scale)).ok()?)
}

/// Reads a number of processors, with at most nine digits behind the point, as billionths.
pub(super) fn nano_cpus(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let is_number = digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    if whole.len() > 6 || fraction.len() > 9 || !is_number {
        return None;
    }
    format!("{whole}{fraction:0<9}").parse().ok()
}

/// Reads a time in Go's words: `1m30s`, `500ms`.
pub(super) fn go_duration(text: &str) -> Option<Millis> {
    let mut rest = text;
    let mut sum = 0u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, from) = rest.split_at(digits);
        let unit_end = from
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(from.len());
        let (unit, behind) = from.split_at(unit_end);
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        sum = sum.checked_add(number.parse::<u64>().ok()?.checked_mul(factor)?)?;
        rest = behind;
    }
    (!text.is_empty()).then_some(Millis(sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(name: &str, value: &str) -> ContainerOption {
        ContainerOption {
            name: name.to_owned(),
            value: (!value.is_empty()).then(|| value.to_owned()),
        }
    }

    fn read(options: &[(&str, &str)]) -> Result<RunOptions, OptionError> {
        let options: Vec<_> = options
            .iter()
            .map(|(name, value)| option(name, value))
            .collect();
        RunOptions::read(&options)
    }

    #[test]
    fn options_get_their_types() {
        let read = read(&[
            ("memory", "1.5g"),
            ("memory-swap", "-1"),
            ("cpus", "2.0"),
            ("cap-add", "SYS_PTRACE"),
            ("cap-add", "NET_ADMIN"),
            ("init", ""),
            ("ulimit", "nofile=1024:2048"),
            ("device", "/dev/fuse:r"),
            ("device", "/dev/a:/dev/b:rw"),
            ("add-host", "db=10.0.0.1"),
            ("tmpfs", "/run:size=1m"),
            ("gpus", "all"),
            ("expose", "80"),
        ])
        .unwrap();
        assert_eq!(read.memory, Some(3 << 29));
        assert_eq!(read.memory_swap, Some(-1));
        assert_eq!(read.nano_cpus, Some(2_000_000_000));
        assert_eq!(read.cap_add, ["SYS_PTRACE", "NET_ADMIN"]);
        assert_eq!(read.init, Some(true));
        assert_eq!((read.ulimits[0].soft, read.ulimits[0].hard), (1024, 2048));
        assert_eq!(read.devices[0].container, "/dev/fuse");
        assert_eq!(read.devices[0].permissions, "r");
        assert_eq!(read.devices[1].container, "/dev/b");
        assert_eq!(read.extra_hosts, ["db:10.0.0.1"]);
        assert_eq!(read.tmpfs["/run"], "size=1m");
        assert_eq!(read.gpus, Some(-1));
        assert_eq!(read.expose, ["80/tcp"]);
    }

    #[test]
    fn what_cannot_be_expressed_is_named() {
        for (name, value, error) in [
            (
                "cidfile",
                "/x",
                "option `cidfile` of `docker run` is not supported",
            ),
            ("memory", "2x", "`2x` is no value for option `memory`"),
            ("memory", "", "option `memory` needs a value"),
            (
                "ulimit",
                "nofile",
                "`nofile` is no value for option `ulimit`",
            ),
            ("init", "maybe", "`maybe` is no value for option `init`"),
            (
                "device",
                "a:b:c:d",
                "`a:b:c:d` is no value for option `device`",
            ),
        ] {
            assert_eq!(read(&[(name, value)]).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn times_are_those_of_go() {
        for (text, time) in [
            ("1m30s", Some(90_000)),
            ("500ms", Some(500)),
            ("2h", Some(7_200_000)),
        ] {
            assert_eq!(go_duration(text), time.map(Millis), "{text}");
        }
        for text in ["", "5", "s", "1d", "1.5s"] {
            assert_eq!(go_duration(text), None, "{text}");
        }
    }
}
