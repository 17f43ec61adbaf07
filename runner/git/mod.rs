//! What is asked of a git repository.

mod mirror;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use git2::{DiffOptions, Oid, Repository, StatusOptions};
use thiserror::Error;

pub use mirror::{CommitFacts, Credentials, Mirror, MirrorError, Token};

/// A git repository could not be asked; the machine's fault, or the folder is none.
#[derive(Debug, Error)]
#[error("the git repository at `{path}` could not be read")]
pub struct GitError {
    path: String,
    #[source]
    source: git2::Error,
}

/// What is known of a working tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkingTree {
    /// Its root folder.
    pub root: PathBuf,
    /// The commit that is checked out; none before the first one.
    pub commit: Option<String>,
    /// The branch or tag that is checked out, as `refs/heads/main`.
    pub git_ref: Option<String>,
    /// `owner/repository` by the URL of `origin`.
    pub repository: Option<String>,
    /// The URL of `origin`.
    pub origin: Option<String>,
    /// The scheme and host of `origin`, as `https://github.com`.
    pub server_url: Option<String>,
    /// The first line and the rest of the commit's message.
    pub message: Option<String>,
    /// Who wrote the commit: name and address.
    pub author: Option<(String, String)>,
    /// Who works here: `user.name`.
    pub user: Option<String>,
}

/// Returns what is known of the working tree that `path` lies in; none where it lies in none.
pub fn working_tree(path: &Path) -> Option<WorkingTree> {
    // libgit2 first reads all certificates that OpenSSL finds, which takes longer than a short step.
    let absolute = std::path::absolute(path).ok()?;
    if !absolute
        .ancestors()
        .any(|folder| folder.join(".git").exists())
    {
        return None;
    }
    let repository = Repository::discover(path).ok()?;
    let root = repository.workdir()?.to_owned();
    let head = repository.head().ok();
    let commit = head.as_ref().and_then(|head| head.peel_to_commit().ok());
    let origin = repository.find_remote("origin").ok();
    let url = origin
        .as_ref()
        .and_then(|origin| origin.url().ok().map(str::to_owned));
    let (server_url, name) = url
        .as_deref()
        .and_then(split_url)
        .map_or((None, None), |(server, name)| (Some(server), Some(name)));
    let author = commit.as_ref().map(|commit| {
        let author = commit.author();
        (
            author.name().unwrap_or_default().to_owned(),
            author.email().unwrap_or_default().to_owned(),
        )
    });
    Some(WorkingTree {
        root,
        commit: commit.as_ref().map(|commit| commit.id().to_string()),
        git_ref: head
            .as_ref()
            .and_then(|head| head.name().ok().map(str::to_owned)),
        origin: url.clone(),
        repository: name,
        server_url,
        message: commit
            .as_ref()
            .and_then(|commit| commit.message().ok().map(str::to_owned)),
        author,
        user: repository
            .config()
            .ok()
            .and_then(|config| config.get_string("user.name").ok()),
    })
}

/// Takes `https://host/owner/repository.git` and `git@host:owner/repository.git` apart, into
/// `https://host` and `owner/repository`.
pub fn split_url(url: &str) -> Option<(String, String)> {
    let (host, path) = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?,
        None => url.split_once(':')?,
    };
    let host = host.rsplit('@').next()?.split(':').next()?;
    let path = path.trim_matches('/').trim_end_matches(".git");
    let mut parts = path.rsplit('/');
    let (name, owner) = (parts.next()?, parts.next()?);
    Some((format!("https://{host}"), format!("{owner}/{name}")))
}

/// Returns the files that git tracks, relative to `folder`, which lies in a working tree.
pub fn tracked(folder: &Path) -> Result<Vec<PathBuf>, GitError> {
    let failed = |source| GitError {
        path: folder.display().to_string(),
        source,
    };
    let repository = Repository::discover(folder).map_err(failed)?;
    let index = repository.index().map_err(failed)?;
    let root = repository
        .workdir()
        .and_then(|root| root.canonicalize().ok());
    let inside = root.and_then(|root| {
        let folder = folder.canonicalize().ok()?;
        folder.strip_prefix(root).map(Path::to_owned).ok()
    });
    let inside = inside.unwrap_or_default();
    let paths = index.iter().filter_map(|entry| {
        let path = PathBuf::from(String::from_utf8_lossy(&entry.path).into_owned());
        path.strip_prefix(&inside).map(Path::to_owned).ok()
    });
    Ok(paths.collect())
}

/// Returns the paths that differ between two commits; none where the repository lacks one of them.
pub fn changed_paths(root: &Path, before: &str, after: &str) -> Option<Vec<String>> {
    let repository = Repository::open(root).ok()?;
    let tree = |id: &str| {
        let commit = repository.find_commit(Oid::from_str(id).ok()?).ok()?;
        commit.tree().ok()
    };
    let (before, after) = (tree(before)?, tree(after)?);
    let diff = repository
        .diff_tree_to_tree(Some(&before), Some(&after), Some(&mut DiffOptions::new()))
        .ok()?;
    let paths = diff
        .deltas()
        .flat_map(|delta| [delta.old_file().path(), delta.new_file().path()]);
    let mut paths: Vec<String> = paths
        .flatten()
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    paths.sort_unstable();
    paths.dedup();
    Some(paths)
}

