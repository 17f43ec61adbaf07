//! Where trust in a host's key comes from.

use std::{io::ErrorKind, path::PathBuf};

use super::{Fingerprint, HostAddress, KnownHosts, SshError, Verdict, known_hosts::key_type};

/// What a host's key is compared with; a key that is not found there is never accepted.
#[derive(Debug, Clone, Default)]
pub struct HostKeys {
    /// Known hosts files, as `~/.ssh/known_hosts`; missing ones are passed over.
    pub files: Vec<PathBuf>,
    /// Known hosts lines that were handed over as text.
    pub lines: Option<String>,
    /// If not empty, the only keys that are accepted, whatever the files list; a key that the
    /// files mark `@revoked` is refused all the same.
    pub pinned: Vec<Fingerprint>,
}

impl HostKeys {
    /// Trusts what these files list.
    pub fn files(files: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        Self {
            files: files.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// Trusts this key alone.
    pub fn pinned(fingerprint: Fingerprint) -> Self {
        Self {
            pinned: vec![fingerprint],
            ..Self::default()
        }
    }

    /// Reads the files.
    ///
    /// # Errors
    /// A file that is there and cannot be read: the machine's fault.
    pub(super) fn read(&self) -> Result<KnownHosts, SshError> {
        let mut hosts = KnownHosts::default();
        for path in &self.files {
            match std::fs::read(path) {
                Ok(bytes) => {
                    hosts.add(
                        &path.display().to_string(),
                        &String::from_utf8_lossy(&bytes),
                    );
                }
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(SshError::Unreadable {
                        path: path.clone(),
                        source,
                    });
                }
            }
        }
        if let Some(lines) = &self.lines {
            hosts.add("known hosts", lines);
        }
        Ok(hosts)
    }

    /// Accepts or refuses the key that a host shows.
    pub(super) fn check(
        &self,
        hosts: &KnownHosts,
        address: &HostAddress,
        key: &[u8],
    ) -> Result<(), SshError> {
        let fingerprint = Fingerprint::of(key);
        let kind = key_type(key).unwrap_or("unknown type").to_owned();
        let host = address.known_hosts_name();
        let verdict = hosts.judge(address, key);
        if let Verdict::Revoked { place } = verdict {
            return Err(SshError::HostKeyRevoked {
                host,
                kind,
                fingerprint,
                place,
            });
        }
        if !self.pinned.is_empty() {
            return if self.pinned.contains(&fingerprint) {
                Ok(())
            } else {
                let pinned: Vec<_> = self.pinned.iter().map(ToString::to_string).collect();
                Err(SshError::HostKeyNotPinned {
                    host,
                    kind,
                    fingerprint,
                    pinned: pinned.join(", "),
                })
            };
        }
        match verdict {
            Verdict::Known => Ok(()),
            Verdict::Unknown { others } => Err(SshError::HostKeyUnknown {
                line: format!("{host} {kind} {}", base64(key)),
                host,
                kind,
                fingerprint,
                others: match others.as_slice() {
                    [] => String::new(),
                    some => format!(" (there are keys of type {})", some.join(", ")),
                },
            }),
            Verdict::Changed { place } => Err(SshError::HostKeyChanged {
                host,
                kind,
                fingerprint,
                place,
            }),
            Verdict::Revoked { place } => Err(SshError::HostKeyRevoked {
                host,
                kind,
                fingerprint,
                place,
            }),
        }
    }
}

fn base64(key: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(key)
}
