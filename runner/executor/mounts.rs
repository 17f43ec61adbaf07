//! Which folders of this host a container sees, and where.

use std::path::{Path, PathBuf};

/// A file or folder of this host in a container.
#[derive(Debug, Clone)]
struct Mount {
    outside: PathBuf,
    inside: String,
    is_read_only: bool,
}

/// What a container sees of this host.
#[derive(Debug, Clone, Default)]
pub struct Mounts(Vec<Mount>);

impl Mounts {
    /// Adds a folder or file that the container can change.
    #[must_use]
    pub fn with(mut self, outside: &Path, inside: impl Into<String>) -> Self {
        self.0.push(Mount {
            outside: outside.to_owned(),
            inside: inside.into(),
            is_read_only: false,
        });
        self
    }

    /// Adds a folder or file that the container can only read.
    #[must_use]
    pub fn with_read_only(self, outside: &Path, inside: impl Into<String>) -> Self {
        let mut all = self.with(outside, inside);
        if let Some(last) = all.0.last_mut() {
            last.is_read_only = true;
        }
        all
    }

    /// Returns the path by which the container sees a path of this host; one that it does not see
    /// stays as it is.
    pub fn path_inside(&self, path: &Path) -> String {
        let deepest = self
            .0
            .iter()
            .filter_map(|mount| Some((mount, path.strip_prefix(&mount.outside).ok()?)))
            .min_by_key(|(_, rest)| rest.as_os_str().len());
        match deepest {
            Some((mount, rest)) if rest.as_os_str().is_empty() => mount.inside.clone(),
            Some((mount, rest)) => format!("{}/{}", mount.inside, rest.display()),
            None => path.to_string_lossy().into_owned(),
        }
    }

    /// Returns the path on this host of what the container sees as `path`.
    pub fn path_outside(&self, path: &str) -> PathBuf {
        let path = Path::new(path);
        let deepest = self
            .0
            .iter()
            .filter_map(|mount| Some((mount, path.strip_prefix(&mount.inside).ok()?)))
            .min_by_key(|(_, rest)| rest.as_os_str().len());
        match deepest {
            Some((mount, rest)) if rest.as_os_str().is_empty() => mount.outside.clone(),
            Some((mount, rest)) => mount.outside.join(rest),
            None => path.to_owned(),
        }
    }

    /// Returns the mounts as Docker takes them.
    pub(super) fn binds(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|mount| {
            let suffix = if mount.is_read_only { ":ro" } else { "" };
            format!("{}:{}{suffix}", mount.outside.display(), mount.inside)
        })
    }

    /// Returns the folders of this host that the container can change.
    pub(super) fn writable_folders(&self) -> impl Iterator<Item = &Path> {
        self.0
            .iter()
            .filter(|mount| !mount.is_read_only && mount.outside.is_dir())
            .map(|mount| &*mount.outside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_decides() {
        let mounts = Mounts::default()
            .with(Path::new("/job/work"), "/__w")
            .with(Path::new("/job/temp"), "/__w/_temp")
            .with_read_only(Path::new("/job/event.json"), "/github/workflow/event.json");
        for (outside, inside) in [
            ("/job/work/a/a", "/__w/a/a"),
            ("/job/work", "/__w"),
            ("/job/temp/x", "/__w/_temp/x"),
            ("/job/event.json", "/github/workflow/event.json"),
            ("/job/workers", "/job/workers"),
        ] {
            assert_eq!(mounts.path_inside(Path::new(outside)), inside);
            assert_eq!(mounts.path_outside(inside), Path::new(outside));
        }
    }

    #[test]
    fn docker_gets_them_with_their_mode() {
        let mounts = Mounts::default()
            .with(Path::new("/a"), "/b")
            .with_read_only(Path::new("/c"), "/d");
        let binds: Vec<_> = mounts.binds().collect();
        assert_eq!(binds, ["/a:/b", "/c:/d:ro"]);
    }

    #[test]
    fn folders_to_be_emptied_are_those_the_container_can_change() {
        let folder = tempfile::tempdir().unwrap();
        let mounts = Mounts::default()
            .with(folder.path(), "/a")
            .with(&folder.path().join("socket"), "/b")
            .with_read_only(Path::new("/"), "/c");
        let folders: Vec<_> = mounts.writable_folders().collect();
        assert_eq!(folders, [folder.path()]);
    }
}
