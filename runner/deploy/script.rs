//! Small files on a host: neighbouring operations become one shell script.
//!
//! The script goes to `sh` by standard input, so that no secret is ever seen in a process list,
//! and holds the host's guard (`flock`) from its beginning to its end. Each operation says whether
//! it went well, so one that is best-effort does not keep the later ones from being done.

use std::fmt::Write as _;

use super::{error::OpError, settings::SecretTexts};
use crate::{
    kamal,
    release::{Fence, LEASE_LIFE, TransactionId, Verb, paths, paths::Paths},
};

/// The code with which an operation says that the fence is not ours.
const FENCE_LOST: i32 = 76;
/// The code with which an operation says that somebody else holds the lock.
const HELD: i32 = 75;

/// What every script begins with.
const PRELUDE: &str = r#"fenced() {
  found=$(cat "$fence" 2>/dev/null); found=${found:-0}
  [ "$found" = "$1" ] && return 0
  printf 'runner:fence %s\n' "$found"; return 76
}
holder() { printf 'runner:holder '; base64 -d "$lock/details" 2>/dev/null | tr '\n' ' '; printf '\n'; }
owns() {
  if [ -f "$lock/lease.json" ]; then grep -qF "\"transaction\":\"$1\"" "$lock/lease.json"
  else base64 -d "$lock/details" 2>/dev/null | grep -qF "(runner $1)"; fi
}
age() { echo $(( $(date +%s) - $(stat -c %Y "$lock/lease.json" 2>/dev/null || echo 0) )); }
store() { cat > "$1.new" && { sync "$1.new" 2>/dev/null || sync; } && mv -f "$1.new" "$1"; }
folder() { mkdir -p "${1%/*}"; }
"#;

/// What the operations of one script know.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) paths: &'a Paths,
    pub(super) transaction: &'a TransactionId,
    /// The fence that must be on the host, whatever is written: a command can arrive late.
    pub(super) fence: Fence,
    pub(super) secrets: &'a SecretTexts,
    /// The holder of this transaction was seen to be dead: its lock need not be old.
    pub(super) dead: Option<&'a TransactionId>,
}

/// A script under construction.
#[derive(Debug)]
pub(super) struct Script {
    text: String,
    count: usize,
}

/// What became of one operation of a script.
#[derive(Debug)]
pub(super) enum Done {
    Well,
    Failed(OpError),
    /// One before it failed.
    LeftOut,
}

impl Script {
    pub(super) fn new(paths: &Paths) -> Self {
        let mut text = String::from(PRELUDE);
        for (name, path) in [
            ("lock", paths.lock()),
            ("fence", paths.fence()),
            ("records", paths.records()),
            ("guard", paths.guard()),
        ] {
            line(&mut text, format_args!("{name}={}", quote(&path)));
        }
        text.push_str(
            "mkdir -p \"$records\" || exit 1\n\
             exec 9>>\"$guard\" && flock -w 20 9 || { echo 'the guard file is held by another process' >&2; exit 1; }\n",
        );
        Self { text, count: 0 }
    }

    /// Adds an operation; `journal` is its text where the operation writes one.
    pub(super) fn add(
        &mut self,
        verb: &Verb,
        journal: Option<&str>,
        best_effort: bool,
        facts: Facts<'_>,
    ) -> Result<(), OpError> {
        let mut body = body(verb, journal, facts)?;
        if needs_fence(verb) {
            body = format!("fenced {} && {{ {body}\n}}", facts.fence);
        }
        self.add_body(&body, best_effort);
        Ok(())
    }

    /// Adds an operation by its shell text.
    pub(super) fn add_body(&mut self, body: &str, best_effort: bool) {
        let number = self.count;
        let after = if best_effort { ":" } else { "exit 0" };
        line(
            &mut self.text,
            format_args!(
                "if {{ {body}\n}}; then echo 'runner:ok {number}'; else echo \"runner:failed {number} $?\"; {after}; fi"
            ),
        );
        self.count += 1;
    }

