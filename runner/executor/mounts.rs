//! Which folders of this host a container sees, and where.

use std::path::{Path, PathBuf};

use super::volumes::Volumes;

/// A file or folder of this host in a container.
#[derive(Debug, Clone)]
struct Mount {
    outside: PathBuf,
    inside: String,
    is_read_only: bool,
}

/// What a container sees of this host, and of the machine that it runs on where that is another one.
#[derive(Debug, Clone, Default)]
pub struct Mounts {
    own: Vec<Mount>,
    /// Paths of the daemon's machine, each as `source:target`.
    of_machine: Vec<String>,
}

impl Mounts {
    /// Adds a path of the machine that the daemon runs on: no file of the job.
    #[must_use]
    pub fn with_path_there(mut self, source: &str, inside: &str) -> Self {
        self.of_machine.push(format!("{source}:{inside}"));
        self
    }

    /// Adds a folder or file that the container can change.
    #[must_use]
    pub fn with(mut self, outside: &Path, inside: impl Into<String>) -> Self {
        self.own.push(Mount {
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
        if let Some(last) = all.own.last_mut() {
            last.is_read_only = true;
        }
        all
    }

    /// Returns the path by which the container sees a path of this host; one that it does not see
    /// stays as it is.
    pub fn path_inside(&self, path: &Path) -> String {
        let deepest = self
            .own
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
            .own
            .iter()
            .filter_map(|mount| Some((mount, path.strip_prefix(&mount.inside).ok()?)))
            .min_by_key(|(_, rest)| rest.as_os_str().len());
        match deepest {
            Some((mount, rest)) if rest.as_os_str().is_empty() => mount.outside.clone(),
            Some((mount, rest)) => mount.outside.join(rest),
            None => path.to_owned(),
        }
    }

    /// Returns the mounts as Docker takes them; where the daemon's machine does not see this host's
    /// folders, a volume stands for each.
    pub(super) fn binds(&self, volumes: Option<&Volumes>) -> Vec<String> {
        let own = self.own.iter().map(|mount| {
            let source = match volumes {
                None => Some(mount.outside.display().to_string()),
                Some(volumes) => volumes.name_of(&mount.outside),
            };
            let Some(source) = source else {
                // The path would be one of that machine, which is not ours to show: an empty volume.
                return mount.inside.clone();
            };
            let suffix = if mount.is_read_only { ":ro" } else { "" };
            format!("{source}:{}{suffix}", mount.inside)
        });
        own.chain(self.of_machine.iter().cloned()).collect()
    }

    /// Returns the folders of this host.
    pub(super) fn folders(&self) -> impl Iterator<Item = &Path> {
        self.own.iter().map(|mount| &*mount.outside)
    }

    /// Returns the folders of this host that the container can change.
    pub(super) fn writable_folders(&self) -> impl Iterator<Item = &Path> {
        self.own
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
            .with_read_only(Path::new("/c"), "/d")
            .with_path_there("/e", "/f");
        assert_eq!(mounts.binds(None), ["/a:/b", "/c:/d:ro", "/e:/f"]);
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
