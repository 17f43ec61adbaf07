//! Files and folders of this host into containers, and folders of containers to this host.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bollard::query_parameters::UploadToContainerOptionsBuilder;
use futures_util::TryStreamExt as _;
use tokio::io::AsyncWriteExt as _;

use super::{
    DockerError, Engine,
    packing::{Pieces, packed},
    transport,
};

/// A file or folder of this host, and where it is to be in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The file, or the folder with all that is in it; links come as links.
    pub from: PathBuf,
    /// Its path in the container.
    pub to: String,
}

impl Engine {
    /// Copies files and folders of this host into a container, which need not run; they keep their
    /// modes and belong to `owner`, a user and a group by number. What is there already and has no
    /// namesake stays.
    ///
    /// Nothing is held in memory. If the future is dropped, a part may have arrived.
    ///
    /// # Errors
    /// [`DockerError::Copy`]: a file could not be read. [`DockerError::NotFound`]: no such container.
    pub async fn put_files(
        &self,
        container: &str,
        uploads: Vec<Upload>,
        owner: (u64, u64),
    ) -> Result<(), DockerError> {
        let action = format!("copy files to container `{container}`");
        let options = UploadToContainerOptionsBuilder::default().path("/").build();
        let unread = Arc::new(Mutex::new(None));
        let note = Arc::clone(&unread);
        let pack = move |pieces| {
            pack(&uploads, owner, pieces).map_err(|(path, error)| {
                let kind = error.kind();
                *note.lock().unwrap_or_else(PoisonError::into_inner) = Some((path, error));
                kind.into()
            })
        };
        let body = transport::streamed(packed(pack));
        let upload = self
            .docker
            .upload_to_container(container, Some(options), body);
        let Err(error) = upload.await else {
            return Ok(());
        };
        let unread = unread.lock().unwrap_or_else(PoisonError::into_inner).take();
        match unread {
            // The daemon went away or refused: then nobody reads the archive any more.
            Some((_, source)) if source.kind() == io::ErrorKind::BrokenPipe => {
                Err(self.failed(&action, error))
            }
            Some((path, source)) => Err(self.not_copied(&path, "to", source)),
            None => Err(self.failed(&action, error)),
        }
    }