    /// Adds lines of the caller's own, without a result of their own.
    pub(super) fn add_text(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// Reads what the script said.
    pub(super) fn results(
        count: usize,
        stdout: &str,
        stderr: &str,
        ours: Fence,
        what: impl Fn(usize) -> String,
    ) -> Vec<Done> {
        let marks = stdout
            .lines()
            .filter_map(|line| line.strip_prefix("runner:"));
        let (mut fence, mut holder) = (String::new(), String::new());
        let mut results: Vec<Done> = (0..count).map(|_| Done::LeftOut).collect();
        for mark in marks {
            let (word, rest) = mark.split_once(' ').unwrap_or((mark, ""));
            match word {
                "fence" => rest.clone_into(&mut fence),
                "holder" => rest.trim().clone_into(&mut holder),
                "ok" => {
                    if let Some(slot) = rest.parse().ok().and_then(|n: usize| results.get_mut(n)) {
                        *slot = Done::Well;
                    }
                }
                "failed" => {
                    let mut words = rest.split(' ');
                    let number = words.next().and_then(|n| n.parse::<usize>().ok());
                    let code = words.next().and_then(|n| n.parse().ok()).unwrap_or(1);
                    let error = match code {
                        FENCE_LOST => OpError::FenceLost {
                            found: fence.clone(),
                            ours,
                        },
                        HELD => OpError::LockHeld {
                            by: or_unknown(&holder),
                        },
                        _ => OpError::Script {
                            what: number.map(&what).unwrap_or_default(),
                            reason: reason(stderr),
                        },
                    };
                    if let Some(slot) = number.and_then(|n| results.get_mut(n)) {
                        *slot = Done::Failed(error);
                    }
                }
                _ => {}
            }
        }
        // A script that ended before its first operation said anything.
        if let Some(first @ Done::LeftOut) = results.first_mut() {
            *first = Done::Failed(OpError::Script {
                what: what(0),
                reason: reason(stderr),
            });
        }
        results
    }
}

/// The script that renews a lease; it says `ours`, or who has the lock.
pub(super) fn renewal(paths: &Paths, transaction: &TransactionId) -> String {
    let mut script = Script::new(paths);
    script.add_text(&format!(
        "if owns {id} && touch \"$lock/lease.json\"; then echo 'runner:ours'; else holder; fi",
        id = quote(transaction.as_str())
    ));
    script.into_text()
}

/// Reads what a renewal said: `Err` names who has the lock.
pub(super) fn renewed(stdout: &str) -> Result<(), String> {
    if stdout.lines().any(|line| line == "runner:ours") {
        return Ok(());
    }
    let holder = stdout
        .lines()
        .find_map(|line| line.strip_prefix("runner:holder"));
    Err(or_unknown(holder.unwrap_or_default().trim()))
}

/// The script that gives back a lock, whoever holds it.
pub(super) fn release_lock(paths: &Paths) -> String {
    let mut script = Script::new(paths);
    script.add_text("rm -rf \"$lock\" && echo runner:released");
    script.into_text()
}

/// The lines that take the lock for a person, or name its holder.
pub(super) fn acquire_lock(details: &str) -> String {
    format!(
        "if mkdir \"$lock\" 2>/dev/null; then printf '%s\\n' {} > \"$lock/details\" && echo runner:acquired; else holder; fi",
        quote(details.trim_end())
    )
}

/// Whether it may be written only while the fence is ours; the rest has conditions of its own.
const fn needs_fence(verb: &Verb) -> bool {
    !matches!(
        verb,
        Verb::TakeLock { .. }
            | Verb::WriteFence { .. }
            | Verb::AppendHistory { .. }
            | Verb::Audit { .. }
            | Verb::Unlock { .. }
    )
}

fn body(verb: &Verb, journal: Option<&str>, facts: Facts<'_>) -> Result<String, OpError> {
    let paths = facts.paths;
    let text = match verb {
        Verb::TakeLock {
            details,
            lease,
            over,
        } => {
            let lease = serde_json::to_string(lease).unwrap_or_default();
            take_lock(&details.to_file(), &lease, over.as_ref(), facts)
        }
        Verb::WriteFence { fence } => format!(
            "found=$(cat \"$fence\" 2>/dev/null); found=${{found:-0}}\n\
             if [ \"$found\" -gt {fence} ]; then printf 'runner:fence %s\\n' \"$found\"; (exit 76); \
             else printf '%s\\n' {fence} | store \"$fence\"; fi"
        ),
        Verb::Record { .. } => write(&paths.journal(), journal.unwrap_or_default()),
        Verb::Commit { fence } => format!(
            "fenced {fence} && {}",
            write(&paths.journal(), journal.unwrap_or_default())
        ),
        Verb::KeepWayBack { route, way_back } => format!(
            "folder {back} && if [ -f {back} ]; then :; else cp -p {route} {back}.new && sync {back}.new 2>/dev/null; mv -f {back}.new {back}; fi",
            route = quote(route),
            back = quote(way_back)
        ),
        Verb::Reserve { path, bytes } => {
            format!("head -c {bytes} /dev/zero > {}", quote(path))
        }
        Verb::WriteEnvFile { path, secrets } => {
            let mut pairs = Vec::new();
            for (name, secret) in secrets {
                pairs.push((name.as_str(), facts.secrets.get(secret)?));
            }
            private(path, &kamal::env_file(pairs))
        }
        Verb::WriteCertificate {
            paths,
            certificate,
            key,
        } => format!(
            "{} && {}",
            private(&paths.certificate, facts.secrets.get(certificate)?),
            private(&paths.key, facts.secrets.get(key)?)
        ),
        Verb::MoveFile { from, to } => format!(
            "if [ -e {from} ]; then folder {to} && mv -f {from} {to}; fi",
            from = quote(from),
            to = quote(to)
        ),
        Verb::RemoveFile { path } => format!("rm -f {}", quote(path)),
        other => return Ok(record_body(other, facts)),
    };
    Ok(text)
}

/// Routes and records.
fn record_body(verb: &Verb, facts: Facts<'_>) -> String {
    let paths = facts.paths;
    match verb {
        Verb::RestoreRoute {
            route,
            way_back,
            text,
            fence,
        } => {
            let staged = paths.staged_route(facts.transaction);
            format!(
                "fenced {fence} && if [ -f {back} ]; then mv -f {back} {route}; else {write} && mv -f {staged} {route}; fi",
                back = quote(way_back),
                route = quote(route),
                staged = quote(&staged),
                write = write(&staged, text),
            )
        }
        Verb::RemoveRoute { route, fence } => format!("fenced {fence} && rm -f {}", quote(route)),
        Verb::AppendHistory { line } => {
            let text = serde_json::to_string(line).unwrap_or_default();
            let known = match &line.transaction {
                Some(id) => format!("\"transaction\":\"{id}\""),
                // A release that was found is known by its whole line but the time.
                None => format!(
                    "\"transaction\":null,\"fence\":0,\"kind\":null,\"release\":\"{}\"",
                    line.release
                ),
            };
            append(
                &paths.history(),
                &text,
                &format!("grep -qF {}", quote(&known)),
            )
        }
        Verb::Audit { line } => append(&paths.audit(), line, &format!("grep -qxF {}", quote(line))),
        Verb::RemoveJournal { transaction } => format!(
            "if grep -qF {id} {journal} 2>/dev/null; then rm -f {journal}; fi",
            id = quote(&format!("\"id\":\"{transaction}\"")),
            journal = quote(&paths.journal())
        ),
        Verb::Unlock { transaction } => format!(
            "if [ -d \"$lock\" ] && owns {}; then rm -rf \"$lock\"; fi",
            quote(transaction.as_str())
        ),
        _ => "false".to_owned(),
    }
}

/// The route's text is known only when the containers' ids are.
pub(super) fn write_route(paths: &Paths, id: &TransactionId, fence: Fence, text: &str) -> String {
    let (staged, route) = (paths.staged_route(id), paths.route());
    format!(
        "fenced {fence} && folder {route} && {} && mv -f {} {route}",
        write(&staged, text),
        quote(&staged),
        route = quote(&route)
    )
}

fn take_lock(details: &str, lease: &str, over: Option<&TransactionId>, facts: Facts<'_>) -> String {
    let mine = quote(facts.transaction.as_str());
    let take = match over {
        Some(over) if facts.dead == Some(over) => format!("owns {}", quote(over.as_str())),
        Some(over) => format!(
            "owns {} && {{ [ ! -f \"$lock/lease.json\" ] || [ \"$(age)\" -ge {} ]; }}",
            quote(over.as_str()),
            LEASE_LIFE.to_secs()
        ),
        None => "false".to_owned(),
    };
    format!(
        "if mkdir \"$lock\" 2>/dev/null || owns {mine} || {{ {take}; }}; then\n\
         printf '%s' {lease} | store \"$lock/lease.json\" && printf '%s' {details} | store \"$lock/details\"\n\
         else holder; (exit 75); fi",
        lease = quote(lease),
        details = quote(details),
    )
}

fn write(path: &str, text: &str) -> String {
    let path = quote(path);
    format!(
        "folder {path} && printf '%s' {} | store {path}",
        quote(text)
    )
}

/// A file that its owner alone can read, from its first moment on.
fn private(path: &str, text: &str) -> String {
    format!("(umask 077; {})", write(path, text))
}

fn append(path: &str, text: &str, knows: &str) -> String {
    let path = quote(path);
    format!(
        "folder {path} && if [ -f {path} ] && {knows} {path}; then :; else printf '%s\\n' {} >> {path}; fi",
        quote(text)
    )
}

/// Quotes a word for a POSIX shell.
pub(super) fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _written = writeln!(text, "{arguments}");
}

