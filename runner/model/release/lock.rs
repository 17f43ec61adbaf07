//! Who holds the lock: Kamal's text, and the lease beside it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::{
    ids::{ReleaseVersion, TransactionId},
    time::{Millis, UnixMillis},
};

/// Kamal's message of a lock that ends by itself; its `--lock-wait` waits for this one alone.
pub const AUTOMATIC: &str = "Automatic deploy lock";
/// How old a lease may become before others take it over.
pub const LEASE_LIFE: Millis = Millis::from_secs(30);
/// How often the holder renews it.
pub const LEASE_RENEWAL: Millis = Millis::from_secs(10);
/// How long after a renewal the holder may act, by its own monotonic clock.
pub const LEASE_TRUST: Millis = Millis::from_secs(20);

/// The text that Kamal keeps in its lock folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockDetails {
    /// The person.
    pub who: String,
    /// The transaction; `None` for a lock of Kamal's or of `lock acquire`.
    #[serde(default)]
    pub transaction: Option<TransactionId>,
    /// When it was taken, as the text has it.
    pub at: String,
    /// The release.
    pub version: ReleaseVersion,
    /// Why; [`AUTOMATIC`] for a deploy.
    pub message: String,
}

impl LockDetails {
    /// The lock of a deploy.
    pub fn automatic(
        who: &str,
        transaction: TransactionId,
        version: ReleaseVersion,
        at: UnixMillis,
    ) -> Self {
        let who = who.replace(['\n', '\r'], " ");
        let message = AUTOMATIC.to_owned();
        Self {
            who,
            transaction: Some(transaction),
            at: at.to_string(),
            version,
            message,
        }
    }

    /// The three lines that `kamal lock status` shows.
    pub fn to_text(&self) -> String {
        let transaction = match &self.transaction {
            Some(id) => format!(" (runner {id})"),
            None => String::new(),
        };
        format!(
            "Locked by: {}{transaction} at {}\nVersion: {}\nMessage: {}",
            self.who, self.at, self.version, self.message
        )
    }

    /// Reads the three lines; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.trim_end().splitn(3, '\n');
        let holder = lines.next()?.strip_prefix("Locked by: ")?;
        let version = lines.next()?.strip_prefix("Version: ")?;
        let message = lines.next()?.strip_prefix("Message: ")?;
        let (holder, at) = holder.rsplit_once(" at ")?;
        let marked = holder
            .strip_suffix(')')
            .and_then(|text| text.rsplit_once(" (runner "));
        let (who, transaction) = match marked.map(|(who, id)| (who, TransactionId::parse(id))) {
            Some((who, Ok(id))) => (who, Some(id)),
            _ => (holder, None),
        };
        Some(Self {
            who: who.to_owned(),
            transaction,
            at: at.to_owned(),
            version: version.trim_end().into(),
            message: message.to_owned(),
        })
    }

    /// The content of Kamal's `details` file: the text in base64.
    pub fn to_file(&self) -> String {
        format!("{}\n", STANDARD.encode(self.to_text()))
    }

    /// Reads a `details` file, also one whose base64 is broken into lines.
    pub fn from_file(content: &str) -> Option<Self> {
        let packed: String = content.split_whitespace().collect();
        let bytes = STANDARD.decode(packed).ok()?;
        Self::parse(std::str::from_utf8(&bytes).ok()?)
    }
}

/// One process of one machine, so exactly that another with the same number is not taken for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The kernel's id of this boot.
    pub boot: String,
    /// The namespace in which the process number counts.
    pub pid_namespace: String,
    /// The process number.
    pub pid: u32,
    /// When the process started, as the kernel counts it.
    pub started: u64,
}

impl Machine {
    /// Says whether `self` and `other` can see the same processes.
    pub fn is_same_machine(&self, other: &Self) -> bool {
        self.boot == other.boot && self.pid_namespace == other.pid_namespace
    }
}

/// The right to change hosts, written beside the lock; its age is the file's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The number of the stored form.
    pub format: u32,
    /// The transaction.
    pub transaction: TransactionId,
    /// The person.
    pub owner: String,
    /// The process.
    pub machine: Machine,
    /// The run.
    #[serde(default)]
    pub run: Option<String>,
}

