//! Which runner a container belongs to, and whether that runner still lives.

use std::fs;

/// The label that says which job a container, network or image was made for.
pub(super) const JOB_LABEL: &str = "runner.job";

/// The label that says which process made it.
pub(super) const OWNER_LABEL: &str = "runner.owner";

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
    fn one_that_cannot_be_seen_is_not_gone() {
        assert!(!is_gone(&format!("{}/elsewhere/1/1", boot())));
        assert!(!is_gone("nonsense"));
    }
}
