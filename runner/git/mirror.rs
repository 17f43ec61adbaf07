//! A bare copy of a repository that lies elsewhere: fetched from, read by commit, checked out from.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use git2::build::CheckoutBuilder;
use git2::{
    AutotagOption, Cred, CredentialType, FetchOptions, FetchPrune, ObjectType, Oid,
    RemoteCallbacks, Repository, TreeWalkMode, TreeWalkResult,
};
use nix::fcntl::{Flock, FlockArg};
use thiserror::Error;

/// What is fetched: branches and tags by their names.
const REFSPECS: [&str; 2] = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];

/// A repository that lies elsewhere could not be copied or read; the network's or the machine's
/// fault, or the address or the credentials are wrong.
#[derive(Debug, Error)]
#[error("`{url}` could not be {what}")]
pub struct MirrorError {
    url: String,
    what: &'static str,
    #[source]
    source: git2::Error,
}

/// A token that can be renewed while others use it; clones share it.
#[derive(Clone, Default)]
pub struct Token(Arc<RwLock<Option<String>>>);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").finish_non_exhaustive()
    }
}

impl Token {
    /// Returns the token as it is now, if there is one.
    pub fn current(&self) -> Option<String> {
        let token = self.0.read().unwrap_or_else(PoisonError::into_inner);
        token.clone()
    }

    /// Puts a newer one in its place.
    pub fn renew(&self, token: String) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(token);
    }
}

/// How we prove to a git server who we are.
#[derive(Clone, Default)]
pub struct Credentials {
    /// A token for HTTPS.
    pub token: Token,
    /// A private key for SSH; without one the agent is asked.
    pub ssh_key: Option<PathBuf>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("has_token", &self.token.current().is_some())
            .field("ssh_key", &self.ssh_key)
            .finish()
    }
}

/// What is known of a commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommitFacts {
    /// Its message.
    pub message: String,
    /// The author's name.
    pub author: String,
    /// The author's address.
    pub email: String,
    /// When it was made, in seconds since 1970.
    pub time: i64,
}

/// A bare copy of a repository that lies elsewhere.
#[derive(Debug, Clone)]
pub struct Mirror {
    folder: PathBuf,
    url: String,
}

impl Mirror {
    /// Returns the copy of `url` that lies, or will lie, in `folder`.
    pub fn new(folder: PathBuf, url: String) -> Self {
        Self { folder, url }
    }

    /// Returns where it lies.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the address without what proves who we are.
    pub fn shown_url(&self) -> String {
        match (self.url.split_once("://"), self.url.contains('@')) {
            (Some((scheme, rest)), true) => {
                let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
                format!("{scheme}://{host}")
            }
            _ => self.url.clone(),
        }
    }

    fn failed(&self, what: &'static str) -> impl FnOnce(git2::Error) -> MirrorError {
        let url = self.shown_url();
        move |source| MirrorError { url, what, source }
    }

    fn open(&self) -> Result<Repository, git2::Error> {
        Repository::open_bare(&self.folder)
    }