/// A lock as a probe found it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockFound {
    /// Kamal's text; `None` where it could not be read.
    #[serde(default)]
    pub details: Option<LockDetails>,
    /// The lease; `None` for a lock that has none.
    #[serde(default)]
    pub lease: Option<Lease>,
    /// The age of the lease by that host's clock.
    #[serde(default)]
    pub age: Millis,
}

/// Whether a lock may be taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockVerdict {
    /// Somebody holds it.
    Held,
    /// The lease is too old, or a lock of ours has none.
    Expired,
    /// The holder is a process of this machine that is no more.
    HolderDead,
}

impl LockFound {
    /// Judges the lock: `this` is the asking process, `alive` says whether another one of its
    /// machine still runs.
    pub fn judge(&self, this: &Machine, alive: impl FnOnce(&Machine) -> bool) -> LockVerdict {
        let Some(lease) = &self.lease else {
            let ours = self
                .details
                .as_ref()
                .is_some_and(|details| details.transaction.is_some());
            return if ours {
                LockVerdict::Expired
            } else {
                LockVerdict::Held
            };
        };
        if self.age >= LEASE_LIFE {
            return LockVerdict::Expired;
        }
        if lease.machine.is_same_machine(this) && !alive(&lease.machine) {
            return LockVerdict::HolderDead;
        }
        LockVerdict::Held
    }

    /// The transaction that holds the lock, by the lease or by Kamal's text.
    pub fn transaction(&self) -> Option<&TransactionId> {
        let lease = self.lease.as_ref().map(|lease| &lease.transaction);
        lease.or_else(|| self.details.as_ref()?.transaction.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> TransactionId {
        TransactionId::parse(text).unwrap()
    }

    #[test]
    fn the_text_is_kamals_and_survives_the_file() {
        let details = LockDetails::automatic("Ann at Work", id("t1"), "v1".into(), UnixMillis(0));
        assert_eq!(
            details.to_text(),
            "Locked by: Ann at Work (runner t1) at 1970-01-01T00:00:00Z\nVersion: v1\nMessage: Automatic deploy lock"
        );
        assert_eq!(LockDetails::from_file(&details.to_file()), Some(details));
    }

    #[test]
    fn kamals_own_file_is_read_although_it_is_broken_into_lines() {
        let text = "Locked by: Deployer at 2026-11-23T23:49:01Z\nVersion: abc\nMessage: by hand\nsecond line";
        let mut packed = STANDARD.encode(text);
        packed.insert(60, '\n');
        let details = LockDetails::from_file(&packed).unwrap();
        assert_eq!(details.who, "Deployer");
        assert_eq!(details.transaction, None);
        assert_eq!(details.message, "by hand\nsecond line");
        assert_eq!(LockDetails::from_file("!"), None);
        assert_eq!(LockDetails::parse("Locked by: x\nVersion: y"), None);
    }

    #[test]
    fn a_lock_is_taken_over_only_from_the_dead() {
        let machine = |boot: &str, pid| Machine {
            boot: boot.to_owned(),
            pid_namespace: "4026531836".to_owned(),
            pid,
            started: 7,
        };
        let this = machine("b1", 10);
        let lock = |boot: &str, age| LockFound {
            details: None,
            lease: Some(Lease {
                format: 1,
                transaction: id("t1"),
                owner: "ann".to_owned(),
                machine: machine(boot, 11),
                run: None,
            }),
            age: Millis::from_secs(age),
        };
        assert_eq!(lock("b1", 5).judge(&this, |_| true), LockVerdict::Held);
        assert_eq!(
            lock("b1", 5).judge(&this, |_| false),
            LockVerdict::HolderDead
        );
        assert_eq!(lock("b2", 29).judge(&this, |_| false), LockVerdict::Held);
        assert_eq!(lock("b2", 30).judge(&this, |_| true), LockVerdict::Expired);
        let ours = LockDetails::automatic("ann", id("t1"), "v1".into(), UnixMillis(0));
        let mut kamals = ours.clone();
        kamals.transaction = None;
        for (details, verdict) in [
            (Some(ours), LockVerdict::Expired),
            (Some(kamals), LockVerdict::Held),
            (None, LockVerdict::Held),
        ] {
            let found = LockFound {
                details,
                lease: None,
                age: Millis(0),
            };
            assert_eq!(found.judge(&this, |_| true), verdict);
        }
    }
}
