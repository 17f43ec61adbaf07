//! What known hosts files say of a host's key; the rules are those of sshd(8) and ssh(1).

use std::fmt;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};
use sha2::{Digest as _, Sha256};
use ssh2::{CheckResult, KnownHostFileKind, Session};

use super::HostAddress;

/// The SHA-256 fingerprint of a host key, written as OpenSSH writes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Computes the fingerprint of a key in wire format.
    pub fn of(key: &[u8]) -> Self {
        Self(format!(
            "SHA256:{}",
            STANDARD_NO_PAD.encode(Sha256::digest(key))
        ))
    }

    /// Reads `SHA256:...`, with or without padding, or a whole public key as in a `.pub` file.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(digest) = text.strip_prefix("SHA256:") {
            let digest = digest.trim_end_matches('=');
            let bytes = STANDARD_NO_PAD.decode(digest).ok()?;
            return (bytes.len() == 32).then(|| Self(format!("SHA256:{digest}")));
        }
        let (_, rest) = text.split_once(' ')?;
        let key = STANDARD.decode(rest.split_whitespace().next()?).ok()?;
        key_type(&key).map(|_| Self::of(&key))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The type that a key in wire format names itself, as `ssh-ed25519`.
pub(super) fn key_type(key: &[u8]) -> Option<&str> {
    let (length, rest) = key.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    std::str::from_utf8(rest.get(..length)?).ok()
}

/// What the files say of one key of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The key is listed for this host.
    Known,
    /// No key of this type is listed; those of other types are named.
    Unknown {
        /// Types of the keys that are listed for the host.
        others: Vec<String>,
    },
    /// Another key of the same type is listed.
    Changed {
        /// `file:line` of the listed one.
        place: String,
    },
    /// The key is marked `@revoked`.
    Revoked {
        /// `file:line` of the mark.
        place: String,
    },
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Marker {
    None,
    Revoked,
    CertAuthority,
}

#[derive(Debug)]
struct Line {
    place: String,
    marker: Marker,
    names: String,
    key: Vec<u8>,
}

/// The lines of all known hosts files, in their order.
#[derive(Debug, Default)]
pub struct KnownHosts {
    lines: Vec<Line>,
}

impl KnownHosts {
    /// Adds the lines of one file; lines that cannot be read are passed over, as OpenSSH does.
    pub fn add(&mut self, file: &str, text: &str) {
        self.lines
            .extend(text.lines().enumerate().filter_map(|(index, line)| {
                let mut words = line.split_whitespace().peekable();
                let marker = match *words.peek()? {
                    "@revoked" => Marker::Revoked,
                    "@cert-authority" => Marker::CertAuthority,
                    word if word.starts_with(['#', '@']) => return None,
                    _ => Marker::None,
                };
                if marker != Marker::None {
                    words.next();
                }
                let names = words.next()?.to_owned();
                let named_type = words.next()?;
                let key = STANDARD.decode(words.next()?).ok()?;
                (key_type(&key) == Some(named_type)).then(|| Line {
                    place: format!("{file}:{}", index + 1),
                    marker,
                    names,
                    key,
                })
            }));
    }

    /// Judges `key` (wire format) as shown by the host at `address`.
    ///
    /// `@revoked` wins over everything. `@cert-authority` lines speak of certificates, which are
    /// not asked for, so they vouch for no plain key. A host on an odd port that is not listed
    /// as `[host]:port` may be listed as `host`.
    pub fn judge(&self, address: &HostAddress, key: &[u8]) -> Verdict {
        let exact = address.known_hosts_name();
        let mut found = self.listed(&exact);
        let bare = if exact == address.host {
            Vec::new()
        } else {
            self.listed(&address.host)
        };
        let revoked = |line: &&&Line| line.marker == Marker::Revoked && line.key == key;
        if let Some(line) = found.iter().chain(&bare).find(revoked) {
            return Verdict::Revoked {
                place: line.place.clone(),
            };
        }
        found.retain(|line| line.marker == Marker::None);
        let same = |line: &&Line| line.marker == Marker::None && line.key == key;
        if found.iter().any(same) || (found.is_empty() && bare.iter().any(same)) {
            return Verdict::Known;
        }
        let shown = key_type(key);
        if let Some(line) = found.iter().find(|line| key_type(&line.key) == shown) {
            return Verdict::Changed {
                place: line.place.clone(),
            };
        }
        Verdict::Unknown {
            others: types(&found),
        }
    }

    /// Types of the keys on record for the host: what to ask it for first, since a host shows one
    /// key only and the record may hold another type.
    pub fn types_on_record(&self, address: &HostAddress) -> Vec<String> {
        let mut found = self.listed(&address.known_hosts_name());
        found.retain(|line| line.marker == Marker::None);
        if found.is_empty() {
            found = self.listed(&address.host);
            found.retain(|line| line.marker == Marker::None);
        }
        types(&found)
    }

    fn listed(&self, name: &str) -> Vec<&Line> {
        self.lines
            .iter()
            .filter(|line| names_match(&line.names, name))
            .collect()
    }
}

fn types(lines: &[&Line]) -> Vec<String> {
    let mut types: Vec<String> = Vec::new();
    for found in lines.iter().filter_map(|line| key_type(&line.key)) {
        if !types.iter().any(|known| known == found) {
            types.push(found.to_owned());
        }
    }
    types
}

/// Matches a host against a list of patterns; one that is negated wins.
fn names_match(names: &str, host: &str) -> bool {
    if names.starts_with("|1|") {
        return hashed_name_matches(names, host);
    }
    let host = host.to_ascii_lowercase();
    let mut matched = false;
    for pattern in names.split(',') {
        let pattern = pattern.to_ascii_lowercase();
        match pattern.strip_prefix('!') {
            Some(negated) if glob(negated.as_bytes(), host.as_bytes()) => return false,
            Some(_) => {}
            None => matched |= glob(pattern.as_bytes(), host.as_bytes()),
        }
    }
    matched
}

