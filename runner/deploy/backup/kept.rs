//! The dumps that lie on this machine: which there are, and whether they are whole.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::release::{BACKUP_FORMAT, BackupManifest};

/// The ending of a dump.
pub(super) const DUMP: &str = "dump";
/// The ending of what stands beside it.
pub(super) const MANIFEST: &str = "json";
/// The ending of a file that is being written.
pub(super) const PART: &str = "part";

/// The dumps of one service and destination.
#[derive(Debug, Clone)]
pub struct Backups {
    folder: PathBuf,
}

/// How closely dumps are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Every byte is read and the checksum compared.
    Whole,
    /// Only that the files are there, and their lengths.
    Quick,
}

/// A dump, or what is left of one.
#[derive(Debug)]
pub struct Kept {
    /// Its name: the stem of its files.
    pub name: String,
    /// Where the dump is.
    pub path: PathBuf,
    /// What stands beside it, where that can be read.
    pub manifest: Option<BackupManifest>,
    /// Why it cannot be restored.
    pub damage: Option<Damage>,
}

/// What is wrong with a dump.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum Damage {
    /// Whoever made it was killed meanwhile, or still is at it.
    #[error("it was not written to its end")]
    Unfinished,
    /// The dump was removed.
    #[error("the dump itself is not there")]
    NoDump,
    /// What is to be known of it was removed.
    #[error("its manifest `{0}` is not there")]
    NoManifest(String),
    /// The manifest was changed.
    #[error("its manifest cannot be read: {0}")]
    Manifest(String),
    /// A newer program wrote it.
    #[error("it has format {0}, this program knows formats up to {BACKUP_FORMAT}")]
    Newer(u32),
    /// Something was cut off or added.
    #[error("it has {found} bytes instead of {expected}")]
    Size {
        /// What it should have.
        expected: u64,
        /// What it has.
        found: u64,
    },
    /// Something was changed.
    #[error("its checksum is not that of its manifest")]
    Sum,
    /// The disk.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
}

/// A dump that was named cannot be had.
#[derive(Debug, Error)]
pub enum FindError {
    /// The folder cannot be read.
    #[error("folder `{folder}` cannot be read")]
    Folder {
        /// Which.
        folder: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The user named none that is there.
    #[error("there is no dump `{name}` in `{folder}`")]
    Unknown {
        /// The name.
        name: String,
        /// Where it was looked for.
        folder: String,
    },
    /// The dump is not what was written once.
    #[error("dump `{name}` is damaged, so nothing was restored: {damage}")]
    Damaged {
        /// The name.
        name: String,
        /// What is wrong with it.
        damage: Damage,
    },
}

impl Backups {
    /// The dumps in a folder, which need not be there yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Lists what is there, the newest first; what is damaged without a time comes last.
    ///
    /// Blocks: with [`Look::Whole`] every dump is read.
    ///
    /// # Errors
    /// [`FindError::Folder`].
    pub fn list(&self, look: Look) -> Result<Vec<Kept>, FindError> {
        let failed = |source| FindError::Folder {
            folder: self.folder.display().to_string(),
            source,
        };
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            names.extend(name_of(&path));
        }
        names.sort_unstable();
        names.dedup();
        let mut all: Vec<Kept> = names
            .into_iter()
            .map(|name| looked_at(&self.folder, name, look))
            .collect();
        let time = |kept: &Kept| kept.manifest.as_ref().map(|manifest| manifest.at);
        all.sort_by(|one, other| (time(other), &other.name).cmp(&(time(one), &one.name)));
        Ok(all)
    }