fn or_unknown(holder: &str) -> String {
    if holder.is_empty() {
        "somebody who left no name".to_owned()
    } else {
        holder.to_owned()
    }
}

fn reason(stderr: &str) -> String {
    let last = stderr.lines().rev().find(|line| !line.trim().is_empty());
    last.unwrap_or("the host's shell gave no reason")
        .trim()
        .to_owned()
}

/// Says whether `path` lies in one of the folders that a probe lists for files of transactions.
pub(super) fn carries_transaction(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let in_certificates = path.starts_with(paths::CERTIFICATES);
    let in_staging = path.starts_with(paths::STAGING);
    let parts = name.split('.').count();
    (in_certificates || in_staging) && parts >= 3
        || name.contains(".env.")
        || name.starts_with("reserve.")
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::Write as _,
        path::Path,
        process::{Command, Stdio},
    };

    use super::*;
    use crate::release::{LockDetails, Machine, Phase, UnixMillis};

    fn id(text: &str) -> TransactionId {
        TransactionId::parse(text).unwrap()
    }

    /// Runs operations of transaction `who` in a folder, as a host would.
    fn run(folder: &Path, who: &str, dead: Option<&str>, verbs: &[(Verb, bool)]) -> Vec<Done> {
        let paths = Paths::new(&"shop".into(), None);
        let secrets: SecretTexts = [("KEY", "it's \"$secret\"\nof two lines")]
            .into_iter()
            .collect();
        let (who, dead) = (id(who), dead.map(id));
        let facts = Facts {
            paths: &paths,
            transaction: &who,
            fence: fence_of(folder, verbs),
            secrets: &secrets,
            dead: dead.as_ref(),
        };
        let mut script = Script::new(&paths);
        for (verb, best_effort) in verbs {
            let journal = format!("{{\"id\":\"{who}\"}}");
            script
                .add(verb, Some(&journal), *best_effort, facts)
                .unwrap();
        }
        let mut shell = Command::new("sh")
            .arg("-s")
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let text = script.into_text();
        shell
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        let output = shell.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        Script::results(verbs.len(), &stdout, &stderr, Fence(1), |n| {
            verbs[n].0.to_string()
        })
    }

    /// The transaction's fence: the one that its operations name, else the one that is there.
    fn fence_of(folder: &Path, verbs: &[(Verb, bool)]) -> Fence {
        let named = verbs.iter().filter_map(|(verb, _)| match verb {
            Verb::WriteFence { fence } | Verb::Commit { fence } => Some(*fence),
            _ => None,
        });
        let there = || {
            let path = folder.join(".kamal/runner/shop/fence");
            Fence::parse(&fs::read_to_string(path).unwrap_or_default()).unwrap_or_default()
        };
        named.max().unwrap_or_else(there)
    }

    fn lock(who: &str, over: Option<&str>) -> (Verb, bool) {
        let lease = crate::release::Lease {
            format: 1,
            transaction: id(who),
            owner: "ann".to_owned(),
            machine: Machine {
                boot: "b".to_owned(),
                pid_namespace: "n".to_owned(),
                pid: 1,
                started: 1,
            },
            run: None,
        };
        let details = LockDetails::automatic("ann", id(who), "v1".into(), UnixMillis(0));
        let over = over.map(id);
        let verb = Verb::TakeLock {
            details,
            lease,
            over,
        };
        (verb, false)
    }

    fn went_well(done: &[Done]) -> bool {
        done.iter().all(|done| matches!(done, Done::Well))
    }

    #[test]
    fn the_lock_is_one_transactions_until_its_lease_is_old() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        assert!(went_well(&run(at, "t1", None, &[lock("t1", None)])));
        assert!(went_well(&run(at, "t1", None, &[lock("t1", None)])));
        let refused = run(at, "t2", None, &[lock("t2", None)]);
        let [Done::Failed(OpError::LockHeld { by })] = refused.as_slice() else {
            panic!("{refused:?}");
        };
        assert!(by.contains("ann (runner t1)"), "{by}");
        let young = run(at, "t2", None, &[lock("t2", Some("t1"))]);
        assert!(!went_well(&young), "{young:?}");
        let other = run(at, "t2", Some("t0"), &[lock("t2", Some("t0"))]);
        assert!(!went_well(&other), "{other:?}");
        assert!(went_well(&run(
            at,
            "t2",
            Some("t1"),
            &[lock("t2", Some("t1"))]
        )));
        let lease = at.join(".kamal/lock-shop/lease.json");
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(31);
        fs::File::options()
            .write(true)
            .open(&lease)
            .unwrap()
            .set_modified(old)
            .unwrap();
        assert!(went_well(&run(at, "t3", None, &[lock("t3", Some("t2"))])));
        let unlock = |who: &str| {
            let transaction = id(who);
            (Verb::Unlock { transaction }, false)
        };
        assert!(went_well(&run(at, "t2", None, &[unlock("t2")])));
        assert!(lease.exists(), "it was not t2's to give back");
        assert!(went_well(&run(at, "t3", None, &[unlock("t3")])));
        assert!(!at.join(".kamal/lock-shop").exists());
    }

    #[test]
    fn a_lower_fence_writes_neither_route_nor_commit() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let fence = |n| (Verb::WriteFence { fence: Fence(n) }, false);
        let commit = |n| (Verb::Commit { fence: Fence(n) }, false);
        assert!(went_well(&run(at, "t1", None, &[fence(1), commit(1)])));
        assert!(went_well(&run(at, "t2", None, &[fence(2)])));
        for late in [fence(1), commit(1)] {
            let done = run(at, "t1", None, &[late, commit(1)]);
            let [
                Done::Failed(OpError::FenceLost { found, .. }),
                Done::LeftOut,
            ] = done.as_slice()
            else {
                panic!("{done:?}");
            };
            assert_eq!(found, "2");
        }
        let record = Verb::Record {
            phase: Phase::Booted,
        };
        let done = run(at, "t1", None, &[commit(1), (record, false)]);
        assert!(!went_well(&done), "{done:?}");
        let journal = fs::read_to_string(at.join(".kamal/runner/shop/journal.json")).unwrap();
        assert_eq!(
            journal, "{\"id\":\"t1\"}",
            "written before the fence was raised"
        );
    }

    #[test]
    fn records_are_written_once_and_secrets_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let env = Verb::WriteEnvFile {
            path: ".kamal/apps/shop/env/roles/web.env.t1".to_owned(),
            secrets: [("KEY".to_owned(), "KEY".into())].into_iter().collect(),
        };
        let audit = Verb::Audit {
            line: "[now] it's done".to_owned(),
        };
        let record = Verb::Record {
            phase: Phase::Opened,
        };
        let all = [(env, false), (audit, true), (record, false)];
        assert!(went_well(&run(at, "t1", None, &all)));
        assert!(went_well(&run(at, "t1", None, &all)));
        let path = at.join(".kamal/apps/shop/env/roles/web.env.t1");
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "KEY=it's \"$secret\"\\nof two lines\n");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let audit = fs::read_to_string(at.join(".kamal/shop-audit.log")).unwrap();
        assert_eq!(audit, "[now] it's done\n");
        let journal = at.join(".kamal/runner/shop/journal.json");
        let remove = |who: &str| {
            let transaction = id(who);
            (Verb::RemoveJournal { transaction }, false)
        };
        assert!(went_well(&run(at, "t2", None, &[remove("t2")])));
        assert!(journal.exists(), "it is t1's");
        assert!(went_well(&run(at, "t1", None, &[remove("t1")])));
        assert!(!journal.exists());
    }

    #[test]
    fn what_is_best_effort_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let broken = Verb::Reserve {
            path: "no/such/folder/file".to_owned(),
            bytes: 1,
        };
        let fence = Verb::WriteFence { fence: Fence(1) };
        let done = run(
            folder.path(),
            "t1",
            None,
            &[(broken.clone(), true), (fence.clone(), false)],
        );
        assert!(
            matches!(done[..], [Done::Failed(_), Done::Well]),
            "{done:?}"
        );
        let done = run(
            folder.path(),
            "t1",
            None,
            &[(broken, false), (fence, false)],
        );
        assert!(
            matches!(done[..], [Done::Failed(_), Done::LeftOut]),
            "{done:?}"
        );
    }
}