    /// Copies a folder of a container, which need not run, in the place of a folder of this host:
    /// that holds then what the container's does and nothing else.
    ///
    /// Files belong to this process's user. Nothing lands outside of the folder, whatever the
    /// container's archive says. If the future is dropped, the folder is as it was.
    ///
    /// # Errors
    /// [`DockerError::NotFound`]: no such container or folder. [`DockerError::Copy`]: the disk.
    pub async fn get_folder(
        &self,
        container: &str,
        path: &str,
        folder: &Path,
    ) -> Result<(), DockerError> {
        let failed = |source| self.not_copied(folder, "from", source);
        let beside = folder.parent().unwrap_or(folder).to_owned();
        let file = tempfile::tempfile_in(&beside).map_err(failed)?;
        let mut file = tokio::fs::File::from_std(file);
        let mut stream = self.archive(container, path);
        while let Some(bytes) = stream.try_next().await? {
            file.write_all(&bytes).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        let (file, target) = (file.into_std().await, folder.to_owned());
        let unpacked = tokio::task::spawn_blocking(move || unpack(file, &beside, &target)).await;
        unpacked
            .map_err(io::Error::other)
            .and_then(|unpacked| unpacked)
            .map_err(failed)
    }

    fn not_copied(&self, path: &Path, way: &'static str, source: io::Error) -> DockerError {
        DockerError::Copy {
            path: path.display().to_string(),
            way,
            engine: self.name().to_owned(),
            source,
        }
    }
}

type Unread = (PathBuf, io::Error);

fn pack(uploads: &[Upload], owner: (u64, u64), pieces: Pieces) -> Result<(), Unread> {
    let mut tar = tar::Builder::new(pieces);
    for Upload { from, to } in uploads {
        append(
            &mut tar,
            (from, Path::new(to.trim_start_matches('/'))),
            owner,
        )?;
    }
    let at = |error| (PathBuf::new(), error);
    tar.into_inner().map_err(at)?.finish().map_err(at)
}

/// Adds a file, a link or a folder with all that is in it; what is none of these has no copy.
fn append(
    tar: &mut tar::Builder<Pieces>,
    (from, name): (&Path, &Path),
    owner: (u64, u64),
) -> Result<(), Unread> {
    let failed = |error| (from.to_owned(), error);
    let metadata = fs::symlink_metadata(from).map_err(failed)?;
    let mut header = tar::Header::new_gnu();
    header.set_metadata(&metadata);
    header.set_uid(owner.0);
    header.set_gid(owner.1);
    header.set_size(0);
    if metadata.is_symlink() {
        let target = fs::read_link(from).map_err(failed)?;
        return tar.append_link(&mut header, name, target).map_err(failed);
    }
    if metadata.is_dir() {
        let added = tar.append_data(&mut header, name.join(""), io::empty());
        added.map_err(failed)?;
        for entry in fs::read_dir(from).map_err(failed)? {
            let inner = entry.map_err(failed)?.path();
            let name = name.join(inner.file_name().unwrap_or_default());
            append(tar, (&inner, &name), owner)?;
        }
        return Ok(());
    }
    if !metadata.is_file() {
        return Ok(());
    }
    let file = fs::File::open(from).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    header.set_size(size);
    // A file that grows meanwhile must not shift what follows it.
    let read = io::Read::take(file, size);
    tar.append_data(&mut header, name, read).map_err(failed)
}

/// Unpacks an archive of one folder, of whatever name, in the place of `target`.
fn unpack(mut file: fs::File, beside: &Path, target: &Path) -> io::Result<()> {
    io::Seek::rewind(&mut file)?;
    let scratch = tempfile::Builder::new()
        .prefix(".copy-")
        .tempdir_in(beside)?;
    let (new, old) = (scratch.path().join("new"), scratch.path().join("old"));
    fs::create_dir(&new)?;
    let mut archive = tar::Archive::new(file);
    // Times tell build tools what changed; rights beyond the owner's are of no use here.
    archive.set_preserve_mtime(true);
    archive.unpack(&new)?;
    let mut inside = fs::read_dir(&new)?;
    let top = match (inside.next(), inside.next()) {
        (Some(top), None) => top?.path(),
        _ => return Err(io::Error::other("the archive does not hold one folder")),
    };
    if !top.symlink_metadata()?.is_dir() {
        return Err(io::Error::other("what is there is no folder"));
    }
    make_removable(&top)?;
    match fs::rename(target, &old) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(&top, target)?;
    scratch.close()
}

/// Lets this user empty all folders: some tools write-protect theirs.
fn make_removable(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = folder.symlink_metadata()?.permissions().mode();
    if mode & 0o700 != 0o700 {
        fs::set_permissions(folder, fs::Permissions::from_mode(mode | 0o700))?;
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_removable(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, &[u8])]) -> fs::File {
        let mut tar = tar::Builder::new(tempfile::tempfile().unwrap());
        for (name, bytes) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(if name.ends_with('/') { 0o500 } else { 0o644 });
            if name.ends_with('/') {
                header.set_entry_type(tar::EntryType::Directory);
            }
            tar.append_data(&mut header, name, *bytes).unwrap();
        }
        tar.into_inner().unwrap()
    }

    #[test]
    fn a_folder_is_replaced_by_what_the_archive_holds() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("work");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("old"), "").unwrap();
        let tar = archive(&[("3/", b""), ("3/sub/", b""), ("3/sub/new", b"text")]);
        unpack(tar, folder.path(), &target).unwrap();
        assert_eq!(fs::read(target.join("sub/new")).unwrap(), b"text");
        assert!(!target.join("old").exists());
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn what_is_no_folder_leaves_the_old_one_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("work");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("old"), "").unwrap();
        for entries in [&[("3", &b"text"[..])][..], &[("3/", b""), ("4/", b"")], &[]] {
            assert!(unpack(archive(entries), folder.path(), &target).is_err());
            assert!(target.join("old").exists());
        }
    }

    #[test]
    fn a_link_leads_nothing_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        let mut tar = tar::Builder::new(tempfile::tempfile().unwrap());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        header.set_mode(0o755);
        tar.append_data(&mut header, "3/", io::empty()).unwrap();
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        tar.append_link(&mut link, "3/out", outside.path()).unwrap();
        let mut file = tar::Header::new_gnu();
        file.set_size(1);
        file.set_mode(0o644);
        tar.append_data(&mut file, "3/out/file", &b"x"[..]).unwrap();
        let unpacked = unpack(
            tar.into_inner().unwrap(),
            folder.path(),
            &folder.path().join("work"),
        );
        assert!(unpacked.is_err(), "{unpacked:?}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
