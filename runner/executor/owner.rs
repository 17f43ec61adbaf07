//! Which runner a container belongs to, and whether that runner still lives.

use std::collections::BTreeMap;
use std::fs;

use sha2::{Digest as _, Sha256};

/// The label that says which job a container, network or image was made for.
pub(super) const JOB_LABEL: &str = "runner.job";

/// The label that says which process made it.
pub(super) const OWNER_LABEL: &str = "runner.owner";

/// The label that says which machine made it, for daemons that are not that machine's own.
pub(super) const MACHINE_LABEL: &str = "runner.machine";

/// Names this machine for good, also after it was started anew; none where nothing tells it from
/// its copies.
pub(super) fn machine() -> Option<String> {
    let id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let (id, name) = (id.trim(), name.trim());
    if id.is_empty() || name.is_empty() {
        return None;
    }
    // The number itself is for this machine alone: `man 5 machine-id`.
    let digest = hex::encode(Sha256::digest(format!("runner {id} {name}")));
    digest.get(..16).map(str::to_owned)
}

/// Tells whether what carries these labels was left by a process of this machine that is gone.
///
/// Of other machines nothing is known, so what is theirs is left alone.
pub(super) fn is_left_by_us(labels: &BTreeMap<String, String>) -> bool {
    let Some(owner) = labels.get(OWNER_LABEL) else {
        return false;
    };
    let is_ours = labels.get(MACHINE_LABEL).cloned() == machine() && machine().is_some();
    let (boot, started) = (boot(), owner.split('/').next());
    let is_of_this_start = !boot.is_empty() && started == Some(&boot);
    (is_ours || is_of_this_start) && is_gone(owner)
}

/// Names this process for good: machine since its start, space of process numbers, number, start.
pub(super) fn current() -> String {
    let pid = std::process::id();
    let start = start_of(pid).unwrap_or_default();
    format!("{}/{}/{pid}/{start}", boot(), space())
}

/// Tells whether a process is known to be gone; one that cannot be seen from here is not.
pub(super) fn is_gone(owner: &str) -> bool {
    let mut parts = owner.split('/');
    let (Some(boot_id), Some(space_id), Some(pid), Some(start)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    if boot_id != boot() {
        // The daemon is this machine's, so whoever started before the machine did is gone.
        return true;
    }
    let Ok(pid) = pid.parse() else { return false };
    space_id == space() && start_of(pid).is_none_or(|found| found != start)
}

fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// Numbers of processes mean something in one namespace alone.
fn space() -> String {
    fs::read_link("/proc/self/ns/pid").map_or_else(
        |_| String::new(),
        |link| link.to_string_lossy().replace('/', "_"),
    )
}

/// When a process started, in the kernel's ticks; none if there is none.
fn start_of(pid: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    rest.split(' ').nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_lives_is_not_gone() {
        assert!(!is_gone(&current()));
    }

    #[test]
    fn one_that_ended_or_lived_before_the_machine_started_is_gone() {
        let own = current();
        let (rest, start) = own.rsplit_once('/').unwrap();
        assert!(is_gone(&format!("{rest}/{start}0")), "number taken again");
        let (_, after) = own.split_once('/').unwrap();
        assert!(is_gone(&format!("other/{after}")));
    }

    #[test]
    fn on_a_shared_daemon_only_what_this_machine_left_is_ours() {
        let own = current();
        let (_, after) = own.split_once('/').unwrap();
        let labels = |owner: &str, machine: Option<&str>| {
            let machine = machine.map(|name| (MACHINE_LABEL.to_owned(), name.to_owned()));
            let owner = (OWNER_LABEL.to_owned(), owner.to_owned());
            machine.into_iter().chain([owner]).collect()
        };
        let of_machine = machine();
        assert!(!is_left_by_us(&labels(&own, of_machine.as_deref())));
        let ended = format!("{own}0");
        assert!(is_left_by_us(&labels(&ended, None)), "same start");
        let before = format!("other/{after}");
        assert!(!is_left_by_us(&labels(&before, None)));
        assert!(!is_left_by_us(&labels(&before, Some("another one"))));
        let is_known = of_machine.is_some();
        assert_eq!(
            is_left_by_us(&labels(&before, of_machine.as_deref())),
            is_known
        );
    }

    #[test]
    fn one_that_cannot_be_seen_is_not_gone() {
        assert!(!is_gone(&format!("{}/elsewhere/1/1", boot())));
        assert!(!is_gone("nonsense"));
    }
}