    /// Opens a dump that is whole, by its name or its path, at its first byte.
    ///
    /// Blocks: the dump is read to its end, and it is the same open file that is returned.
    ///
    /// # Errors
    /// Any [`FindError`].
    pub fn open(&self, name: &str) -> Result<(Kept, BackupManifest, File), FindError> {
        let given = Path::new(name);
        let folder = match given.parent() {
            Some(folder) if name.contains('/') => folder,
            _ => &self.folder,
        };
        let file = given.file_name().unwrap_or_default().to_string_lossy();
        let stem = file.strip_suffix(&format!(".{DUMP}")).unwrap_or(&file);
        let mut kept = looked_at(folder, stem.to_owned(), Look::Quick);
        let damaged = |damage| FindError::Damaged {
            name: stem.to_owned(),
            damage,
        };
        match kept.damage.take() {
            None => {}
            Some(Damage::NoDump) if kept.manifest.is_none() => {
                return Err(FindError::Unknown {
                    name: stem.to_owned(),
                    folder: folder.display().to_string(),
                });
            }
            Some(damage) => return Err(damaged(damage)),
        }
        let manifest = kept.manifest.clone();
        let manifest = manifest.ok_or_else(|| damaged(Damage::NoManifest(stem.to_owned())))?;
        let unreadable = |error: io::Error| damaged(Damage::Unreadable(error.to_string()));
        let mut file = File::open(&kept.path).map_err(unreadable)?;
        if sum_of(&mut file).map_err(unreadable)? != manifest.sha256 {
            return Err(damaged(Damage::Sum));
        }
        file.rewind().map_err(unreadable)?;
        Ok((kept, manifest, file))
    }
}

/// The name of the dump that a file belongs to.
fn name_of(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let whole = file.strip_suffix(&format!(".{PART}")).unwrap_or(file);
    let stem = [DUMP, MANIFEST]
        .iter()
        .find_map(|ending| whole.strip_suffix(&format!(".{ending}")))?;
    Some(stem.to_owned())
}

fn looked_at(folder: &Path, name: String, look: Look) -> Kept {
    let path = folder.join(format!("{name}.{DUMP}"));
    let beside = folder.join(format!("{name}.{MANIFEST}"));
    let (manifest, damage) = match read_manifest(&beside) {
        Ok(manifest) => {
            let damage = damage_of(&path, &manifest, look);
            (Some(manifest), damage)
        }
        Err(Damage::NoManifest(_)) if !path.exists() => (None, Some(Damage::NoDump)),
        Err(damage) => (None, Some(damage)),
    };
    let part = folder.join(format!("{name}.{DUMP}.{PART}"));
    let damage = match damage {
        Some(Damage::NoDump) if part.exists() => Some(Damage::Unfinished),
        other => other,
    };
    Kept {
        name,
        path,
        manifest,
        damage,
    }
}

fn read_manifest(path: &Path) -> Result<BackupManifest, Damage> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Damage::NoManifest(path.display().to_string()));
        }
        Err(error) => return Err(Damage::Manifest(error.to_string())),
    };
    let wrong = |error: serde_json::Error| Damage::Manifest(error.to_string());
    let value: serde_json::Value = serde_json::from_slice(&text).map_err(wrong)?;
    let format = value.get("format").and_then(serde_json::Value::as_u64);
    if let Some(newer) = format.filter(|format| *format > u64::from(BACKUP_FORMAT)) {
        return Err(Damage::Newer(u32::try_from(newer).unwrap_or(u32::MAX)));
    }
    serde_json::from_value(value).map_err(wrong)
}

fn damage_of(path: &Path, manifest: &BackupManifest, look: Look) -> Option<Damage> {
    let found = match fs::metadata(path) {
        Ok(about) => about.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(Damage::NoDump),
        Err(error) => return Some(Damage::Unreadable(error.to_string())),
    };
    if found != manifest.size {
        let expected = manifest.size;
        return Some(Damage::Size { expected, found });
    }
    if look == Look::Quick {
        return None;
    }
    match File::open(path).and_then(|mut file| sum_of(&mut file)) {
        Ok(sum) if sum == manifest.sha256 => None,
        Ok(_) => Some(Damage::Sum),
        Err(error) => Some(Damage::Unreadable(error.to_string())),
    }
}