/// Returns the files of a working tree as it stands: tracked ones that are there, and untracked
/// ones that git does not ignore; relative to the root.
pub fn files(root: &Path) -> Result<Vec<PathBuf>, GitError> {
    let failed = |source| GitError {
        path: root.display().to_string(),
        source,
    };
    let repository = Repository::open(root).map_err(failed)?;
    let index = repository.index().map_err(failed)?;
    let mut files: Vec<PathBuf> = index
        .iter()
        .map(|entry| PathBuf::from(String::from_utf8_lossy(&entry.path).into_owned()))
        .filter(|path| root.join(path).symlink_metadata().is_ok())
        .collect();
    let mut options = StatusOptions::new();
    options
        .include_untracked(true)
        .recurse_untracked_dirs(true)
        .include_ignored(false);
    for status in repository
        .statuses(Some(&mut options))
        .map_err(failed)?
        .iter()
    {
        if status.status().is_wt_new() {
            files.push(PathBuf::from(
                String::from_utf8_lossy(status.path_bytes()).into_owned(),
            ));
        }
    }
    Ok(files)
}

/// Returns the paths that differ from the commit that is checked out, untracked ones included.
pub fn uncommitted(root: &Path) -> Result<Vec<String>, GitError> {
    let failed = |source| GitError {
        path: root.display().to_string(),
        source,
    };
    let repository = Repository::open(root).map_err(failed)?;
    let mut options = StatusOptions::new();
    options.include_untracked(true).include_ignored(false);
    let statuses = repository.statuses(Some(&mut options)).map_err(failed)?;
    Ok(statuses
        .iter()
        .map(|status| String::from_utf8_lossy(status.path_bytes()).into_owned())
        .collect())
}

/// Has git leave a path out that lies in a working tree, by the list that is this clone's alone
/// (`info/exclude`); tells whether it was added.
///
/// Does nothing where the path lies in no working tree, or is ignored or tracked already.
pub fn leave_out(path: &Path) -> io::Result<bool> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(false);
    };
    let folder = std::path::absolute(folder)?.canonicalize()?;
    let Ok(repository) = Repository::discover(&folder) else {
        return Ok(false);
    };
    let root = repository
        .workdir()
        .and_then(|root| root.canonicalize().ok());
    let Some(inside) = root.and_then(|root| {
        let inside = folder.strip_prefix(root).ok()?;
        Some(inside.join(name))
    }) else {
        return Ok(false);
    };
    let is_tracked = repository
        .index()
        .is_ok_and(|index| index.get_path(&inside, 0).is_some());
    if is_tracked || repository.is_path_ignored(&inside).unwrap_or(false) {
        return Ok(false);
    }
    let list = repository.commondir().join("info/exclude");
    if let Some(folder) = list.parent() {
        fs::create_dir_all(folder)?;
    }
    let before = match fs::read_to_string(&list) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let start = if before.is_empty() || before.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    let mut list = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(list)?;
    list.write_all(format!("{start}/{}\n", inside.display()).as_bytes())?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_of_a_working_tree_is_none_of_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        assert!(!leave_out(&root.join("a.key")).unwrap(), "no working tree");
        Repository::init(root).unwrap();
        fs::write(root.join(".git/info/exclude"), "/other").unwrap();
        fs::create_dir_all(root.join("in/data")).unwrap();
        for path in ["in/data.key", "in/data/store", "in/kept"] {
            fs::write(root.join(path), "x").unwrap();
        }
        assert!(leave_out(&root.join("in/data.key")).unwrap());
        assert!(leave_out(&root.join("in/data")).unwrap());
        assert!(!leave_out(&root.join("in/data")).unwrap(), "ignored by now");
        assert_eq!(files(root).unwrap(), [PathBuf::from("in/kept")]);
        let list = fs::read_to_string(root.join(".git/info/exclude")).unwrap();
        assert_eq!(list, "/other\n/in/data.key\n/in/data\n");
    }

    #[test]
    fn addresses_of_repositories_are_taken_apart() {
        for (url, expected) in [
            (
                "https://github.com/acme/demo.git",
                Some(("https://github.com", "acme/demo")),
            ),
            (
                "git@github.com:acme/demo.git",
                Some(("https://github.com", "acme/demo")),
            ),
            (
                "ssh://git@git.example.com:2222/acme/demo",
                Some(("https://git.example.com", "acme/demo")),
            ),
            ("/srv/git/demo.git", None),
        ] {
            let expected = expected.map(|(server, name)| (server.to_owned(), name.to_owned()));
            assert_eq!(split_url(url), expected, "{url}");
        }
    }
}