    /// Opens the copy to change it, and makes it where it is not there; nobody else does meanwhile,
    /// in this process or another: git itself gives up at once where two write.
    fn open_alone(&self) -> Result<(Flock<File>, Repository), git2::Error> {
        let path = self.folder.with_extension("lock");
        let made = match path.parent() {
            Some(parent) => std::fs::create_dir_all(parent),
            None => Ok(()),
        };
        let lock = made.and_then(|()| {
            let file = File::create(&path)?;
            Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| error.into())
        });
        let lock = lock.map_err(|error| {
            git2::Error::from_str(&format!("`{}` cannot be locked: {error}", path.display()))
        })?;
        let repository = self
            .open()
            .or_else(|_| Repository::init_bare(&self.folder))?;
        Ok((lock, repository))
    }

    /// Fetches what is new and returns where the branches and tags stand there, a tag at its commit.
    ///
    /// Blocks until the server answered.
    pub fn fetch(
        &self,
        credentials: &Credentials,
    ) -> Result<BTreeMap<String, String>, MirrorError> {
        let (_lock, repository) = self.open_alone().map_err(self.failed("copied"))?;
        let fetched = fetch(&repository, &self.url, &REFSPECS, credentials);
        fetched.map_err(self.failed("fetched"))?;
        self.refs(&repository).map_err(self.failed("read"))
    }

    /// Fetches one more ref, as that of a pull request, and returns its commit.
    pub fn fetch_ref(&self, name: &str, credentials: &Credentials) -> Result<String, MirrorError> {
        let (_lock, repository) = self.open_alone().map_err(self.failed("copied"))?;
        let refspec = format!("+{name}:{name}");
        fetch(&repository, &self.url, &[&refspec], credentials).map_err(self.failed("fetched"))?;
        let found = repository
            .find_reference(name)
            .and_then(|found| found.peel_to_commit().map(|commit| commit.id().to_string()));
        found.map_err(self.failed("read"))
    }

    fn refs(&self, repository: &Repository) -> Result<BTreeMap<String, String>, git2::Error> {
        let mut refs = BTreeMap::new();
        for reference in repository.references()? {
            let reference = reference?;
            let (Ok(name), Ok(commit)) = (reference.name(), reference.peel_to_commit()) else {
                continue;
            };
            if name.starts_with("refs/heads/") || name.starts_with("refs/tags/") {
                refs.insert(name.to_owned(), commit.id().to_string());
            }
        }
        Ok(refs)
    }

    /// Tells whether the commit is in the copy.
    pub fn has(&self, sha: &str) -> bool {
        let find = || {
            let repository = self.open().ok()?;
            repository.find_commit(Oid::from_str(sha).ok()?).ok()?;
            Some(())
        };
        find().is_some()
    }

    /// Tells whether a commit merges `head` into something, as GitHub does for a pull request.
    pub fn merges(&self, sha: &str, head: &str) -> bool {
        let find = || {
            let repository = self.open().ok()?;
            let commit = repository.find_commit(Oid::from_str(sha).ok()?).ok()?;
            Some(commit.parent_id(1).ok()?.to_string() == head)
        };
        find() == Some(true)
    }

    /// Returns what is known of a commit; none where it is not in the copy.
    pub fn commit(&self, sha: &str) -> Option<CommitFacts> {
        let repository = self.open().ok()?;
        let commit = repository.find_commit(Oid::from_str(sha).ok()?).ok()?;
        let author = commit.author();
        Some(CommitFacts {
            message: commit.message().unwrap_or_default().to_owned(),
            author: author.name().unwrap_or_default().to_owned(),
            email: author.email().unwrap_or_default().to_owned(),
            time: commit.time().seconds(),
        })
    }

    /// Returns the commits that `after` has and `before` has not, the oldest first, at most `limit`
    /// of the newest.
    pub fn commits_between(&self, before: &str, after: &str, limit: usize) -> Vec<String> {
        let walk = || {
            let repository = self.open().ok()?;
            let mut walk = repository.revwalk().ok()?;
            walk.push(Oid::from_str(after).ok()?).ok()?;
            if let Ok(before) = Oid::from_str(before)
                && repository.find_commit(before).is_ok()
            {
                walk.hide(before).ok()?;
            }
            let found = walk.flatten().take(limit).map(|id| id.to_string());
            let mut found: Vec<String> = found.collect();
            found.reverse();
            Some(found)
        };
        walk().unwrap_or_default()
    }

    /// Tells whether `after` came out of `before` by adding commits alone.
    pub fn is_forward(&self, before: &str, after: &str) -> bool {
        let check = || {
            let repository = self.open().ok()?;
            let (before, after) = (Oid::from_str(before).ok()?, Oid::from_str(after).ok()?);
            repository.graph_descendant_of(after, before).ok()
        };
        check() == Some(true)
    }

    /// Returns the texts of the files of some folders of a commit whose names end in one of
    /// `endings`, by their paths.
    pub fn texts(
        &self,
        sha: &str,
        folders: &[&str],
        endings: &[&str],
    ) -> Result<BTreeMap<String, String>, MirrorError> {
        let read = || {
            let repository = self.open()?;
            let tree = repository.find_commit(Oid::from_str(sha)?)?.tree()?;
            let mut texts = BTreeMap::new();
            tree.walk(TreeWalkMode::PreOrder, |parent, entry| {
                let name = entry.name().unwrap_or_default();
                let path = format!("{parent}{name}");
                if entry.kind() == Some(ObjectType::Tree) {
                    let leads_there = folders
                        .iter()
                        .any(|folder| folder.starts_with(&path) || path.starts_with(folder));
                    return if leads_there {
                        TreeWalkResult::Ok
                    } else {
                        TreeWalkResult::Skip
                    };
                }
                let is_wanted = folders
                    .iter()
                    .any(|folder| parent.trim_end_matches('/') == *folder)
                    && endings.iter().any(|ending| name.ends_with(ending));
                if is_wanted
                    && let Ok(blob) = repository.find_blob(entry.id())
                    && let Ok(text) = std::str::from_utf8(blob.content())
                {
                    texts.insert(path, text.to_owned());
                }
                TreeWalkResult::Ok
            })?;
            Ok(texts)
        };
        read().map_err(self.failed("read"))
    }

    /// Makes a repository in `folder` in which a commit is checked out, on the branch that `git_ref`
    /// names if it names one; its objects stay in the copy.
    pub fn check_out(&self, sha: &str, git_ref: &str, folder: &Path) -> Result<(), MirrorError> {
        let fill = || {
            let repository = Repository::init(folder)?;
            let objects = self.folder.join("objects").display().to_string();
            repository.odb()?.add_disk_alternate(&objects)?;
            let alternates = folder.join(".git/objects/info/alternates");
            std::fs::create_dir_all(folder.join(".git/objects/info"))
                .and_then(|()| std::fs::write(&alternates, format!("{objects}\n")))
                .map_err(|error| git2::Error::from_str(&error.to_string()))?;
            let commit = repository.find_commit(Oid::from_str(sha)?)?;
            if git_ref.starts_with("refs/heads/") {
                repository.reference(git_ref, commit.id(), true, "checked out")?;
                repository.set_head(git_ref)?;
            } else {
                repository.set_head_detached(commit.id())?;
            }
            repository.remote("origin", &self.shown_url())?;
            let mut checkout = CheckoutBuilder::new();
            repository.checkout_head(Some(checkout.force()))
        };
        fill().map_err(self.failed("checked out"))
    }
}