fn sum_of(file: &mut File) -> io::Result<String> {
    let (mut hash, mut piece) = (Sha256::new(), vec![0; 256 * 1024]);
    loop {
        let length = file.read(&mut piece)?;
        if length == 0 {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(piece.get(..length).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a dump with its manifest, at a time in seconds.
    fn dump(folder: &Path, name: &str, at: u64, content: &[u8]) {
        fs::write(folder.join(format!("{name}.dump")), content).unwrap();
        let sum = hex::encode(Sha256::digest(content));
        let text = format!(
            r#"{{"format": 1, "id": "t1", "service": "shop", "host": "h1", "database": "shop",
                "cause": "asked", "at": {}, "size": {}, "sha256": "{sum}"}}"#,
            at * 1000,
            content.len()
        );
        fs::write(folder.join(format!("{name}.json")), text).unwrap();
    }

    fn listed(folder: &Path, look: Look) -> Vec<(String, Option<String>)> {
        let all = Backups::new(folder).list(look).unwrap();
        let line = |kept: Kept| (kept.name, kept.damage.map(|damage| damage.to_string()));
        all.into_iter().map(line).collect()
    }

    #[test]
    fn dumps_are_listed_newest_first_with_what_is_wrong_of_each() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        assert!(listed(&at.join("none"), Look::Whole).is_empty());
        dump(at, "a", 2, b"whole");
        dump(at, "b", 5, b"changed");
        fs::write(at.join("b.dump"), b"chanGed").unwrap();
        dump(at, "c", 4, b"short");
        fs::write(at.join("c.dump"), b"sho").unwrap();
        dump(at, "d", 3, b"gone");
        fs::remove_file(at.join("d.dump")).unwrap();
        fs::write(at.join("e.dump"), b"no manifest").unwrap();
        fs::write(at.join("f.dump.part"), b"unfinish").unwrap();
        fs::write(at.join("g.dump"), b"").unwrap();
        fs::write(at.join("g.json"), b"{").unwrap();
        fs::write(at.join("h.dump"), b"").unwrap();
        fs::write(at.join("h.json"), br#"{"format": 2}"#).unwrap();
        fs::write(at.join("notes.txt"), b"of somebody").unwrap();
        let found = listed(at, Look::Whole);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["b", "c", "d", "a", "h", "g", "f", "e"]);
        for (name, expected) in [
            ("b", "its checksum is not that of its manifest"),
            ("c", "it has 3 bytes instead of 5"),
            ("d", "the dump itself is not there"),
            ("e", "is not there"),
            ("f", "it was not written to its end"),
            ("g", "its manifest cannot be read"),
            ("h", "it has format 2"),
        ] {
            let (_, damage) = found.iter().find(|(found, _)| found == name).unwrap();
            let damage = damage.as_deref().unwrap_or_default();
            assert!(damage.contains(expected), "{name}: {damage}");
        }
        assert_eq!(found[3].1, None);
        // A quick look sees no changed byte.
        assert_eq!(listed(at, Look::Quick)[0], ("b".to_owned(), None));
    }

    #[test]
    fn a_dump_is_opened_by_name_or_path_only_where_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        dump(at, "a", 1, b"whole");
        dump(at, "b", 1, b"changed");
        fs::write(at.join("b.dump"), b"chanGed").unwrap();
        let backups = Backups::new(at);
        let path = at.join("a.dump").display().to_string();
        for name in ["a", "a.dump", &path] {
            let (kept, manifest, mut file) = backups.open(name).unwrap();
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            assert_eq!((text.as_str(), kept.name.as_str()), ("whole", "a"));
            assert_eq!(manifest.size, 5);
        }
        let error = |name: &str| backups.open(name).unwrap_err().to_string();
        assert!(error("b").contains("checksum"), "{}", error("b"));
        assert!(error("x").contains("no dump `x`"), "{}", error("x"));
        assert!(error("/nowhere/a.dump").contains("`/nowhere`"));
    }
}
