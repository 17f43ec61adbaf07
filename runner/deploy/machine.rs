//! Which process this is, so exactly that another one with the same number is not taken for it.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::release::{Machine, UnixMillis};

/// This process.
pub(super) fn this() -> Machine {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let pid = std::process::id();
    Machine {
        boot: boot.trim().to_owned(),
        pid_namespace: namespace.display().to_string(),
        pid,
        started: started(pid).unwrap_or_default(),
    }
}

/// Says whether a process still runs; `None` for one that cannot be seen from here.
pub fn process_of(machine: &Machine) -> Option<bool> {
    machine.is_same_machine(&this()).then(|| is_alive(machine))
}

/// Says whether another process of this machine still runs.
pub(super) fn is_alive(machine: &Machine) -> bool {
    // A number that another process has got meanwhile is not the holder.
    started(machine.pid).is_some_and(|started| started == machine.started)
}

/// When a process started, in the kernel's ticks since boot; `None` where it is gone or a zombie.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so count from its end: state is the first word.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_whitespace();
    let state = words.next()?;
    (state != "Z" && state != "X")
        .then(|| words.nth(18)?.parse().ok())
        .flatten()
}

/// The moment, by this machine's clock.
pub(super) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixMillis(since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_one_that_started_at_another_time_is_not() {
        let mut machine = this();
        assert!(machine.started > 0, "{machine:?}");
        assert!(is_alive(&machine));
        machine.started += 1;
        assert!(!is_alive(&machine));
        machine.pid = u32::MAX;
        assert!(!is_alive(&machine));
    }
}
