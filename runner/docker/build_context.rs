//! A folder as the tar archive that a build starts from.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures_util::Stream;

use super::{
    DockerError, DockerIgnore,
    packing::{Pieces, packed},
};

/// The files of a build.
#[derive(Debug)]
pub(super) struct BuildContext {
    folder: PathBuf,
    paths: Vec<PathBuf>,
}

impl BuildContext {
    /// Lists a folder, without what `.dockerignore`, or `<dockerfile>.dockerignore` before it,
    /// leaves out. The Dockerfile always comes along.
    pub(super) fn list(folder: &Path, dockerfile: &str) -> Result<Self, DockerError> {
        let failed = |path: &Path, source| DockerError::Context {
            path: path.display().to_string(),
            source,
        };
        let dockerfile_path = folder.join(dockerfile);
        if let Err(source) = fs::metadata(&dockerfile_path) {
            return Err(failed(&dockerfile_path, source));
        }
        let mut rules = DockerIgnore::default();
        for name in [
            format!("{dockerfile}.dockerignore"),
            ".dockerignore".to_owned(),
        ] {
            let path = folder.join(name);
            match fs::read(&path) {
                Ok(bytes) => {
                    rules = DockerIgnore::parse(&String::from_utf8_lossy(&bytes));
                    break;
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(failed(&path, e)),
            }
        }
        let dockerfile = dockerfile.trim_start_matches("./");
        if rules.excludes(dockerfile) {
            rules.keep(dockerfile);
        }
        let mut found = BTreeSet::new();
        walk(folder, Path::new(""), &rules, &mut found)
            .map_err(|(path, source)| failed(&path, source))?;
        Ok(Self {
            folder: folder.to_owned(),
            paths: found.into_iter().collect(),
        })
    }

    /// Packs the files while they are sent; a file that cannot be read ends the stream with an
    /// error, and with it the build.
    pub(super) fn stream(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        packed(move |pieces| self.pack(pieces))
    }

    fn pack(&self, pieces: Pieces) -> io::Result<()> {
        let mut tar = tar::Builder::new(pieces);
        tar.follow_symlinks(false);
        for path in &self.paths {
            append(&mut tar, &self.folder.join(path), path)?;
        }
        tar.into_inner()?.finish()
    }
}

fn append<W: io::Write>(tar: &mut tar::Builder<W>, from: &Path, name: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(from)?;
    let mut header = tar::Header::new_gnu();
    header.set_metadata(&metadata);
    // Whose files they are here has no meaning in an image.
    header.set_uid(0);
    header.set_gid(0);
    if metadata.is_symlink() {
        header.set_size(0);
        tar.append_link(&mut header, name, fs::read_link(from)?)
    } else if metadata.is_dir() {
        header.set_size(0);
        tar.append_data(&mut header, name.join(""), io::empty())
    } else {
        let file = fs::File::open(from)?;
        let size = file.metadata()?.len();
        header.set_size(size);
        // A file that grows meanwhile must not shift what follows it.
        tar.append_data(&mut header, name, io::Read::take(file, size))
    }
}

type Unreadable = (PathBuf, io::Error);

fn walk(
    root: &Path,
    folder: &Path,
    rules: &DockerIgnore,
    found: &mut BTreeSet<PathBuf>,
) -> Result<(), Unreadable> {
    let at = root.join(folder);
    let entries = fs::read_dir(&at).map_err(|e| (at.clone(), e))?;
    for entry in entries {
        let entry = entry.map_err(|e| (at.clone(), e))?;
        let path = folder.join(entry.file_name());
        let kind = entry.file_type().map_err(|e| (entry.path(), e))?;
        let excluded = rules.excludes(&path.to_string_lossy());
        if kind.is_dir() && (!excluded || rules.has_exceptions()) {
            walk(root, &path, rules, found)?;
        }
        if !excluded && (kind.is_dir() || kind.is_file() || kind.is_symlink()) {
            // A folder that was left out comes along for what is kept in it.
            let parents = path
                .ancestors()
                .skip(1)
                .filter(|parent| *parent != Path::new(""));
            found.extend(parents.map(Path::to_owned));
            found.insert(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_what_the_rules_keep_and_the_dockerfile() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        for path in [
            "docker/Dockerfile",
            "docker/x",
            "a",
            "log/1",
            "log/keep/2",
            ".dockerignore",
        ] {
            fs::create_dir_all(at.join(path).parent().unwrap()).unwrap();
            fs::write(at.join(path), path).unwrap();
        }
        fs::write(
            at.join(".dockerignore"),
            "docker\nlog\n!log/keep\n.dockerignore\n",
        )
        .unwrap();
        std::os::unix::fs::symlink("a", at.join("link")).unwrap();
        let context = BuildContext::list(at, "docker/Dockerfile").unwrap();
        let paths: Vec<_> = context
            .paths
            .iter()
            .map(|path| path.to_str().unwrap())
            .collect();
        let expected = [
            "a",
            "docker",
            "docker/Dockerfile",
            "link",
            "log",
            "log/keep",
            "log/keep/2",
        ];
        assert_eq!(paths, expected);
    }

    #[test]
    fn a_missing_dockerfile_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = BuildContext::list(folder.path(), "Dockerfile")
            .unwrap_err()
            .to_string();
        assert!(error.contains("/Dockerfile` could not be read"), "{error}");
    }
}
