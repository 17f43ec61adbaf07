//! Whether this machine can log in to the servers: keys, and what the servers are known by.

use std::path::{Path, PathBuf};

use super::{Findings, Level};
use crate::cli::settings;
use crate::deploy::Project;
use crate::kamal::SshProxy;
use crate::ssh::{HostAddress, KnownHosts};

const SUBJECT: &str = "ssh";
/// The names of keys that are tried where none is named.
const KEYS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// Looks for a key and for a record of every server; nothing is connected to.
pub(super) fn check(project: &Project, findings: &mut Findings) {
    let home = settings::variable("HOME")
        .map(PathBuf::from)
        .unwrap_or_default();
    key(project, &home, findings);
    known(project, &home, findings);
    let count = project.config.all_hosts().len();
    findings.well(
        SUBJECT,
        format!("a key is there, and {count} of {count} servers are known"),
    );
}

fn key(project: &Project, home: &Path, findings: &mut Findings) {
    let ssh = &project.config.ssh;
    let in_home = |path: &str| match path.strip_prefix("~/") {
        Some(inside) => home.join(inside),
        None => project.folder().join(path),
    };
    let named = ssh.keys.as_deref().unwrap_or_default();
    for path in named.iter().filter(|path| !in_home(path).is_file()) {
        let message = format!("key `{path}` is not there");
        findings.add(Level::Environment, SUBJECT, message);
    }
    let agent = settings::variable("SSH_AUTH_SOCK").filter(|socket| Path::new(socket).exists());
    let has_default = KEYS
        .iter()
        .any(|name| home.join(".ssh").join(name).is_file());
    let others_count = ssh.keys_only != Some(true);
    let has_other = others_count && (agent.is_some() || has_default);
    if named.is_empty() && ssh.key_data.is_empty() && !has_other {
        findings.with_hint(
            Level::Environment,
            SUBJECT,
            "there is no key to log in with",
            "name one in `ssh.keys`, put one into ~/.ssh, or start an agent",
        );
    }
}

/// Looks for the servers in the files of known hosts; a host key is never accepted silently.
fn known(project: &Project, home: &Path, findings: &mut Findings) {
    let ssh = &project.config.ssh;
    // Behind another host it is that one's affair how they are reached.
    if let Some(SshProxy::Command(_)) = &ssh.proxy {
        return;
    }
    let mut known = KnownHosts::default();
    let folder = home.join(".ssh");
    for file in [
        folder.join("known_hosts"),
        folder.join("known_hosts2"),
        PathBuf::from("/etc/ssh/ssh_known_hosts"),
    ] {
        if let Ok(text) = std::fs::read_to_string(&file) {
            known.add(&file.display().to_string(), &text);
        }
    }
    for host in project.config.all_hosts() {
        let address = HostAddress::new(ssh.user.clone(), host.clone()).with_port(ssh.port);
        if known.types_on_record(&address).is_empty() {
            findings.with_hint(
                Level::Environment,
                SUBJECT,
                format!("server `{}` is not in known_hosts", address.known_hosts_name()),
                format!(
                    "`ssh-keyscan -p {} {host} >> ~/.ssh/known_hosts`, after comparing the fingerprint",
                    ssh.port
                ),
            );
        }
    }
}
