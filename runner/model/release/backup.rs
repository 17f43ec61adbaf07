//! What is written beside the dump of a database: of what it is, and how to know that it is whole.

use serde::{Deserialize, Serialize};

use super::{
    ids::{ContainerId, ContainerName, HostName, ReleaseVersion, ServiceName, TransactionId},
    lock::Machine,
    observed::Answer,
    time::UnixMillis,
};

/// The number of the stored form that this program writes, and the highest that it reads.
pub const BACKUP_FORMAT: u32 = 1;

/// Why a dump was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackupCause {
    /// Somebody asked for it, or a workflow did.
    Asked,
    /// A deploy was about to migrate.
    Migration,
    /// Another dump took the database's place.
    Restore,
}

impl BackupCause {
    /// As people read it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Asked => "asked for",
            Self::Migration => "before a migration",
            Self::Restore => "before a restore",
        }
    }
}

/// What stands beside a dump.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupManifest {
    /// The number of the stored form.
    pub format: u32,
    /// Names the dump; transactions and restores have such ids, too.
    pub id: TransactionId,
    /// The service.
    pub service: ServiceName,
    /// The destination.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// The host of the database.
    pub host: HostName,
    /// The database.
    pub database: String,
    /// The release that ran; `None` where none did, or nobody knew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseVersion>,
    /// The version of the schema, where the database tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Why it was made.
    pub cause: BackupCause,
    /// When it was begun.
    pub at: UnixMillis,
    /// The length of the dump in bytes.
    pub size: u64,
    /// The checksum of the dump, in hexadecimal digits.
    pub sha256: String,
}

impl BackupManifest {
    /// Names the release and the schema, as far as they are known.
    pub fn of_what(&self) -> String {
        let release = self.release.as_ref().map(|one| format!("release `{one}`"));
        let schema = self.schema.as_ref().map(|one| format!("schema {one}"));
        let known: Vec<String> = release.into_iter().chain(schema).collect();
        match known.as_slice() {
            [] => "no release".to_owned(),
            known => known.join(", "),
        }
    }
}

/// The name of a dump, which is the stem of its files.
///
/// Names of databases may hold anything; what does not belong into a file's name is `_`.
pub fn backup_name(database: &str, release: Option<&ReleaseVersion>, id: &TransactionId) -> String {
    let plain = |text: &str| -> String {
        let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_');
        let or_line = |letter: char| if fits(letter) { letter } else { '_' };
        text.chars().map(or_line).collect()
    };
    match release {
        Some(release) => format!("{}-{}-{id}", plain(database), plain(release.as_str())),
        None => format!("{}-{id}", plain(database)),
    }
}

/// A restore that is under way: what has to be known to put everything back, or to go on.
///
/// It lies on the primary host from before anything is stopped until all is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreRecord {
    /// The number of the stored form.
    pub format: u32,
    /// The restore.
    pub id: TransactionId,
    /// The dump that is restored.
    pub backup: String,
    /// The host of the database.
    pub host: HostName,
    /// The database that is replaced.
    pub database: String,
    /// Who does it.
    pub who: String,
    /// The process that does it.
    pub machine: Machine,
    /// When it began.
    pub at: UnixMillis,
    /// The containers that ran and are stopped meanwhile.
    #[serde(default)]
    pub stopped: Vec<StoppedContainer>,
    /// Whether the proxy answers 503 meanwhile by this restore's doing.
    #[serde(default)]
    pub maintenance: bool,
}

/// A container that is stopped for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoppedContainer {
    /// Its host.
    pub host: HostName,
    /// Its id.
    pub id: ContainerId,
    /// Its name, for people.
    pub name: ContainerName,
    /// Where it answered before; it has to do so again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<Answer>,
}

impl RestoreRecord {
    /// The database that is filled beside the one that serves, until they change places.
    pub fn beside(&self) -> String {
        beside(&self.database, "restore", &self.id)
    }

    /// The database that served before they changed places.
    pub fn before(&self) -> String {
        beside(&self.database, "before", &self.id)
    }
}

/// PostgreSQL cuts names off after 63 bytes, so a long one has to give way to the id.
fn beside(database: &str, word: &str, id: &TransactionId) -> String {
    const LONGEST: usize = 63;
    let ending = format!("_{word}_{id}");
    let mut room = LONGEST.saturating_sub(ending.len()).min(database.len());
    while !database.is_char_boundary(room) {
        room -= 1;
    }
    format!("{}{ending}", database.get(..room).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> TransactionId {
        TransactionId::parse(text).unwrap()
    }

    #[test]
    fn a_name_holds_only_what_belongs_into_a_files_name() {
        let release = ReleaseVersion::from("v2");
        for (database, release, expected) in [
            ("shop_production", Some(&release), "shop_production-v2-t1"),
            ("shop", None, "shop-t1"),
            ("../a b.c", None, "___a_b_c-t1"),
        ] {
            assert_eq!(backup_name(database, release, &id("t1")), expected);
        }
    }

    #[test]
    fn a_database_beside_another_has_a_name_that_postgresql_does_not_cut_off() {
        let record = |database: &str| RestoreRecord {
            format: BACKUP_FORMAT,
            id: id("20261125t180000-ab12"),
            backup: "b".to_owned(),
            host: "h1".into(),
            database: database.to_owned(),
            who: "me".to_owned(),
            machine: Machine {
                boot: String::new(),
                pid_namespace: String::new(),
                pid: 1,
                started: 1,
            },
            at: UnixMillis(0),
            stopped: Vec::new(),
            maintenance: false,
        };
        let short = record("shop");
        assert_eq!(short.beside(), "shop_restore_20261125t180000-ab12");
        assert_eq!(short.before(), "shop_before_20261125t180000-ab12");
        // Of two bytes each, so that the cut falls into a letter.
        let long = record(&"ä".repeat(31));
        for name in [long.beside(), long.before()] {
            assert!(name.len() <= 63, "{name}");
            assert!(name.ends_with("_20261125t180000-ab12"), "{name}");
        }
        assert_ne!(long.beside(), long.before());
    }

    #[test]
    fn what_is_not_known_of_a_dump_is_left_out() {
        let text = r#"{"format": 1, "id": "t1", "service": "shop", "host": "h1", "database": "shop",
                       "cause": "asked", "at": 0, "size": 3, "sha256": "ab"}"#;
        let manifest: BackupManifest = serde_json::from_str(text).unwrap();
        assert_eq!(manifest.of_what(), "no release");
        let known = BackupManifest {
            release: Some("v1".into()),
            schema: Some("2026".to_owned()),
            ..manifest
        };
        assert_eq!(known.of_what(), "release `v1`, schema 2026");
    }
}