fn fetch(
    repository: &Repository,
    url: &str,
    refspecs: &[&str],
    credentials: &Credentials,
) -> Result<(), git2::Error> {
    let mut callbacks = RemoteCallbacks::new();
    let mut has_tried = false;
    callbacks.credentials(move |_, user, allowed| {
        // A server that refuses asks again and again.
        if std::mem::replace(&mut has_tried, true) && !allowed.contains(CredentialType::USERNAME) {
            return Err(git2::Error::from_str("the credentials were refused"));
        }
        let user = user.unwrap_or("git");
        if allowed.contains(CredentialType::USERNAME) {
            return Cred::username(user);
        }
        if allowed.contains(CredentialType::SSH_KEY) {
            return match &credentials.ssh_key {
                Some(key) => Cred::ssh_key(user, None, key, None),
                None => Cred::ssh_key_from_agent(user),
            };
        }
        match credentials.token.current() {
            Some(token) => Cred::userpass_plaintext("x-access-token", &token),
            None => Err(git2::Error::from_str(
                "the server wants credentials, and there are none for this repository",
            )),
        }
    });
    let mut options = FetchOptions::new();
    options
        .remote_callbacks(callbacks)
        .download_tags(AutotagOption::None)
        .prune(if refspecs.len() > 1 {
            FetchPrune::On
        } else {
            FetchPrune::Off
        });
    repository
        .remote_anonymous(url)?
        .fetch(refspecs, Some(&mut options), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (url, shown) in [
            (
                "https://x:secret@git.example.com/a/b.git",
                "https://git.example.com/a/b.git",
            ),
            ("git@github.com:a/b.git", "git@github.com:a/b.git"),
            ("/srv/git/a/b.git", "/srv/git/a/b.git"),
        ] {
            let mirror = Mirror::new(PathBuf::new(), url.to_owned());
            assert_eq!(mirror.shown_url(), shown);
        }
    }

    #[test]
    fn a_copy_that_several_make_at_once_is_whole_for_each() {
        let folder = tempfile::tempdir().unwrap();
        let source = Repository::init(folder.path().join("source")).unwrap();
        let who = git2::Signature::now("Tess", "t@example.com").unwrap();
        let tree = source.treebuilder(None).unwrap().write().unwrap();
        let tree = source.find_tree(tree).unwrap();
        let head = source.commit(Some("refs/heads/main"), &who, &who, "first", &tree, &[]);
        let head = head.unwrap().to_string();
        for number in 0..8 {
            let copy = folder.path().join(format!("copies/{number}.git"));
            let url = source.path().display().to_string();
            let mirror = Mirror::new(copy, url);
            std::thread::scope(|scope| {
                let one = || {
                    let refs = mirror.fetch(&Credentials::default()).unwrap();
                    assert_eq!(refs["refs/heads/main"], head);
                    assert!(mirror.has(&head));
                };
                for _ in 0..8 {
                    scope.spawn(one);
                }
            });
        }
    }
}
