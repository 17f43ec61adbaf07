//! Whether this machine has room on its disk for one more job.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::statvfs::statvfs;

/// The least number of files that can still be made, where the file system counts them.
const MIN_FILES: u64 = 1_000;

/// What is free on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this process can write.
    pub bytes: u64,
    /// Files that it can make; none where the file system does not count them.
    pub files: Option<u64>,
}

/// Asks for what is free; injected, so that tests can fill a disk.
pub type Probe = Arc<dyn Fn(&Path) -> io::Result<Space> + Send + Sync>;

/// Whether there is room for one more job; cheap to clone.
#[derive(Clone)]
pub struct Room {
    folder: PathBuf,
    min_free: u64,
    probe: Probe,
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room")
            .field("folder", &self.folder)
            .field("min_free", &self.min_free)
            .finish_non_exhaustive()
    }
}

impl Room {
    /// Returns the room where `folder` lies: below `min_free` bytes there is none.
    pub fn new(folder: &Path, min_free: u64) -> Self {
        Self::with_probe(folder, min_free, Arc::new(free_space))
    }

    /// The same with another way to ask for what is free.
    pub fn with_probe(folder: &Path, min_free: u64, probe: Probe) -> Self {
        Self {
            folder: folder.to_owned(),
            min_free,
            probe,
        }
    }

    /// Returns why there is no room for one more job, in words; none where there is.
    pub fn lack(&self) -> Option<String> {
        let folder = self.folder.display();
        match (self.probe)(&self.folder) {
            Err(error) => Some(format!("what is free at `{folder}` is not known: {error}")),
            Ok(space) if space.bytes < self.min_free => Some(format!(
                "{} are free at `{folder}`, less than `min-free` ({}): no job begins here until there is more",
                shown_size(space.bytes),
                shown_size(self.min_free)
            )),
            Ok(Space {
                files: Some(files), ..
            }) if self.min_free > 0 && files < MIN_FILES => Some(format!(
                "{files} files more can be made at `{folder}`, less than {MIN_FILES}: no job begins here until it is more"
            )),
            Ok(_) => None,
        }
    }
}

/// Asks the kernel what is free where a folder lies.
#[expect(
    clippy::useless_conversion,
    reason = "the numbers are of another width on other machines"
)]
pub fn free_space(folder: &Path) -> io::Result<Space> {
    let found = statvfs(folder).map_err(io::Error::from)?;
    let counts_files = found.files() > 0;
    Ok(Space {
        bytes: u64::from(found.blocks_available()).saturating_mul(u64::from(found.fragment_size())),
        files: counts_files.then(|| u64::from(found.files_available())),
    })
}

/// Shows a number of bytes as people read it: `1.5 GB`.
#[expect(
    clippy::cast_precision_loss,
    reason = "one place behind the point is shown"
)]
pub fn shown_size(bytes: u64) -> String {
    let mut shown = bytes as f64;
    for unit in ["bytes", "kB", "MB", "GB"] {
        if shown < 1000.0 {
            return match unit {
                "bytes" => format!("{bytes} bytes"),
                _ => format!("{shown:.1} {unit}"),
            };
        }
        shown /= 1000.0;
    }
    format!("{shown:.1} TB")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(min_free: u64, bytes: u64, files: Option<u64>) -> Room {
        let probe = move |_: &Path| Ok(Space { bytes, files });
        Room::with_probe(Path::new("/data"), min_free, Arc::new(probe))
    }

    #[test]
    fn below_a_mark_there_is_no_room_and_it_is_said_why() {
        assert_eq!(room(1_000_000, 1_000_000, None).lack(), None);
        let words = room(1_000_000_000, 999_999_999, None).lack().unwrap();
        assert!(
            words.contains("`/data`") && words.contains("`min-free` (1.0 GB)"),
            "{words}"
        );
        assert_eq!(room(0, 0, Some(0)).lack(), None);
        let words = room(1, 5, Some(12)).lack().unwrap();
        assert!(words.contains("12 files more"), "{words}");
        let broken: Probe = Arc::new(|_: &Path| Err(io::Error::other("gone")));
        let words = Room::with_probe(Path::new("/data"), 1, broken).lack();
        assert!(words.unwrap().contains("gone"));
    }

    #[test]
    fn sizes_are_shown_as_people_read_them() {
        for (bytes, shown) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1_500, "1.5 kB"),
            (20_000_000, "20.0 MB"),
            (3_200_000_000, "3.2 GB"),
            (7_000_000_000_000, "7.0 TB"),
        ] {
            assert_eq!(shown_size(bytes), shown);
        }
    }

    #[test]
    fn the_kernel_knows_what_is_free() {
        let space = free_space(&std::env::temp_dir()).unwrap();
        assert!(space.bytes > 0);
    }
}