/// `*` stands for any run of characters, `?` for one.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            (0..=text.len()).any(|skipped| text.get(skipped..).is_some_and(|tail| glob(rest, tail)))
        }
        (Some((b'?', rest)), Some((_, tail))) => glob(rest, tail),
        (Some((wanted, rest)), Some((got, tail))) if wanted == got => glob(rest, tail),
        _ => false,
    }
}

/// Asks libssh2 whether a hashed name is this host's, by a line with a key that matches nothing.
fn hashed_name_matches(hashed: &str, host: &str) -> bool {
    let line = format!("{hashed} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAA");
    let ask = || -> Result<bool, ssh2::Error> {
        let mut hosts = Session::new()?.known_hosts()?;
        hosts.read_str(&line, KnownHostFileKind::OpenSSH)?;
        let found = hosts.check(&host.to_ascii_lowercase(), b"no key");
        Ok(matches!(found, CheckResult::Match | CheckResult::Mismatch))
    };
    !host.contains('\0') && ask().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: &str, fill: u8) -> Vec<u8> {
        let mut wire = u32::try_from(kind.len()).unwrap().to_be_bytes().to_vec();
        wire.extend_from_slice(kind.as_bytes());
        wire.extend_from_slice(&[0, 0, 0, 32]);
        wire.extend_from_slice(&[fill; 32]);
        wire
    }

    fn public(kind: &str, fill: u8) -> String {
        format!("{kind} {}", STANDARD.encode(key(kind, fill)))
    }

    #[test]
    fn judges_as_openssh_does() {
        let (ed, other, rsa) = (
            public("ssh-ed25519", 1),
            public("ssh-ed25519", 2),
            public("ssh-rsa", 3),
        );
        let unknown = |others: &[&str]| Verdict::Unknown {
            others: others.iter().map(ToString::to_string).collect(),
        };
        let changed = |line: u32| Verdict::Changed {
            place: format!("f:{line}"),
        };
        let revoked = |line: u32| Verdict::Revoked {
            place: format!("f:{line}"),
        };
        let table = [
            (format!("h {ed}"), 22, Verdict::Known),
            (format!("H {ed}"), 22, Verdict::Known),
            (format!("[h]:2121 {ed}"), 2121, Verdict::Known),
            (format!("h {ed}"), 2121, Verdict::Known),
            (format!("h {other}"), 2121, unknown(&[])),
            (format!("[h]:2121 {other}\nh {ed}"), 2121, changed(1)),
            (format!("[h]:2121 {ed}"), 22, unknown(&[])),
            (format!("a,h,b {ed}"), 22, Verdict::Known),
            (format!("* {ed}"), 22, Verdict::Known),
            (format!("?,!h {ed}"), 22, unknown(&[])),
            (format!("hh {ed}"), 22, unknown(&[])),
            (format!("h {other}"), 22, changed(1)),
            (format!("h {other}\nh {ed}"), 22, Verdict::Known),
            (format!("h {rsa}"), 22, unknown(&["ssh-rsa"])),
            (format!("h {ed}\n@revoked * {ed}"), 22, revoked(2)),
            (format!("@revoked h {ed}\n[h]:2121 {ed}"), 2121, revoked(1)),
            (format!("@revoked h {other}\nh {ed}"), 22, Verdict::Known),
            (format!("@cert-authority * {ed}"), 22, unknown(&[])),
            (
                format!("# c\n\nnot a line\nh ssh-rsa AAAA\nh {ed}"),
                22,
                Verdict::Known,
            ),
            (format!("@strange h {ed}"), 22, unknown(&[])),
            (
                format!("h ssh-rsa {}", STANDARD.encode(key("ssh-ed25519", 1))),
                22,
                unknown(&[]),
            ),
        ];
        for (text, port, verdict) in table {
            let mut hosts = KnownHosts::default();
            hosts.add("f", &text);
            let address = HostAddress::new("u", "h").with_port(port);
            assert_eq!(
                hosts.judge(&address, &key("ssh-ed25519", 1)),
                verdict,
                "{text} {port}"
            );
        }
    }

    #[test]
    fn asks_first_for_the_types_on_record() {
        let mut hosts = KnownHosts::default();
        hosts.add(
            "f",
            &format!(
                "h {}\n@revoked h {}",
                public("ssh-rsa", 1),
                public("ssh-ed25519", 1)
            ),
        );
        let on_record = |port| hosts.types_on_record(&HostAddress::new("u", "h").with_port(port));
        assert_eq!(on_record(22), ["ssh-rsa"]);
        assert_eq!(on_record(2121), ["ssh-rsa"]);
    }

    #[test]
    fn fingerprints_are_read_in_every_form() {
        let wire = key("ssh-ed25519", 7);
        let fingerprint = Fingerprint::of(&wire);
        let text = fingerprint.to_string();
        assert_eq!(Fingerprint::parse(&text).as_ref(), Some(&fingerprint));
        assert_eq!(
            Fingerprint::parse(&format!("{text}=")).as_ref(),
            Some(&fingerprint)
        );
        let line = format!("{} comment", public("ssh-ed25519", 7));
        assert_eq!(Fingerprint::parse(&line), Some(fingerprint));
        for odd in [
            "SHA256:",
            "MD5:aa:bb",
            "SHA256:abc",
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
        ] {
            assert_eq!(Fingerprint::parse(odd), None, "{odd}");
        }
    }
}
